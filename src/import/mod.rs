//! What stands in aws-auth and in access entries, as mappings that take it over as it is.
//!
//! Invariants:
//!
//! - mappings that are imported and applied change nothing in either backend but the marks of ownership, while the handover setting
//!   is `Manual`;
//! - nothing is guessed: what has no mapping that means exactly the same is listed with the reason and what to write;
//! - a principal that a mapping names already is not imported again;
//! - names come from principals alone: see [`name`].

mod access_entry;
mod name;
mod object;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::time::Timestamp;

pub use name::mapping_name;
use name::{Home, Names};
use object::Draft;

use crate::api::IdentityMapping;
use crate::aws_auth::{Document, Entry, Problem, Section, comments};
use crate::desired::Desired;
use crate::effective::{EffectiveAccess, EffectiveEntry, Reading, Sources, Standing};
use crate::observed::{AwsView, Mode, Observed, Settings};
use crate::ownership::{KeyHash, Mark, MeaningHash};
use crate::principal::{Key, Principal};

/// What to import beside the principals of people and workloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The entries of nodes.
    pub nodes: bool,
    /// Access entries that AWS made, but for those that only AWS can change.
    pub aws_made: bool,
}

/// What was found, as mappings and otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// Sections of aws-auth that the authenticator drops whole: nothing of them is known.
    pub broken: Vec<Problem>,
    /// The mappings, by name.
    pub imported: Vec<Imported>,
    /// What did not become a mapping, in the order in which it was found.
    pub left: Vec<Left>,
    /// What a mapping declares already: where it stands, and the mapping's name.
    pub declared: Vec<(Origin, String)>,
}

/// A mapping for what stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The object: a name and a spec.
    pub object: IdentityMapping,
    /// The comments that stand by the entry, one line each.
    pub comments: Vec<String>,
    /// Where the entry stands.
    pub origin: Origin,
    /// What there is to know of it.
    pub notes: Vec<String>,
}

/// Something that did not become a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The ARN or account, as it stands.
    pub what: String,
    /// Where.
    pub origin: Origin,
    /// Why, in a word.
    pub why: Why,
    /// Why, and what can be done about it.
    pub message: String,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In aws-auth.
    Text {
        /// The section.
        section: Section,
        /// 1-based line in the section's text; `None`: the section as a whole.
        line: Option<usize>,
    },
    /// An access entry, by the principal's ARN.
    AccessEntry(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text {
                section,
                line: Some(line),
            } => write!(f, "{section} line {line}"),
            Self::Text {
                section,
                line: None,
            } => write!(f, "{section}"),
            Self::AccessEntry(_) => f.write_str("access entry"),
        }
    }
}

/// Why something did not become a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// An entry of nodes, which was not asked for.
    Node,
    /// An access entry that AWS made, which was not asked for.
    AwsMade,
    /// An access entry of another installation of the operator.
    OtherInstallation,
    /// Another entry of the same principal wins.
    Shadowed,
    /// It lets nobody in.
    LetsNobodyIn,
    /// What it means depends on chance, or on something that can't be seen.
    Ambiguous,
    /// No mapping means the same.
    Inexpressible,
    /// In the mode `API` aws-auth is not read.
    NotRead,
}

impl Why {
    /// The word for machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::AwsMade => "AwsMade",
            Self::OtherInstallation => "OtherInstallation",
            Self::Shadowed => "Shadowed",
            Self::LetsNobodyIn => "LetsNobodyIn",
            Self::Ambiguous => "Ambiguous",
            Self::Inexpressible => "Inexpressible",
            Self::NotRead => "NotRead",
        }
    }
}

/// Imports what stands. Pure: the same arguments give the same mappings.
#[must_use]
pub fn import(
    desired: &Desired,
    observed: &Observed,
    settings: &Settings,
    options: ImportOptions,
) -> Import {
    let empty = BTreeMap::new();
    let data = observed
        .config_map
        .as_ref()
        .map_or(&empty, |view| &view.data);
    let document = Document::parse(data);
    let effective = EffectiveAccess::new(Sources {
        aws_auth: &document,
        reading: Reading::AsAwsAuth,
        aws: &observed.aws,
        bindings: &observed.bindings,
    });
    let mode = observed.aws.mode().unwrap_or(Mode::ConfigMap);
    let view = observed.aws.view();
    let mut importer = Importer {
        options,
        document: &document,
        effective: &effective,
        mark: observed
            .config_map
            .as_ref()
            .map(Mark::of)
            .unwrap_or_default(),
        mode,
        view,
        now: observed.now,
        installation: settings.config_map.to_string(),
        declared: Declared::of(desired),
        fates: BTreeMap::new(),
        drafts: Vec::new(),
        result: Import::default(),
    };
    importer.access_entries();
    importer.document(data);
    let home = home(view, &effective, &document);
    let taken = desired.mappings.iter().map(|mapping| mapping.name.clone());
    importer.finish(home, taken.collect())
}

/// What to do about the entry of aws-auth of a principal that has an access entry.
enum Fate {
    /// The access entry wins over it.
    Shadowed,
    /// The access entry lets nobody in, so this is what counts.
    Counts,
    /// The access entry is ours and lets nobody in: the one must go before the other can be taken over.
    Blocked(&'static str),
}

/// The import under way.
struct Importer<'a> {
    options: ImportOptions,
    document: &'a Document,
    effective: &'a EffectiveAccess<'a>,
    mark: Mark,
    mode: Mode,
    view: Option<&'a AwsView>,
    now: Timestamp,
    installation: String,
    declared: Declared,
    fates: BTreeMap<Key, Fate>,
    drafts: Vec<Draft>,
    result: Import,
}

impl Importer<'_> {
    fn leave(
        &mut self,
        what: impl Into<String>,
        origin: Origin,
        why: Why,
        message: impl Into<String>,
    ) {
        self.result.left.push(Left {
            what: what.into(),
            origin,
            why,
            message: message.into(),
        });
    }

    /// Checks a draft, and keeps it or says why it can be no mapping.
    fn keep(&mut self, what: &str, draft: Result<Draft, String>, origin: &Origin) {
        match draft {
            Ok(draft) => self.drafts.push(draft),
            Err(why) => self.leave(what, origin.clone(), Why::Inexpressible, why),
        }
    }

    /// Names the mappings: those that were ours keep their names, the others are named after their principals in the order of those.
    fn finish(mut self, home: Option<Home>, taken: BTreeSet<String>) -> Import {
        let mut names = Names::new(home, taken);
        self.drafts
            .sort_by_cached_key(|draft| draft.principal.key());
        let kept: Vec<Option<String>> = self
            .drafts
            .iter()
            .map(|draft| names.take(draft.name.as_ref()?))
            .collect();
        let imported = self.drafts.into_iter().zip(kept).map(|(draft, kept)| {
            let name = kept.unwrap_or_else(|| names.of(&draft.principal));
            draft.named(&name)
        });
        self.result.imported = imported.collect();
        self.result
            .imported
            .sort_by(|one, other| one.object.metadata.name.cmp(&other.object.metadata.name));
        self.result
    }

    fn document(&mut self, data: &BTreeMap<String, String>) {
        let document = self.document;
        if self.mode == Mode::Api {
            self.not_read(document);
            return;
        }
        let sections = Section::ALL.map(|section| document.section(section));
        let broken = sections.iter().filter_map(|section| section.broken.clone());
        self.result.broken = broken.collect();
        let contested = text::contested_users(document);
        for section in [Section::Roles, Section::Users] {
            let view = document.section(section);
            let text = data.get(section.key()).map_or("", String::as_str);
            let comments = comments(text, view);
            for (entry, comments) in view.entries.iter().zip(comments) {
                let problems = view.problems.iter();
                let within = |problem: &&Problem| entry.span.contains(&problem.span.start);
                let notes = problems
                    .filter(within)
                    .map(|problem| problem.message.clone())
                    .collect();
                self.text(
                    &text::Found {
                        entry,
                        comments,
                        notes,
                    },
                    &contested,
                );
            }
        }
        self.dropped(document);
        self.accounts(document);
    }

    /// In the mode `API` nobody is let in by aws-auth.
    fn not_read(&mut self, document: &Document) {
        for section in Section::ALL {
            let view = document.section(section);
            let count = view.entries.len() + view.accounts.len();
            if count > 0 {
                let origin = Origin::Text {
                    section,
                    line: None,
                };
                let what = match count {
                    1 => "1 entry".to_owned(),
                    many => format!("{many} entries"),
                };
                self.leave(
                    what,
                    origin,
                    Why::NotRead,
                    "the cluster does not read aws-auth in mode API, so it grants no access",
                );
            }
        }
    }

    fn access_entries(&mut self) {
        let Some(view) = self.view.filter(|_| self.mode != Mode::ConfigMap) else {
            return;
        };
        for arn in view.entries.by_principal.keys() {
            if Key::parse_arn(arn).is_none() {
                let origin = Origin::AccessEntry(arn.clone());
                self.leave(
                    arn,
                    origin,
                    Why::LetsNobodyIn,
                    "it is for neither a role nor a user, and EKS ignores it; delete it",
                );
            }
        }
        let mut by_key: BTreeMap<&Key, Vec<&Standing<'_>>> = BTreeMap::new();
        for standing in self.effective.access_entries().all() {
            by_key.entry(&standing.key).or_default().push(standing);
        }
        for (key, mut standing) in by_key {
            standing.sort_by_key(|standing| standing.principal_arn);
            self.access_entries_of(view, key, &standing);
        }
    }
}

/// Who is declared already.
struct Declared {
    keys: BTreeMap<Key, String>,
    /// Permission sets by name and account: their roles are theirs whatever their suffix.
    sets: BTreeMap<(String, String), String>,
}

impl Declared {
    fn of(desired: &Desired) -> Self {
        let mappings = || desired.mappings.iter();
        let keys = mappings().filter_map(|mapping| Some((mapping.key()?, mapping.name.clone())));
        let sets = mappings().filter_map(|mapping| {
            let set = mapping.permission_set()?;
            Some((
                (set.name.clone(), set.account_id.clone()),
                mapping.name.clone(),
            ))
        });
        Self {
            keys: keys.collect(),
            sets: sets.collect(),
        }
    }

    /// The mapping that declares a principal.
    fn by(&self, principal: &Principal, key: &Key) -> Option<&String> {
        let by_set = || {
            let set = principal.sso()?.permission_set;
            self.sets.get(&(set, principal.account.to_string()))
        };
        let named = self.keys.get(key);
        named.or_else(|| if self.sets.is_empty() { None } else { by_set() })
    }
}

/// The cluster's own partition and account: EKS tells it, and nodes are always of it.
fn home(
    view: Option<&AwsView>,
    effective: &EffectiveAccess<'_>,
    document: &Document,
) -> Option<Home> {
    let of_cluster =
        || view.and_then(|view| Some((view.cluster.partition()?, view.cluster.account()?)));
    let of_nodes = || {
        let nodes = document.entries().filter(|entry| is_node(effective, entry));
        let homes: BTreeSet<Home> = nodes
            .filter_map(crate::aws_auth::Entry::key)
            .map(|key| (key.partition(), key.account().clone()))
            .collect();
        homes.first().filter(|_| homes.len() == 1).cloned()
    };
    of_cluster().or_else(of_nodes)
}

fn is_node(effective: &EffectiveAccess<'_>, entry: &Entry) -> bool {
    effective.is_node(&EffectiveEntry::of_aws_auth(entry))
}

/// What the mark says of an entry of this principal that is ours.
fn marked<'a>(mark: &'a Mark, key: &Key) -> Option<&'a MeaningHash> {
    if mark.0.is_empty() {
        None
    } else {
        mark.0.get(&KeyHash::of(key))
    }
}
