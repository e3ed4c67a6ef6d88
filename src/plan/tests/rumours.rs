//! What a message of the queue can do that tells of an access entry which EKS never shows: anybody who may send one writes it.

use serde_json::json;

use super::takeovers::{arn, populated};
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

/// What a message of the queue about a malformed ARN leaves in the operator's memory of entries.
fn rumour(simulation: &mut Simulation, role: &str) {
    let arn = format!("arn:aws:iam::111122223333:role/{{no path}}/{role}");
    let now = simulation.now;
    simulation.cloud().known.doubt(&arn, None, now);
}

fn go_on(simulation: &mut Simulation) {
    for _ in 0..40 {
        simulation.pass();
        simulation.later(5);
    }
    simulation.look();
    for _ in 0..10 {
        simulation.pass();
        simulation.later(30);
    }
}

#[test]
fn a_message_changes_no_status() {
    let mut simulation = populated(Some(Mode::ApiAndConfigMap));
    simulation.create("m", "role/p", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    assert_eq!(simulation.ready("m"), "True InEffect");
    rumour(&mut simulation, "p");
    go_on(&mut simulation);
    assert_eq!(
        simulation.ready("m"),
        "True InEffect",
        "{}",
        simulation.message("m", "Ready")
    );
}

#[test]
fn a_message_keeps_no_new_role_without_access() {
    let mut simulation = populated(Some(Mode::Api));
    simulation.settle();
    simulation.cloud().principals = Some(["keep-1", "keep-2", "keep-3"].map(arn).into());
    // Applied before the role exists, as Terraform does it.
    simulation.create("m", "role/p", &json!({}));
    simulation.pass();
    simulation.later(2);
    rumour(&mut simulation, "p");
    simulation.cloud().principals = None;
    go_on(&mut simulation);
    assert!(
        simulation.access_entry("role/p").is_some(),
        "{} {}",
        simulation.ready("m"),
        simulation.message("m", "Ready")
    );
}

#[test]
fn a_message_keeps_no_deleted_mapping() {
    let mut simulation = populated(Some(Mode::Api));
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    simulation.create("m", "role/p", &json!({"validUntil": end}));
    simulation.settle();
    simulation.later(3700);
    simulation.look();
    simulation.settle();
    assert_eq!(simulation.ready("m"), "True Expired");
    rumour(&mut simulation, "p");
    simulation.pass();
    simulation.delete("m");
    go_on(&mut simulation);
    assert!(
        !simulation.objects.contains_key("m"),
        "{} {}",
        simulation.ready("m"),
        simulation.message("m", "Ready")
    );
}

#[test]
fn a_message_lifts_no_limit_on_removals() {
    for messages in [false, true] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
        let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
        let spec = json!({"backend": "ConfigMap"});
        for name in &names {
            simulation.create(name, &format!("role/{name}"), &spec);
        }
        simulation.settle();
        for name in names.iter().filter(|_| messages) {
            rumour(&mut simulation, name);
        }
        simulation.pass();
        for name in &names {
            simulation.delete(name);
        }
        go_on(&mut simulation);
        let left = simulation.entries().len();
        assert_eq!(left, 20, "removed without a confirmation: {messages}");
    }
}

#[test]
fn a_message_stops_no_removal() {
    let mut simulation = populated(Some(Mode::ApiAndConfigMap));
    for name in ["root", "other"] {
        simulation.create(
            name,
            &format!("role/{name}"),
            &json!({"groups": ["system:masters"], "backend": "ConfigMap"}),
        );
    }
    simulation.settle();
    rumour(&mut simulation, "other");
    simulation.pass();
    simulation.delete("root");
    go_on(&mut simulation);
    assert!(
        !simulation.entries().iter().any(|it| it.0 == "role/root"),
        "{}",
        simulation.message("root", "Ready")
    );
}
