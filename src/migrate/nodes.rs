//! Why an entry of nodes can't be handed over as it is.

use crate::access_entry::{NodeTwin, node_twin};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::Meaning;
use crate::effective::is_node;
use crate::observed::Bindings;

/// What an entry of nodes that no mapping declares leaves open: which type its nodes are of, or how they can be of one at all.
pub(super) fn which_nodes(meaning: &Meaning, bindings: &Bindings) -> Option<String> {
    let Meaning {
        username, groups, ..
    } = meaning;
    if !is_node(meaning, bindings) {
        return None;
    }
    match node_twin(username, groups) {
        NodeTwin::Type(_) => None,
        NodeTwin::Ambiguous if !groups.contains("system:nodes") => Some(
            "the username is a node's but the group system:nodes is missing, which an access entry for nodes always gives: add it \
                if these are nodes, or give them another username and other groups"
                .to_owned(),
        ),
        NodeTwin::Ambiguous => Some(format!(
            "nodes of several types sign in as {username:?}, and aws-auth does not show the type: declare the role with its type \
                and adoption: Always. The types are HybridLinux, FargateLinux, HyperPodLinux, or EC2 for EKS Auto Mode and nodes \
                named after their instance. A type that names nodes differently, such as EC2Linux, would lock them out"
        )),
        NodeTwin::MoreGroups(EntryType::EC2Linux, more)
            if more.iter().eq(["system:node-proxier"]) =>
        {
            Some(
                "system:node-proxier is a group of Fargate, and the username is that of EC2 nodes: if the role is for Fargate, write \
                    username: \"system:node:{{SessionName}}\" in aws-auth; if it is for EC2 nodes, remove the group"
                    .to_owned(),
            )
        }
        NodeTwin::MoreGroups(type_, more) => {
            let more: Vec<String> = more.into_iter().collect();
            Some(format!(
                "an access entry of type {type_:?} can't have {}: bind its permissions to group system:nodes, or remove it from \
                    the entry if the nodes don't need it",
                more.join(", ")
            ))
        }
        NodeTwin::None => Some(format!(
            "EKS gives no node the username {username:?}, so no access entry can give these nodes their names: use a separate \
                role for new nodes, and move the workloads to them"
        )),
    }
}
