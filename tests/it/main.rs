//! t
mod crd;
