//! Verdicts, in tables and by laws.

mod journey;
mod laws;
mod modes;
mod table;

use super::difference::Becomes;
use super::{Migration, PrincipalPlan, verdicts};
use crate::plan::simulation::Simulation;

/// The verdicts on a simulated cluster.
fn migration(simulation: &Simulation) -> Migration {
    verdicts(
        &simulation.desired(),
        &simulation.observed(),
        &simulation.settings,
    )
    .expect("the cluster is known")
}

/// A verdict in one line: outcome, name, type, username, groups, policies; `!` where it is lost in `API` mode.
fn line(verdict: &PrincipalPlan) -> String {
    let who = verdict.who.to_string();
    let name = who.rsplit(':').next().unwrap_or_default();
    let lost = if verdict.lost_in_api { "!" } else { "" };
    let becomes = verdict.becomes.as_ref().map_or_else(String::new, |it| {
        let policies = it
            .policies
            .iter()
            .map(|(name, scope)| format!("{name}@{scope}"));
        let parts = [
            it.kind.clone(),
            it.username.clone(),
            it.groups.iter().cloned().collect::<Vec<_>>().join(","),
            policies.collect::<Vec<_>>().join(","),
        ];
        format!(" -> {}", parts.join(" | "))
    });
    format!("{}{lost} {name}{becomes}", verdict.word())
}

fn lines(simulation: &Simulation) -> Vec<String> {
    migration(simulation).verdicts.iter().map(line).collect()
}
