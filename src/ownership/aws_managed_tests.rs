#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::zero_sized_map_values,
    reason = "a table of cases"
)]
use std::collections::BTreeMap;

use super::*;
use crate::access_entry::{Association, FailureKind, Scope};
use crate::observed::Users;

const ARGO: &str = "arn:aws:iam::111122223333:role/ArgoCDCapabilityRole";
const LINKED: &str =
    "arn:aws:iam::111122223333:role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn arn(policy: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{policy}")
}

fn set(policies: &[&str]) -> BTreeSet<String> {
    policies.iter().map(|policy| arn(policy)).collect()
}

fn entry(principal: &str, kind: &str, tags: &[(&str, &str)], policies: &[&str]) -> AccessEntry {
    let association = Association {
        scope: Scope::Cluster,
        associated: now(),
        modified: now(),
    };
    let tag = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    AccessEntry {
        principal_arn: principal.to_owned(),
        arn: "arn:aws:eks:eu-west-1:111122223333:access-entry/main/x".to_owned(),
        kind: Kind::parse(kind),
        username: String::new(),
        groups: BTreeSet::new(),
        tags: tags.iter().map(tag).collect(),
        created: now(),
        modified: now(),
        policies: set(policies)
            .into_iter()
            .map(|policy| (policy, association.clone()))
            .collect(),
    }
}

fn denied() -> Failure {
    Failure {
        kind: FailureKind::Denied {
            action: "eks:ListCapabilities".to_owned(),
            statement: String::new(),
        },
        message: String::new(),
    }
}

/// What EKS has told: which parts answered, with users of the Argo CD role, and which are denied.
fn told(answered: &[Feature], refused: &[Feature], used: bool) -> ManagedPrincipals {
    let mut managed = ManagedPrincipals {
        asked: true,
        ..ManagedPrincipals::default()
    };
    for feature in answered {
        let mut users = Users::new();
        if used && *feature == Feature::Capabilities {
            let key = Key::parse_arn(ARGO).expect("an ARN");
            users.insert(key, "EKS capability \"argo\"".to_owned());
        }
        managed.take(*feature, Ok(users), now());
    }
    for feature in refused {
        managed.take(*feature, Err(denied()), now());
    }
    managed
}

fn word(keeper: &Keeper<'_>) -> &'static str {
    match keeper {
        Keeper::Nobody => "nobody",
        Keeper::Unknown(None) => "asked",
        Keeper::Unknown(Some(_)) => "retried",
        Keeper::Aws(cause) => match cause {
            Cause::Tag(_) => "tag",
            Cause::ServiceLinkedRole => "service",
            Cause::UsedBy(_) => "used",
            Cause::Adopted => "adopted",
            Cause::Type(_) => "type",
            Cause::Policy(_) => "policy",
        },
    }
}

#[test]
fn who_keeps_an_entry() {
    use Feature::{Capabilities, Cluster, FargateProfiles, NodeGroups};
    let ours = (INSTALLATION_TAG, "kube-system/aws-auth");
    let made = [ours, (CREATED_TAG, CREATED)];
    let adopted = [ours, (AWS_POLICIES_TAG, "none")];
    let argo_policies = ["AmazonEKSArgoCDClusterPolicy"];
    let offline = ManagedPrincipals::default();
    let pending = told(&[], &[], false);
    let all = told(&Feature::ALL, &[], false);
    let used = told(&Feature::ALL, &[], true);
    let no_capabilities = told(
        &[Cluster, NodeGroups, FargateProfiles],
        &[Capabilities],
        false,
    );
    let no_nodes = told(
        &[Cluster, Capabilities],
        &[NodeGroups, FargateProfiles],
        false,
    );
    let standard = entry(ARGO, "STANDARD", &[], &["AmazonEKSViewPolicy"]);
    let argo = entry(ARGO, "STANDARD", &[], &argo_policies);
    let node = entry(ARGO, "EC2_LINUX", &[ours], &[]);
    let fargate = entry(ARGO, "FARGATE_LINUX", &[], &[]);
    let auto_node = entry(ARGO, "EC2", &[], &["AmazonEKSAutoNodePolicy"]);
    let made_node = entry(ARGO, "EC2_LINUX", &made, &[]);
    let made_with_argo = entry(ARGO, "STANDARD", &made, &argo_policies);
    for (what, entry, managed, expected) in [
        ("an ordinary one", &standard, &offline, "nobody"),
        ("an ordinary one", &standard, &pending, "asked"),
        ("an ordinary one", &standard, &all, "nobody"),
        ("an ordinary one, used", &standard, &used, "used"),
        (
            "an ordinary one, denied",
            &standard,
            &no_capabilities,
            "nobody",
        ),
        ("a policy of capabilities", &argo, &offline, "policy"),
        ("a policy of capabilities", &argo, &pending, "asked"),
        ("a policy of capabilities", &argo, &all, "nobody"),
        (
            "a policy of capabilities",
            &argo,
            &no_capabilities,
            "policy",
        ),
        ("a policy of capabilities", &argo, &no_nodes, "nobody"),
        ("a node's, ours, adopted perhaps", &node, &offline, "type"),
        ("a node's", &node, &all, "nobody"),
        ("a node's", &node, &no_capabilities, "nobody"),
        ("a node's", &node, &no_nodes, "type"),
        ("Fargate's", &fargate, &no_nodes, "type"),
        ("Auto Mode's node", &auto_node, &offline, "type"),
        ("Auto Mode's node", &auto_node, &no_nodes, "nobody"),
        ("a node's that we made", &made_node, &offline, "nobody"),
        ("a node's that we made", &made_node, &pending, "nobody"),
        ("a node's that we made, used", &made_node, &used, "used"),
        (
            "ours, and AWS associated",
            &made_with_argo,
            &offline,
            "nobody",
        ),
        (
            "ours, and AWS associated",
            &made_with_argo,
            &pending,
            "asked",
        ),
        ("ours, and AWS associated", &made_with_argo, &used, "used"),
        (
            "ours, and AWS associated",
            &made_with_argo,
            &no_capabilities,
            "nobody",
        ),
        (
            "adopted from AWS",
            &entry(ARGO, "STANDARD", &adopted, &[]),
            &all,
            "adopted",
        ),
        (
            "the tag without an owner",
            &entry(ARGO, "STANDARD", &[(AWS_POLICIES_TAG, "none")], &[]),
            &all,
            "nobody",
        ),
        (
            "made, without an owner",
            &entry(ARGO, "EC2_LINUX", &[(CREATED_TAG, CREATED)], &[]),
            &offline,
            "type",
        ),
        (
            "a tag of AWS",
            &entry(ARGO, "STANDARD", &[("aws:eks:managed", "x")], &[]),
            &all,
            "tag",
        ),
        (
            "a stack's",
            &entry(
                ARGO,
                "STANDARD",
                &[("aws:cloudformation:stack-name", "x")],
                &[],
            ),
            &all,
            "nobody",
        ),
        (
            "a service's",
            &entry(LINKED, "STANDARD", &[], &[]),
            &all,
            "service",
        ),
        (
            "a type to come",
            &entry(ARGO, "MOON", &[], &[]),
            &no_nodes,
            "type",
        ),
        (
            "a type to come",
            &entry(ARGO, "MOON", &[], &[]),
            &all,
            "nobody",
        ),
    ] {
        let found = keeper(entry, managed, now());
        assert_eq!(word(&found), expected, "{what}: {found:?}");
        if matches!(found, Keeper::Unknown(_)) {
            assert!(rests_on_answers(entry), "{what}: an answer is asked for");
        }
    }
}

#[test]
fn an_answer_that_fails_for_a_while_is_waited_for() {
    let mut managed = told(&[Feature::Cluster], &[Feature::NodeGroups], false);
    let failure = Failure {
        kind: FailureKind::Unavailable,
        message: "no answer".to_owned(),
    };
    managed.take(Feature::Capabilities, Err(failure), now());
    let ordinary = entry(ARGO, "STANDARD", &[], &[]);
    let found = keeper(&ordinary, &managed, now());
    assert_eq!(
        word(&found),
        "asked",
        "Fargate profiles were not asked for yet"
    );
    managed.take(Feature::FargateProfiles, Ok(Users::new()), now());
    assert_eq!(word(&keeper(&ordinary, &managed, now())), "retried");
}

#[test]
fn which_policies_are_of_aws() {
    const VIEW: &str = "AmazonEKSViewPolicy";
    const EDIT: &str = "AmazonEKSEditPolicy";
    const ARGO_CD: &str = "AmazonEKSArgoCDPolicy";
    const BOTH: [&str; 2] = [ARGO_CD, VIEW];
    let tagged = tag_of(&set(&[ARGO_CD]));
    let other = tag_of(&set(&[EDIT]));
    let cases: [(&str, Option<&str>, bool, bool, Option<&[&str]>, &[&str]); 12] = [
        ("an ordinary one, unmanaged", None, false, false, None, &[]),
        ("AWS's, never ours", None, true, false, None, &BOTH),
        (
            "AWS's, taken up again",
            None,
            true,
            false,
            Some(&[VIEW]),
            &[ARGO_CD],
        ),
        ("AWS's, ours of old", None, true, true, None, &[ARGO_CD]),
        (
            "AWS's, ours of old, said to be written",
            None,
            true,
            true,
            Some(&BOTH),
            &[ARGO_CD],
        ),
        ("AWS's, one appeared", None, true, true, Some(&[]), &BOTH),
        (
            "tagged",
            Some(&tagged),
            true,
            true,
            Some(&[VIEW]),
            &[ARGO_CD],
        ),
        (
            "tagged, one appeared",
            Some(&tagged),
            true,
            true,
            Some(&[]),
            &BOTH,
        ),
        (
            "tagged, AWS's no more",
            Some(&tagged),
            false,
            true,
            Some(&[VIEW]),
            &[ARGO_CD],
        ),
        (
            "tagged, nothing remembered",
            Some(&other),
            true,
            true,
            None,
            &[ARGO_CD],
        ),
        (
            "tagged, all written",
            Some(&other),
            true,
            true,
            Some(&BOTH),
            &[],
        ),
        ("not AWS's", None, false, true, Some(&[]), &[]),
    ];
    for (what, tag, of_aws, ours, written, expected) in cases {
        let tags: Vec<(&str, &str)> = tag.map(|tag| (AWS_POLICIES_TAG, tag)).into_iter().collect();
        let written = written.map(set);
        let known = Known {
            of_aws,
            ours,
            written: written.as_ref(),
        };
        let found = policies_of_aws(&entry(ARGO, "STANDARD", &tags, &BOTH), known);
        assert_eq!(found, set(expected), "{what}");
    }
}

#[test]
fn the_tag_holds_twenty_policies_and_is_never_too_long() {
    let policies = |count: usize| {
        (0..count)
            .map(|number| arn(&format!("P{number}")))
            .collect()
    };
    for count in [0, 1, 20, 50] {
        let all: BTreeSet<String> = policies(count);
        let tag = tag_of(&all);
        assert!(tag.len() <= 256, "{count}: {} characters", tag.len());
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == ' ';
        assert!(tag.chars().all(allowed), "{tag}");
        let names: Vec<String> = (0..count).map(|number| format!("P{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let entry = entry(ARGO, "STANDARD", &[(AWS_POLICIES_TAG, &tag)], &names);
        let known = Known {
            of_aws: false,
            ours: true,
            written: None,
        };
        let found = policies_of_aws(&entry, known);
        assert_eq!(found.len(), count.min(28), "{count}");
    }
    let sorted: BTreeMap<String, ()> = tag_of(&policies(20))
        .split(' ')
        .map(|digits| (digits.to_owned(), ()))
        .collect();
    let sorted: Vec<&str> = sorted.keys().map(String::as_str).collect();
    assert_eq!(sorted.join(" "), tag_of(&policies(20)), "sorted");
}
