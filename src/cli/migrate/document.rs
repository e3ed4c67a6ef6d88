//! A migration as one document.

use serde::Serialize;

use crate::api::condition::Reason;
use crate::migrate::{
    Becomes, EntryLine, Instruction, Manner, Migration, NeverMatches, PrincipalPlan, Recipe,
    instructions, many, recipes,
};
use crate::observed::Mode;
use crate::time::Timestamp;

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
    pub(super) lets_nobody_in: Vec<Nobody<'a>>,
    pub(super) unreadable: Vec<Nobody<'a>>,
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrincipalDocument<'a> {
    #[serde(rename = "principal")]
    pub(super) who: String,
    pub(super) outcome: &'static str,
    #[serde(rename = "losesAccessInApi")]
    pub(super) lost_in_api: bool,
    pub(super) mapping: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) import: Option<&'a str>,
    pub(super) aws_auth: Vec<PlaceDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(rename = "notUsed")]
    pub(super) passed_over: Vec<PlaceDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Now<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) becomes: Option<&'a Becomes>,
    pub(super) differences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<&'a str>,
    pub(super) bridge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) soaks_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) notes: &'a [String],
}

#[derive(Serialize)]
pub(super) struct Now<'a> {
    username: &'a str,
    groups: &'a [String],
}

#[derive(Serialize)]
pub(super) struct PlaceDocument {
    key: &'static str,
    line: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nobody<'a> {
    #[serde(flatten)]
    place: PlaceDocument,
    what: Option<&'a str>,
    why: &'a str,
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

impl From<&EntryLine> for PlaceDocument {
    fn from(place: &EntryLine) -> Self {
        Self {
            key: place.section.key(),
            line: place.line,
        }
    }
}

impl<'a> From<&'a PrincipalPlan> for PrincipalDocument<'a> {
    fn from(verdict: &'a PrincipalPlan) -> Self {
        let why = verdict.why.as_ref();
        Self {
            who: verdict.who.to_string(),
            outcome: verdict.word(),
            lost_in_api: verdict.lost_in_api,
            mapping: verdict.mapping.as_deref(),
            import: verdict.import.as_deref(),
            aws_auth: verdict.places.iter().map(PlaceDocument::from).collect(),
            passed_over: verdict.shadowed.iter().map(PlaceDocument::from).collect(),
            now: verdict.now.as_ref().map(|now| Now {
                username: &now.username,
                groups: &now.groups,
            }),
            becomes: verdict.becomes.as_ref(),
            differences: verdict
                .differences
                .iter()
                .map(ToString::to_string)
                .collect(),
            reason: why.and_then(|why| why.reason).map(Reason::as_str),
            why: why.map(|why| why.message.as_str()),
            bridge: verdict.bridge,
            soaks_until: verdict.soaks_until,
            notes: &verdict.notes,
        }
    }
}

impl<'a> From<&'a NeverMatches> for Nobody<'a> {
    fn from(dead: &'a NeverMatches) -> Self {
        Self {
            place: (&dead.place).into(),
            what: Some(&dead.what),
            why: &dead.why,
        }
    }
}

impl<'a> MigrationDocument<'a> {
    pub(super) fn new(
        migration: &'a Migration,
        gate: Gate,
        too_old: Option<String>,
        manner: Manner,
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
                .map(PrincipalDocument::from)
                .collect(),
            lets_nobody_in: migration.dead.iter().map(Nobody::from).collect(),
            unreadable: migration
                .unreadable
                .iter()
                .map(|unreadable| Nobody {
                    place: (&unreadable.place).into(),
                    what: None,
                    why: &unreadable.message,
                })
                .collect(),
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
        Gate::There(mode) => {
            return Some(GateDocument {
                mode: mode.as_str(),
                open: true,
                message: format!("the cluster is already in mode {mode}: nothing to change"),
                losers: Vec::new(),
                changes: Vec::new(),
            });
        }
        Gate::To(mode) => mode,
    };
    let losers: Vec<String> = migration
        .losers(mode)
        .map(|it| it.who.to_string())
        .collect();
    let unreadable = migration.unreadable.first().filter(|_| mode == Mode::Api);
    let closed = match (too_old, losers.len(), unreadable) {
        (Some(too_old), ..) => Some(too_old.to_owned()),
        (None, 0, Some(unreadable)) => Some(format!(
            "it is unknown who would lose access in {mode}, because {} is invalid YAML: fix it and run this command again",
            unreadable.place.section
        )),
        (None, 0, None) => None,
        (None, lose, _) => Some(format!(
            "{} would lose access in {mode} now",
            many(lose, "principal")
        )),
    };
    Some(GateDocument {
        mode: mode.as_str(),
        open: closed.is_none(),
        message: closed.unwrap_or_else(|| format!("no principal would lose access in {mode} now")),
        losers,
        changes: recipes(&migration.cluster, mode),
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
