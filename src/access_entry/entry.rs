//! An access entry as EKS describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::api::v1alpha1::EntryType;
use crate::time::Timestamp;

/// An access entry as EKS described it, with the access policies that are associated with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The principal's full ARN: what identifies the entry in its cluster.
    pub principal_arn: String,
    /// The entry's own ARN, which tags are set by.
    pub arn: String,
    /// Its type.
    pub kind: Kind,
    /// The username, placeholders included; EKS's own default where none was given.
    pub username: String,
    /// The Kubernetes groups.
    pub groups: BTreeSet<String>,
    /// All its tags, ours and others'.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// When username or groups were last changed.
    pub modified: Timestamp,
    /// The associated access policies, by the policy's ARN.
    pub policies: BTreeMap<String, Association>,
}

impl AccessEntry {
    /// Associates a policy, or changes its scope.
    pub fn associate(&mut self, policy_arn: &str, scope: Scope) {
        let association = self.policies.entry(policy_arn.to_owned());
        association
            .and_modify(|association| association.scope = scope.clone())
            .or_insert(Association {
                scope,
                associated: self.modified,
                modified: self.modified,
            });
    }
}

/// The association of an access policy with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// Where the policy holds.
    pub scope: Scope,
    /// When it was first associated.
    pub associated: Timestamp,
    /// When its scope was last changed.
    pub modified: Timestamp,
}

/// Where an access policy holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the whole cluster.
    Cluster,
    /// In these namespaces, with `*` for any text.
    Namespaces(BTreeSet<String>),
}

impl Scope {
    /// Where either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Namespaces(some), Self::Namespaces(others)) => {
                Self::Namespaces(some.union(others).cloned().collect())
            }
            (Self::Cluster, _) | (_, Self::Cluster) => Self::Cluster,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Namespaces(namespaces) => {
                let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
                write!(f, "namespaces {}", names.join(", "))
            }
        }
    }
}

/// The type of a standing entry: the closed list that we know, or a newer one of EKS that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One that a mapping can declare.
    Known(EntryType),
    /// One that this version does not know, as EKS spells it.
    Unknown(String),
}

/// EKS's spelling of each type (EKS API reference, `CreateAccessEntry`).
const TYPES: [(EntryType, &str); 7] = [
    (EntryType::Standard, "STANDARD"),
    (EntryType::EC2Linux, "EC2_LINUX"),
    (EntryType::EC2Windows, "EC2_WINDOWS"),
    (EntryType::FargateLinux, "FARGATE_LINUX"),
    (EntryType::HybridLinux, "HYBRID_LINUX"),
    (EntryType::EC2, "EC2"),
    (EntryType::HyperPodLinux, "HYPERPOD_LINUX"),
];

impl Kind {
    /// Reads EKS's spelling.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let known = TYPES.iter().find(|(_, spelling)| *spelling == text);
        known.map_or_else(
            || Self::Unknown(text.to_owned()),
            |(type_, _)| Self::Known(*type_),
        )
    }

    /// Whether entries of this type are nodes'. One that we do not know is taken for one.
    #[must_use]
    pub const fn is_node(&self) -> bool {
        !matches!(self, Self::Known(EntryType::Standard))
    }

    /// EKS's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(type_) => TYPES
                .iter()
                .find(|(known, _)| known == type_)
                .map_or("STANDARD", |(_, spelling)| spelling),
            Self::Unknown(text) => text,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
