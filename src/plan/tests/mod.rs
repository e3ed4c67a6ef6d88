//! The planner on a simulated cluster.

mod attacks;
mod audit;
mod aws_managed;
mod contention;
mod ends;
mod entries;
mod entry_laws;
mod flight;
mod forged_tags;
mod forgery;
mod grants;
mod grants_in_force;
mod guards;
mod handover;
pub(crate) mod laws;
mod lost_statuses;
mod missing_principals;
mod modes;
mod narrowing;
mod ownership;
mod permission_sets;
mod revocations;
mod rumours;
mod scale;
mod shadows;
mod states;
mod takeovers;
mod text_refused;
mod texts;
mod unresolved_sets;
mod writers;

use serde_json::json;

use super::simulation::Simulation;
use super::{EventNote, Regarding};
use crate::api::condition::Reason;
use crate::api::v1alpha1::CONFIRM_ANNOTATION;

/// A node role and a hand-made entry, with comments, as many clusters have them.
pub(crate) const FOREIGN: &str = "\
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

/// A cluster with foreign entries and these mappings of roles by their own name, settled.
pub(crate) fn cluster(names: &[&str]) -> Simulation {
    let mut simulation = Simulation::with_roles(FOREIGN);
    for name in names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    simulation
}

pub(crate) fn entry(arn: &str, username: &str, groups: &str) -> (String, String, String) {
    (arn.to_owned(), username.to_owned(), groups.to_owned())
}

impl Simulation {
    /// Someone annotates the history.
    fn annotate_history(&mut self, key: &str, value: &str) {
        let view = self.history.as_mut().expect("kept from the first write");
        view.annotations.insert(key.to_owned(), value.to_owned());
    }

    fn history_annotation(&self, key: &str) -> Option<&str> {
        let view = self.history.as_ref()?;
        view.annotations.get(key).map(String::as_str)
    }

    /// What confirms the removal of the orphans, by the last event on them.
    fn orphan_word(&self) -> String {
        let told = |event: &&EventNote| event.reason == Reason::OrphanedEntries;
        let event = self.events.iter().rev().find(told).expect("told");
        let command = format!("{CONFIRM_ANNOTATION}=");
        let (_, rest) = event.note.split_once(&command).expect("a command");
        let (word, _) = rest.split_once(". ").expect("the end of a sentence");
        word.to_owned()
    }

    /// Whether an event of this reason was published on a mapping.
    fn told(&self, name: &str, reason: Reason) -> bool {
        let of = |event: &EventNote| matches!(&event.regarding, Regarding::Mapping { name: it, .. } if it == name);
        let mut events = self.events.iter();
        events.any(|event| event.reason == reason && of(event))
    }
}

/// What the foreign entries mean.
pub(crate) fn foreign() -> Vec<(String, String, String)> {
    vec![
        entry(
            "role/node",
            "system:node:{{EC2PrivateDNSName}}",
            "system:bootstrappers,system:nodes",
        ),
        entry("role/ops", "ops", "system:masters"),
    ]
}
