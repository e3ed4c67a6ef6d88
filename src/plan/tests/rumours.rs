//! What a message of the queue can do that tells of an access entry which EKS never shows: anybody who may send one writes it.

use serde_json::json;

use crate::observed::Mode;
use crate::plan::simulation::Simulation;

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn keepers(simulation: &mut Simulation) {
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
}

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
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    keepers(&mut simulation);
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
fn a_message_locks_nobody_out() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    keepers(&mut simulation);
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
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    keepers(&mut simulation);
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
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        simulation.create(
            name,
            &format!("role/{name}"),
            &json!({"backend": "ConfigMap"}),
        );
    }
    simulation.settle();
    for name in &names {
        rumour(&mut simulation, name);
    }
    simulation.pass();
    for name in &names {
        simulation.delete(name);
    }
    go_on(&mut simulation);
    assert_eq!(
        simulation.entries().len(),
        20,
        "removed without a confirmation"
    );
}

#[test]
fn a_message_stops_no_removal() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    keepers(&mut simulation);
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

/// The same without messages: that the test of the limit is about the messages.
#[test]
fn without_a_message_the_limit_holds() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        simulation.create(
            name,
            &format!("role/{name}"),
            &json!({"backend": "ConfigMap"}),
        );
    }
    simulation.settle();
    for name in &names {
        simulation.delete(name);
    }
    go_on(&mut simulation);
    assert_eq!(simulation.entries().len(), 20);
}
