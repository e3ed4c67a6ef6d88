//! What a forged status, and one whose mark or tag was lost, can do: nothing to the entries of other principals.

use serde_json::{Value, json};

use super::entries::foreign as by_a_person;
use super::{cluster, entry, foreign};
use crate::access_entry::{Call, INSTALLATION_TAG};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Deletion, EntryType, WrittenEntry};
use crate::observed::Mode;
use crate::plan::simulation::{Cloud, Simulation};

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:{role}")
}

/// A status that says that the mapping wrote this entry of aws-auth.
fn forge(simulation: &mut Simulation, name: &str, role: &str, username: &str, group: &str) {
    remember(
        simulation,
        name,
        WrittenEntry {
            config_map: Some("kube-system/aws-auth".to_owned()),
            arn: arn(role),
            username: username.to_owned(),
            groups: vec![group.to_owned()],
            ..WrittenEntry::default()
        },
    );
}

/// The same of an access entry.
fn forge_entry(simulation: &mut Simulation, name: &str, role: &str, username: &str, group: &str) {
    remember(
        simulation,
        name,
        WrittenEntry {
            cluster: Some(Cloud::cluster().arn),
            arn: arn(role),
            username: username.to_owned(),
            groups: vec![group.to_owned()],
            type_: Some(EntryType::Standard),
            ..WrittenEntry::default()
        },
    );
}

#[allow(clippy::needless_pass_by_value, reason = "a test hands it over")]
fn remember(simulation: &mut Simulation, name: &str, written: WrittenEntry) {
    simulation.edit(name, |object| {
        object
            .status
            .get_or_insert_default()
            .written
            .push(written.clone());
    });
}

fn lose_mark(simulation: &mut Simulation) {
    let view = simulation.config_map.as_mut().expect("exists");
    view.annotations.clear();
}

/// The tags of an entry are taken off.
fn untag(simulation: &mut Simulation, role: &str) {
    let entry_arn = simulation.cloud().eks.entries[&arn(role)].arn.clone();
    simulation.by_hand(&Call::Untag {
        principal_arn: arn(role),
        entry_arn,
        keys: [INSTALLATION_TAG.to_owned()].into(),
    });
}

#[test]
fn a_status_that_names_an_unmanaged_entry_removes_nothing() {
    for spec in [
        json!({}),
        json!({"suspend": true}),
        json!({"groups": ["{{Nope}}"]}),
    ] {
        let mut simulation = cluster(&[]);
        simulation.create("a", "role/a", &spec);
        simulation.settle();
        forge(&mut simulation, "a", "role/ops", "ops", "system:masters");
        simulation.settle();
        assert_eq!(simulation.entries()[..2], foreign(), "{spec}");
        forge(&mut simulation, "a", "role/ops", "ops", "system:masters");
        simulation.edit("a", |object| {
            let ours = crate::api::finalizer::Finalizer::AwsAuth;
            object.metadata.finalizers = Some(vec![ours.as_str().to_owned()]);
        });
        simulation.delete("a");
        simulation.restart();
        simulation.settle();
        assert_eq!(simulation.entries(), foreign(), "{spec}");
        assert!(!simulation.objects.contains_key("a"), "{spec}");
    }
}

#[test]
fn a_status_that_names_the_entry_of_another_mapping_removes_nothing() {
    for marked in [true, false] {
        let mut simulation = cluster(&["a", "b"]);
        if !marked {
            lose_mark(&mut simulation);
        }
        forge(&mut simulation, "a", "role/b", "b", "g");
        simulation.delete("a");
        simulation.restart();
        simulation.settle();
        assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
        assert_eq!(simulation.ready("b"), "True InEffect");
        assert_eq!(simulation.mark().split(' ').count(), 1, "b is marked");
    }
}

#[test]
fn a_status_that_names_an_access_entry_of_another_principal_removes_nothing() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    by_a_person(&mut simulation, "role/ops", "ops", &["admins"]);
    for name in ["a", "b"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    let before = simulation.access_entry("role/b");
    untag(&mut simulation, "role/b");
    for _ in 0..2 {
        forge_entry(&mut simulation, "a", "role/ops", "ops", "admins");
        forge_entry(&mut simulation, "a", "role/b", "b", "g");
        simulation.restart();
        simulation.settle();
        assert!(simulation.access_entry("role/ops").is_some());
        assert_eq!(simulation.access_entry("role/b"), before);
        if simulation.objects.contains_key("a") {
            simulation.delete("a");
        }
    }
    assert!(!simulation.objects.contains_key("a"));
    assert_eq!(simulation.access_entry("role/a"), None);
    let ops = &simulation.cloud().eks.entries[&arn("role/ops")];
    assert!(ops.tags.is_empty(), "it was not taken over either");
}

#[test]
fn a_status_stops_no_removal_that_the_mapping_of_that_principal_orders() {
    // What the mapping with the forged status is like.
    let others = [
        json!({"suspend": true}),
        json!({"groups": ["{{Nope}}"]}),
        json!({"principal": {"arn": "no ARN"}}),
        // Its own grant waits, and so would the removal of what it left.
        json!({"adoption": "Never", "principal": {"arn": arn("role/ops")}}),
    ];
    for other in others {
        for (mode, backend) in [(Mode::ConfigMap, "ConfigMap"), (Mode::Api, "AccessEntry")] {
            let mut simulation = Simulation::in_eks(mode, super::FOREIGN);
            simulation.create("b", "role/b", &json!({"backend": backend}));
            simulation.settle();
            simulation.create("a", "role/a", &other);
            simulation.settle();
            forge(&mut simulation, "a", "role/b", "b", "g");
            forge_entry(&mut simulation, "a", "role/b", "b", "g");
            simulation.delete("b");
            simulation.settle();
            let case = format!("{other} {mode}");
            assert!(!simulation.objects.contains_key("b"), "{case}");
            let left = simulation.entries();
            assert!(!left.contains(&entry("role/b", "b", "g")), "{case}");
            assert_eq!(simulation.access_entry("role/b"), None, "{case}");
        }
    }
}

#[test]
fn a_status_gives_up_nothing_that_another_mapping_revokes() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.edit("a", |object| object.spec.deletion = Deletion::Retain);
    simulation.settle();
    forge(&mut simulation, "a", "role/b", "b", "g");
    simulation.delete("a");
    simulation.delete("b");
    simulation.settle();
    assert_eq!(
        simulation.entries()[2..],
        [entry("role/a", "a", "g")],
        "a is retained, b revoked"
    );
    assert!(simulation.objects.is_empty());
}

fn moved(spec: &Value) -> Value {
    json!({"principal": {"arn": arn("role/new")}, "username": "a", "groups": spec})
}

fn move_to_new(simulation: &mut Simulation) {
    simulation.edit("a", |object| {
        object.spec = serde_json::from_value(moved(&json!(["g"]))).expect("a spec");
    });
}

#[test]
fn a_mapping_that_moved_leaves_its_old_entry_where_the_mark_is_lost() {
    for marked in [true, false] {
        let mut simulation = cluster(&["a", "b"]);
        if !marked {
            lose_mark(&mut simulation);
        }
        move_to_new(&mut simulation);
        simulation.restart();
        simulation.settle();
        let stays = simulation.entries().contains(&entry("role/a", "a", "g"));
        assert_eq!(stays, !marked);
        assert_eq!(simulation.told("a", Reason::EntryKept), !marked);
        assert_eq!(simulation.ready("a"), "True InEffect");
        let told = simulation.events.len();
        simulation.settle();
        assert_eq!(simulation.events.len(), told, "it is told once");
        // It goes for good, and with it nothing of what it left.
        simulation.delete("a");
        simulation.settle();
        assert!(!simulation.objects.contains_key("a"));
        let stays = simulation.entries().contains(&entry("role/a", "a", "g"));
        assert_eq!(stays, !marked);
    }
}

#[test]
fn a_mapping_that_moved_leaves_its_old_access_entry_where_the_tags_are_lost() {
    for tagged in [true, false] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        simulation.create("a", "role/a", &json!({}));
        simulation.settle();
        if !tagged {
            untag(&mut simulation, "role/a");
        }
        move_to_new(&mut simulation);
        simulation.restart();
        simulation.settle();
        assert_eq!(simulation.access_entry("role/a").is_some(), !tagged);
        assert_eq!(simulation.told("a", Reason::EntryKept), !tagged);
        assert_eq!(simulation.ready("a"), "True InEffect");
        let told = simulation.events.len();
        simulation.settle();
        assert_eq!(simulation.events.len(), told, "it is told once");
    }
}

#[test]
fn a_permission_set_knows_its_old_role_again_and_no_other_principal() {
    let role = |set: &str, suffix: &str| {
        format!("role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_{set}_{suffix}")
    };
    let (old, new) = (
        role("Admin", "0123456789abcdef"),
        role("Admin", "fedcba9876543210"),
    );
    let other = role("Other", "0123456789abcdef");
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let now = simulation.now;
    let (old_arn, new_arn) = (arn(&old), arn(&new));
    simulation.cloud().iam_lists(&[(&old_arn, "AROAOLD")], now);
    let set =
        json!({"principal": {"permissionSet": {"name": "Admin", "accountId": "111122223333"}}});
    simulation.create("a", "role/unused", &set);
    simulation.settle();
    assert!(simulation.access_entry(&old).is_some());
    // Two tags are lost, of which one is none of its business; then the role is made anew.
    by_a_person(&mut simulation, &other, "a", &["g"]);
    untag(&mut simulation, &old);
    forge_entry(&mut simulation, "a", &other, "a", "g");
    simulation.later(60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&new_arn, "AROANEW")], now);
    simulation.settle();
    assert!(simulation.access_entry(&new).is_some());
    assert!(simulation.access_entry(&old).is_none());
    assert!(simulation.access_entry(&other).is_some());
}

/// A status says that less was written than the last administrator has, and the spec declares that: it is no repair.
#[test]
fn a_forged_record_demotes_no_last_administrator() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    let admin = json!({"accessPolicies": [{"policy": "AmazonEKSClusterAdminPolicy"}]});
    simulation.create("root", "role/root", &admin);
    simulation.settle();
    simulation.edit("root", |object| object.spec.access_policies.clear());
    simulation.settle();
    let policies = |simulation: &Simulation| simulation.access_entry("role/root").expect("stays").2;
    assert_eq!(
        policies(&simulation),
        ["AmazonEKSClusterAdminPolicy in cluster"]
    );
    simulation.edit("root", |object| {
        for written in &mut object.status.as_mut().expect("a status").written {
            written.access_policies.clear();
        }
    });
    simulation.settle();
    assert_eq!(
        policies(&simulation),
        ["AmazonEKSClusterAdminPolicy in cluster"]
    );
    assert_eq!(simulation.ready("root"), "False RemovalNeedsConfirmation");
}

/// What this process saw before is what tells a repair: an administrator by somebody's edit is taken back without a confirmation.
#[test]
fn an_administrator_by_an_edit_is_taken_back_although_nobody_else_is_one() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    for name in ["m", "keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    simulation.by_hand(&Call::Associate {
        principal_arn: arn("role/m"),
        policy_arn: crate::access_entry::policy_arn(
            crate::principal::Partition::Aws,
            crate::access_entry::ADMIN_POLICY,
        ),
        scope: crate::access_entry::Scope::Cluster,
    });
    simulation.settle();
    let policies = simulation.access_entry("role/m").expect("stays").2;
    assert_eq!(policies, [""; 0], "{}", simulation.message("m", "Ready"));
}
