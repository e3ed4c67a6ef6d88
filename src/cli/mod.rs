//! cli

pub mod crd;
pub mod connection;
pub mod release;
pub mod run;
