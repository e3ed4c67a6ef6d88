//! The test bed: a real control plane, the operator as users run it, and a judge that reads aws-auth as EKS does.
//!
//! - A [`Cluster`] is an etcd and a kube-apiserver of its own on free loopback ports: RBAC is on, every request is in its
//!   audit log, and there is no controller-manager (nothing collects garbage, namespaces do not finish deleting). Another test may
//!   have had it before, without a trace: see [`reuse`].
//! - An [`Operator`] is the real binary, running as its own ServiceAccount under the chart's RBAC rules.
//! - A [`Judge`] is the real aws-iam-authenticator's ConfigMap backend.
//! - [`Logins`] is its whole server, which the API server asks about everyone who comes with a token.
//!
//! `tests/node` and `make demo NODE=1` run the same inside of namespaces, with a kubelet: see [`node`].
//!
//! Everything that is started here stops with the value that stands for it, and with this process however it ends: see
//! [`supervise`]. Nothing waits for luck: [`eventually`] waits for a condition with a deadline.
#![allow(
    dead_code,
    unused_imports,
    reason = "shared by the tests, the demo and the benchmark, none of which uses all of it"
)]

pub(crate) mod access_policies;
pub(crate) mod audit;
pub(crate) mod certs;
pub(crate) mod chart;
pub(crate) mod cluster;
pub(crate) mod deployment;
pub(crate) mod dockerfile;
pub(crate) mod eks;
mod etcd;
pub(crate) mod fleet;
mod http;
pub(crate) mod judge;
pub(crate) mod link;
pub(crate) mod logins;
pub(crate) mod mappings;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod power;
pub(crate) mod programs;
pub(crate) mod proxy;
pub(crate) mod reuse;
pub(crate) mod rights;
mod servers;
pub(crate) mod supervise;
pub(crate) mod versions;
pub(crate) mod wait;

pub(crate) use audit::{Audit, Mark, Record};
pub(crate) use cluster::Cluster;
pub(crate) use judge::Judge;
pub(crate) use logins::Logins;
pub(crate) use operator::Operator;
pub(crate) use wait::eventually;
