//! The two backends together: which one by the cluster's mode.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FOREIGN, cluster, entry};
use crate::access_entry::{Call, Failure, FailureKind, Kind};
use crate::api::v1alpha1::{BackendChoice, EntryType};
use crate::observed::{AwsState, Handover, Mode};
use crate::plan::HANDOVER_ANNOTATION;
use crate::plan::simulation::Simulation;

const ALICE: &str = "arn:aws:iam::111122223333:role/alice";

pub(super) fn both(roles: &str) -> Simulation {
    Simulation::in_eks(Mode::ApiAndConfigMap, roles)
}

/// A cluster in which these roles stand in aws-auth as ours, changed to the mode in which both backends count.
pub(super) fn moved_on(mappings: &[(&str, Value)]) -> Simulation {
    let mut simulation = Simulation::in_eks(Mode::ConfigMap, FOREIGN);
    for (name, spec) in mappings {
        simulation.create(name, &format!("role/{name}"), spec);
    }
    simulation.settle();
    for (name, _) in mappings {
        assert_eq!(simulation.ready(name), "True InEffect", "{name}");
    }
    simulation.later(3600);
    simulation.cloud().mode = Mode::ApiAndConfigMap;
    simulation.look();
    simulation
}

pub(super) fn in_text(simulation: &Simulation, role: &str) -> bool {
    simulation
        .entries()
        .iter()
        .any(|(arn, ..)| arn == &format!("role/{role}"))
}

pub(super) fn auto(simulation: &mut Simulation) {
    set_handover(simulation, Handover::Auto);
}

pub(super) fn set_handover(simulation: &mut Simulation, handover: Handover) {
    simulation
        .history
        .as_mut()
        .expect("made")
        .annotations
        .insert(HANDOVER_ANNOTATION.to_owned(), handover.to_string());
}

/// Settles, time after time, for two days.
pub(super) fn two_days(simulation: &mut Simulation) {
    for _ in 0..50 {
        simulation.settle();
        simulation.later(3600);
        simulation.look();
    }
    simulation.settle();
}

#[test]
fn the_backend_follows_the_mode() {
    // mode, backend, Ready, in aws-auth, as an access entry
    let cases = [
        (Mode::ConfigMap, "Auto", "True InEffect", true, false),
        (Mode::ConfigMap, "ConfigMap", "True InEffect", true, false),
        (
            Mode::ConfigMap,
            "AccessEntry",
            "False BackendUnavailable",
            false,
            false,
        ),
        (Mode::ApiAndConfigMap, "Auto", "True InEffect", false, true),
        (
            Mode::ApiAndConfigMap,
            "ConfigMap",
            "True InEffect",
            true,
            false,
        ),
        (
            Mode::ApiAndConfigMap,
            "AccessEntry",
            "True InEffect",
            false,
            true,
        ),
        (Mode::Api, "Auto", "True InEffect", false, true),
        (
            Mode::Api,
            "ConfigMap",
            "False BackendUnavailable",
            false,
            false,
        ),
        (Mode::Api, "AccessEntry", "True InEffect", false, true),
    ];
    for (mode, backend, ready, text, entry) in cases {
        let mut simulation = Simulation::in_eks(mode, "");
        simulation.create("alice", "role/alice", &json!({"backend": backend}));
        simulation.settle();
        assert_eq!(simulation.ready("alice"), ready, "{mode} {backend}");
        assert_eq!(in_text(&simulation, "alice"), text, "{mode} {backend}");
        assert_eq!(
            simulation.access_entry("role/alice").is_some(),
            entry,
            "{mode} {backend}"
        );
    }
}

#[test]
fn what_is_in_aws_auth_stays_there_until_it_is_handed_over() {
    let mut simulation = moved_on(&[("alice", json!({}))]);
    two_days(&mut simulation);
    assert!(simulation.calls().is_empty());
    assert!(in_text(&simulation, "alice"));
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn an_unmanaged_entry_of_aws_auth_is_a_conflict_and_an_identical_one_is_adopted_where_it_stands() {
    let mut simulation = both(FOREIGN);
    simulation.create("ops", "role/ops", &json!({"groups": ["other"]}));
    simulation.settle();
    assert_eq!(simulation.ready("ops"), "False UnmanagedEntry");
    assert!(simulation.calls().is_empty());
    simulation.edit("ops", |object| {
        object.spec.groups = vec!["system:masters".to_owned()];
    });
    simulation.settle();
    assert_eq!(simulation.ready("ops"), "True InEffect");
    assert!(simulation.calls().is_empty());
    assert!(!simulation.mark().is_empty());
}

#[test]
fn what_is_adopted_in_aws_auth_is_handed_over_next() {
    let alice = format!("- rolearn: {ALICE}\n  username: alice\n  groups: [g]\n");
    let mut simulation = both(&format!("{FOREIGN}{alice}"));
    simulation.settings.handover = Handover::Auto;
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    assert_eq!(simulation.calls(), ["CreateAccessEntry alice"]);
}

#[test]
fn what_an_access_entry_cannot_express_stays_in_aws_auth() {
    let cases = [
        (
            "role/aws-service-role/emr.amazonaws.com/AWSServiceRoleForX",
            json!({}),
            "service-linked",
        ),
        ("role/a", json!({"groups": ["system:viewers"]}), "system:"),
        ("role/b", json!({"username": "b-{{SessionName}}"}), "colon"),
    ];
    for (role, spec, word) in cases {
        let mut simulation = both("");
        simulation.create("m", role, &spec);
        simulation.settle();
        assert!(simulation.calls().is_empty(), "{role}");
        assert_eq!(simulation.ready("m"), "True InEffect", "{role}");
        let accepted = simulation.message("m", "Accepted");
        assert!(
            accepted.contains(word) && accepted.contains("stays in aws-auth"),
            "{accepted}"
        );

        let mut simulation = Simulation::in_eks(Mode::Api, "");
        simulation.create("m", role, &spec);
        simulation.settle();
        assert!(simulation.calls().is_empty(), "{role}");
        assert_eq!(simulation.ready("m"), "False NotExpressible", "{role}");
    }
}

#[test]
fn an_access_entry_shadows_aws_auth() {
    let mut simulation = moved_on(&[("alice", json!({}))]);
    simulation.by_hand(&Call::Create {
        principal_arn: ALICE.to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: Some("other".to_owned()),
        groups: [].into(),
        tags: [].into(),
    });
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "False UnmanagedEntry");
    assert!(simulation.calls().is_empty());
    simulation.edit("alice", |object| {
        object.spec.backend = BackendChoice::ConfigMap;
    });
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "False Shadowed");
}

#[test]
fn removing_an_entry_that_exposes_an_unmanaged_one_is_reported() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create(
        "alice",
        "role/alice",
        &json!({"validUntil": "2027-01-15T09:00:00Z"}),
    );
    simulation.settle();
    simulation.cloud().mode = Mode::ApiAndConfigMap;
    simulation.vandalise(
        "mapRoles",
        &format!("- rolearn: {ALICE}\n  username: old\n"),
    );
    simulation.look();
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "True InEffect");
    simulation.later(2 * 3600);
    simulation.settle();
    assert!(simulation.access_entry("role/alice").is_none());
    assert_eq!(simulation.ready("alice"), "False StillGranted");
}

#[test]
fn at_the_quota_the_rest_stay_in_aws_auth() {
    let mut simulation = both("");
    simulation
        .cloud()
        .failures
        .push(("CreateAccessEntry", FailureKind::QuotaExceeded));
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    assert!(in_text(&simulation, "alice"));
    assert_eq!(simulation.ready("alice"), "True InEffect");
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation
        .cloud()
        .failures
        .push(("CreateAccessEntry", FailureKind::QuotaExceeded));
    simulation.create("alice", "role/alice", &json!({}));
    simulation.pass();
    simulation.pass();
    assert_eq!(simulation.ready("alice"), "False EntryQuotaExceeded");
}

#[test]
fn a_type_that_changes_goes_into_aws_auth_first() {
    let mut simulation = both("");
    simulation.create(
        "alice",
        "role/alice",
        &json!({"type": "EC2Linux", "username": null, "groups": null}),
    );
    simulation.confirm("alice", "node-entry");
    simulation.settle();
    simulation.calls();
    simulation.edit("alice", |object| {
        object.spec.type_ = EntryType::Standard;
        object.spec.groups = vec!["g".to_owned()];
    });
    simulation.settle();
    assert!(
        simulation.calls().is_empty(),
        "it is not in force there yet"
    );
    assert!(in_text(&simulation, "alice"));
    simulation.later(31);
    simulation.settle();
    assert_eq!(
        simulation.calls(),
        ["DeleteAccessEntry alice", "CreateAccessEntry alice"]
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
}

#[test]
fn in_the_mode_api_aws_auth_is_left_alone() {
    let mut simulation = moved_on(&[("alice", json!({}))]);
    auto(&mut simulation);
    simulation.settle();
    simulation.cloud().mode = Mode::Api;
    let before = simulation.roles();
    two_days(&mut simulation);
    assert_eq!(simulation.roles(), before, "it goes only with its mapping");
    simulation.config_map = None;
    simulation.settle();
    assert!(simulation.config_map.is_none(), "and is never created");
    simulation.delete("alice");
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert!(simulation.access_entry("role/alice").is_none());
}

#[test]
fn an_unknown_or_unproven_cluster_is_left_alone() {
    let mut simulation = both("");
    simulation.create("alice", "role/alice", &json!({}));
    simulation.astray = Some(AwsState::Unproven {
        name: "main".to_owned(),
        eks: "ab".repeat(32),
        server: "cd".repeat(32),
    });
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert!(simulation.history.is_none());
    assert_eq!(simulation.ready("alice"), "Unknown ClusterMismatch");
    assert_eq!(simulation.events.len(), 2, "{:?}", simulation.events);

    // Where a right is missing, only a person can give it; what passes by itself is waited for.
    let denied = FailureKind::Denied {
        action: "eks:DescribeCluster".to_owned(),
        statement: "{\"Action\": \"eks:DescribeCluster\"}".to_owned(),
    };
    for (kind, stalled, words) in [
        (
            denied,
            "True ModeUnknown",
            "{\"Action\": \"eks:DescribeCluster\"}",
        ),
        (FailureKind::Unavailable, "", "no answer"),
    ] {
        simulation.astray = Some(AwsState::Unknown {
            failure: Failure {
                kind,
                message: "no answer".to_owned(),
            },
        });
        simulation.settle();
        assert_eq!(simulation.ready("alice"), "Unknown ModeUnknown");
        assert_eq!(simulation.condition("alice", "Stalled"), stalled);
        let message = simulation.message("alice", "Ready");
        assert!(message.contains(words), "{message}");
    }
    assert!(simulation.calls().is_empty());
}

/// A principal of the cluster that is migrated: how it stood in aws-auth.
fn spec() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"groups": ["system:masters"]})),
        Just(json!({"groups": ["system:masters", "g"]})),
        Just(json!({"groups": ["system:viewers", "g"]})),
        Just(json!({"type": "EC2Linux", "username": null, "groups": null})),
        Just(json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]})),
    ]
}

proptest! {
    #![proptest_config(crate::laws::cases(48))]

    /// In every state on the way from aws-auth to access entries, whatever fails and whenever the operator starts anew, each
    /// principal keeps the power that it had.
    #[test]
    fn no_principal_loses_permissions_during_a_handover(
        specs in proptest::collection::vec(spec(), 1..6),
        failures in proptest::collection::vec((0..4_usize, 0..3_usize), 0..6),
        restarts in proptest::collection::vec(any::<bool>(), 60),
        pauses in proptest::collection::vec(1..5000_i64, 60),
    ) {
        let names: Vec<String> = (0..specs.len()).map(|number| format!("m{number}")).collect();
        let mappings: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(specs).filter(|(_, spec)| spec.get("accessPolicies").is_none()).collect();
        let mut simulation = moved_on(&mappings);
        simulation.bridge();
        auto(&mut simulation);
        let operations = ["CreateAccessEntry", "AssociateAccessPolicy", "UpdateAccessEntry", "DescribeAccessEntry"];
        let kinds = [FailureKind::Throttled, FailureKind::Unavailable, FailureKind::InvalidPrincipal];
        for (operation, kind) in failures {
            simulation.cloud().failures.push((operations[operation], kinds[kind].clone()));
        }
        let before = simulation.powers();
        simulation.watched = Some(Vec::new());
        for (restart, pause) in restarts.into_iter().zip(pauses) {
            if restart {
                simulation.restart();
            }
            simulation.pass();
            simulation.later(pause);
            if pause % 3 == 0 {
                simulation.look();
            }
        }
        two_days(&mut simulation);
        for powers in simulation.watched.take().expect("watched").into_iter().chain([simulation.powers()]) {
            for (arn, (administrator, groups)) in &before {
                let (now, has) = &powers[arn];
                prop_assert!(*now || !administrator, "{arn} is no administrator any more");
                let kept = |group: &&String| *group != "system:masters" && *group != "system:bootstrappers";
                let missing: Vec<_> = groups.iter().filter(kept).filter(|group| !has.contains(*group)).collect();
                prop_assert!(missing.is_empty(), "{arn} lost {missing:?}");
            }
        }
        for (name, spec) in &mappings {
            prop_assert_eq!(simulation.ready(name), "True InEffect");
            let node = spec.get("type").is_some();
            let stays = spec["groups"][0] == json!("system:viewers");
            prop_assert_eq!(in_text(&simulation, name), node || stays, "{}", name);
            prop_assert_eq!(simulation.access_entry(&format!("role/{name}")).is_some(), !stays, "{}", name);
        }
    }
}

/// `--authentication-mode CONFIG_MAP` over a cluster with access entries of ours.
#[test]
fn a_declared_mode_that_cannot_be_true_holds_what_has_an_access_entry_and_forgets_nothing() {
    let mut simulation = both(FOREIGN);
    simulation.create("entry", "role/entry", &json!({}));
    simulation.create("text", "role/text", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    let before = simulation.objects["entry"].status.clone().expect("one");
    let roles = simulation.roles();
    let cloud = simulation.cloud.take();
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.roles(), roles, "no copy is made in aws-auth");
    assert_eq!(
        simulation.condition("entry", "Synced"),
        "False BackendUnavailable"
    );
    assert_eq!(
        simulation.condition("entry", "Stalled"),
        "True BackendUnavailable"
    );
    let message = simulation.message("entry", "Synced");
    assert!(message.contains("--cluster-name"), "{message}");
    let after = simulation.objects["entry"].status.clone().expect("one");
    assert_eq!(after.written, before.written);
    assert_eq!(after.backend, before.backend);
    assert_eq!(after.access_entry_arn, before.access_entry_arn);
    assert_eq!(simulation.ready("text"), "True InEffect");
    // Right again, nothing has to be done.
    simulation.cloud = cloud;
    simulation.restart();
    drop(simulation.calls());
    simulation.settle();
    assert_eq!(simulation.ready("entry"), "True InEffect");
    assert_eq!(simulation.calls(), [""; 0]);
}

/// What a mapping asked for and did not get proves nothing of the mode.
#[test]
fn a_backend_that_was_refused_once_holds_nothing() {
    let mut simulation = cluster(&["a"]);
    simulation.edit("a", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    simulation.settle();
    assert_eq!(simulation.ready("a"), "False BackendUnavailable");
    simulation.edit("a", |object| {
        object.spec.backend = BackendChoice::Auto;
        object.spec.groups = vec!["other".to_owned()];
    });
    simulation.restart();
    simulation.settle();
    assert!(
        simulation
            .entries()
            .contains(&entry("role/a", "a", "other"))
    );
}
