//! What entries of nodes leave open.

use crate::access_entry::{NodeTwin, node_twin};
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
            "it is an identity of nodes without group system:nodes, which an access entry of nodes always gives: put it among the groups if \
             these are nodes, or else give them another username and other groups"
                .to_owned(),
        ),
        NodeTwin::Ambiguous => Some(format!(
            "nodes of several types sign in as {username:?}, and aws-auth does not tell which these are: declare the role with its type and \
             adoption: Always. HybridLinux, FargateLinux, HyperPodLinux, or EC2 for nodes of EKS Auto Mode and nodes that are named after \
             their instance; a type that names nodes otherwise, as EC2Linux does, would throw them out"
        )),
        NodeTwin::MoreGroups(type_, more) => {
            let more: Vec<String> = more.into_iter().collect();
            Some(format!(
                "an access entry of type {type_:?} can't have {}: bind what it gives to group system:nodes or take it out of the entry, if the \
                 nodes can do without",
                more.join(", ")
            ))
        }
        NodeTwin::None => Some(format!(
            "EKS gives no node the username {username:?}, so no access entry lets these nodes in under their names: give new nodes a role of \
             their own, and move the workloads there"
        )),
    }
}
