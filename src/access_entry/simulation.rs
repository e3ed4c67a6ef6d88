//! A small EKS without IO: answers calls by its documented behaviour. For tests.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

use std::collections::{BTreeMap, BTreeSet};

use super::{AccessEntry, Association, Call, Kind, Output, node_defaults};
use crate::api::v1alpha1::EntryType;
use crate::principal::Principal;
use crate::time::Timestamp;

/// The access entries of one cluster, by principal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Eks {
    pub(crate) entries: BTreeMap<String, AccessEntry>,
    /// The time of its answers.
    pub(crate) now: Timestamp,
}

/// The username of a Standard entry that was sent none.
fn default_username(principal_arn: &str) -> String {
    Principal::parse(principal_arn).unwrap().default_username()
}

/// What EKS makes of a username and groups that were sent: node types take neither.
fn identity(
    kind: &Kind,
    principal_arn: &str,
    username: Option<&String>,
    groups: &BTreeSet<String>,
) -> Result<(String, BTreeSet<String>), String> {
    let Kind::Known(type_) = kind else {
        return Err(format!(
            "AccessEntry type must be a known one, {kind} is not"
        ));
    };
    let Some(node) = node_defaults(*type_) else {
        let username = username.cloned();
        return Ok((
            username.unwrap_or_else(|| default_username(principal_arn)),
            groups.clone(),
        ));
    };
    if username.is_some() || !groups.is_empty() {
        return Err(format!(
            "setting username or kubernetesGroups is not allowed when the type is {kind}"
        ));
    }
    let groups = node.groups.iter().map(|group| (*group).to_owned());
    Ok((node.username.to_owned(), groups.collect()))
}

impl Eks {
    pub(crate) fn with(entry: &AccessEntry, now: Timestamp) -> Self {
        Self {
            entries: BTreeMap::from([(entry.principal_arn.clone(), entry.clone())]),
            now,
        }
    }

    fn entry(&mut self, principal_arn: &str) -> Result<&mut AccessEntry, String> {
        let missing = || format!("no access entry for {principal_arn}");
        self.entries.get_mut(principal_arn).ok_or_else(missing)
    }

    /// Answers one call, or refuses it.
    #[allow(clippy::too_many_lines, reason = "an arm for each call")]
    pub(crate) fn call(&mut self, call: &Call) -> Result<Output, String> {
        let now = self.now;
        match call {
            Call::Describe { principal_arn } => Ok(Output::Described(Box::new(
                self.entry(principal_arn)?.clone(),
            ))),
            Call::Create {
                principal_arn,
                kind,
                username,
                groups,
                tags,
            } => {
                if self.entries.contains_key(principal_arn) {
                    return Err(format!("{principal_arn} is already in use"));
                }
                let (username, groups) = identity(kind, principal_arn, username.as_ref(), groups)?;
                let entry = AccessEntry {
                    principal_arn: principal_arn.clone(),
                    arn: format!("arn:aws:eks:eu-west-1:111122223333:access-entry/main/{now}"),
                    kind: kind.clone(),
                    username,
                    groups,
                    tags: tags.clone(),
                    created: now,
                    modified: now,
                    policies: BTreeMap::new(),
                };
                self.entries.insert(principal_arn.clone(), entry.clone());
                Ok(Output::Entry(Box::new(entry)))
            }
            Call::Update {
                principal_arn,
                username,
                groups,
            } => {
                let entry = self.entry(principal_arn)?;
                if entry.kind != Kind::Known(EntryType::Standard) {
                    return Err("The username must not begin with system:".to_owned());
                }
                (entry.username, entry.groups) =
                    identity(&entry.kind, principal_arn, username.as_ref(), groups)?;
                entry.modified = now;
                Ok(Output::Entry(Box::new(AccessEntry {
                    policies: BTreeMap::new(),
                    ..entry.clone()
                })))
            }
            Call::Delete { principal_arn } => {
                self.entry(principal_arn)?;
                self.entries.remove(principal_arn);
                Ok(Output::Done)
            }
            Call::Associate {
                principal_arn,
                policy_arn,
                scope,
            } => {
                let entry = self.entry(principal_arn)?;
                let takes = [EntryType::Standard, EntryType::EC2].map(Kind::Known);
                if !takes.contains(&entry.kind) {
                    return Err("only Access Entries with a type of \"STANDARD\"".to_owned());
                }
                let associated = entry.policies.get(policy_arn);
                let association = Association {
                    scope: scope.clone(),
                    associated: associated.map_or(now, |before| before.associated),
                    modified: now,
                };
                entry
                    .policies
                    .insert(policy_arn.clone(), association.clone());
                Ok(Output::Associated(association))
            }
            Call::Disassociate {
                principal_arn,
                policy_arn,
            } => {
                let removed = self.entry(principal_arn)?.policies.remove(policy_arn);
                removed.ok_or_else(|| format!("{policy_arn} is not associated"))?;
                Ok(Output::Done)
            }
            Call::Tag {
                principal_arn,
                entry_arn,
                tags,
            } => {
                let entry = self.entry(principal_arn)?;
                if entry.arn != *entry_arn {
                    return Err(format!("no resource {entry_arn}"));
                }
                entry.tags.extend(tags.clone());
                Ok(Output::Done)
            }
            Call::Untag {
                principal_arn,
                keys,
                ..
            } => {
                let entry = self.entry(principal_arn)?;
                entry.tags.retain(|key, _| !keys.contains(key));
                Ok(Output::Done)
            }
        }
    }
}
