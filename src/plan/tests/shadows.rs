//! An unmanaged entry of the same principal beside ours: what becomes of it when a person takes ours away, also where this process knows
//! nothing of before.

use serde_json::json;

use super::{cluster, entry};
use crate::api::v1alpha1::EntryType;
use crate::plan::WriteFailure;
use crate::plan::simulation::Simulation;

const NODE: &str = "\
- rolearn: arn:aws:iam::111122223333:role/a
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";
const ADMINISTRATOR: &str = "\
- rolearn: arn:aws:iam::111122223333:role/a
  username: x
  groups: [system:masters]
";
const PERSON: &str = "\
- rolearn: arn:aws:iam::111122223333:role/a
  username: x
  groups: [viewers]
";

/// A mapping whose entry an unmanaged one shadows, which nobody may win over.
fn shadowed_by(behind: &str) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    let text = format!("{}{behind}", simulation.roles());
    simulation.vandalise("mapRoles", &text);
    assert_eq!(simulation.settle(), 0);
    assert!(simulation.ready("a").starts_with("False Shadowed"));
    simulation
}

fn is_a_conflict(simulation: &mut Simulation, text: &str) {
    simulation.settle();
    assert_eq!(simulation.roles(), text, "nothing of it is written");
    assert_eq!(simulation.mark(), "", "the mark goes");
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");
    assert_eq!(simulation.condition("a", "Synced"), "False UnmanagedEntry");
    // Nor does it come back, whatever is forgotten.
    simulation.restart();
    assert_eq!(simulation.settle(), 0);
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.roles(), text);
    assert!(!simulation.objects.contains_key("a"));
}

#[test]
fn where_a_person_takes_ours_away_the_entry_that_shadowed_it_stays() {
    for behind in [NODE, ADMINISTRATOR] {
        let mut simulation = shadowed_by(behind);
        simulation.vandalise("mapRoles", behind);
        is_a_conflict(&mut simulation, behind);
    }
}

#[test]
fn it_stays_also_where_the_write_of_the_mark_fails_first() {
    for behind in [NODE, ADMINISTRATOR] {
        let mut simulation = shadowed_by(behind);
        simulation.vandalise("mapRoles", behind);
        simulation.write_failure = Some(WriteFailure::Unavailable("down".to_owned()));
        for _ in 0..3 {
            simulation.pass();
            assert_eq!(simulation.roles(), behind);
        }
        simulation.write_failure = None;
        is_a_conflict(&mut simulation, behind);
    }
}

#[test]
fn a_node_under_a_mark_is_never_overwritten_by_a_process_that_knows_nothing() {
    let mut simulation = shadowed_by(NODE);
    simulation.vandalise("mapRoles", NODE);
    simulation.restart();
    is_a_conflict(&mut simulation, NODE);
}

#[test]
fn the_newest_copy_tells_a_new_process_what_was_unmanaged() {
    let mut simulation = shadowed_by(ADMINISTRATOR);
    // Another write keeps a copy in which both stand.
    simulation.later(1);
    simulation.create("b", "role/b", &json!({}));
    simulation.settle();
    let b = "- rolearn: \"arn:aws:iam::111122223333:role/b\"\n  username: \"b\"\n  groups:\n  - \"g\"\n";
    let text = format!("{ADMINISTRATOR}{b}");
    simulation.vandalise("mapRoles", &text);
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.roles(), text);
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");
    assert_eq!(simulation.ready("b"), "True InEffect");
    assert_eq!(simulation.mark().split(' ').count(), 1);
}

#[test]
fn an_entry_of_ours_that_becomes_a_nodes_is_a_conflict_unless_a_person_or_the_type_says_otherwise()
{
    let mut simulation = cluster(&["a"]);
    let ours = simulation.roles();
    let text = ours.replace("\"a\"", "\"system:node:{{EC2PrivateDNSName}}\"");
    simulation.vandalise("mapRoles", &text);
    simulation.settle();
    assert_eq!(simulation.roles(), text);
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");

    let mut simulation = cluster(&["a"]);
    simulation.confirm("a", "node-entry");
    simulation.settle();
    simulation.vandalise("mapRoles", &text);
    simulation.restart();
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.roles(), ours);

    let mut simulation = Simulation::new();
    let spec = json!({"type": "EC2Linux", "username": null, "groups": null});
    simulation.create("a", "role/a", &spec);
    simulation.settle();
    let ours = simulation.roles();
    simulation.replace_in_roles("{{EC2PrivateDNSName}}", "{{SessionName}}");
    simulation.restart();
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.roles(), ours);
    assert_eq!(
        simulation.objects["a"].spec.type_,
        EntryType::EC2Linux,
        "its type says that nodes are meant"
    );
}

#[test]
fn an_administrator_with_the_username_of_a_node_is_a_person_and_is_repaired() {
    let mut simulation = cluster(&["a"]);
    let ours = simulation.roles();
    let text = ours
        .replace("\"a\"", "\"system:node:x\"")
        .replace("\"g\"", "\"system:masters\"");
    simulation.vandalise("mapRoles", &text);
    simulation.restart();
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.roles(), ours);
}

#[test]
fn of_several_entries_of_which_none_is_as_we_wrote_it_none_is_ours() {
    let mut simulation = cluster(&["a"]);
    let changed = simulation.roles().replace("\"a\"", "\"changed\"");
    // One that is known to be unmanaged is not counted.
    let both = format!("{}{PERSON}", simulation.roles());
    simulation.vandalise("mapRoles", &both);
    simulation.settle();
    let entries = simulation.entries();
    assert_eq!(
        entries[2..],
        [entry("role/a", "x", "viewers"), entry("role/a", "a", "g")]
    );
    simulation.replace_in_roles("\"a\"", "\"changed\"");
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries(), entries);
    // Both at once, and the process knows nothing.
    let mut simulation = cluster(&["a"]);
    let text = format!("{changed}{PERSON}");
    simulation.vandalise("mapRoles", &text);
    simulation.restart();
    simulation.settle();
    assert_eq!(simulation.roles(), text);
    assert_eq!(simulation.ready("a"), "False UnmanagedEntry");
    assert_eq!(simulation.mark(), "");
}
