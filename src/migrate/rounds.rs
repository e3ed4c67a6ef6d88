//! Detects a migration that repeats the same steps.

use std::collections::BTreeMap;

use super::way::{NextStep, Situation};
use crate::observed::Observed;

/// Maximum number of times that a step is taken from the same state: an operator that works beside us can be in between two readings.
const MOST: u32 = 2;

/// How often each step was taken from each state. The state decides about the next step, so one that comes again and again from the same
/// state would come for ever.
#[derive(Debug, Default)]
pub(crate) struct Rounds(BTreeMap<String, u32>);

impl Rounds {
    /// Takes note of a step that is about to be taken; `false`: the round that it closes has changed nothing. Waiting changes nothing by
    /// itself and closes no round.
    pub(crate) fn begin(
        &mut self,
        step: NextStep,
        situation: &Situation<'_>,
        observed: &Observed,
    ) -> bool {
        match step {
            NextStep::Work
            | NextStep::Soak
            | NextStep::End
            | NextStep::StopForMode(_)
            | NextStep::StopForLosers => {
                return true;
            }
            NextStep::Import
            | NextStep::ChangeMode(_)
            | NextStep::AwaitMode(_)
            | NextStep::Set(_)
            | NextStep::MakeBridge
            | NextStep::RemoveBridge => {}
        }
        let taken = format!("{step:?} {}", state(situation, observed));
        let times = self.0.entry(taken).or_default();
        *times += 1;
        *times <= MOST
    }
}

/// All that a round could change, but for the setting and the bridge, which are what a round goes through.
fn state(situation: &Situation<'_>, observed: &Observed) -> String {
    let text = observed.config_map.as_ref();
    let text = text.map_or("", |view| view.resource_version.as_str());
    let entries = observed.aws.view().map(|view| {
        let states = view.entries.by_principal.iter();
        let seen = states.map(|(principal, state)| {
            let entry = state.entry.as_ref();
            (
                principal,
                entry.map(|entry| (entry.modified, &entry.groups)),
            )
        });
        (view.mode, seen.collect::<Vec<_>>())
    });
    let principals = situation.principals.iter();
    let waiting: Vec<String> = principals
        .map(|principal| format!("{} {}", principal.verdict.who, principal.stage))
        .collect();
    format!("{text} {entries:?} {waiting:?}")
}
