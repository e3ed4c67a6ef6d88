//! Which type for nodes an entry of aws-auth can become.

use super::*;
use EntryType::{EC2Linux, EC2Windows, FargateLinux};

const DNS: &str = "system:node:{{EC2PrivateDNSName}}";
const SESSION: &str = "system:node:{{SessionName}}";

#[test]
fn a_node_is_handed_over_only_under_the_same_name() {
    let both: &[&str] = &["system:bootstrappers", "system:nodes"];
    let windows: &[&str] = &[
        "system:bootstrappers",
        "system:nodes",
        "eks:kube-proxy-windows",
    ];
    let fargate: &[&str] = &[
        "system:bootstrappers",
        "system:nodes",
        "system:node-proxier",
    ];
    for (username, groups, twin) in [
        (DNS, both, NodeTwin::Type(EC2Linux)),
        (DNS, &["system:nodes"][..], NodeTwin::Type(EC2Linux)),
        (DNS, windows, NodeTwin::Type(EC2Windows)),
        (SESSION, fargate, NodeTwin::Type(FargateLinux)),
        (SESSION, both, NodeTwin::Ambiguous),
        (SESSION, &["system:nodes"], NodeTwin::Ambiguous),
        (DNS, &["system:bootstrappers"], NodeTwin::Ambiguous),
        (SESSION, &["system:node-proxier"], NodeTwin::Ambiguous),
        (
            DNS,
            &["system:nodes", "system:masters", "ops"],
            NodeTwin::MoreGroups(EC2Linux, set(&["ops", "system:masters"])),
        ),
        (
            DNS,
            fargate,
            NodeTwin::MoreGroups(EC2Linux, set(&["system:node-proxier"])),
        ),
        (
            SESSION,
            &["system:nodes", "system:node-proxier", "ops"],
            NodeTwin::MoreGroups(FargateLinux, set(&["ops"])),
        ),
        ("system:node:ip-10-0-0-1", both, NodeTwin::None),
        ("system:node:{{SessionNameRaw}}", fargate, NodeTwin::None),
        ("{{EC2PrivateDNSName}}", both, NodeTwin::None),
        ("bob", &[], NodeTwin::None),
    ] {
        assert_eq!(
            node_twin(username, &set(groups)),
            twin,
            "{username} {groups:?}"
        );
    }
}

#[test]
fn what_a_twin_would_be_given_covers_what_it_had() {
    for type_ in [EC2Linux, EC2Windows, FargateLinux] {
        let node = node_defaults(type_).unwrap();
        assert_eq!(
            node_twin(node.username, &set(node.groups)),
            NodeTwin::Type(type_)
        );
    }
    assert_eq!(node_defaults(EntryType::Standard), None);
}
