//! The entries of aws-auth and access entries, as mappings that adopt them unchanged.
//!
//! Invariants:
//!
//! - mappings that are imported and applied change nothing in either backend but the marks of ownership, while the handover setting
//!   is `Manual`;
//! - nothing is guessed: what has no mapping that means exactly the same is listed with the reason and what to write;
//! - a principal that a mapping names already is not imported again;
//! - names come from principals alone: see [`name`].

mod access_entry;
mod imported;
mod importer;
mod name;
mod object;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

pub use imported::{Import, Imported, Origin, SkipReason, Skipped};
pub use importer::ImportOptions;
use importer::{DeclaredPrincipals, Importer, is_node};
pub use name::mapping_name;
use name::{Home, Names};

use crate::aws_auth::{Document, Problem, Section, comments};
use crate::desired::Desired;
use crate::effective::{EffectiveAccess, Reading, Sources, Standing};
use crate::observed::{AwsView, Mode, Observed, Settings};
use crate::ownership::Mark;
use crate::principal::Key;

/// Imports what exists. Pure: the same arguments give the same mappings.
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
        declared: DeclaredPrincipals::of(desired),
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

impl Importer<'_> {
    /// Names the mappings: those that were managed keep their names, the others are named after their principals in the order of those.
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
                    &text::FoundEntry {
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

    /// In the mode `API` nobody has access by aws-auth.
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
                    SkipReason::NotRead,
                    "the cluster does not read aws-auth in API mode, so it grants no access",
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
                    SkipReason::LetsNobodyIn,
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
