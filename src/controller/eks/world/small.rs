//! Every run of small worlds that departs from the kind one at most so often.

use serde_json::{Value, json};

use super::World;
use super::act::Act;
use super::search::{run, search};
use crate::observed::{BindingSubjects, Mode};

/// The environment variable that says how many departures are tried.
const DEPARTURES: &str = "IDENTITY_MAPPER_DEPARTURES";

const NODE_AND_OPS: &str = "\
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/ops
  username: ops
  groups: [system:masters]
";

fn apply(name: &'static str, role: &'static str, spec: Value) -> Act {
    Act::Apply { name, role, spec }
}

/// A world in which the first acts came to rest, and the others are still to come.
fn world(mode: Mode, roles: &str, first: &[Act], then: &[Act]) -> World {
    let mut start = World::new(mode, roles);
    start.bindings.push(BindingSubjects {
        groups: [crate::access_entry::BRIDGE_GROUP.to_owned()].into(),
        cluster_admin: true,
        ..BindingSubjects::default()
    });
    start.script = first.iter().cloned().collect();
    let mut world = match run(&start, &[]) {
        Ok(world) => world,
        Err(broken) => panic!("{}", broken.tell()),
    };
    world.script = then.iter().cloned().collect();
    world
}

/// Tries every run of it.
fn every_run(world: &World) {
    let departures = std::env::var(DEPARTURES).ok().and_then(|it| it.parse().ok());
    match search(world, departures.unwrap_or(1)) {
        // Shown where the tests are run with --nocapture.
        Ok(_states) => {}
        Err(broken) => panic!("{}", broken.tell()),
    }
}

const EVERY_MODE: [Mode; 3] = [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api];
const WITH_ENTRIES: [Mode; 2] = [Mode::ApiAndConfigMap, Mode::Api];

#[test]
fn applied_and_deleted() {
    for mode in EVERY_MODE {
        let acts = [apply("m", "a", json!({})), Act::Delete("m")];
        every_run(&world(mode, NODE_AND_OPS, &[], &acts));
    }
}

#[test]
fn applied_changed_and_applied_anew() {
    for mode in WITH_ENTRIES {
        let first = [apply("m", "a", json!({}))];
        let acts = [
            Act::Edit("m", json!({"groups": ["g", "h"]})),
            Act::Delete("m"),
            apply("m", "a", json!({})),
        ];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn two_administrators_deleted() {
    let masters = json!({"groups": ["system:masters"]});
    for mode in EVERY_MODE {
        let first = [apply("m", "a", masters.clone()), apply("n", "b", masters.clone())];
        every_run(&world(mode, "", &first, &[Act::Delete("m"), Act::Delete("n")]));
    }
}

#[test]
fn three_mappings_deleted() {
    for mode in EVERY_MODE {
        let first = [
            apply("m", "a", json!({})),
            apply("n", "b", json!({})),
            apply("o", "c", json!({})),
        ];
        let acts = [Act::Delete("m"), Act::Delete("n"), Act::Delete("o")];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn handed_over_and_back() {
    let first = [apply("m", "a", json!({"backend": "ConfigMap"}))];
    let acts = [
        Act::Edit("m", json!({"backend": "AccessEntry"})),
        Act::Edit("m", json!({"backend": "ConfigMap"})),
    ];
    every_run(&world(Mode::ApiAndConfigMap, NODE_AND_OPS, &first, &acts));
}

#[test]
fn an_administrator_handed_over_with_the_mode_after_it() {
    let first = [apply("m", "a", json!({"groups": ["system:masters"]}))];
    let acts = [Act::Mode(Mode::ApiAndConfigMap), Act::Handover("Auto"), Act::Handover("Revert")];
    every_run(&world(Mode::ConfigMap, "", &first, &acts));
}

#[test]
fn moved_to_another_principal() {
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
        let acts = [
            Act::Edit("m", json!({"principal": {"arn": super::act::arn("c")}})),
            Act::Delete("m"),
        ];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn marks_and_statuses_lost() {
    let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
    let acts = [Act::DropMark, Act::ClearStatus("m"), Act::Delete("n")];
    every_run(&world(Mode::ConfigMap, NODE_AND_OPS, &first, &acts));
    let acts = [Act::DropTags("a"), Act::ClearStatus("n"), Act::Delete("n")];
    every_run(&world(Mode::Api, NODE_AND_OPS, &first, &acts));
}

#[test]
fn another_writer_of_aws_auth() {
    let first = [apply("m", "a", json!({"backend": "ConfigMap"}))];
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap] {
        for theirs in ["system:viewers", "system:nodes"] {
            let acts = [Act::AddLine("a", "theirs", theirs), Act::CutLine("a"), Act::Delete("m")];
            every_run(&world(mode, NODE_AND_OPS, &first, &acts));
        }
        let acts = [Act::Break, Act::Delete("m"), Act::DeleteConfigMap];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn another_writer_of_access_entries() {
    for mode in WITH_ENTRIES {
        let first = [apply("m", "a", json!({}))];
        let acts = [
            Act::DeleteEntry("a"),
            Act::MakeEntry("a", "theirs", "viewers"),
            Act::Delete("m"),
        ];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
        let acts = [Act::ChangeEntry("a", "theirs", "viewers"), Act::Delete("m")];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn another_mapping_takes_the_principal_over() {
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({})), apply("n", "a", json!({"groups": ["h"]}))];
        every_run(&world(mode, NODE_AND_OPS, &first, &[Act::Delete("m"), Act::Delete("n")]));
    }
}

#[test]
fn a_status_that_names_another_entry() {
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
        let acts = [Act::CopyStatus("m", "n"), Act::Delete("m"), Act::DropMark];
        every_run(&world(mode, NODE_AND_OPS, &first, &acts));
    }
}

#[test]
fn let_go_of_and_kept() {
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({"deletion": "Retain"}))];
        every_run(&world(mode, NODE_AND_OPS, &first, &[Act::Delete("m")]));
    }
}
