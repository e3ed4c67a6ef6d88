//! A status that was never stored, or that somebody wiped, keeps no access of a mapping that has ended, and frees none.

use serde_json::{Value, json};

use super::cluster;
use super::takeovers::{MODES, groups, hours_pass, populated};
use crate::api::v1alpha1::BackendChoice;
use crate::observed::Mode;
use crate::plan::simulation::Simulation;
use crate::time::Timestamp;

/// A mapping of p wrote its entry and ends, its status lost, beside another one that can't be put into effect.
#[test]
fn what_an_ended_mapping_wrote_goes_though_its_status_is_lost() {
    for mode in MODES {
        let backend = mode.map_or("AccessEntry", |_| "ConfigMap");
        let others: [Value; 3] = [
            json!({"groups": ["own"], "backend": backend}),
            // The same content.
            json!({"groups": ["admins"], "backend": backend}),
            // It takes no finalizer.
            json!({"groups": ["own"]}),
        ];
        for (number, spec) in others.iter().enumerate() {
            for deleted in [false, true] {
                let mut simulation = populated(mode);
                let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
                let ends = json!({"groups": ["admins"], "validUntil": end});
                simulation.create("m", "role/p", &ends);
                simulation.settle();
                simulation.create("n", "role/p", spec);
                if number == 2 {
                    simulation.unpatchable.insert("n".to_owned());
                }
                simulation.settle();
                assert!(groups(&simulation, "p").contains("admins"));
                simulation.edit("m", |object| object.status = None);
                if deleted {
                    simulation.delete("m");
                } else {
                    simulation.later(3601);
                }
                hours_pass(&mut simulation);
                let what = format!("{mode:?}, {spec}, deleted {deleted}");
                assert_eq!(groups(&simulation, "p"), "", "{what}");
                assert_eq!(simulation.objects.contains_key("m"), !deleted, "{what}");
            }
        }
    }
}

/// A mapping is renamed in Git while the new object can't be patched, and then it is deleted too.
#[test]
fn an_entry_stays_with_a_finalizer_while_its_successor_has_none() {
    for mode in MODES {
        let mut simulation = populated(mode);
        simulation.create("m", "role/p", &json!({"groups": ["team"]}));
        simulation.settle();
        simulation.create("n", "role/p", &json!({"groups": ["team"]}));
        simulation.unpatchable.insert("n".to_owned());
        simulation.delete("m");
        simulation.settle();
        assert!(groups(&simulation, "p").contains("team"), "{mode:?}");
        assert!(simulation.objects.contains_key("m"), "{mode:?}");
        simulation.delete("n");
        hours_pass(&mut simulation);
        assert_eq!(groups(&simulation, "p"), "", "{mode:?}");
        assert!(!simulation.objects.contains_key("m"), "{mode:?}");
    }
}

/// In API mode what is managed in aws-auth goes with its mapping: also with one that took it over.
#[test]
fn a_renamed_mapping_lets_go_of_what_the_mode_no_longer_reads() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.create("m", "role/p", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    simulation.cloud().mode = Mode::Api;
    simulation.edit("m", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    simulation.look();
    simulation.settle();
    assert!(simulation.access_entry("role/p").is_some());
    assert!(simulation.roles().contains("role/p"), "it is left there");
    simulation.create("n", "role/p", &json!({}));
    simulation.delete("m");
    hours_pass(&mut simulation);
    assert!(!simulation.objects.contains_key("m"));
    simulation.delete("n");
    hours_pass(&mut simulation);
    assert!(!simulation.objects.contains_key("n"));
    assert!(!simulation.roles().contains("role/p"));
}

/// A mapping that has ended, and one that wrote what exists and whose spec can't be put into effect now: no status says who wrote.
#[test]
fn a_refused_mapping_keeps_what_no_status_remembers() {
    let mut simulation = cluster(&["keep-1", "keep-2", "keep-3"]);
    let end = simulation.now.plus(jiff::SignedDuration::from_hours(1));
    let same = |end: Option<Timestamp>| json!({"groups": ["team"], "validUntil": end});
    simulation.create("n", "role/p", &json!({"groups": ["team"]}));
    simulation.settle();
    simulation.create("m", "role/p", &same(Some(end)));
    simulation.settle();
    simulation.edit("m", |object| {
        object.metadata.finalizers = Some(vec!["identity-mapper.dev/aws-auth".to_owned()]);
    });
    // No spec may have this username.
    simulation.edit("n", |object| {
        object.spec.username = Some("{{Nonsense}}".to_owned());
    });
    simulation.settle();
    for name in ["m", "n"] {
        simulation.edit(name, |object| object.status = None);
    }
    simulation.later(3601);
    simulation.settle();
    let refused = simulation.condition("n", "Accepted");
    assert!(refused.starts_with("False"), "{refused}");
    assert_eq!(groups(&simulation, "p"), "team");
}

/// The same rename, where the new object gets its finalizer late.
#[test]
fn a_renamed_mapping_lets_go_once_its_successor_has_a_finalizer() {
    let mut simulation = cluster(&["keep-1", "keep-2", "keep-3"]);
    simulation.create("m", "role/p", &json!({"groups": ["team"]}));
    simulation.settle();
    simulation.create("n", "role/p", &json!({"groups": ["team"]}));
    simulation.unpatchable.insert("n".to_owned());
    simulation.delete("m");
    simulation.settle();
    simulation.unpatchable.clear();
    simulation.settle();
    assert!(!simulation.objects.contains_key("m"));
    assert_eq!(simulation.ready("n"), "True InEffect");
    assert_eq!(groups(&simulation, "p"), "team");
}
