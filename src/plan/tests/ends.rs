//! Ends that were seen in time count as no mass removal; whether they were is not a status' to say.

use jiff::SignedDuration;
use serde_json::json;

use super::cluster;
use crate::plan::simulation::Simulation;
use crate::time::Timestamp;

const COUNT: usize = 20;

fn names() -> Vec<String> {
    (0..COUNT).map(|number| format!("m{number:02}")).collect()
}

/// So many mappings, kept by us.
fn many() -> Simulation {
    let names = names();
    cluster(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn end_all(simulation: &mut Simulation, end: Timestamp, forged: bool) {
    for name in names() {
        simulation.edit(&name, |object| {
            object.spec.valid_until = Some(end.into());
            if forged {
                let status = object.status.as_mut().expect("a status");
                status.seen_valid_until = Some(end.into());
            }
        });
    }
}

/// The entries of our mappings that are left.
fn left(simulation: &Simulation) -> usize {
    let entries = simulation.entries();
    let ours = entries.iter().filter(|(arn, ..)| arn.starts_with("role/m"));
    ours.count()
}

#[test]
fn a_status_that_says_that_an_end_was_seen_lifts_no_limit() {
    for restarted in [false, true] {
        let mut simulation = many();
        let past = simulation.now.plus(SignedDuration::from_secs(-60));
        end_all(&mut simulation, past, true);
        if restarted {
            simulation.restart();
        }
        simulation.settle();
        assert_eq!(left(&simulation), COUNT, "restarted {restarted}");
        assert_eq!(
            simulation.ready("m00"),
            "False RemovalNeedsConfirmation",
            "restarted {restarted}"
        );
    }
}

#[test]
fn an_end_that_was_seen_in_time_needs_no_confirmation_also_after_a_restart_or_with_a_lost_status() {
    for (restarted, lost) in [(false, false), (true, false), (true, true), (false, true)] {
        let mut simulation = many();
        let end = simulation.now.plus(SignedDuration::from_hours(1));
        end_all(&mut simulation, end, false);
        simulation.settle();
        if restarted {
            simulation.restart();
        }
        simulation.later(3600);
        if lost {
            for name in names() {
                let status = |object: &mut crate::api::IdentityMapping| {
                    object.status.get_or_insert_default().seen_valid_until = None;
                };
                simulation.edit(&name, status);
            }
        }
        simulation.settle();
        assert_eq!(left(&simulation), 0, "restarted {restarted}, lost {lost}");
    }
}

#[test]
fn an_end_is_remembered_while_the_history_cannot_be_written() {
    let mut simulation = many();
    simulation.history_failure = Some("the API server says no".to_owned());
    let end = simulation.now.plus(SignedDuration::from_hours(1));
    end_all(&mut simulation, end, false);
    simulation.settle();
    simulation.history_failure = None;
    simulation.later(3600);
    simulation.settle();
    assert_eq!(left(&simulation), 0);
}

/// The end of another mapping of the same principal frees nothing.
#[test]
fn an_end_of_a_duplicate_lifts_no_limit() {
    let mut simulation = many();
    let end = simulation.now.plus(SignedDuration::from_hours(1));
    for name in names() {
        let spec = json!({"validUntil": end});
        simulation.create(&format!("d-{name}"), &format!("role/{name}"), &spec);
    }
    simulation.settle();
    simulation.later(3600);
    simulation.settle();
    end_all(&mut simulation, end, true);
    simulation.settle();
    assert_eq!(left(&simulation), COUNT);
}

/// Mappings that are kept after their end take no room in the record.
#[test]
fn an_end_is_forgotten_once_it_is_over() {
    let record = |simulation: &Simulation| {
        let annotations = &simulation.history.as_ref().expect("a history").annotations;
        annotations
            .get(crate::safety::REMOVALS_ANNOTATION)
            .cloned()
            .unwrap_or_default()
    };
    let mut simulation = many();
    let end = simulation.now.plus(SignedDuration::from_hours(1));
    end_all(&mut simulation, end, false);
    simulation.settle();
    assert_eq!(record(&simulation).matches("end:").count(), COUNT);
    simulation.later(3600);
    simulation.settle();
    assert_eq!(simulation.ready("m00"), "True Expired");
    simulation.later(7 * 24 * 3600);
    simulation.settle();
    assert!(
        !record(&simulation).contains("end:"),
        "{}",
        record(&simulation)
    );
}
