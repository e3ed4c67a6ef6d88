//! The proof that a cluster in EKS is the one whose API server we talk to. Pure.
//!
//! The certificate authorities of an EKS cluster are its own. So one of those that `DescribeCluster` names must be the one that
//! signs the certificate that the API server presents. While an authority is being rotated, both sides name two: one in common
//! that signs nothing yet, or nothing any more, proves nothing.

use std::collections::BTreeSet;

/// What the API server's certificate is signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// These certificate authorities, by fingerprint (SHA-256, hex): trusted, and each vouches for the certificate in use.
    Authorities(BTreeSet<String>),
    /// Nothing that could be compared, and why: what is then used instead of a fingerprint.
    Unknown(String),
}

/// A cluster none of whose certificate authorities vouches for the API server's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its certificate authority is {eks}, and that of the Kubernetes API server is {server}: they are different clusters"
)]
pub struct OtherCluster {
    /// The fingerprints of the cluster's.
    pub eks: String,
    /// What represents the API server's.
    pub server: String,
}

impl Trust {
    /// Whether this authority vouches for the API server's certificate.
    #[must_use]
    pub fn has(&self, authority: &str) -> bool {
        match self {
            Self::Authorities(authorities) => authorities.contains(authority),
            Self::Unknown(_) => false,
        }
    }

    /// The fingerprints, or what is in their place.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Authorities(authorities) => listed(authorities),
            Self::Unknown(why) => why.clone(),
        }
    }

    /// Proves that the cluster with these certificate authorities is the one whose API server we talk to: gives the one that both
    /// have.
    pub fn prove(&self, authorities: &BTreeSet<String>) -> Result<String, OtherCluster> {
        let common = authorities.iter().find(|authority| self.has(authority));
        common.cloned().ok_or_else(|| OtherCluster {
            eks: listed(authorities),
            server: self.words(),
        })
    }
}

fn listed(fingerprints: &BTreeSet<String>) -> String {
    if fingerprints.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<&str> = fingerprints.iter().map(String::as_str).collect();
    all.join(", ")
}
