//! Runs that failed once, each with a name.

#![allow(
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    reason = "stories read as they are told"
)]

use serde_json::{Value, json};

use super::World;
use super::act::Act;
use super::search::{judged, tell};
use super::step::Step;
use crate::observed::Mode;

const NODE: &str = "\
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// A run that is told step by step.
struct Run {
    world: World,
    story: Vec<Step>,
}

impl Run {
    fn new(mode: Mode, roles: &str) -> Self {
        Self {
            world: World::new(mode, roles),
            story: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) -> &mut Self {
        assert!(
            self.world.can(&step),
            "{step:?} can't be made after {:#?}",
            self.story
        );
        self.story.push(step.clone());
        if let Err(law) = judged(&mut self.world, &step) {
            panic!("{}", tell(&law, &self.story));
        }
        self
    }

    fn act(&mut self, act: Act) -> &mut Self {
        self.step(Step::Act(act))
    }

    fn apply(&mut self, name: &'static str, role: &'static str, spec: Value) -> &mut Self {
        self.act(Act::Apply { name, role, spec })
    }

    /// Kind steps until something is so.
    fn until(&mut self, what: impl Fn(&World) -> bool) -> &mut Self {
        for _ in 0..6000 {
            if what(&self.world) {
                return self;
            }
            let Some(step) = self.world.kind() else {
                break;
            };
            self.step(step);
        }
        panic!("{}", tell("it never is so", &self.story));
    }

    /// Everything comes to rest, kindly.
    fn rest(&mut self) -> &mut Self {
        self.until(|world| world.kind().is_none());
        if let Err(law) = self.world.judge_rest() {
            panic!("{}", tell(&law, &self.story));
        }
        self
    }

    /// The call that is in flight is slow.
    fn slow(&mut self) -> &mut Self {
        self.until(|world| !world.flights.is_empty());
        let last = self.world.flights.len() - 1;
        self.step(Step::Slow(last))
    }
}

/// Two administrators and nobody else, in access entries.
fn two_administrators(mode: Mode) -> Run {
    let mut run = Run::new(mode, "");
    let masters = json!({"groups": ["system:masters"]});
    run.apply("one", "a", masters.clone())
        .apply("two", "b", masters)
        .rest();
    run
}

#[test]
fn of_two_administrators_deleted_while_eks_is_slow_one_stays() {
    for mode in [Mode::Api, Mode::ApiAndConfigMap] {
        let mut run = two_administrators(mode);
        run.act(Act::Delete("one")).slow();
        run.act(Act::Delete("two")).rest();
        assert_eq!(run.world.access.administrators().len(), 1);
        assert!(!run.world.objects.contains_key("one") && run.world.objects.contains_key("two"));
    }
}

#[test]
fn of_an_administrator_in_each_backend_one_stays() {
    let mut run = Run::new(Mode::ApiAndConfigMap, "");
    let masters = json!({"groups": ["system:masters"]});
    let in_text = json!({"groups": ["system:masters"], "backend": "ConfigMap"});
    run.apply("one", "a", masters)
        .apply("two", "b", in_text)
        .rest();
    run.act(Act::Delete("one")).slow();
    run.act(Act::Delete("two")).rest();
    assert_eq!(run.world.access.administrators().len(), 1);
}

#[test]
fn of_four_deleted_mappings_none_is_removed_beyond_the_limit() {
    let names = [("m0", "a"), ("m1", "b"), ("m2", "c"), ("m3", "d")];
    for mode in [Mode::ConfigMap, Mode::Api] {
        for quick in [true, false] {
            let mut run = Run::new(mode, NODE);
            for (name, role) in names {
                run.apply(name, role, json!({}));
            }
            run.rest();
            for (name, _) in names {
                run.act(Act::Delete(name));
                if !quick && mode == Mode::Api {
                    run.until(|world| {
                        world.kind().is_none() || world.flights.iter().any(|it| !it.slow)
                    });
                    if !run.world.flights.is_empty() {
                        run.slow();
                    }
                }
            }
            run.rest();
            assert!(!run.world.managed_now().is_empty());
        }
    }
}

#[test]
fn what_is_deleted_while_removals_are_in_flight_counts_with_them() {
    let names: Vec<(&str, &str)> = (0..100)
        .map(|number| {
            (
                &*format!("m{number:03}").leak(),
                &*format!("r{number:03}").leak(),
            )
        })
        .collect();
    let mut run = Run::new(Mode::Api, "");
    for (name, role) in &names {
        run.apply(name, role, json!({}));
    }
    run.rest();
    for (name, _) in &names[..20] {
        run.act(Act::Delete(name));
    }
    run.slow();
    for (name, _) in &names[20..40] {
        run.act(Act::Delete(name));
    }
    run.rest();
    let left = run.world.objects.len();
    assert_eq!(
        (left, run.world.eks.entries.len()),
        (80, 80),
        "the second twenty are held"
    );
}

#[test]
fn an_entry_whose_mapping_is_deleted_during_creation_is_deleted_too() {
    for mode in [Mode::Api, Mode::ApiAndConfigMap] {
        for known in [true, false] {
            let mut run = Run::new(mode, "");
            run.rest().apply("m", "a", json!({}));
            if known {
                run.until(|world| world.flights.iter().any(|it| !it.reads()))
                    .slow();
            } else {
                run.until(|world| world.may_send());
            }
            run.act(Act::Delete("m")).rest();
            assert!(run.world.objects.is_empty() && run.world.eks.entries.is_empty());
        }
    }
}

#[test]
fn a_creation_whose_answer_is_lost_is_found_and_removed() {
    for effect_first in [true, false] {
        let mut run = Run::new(Mode::Api, "");
        run.rest().apply("m", "a", json!({}));
        run.until(|world| world.flights.iter().any(|it| !it.reads()));
        if effect_first {
            run.step(Step::Effect {
                call: 0,
                twice: false,
            });
        }
        run.step(Step::GiveUp(0)).act(Act::Delete("m")).rest();
        assert!(run.world.objects.is_empty() && run.world.eks.entries.is_empty());
    }
}

#[test]
fn a_process_that_ends_with_a_creation_in_flight_leaves_no_entry() {
    let mut run = Run::new(Mode::Api, "");
    run.rest().apply("m", "a", json!({}));
    run.until(|world| world.flights.iter().any(|it| !it.reads()));
    run.step(Step::Die).act(Act::Delete("m")).rest();
    assert!(run.world.objects.is_empty() && run.world.eks.entries.is_empty());
}

#[test]
fn a_status_that_was_never_stored_is_not_needed_to_remove_the_entry() {
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api] {
        let mut run = Run::new(mode, "");
        run.apply("m", "a", json!({}));
        run.until(|world| !world.managed_now().is_empty());
        run.step(Step::Die)
            .act(Act::ClearStatus("m"))
            .act(Act::Delete("m"))
            .rest();
        assert!(run.world.objects.is_empty() && run.world.managed_now().is_empty());
    }
}

/// A mapping that goes from aws-auth to an access entry, or back, once both are there.
fn soaked() -> Run {
    let mut run = Run::new(Mode::ApiAndConfigMap, NODE);
    run.apply("m", "a", json!({"backend": "ConfigMap"})).rest();
    run
}

#[test]
fn a_backend_that_goes_back_while_the_entry_is_deleted_keeps_the_copy() {
    let mut run = soaked();
    run.act(Act::Edit("m", json!({"backend": "AccessEntry"})));
    run.until(|world| world.entry("a").is_some());
    run.act(Act::Edit("m", json!({"backend": "ConfigMap"})));
    let deletes = |world: &World| {
        world
            .flights
            .iter()
            .any(|it| it.call.operation() == "DeleteAccessEntry")
    };
    run.until(deletes).slow();
    run.act(Act::Edit("m", json!({"backend": "AccessEntry"})));
    run.step(Step::Later(20)).rest();
    assert!(
        run.world
            .access
            .by_principal
            .contains_key(&super::act::arn("a").to_lowercase())
    );
}

#[test]
fn a_listing_that_is_behind_is_no_drift() {
    let mut run = Run::new(Mode::Api, "");
    run.rest().apply("m", "a", json!({}));
    run.until(|world| world.entry("a").is_some() && world.flights.is_empty());
    run.step(Step::List { behind: true }).rest();
    let status = run.world.objects["m"].status.clone().unwrap_or_default();
    assert_eq!(status.last_drift, None);
}

#[test]
fn a_listing_that_is_behind_leaves_no_entry_of_a_deleted_mapping() {
    let mut run = Run::new(Mode::Api, "");
    run.rest().apply("m", "a", json!({}));
    run.until(|world| world.entry("a").is_some() && world.flights.is_empty());
    run.step(Step::Die)
        .step(Step::ReadCluster)
        .step(Step::List { behind: true });
    run.act(Act::Delete("m")).rest();
    assert!(run.world.objects.is_empty() && run.world.eks.entries.is_empty());
}

#[test]
fn contested_repairs_go_on_when_the_clock_is_set_back() {
    let mut run = Run::new(Mode::ConfigMap, NODE);
    run.apply("m", "a", json!({})).rest();
    for _ in 0..4 {
        run.act(Act::Replace("username: \"m\"", "username: \"x\""))
            .rest();
    }
    run.step(Step::Clock(-3600));
    run.act(Act::Replace("username: \"m\"", "username: \"x\""))
        .rest();
    let access = &run.world.access.by_principal[&super::act::arn("a").to_lowercase()];
    assert_eq!(access.username, "m");
}

#[test]
fn an_entry_behind_ours_does_not_become_ours_when_ours_is_taken_out() {
    let mut run = Run::new(Mode::ConfigMap, "");
    run.apply("m", "node", json!({})).rest();
    run.act(Act::AddLine(
        "node",
        "system:node:{{EC2PrivateDNSName}}",
        "system:nodes",
    ))
    .rest();
    run.act(Act::Replace(
        "- rolearn: \"arn:aws:iam::111122223333:role/node\"\n  username: \"m\"\n  groups:\n  - \"g\"\n",
        "",
    ));
    for restart in [false, true] {
        if restart {
            run.step(Step::Die);
        }
        run.rest();
        let access = &run.world.access.by_principal[&super::act::arn("node").to_lowercase()];
        assert!(access.is_node(), "{access:?}");
    }
}

#[test]
fn a_status_that_names_another_entry_removes_nothing() {
    for mode in [Mode::ConfigMap, Mode::Api] {
        let mut run = Run::new(mode, "");
        run.apply("mine", "a", json!({}))
            .apply("theirs", "b", json!({}))
            .rest();
        run.act(Act::CopyStatus("mine", "theirs"))
            .act(Act::Delete("mine"))
            .rest();
        assert!(
            run.world
                .access
                .by_principal
                .contains_key(&super::act::arn("b").to_lowercase())
        );
    }
}

#[test]
fn confirmed_removals_are_made() {
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api] {
        let mut run = two_administrators(mode);
        run.act(Act::Confirm("one", "last-administrator"));
        run.act(Act::Confirm("two", "last-administrator"));
        run.act(Act::Delete("one")).act(Act::Delete("two")).rest();
        assert!(run.world.objects.is_empty() && run.world.managed_now().is_empty());
    }
}
