//! Laws that hold whatever happens: a plan executed leaves nothing to plan, the order of objects does not matter, foreign
//! entries stay, a removal was somebody's wish.

use proptest::prelude::*;
use serde_json::json;

use super::{FOREIGN, foreign};
use crate::desired::{Desired, Mapping};
use crate::observed::{HistoryState, Observed};
use crate::plan::plan;
use crate::plan::simulation::Simulation;

/// Something that happens to the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Create {
        name: usize,
        role: usize,
        groups: usize,
        adoption: usize,
    },
    Delete {
        name: usize,
    },
    Retarget {
        name: usize,
        role: usize,
    },
    Suspend {
        name: usize,
        suspend: bool,
    },
    LoseMark,
    DropEntries,
    BreakText,
    DeleteConfigMap,
    ForeignDuplicate {
        role: usize,
    },
    Restart,
    Later {
        seconds: i64,
    },
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    let name = 0..6_usize;
    let role = 0..6_usize;
    prop_oneof![
        4 => (name.clone(), role.clone(), 0..3_usize, 0..3_usize).prop_map(|(name, role, groups, adoption)| Happening::Create { name, role, groups, adoption }),
        3 => name.clone().prop_map(|name| Happening::Delete { name }),
        2 => (name.clone(), role.clone()).prop_map(|(name, role)| Happening::Retarget { name, role }),
        1 => (name, any::<bool>()).prop_map(|(name, suspend)| Happening::Suspend { name, suspend }),
        1 => Just(Happening::LoseMark),
        1 => Just(Happening::DropEntries),
        1 => Just(Happening::BreakText),
        1 => Just(Happening::DeleteConfigMap),
        1 => role.prop_map(|role| Happening::ForeignDuplicate { role }),
        1 => Just(Happening::Restart),
        1 => (0..900_i64).prop_map(|seconds| Happening::Later { seconds }),
    ]
}

pub(crate) fn happen(simulation: &mut Simulation, happening: &Happening) {
    let name = |number: usize| format!("m{number}");
    match *happening {
        Happening::Create {
            name: number,
            role,
            groups,
            adoption,
        } => {
            if !simulation.objects.contains_key(&name(number)) {
                let groups =
                    [json!(["g"]), json!(["system:masters"]), json!(["{{Nope}}"])][groups].clone();
                let adoption = ["IfIdentical", "Always", "Never"][adoption];
                simulation.create(
                    &name(number),
                    &format!("role/r{role}"),
                    &json!({"groups": groups, "adoption": adoption}),
                );
            }
        }
        Happening::Delete { name: number } => {
            if simulation.objects.contains_key(&name(number)) {
                simulation.delete(&name(number));
            }
        }
        Happening::Retarget { name: number, role } => {
            if simulation.objects.contains_key(&name(number)) {
                let arn = format!("arn:aws:iam::111122223333:role/r{role}");
                simulation.edit(&name(number), |object| {
                    object.spec.principal.arn = Some(arn);
                });
            }
        }
        Happening::Suspend {
            name: number,
            suspend,
        } => {
            if simulation.objects.contains_key(&name(number)) {
                simulation.edit(&name(number), |object| object.spec.suspend = suspend);
            }
        }
        Happening::LoseMark => {
            if let Some(view) = &mut simulation.config_map {
                view.annotations.clear();
            }
        }
        Happening::DropEntries => simulation.vandalise("mapRoles", FOREIGN),
        Happening::BreakText => simulation.vandalise("mapRoles", "- {{x}}: 1"),
        Happening::DeleteConfigMap => simulation.config_map = None,
        Happening::ForeignDuplicate { role } => {
            let text = simulation.roles();
            if !text.contains("{{x}}") {
                let entry = format!(
                    "- rolearn: arn:aws:iam::111122223333:role/r{role}\n  username: foreign\n"
                );
                simulation.vandalise("mapRoles", &format!("{text}{entry}"));
            }
        }
        Happening::Restart => simulation.restart(),
        Happening::Later { seconds } => simulation.later(seconds),
    }
}

/// Whether this process has had no chance to see the last good text: then foreign entries may be gone for good.
fn loses_foreign(happening: &Happening) -> bool {
    matches!(
        happening,
        Happening::BreakText | Happening::DeleteConfigMap | Happening::Restart
    )
}

proptest! {
    #![proptest_config(crate::laws::cases(64))]

    #[test]
    fn every_history_of_happenings_comes_to_rest(happenings in prop::collection::vec(happening(), 1..20)) {
        let mut simulation = Simulation::with_roles(FOREIGN);
        simulation.settle();
        for happening in &happenings {
            happen(&mut simulation, happening);
            // A contested target is repaired a second later, which is no unrest.
            simulation.later(2);
            simulation.settle();
            prop_assert_eq!(simulation.settle(), 0, "after {:?}", happening);
        }
        if !happenings.iter().any(loses_foreign) {
            let entries = simulation.entries();
            for entry in foreign() {
                prop_assert!(entries.contains(&entry), "{entry:?} is gone from {entries:?}");
            }
            prop_assert!(simulation.roles().starts_with(FOREIGN));
        }
    }

    #[test]
    fn in_effect_means_that_the_entry_stands(happenings in prop::collection::vec(happening(), 1..15)) {
        let mut simulation = Simulation::with_roles(FOREIGN);
        for happening in &happenings {
            happen(&mut simulation, happening);
            simulation.later(2);
            simulation.settle();
        }
        let entries = simulation.entries();
        for (name, object) in &simulation.objects {
            if simulation.ready(name) == "True InEffect" {
                let arn = object.spec.principal.arn.clone().unwrap_or_default();
                let role = arn.rsplit(':').next().unwrap_or_default();
                let last = entries.iter().rev().find(|(entry, _, _)| entry == role);
                prop_assert_eq!(last.map(|(_, username, _)| username), object.spec.username.as_ref());
            }
        }
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter(
        happenings in prop::collection::vec(happening(), 1..15),
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut simulation = Simulation::with_roles(FOREIGN);
        for happening in &happenings {
            happen(&mut simulation, happening);
        }
        let observed = Observed {
            now: simulation.now,
            config_map: simulation.config_map.clone(),
            history: simulation.history.clone().map_or(HistoryState::Missing, HistoryState::Present),
            bindings: [].iter().collect(),
            aws: super::super::AwsState::Off,
            crd_deleting: false,
        };
        for object in simulation.objects.values_mut() {
            object.metadata.finalizers = Some(vec![crate::api::finalizer::Finalizer::AwsAuth.as_str().to_owned()]);
        }
        let sorted: Vec<Mapping> = simulation.objects.values().map(Mapping::from_object).collect();
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|mapping| order[mapping.name[1..].parse::<usize>().expect("a number")]);
        let (sorted, shuffled) = (Desired { mappings: sorted }, Desired { mappings: shuffled });
        let one = plan(&sorted, &observed, &simulation.settings, &simulation.memory);
        let two = plan(&shuffled, &observed, &simulation.settings, &simulation.memory);
        prop_assert_eq!(one.config_map, two.config_map);
        prop_assert_eq!(one.history, two.history);
    }
}
