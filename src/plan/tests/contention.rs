//! Contention, events, observation, release.

use serde_json::json;

use super::{FOREIGN, cluster, entry};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::RELEASED_ANNOTATION;

#[test]
fn a_contested_entry_is_repaired_once_a_second_and_never_not_at_all() {
    let mut simulation = cluster(&["a"]);
    let good = simulation.roles();
    let (mut writes, mut statuses, start) = (0, 0, simulation.status_writes);
    for _ in 0..200 {
        simulation.vandalise("mapRoles", FOREIGN);
        let before = simulation.writes;
        simulation.pass();
        simulation.pass();
        writes += simulation.writes - before;
        simulation.now = simulation.now.plus(jiff::SignedDuration::from_millis(100));
        statuses = simulation.status_writes - start;
    }
    assert!((20..=23).contains(&writes), "{writes} writes in 20 s");
    assert!(statuses <= 6, "{statuses} status writes");
    assert!(simulation.events.len() <= 4, "{:#?}", simulation.events);
    assert_eq!(simulation.ready("a"), "False Contested");
    assert!(
        simulation.message("a", "Contested").contains("vandal"),
        "{}",
        simulation.message("a", "Contested")
    );
    simulation.later(1);
    simulation.settle();
    assert_eq!(simulation.roles(), good);
    assert_eq!(
        simulation.ready("a"),
        "False Contested",
        "until a minute passes without"
    );
    let wake = simulation.pass().wake.expect("comes to rest by itself");
    simulation.now = wake;
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert_eq!(simulation.condition("a", "Contested"), "");
}

#[test]
fn a_mark_that_is_taken_off_again_and_again_is_written_once_a_second() {
    let mut simulation = cluster(&["a"]);
    let before = simulation.writes;
    for _ in 0..200 {
        simulation.take_annotation(MARK_ANNOTATION);
        simulation.pass();
        simulation.pass();
        simulation.now = simulation.now.plus(jiff::SignedDuration::from_millis(100));
    }
    let writes = simulation.writes - before;
    assert!((20..=23).contains(&writes), "{writes} writes in 20 s");
}

#[test]
fn a_contested_text_is_a_state_of_aws_auth_and_history_keeps_each_text_once() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.events.clear();
    for round in 0..100 {
        simulation.vandalise(
            "mapRoles",
            if round % 2 == 0 {
                "- {{x}}: 1"
            } else {
                "\t- x"
            },
        );
        simulation.pass();
        simulation.pass();
        simulation.now = simulation.now.plus(jiff::SignedDuration::from_millis(200));
    }
    simulation.later(1);
    simulation.settle();
    assert_eq!(simulation.condition("a", "Contested"), "");
    assert!(simulation.events.len() <= 4, "{:#?}", simulation.events);
    assert!(
        simulation
            .events
            .iter()
            .any(|event| event.reason.as_str() == "Contested")
    );
    assert!(simulation.history.as_ref().expect("kept").copies.len() <= 4);
    assert_eq!(simulation.entries().len(), 4);
}

#[test]
fn another_mapping_is_written_at_once_while_one_is_contested() {
    let mut simulation = cluster(&["a"]);
    for _ in 0..5 {
        simulation.vandalise("mapRoles", FOREIGN);
        simulation.pass();
        simulation.now = simulation.now.plus(jiff::SignedDuration::from_millis(100));
    }
    simulation.create("b", "role/b", &json!({}));
    simulation.pass();
    assert!(simulation.entries().contains(&entry("role/b", "b", "g")));
}

#[test]
fn what_befalls_many_is_one_event() {
    let names: Vec<String> = (0..50).map(|number| format!("m{number:02}")).collect();
    let mut simulation = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    simulation.vandalise("mapRoles", FOREIGN);
    simulation.settle();
    assert_eq!(simulation.events.len(), 1, "{:#?}", simulation.events);
    let note = &simulation.events[0].note;
    assert!(
        note.contains("50 mappings: m00, m01") && !note.contains("m10"),
        "{note}"
    );
}

#[test]
fn observing_writes_nothing_and_shows_the_plan() {
    let mut simulation = cluster(&["a"]);
    simulation.settings.observe = true;
    simulation.create("b", "role/b", &json!({}));
    simulation.delete("a");
    assert_eq!(simulation.settle(), 0);
    assert!(simulation.objects["b"].metadata.finalizers.is_none());
    assert_eq!(simulation.ready("b"), "False Observing");
    assert!(simulation.objects.contains_key("a"));
}

#[test]
fn after_a_release_nothing_is_written_until_a_restart() {
    let mut simulation = cluster(&["a"]);
    let history = simulation.history.as_mut().expect("kept");
    history.annotations.insert(
        RELEASED_ANNOTATION.to_owned(),
        "2027-01-15T08:00:00Z".to_owned(),
    );
    simulation.vandalise("mapRoles", FOREIGN);
    let statuses = simulation.status_writes;
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.status_writes, statuses);
    assert!(simulation.pass().summary.released);
    assert!(
        simulation
            .events
            .iter()
            .any(|event| event.reason.as_str() == "Released")
    );
    simulation.restart();
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert!(
        !simulation
            .history
            .as_ref()
            .expect("kept")
            .annotations
            .contains_key(RELEASED_ANNOTATION)
    );
}
