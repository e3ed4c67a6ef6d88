//! The expected answers of EKS, to predict later steps of a plan before any call is sent.

use std::collections::{BTreeMap, BTreeSet};

use super::{AccessEntry, Association, Call, Kind, Output, node_defaults};
use crate::principal::Principal;
use crate::time::Timestamp;

impl Call {
    /// What EKS is expected to answer at this time, given the entry that exists for the principal; `None` where it would refuse the
    /// call, because there is no entry, or one already.
    #[must_use]
    pub fn expected(&self, standing: Option<&AccessEntry>, now: Timestamp) -> Option<Output> {
        match self {
            Self::Describe { .. } => {
                standing.map(|entry| Output::Described(Box::new(entry.clone())))
            }
            Self::Create {
                principal_arn,
                kind,
                username,
                groups,
                tags,
            } => {
                if standing.is_some() {
                    return None;
                }
                let (username, groups) = given(kind, principal_arn, username.as_ref(), groups);
                Some(Output::Entry(Box::new(AccessEntry {
                    principal_arn: principal_arn.clone(),
                    // EKS chooses it, and nothing is decided by it.
                    arn: String::new(),
                    kind: kind.clone(),
                    username,
                    groups,
                    tags: tags.clone(),
                    created: now,
                    modified: now,
                    policies: BTreeMap::new(),
                })))
            }
            Self::Update {
                principal_arn,
                username,
                groups,
            } => {
                let standing = standing?;
                let (username, groups) =
                    given(&standing.kind, principal_arn, username.as_ref(), groups);
                Some(Output::Entry(Box::new(AccessEntry {
                    username,
                    groups,
                    modified: now,
                    policies: BTreeMap::new(),
                    ..standing.clone()
                })))
            }
            Self::Associate {
                policy_arn, scope, ..
            } => {
                let before = standing?.policies.get(policy_arn);
                Some(Output::Associated(Association {
                    scope: scope.clone(),
                    associated: before.map_or(now, |before| before.associated),
                    modified: now,
                }))
            }
            Self::Delete { .. }
            | Self::Disassociate { .. }
            | Self::Tag { .. }
            | Self::Untag { .. } => standing.map(|_| Output::Done),
        }
    }
}

/// The username and groups that an entry has once it was asked for these.
fn given(
    kind: &Kind,
    principal_arn: &str,
    username: Option<&String>,
    groups: &BTreeSet<String>,
) -> (String, BTreeSet<String>) {
    let defaults = match kind {
        Kind::Known(type_) => node_defaults(*type_),
        Kind::Unknown(_) => None,
    };
    if let Some(node) = defaults {
        let groups = node.groups.iter().map(|group| (*group).to_owned());
        return (node.username.to_owned(), groups.collect());
    }
    let username = username.cloned().unwrap_or_else(|| {
        Principal::parse(principal_arn)
            .map(|principal| principal.default_username())
            .unwrap_or_default()
    });
    (username, groups.clone())
}
