//! Each rule alone: a proposal that only it refuses, and that passes where it is switched off, confirmed or declared.

mod scene;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use self::scene::*;
use super::switch::without;
use super::{Authority, Before, Proposal, Removals, Review, Rule, Text, review};
use crate::access_entry::{
    Absence, AccessEntry, Association, CREATED_TAG, Call, EksCluster, Entries, EntryState,
    INSTALLATION_TAG, InFlight, Kind, Possible, Scope,
};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{Confirmation, EntryType};
use crate::aws_auth::{Document, Meaning};
use crate::desired::{Mapping, State};
use crate::effective::StandingEntries;
use crate::observed::{AwsView, Bindings, Iam, Mode};
use crate::ownership::{KeyHash, Mark, MeaningHash};
use crate::principal::Key;
use crate::time::Timestamp;

#[test]
fn nodes_keep_their_identity() {
    let nodes = "system:node:{{EC2PrivateDNSName}}";
    let text = [line("n", nodes, "system:nodes")];
    let removed = among_others(Scene::new(Mode::ApiAndConfigMap))
        .text(&text, &["n"])
        .then(&[], &[])
        .deleted("n");
    removed.refused_by(Rule::Nodes);
    let mut confirmed = removed.clone();
    confirmed.mappings.clear();
    let annotation = json!({"annotations": {"identity-mapper.dev/confirm": "node-entry"}, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    confirmed.mapping("n", &json!({}), &annotation).cleared();

    // A status that names the principal too confirms nothing for the mapping whose spec does.
    let mut forged = removed.clone();
    let written = json!([{"configMap": CONFIG_MAP, "arn": arn("n"), "username": nodes}]);
    forged = forged.written_by("mallory", &written, "node-entry");
    forged.refused_by(Rule::Nodes);
    forged.mappings.retain(|mapping| mapping.name == "mallory");
    forged.cleared();

    let over_nodes = Scene::new(Mode::ApiAndConfigMap)
        .text(&text, &[])
        .mapping("n", &json!({"adoption": "Always"}), &json!({}))
        .call("n", |arn| create(arn, &["g"]));
    over_nodes.refused_by(Rule::Nodes);

    let typed = json!({"type": "EC2Linux", "username": null, "groups": null});
    let deleted = among_others(Scene::new(Mode::Api))
        .entry("n", node)
        .mapping(
            "n",
            &typed,
            &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        )
        .delete("n");
    deleted.refused_by(Rule::Nodes);
}

#[test]
fn the_last_administrator_stays() {
    let one = among_others(Scene::new(Mode::Api))
        .entry("a", administrator)
        .deleted("a")
        .delete("a");
    one.refused_by(Rule::LastAdministrator);
    one.clone().entry("b", administrator).cleared();
    // Of two whose removal is proposed together none is certain to stay.
    let both = one.entry("b", administrator).deleted("b").delete("b");
    both.refused_by(Rule::LastAdministrator);
    let narrowed = Scene::new(Mode::Api)
        .entry("a", administrator)
        .mapping("a", &json!({}), &json!({}))
        .call("a", |principal_arn| Call::Disassociate {
            principal_arn,
            policy_arn: ADMIN.to_owned(),
        });
    narrowed.refused_by(Rule::LastAdministrator);
}

#[test]
fn an_administrator_whose_removal_is_on_its_way_is_not_certain() {
    let mut scene = among_others(Scene::new(Mode::Api))
        .entry("a", administrator)
        .entry("b", administrator)
        .deleted("a")
        .deleted("b")
        .delete("b");
    scene.clone().cleared();
    let sent = Call::Delete {
        principal_arn: arn("a"),
    };
    let before = Possible {
        entries: vec![
            scene.entries.by_principal[&arn("a")]
                .entry
                .clone()
                .expect("known"),
        ],
        ..Possible::default()
    };
    scene.in_flight.sent(sent.clone(), &before, now());
    scene.refused_by(Rule::LastAdministrator);
    // Its answer was lost, and a description from before it can take effect shows the entry.
    scene.in_flight.given_up(&sent, now());
    scene.refused_by(Rule::LastAdministrator);
}

#[test]
fn a_removal_counts_until_ten_minutes_after_its_answer() {
    let roles: Vec<String> = (0..8).map(|number| format!("r{number}")).collect();
    let mut scene = Scene::new(Mode::Api);
    for role in &roles {
        scene = scene.entry(role, |_| {}).deleted(role);
    }
    for role in &roles[3..] {
        scene = scene.delete(role);
    }
    let old = format!(
        "{{\"{}\":{}}}",
        hash("r1").as_str(),
        now().as_second() - 601
    );
    scene.removals = Removals::parse(&old);
    scene.entries.by_principal.remove(&arn("r1"));
    scene.clone().cleared();
    let answered = Absence {
        asked: now(),
        answered: now(),
        removed: Some(now()),
        changed: None,
        deleted_by: None,
    };
    scene.entries.absent.insert(arn("r1"), answered);
    scene.refused_by(Rule::MassRemoval);
}

#[test]
fn before_the_first_listing_no_entry_of_aws_auth_is_certain() {
    let lines = [
        line("a", "a", "system:masters"),
        line("b", "b", "system:masters"),
    ];
    let mut scene = Scene::new(Mode::ApiAndConfigMap)
        .text(&lines, &["a"])
        .then(&lines[1..], &[])
        .deleted("a");
    scene.clone().cleared();
    scene.entries.listed = None;
    scene.refused_by(Rule::LastAdministrator);
}

#[test]
fn unmanaged_entries_stay_as_they_are() {
    let lines = [line("u", "u", "x"), line("o", "o", "g")];
    let scene = Scene::new(Mode::ConfigMap)
        .text(&lines, &["o"])
        .mapping("o", &json!({}), &json!({}))
        .mapping("u", &json!({}), &json!({}));
    scene
        .clone()
        .then(&lines[1..], &["o"])
        .refused_by(Rule::Unmanaged);
    let ours = [line("u", "u", "g"), line("o", "o", "g")];
    scene
        .clone()
        .then(&ours, &["o", "u"])
        .refused_by(Rule::Unmanaged);
    let adopting = Scene::new(Mode::ConfigMap)
        .text(&lines, &["o"])
        .mapping("o", &json!({}), &json!({}))
        .mapping("u", &json!({"adoption": "Always"}), &json!({}));
    adopting.then(&ours, &["o", "u"]).cleared();

    // What mapUsers says of a role has no effect where mapRoles names it: the other one wins, and is not to lose.
    let mut scene = Scene::new(Mode::ApiAndConfigMap)
        .text(&lines[..1], &[])
        .mapping("u", &json!({}), &json!({}))
        .call("u", |arn| create(arn, &["g"]));
    scene.refused_by(Rule::Unmanaged);
    scene.users = format!("- userarn: {}\n  username: z\n", arn("u"));
    scene.refused_by(Rule::Unmanaged);
}

#[test]
fn who_gets_more_gets_what_a_live_mapping_declares() {
    let scene = Scene::new(Mode::ConfigMap).mapping("o", &json!({}), &json!({}));
    scene.clone().then(&[line("o", "o", "g")], &["o"]).cleared();
    scene
        .clone()
        .then(&[line("o", "o", "more")], &["o"])
        .refused_by(Rule::Grant);
    scene
        .then(&[line("p", "p", "g")], &["p"])
        .refused_by(Rule::Grant);

    let scene = Scene::new(Mode::Api).mapping("o", &json!({}), &json!({}));
    scene.clone().call("o", |arn| create(arn, &["g"])).cleared();
    scene
        .clone()
        .call("o", |arn| create(arn, &["more"]))
        .refused_by(Rule::Grant);
    scene
        .call("o", |arn| create(arn, &["g"]))
        .call("o", |principal_arn| Call::Associate {
            principal_arn,
            policy_arn: ADMIN.to_owned(),
            scope: Scope::Cluster,
        })
        .refused_by(Rule::Grant);
    let expired = json!({"validUntil": "2026-01-01T00:00:00Z"});
    let scene = Scene::new(Mode::Api).mapping("o", &expired, &json!({}));
    scene
        .call("o", |arn| create(arn, &["g"]))
        .refused_by(Rule::Grant);
}

#[test]
fn only_managed_entries_without_a_mapping_are_removed() {
    let scene = among_others(Scene::new(Mode::Api));
    let unmanaged = scene.clone().entry("u", |entry| entry.tags.clear());
    unmanaged
        .clone()
        .deleted("u")
        .delete("u")
        .refused_by(Rule::Removal);
    let update_of = unmanaged
        .mapping("u", &json!({}), &json!({}))
        .call("u", |arn| update(arn, &["g"]));
    update_of.refused_by(Rule::Removal);
    let claimed = scene
        .clone()
        .entry("o", |_| {})
        .mapping("o", &json!({}), &json!({}))
        .delete("o");
    claimed.refused_by(Rule::Removal);
    let mut orphan = scene.entry("o", |_| {}).delete("o");
    orphan.refused_by(Rule::Removal);
    orphan.confirmed_orphans.insert(hash("o"));
    orphan.cleared();
}

#[test]
fn few_vanish_within_ten_minutes() {
    let roles: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let of = |range: std::ops::Range<usize>| {
        let mut scene = Scene::new(Mode::Api);
        for (number, role) in roles.iter().enumerate() {
            scene = scene.entry(role, |_| {});
            scene = if range.contains(&number) {
                scene.deleted(role).delete(role)
            } else {
                scene.mapping(role, &json!({}), &json!({}))
            };
        }
        scene
    };
    of(0..25).cleared();
    of(0..26).refused_by(Rule::MassRemoval);
    // What was ordered a moment ago counts, whether or not it is gone already.
    let first = of(0..20);
    let mut second = of(20..40);
    second.removals = first.review().removals;
    for role in &roles[..20] {
        second.entries.by_principal.remove(&arn(role));
    }
    second.refused_by(Rule::MassRemoval);
    assert_eq!(second.review().refusals.len(), 20, "none of them goes");
    // The same removals, ordered once more, count once.
    let mut again = first.clone();
    again.removals = first.review().removals;
    again.cleared();
    let mut unrecorded = of(0..6);
    unrecorded.recordable = false;
    unrecorded.refused_by(Rule::MassRemoval);
}

#[test]
fn a_record_of_removals_that_lies_ahead_or_is_old_is_dropped_and_what_exists_again_comes_off() {
    let scene = among_others(Scene::new(Mode::Api))
        .entry("o", |_| {})
        .deleted("o")
        .delete("o");
    let record = |role: &str, seconds: i64| {
        let text = format!(
            "{{\"{}\":{}}}",
            hash(role).as_str(),
            now().as_second() + seconds
        );
        Removals::parse(&text)
    };
    let kept = |removals: Removals| {
        let mut scene = scene.clone();
        scene.removals = removals;
        scene.review().removals.render()
    };
    let alone = kept(Removals::default());
    assert_eq!(kept(record("gone", 1)), alone, "ahead");
    assert_eq!(kept(record("gone", -600)), alone, "old");
    assert_eq!(kept(record("other1", -5)), alone, "it exists");
    assert_ne!(kept(record("gone", -599)), alone);
    assert_eq!(
        kept(Removals::parse("{\"zz\":1,\"owned\":{}}")),
        alone,
        "no hash"
    );
}

#[test]
fn nothing_is_revoked_while_the_definition_is_being_deleted() {
    let mut scene = among_others(Scene::new(Mode::Api))
        .entry("o", |_| {})
        .deleted("o")
        .delete("o");
    scene.clone().cleared();
    scene.definition_deleting = true;
    scene.refused_by(Rule::Definition);
}

#[test]
fn nothing_is_written_over_what_could_not_be_read() {
    let mut scene = Scene::new(Mode::ConfigMap)
        .mapping("o", &json!({}), &json!({}))
        .then(&[line("o", "o", "g")], &["o"]);
    scene.text = "- rolearn: [".to_owned();
    scene.refused_by(Rule::Read);
    let mut unlisted = Scene::new(Mode::Api)
        .mapping("o", &json!({}), &json!({}))
        .call("o", |arn| create(arn, &["g"]));
    unlisted.clone().cleared();
    unlisted.entries.listed = None;
    assert!(unlisted.refused().contains(&Rule::Read));
}

#[test]
fn a_person_who_confirmed_the_diff_still_locks_no_node_and_no_last_administrator_out() {
    let lines = [
        line("a", "a", "system:masters"),
        line("n", "system:node:{{EC2PrivateDNSName}}", "system:nodes"),
        line("u", "u", "x"),
    ];
    let mut scene = Scene::new(Mode::ConfigMap).text(&lines, &[]);
    scene.authority = Authority::Person;
    scene.clone().then(&lines[..2], &[]).cleared();
    scene
        .clone()
        .then(&lines[1..], &[])
        .refused_by(Rule::LastAdministrator);
    let without_nodes = scene.then(&lines[..1], &[]);
    without_nodes.refused_by(Rule::Nodes);
    let mut agreed = without_nodes;
    agreed.orphans.insert(Confirmation::NodeEntry);
    agreed.cleared();
}

#[test]
fn a_person_repairs_what_does_not_parse() {
    let mut scene = Scene::new(Mode::ConfigMap).then(&[line("o", "o", "g")], &[]);
    scene.text = "- rolearn: [".to_owned();
    scene.authority = Authority::Person;
    scene.cleared();
}

#[test]
fn every_step_of_a_change_is_within_what_was_and_what_is_declared() {
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    let spec = json!({"username": "new", "accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]});
    let scene = Scene::new(Mode::Api)
        .entry("o", |entry| entry.username = "old".to_owned())
        .mapping("o", &spec, &json!({}))
        .call("o", |principal_arn| Call::Associate {
            principal_arn,
            policy_arn: policy.to_owned(),
            scope: Scope::Cluster,
        })
        .call("o", |principal_arn| Call::Update {
            principal_arn,
            username: Some("new".to_owned()),
            groups: ["g".to_owned()].into(),
        });
    scene.cleared();
}
