//! What is revoked goes, and only that: forged statuses, marks and tags, other mappings of the principal, lost statuses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{cluster, entry};
use crate::access_entry::{ADMIN_POLICY, CREATED_TAG, Call, INSTALLATION_TAG, Kind, Scope};
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, EntryType, WrittenEntry};
use crate::aws_auth::Document;
use crate::observed::Mode;
use crate::ownership::KeyHash;
use crate::plan::simulation::Simulation;
use crate::plan::{WriteFailure, plan};
use crate::principal::Key;
use crate::safety::{REMOVALS_ANNOTATION, Removals, clear_call};

const CONFIG_MAP: &str = "kube-system/aws-auth";

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn forge(simulation: &mut Simulation, name: &str, role: &str) {
    let written = WrittenEntry {
        config_map: Some(CONFIG_MAP.to_owned()),
        arn: arn(role),
        username: role.to_owned(),
        groups: vec!["g".to_owned()],
        ..WrittenEntry::default()
    };
    simulation.edit(name, |object| {
        object.status.get_or_insert_default().written.push(written);
    });
}

fn has(simulation: &Simulation, role: &str) -> bool {
    let role = format!("role/{role}");
    simulation.entries().iter().any(|(arn, ..)| *arn == role)
}

/// How many of eight have an access entry.
fn left(simulation: &mut Simulation) -> usize {
    let has = |number: &usize| {
        simulation
            .access_entry(&format!("role/r{number}"))
            .is_some()
    };
    (0..8).filter(has).count()
}

#[test]
fn a_mapping_without_a_backend_keeps_no_deleted_ones_entry() {
    let mut simulation = cluster(&["a"]);
    simulation.create(
        "b",
        "role/a",
        &json!({"username": "b", "backend": "AccessEntry"}),
    );
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    simulation.delete("a");
    simulation.settle();
    let gone = !simulation.objects.contains_key("a");
    assert!(
        !has(&simulation, "a"),
        "a is gone: {gone}; b {}",
        simulation.ready("b")
    );
}

#[test]
fn a_mapping_without_a_backend_keeps_no_expired_ones_entry() {
    let mut simulation = cluster(&[]);
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2027-01-15T08:20:00Z"}),
    );
    simulation.create(
        "b",
        "role/a",
        &json!({"username": "b", "backend": "AccessEntry"}),
    );
    simulation.settle();
    assert!(has(&simulation, "a"));
    simulation.later(3600);
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "a {} {}: {}",
        simulation.ready("a"),
        simulation.condition("a", "Synced"),
        simulation.message("a", "Ready")
    );
}

#[test]
fn a_mapping_without_a_backend_keeps_no_access_entry() {
    for spec in [
        json!({"backend": "ConfigMap"}),
        json!({"groups": ["system:foo"]}),
    ] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        simulation.create("a", "role/a", &json!({}));
        simulation.create("b", "role/a", &spec);
        simulation.settle();
        assert!(simulation.access_entry("role/a").is_some());
        simulation.delete("a");
        for _ in 0..20 {
            simulation.settle();
            simulation.later(60);
            simulation.look();
        }
        simulation.settle();
        let gone = !simulation.objects.contains_key("a");
        assert!(
            simulation.access_entry("role/a").is_none(),
            "{spec}: a is gone: {gone}; b {}; a: {}",
            simulation.ready("b"),
            if gone {
                String::new()
            } else {
                simulation.message("a", "Ready")
            }
        );
    }
}

#[test]
fn what_aws_auth_still_says_in_the_mode_api_lifts_no_limit() {
    let text = (0..8).fold(String::new(), |text, n| {
        let arn = arn(&format!("r{n}"));
        text + &format!("- rolearn: {arn}\n  username: old{n}\n  groups: [g]\n")
    });
    for text in ["", &text] {
        let mut simulation = Simulation::in_eks(Mode::Api, text);
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        assert_eq!(left(&mut simulation), 8, "text {text:?}");
    }
}

#[test]
fn what_is_confirmed_for_orphans_is_so_when_the_call_is_sent() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create("x", "role/x", &json!({}));
    simulation.settle();
    simulation.by_hand(&Call::Create {
        principal_arn: arn("lost"),
        kind: Kind::Known(EntryType::Standard),
        username: Some("lost".to_owned()),
        groups: BTreeSet::new(),
        tags: [(INSTALLATION_TAG, CONFIG_MAP), (CREATED_TAG, "true")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    });
    simulation.by_hand(&Call::Associate {
        principal_arn: arn("lost"),
        policy_arn: format!("arn:aws:eks::aws:cluster-access-policy/{ADMIN_POLICY}"),
        scope: Scope::Cluster,
    });
    simulation.look();
    simulation.settle();
    let word = simulation.orphan_word();
    simulation.annotate_history(CONFIRM_ANNOTATION, &format!("{word},last-administrator"));
    let (desired, observed) = (simulation.desired(), simulation.observed());
    let planned = plan(
        &desired,
        &observed,
        &simulation.settings,
        &simulation.memory,
    );
    let calls = planned.entries.iter().flat_map(|work| &work.calls);
    let call = calls
        .into_iter()
        .find(|call| matches!(call, Call::Delete { .. }));
    let call = call.expect("the plan deletes it");
    assert_eq!(
        clear_call(
            &observed,
            &desired,
            CONFIG_MAP,
            &Removals::default(),
            std::slice::from_ref(call)
        ),
        Ok(())
    );
}

#[test]
fn a_forged_expiry_frees_nobody_elses_removal() {
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for forged in [false, true] {
        let mut simulation = cluster(&names);
        simulation.create(
            "x",
            "role/x",
            &json!({"validUntil": "2026-01-01T00:00:00Z"}),
        );
        simulation.settle();
        if forged {
            for name in &names {
                forge(&mut simulation, "x", name);
            }
            simulation.edit("x", |object| {
                let until = object.spec.valid_until.clone();
                object.status.get_or_insert_default().seen_valid_until = until;
            });
        }
        for name in &names {
            simulation.delete(name);
        }
        simulation.settle();
        let left = names.iter().filter(|name| has(&simulation, name)).count();
        assert_eq!(left, 8, "forged: {forged}");
    }
}

#[test]
fn a_forged_status_of_a_suspended_mapping_keeps_an_entry_and_the_moved_one_says_so() {
    let mut simulation = cluster(&["a"]);
    simulation.create("s", "role/s", &json!({"suspend": true}));
    simulation.settle();
    forge(&mut simulation, "s", "a");
    simulation.edit("a", |object| object.spec.principal.arn = Some(arn("b")));
    simulation.settle();
    // Nobody can tell whose status is right, so the entry stays, and the moved mapping says so.
    assert!(has(&simulation, "a"));
    assert_eq!(simulation.condition("a", "Synced"), "False EntryKept");
}

#[test]
fn no_removal_is_reported_before_the_first_listing() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.by_hand(&Call::Create {
        principal_arn: arn("a"),
        kind: Kind::Known(EntryType::Standard),
        username: Some("a".to_owned()),
        groups: ["g".to_owned()].into(),
        tags: [].into(),
    });
    simulation.cloud().known = crate::access_entry::Entries::default();
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2026-01-01T00:00:00Z"}),
    );
    simulation.pass();
    assert!(
        !simulation.ready("a").starts_with("True"),
        "{}: {}",
        simulation.ready("a"),
        simulation.message("a", "Ready")
    );
}

#[test]
fn a_mapping_that_never_held_the_principal_confirms_nothing_for_it() {
    // Neither one that has expired nor one that no backend can hold.
    let others = [
        json!({"validUntil": "2026-01-01T00:00:00Z"}),
        json!({"backend": "AccessEntry"}),
    ];
    for (other, confirms) in others.iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut simulation = Simulation::with_roles("");
        simulation.create("a", "role/a", &json!({"groups": ["system:masters"]}));
        simulation.settle();
        simulation.create("b", "role/a", other);
        if confirms {
            simulation.confirm("b", "last-administrator");
        }
        simulation.settle();
        simulation.delete("a");
        simulation.settle();
        assert_eq!(
            simulation.entries(),
            [entry("role/a", "a", "system:masters")],
            "confirmed by b: {confirms} {other}"
        );
    }
}

#[test]
fn a_mapping_that_wrote_nothing_keeps_nothing_of_a_deleted_one() {
    for spec in [json!({"suspend": true}), json!({"groups": ["{{Nope}}"]})] {
        for mode in [Mode::ConfigMap, Mode::Api] {
            let mut simulation = Simulation::in_eks(mode, "");
            simulation.create("a", "role/a", &json!({}));
            simulation.settle();
            simulation.create("b", "role/a", &spec);
            simulation.settle();
            simulation.delete("a");
            for _ in 0..20 {
                simulation.settle();
                simulation.later(60);
                simulation.look();
            }
            let stands = has(&simulation, "a") || simulation.access_entry("role/a").is_some();
            let gone = !simulation.objects.contains_key("a");
            assert!(
                !stands && gone,
                "{spec} {mode}: stands {stands}, gone {gone}: {}",
                if gone {
                    String::new()
                } else {
                    simulation.message("a", "Ready")
                }
            );
        }
    }
}

#[test]
fn one_that_never_held_it_retains_nothing_of_a_revoked_one() {
    let mut simulation = cluster(&["a", "d"]);
    simulation.edit("d", |object| {
        object.spec.principal.arn = Some(arn("a"));
        object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
    });
    simulation.settle();
    assert!(simulation.ready("d").contains("DuplicatePrincipal"));
    simulation.delete("a");
    simulation.delete("d");
    simulation.settle();
    assert!(!simulation.objects.contains_key("a"));
    assert!(!has(&simulation, "a"), "a said Revoke, and wrote it");
}

#[test]
fn one_that_never_held_it_retains_nothing_of_an_expired_one() {
    let mut simulation = cluster(&["d"]);
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2027-01-15T08:20:00Z"}),
    );
    simulation.settle();
    simulation.edit("d", |object| {
        object.spec.principal.arn = Some(arn("a"));
        object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
        object.spec.suspend = false;
    });
    simulation.edit("d", |object| {
        object.metadata.deletion_timestamp = Some(simulation_time());
    });
    simulation.later(3600);
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "{}",
        simulation.message("a", "Ready")
    );
}

fn simulation_time() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    crate::time::Timestamp::from_second(1_800_000_000)
        .expect("in range")
        .into()
}

#[test]
fn forged_tags_lift_no_limit() {
    for forged in [false, true] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        for n in 0..40 {
            let tags = [(INSTALLATION_TAG.to_owned(), CONFIG_MAP.to_owned())];
            simulation.by_hand(&Call::Create {
                principal_arn: arn(&format!("stranger{n}")),
                kind: Kind::Known(EntryType::Standard),
                username: Some("s".to_owned()),
                groups: BTreeSet::new(),
                tags: tags.into_iter().filter(|_| forged).collect(),
            });
        }
        simulation.look();
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        assert_eq!(left(&mut simulation), 8, "forged: {forged}");
    }
}

#[test]
fn a_forged_mark_lifts_no_limit() {
    use crate::ownership::{KeyHash, MARK_ANNOTATION, Mark, MeaningHash};
    let text = (0..40).fold(String::new(), |text, n| {
        let arn = arn(&format!("s{n}"));
        text + &format!("- rolearn: {arn}\n  username: s{n}\n  groups: [g]\n")
    });
    for forged in [false, true] {
        let mut simulation = Simulation::with_roles(&text);
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        if forged {
            let view = simulation.config_map.as_mut().expect("exists");
            let document = Document::parse(&view.data);
            let all = document.entries().filter_map(|entry| {
                Some((
                    KeyHash::of(&entry.key()?),
                    MeaningHash::of(&entry.meaning()),
                ))
            });
            let mark = Mark(all.collect()).render();
            view.annotations.insert(MARK_ANNOTATION.to_owned(), mark);
        }
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        let left = (0..8)
            .filter(|n| has(&simulation, &format!("r{n}")))
            .count();
        assert_eq!(left, 8, "forged: {forged}");
    }
}

#[test]
fn what_was_held_stays_held_though_its_statuses_are_lost() {
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut simulation = cluster(&names);
    for name in &names {
        simulation.delete(name);
    }
    simulation.settle();
    assert_eq!(
        names.iter().filter(|name| has(&simulation, name)).count(),
        8
    );
    for name in &names[..5] {
        simulation.edit(name, |object| object.status = None);
    }
    simulation.restart();
    simulation.settle();
    assert_eq!(
        names.iter().filter(|name| has(&simulation, name)).count(),
        8
    );
}

/// Who may write annotations of the history records that all removals were ordered, before or after they are, or before a restart.
#[test]
fn a_forged_order_lifts_no_limit() {
    for (before, restarted, padded) in [
        (true, false, false),
        (false, false, false),
        (true, true, false),
        (false, true, false),
        (false, true, true),
    ] {
        let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut simulation = cluster(&names);
        let orders = |simulation: &mut Simulation| {
            let at = simulation.now.as_second() - 1;
            let hash = |name: &&str| KeyHash::of(&Key::parse_arn(&arn(name)).expect("a key"));
            let mut orders: BTreeMap<String, i64> = names
                .iter()
                .map(|name| (hash(name).as_str().to_owned(), at))
                .collect();
            // Keys that name nobody would make eight a small part of all.
            let others = (0..100).filter(|_| padded);
            orders.extend(others.map(|number| (format!("{number:016x}"), at)));
            let history = simulation.history.as_mut().expect("a history");
            let value = serde_json::to_string(&orders).expect("JSON");
            history
                .annotations
                .insert(REMOVALS_ANNOTATION.to_owned(), value);
        };
        if before {
            orders(&mut simulation);
        }
        if restarted {
            simulation.restart();
        } else {
            simulation.settle();
        }
        for name in &names {
            simulation.delete(name);
        }
        if !before {
            orders(&mut simulation);
        }
        simulation.settle();
        let left = names.iter().filter(|name| has(&simulation, name)).count();
        // Five are what a leader before may have ordered.
        let most = if padded || (restarted && !before) {
            5
        } else {
            0
        };
        assert!(left >= 8 - most, "{left}: {before}, {restarted}, {padded}");
    }
}

/// The mark is gone with the entry, and the text that would show it does not parse: nothing passes by itself any more.
#[test]
fn a_deleted_mapping_whose_text_does_not_parse_reports_the_fix() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.write_failure = Some(WriteFailure::Unavailable("down".to_owned()));
    simulation.delete("a");
    simulation.settle();
    simulation.write_failure = None;
    simulation.vandalise(
        "mapRoles",
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: [\n",
    );
    simulation
        .config_map
        .as_mut()
        .expect("it exists")
        .annotations
        .clear();
    simulation.restart();
    simulation.settle();
    assert!(simulation.objects.contains_key("a"));
    assert_eq!(simulation.ready("a"), "False InvalidYAML");
    assert_eq!(simulation.condition("a", "Stalled"), "True InvalidYAML");
}
