//! Drift, broken texts, deletion, immutability, refusal by the API server, size, history.

use serde_json::json;

use super::{FOREIGN, cluster, entry, foreign};
use crate::observed::Repair;
use crate::plan::WriteFailure;
use crate::plan::simulation::Simulation;

const BROKEN: &str = "- rolearn: arn:aws:iam::111122223333:role/x\n  username: {{SessionName}}\n";

#[test]
fn drift_is_repaired_in_one_pass_and_flips_no_condition() {
    let mut simulation = cluster(&["a", "b"]);
    let before = simulation.objects["a"]
        .status
        .clone()
        .expect("written")
        .conditions;
    simulation.later(5);
    simulation.replace_in_roles("\"a\"", "\"changed\"");
    simulation.pass();
    assert_eq!(simulation.entries()[2], entry("role/a", "a", "g"));
    let status = simulation.objects["a"].status.clone().expect("written");
    assert_eq!(status.conditions, before);
    let drift = status.last_drift.expect("reported");
    assert_eq!(
        (drift.manager.as_str(), drift.what.contains("changed")),
        ("vandal", true),
        "{drift:?}"
    );
    assert_eq!(simulation.events.len(), 1);
    assert_eq!(simulation.settle(), 0);
}

#[test]
fn a_removed_entry_comes_back_and_a_removed_unmanaged_one_does_not() {
    let mut simulation = cluster(&["a"]);
    simulation.vandalise("mapRoles", "# all gone\n");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries(), [entry("role/a", "a", "g")]);
    assert!(simulation.roles().starts_with("# all gone\n"));
    simulation.config_map.as_mut().expect("exists").data.clear();
    assert_eq!(simulation.settle(), 1);
    assert_eq!(
        simulation.entries(),
        [entry("role/a", "a", "g")],
        "a deleted key"
    );
}

#[test]
fn changes_by_others_cause_no_write() {
    let mut simulation = cluster(&["a"]);
    simulation.replace_in_roles("username: ops", "username: operators");
    let text = simulation.roles();
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.roles(), text);
}

#[test]
fn an_unmanaged_duplicate_known_from_before_is_not_treated_as_managed() {
    let mut simulation = Simulation::with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: foreign\n",
    );
    simulation.create("a", "role/a", &json!({"adoption": "Never"}));
    simulation.settle();
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");
    simulation.vandalise("mapRoles", "[]");
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    let ours = simulation.roles();
    simulation.vandalise(
        "mapRoles",
        &format!(
            "- rolearn: arn:aws:iam::111122223333:role/a\n  username: foreign\n{}",
            "#\n"
        ),
    );
    let _ = ours;
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
}

#[test]
fn a_broken_text_is_put_back_with_the_plan_applied_in_the_same_write() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.vandalise("mapRoles", BROKEN);
    simulation.delete("a");
    simulation.pass();
    assert_eq!(
        simulation.entries(),
        [foreign(), vec![entry("role/b", "b", "g")]].concat()
    );
    assert!(simulation.roles().starts_with(FOREIGN));
    let event = simulation
        .events
        .iter()
        .find(|event| event.reason.as_str() == "InvalidYAMLRepaired")
        .expect("told");
    for part in ["mapRoles", "line 2", "vandal", "{SessionName}"] {
        assert!(event.note.contains(part), "{part} in {}", event.note);
    }
    assert_eq!(simulation.settle(), 0);
    assert_eq!(
        simulation.history.as_ref().expect("kept").copies.len(),
        2,
        "the first text and the broken one"
    );
}

#[test]
fn a_fault_on_an_empty_line_is_reported_without_an_empty_quotation() {
    for text in [
        "- rolearn: \"a",
        "- rolearn: a\n-\n",
        "{",
        "- [a,\n\n",
        BROKEN,
    ] {
        let mut simulation = cluster(&["a"]);
        simulation.vandalise("mapRoles", text);
        simulation.pass();
        let repaired = simulation
            .events
            .iter()
            .find(|event| event.reason.as_str() == "InvalidYAMLRepaired");
        if let Some(event) = repaired {
            assert!(!event.note.contains("``"), "{text:?}: {}", event.note);
        }
        let mut off = cluster(&["a"]);
        off.settings.repair = Some(Repair::Off);
        off.vandalise("mapRoles", text);
        off.settle();
        let message = off.message("a", "Ready");
        assert!(!message.contains("``"), "{text:?}: {message}");
    }
}

#[test]
fn a_text_found_broken_at_start_or_with_repair_off_is_left() {
    let mut at_start = cluster(&["a"]);
    at_start.vandalise("mapRoles", BROKEN);
    at_start.restart();
    let mut off = cluster(&["a"]);
    off.settings.repair = Some(Repair::Off);
    off.vandalise("mapRoles", BROKEN);
    for mut simulation in [at_start, off] {
        simulation.create("c", "role/c", &json!({}));
        simulation.create("u", "user/u", &json!({}));
        simulation.settle();
        assert_eq!(simulation.roles(), BROKEN);
        assert_eq!(simulation.ready("a"), "False InvalidYAML");
        assert_eq!(simulation.ready("c"), "False InvalidYAML");
        assert!(
            simulation.message("c", "Ready").contains("line 2"),
            "{}",
            simulation.message("c", "Ready")
        );
        assert_eq!(
            simulation.ready("u"),
            "True InEffect",
            "the other section goes on"
        );
        simulation.vandalise("mapRoles", FOREIGN);
        simulation.settle();
        assert_eq!(
            simulation.ready("a"),
            "True InEffect",
            "fixed by hand, the managed entries come back"
        );
        assert_eq!(simulation.ready("c"), "True InEffect");
    }
}

#[test]
fn a_mapping_deleted_while_the_text_is_broken_waits_for_it() {
    let mut simulation = cluster(&["a"]);
    simulation.settings.repair = Some(Repair::Off);
    let text = simulation.roles();
    simulation.vandalise("mapRoles", BROKEN);
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.ready("a"), "False InvalidYAML");
    simulation.vandalise("mapRoles", &text);
    simulation.settle();
    assert!(!simulation.objects.contains_key("a"));
    assert_eq!(simulation.entries(), foreign());
}

#[test]
fn a_deleted_config_map_comes_back_whole_or_with_ours_only() {
    let mut last_good = cluster(&["a", "b"]);
    last_good.config_map = None;
    last_good.delete("b");
    last_good.settle();
    assert_eq!(
        last_good.entries(),
        [foreign(), vec![entry("role/a", "a", "g")]].concat()
    );
    assert!(
        last_good
            .events
            .iter()
            .any(|event| event.reason.as_str() == "ConfigMapRestored"),
        "{:?}",
        last_good.events
    );

    let mut off = cluster(&["a", "b"]);
    off.settings.repair = Some(Repair::Off);
    off.config_map = None;
    off.settle();
    assert_eq!(
        off.entries(),
        [entry("role/a", "a", "g"), entry("role/b", "b", "g")]
    );
    let event = off
        .events
        .iter()
        .find(|event| event.reason.as_str() == "ConfigMapDeleted")
        .expect("told");
    assert!(
        event.note.contains("2 unmanaged entries") && event.note.contains("role/node"),
        "{}",
        event.note
    );

    let mut at_start = cluster(&["a"]);
    at_start.config_map = None;
    at_start.restart();
    at_start.settle();
    assert_eq!(at_start.entries(), [entry("role/a", "a", "g")]);
}

#[test]
fn without_mappings_nothing_is_created() {
    let mut simulation = Simulation::new();
    simulation.config_map = None;
    assert_eq!(simulation.settle(), 0);
    assert!(simulation.config_map.is_none());
}

#[test]
fn an_immutable_config_map_is_reported() {
    let mut simulation = cluster(&["a"]);
    simulation.config_map.as_mut().expect("exists").immutable = true;
    simulation.create("b", "role/b", &json!({}));
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert_eq!(simulation.ready("b"), "False ConfigMapImmutable");
}

#[test]
fn a_denied_write_is_reported_with_the_message_of_the_denial() {
    let mut simulation = cluster(&["a"]);
    simulation.write_failure = Some(WriteFailure::Denied("no tabs, please".to_owned()));
    simulation.create("b", "role/b", &json!({}));
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.ready("b"), "False WriteDenied");
    assert!(simulation.message("b", "Ready").contains("no tabs, please"));
    assert!(
        simulation.objects.contains_key("a"),
        "the finalizer stays while the entry does"
    );
    simulation.write_failure = None;
    simulation.settle();
    assert_eq!(simulation.ready("b"), "True InEffect");
    assert!(!simulation.objects.contains_key("a"));
}

#[test]
fn what_does_not_fit_is_refused_youngest_first_and_removals_go_through() {
    let filler = format!(
        "{FOREIGN}# {}\n",
        "x".repeat(1_048_576 - FOREIGN.len() - 700)
    );
    let mut simulation = Simulation::with_roles(&filler);
    for name in ["a", "b", "c", "d", "e", "f", "h", "i", "j", "k", "l", "m"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert_eq!(simulation.ready("m"), "False ConfigMapFull");
    assert!(
        simulation.message("m", "Ready").contains("bytes"),
        "{}",
        simulation.message("m", "Ready")
    );
    simulation.delete("a");
    simulation.settle();
    assert!(!simulation.objects.contains_key("a"));
    let in_effect = simulation
        .objects
        .keys()
        .filter(|name| simulation.ready(name) == "True InEffect")
        .count();
    assert!((5..11).contains(&in_effect), "{in_effect}");
}

#[test]
fn annotations_count_too() {
    let mut simulation = Simulation::with_roles(FOREIGN);
    let last_applied = "x".repeat(262_144 - 200);
    let annotations = &mut simulation.config_map.as_mut().expect("exists").annotations;
    annotations.insert(
        "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
        last_applied,
    );
    for name in ["a", "b", "c", "d", "e", "f", "h"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert_eq!(simulation.ready("h"), "False ConfigMapFull");
}

#[test]
fn grants_wait_for_the_history_and_repairs_and_revocations_do_not() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.history_failure = Some("the API server says no".to_owned());
    simulation.create("c", "role/c", &json!({}));
    simulation.delete("a");
    simulation.replace_in_roles("\"b\"", "\"changed\"");
    simulation.settle();
    assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
    assert_eq!(simulation.ready("c"), "False HistoryUnwritable");
    assert_eq!(
        simulation.condition("c", "Reconciling"),
        "True HistoryUnwritable"
    );
    simulation.history_failure = None;
    simulation.settle();
    assert_eq!(simulation.ready("c"), "True InEffect");
}

/// A person takes an unmanaged entry away by a legal edit, and breaks the text in the next moment, before a pass ends.
#[test]
fn a_text_that_no_pass_saw_is_the_last_good_one() {
    for deleted in [false, true] {
        let mut simulation = cluster(&["a"]);
        simulation.settings.repair = Some(Repair::LastGood);
        simulation.settle();
        let text = simulation.roles();
        let (without, _) = text.split_once("# made by hand").expect("there");
        let (_, ours) = text.split_once("[system:masters]\n").expect("there");
        let revoked = format!("{without}{ours}");
        simulation.vandalise("mapRoles", &revoked);
        // The watch of this process has shown that text. A pass is under way meanwhile, or waits for the pause between
        // writes.
        if deleted {
            simulation.config_map = None;
        } else {
            simulation.vandalise("mapRoles", &format!("{revoked}\n]"));
        }
        simulation.settle();
        let ops =
            |simulation: &Simulation| simulation.entries().iter().any(|it| it.0 == "role/ops");
        assert!(!ops(&simulation), "{}", simulation.roles());
        assert!(
            simulation.roles().contains("role/a"),
            "{}",
            simulation.roles()
        );
    }
}
