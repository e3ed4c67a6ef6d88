//! Access entries of nodes: what EKS sets for each type, and which type an entry of aws-auth corresponds to.

use std::collections::BTreeSet;

use super::cluster::EksCluster;
use super::entry::{AccessEntry, Kind};
use crate::api::v1alpha1::EntryType;

/// Nodes that are named after their private DNS name.
const INSTANCE: &str = "system:node:{{EC2PrivateDNSName}}";
/// Nodes that are named after their session.
const SESSION: &str = "system:node:{{SessionName}}";

const BOOTSTRAPPERS: &str = "system:bootstrappers";
const NODES: &str = "system:nodes";
const NODE_PROXIER: &str = "system:node-proxier";
const WINDOWS_PROXY: &str = "eks:kube-proxy-windows";

/// The username and groups that EKS gives the entries of a type for nodes, and that nobody can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeDefaults {
    /// The username, placeholders included. It must come out as the name of the `Node` object.
    pub username: &'static str,
    /// The groups.
    pub groups: &'static [&'static str],
}

/// What EKS gives the entries of this type; `None` for `Standard`, whose username and groups are set.
///
/// The usernames of `EC2_LINUX`, `EC2_WINDOWS`, `FARGATE_LINUX` and `HYBRID_LINUX` are those of the EKS user guide
/// (*Create access entries*), that of `EC2` is what EKS answers. AWS does not say what it gives `HYPERPOD_LINUX`; its nodes
/// sign in with their session's name too. Groups other than system:nodes are not documented: those of Windows and Fargate
/// are taken from what EKS writes to aws-auth for them.
#[must_use]
pub const fn node_defaults(type_: EntryType) -> Option<NodeDefaults> {
    let (username, groups): (_, &'static [&'static str]) = match type_ {
        EntryType::Standard => return None,
        EntryType::EC2Linux => (INSTANCE, &[NODES]),
        EntryType::EC2Windows => (INSTANCE, &[NODES, WINDOWS_PROXY]),
        EntryType::FargateLinux => (SESSION, &[NODES, NODE_PROXIER]),
        EntryType::HybridLinux | EntryType::EC2 | EntryType::HyperPodLinux => (SESSION, &[NODES]),
    };
    Some(NodeDefaults { username, groups })
}

/// What an entry of aws-auth would be as an access entry of a type for nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeTwin {
    /// An access entry of this type gives the nodes the same names and all they need.
    Type(EntryType),
    /// Nodes that are named after their session, or that lack system:nodes: of several types or of none, which only a person
    /// can tell.
    Ambiguous,
    /// Of this type, but for groups that an access entry of it can't have.
    MoreGroups(EntryType, BTreeSet<String>),
    /// The username is none that EKS gives nodes.
    None,
}

/// Whether an access entry of a type gives nodes the same name as this username does in aws-auth, and all that these groups give.
#[must_use]
pub fn gives_the_same_nodes(type_: EntryType, username: &str, groups: &BTreeSet<String>) -> bool {
    node_defaults(type_).is_some_and(|node| {
        node.username == username && groups.contains(NODES) && more_groups(node, groups).is_empty()
    })
}

/// Groups that an access entry of these defaults can't have.
fn more_groups(node: NodeDefaults, groups: &BTreeSet<String>) -> BTreeSet<String> {
    let given = |group: &str| group == BOOTSTRAPPERS || node.groups.contains(&group);
    groups
        .iter()
        .filter(|group| !given(group))
        .cloned()
        .collect()
}

/// Which type for nodes an entry of aws-auth can be handed over to: only one whose username comes out the same, because a
/// kubelet may only speak for the `Node` of its own name.
///
/// `system:bootstrappers` may be lost: kubelets on EKS sign in as nodes from the first moment, and EKS itself leaves it out
/// where it makes access entries from its own entries of aws-auth.
#[must_use]
pub fn node_twin(username: &str, groups: &BTreeSet<String>) -> NodeTwin {
    let type_ = match username {
        INSTANCE if groups.contains(WINDOWS_PROXY) => EntryType::EC2Windows,
        INSTANCE => EntryType::EC2Linux,
        SESSION if groups.contains(NODE_PROXIER) => EntryType::FargateLinux,
        SESSION => return NodeTwin::Ambiguous,
        _ => return NodeTwin::None,
    };
    if !groups.contains(NODES) {
        return NodeTwin::Ambiguous;
    }
    let more = node_defaults(type_).map_or_else(BTreeSet::new, |node| more_groups(node, groups));
    if more.is_empty() {
        NodeTwin::Type(type_)
    } else {
        NodeTwin::MoreGroups(type_, more)
    }
}

/// Why nodes can't work: their access entry is of another type than theirs, and wins whatever aws-auth gives them.
pub(crate) fn broken_nodes<'g>(
    username: &str,
    groups: impl IntoIterator<Item = &'g String>,
    entry: &AccessEntry,
    cluster: &EksCluster,
) -> Option<String> {
    let NodeTwin::Type(type_) = node_twin(username, &groups.into_iter().cloned().collect()) else {
        return None;
    };
    let needs = node_defaults(type_)?;
    if needs.username == entry.username
        && needs
            .groups
            .iter()
            .all(|group| entry.groups.contains(*group))
    {
        return None;
    }
    let on = format!(
        "{} --principal-arn {}",
        cluster.cli_flags(),
        entry.principal_arn
    );
    let type_ = Kind::Known(type_);
    Some(format!(
        "these nodes can't work: their access entry has type {}, which wins over aws-auth, and they need one of type {type_}. EKS can't \
            change a type, so delete the entry and create it again: `aws eks delete-access-entry {on}`, then `aws eks \
            create-access-entry {on} --type {type_}`",
        entry.kind
    ))
}
