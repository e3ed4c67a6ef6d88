//! Small worlds: few principals and mappings, and a list of people's changes.

use serde_json::{Value, json};

use super::World;
use super::act::Act;
use super::search::run;
use crate::access_entry::ADMIN_POLICY;
use crate::observed::{BindingSubjects, Mode};

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

const EVERY_MODE: [Mode; 3] = [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api];
const WITH_ENTRIES: [Mode; 2] = [Mode::ApiAndConfigMap, Mode::Api];

pub(super) fn applied_and_deleted() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let acts = [apply("m", "a", json!({})), Act::Delete("m")];
        worlds.push(world(mode, NODE_AND_OPS, &[], &acts));
    }
    worlds
}

pub(super) fn applied_changed_and_applied_anew() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in WITH_ENTRIES {
        let first = [apply("m", "a", json!({}))];
        let acts = [
            Act::Edit("m", json!({"groups": ["g", "h"]})),
            Act::Delete("m"),
            apply("m", "a", json!({})),
        ];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

/// By several calls, while the other one is in aws-auth.
pub(super) fn an_administrator_demoted_while_another_is_deleted() -> Vec<World> {
    let first = [
        apply(
            "m",
            "a",
            json!({"backend": "ConfigMap", "groups": ["system:masters"]}),
        ),
        apply(
            "n",
            "b",
            json!({"backend": "AccessEntry", "groups": [], "accessPolicies": [{"policy": ADMIN_POLICY}]}),
        ),
    ];
    let viewer =
        json!({"groups": ["viewers"], "accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]});
    let acts = [Act::Edit("n", viewer), Act::Delete("m")];
    vec![world(Mode::ApiAndConfigMap, "", &first, &acts)]
}

pub(super) fn two_administrators_deleted() -> Vec<World> {
    let mut worlds = Vec::new();
    let masters = json!({"groups": ["system:masters"]});
    for mode in EVERY_MODE {
        let first = [
            apply("m", "a", masters.clone()),
            apply("n", "b", masters.clone()),
        ];
        worlds.push(world(
            mode,
            "",
            &first,
            &[Act::Delete("m"), Act::Delete("n")],
        ));
    }
    worlds
}

pub(super) fn three_mappings_deleted() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let first = [
            apply("m", "a", json!({})),
            apply("n", "b", json!({})),
            apply("o", "c", json!({})),
        ];
        let acts = [Act::Delete("m"), Act::Delete("n"), Act::Delete("o")];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

pub(super) fn handed_over_and_back() -> Vec<World> {
    let mut worlds = Vec::new();
    let first = [apply("m", "a", json!({"backend": "ConfigMap"}))];
    let acts = [
        Act::Edit("m", json!({"backend": "AccessEntry"})),
        Act::Edit("m", json!({"backend": "ConfigMap"})),
    ];
    worlds.push(world(Mode::ApiAndConfigMap, NODE_AND_OPS, &first, &acts));
    worlds
}

pub(super) fn an_administrator_handed_over_with_the_mode_after_it() -> Vec<World> {
    let mut worlds = Vec::new();
    let first = [apply("m", "a", json!({"groups": ["system:masters"]}))];
    let acts = [
        Act::Mode(Mode::ApiAndConfigMap),
        Act::Handover("Auto"),
        Act::Handover("Revert"),
    ];
    worlds.push(world(Mode::ConfigMap, "", &first, &acts));
    worlds
}

pub(super) fn moved_to_another_principal() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
        let acts = [
            Act::Edit("m", json!({"principal": {"arn": super::act::arn("c")}})),
            Act::Delete("m"),
        ];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

pub(super) fn marks_and_statuses_lost() -> Vec<World> {
    let mut worlds = Vec::new();
    let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
    let acts = [Act::DropMark, Act::ClearStatus("m"), Act::Delete("n")];
    worlds.push(world(Mode::ConfigMap, NODE_AND_OPS, &first, &acts));
    let acts = [Act::DropTags("a"), Act::ClearStatus("n"), Act::Delete("n")];
    worlds.push(world(Mode::Api, NODE_AND_OPS, &first, &acts));
    worlds
}

pub(super) fn another_writer_of_aws_auth() -> Vec<World> {
    let mut worlds = Vec::new();
    let first = [apply("m", "a", json!({"backend": "ConfigMap"}))];
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap] {
        for theirs in ["system:viewers", "system:nodes"] {
            let acts = [
                Act::AddLine("a", "theirs", theirs),
                Act::CutLine("a"),
                Act::Delete("m"),
            ];
            worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
        }
        let acts = [Act::Break, Act::Delete("m"), Act::DeleteConfigMap];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

pub(super) fn another_writer_of_access_entries() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in WITH_ENTRIES {
        let first = [apply("m", "a", json!({}))];
        let acts = [
            Act::DeleteEntry("a"),
            Act::MakeEntry("a", "theirs", "viewers"),
            Act::Delete("m"),
        ];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
        let acts = [Act::ChangeEntry("a", "theirs", "viewers"), Act::Delete("m")];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

pub(super) fn another_mapping_takes_the_principal_over() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let first = [
            apply("m", "a", json!({})),
            apply("n", "a", json!({"groups": ["h"]})),
        ];
        worlds.push(world(
            mode,
            NODE_AND_OPS,
            &first,
            &[Act::Delete("m"), Act::Delete("n")],
        ));
    }
    worlds
}

pub(super) fn a_status_that_names_another_entry() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({})), apply("n", "b", json!({}))];
        let acts = [Act::CopyStatus("m", "n"), Act::Delete("m"), Act::DropMark];
        worlds.push(world(mode, NODE_AND_OPS, &first, &acts));
    }
    worlds
}

pub(super) fn let_go_of_and_kept() -> Vec<World> {
    let mut worlds = Vec::new();
    for mode in EVERY_MODE {
        let first = [apply("m", "a", json!({"deletion": "Retain"}))];
        worlds.push(world(mode, NODE_AND_OPS, &first, &[Act::Delete("m")]));
    }
    worlds
}

pub(super) fn the_definition_is_deleted() -> Vec<World> {
    let first = [
        apply("m", "a", json!({})),
        apply("n", "b", json!({"backend": "ConfigMap"})),
    ];
    let acts = [Act::DeleteDefinition];
    let modes = [Mode::ConfigMap, Mode::ApiAndConfigMap];
    modes
        .map(|mode| world(mode, NODE_AND_OPS, &first, &acts))
        .into()
}

pub(super) fn an_administrator_confirmed_and_one_that_expires() -> Vec<World> {
    let masters = json!({"groups": ["system:masters"]});
    let expires = json!({"groups": ["system:masters"], "validUntil": "2027-01-15T08:20:00Z"});
    let first = [apply("m", "a", masters), apply("n", "b", expires)];
    let acts = [Act::Confirm("m", "last-administrator"), Act::Delete("m")];
    EVERY_MODE.map(|mode| world(mode, "", &first, &acts)).into()
}

pub(super) fn a_node_type_deleted_and_changed() -> Vec<World> {
    let first = [apply(
        "m",
        "n",
        json!({"type": "EC2Linux", "username": null, "groups": null}),
    )];
    let acts = [
        Act::Edit(
            "m",
            json!({"type": "Standard", "username": "m", "groups": ["g"]}),
        ),
        Act::Delete("m"),
    ];
    EVERY_MODE
        .map(|mode| world(mode, NODE_AND_OPS, &first, &acts))
        .into()
}
