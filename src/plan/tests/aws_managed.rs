//! Access entries that AWS keeps: what a mapping adds to them, and what becomes of that.

use serde_json::{Value, json};

use crate::access_entry::{
    AWS_POLICIES_TAG, CREATED_TAG, Call, INSTALLATION_TAG, Kind, MAPPING_TAG, Scope,
};
use crate::api::v1alpha1::EntryType;
use crate::observed::{ManagedPrincipals, Mode};
use crate::plan::simulation::Simulation;

const ARGO: &str = "arn:aws:iam::111122223333:role/argo";
const NODE: &str = "arn:aws:iam::111122223333:role/node";
const CLUSTER_POLICY: &str = "AmazonEKSArgoCDClusterPolicy";
const VIEW: &str = "AmazonEKSViewPolicy";

fn arn(policy: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{policy}")
}

/// AWS makes an entry, as a person's call would.
fn made(simulation: &mut Simulation, principal: &str, type_: EntryType, policies: &[&str]) {
    simulation.by_hand(&Call::Create {
        principal_arn: principal.to_owned(),
        kind: Kind::Known(type_),
        username: None,
        groups: [].into(),
        tags: [].into(),
    });
    for policy in policies {
        associated(simulation, principal, policy);
    }
}

fn associated(simulation: &mut Simulation, principal: &str, policy: &str) {
    simulation.by_hand(&Call::Associate {
        principal_arn: principal.to_owned(),
        policy_arn: arn(policy),
        scope: Scope::Cluster,
    });
}

/// A cluster with an entry of the Argo CD capability's role and one of a node group's, where EKS says what it uses.
fn cluster() -> Simulation {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.cloud().uses = Some(vec![
        (ARGO, "EKS capability \"argo\""),
        (NODE, "node group \"web\""),
    ]);
    made(
        &mut simulation,
        ARGO,
        EntryType::Standard,
        &[CLUSTER_POLICY],
    );
    made(&mut simulation, NODE, EntryType::EC2Linux, &[]);
    simulation
}

/// The spec of a mapping of the capability's role.
fn spec(adoption: &str) -> Value {
    json!({"username": null, "groups": ["hub"], "accessPolicies": [{"policy": VIEW}], "adoption": adoption})
}

fn tags(simulation: &Simulation, principal: &str) -> Vec<String> {
    let cloud = simulation.cloud.as_ref().expect("EKS is there");
    let tags = cloud.eks.entries[principal].tags.keys();
    tags.cloned().collect()
}

fn groups_and_policies(simulation: &Simulation, role: &str) -> (Vec<String>, Vec<String>) {
    let (_, groups, policies) = simulation.access_entry(role).expect("an entry");
    (groups, policies)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A mapping that adopted the capability's entry.
fn adopted() -> Simulation {
    let mut simulation = cluster();
    simulation.create("argo", "role/argo", &spec("Always"));
    simulation.settle();
    simulation
}

#[test]
fn adoption_by_default_never_takes_one_over() {
    let mut simulation = cluster();
    simulation.create("argo", "role/argo", &spec("IfIdentical"));
    simulation.create(
        "same",
        "role/node",
        &json!({"username": null, "groups": null, "type": "EC2Linux"}),
    );
    simulation.settle();
    assert_eq!(simulation.calls(), [""; 0]);
    assert_eq!(
        simulation.condition("argo", "Synced"),
        "False UnmanagedEntry"
    );
    let message = simulation.message("argo", "Synced");
    assert!(
        message.contains("AWS manages it for EKS capability \"argo\""),
        "{message}"
    );
    assert!(message.contains("group \"hub\" missing"), "{message}");
    assert!(
        !message.contains(CLUSTER_POLICY),
        "AWS's are no difference: {message}"
    );
    assert_eq!(simulation.ready("same"), "True InEffect");
    assert_eq!(simulation.condition("same", "Synced"), "False NotManaged");
    let message = simulation.message("same", "Synced");
    assert!(message.contains("node group \"web\""), "{message}");
    for mapping in ["argo", "same"] {
        simulation.delete(mapping);
    }
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert_eq!(simulation.calls(), [""; 0]);
}

#[test]
fn a_mapping_adds_to_it_and_takes_that_back() {
    let mut simulation = adopted();
    assert_eq!(
        simulation.calls(),
        [
            "TagResource argo",
            "AssociateAccessPolicy argo",
            "UpdateAccessEntry argo"
        ]
    );
    assert_eq!(simulation.ready("argo"), "True InEffect");
    assert_eq!(simulation.condition("argo", "Synced"), "True Synced");
    let both = names(&[
        "AmazonEKSArgoCDClusterPolicy in cluster",
        "AmazonEKSViewPolicy in cluster",
    ]);
    assert_eq!(
        groups_and_policies(&simulation, "role/argo"),
        (names(&["hub"]), both)
    );
    assert!(tags(&simulation, ARGO).contains(&AWS_POLICIES_TAG.to_owned()));
    assert!(!tags(&simulation, ARGO).contains(&CREATED_TAG.to_owned()));

    simulation.edit("argo", |object| object.spec.access_policies.clear());
    simulation.settle();
    assert_eq!(simulation.calls(), ["DisassociateAccessPolicy argo"]);

    simulation.delete("argo");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["UpdateAccessEntry argo", "UntagResource argo"]
    );
    assert!(simulation.objects.is_empty());
    let aws = names(&["AmazonEKSArgoCDClusterPolicy in cluster"]);
    assert_eq!(
        groups_and_policies(&simulation, "role/argo"),
        (Vec::new(), aws)
    );
    assert_eq!(tags(&simulation, ARGO), [""; 0]);
    let said = simulation.events.last().expect("an event");
    assert_eq!(said.reason.as_str(), "EntryKept");
    assert!(
        said.note.contains("AWS manages it for EKS capability"),
        "{}",
        said.note
    );
}

#[test]
fn it_is_given_back_by_what_the_tags_say_after_everything_else_was_lost() {
    let mut simulation = adopted();
    simulation.calls();
    simulation.restart();
    simulation.edit("argo", |object| object.status = None);
    // EKS can't be asked any more either.
    simulation.cloud().uses = None;
    simulation.cloud().managed = ManagedPrincipals::default();
    simulation.delete("argo");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        [
            "DisassociateAccessPolicy argo",
            "UpdateAccessEntry argo",
            "UntagResource argo"
        ]
    );
    let aws = names(&["AmazonEKSArgoCDClusterPolicy in cluster"]);
    assert_eq!(
        groups_and_policies(&simulation, "role/argo"),
        (Vec::new(), aws)
    );
}

#[test]
fn with_its_tags_lost_it_is_known_by_the_status_and_given_back() {
    let mut simulation = adopted();
    simulation.calls();
    let keys = tags(&simulation, ARGO).into_iter().collect();
    let entry_arn = simulation.cloud().eks.entries[ARGO].arn.clone();
    simulation.by_hand(&Call::Untag {
        principal_arn: ARGO.to_owned(),
        entry_arn,
        keys,
    });
    simulation.restart();
    simulation.delete("argo");
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["DisassociateAccessPolicy argo", "UpdateAccessEntry argo"]
    );
    assert!(simulation.objects.is_empty());
    let aws = names(&["AmazonEKSArgoCDClusterPolicy in cluster"]);
    assert_eq!(
        groups_and_policies(&simulation, "role/argo"),
        (Vec::new(), aws)
    );
}

#[test]
fn what_aws_associates_later_stays_and_is_remembered() {
    let mut simulation = adopted();
    simulation.calls();
    associated(&mut simulation, ARGO, "AmazonEKSEditPolicy");
    simulation.settle();
    assert_eq!(simulation.calls(), ["TagResource argo"], "only remembered");
    assert_eq!(simulation.ready("argo"), "True InEffect");
    assert_eq!(simulation.condition("argo", "Synced"), "True Synced");
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.calls(), [""; 0]);
    simulation.delete("argo");
    simulation.settle();
    let (_, policies) = groups_and_policies(&simulation, "role/argo");
    assert_eq!(
        policies,
        [
            "AmazonEKSArgoCDClusterPolicy in cluster",
            "AmazonEKSEditPolicy in cluster"
        ]
    );
}

#[test]
fn on_an_ordinary_entry_of_ours_it_is_drift_and_on_one_that_a_capability_uses_it_stays() {
    for used in [false, true] {
        let mut simulation = cluster();
        if used {
            let dev = (
                "arn:aws:iam::111122223333:role/dev",
                "EKS capability \"dev\"",
            );
            simulation.cloud().uses.as_mut().expect("online").push(dev);
        }
        simulation.create("dev", "role/dev", &json!({}));
        simulation.settle();
        simulation.calls();
        simulation.later(600);
        associated(
            &mut simulation,
            "arn:aws:iam::111122223333:role/dev",
            CLUSTER_POLICY,
        );
        simulation.settle();
        let (_, policies) = groups_and_policies(&simulation, "role/dev");
        if used {
            assert_eq!(simulation.calls(), ["TagResource dev"]);
            assert_eq!(policies, ["AmazonEKSArgoCDClusterPolicy in cluster"]);
        } else {
            assert_eq!(simulation.calls(), ["DisassociateAccessPolicy dev"]);
            assert_eq!(policies, [""; 0]);
        }
        assert_eq!(simulation.ready("dev"), "True InEffect");
        simulation.delete("dev");
        simulation.settle();
        assert_eq!(
            simulation.access_entry("role/dev").is_some(),
            used,
            "a capability needs it"
        );
        if used {
            assert_eq!(groups_and_policies(&simulation, "role/dev").0, [""; 0]);
        }
    }
}

#[test]
fn a_person_who_adds_to_an_entry_that_we_made_is_undone_without_asking_eks() {
    let mut simulation = cluster();
    simulation.create("dev", "role/dev", &json!({}));
    simulation.settle();
    assert!(!tags(&simulation, "arn:aws:iam::111122223333:role/dev").is_empty());
    simulation.later(600);
    associated(
        &mut simulation,
        "arn:aws:iam::111122223333:role/dev",
        "AmazonEKSClusterAdminPolicy",
    );
    simulation.calls();
    let report = simulation.pass();
    assert!(!report.managed);
    assert_eq!(simulation.calls(), ["DisassociateAccessPolicy dev"]);
}

#[test]
fn an_adopted_entry_is_deleted_only_once_eks_has_said_that_it_does_not_use_it() {
    for uses in [
        Some(Vec::new()),
        Some(vec![(NODE, "node group \"web\"")]),
        None,
    ] {
        let mut simulation = cluster();
        simulation.cloud().uses = Some(Vec::new());
        simulation.create(
            "nodes",
            "role/node",
            &json!({"username": null, "groups": null, "type": "EC2Linux", "adoption": "Always"}),
        );
        simulation.settle();
        assert_eq!(simulation.calls(), ["TagResource node"]);
        simulation.later(600);
        simulation.cloud().uses.clone_from(&uses);
        simulation.cloud().managed = ManagedPrincipals::default();
        simulation.confirm("nodes", "node-entry");
        simulation.delete("nodes");
        simulation.settle();
        let expected = match &uses {
            Some(uses) if uses.is_empty() => "DeleteAccessEntry node",
            _ => "UntagResource node",
        };
        assert_eq!(simulation.calls(), [expected], "{uses:?}");
        assert!(simulation.objects.is_empty());
    }
}

#[test]
fn an_entry_tagged_by_an_older_version_is_not_deleted_under_a_capability() {
    let mut simulation = cluster();
    let entry_arn = simulation.cloud().eks.entries[ARGO].arn.clone();
    simulation.by_hand(&Call::Tag {
        principal_arn: ARGO.to_owned(),
        entry_arn,
        tags: [
            (
                INSTALLATION_TAG.to_owned(),
                "kube-system/aws-auth".to_owned(),
            ),
            (MAPPING_TAG.to_owned(), "argo".to_owned()),
        ]
        .into(),
    });
    let declared =
        json!({"username": null, "groups": null, "accessPolicies": [{"policy": CLUSTER_POLICY}]});
    simulation.create("argo", "role/argo", &declared);
    simulation.settle();
    assert_eq!(simulation.calls(), [""; 0], "it stands as declared");
    assert_eq!(simulation.ready("argo"), "True InEffect");
    simulation.delete("argo");
    simulation.settle();
    assert_eq!(simulation.calls(), ["UntagResource argo"]);
    let (_, policies) = groups_and_policies(&simulation, "role/argo");
    assert_eq!(policies, ["AmazonEKSArgoCDClusterPolicy in cluster"]);
}

#[test]
fn expiry_gives_back_and_says_what_stays() {
    let mut simulation = adopted();
    simulation.calls();
    let now = simulation.now;
    simulation.edit("argo", |object| {
        let soon = now.plus(jiff::SignedDuration::from_mins(20));
        object.spec.valid_until = Some(soon.into());
    });
    simulation.settle();
    simulation.later(1300);
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        [
            "DisassociateAccessPolicy argo",
            "UpdateAccessEntry argo",
            "UntagResource argo"
        ]
    );
    assert_eq!(simulation.ready("argo"), "False StillGranted");
    let message = simulation.message("argo", "Ready");
    assert!(
        message.contains("AWS manages it for EKS capability"),
        "{message}"
    );
}

#[test]
fn a_wrong_type_names_the_call_and_what_follows_and_offers_no_adoption() {
    for adoption in ["IfIdentical", "Always", "Never"] {
        let mut simulation = cluster();
        made(
            &mut simulation,
            "arn:aws:iam::111122223333:role/karpenter",
            EntryType::Standard,
            &[],
        );
        let node = |type_: &str| json!({"username": null, "groups": null, "type": type_, "adoption": adoption});
        simulation.create("karpenter", "role/karpenter", &node("EC2Linux"));
        simulation.create("windows", "role/node", &node("EC2Windows"));
        simulation.create("people", "role/argo", &node("EC2Linux"));
        simulation.settle();
        assert_eq!(simulation.calls(), [""; 0]);
        for (mapping, role, more) in [
            (
                "karpenter",
                "karpenter",
                "identity-mapper then creates one of type EC2Linux",
            ),
            ("windows", "node", "set spec.type: EC2Linux"),
            (
                "windows",
                "node",
                "until that exists, nodes that use this role have no access",
            ),
            ("people", "argo", "AWS manages it for EKS capability"),
        ] {
            assert_eq!(
                simulation.condition(mapping, "Synced"),
                "False UnmanagedEntry"
            );
            let message = simulation.message(mapping, "Synced");
            let call = format!(
                "aws eks delete-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/{role}"
            );
            assert!(
                message.contains(&call) && message.contains(more),
                "{message}"
            );
            assert!(!message.contains("adoption"), "{message}");
        }
    }
}

#[test]
fn a_scope_of_aws_is_neither_narrowed_nor_widened() {
    let mut simulation = cluster();
    let within = Scope::Namespaces(["argocd".to_owned()].into());
    simulation.by_hand(&Call::Associate {
        principal_arn: ARGO.to_owned(),
        policy_arn: arn("AmazonEKSArgoCDPolicy"),
        scope: within,
    });
    let declared = json!({
        "username": null,
        "groups": null,
        "adoption": "Always",
        "accessPolicies": [
            {"policy": CLUSTER_POLICY, "scope": {"type": "Namespace", "namespaces": ["a"]}},
            {"policy": "AmazonEKSArgoCDPolicy"},
        ],
    });
    simulation.create("argo", "role/argo", &declared);
    simulation.settle();
    assert_eq!(simulation.calls(), [""; 0]);
    assert_eq!(
        simulation.condition("argo", "Synced"),
        "False NotExpressible"
    );
    let message = simulation.message("argo", "Synced");
    assert!(
        message.contains("AmazonEKSArgoCDPolicy (namespaces argocd)"),
        "{message}"
    );
    simulation.edit("argo", |object| {
        object.spec.access_policies.pop();
    });
    simulation.settle();
    assert_eq!(simulation.calls(), ["TagResource argo"]);
    assert_eq!(
        simulation.ready("argo"),
        "True InEffect",
        "the wider scope is AWS's"
    );
}

#[test]
fn it_does_not_make_way_for_aws_auth() {
    let mut simulation = cluster();
    simulation.cloud().mode = Mode::ApiAndConfigMap;
    simulation.create(
        "argo",
        "role/argo",
        &json!({"username": null, "adoption": "Always"}),
    );
    simulation.settle();
    simulation.calls();
    simulation.edit("argo", |object| {
        object.spec.backend = crate::api::v1alpha1::BackendChoice::ConfigMap;
    });
    simulation.settle();
    simulation.later(600);
    simulation.settle();
    assert_eq!(simulation.calls(), [""; 0]);
    let message = simulation.message("argo", "Synced");
    assert!(
        message.contains("set spec.backend: AccessEntry"),
        "{message}"
    );
}
