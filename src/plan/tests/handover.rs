//! The handover from aws-auth to access entries and the way back: nobody loses power on it.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::FOREIGN;
use super::modes::{auto, both, in_text, moved_on, set_handover, two_days};
use crate::access_entry::BRIDGE_GROUP;
use crate::api::v1alpha1::BackendChoice;
use crate::effective::awaits_iam;
use crate::observed::{Handover, Iam, IamAccount, IamProblem, IamProblems, Listing};
use crate::principal::{AccountId, Key};
use crate::time::Timestamp;

#[test]
fn a_handover_creates_verifies_soaks_and_only_then_removes() {
    let mut simulation = moved_on(&[("alice", json!({}))]);
    let before = simulation.roles();
    auto(&mut simulation);
    simulation.watched = Some(Vec::new());
    simulation.settle();
    assert_eq!(simulation.calls(), ["CreateAccessEntry alice"]);
    assert!(in_text(&simulation, "alice"), "the twin is the way back");
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert!(
        simulation
            .message("alice", "Synced")
            .contains("stays until")
    );
    simulation.later(23 * 3600);
    simulation.settle();
    assert!(in_text(&simulation, "alice"), "it soaks");
    simulation.later(2 * 3600);
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["DescribeAccessEntry alice"],
        "it is verified once more"
    );
    assert!(!in_text(&simulation, "alice"));
    assert_ne!(simulation.roles(), before);
    assert_eq!(simulation.ready("alice"), "True InEffect");
    for powers in simulation.watched.take().expect("watched") {
        let (_, groups) = &powers["arn:aws:iam::111122223333:role/alice"];
        assert!(groups.contains("g"));
    }
    two_days(&mut simulation);
    assert!(simulation.calls().is_empty());
}

/// A role is deleted and made anew within the last minutes of a soak, after IAM was listed: EKS keeps its entry, which grants no access.
#[test]
fn a_soak_ends_only_by_a_listing_of_iam_from_after_it() {
    let mut simulation = moved_on(&[("alice", json!({}))]);
    let arn = "arn:aws:iam::111122223333:role/alice";
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(arn, "AROA1")], now);
    auto(&mut simulation);
    simulation.settle();
    simulation.later(24 * 3600 - 60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(arn, "AROA1")], now);
    simulation.settle();
    simulation.later(120);
    simulation.settle();
    assert!(in_text(&simulation, "alice"), "the listing is older");
    let wanted = simulation.pass().iam.soon;
    assert_eq!(wanted.len(), 1, "it is asked for");
    simulation.later(10);
    let now = simulation.now;
    let mut recreated = simulation.clone();
    recreated.cloud().iam_lists(&[(arn, "AROA2")], now);
    recreated.settle();
    assert!(in_text(&recreated, "alice"), "its copy grants access");
    simulation.cloud().iam_lists(&[(arn, "AROA1")], now);
    simulation.settle();
    assert!(!in_text(&simulation, "alice"));
}

/// IAM of an account with permission sets alone could be read once, and can't be any more.
#[test]
fn a_soak_waits_for_no_listing_that_is_not_to_be_had() {
    let account: AccountId = "111122223333".parse().expect("an account");
    let role = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_X_0123456789abcdef";
    let key = Key::parse_arn(role).expect("a key");
    let denied = || {
        Some(IamProblem::Denied {
            message: "no".to_owned(),
            statement: "{}".to_owned(),
        })
    };
    let listing = |read: i64| {
        Some(Listing {
            read: Timestamp::UNIX_EPOCH.plus(SignedDuration::from_secs(read)),
            principals: Arc::default(),
        })
    };
    let end = Timestamp::UNIX_EPOCH.plus(SignedDuration::from_secs(100));
    // Listings of the roles of permission sets and of all roles, and whether they can be read now.
    for (sso, roles, sso_denied, roles_denied, awaited) in [
        (Some(50), None, false, false, true),
        (Some(50), None, true, false, false),
        (Some(100), None, false, false, false),
        (Some(50), Some(50), false, true, true),
        (Some(50), Some(50), true, true, false),
        (Some(50), Some(100), false, false, false),
        (None, None, false, false, false),
    ] {
        let known = IamAccount {
            sso: sso.and_then(listing),
            roles: roles.and_then(listing),
            problems: IamProblems {
                sso: denied().filter(|_| sso_denied),
                roles: denied().filter(|_| roles_denied),
                users: denied(),
            },
            ..IamAccount::default()
        };
        let iam = Iam {
            accounts: [(account.clone(), known)].into(),
        };
        let case = format!("{sso:?} {roles:?} {sso_denied} {roles_denied}");
        assert_eq!(awaits_iam(&key, role, &iam, end), awaited, "{case}");
    }
}

#[test]
fn an_edit_while_it_soaks_changes_both_and_a_revocation_removes_both() {
    let mut simulation = moved_on(&[("alice", json!({})), ("bob", json!({}))]);
    auto(&mut simulation);
    simulation.settle();
    simulation.calls();
    simulation.edit("alice", |object| object.spec.groups = vec!["h".to_owned()]);
    let report = simulation.pass();
    assert_eq!(simulation.calls(), ["UpdateAccessEntry alice"]);
    assert!(
        simulation.roles().contains("\"h\""),
        "{}",
        simulation.roles()
    );
    drop(report);
    simulation.delete("bob");
    simulation.settle();
    assert_eq!(simulation.calls(), ["DeleteAccessEntry bob"]);
    assert!(!in_text(&simulation, "bob"));
    assert!(!simulation.objects.contains_key("bob"));
}

#[test]
fn editing_the_backend_hands_over_that_one_whatever_the_setting() {
    let mut simulation = moved_on(&[("alice", json!({})), ("bob", json!({}))]);
    simulation.edit("alice", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    two_days(&mut simulation);
    assert!(!in_text(&simulation, "alice"));
    assert!(simulation.access_entry("role/alice").is_some());
    assert!(in_text(&simulation, "bob"));
    // And back.
    simulation.calls();
    simulation.watched = Some(Vec::new());
    simulation.edit("alice", |object| {
        object.spec.backend = BackendChoice::ConfigMap;
    });
    simulation.settle();
    assert!(in_text(&simulation, "alice"));
    assert!(
        simulation.access_entry("role/alice").is_some(),
        "not yet in force"
    );
    simulation.later(31);
    simulation.settle();
    assert_eq!(simulation.calls(), ["DeleteAccessEntry alice"]);
    assert!(in_text(&simulation, "alice"));
    assert_eq!(simulation.ready("alice"), "True InEffect");
    for powers in simulation.watched.take().expect("watched") {
        assert!(
            powers["arn:aws:iam::111122223333:role/alice"]
                .1
                .contains("g")
        );
    }
}

#[test]
fn the_whole_handover_can_be_undone_where_aws_auth_can_say_the_same() {
    let policies = json!([{"policy": "AmazonEKSViewPolicy"}]);
    let node = json!({"type": "EC2Linux", "username": null, "groups": null});
    let mut simulation = moved_on(&[
        ("alice", json!({})),
        ("admin", json!({"groups": ["system:masters"]})),
        ("bound", json!({"backend": "Auto"})),
        ("node", node),
    ]);
    simulation.bridge();
    auto(&mut simulation);
    simulation.create(
        "viewer",
        "role/viewer",
        &json!({"accessPolicies": policies}),
    );
    simulation.create("late", "role/late", &json!({}));
    simulation.edit("bound", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    two_days(&mut simulation);
    for name in ["alice", "admin", "bound", "viewer", "late"] {
        assert!(!in_text(&simulation, name), "{name}");
        assert_eq!(simulation.ready(name), "True InEffect", "{name}");
    }

    // In the middle of a handover of its own.
    simulation.create(
        "half",
        "role/half",
        &json!({"groups": ["system:masters"], "backend": "ConfigMap"}),
    );
    simulation.settle();
    simulation.edit("half", |object| object.spec.backend = BackendChoice::Auto);
    simulation.pass();
    simulation.calls();
    assert_eq!(
        simulation.access_entry("role/half").expect("made").1,
        [BRIDGE_GROUP]
    );

    simulation.watched = Some(Vec::new());
    set_handover(&mut simulation, Handover::Revert);
    simulation.settle();
    assert!(in_text(&simulation, "alice"));
    assert!(
        simulation.access_entry("role/alice").is_some(),
        "aws-auth is not in force yet"
    );
    assert_eq!(simulation.condition("alice", "Synced"), "False HandingOver");
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert_eq!(simulation.condition("half", "Stalled"), "");
    two_days(&mut simulation);
    for (name, text, entry) in [
        ("alice", true, false),
        ("admin", true, false),
        ("half", true, false),
        ("node", true, false),
        ("late", true, false),
        ("bound", false, true),
        ("viewer", false, true),
    ] {
        let role = format!("role/{name}");
        assert_eq!(in_text(&simulation, name), text, "{name}");
        assert_eq!(simulation.access_entry(&role).is_some(), entry, "{name}");
        assert_eq!(simulation.ready(name), "True InEffect", "{name}");
        for powers in simulation.watched.iter().flatten() {
            let (administrator, groups) = &powers[&format!("arn:aws:iam::111122223333:{role}")];
            let masters = matches!(name, "admin" | "half");
            assert_eq!(*administrator, masters, "{name}: {groups:?}");
            assert!(
                masters || name == "node" || groups.contains("g"),
                "{name}: {groups:?}"
            );
        }
    }
    // What is back stays, also by hand, and can go again.
    simulation.watched = None;
    simulation.calls();
    set_handover(&mut simulation, Handover::Manual);
    two_days(&mut simulation);
    assert!(simulation.calls().is_empty());
    auto(&mut simulation);
    two_days(&mut simulation);
    assert!(!in_text(&simulation, "alice") && simulation.access_entry("role/alice").is_some());
}

#[test]
fn administrators_are_handed_over_only_with_the_bridge() {
    let mut simulation = moved_on(&[("alice", json!({"groups": ["system:masters"]}))]);
    auto(&mut simulation);
    two_days(&mut simulation);
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert_eq!(
        simulation.condition("alice", "Synced"),
        "False HandoverBlocked"
    );

    simulation.bridge();
    simulation.watched = Some(Vec::new());
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["CreateAccessEntry alice", "AssociateAccessPolicy alice"]
    );
    assert_eq!(
        simulation.access_entry("role/alice").expect("made").1,
        [BRIDGE_GROUP]
    );
    simulation.later(31);
    simulation.settle();
    assert_eq!(simulation.calls(), ["UpdateAccessEntry alice"]);
    assert!(
        simulation
            .access_entry("role/alice")
            .expect("made")
            .1
            .is_empty()
    );
    two_days(&mut simulation);
    assert!(!in_text(&simulation, "alice"));
    for powers in simulation.watched.take().expect("watched") {
        assert!(
            powers["arn:aws:iam::111122223333:role/alice"].0,
            "an administrator all along"
        );
    }
}

#[test]
fn a_new_administrator_needs_no_bridge() {
    let mut simulation = both(FOREIGN);
    simulation.create(
        "alice",
        "role/alice",
        &json!({"groups": ["system:masters"]}),
    );
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["CreateAccessEntry alice", "AssociateAccessPolicy alice"]
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn node_entries_are_handed_over_by_their_usernames_and_never_removed_from_aws_auth() {
    let node = |type_: &str| json!({"type": type_, "username": null, "groups": null});
    let mut simulation = moved_on(&[
        ("linux", node("EC2Linux")),
        ("windows", node("EC2Windows")),
        ("fargate", node("FargateLinux")),
    ]);
    auto(&mut simulation);
    two_days(&mut simulation);
    let calls = simulation.calls();
    for name in ["linux", "windows", "fargate"] {
        assert!(
            calls.contains(&format!("CreateAccessEntry {name}")),
            "{calls:?}"
        );
        assert!(in_text(&simulation, name), "{name}");
        assert_eq!(simulation.ready(name), "True InEffect", "{name}");
    }
}

#[test]
fn nodes_whose_username_no_type_generates_stay_in_aws_auth() {
    let mut simulation = moved_on(&[]);
    simulation.create(
        "odd",
        "role/odd",
        &json!({"username": "system:node:{{SessionName}}", "groups": ["system:nodes", "system:bootstrappers"], "backend": "ConfigMap"}),
    );
    simulation.confirm("odd", "node-entry");
    simulation.settle();
    assert_eq!(simulation.ready("odd"), "True InEffect");
    simulation.edit("odd", |object| object.spec.backend = BackendChoice::Auto);
    auto(&mut simulation);
    two_days(&mut simulation);
    assert!(simulation.calls().is_empty());
    assert!(in_text(&simulation, "odd"));
    assert!(
        simulation
            .message("odd", "Accepted")
            .contains("so it stays in aws-auth"),
        "{}",
        simulation.message("odd", "Accepted")
    );
}

#[test]
fn nodes_of_a_type_that_aws_auth_does_not_know_get_their_entry_once_a_person_names_it() {
    let node = |username: &str| {
        format!(
            "- rolearn: arn:aws:iam::111122223333:role/hybrid\n  username: \"{username}\"\n  groups: [system:bootstrappers, system:nodes]\n"
        )
    };
    let spec = |type_: &str, adoption: &str| json!({"type": type_, "username": null, "groups": null, "adoption": adoption});
    for (username, type_, adoption, ready) in [
        (
            "system:node:{{SessionName}}",
            "HybridLinux",
            "Always",
            "True InEffect",
        ),
        (
            "system:node:{{SessionName}}",
            "EC2",
            "Always",
            "True InEffect",
        ),
        (
            "system:node:{{SessionName}}",
            "HybridLinux",
            "IfIdentical",
            "False UnmanagedEntry",
        ),
        (
            "system:node:{{EC2PrivateDNSName}}",
            "HybridLinux",
            "Always",
            "False HandoverBlocked",
        ),
    ] {
        let text = node(username);
        let mut simulation = both(&text);
        simulation.create("hybrid", "role/hybrid", &spec(type_, adoption));
        simulation.settle();
        two_days(&mut simulation);
        assert_eq!(
            simulation.ready("hybrid"),
            ready,
            "{username} {type_} {adoption}"
        );
        assert_eq!(simulation.roles(), text, "aws-auth stays as it is");
        let made = simulation.access_entry("role/hybrid").is_some();
        assert_eq!(made, ready == "True InEffect");
    }
}

#[test]
fn no_standard_entry_is_created_for_a_node_role() {
    // The node's entry is foreign and dead for a path that was left in: the lookup does not find it.
    let roles = FOREIGN.replace("role/node", "role/nodes/node");
    let mut simulation = both(&roles);
    simulation.create("node", "role/nodes/node", &json!({}));
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("node"), "False NodeRole");
}
