//! A migration as one document.

use serde::Serialize;

use crate::migrate::{
    Instruction, Manner, Migration, MisreadLine, NeverMatches, PrincipalPlan, Recipe,
    UnreadableSection, instructions, many, recipes,
};
use crate::observed::Mode;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MigrationDocument<'a> {
    pub(super) cluster: &'a str,
    pub(super) mode: &'static str,
    /// The mode at the end.
    pub(super) to: &'static str,
    /// What the cluster needs before it has access entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) too_old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gate: Option<GateDocument>,
    pub(super) principals: Vec<PrincipalDocument<'a>>,
    #[serde(rename = "withoutAccess")]
    pub(super) lets_nobody_in: &'a [NeverMatches],
    pub(super) unreadable: &'a [UnreadableSection],
    #[serde(skip_serializing_if = "<[MisreadLine]>::is_empty")]
    pub(super) misread: &'a [MisreadLine],
    pub(super) other_access_entries: Vec<UnmanagedEntryDocument<'a>>,
    pub(super) unread_accounts: Vec<UnreadAccount<'a>>,
    pub(super) steps: Vec<Instruction>,
}

/// What comes of a change of the mode.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GateDocument {
    pub(super) mode: &'static str,
    /// Whether nobody would lose anything by being in that mode now.
    pub(super) open: bool,
    /// Why it is closed, or what there is to say.
    pub(super) message: String,
    pub(super) losers: Vec<String>,
    /// How tools set the mode; empty where it is set.
    pub(super) changes: Vec<Recipe>,
}

/// What becomes of a principal, and in a word.
#[derive(Serialize)]
pub(super) struct PrincipalDocument<'a> {
    outcome: &'static str,
    #[serde(flatten)]
    plan: &'a PrincipalPlan,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnmanagedEntryDocument<'a> {
    principal: &'a str,
    administrator: bool,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct UnreadAccount<'a> {
    account: &'a str,
    why: &'a str,
}

impl<'a> MigrationDocument<'a> {
    pub(super) fn new(
        migration: &'a Migration,
        gate: Gate,
        too_old: Option<String>,
        manner: &Manner,
    ) -> Self {
        let to = match gate {
            Gate::Unasked => Mode::Api,
            Gate::There(mode) | Gate::To(mode) => mode,
        };
        Self {
            cluster: &migration.cluster.arn,
            mode: migration.from.as_str(),
            to: to.as_str(),
            gate: gate_document(migration, gate, too_old.as_deref()),
            too_old,
            principals: migration
                .verdicts
                .iter()
                .map(|plan| PrincipalDocument {
                    outcome: plan.word(),
                    plan,
                })
                .collect(),
            lets_nobody_in: &migration.dead,
            unreadable: &migration.unreadable,
            misread: &migration.misread,
            other_access_entries: migration
                .others
                .iter()
                .map(|other| UnmanagedEntryDocument {
                    principal: &other.principal_arn,
                    administrator: other.is_administrator(),
                    kind: other.gives.as_ref().map(|gives| gives.kind.as_str()),
                })
                .collect(),
            unread_accounts: migration
                .unread
                .iter()
                .map(|(account, why)| UnreadAccount {
                    account: account.as_str(),
                    why,
                })
                .collect(),
            steps: instructions(migration, to, manner),
        }
    }

    /// Why the gate is closed.
    pub(super) fn closed(&self) -> Option<&str> {
        let gate = self.gate.as_ref().filter(|gate| !gate.open)?;
        Some(&gate.message)
    }
}

fn gate_document(migration: &Migration, gate: Gate, too_old: Option<&str>) -> Option<GateDocument> {
    let mode = match gate {
        Gate::Unasked => return None,
        Gate::There(mode) if migration.broken_nodes().next().is_none() => {
            return Some(GateDocument {
                mode: mode.as_str(),
                open: true,
                message: format!("the cluster is already in mode {mode}: nothing to change"),
                losers: Vec::new(),
                changes: Vec::new(),
            });
        }
        Gate::There(mode) | Gate::To(mode) => mode,
    };
    let losers: Vec<String> = migration
        .losers(mode)
        .map(|it| it.who.to_string())
        .collect();
    let unreadable = migration.unreadable.first();
    let unreadable = unreadable.map(|it| format!("{} is invalid YAML", it.place.section));
    let misread = migration.unknown_lines().next();
    let misread = misread.map(|it| format!("{} is not read as it is written", it.place));
    let unreadable = unreadable.or(misread).filter(|_| mode == Mode::Api);
    let broken = migration.broken_nodes().count();
    let closed = match (too_old, losers.len(), unreadable) {
        (Some(too_old), ..) => Some(too_old.to_owned()),
        (None, ..) if broken > 0 => Some(format!(
            "the nodes of {} can't work with their access entries, which win over aws-auth: replace these first",
            many(broken, "role")
        )),
        (None, 0, Some(unreadable)) => Some(format!(
            "it is unknown who would lose access in {mode}, because {unreadable}: fix it and run this command again"
        )),
        (None, 0, None) => None,
        (None, lose, None) => Some(format!(
            "{} would lose access in {mode} now",
            many(lose, "principal")
        )),
        (None, lose, Some(unreadable)) => Some(format!(
            "at least {} would lose access in {mode} now; it is unknown who else, because {unreadable}: fix it and run this command \
                again",
            many(lose, "principal")
        )),
    };
    Some(GateDocument {
        mode: mode.as_str(),
        open: closed.is_none(),
        message: closed.unwrap_or_else(|| format!("no principal would lose access in {mode} now")),
        losers,
        changes: if mode == migration.from {
            Vec::new()
        } else {
            recipes(&migration.cluster, mode)
        },
    })
}

/// What comes of a change of the mode.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    Unasked,
    /// The cluster is in that mode.
    There(Mode),
    /// What would be lost by being in that mode now, if anything.
    To(Mode),
}
