//! What happens to each principal, and to the cluster as a whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::difference::{Becomes, EntryDifference, TextIdentity};
use crate::access_entry::{ADMIN_POLICY, EksCluster};
use crate::api::condition::Reason;
use crate::aws_auth::Section;
use crate::observed::Mode;
use crate::principal::{AccountId, Key};
use crate::time::Timestamp;

/// Where a cluster is on the way, and what becomes of each principal.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    pub(crate) cluster: EksCluster,
    pub(crate) from: Mode,
    /// Everyone who has access by aws-auth or has a mapping; what a person has to clear comes first.
    pub(crate) verdicts: Vec<PrincipalPlan>,
    /// The entries of aws-auth and grants no access.
    pub(crate) dead: Vec<NeverMatches>,
    /// Keys of aws-auth that do not parse, so that the authenticator drops them whole: nobody can tell who is meant to be in there.
    pub(crate) unreadable: Vec<UnreadableSection>,
    /// Lines of aws-auth that the authenticator reads differently than they are written.
    pub(crate) misread: Vec<MisreadLine>,
    /// Access entries of principals that neither aws-auth nor a mapping names, such as the cluster's creator.
    pub(crate) others: Vec<UnmanagedEntry>,
    /// Why the IAM of an account could not be read, by account.
    pub(crate) unread: BTreeMap<AccountId, String>,
}

/// What becomes of one principal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PrincipalPlan {
    #[serde(rename = "principal", serialize_with = "text")]
    pub(crate) who: Who,
    /// Documents print [`PrincipalPlan::word`].
    #[serde(skip)]
    pub(crate) outcome: PlannedOutcome,
    /// Whether aws-auth alone lets it in, so that it would be out in `API` mode.
    #[serde(rename = "losesAccessInApi")]
    pub(crate) lost_in_api: bool,
    /// Whether it is of nodes, and its access entry gives them something else than they need: they can't work now.
    #[serde(rename = "nodesCanNotWork", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) broken_nodes: bool,
    /// The mapping that declares it.
    pub(crate) mapping: Option<String>,
    /// The mapping that an import makes of it, where none declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) import: Option<String>,
    /// The entry of aws-auth that lets it in now; several where they differ in case only, none where it is not in aws-auth.
    #[serde(rename = "awsAuth")]
    pub(crate) places: Vec<EntryLine>,
    /// Entries of the same principal that the authenticator passes over: a later one, or one in `mapRoles`, wins.
    #[serde(rename = "notUsed", skip_serializing_if = "Vec::is_empty")]
    pub(crate) shadowed: Vec<EntryLine>,
    /// What that entry gives now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) now: Option<TextIdentity>,
    /// What it is or becomes as an access entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) becomes: Option<Becomes>,
    /// In what that differs from what aws-auth gives now.
    pub(crate) differences: Vec<EntryDifference>,
    /// Why it does not get there by itself, and what can be done.
    #[serde(flatten)]
    pub(crate) why: Option<Hindrance>,
    /// Whether the handover needs the bridge: its power comes from system:masters, and no access entry of it exists.
    pub(crate) bridge: bool,
    /// Until when its entry of aws-auth stays beside the access entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soaks_until: Option<Timestamp>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

impl PrincipalPlan {
    /// Whether it is declared, is listed nowhere yet, and gets an access entry.
    #[must_use]
    pub(crate) fn is_new(&self) -> bool {
        self.outcome == PlannedOutcome::Moves && self.places.is_empty()
    }

    /// The word for what comes of it.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        if self.is_new() {
            "new"
        } else {
            self.outcome.as_str()
        }
    }
}

/// Whom a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Principal {
        key: Key,
        /// Its ARN, with its path as far as that is known.
        arn: String,
    },
    /// Everyone of an account that no other entry names: `mapAccounts`.
    Account(String),
    /// An identity that can't have an access entry: a root user or a federated user.
    Other(String),
}

impl Who {
    /// The key of a role or user.
    #[must_use]
    pub(crate) const fn key(&self) -> Option<&Key> {
        match self {
            Self::Principal { key, .. } => Some(key),
            Self::Account(_) | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal { arn, .. } | Self::Other(arn) => f.write_str(arn),
            Self::Account(account) => write!(f, "(any of account {account})"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct EntryLine {
    #[serde(rename = "key", serialize_with = "section_key")]
    pub(crate) section: Section,
    /// 1-based line within the key's value.
    pub(crate) line: usize,
}

impl fmt::Display for EntryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.section, self.line)
    }
}

/// What comes of a principal. In the order in which people want to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlannedOutcome {
    /// Something has to be cleared by a person first.
    Blocked,
    /// No access entry can give what it has: it stays in aws-auth.
    Stays,
    /// Its mapping is deleted or has expired, so its entry goes.
    Leaves,
    /// It is handed over to an access entry.
    Moves,
    /// An access entry that is unmanaged exists, gives something else, and wins already.
    Differs,
    /// An access entry that is unmanaged exists and gives the same, such as one that AWS made: nothing is to be done.
    Stands,
    /// Its access entry exists as declared.
    Moved,
    /// IAM has no such principal: nobody has access now.
    Gone,
}

impl PlannedOutcome {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Stays => "stays",
            Self::Leaves => "leaves",
            Self::Moves => "moves",
            Self::Differs => "differs",
            Self::Stands => "done",
            Self::Moved => "moved",
            Self::Gone => "missing",
        }
    }
}

/// Why a principal does not get to an access entry by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hindrance {
    /// The reason that its mapping's conditions would give, where a condition says it; troubleshooting has a heading for each.
    #[serde(serialize_with = "reason", skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The sentence, with what can be done.
    #[serde(rename = "why")]
    pub(crate) message: String,
    #[serde(skip)]
    pub(crate) transient: bool,
}

/// An entry of aws-auth that grants no access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NeverMatches {
    #[serde(flatten)]
    pub(crate) place: EntryLine,
    /// What exists there: its ARN, or the text at fault.
    pub(crate) what: String,
    /// Why it grants no access.
    pub(crate) why: String,
}

/// A key of aws-auth that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct UnreadableSection {
    #[serde(flatten)]
    pub(crate) place: EntryLine,
    #[serde(rename = "why")]
    pub(crate) message: String,
}

/// A line of aws-auth that the authenticator reads differently than it is written: the entry has an effect, with other values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MisreadLine {
    #[serde(flatten)]
    pub(crate) place: EntryLine,
    #[serde(rename = "why")]
    pub(crate) message: String,
    /// Whether its values were meant for something else: an access entry made of them would give what nobody meant. A value of the
    /// wrong type is only missing.
    #[serde(skip)]
    pub(crate) closes: bool,
}

/// An access entry of a principal that neither aws-auth nor a mapping names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnmanagedEntry {
    pub(crate) principal_arn: String,
    pub(crate) gives: Option<Becomes>,
}

impl UnmanagedEntry {
    /// Whether it is an administrator, as the one is that EKS makes for the cluster's creator.
    #[must_use]
    pub(crate) fn is_administrator(&self) -> bool {
        let policies = self.gives.iter().flat_map(|gives| &gives.policies);
        policies
            .into_iter()
            .any(|(policy, scope)| policy == ADMIN_POLICY && scope == "cluster")
    }
}

impl Migration {
    /// Who would lose access by being in a mode now: the gate. What is only in aws-auth is lost in `API` mode; the step to
    /// `API_AND_CONFIG_MAP` takes nothing from anyone.
    pub(crate) fn losers(&self, to: Mode) -> impl Iterator<Item = &PrincipalPlan> {
        let leaves_aws_auth = to == Mode::Api && self.from != Mode::Api;
        self.verdicts
            .iter()
            .filter(move |verdict| leaves_aws_auth && verdict.lost_in_api)
    }

    /// Nodes that can't work with the access entry that wins already.
    pub(crate) fn broken_nodes(&self) -> impl Iterator<Item = &PrincipalPlan> {
        self.verdicts.iter().filter(|verdict| verdict.broken_nodes)
    }

    /// Lines that were meant to say something else: nobody can tell who should have access by them, and as what.
    pub(crate) fn unknown_lines(&self) -> impl Iterator<Item = &MisreadLine> {
        let read = self.from != Mode::Api;
        self.misread.iter().filter(move |line| read && line.closes)
    }

    /// Those that a person has to do something about before the way is free.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = &PrincipalPlan> {
        let blocks = |verdict: &&PrincipalPlan| {
            matches!(
                verdict.outcome,
                PlannedOutcome::Blocked | PlannedOutcome::Stays
            ) && verdict.lost_in_api
        };
        self.verdicts.iter().filter(blocks)
    }

    /// Those that are handed over from aws-auth.
    pub(crate) fn moving(&self) -> impl Iterator<Item = &PrincipalPlan> {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.outcome == PlannedOutcome::Moves && !verdict.is_new())
    }

    /// Those that are declared, stand nowhere yet, and get an access entry.
    pub(crate) fn newcomers(&self) -> impl Iterator<Item = &PrincipalPlan> {
        self.verdicts.iter().filter(|verdict| verdict.is_new())
    }

    /// Those that move and that no mapping declares.
    pub(crate) fn undeclared(&self) -> impl Iterator<Item = &PrincipalPlan> {
        self.moving().filter(|verdict| verdict.mapping.is_none())
    }

    /// Whether the handover needs the bridge.
    #[must_use]
    pub(crate) fn needs_bridge(&self) -> bool {
        self.moving().any(|verdict| verdict.bridge)
    }
}

fn text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn section_key<S: Serializer>(section: &Section, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(section.key())
}

#[allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's signature"
)]
fn reason<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::as_str).serialize(serializer)
}
