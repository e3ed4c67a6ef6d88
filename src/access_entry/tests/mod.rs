//! Tests of the access entry as a value: tables of what EKS accepts and of every change, and laws against a small EKS.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::access_entry::EksCluster;
use crate::api::v1alpha1::{AccessPolicy, AccessScope, EntryType, ScopeType};
use crate::principal::Principal;
use crate::time::Timestamp;

mod changes;
mod in_flight;
mod known;
mod laws;
mod nodes;
mod targets;

const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
const EDIT: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";
const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const ROLE: &str = "arn:aws:iam::111122223333:role/team/Developers";

fn cluster() -> EksCluster {
    EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/main").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn namespaces(names: &[&str]) -> Scope {
    Scope::Namespaces(set(names))
}

fn in_cluster(policy: &str) -> AccessPolicy {
    AccessPolicy {
        policy: policy.to_owned(),
        scope: AccessScope::default(),
    }
}

fn in_namespaces(policy: &str, names: &[&str]) -> AccessPolicy {
    AccessPolicy {
        policy: policy.to_owned(),
        scope: AccessScope {
            type_: ScopeType::Namespace,
            namespaces: names.iter().map(|name| (*name).to_owned()).collect(),
        },
    }
}

/// What a spec with these fields asks for in [`cluster`].
fn asked(
    arn: &str,
    type_: EntryType,
    username: Option<&str>,
    groups: &[&str],
    policies: &[AccessPolicy],
) -> Result<Target, Inexpressible> {
    let declared = Declared {
        principal: &Principal::parse(arn).unwrap(),
        type_,
        username,
        groups: &set(groups),
        policies,
    };
    target(&declared, &cluster())
}

/// The target of a Standard entry of [`ROLE`].
fn standard(username: Option<&str>, groups: &[&str], policies: &[AccessPolicy]) -> Target {
    asked(ROLE, EntryType::Standard, username, groups, policies).unwrap()
}
