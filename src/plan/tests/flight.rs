//! Calls in flight, lost answers and listings that lag: nothing relies on an entry that may be gone, nothing forgets one that may exist.

use serde_json::json;

use super::FOREIGN;
use crate::access_entry::{Call, Entries, FailureKind, InFlight};
use crate::observed::{AwsState, Mode};
use crate::plan::simulation::Simulation;

const ALICE: &str = "arn:aws:iam::111122223333:role/alice";
const ANN: &str = "arn:aws:iam::111122223333:user/ann";

/// A cluster that an operator has kept for some minutes.
fn kept(mode: Mode) -> Simulation {
    let mut simulation = Simulation::in_eks(mode, FOREIGN);
    let now = simulation.now;
    simulation.cloud().in_flight = InFlight::since(now);
    simulation.later(300);
    simulation
}

/// Alice's entry stands as declared and soaks no more; aws-auth does not name her.
fn handed_over() -> Simulation {
    let mut simulation = kept(Mode::ApiAndConfigMap);
    simulation.create("alice", "role/alice", &json!({"backend": "AccessEntry"}));
    simulation.settle();
    simulation.later(100 * 3600);
    simulation.look();
    simulation.settle();
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert!(!in_text(&simulation));
    simulation.calls();
    simulation
}

fn in_text(simulation: &Simulation) -> bool {
    let entries = simulation.entries();
    entries.iter().any(|(arn, ..)| arn == "role/alice")
}

fn backend(simulation: &mut Simulation, backend: &str) {
    let choice = serde_json::from_value(json!(backend)).expect("a backend");
    simulation.edit("alice", |object| object.spec.backend = choice);
}

#[test]
fn the_copy_in_aws_auth_stays_while_the_deletion_of_the_entry_is_in_flight() {
    for effect in [true, false] {
        let mut simulation = handed_over();
        backend(&mut simulation, "ConfigMap");
        simulation.settle();
        simulation.later(60);
        simulation.cloud().slow = true;
        simulation.pass();
        assert_eq!(simulation.calls(), ["DeleteAccessEntry alice"]);
        backend(&mut simulation, "AccessEntry");
        simulation.settle();
        simulation.later(1);
        simulation.settle();
        assert!(in_text(&simulation), "the entry may be gone");
        let message = simulation.message("alice", "Synced");
        assert!(message.contains("DeleteAccessEntry"), "{message}");
        // The answer is lost, whether the call had its effect or not.
        simulation.cloud().slow = false;
        simulation.lose_answers(effect);
        for _ in 0..60 {
            simulation.settle();
            assert!(in_text(&simulation) || !effect, "it was made anew just now");
            let entry = simulation.access_entry("role/alice").is_some();
            assert!(entry || in_text(&simulation), "alice is locked out");
            simulation.later(5);
        }
        simulation.look();
        simulation.settle();
        assert!(simulation.access_entry("role/alice").is_some());
        assert_eq!(simulation.ready("alice"), "True InEffect");
    }
}

#[test]
fn the_copy_in_aws_auth_stays_while_an_earlier_process_may_delete_the_entry() {
    for effect in [true, false] {
        let mut simulation = handed_over();
        backend(&mut simulation, "ConfigMap");
        simulation.settle();
        simulation.later(60);
        simulation.cloud().slow = true;
        simulation.pass();
        assert_eq!(simulation.calls(), ["DeleteAccessEntry alice"]);
        // The process dies. The next one knows nothing of the call, and lists the entry as it was.
        simulation.cloud().slow = false;
        simulation.restart();
        let now = simulation.now;
        simulation.cloud().in_flight = InFlight::since(now);
        simulation.look();
        backend(&mut simulation, "AccessEntry");
        for second in 0..120 {
            simulation.settle();
            if effect && second == 25 {
                let call = Call::Delete {
                    principal_arn: ALICE.to_owned(),
                };
                simulation.cloud().eks.call(&call).expect("EKS takes it");
            }
            let entry = simulation.access_entry("role/alice").is_some();
            assert!(entry || in_text(&simulation), "locked out after {second} s");
            assert!(in_text(&simulation) || second >= 30, "after {second} s");
            simulation.later(1);
        }
        simulation.look();
        simulation.settle();
        assert!(simulation.access_entry("role/alice").is_some());
        assert_eq!(simulation.ready("alice"), "True InEffect");
    }
}

#[test]
fn a_mapping_that_is_deleted_while_its_entry_is_made_leaves_none() {
    for lost in [None, Some(false), Some(true)] {
        let mut simulation = kept(Mode::Api);
        simulation.create("alice", "role/alice", &json!({}));
        simulation.cloud().slow = true;
        simulation.pass();
        assert_eq!(simulation.calls(), ["CreateAccessEntry alice"]);
        simulation.delete("alice");
        simulation.pass();
        let message = simulation.message("alice", "Synced");
        assert!(message.contains("CreateAccessEntry"), "{message}");
        simulation.cloud().slow = false;
        match lost {
            None => simulation.answer(),
            Some(effect) => simulation.lose_answers(effect),
        }
        for second in 0..60 {
            simulation.settle();
            if !simulation.objects.contains_key("alice") {
                assert!(lost != Some(false) || second >= 29, "{second}");
                break;
            }
            simulation.later(1);
        }
        assert!(!simulation.objects.contains_key("alice"), "{lost:?}");
        assert_eq!(simulation.access_entry("role/alice"), None, "{lost:?}");
    }
}

#[test]
fn a_listing_that_lags_behind_a_create_is_no_drift() {
    let mut simulation = kept(Mode::Api);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    simulation.calls();
    for seconds in [10, 15, 60] {
        simulation.later(seconds);
        simulation.list_without(ALICE);
        simulation.settle();
    }
    assert_eq!(
        simulation.calls(),
        ["DescribeAccessEntry alice"],
        "a minute later it is looked at"
    );
    assert_eq!(simulation.ready("alice"), "True InEffect");
    assert!(simulation.events.is_empty(), "{:?}", simulation.events);
    assert!(status(&simulation).last_drift.is_none());
}

#[test]
fn an_entry_that_a_status_names_is_asked_for_before_it_is_made_again() {
    for exists in [true, false] {
        let mut simulation = handed_over();
        if !exists {
            simulation.cloud().eks.entries.clear();
        }
        // A new process, whose listing is empty.
        simulation.restart();
        let now = simulation.now;
        let cloud = simulation.cloud();
        cloud.known = Entries::default();
        cloud.in_flight = InFlight::since(now);
        simulation.list_without(ALICE);
        simulation.settle();
        assert_eq!(
            simulation.condition("alice", "Ready"),
            if exists {
                "True InEffect"
            } else {
                "Unknown EntryPending"
            }
        );
        for _ in 0..40 {
            simulation.later(1);
            simulation.settle();
        }
        let mut calls = simulation.calls();
        calls.dedup();
        let made = (!exists).then_some("CreateAccessEntry alice");
        let expected: Vec<&str> = ["DescribeAccessEntry alice"]
            .into_iter()
            .chain(made)
            .collect();
        assert_eq!(calls, expected);
        assert_eq!(simulation.ready("alice"), "True InEffect");
        assert_eq!(status(&simulation).last_drift.is_some(), !exists);
    }
}

fn status(simulation: &Simulation) -> crate::api::v1alpha1::IdentityMappingStatus {
    simulation.objects["alice"].status.clone().expect("written")
}

#[test]
fn the_last_drift_names_the_caller_that_the_queue_reports() {
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy".to_owned();
    let principal_arn = || ALICE.to_owned();
    let recreate = [
        Call::Delete {
            principal_arn: principal_arn(),
        },
        Call::Create {
            principal_arn: principal_arn(),
            kind: crate::access_entry::Kind::Known(crate::api::v1alpha1::EntryType::Standard),
            username: Some("alice".to_owned()),
            groups: ["x".to_owned()].into(),
            tags: [].into(),
        },
    ];
    let update = Call::Update {
        principal_arn: principal_arn(),
        username: Some("mallory".to_owned()),
        groups: ["x".to_owned()].into(),
    };
    let disassociate = Call::Disassociate {
        principal_arn: principal_arn(),
        policy_arn: policy.clone(),
    };
    let associate = Call::Associate {
        principal_arn: principal_arn(),
        policy_arn: policy.replace("View", "Edit"),
        scope: crate::access_entry::Scope::Cluster,
    };
    for calls in [&recreate[..1], &[update], &[disassociate], &[associate]] {
        let mut simulation = kept(Mode::Api);
        let spec = json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]});
        simulation.create("alice", "role/alice", &spec);
        simulation.settle();
        simulation.later(60);
        let now = simulation.now;
        let cloud = simulation.cloud();
        cloud.eks.now = now;
        for call in calls {
            cloud.eks.call(call).expect("EKS takes it");
        }
        cloud.known.doubt(ALICE, Some(ANN), now);
        simulation.settle();
        let drift = status(&simulation).last_drift.expect("told");
        assert_eq!(drift.manager, ANN, "{calls:?}: {drift:?}");
        assert_eq!(simulation.ready("alice"), "True InEffect");
        // What nobody tells of later is not theirs.
        simulation.later(60);
        simulation.by_hand(&Call::Delete {
            principal_arn: principal_arn(),
        });
        simulation.settle();
        assert_eq!(
            status(&simulation).last_drift.expect("told").manager,
            "unknown"
        );
    }
}

#[test]
fn contested_entries_are_repaired_also_after_the_clock_was_set_back() {
    let mut simulation = kept(Mode::Api);
    simulation.create("alice", "role/alice", &json!({}));
    simulation.settle();
    for _ in 0..3 {
        simulation.later(60);
        simulation.by_hand(&Call::Delete {
            principal_arn: ALICE.to_owned(),
        });
        simulation.settle();
    }
    assert_eq!(simulation.ready("alice"), "False Contested");
    simulation.later(-3600);
    simulation.later(60);
    simulation.by_hand(&Call::Delete {
        principal_arn: ALICE.to_owned(),
    });
    simulation.settle();
    assert!(simulation.access_entry("role/alice").is_some());
}

#[test]
fn what_was_known_stays_in_the_status_while_eks_is_not() {
    let unknown = AwsState::Unknown {
        failure: crate::access_entry::Failure {
            kind: FailureKind::Unavailable,
            message: "connection refused".to_owned(),
        },
    };
    let unproven = AwsState::Unproven {
        name: "main".to_owned(),
        eks: "aa".to_owned(),
        server: "bb".to_owned(),
    };
    for astray in [unknown, unproven] {
        let mut simulation = handed_over();
        let before = status(&simulation);
        simulation.create(
            "set",
            "role/ignored",
            &json!({"principal": {"permissionSet": {"name": "Admin", "accountId": "111122223333"}}}),
        );
        simulation.astray = Some(astray);
        simulation.settle();
        let after = status(&simulation);
        assert!(before.access_entry_arn.is_some());
        assert_eq!(after.access_entry_arn, before.access_entry_arn);
        assert_eq!(after.backend, before.backend);
        assert_eq!(after.written, before.written);
        let message = simulation.message("alice", "Ready");
        assert!(message.contains("last known at 20"), "{message}");
        let message = simulation.message("set", "Accepted");
        assert!(
            !message.contains("without AWS") && message.contains("EKS"),
            "{message}"
        );
        assert_eq!(simulation.condition("set", "Stalled"), "");
    }
}

/// Each call waits for its answer, and passes run before and after it: what calls of ours have done so far is nobody's drift.
#[test]
fn own_changes_half_way_are_no_drift() {
    let mut simulation = handed_over();
    simulation.cloud().slow = true;
    let calm = |simulation: &mut Simulation| {
        for _ in 0..12 {
            simulation.pass();
            simulation.answer();
            simulation.pass();
            assert_ne!(simulation.ready("alice"), "False Contested");
            assert_eq!(status(simulation).last_drift, None);
            simulation.later(5);
        }
    };
    for round in 0..4 {
        for choice in ["ConfigMap", "AccessEntry"] {
            backend(&mut simulation, choice);
            calm(&mut simulation);
        }
        simulation.edit("alice", |object| {
            let spec = &mut object.spec;
            spec.groups = vec![format!("team-{round}")];
            spec.username = Some(format!("alice-{round}"));
            let policy = if round % 2 == 0 {
                "AmazonEKSViewPolicy"
            } else {
                "AmazonEKSEditPolicy"
            };
            spec.access_policies =
                serde_json::from_value(json!([{"policy": policy}])).expect("a policy");
        });
        calm(&mut simulation);
        assert_eq!(simulation.ready("alice"), "True InEffect");
    }
}

/// A call of ours whose answer is lost, and that took effect all the same, is no one else's change.
#[test]
fn own_changes_without_an_answer_are_no_drift() {
    let mut simulation = handed_over();
    for round in 0..4 {
        simulation.cloud().slow = true;
        simulation.edit("alice", |object| {
            object.spec.groups = vec![format!("team-{round}")];
            let policy = if round % 2 == 0 {
                "AmazonEKSViewPolicy"
            } else {
                "AmazonEKSEditPolicy"
            };
            object.spec.access_policies =
                serde_json::from_value(json!([{"policy": policy}])).expect("a policy");
        });
        simulation.pass();
        simulation.lose_answers(true);
        simulation.cloud().slow = false;
        for _ in 0..20 {
            simulation.pass();
            simulation.later(10);
        }
        assert_eq!(status(&simulation).last_drift, None);
        assert_eq!(simulation.ready("alice"), "True InEffect");
    }
}

/// The repair waits for its turn while other passes run: one change is one repair.
#[test]
fn a_change_is_counted_once_however_long_its_repair_takes() {
    let mut simulation = handed_over();
    simulation.cloud().slow = true;
    simulation.by_hand(&Call::Delete {
        principal_arn: ALICE.to_owned(),
    });
    simulation.look();
    let mut told = 0;
    for _ in 0..6 {
        let report = simulation.pass();
        told += report
            .events
            .iter()
            .filter(|event| event.reason.as_str() == "DriftRepaired")
            .count();
        // Nothing was sent after all.
        simulation.cloud().awaited.clear();
        simulation.cloud().in_flight = InFlight::default();
        simulation.later(1);
    }
    assert_eq!(told, 1);
    assert_ne!(simulation.ready("alice"), "False Contested");
    assert!(status(&simulation).last_drift.is_some());
}

/// Ten of forty may go. Eight are deleted, and EKS throttles their calls. Eight more are deleted. What was ordered first goes first.
#[test]
fn a_removal_that_was_ordered_and_is_throttled_goes_on_counting() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let names: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    for name in &names[..8] {
        simulation.delete(name);
        let throttled = ("DeleteAccessEntry", FailureKind::Throttled);
        simulation.cloud().failures.push(throttled);
    }
    simulation.pass();
    simulation.pass();
    for name in &names[8..16] {
        simulation.delete(name);
    }
    simulation.pass();
    for _ in 0..6 {
        simulation.pass();
        simulation.later(1);
    }
    let stand = |range: std::ops::Range<usize>| {
        let standing = |name: &&String| simulation.access_entry(&format!("role/{name}")).is_some();
        names[range].iter().filter(standing).count()
    };
    assert_eq!(
        (stand(0..8), stand(8..16)),
        (0, 8),
        "of the first eight, which were ordered, and of the second; of the first: {}",
        simulation.message("m00", "Synced")
    );
}
