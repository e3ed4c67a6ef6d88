//! Random departures from the run without faults, in larger worlds.

use std::num::NonZero;

use serde_json::json;

use super::World;
use super::act::Act;
use super::search::{Broken, judged, run, shortest};
use super::step::Step;
use crate::observed::{BindingSubjects, Mode};

/// Of so many steps about one is unkind.
const UNKIND: u64 = 5;

/// A run makes so many steps before everything comes to rest.
const STEPS: usize = 160;

/// The environment variable that says how many cases are tried.
const CASES: &str = "IDENTITY_MAPPER_WORLDS";

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap_or_default()].clone()
    }
}

const ROLES: [&str; 6] = ["a", "b", "c", "d", "node", "ops"];
const NAMES: [&str; 6] = ["ma", "mb", "mc", "md", "me", "mf"];
const TEXT: &str = "\
# nodes, made by EKS
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
# made by hand
- rolearn: arn:aws:iam::111122223333:role/ops   # do not touch
  username: ops
  groups: [system:masters]
";

fn spec(dice: &mut Dice) -> serde_json::Value {
    let groups = [json!(["g"]), json!(["g", "h"]), json!(["system:masters"])];
    let mut spec = json!({"groups": dice.pick(&groups)});
    if dice.roll(2) == 0 {
        spec["backend"] = dice.pick(&[json!("ConfigMap"), json!("AccessEntry")]);
    }
    if dice.roll(5) == 0 {
        spec["adoption"] = dice.pick(&[json!("Always"), json!("Never")]);
    }
    if dice.roll(8) == 0 {
        spec["deletion"] = json!("Retain");
    }
    if dice.roll(8) == 0 {
        spec["accessPolicies"] = json!([{"policy": "AmazonEKSViewPolicy"}]);
    }
    spec
}

fn act(dice: &mut Dice) -> Act {
    let (name, other, role) = (dice.pick(&NAMES), dice.pick(&NAMES), dice.pick(&ROLES));
    match dice.roll(30) {
        0..=5 => Act::Apply {
            name,
            role,
            spec: spec(dice),
        },
        6..=10 => Act::Delete(name),
        11..=12 => Act::Edit(name, spec(dice)),
        13..=14 => Act::Edit(
            name,
            json!({"backend": dice.pick(&["Auto", "ConfigMap", "AccessEntry"])}),
        ),
        15 => Act::Edit(name, json!({"principal": {"arn": super::act::arn(role)}})),
        16 => Act::ClearStatus(name),
        17 => Act::CopyStatus(name, other),
        18 => Act::AddLine(role, "theirs", "system:viewers"),
        19 => Act::CutLine(role),
        20 => Act::DropMark,
        21 => Act::MakeEntry(role, "theirs", "viewers"),
        22 => Act::ChangeEntry(role, "changed", "viewers"),
        23..=24 => Act::DeleteEntry(role),
        25 => Act::DropTags(role),
        26 => Act::Mode(dice.pick(&[Mode::ApiAndConfigMap, Mode::Api])),
        27 => Act::Handover(dice.pick(&["Manual", "Auto", "Revert"])),
        28 => Act::Break,
        _ => Act::DeleteConfigMap,
    }
}

fn world(dice: &mut Dice) -> World {
    let modes = [
        Mode::ConfigMap,
        Mode::ApiAndConfigMap,
        Mode::ApiAndConfigMap,
        Mode::Api,
    ];
    let mut world = World::new(dice.pick(&modes), dice.pick(&[TEXT, ""]));
    if dice.roll(2) == 0 {
        world.bindings.push(BindingSubjects {
            groups: [crate::access_entry::BRIDGE_GROUP.to_owned()].into(),
            cluster_admin: true,
            ..BindingSubjects::default()
        });
    }
    let acts = 3 + dice.roll(9);
    let mut mode = world.mode;
    for _ in 0..acts {
        let act = act(dice);
        if let Act::Mode(next) = act {
            // Modes change one way.
            if next <= mode {
                continue;
            }
            mode = next;
        }
        world.script.push_back(act);
    }
    world
}

/// One run.
fn case(seed: u64) -> Result<(), Broken> {
    let mut dice = Dice::new(seed);
    let start = world(&mut dice);
    let (mut world, mut story) = (start.clone(), Vec::<Step>::new());
    for _ in 0..STEPS {
        let unkind = if dice.roll(UNKIND) == 0 {
            world.unkind()
        } else {
            Vec::new()
        };
        let step = if unkind.is_empty() {
            world.kind()
        } else {
            Some(dice.pick(&unkind))
        };
        let Some(step) = step else {
            break;
        };
        story.push(step.clone());
        if let Err(law) = judged(&mut world, &step) {
            return Err(shortest(&start, story, law));
        }
    }
    run(&start, &story)
        .map(|_| ())
        .map_err(|broken| shortest(&start, broken.story, broken.law))
}

/// A case that breaks a law, by its number.
type Failed = (u64, Broken);

/// Tries these cases; gives the first that breaks a law.
pub(super) fn cases(seeds: impl IntoIterator<Item = u64>) -> Result<(), Failed> {
    let mut seeds = seeds.into_iter();
    seeds.try_for_each(|seed| case(seed).map_err(|broken| (seed, broken)))
}

#[test]
fn no_run_of_a_larger_world_breaks_a_law() {
    let count = std::env::var(CASES)
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(2000_u64);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let failed: Vec<Failed> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|first| {
                let seeds = (0..count).skip(first).step_by(threads);
                scope.spawn(move || cases(seeds))
            })
            .collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"));
        results.filter_map(Result::err).collect()
    });
    if let Some((seed, broken)) = failed.into_iter().min_by_key(|(seed, _)| *seed) {
        panic!("case {seed}: {}", broken.tell());
    }
}
