//! The integration tests: one binary, since each further one would link the Kubernetes client once more.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod aws;
mod aws_auth_texts;
mod support;

mod admission;
mod chart;
mod cli;
mod controller;
mod crashes;
mod crd;
mod docs;
mod eks;
mod eks_controller;
mod entries_scale;
mod handover;
mod harness;
mod image;
mod logins;
mod monitoring;
mod parser_agreement;
mod power;
mod replicas;
mod rights;
mod scale;
mod scenarios;
mod storm;
mod writers;
