//! The integration tests: one binary, since each further one would link the Kubernetes client once more.

mod support;

mod harness;
