//! The changes of a plan as a diff.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::access_entry::{AccessEntry, Call};
use crate::aws_auth::Section;
use crate::plan::claim::{Claim, EntryStep, Step};
use crate::plan::{ConfigMapWrite, Plan};
use crate::principal::Key;

/// What a plan changes in the backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlanDiff {
    pub(crate) config_map: Option<ConfigMapDiff>,
    /// The calls to EKS that change something, by principal.
    pub(crate) entries: Vec<EntryDiff>,
}

impl PlanDiff {
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.config_map.is_none() && self.entries.is_empty()
    }
}

/// What a write changes in aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigMapDiff {
    /// It does not exist yet.
    pub(crate) create: bool,
    /// The keys of `data` whose text changes.
    pub(crate) texts: BTreeMap<String, TextChange>,
    /// What becomes of single entries.
    pub(crate) steps: Vec<TextStep>,
}

/// A key's text before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextChange {
    /// As it is; `None`: the key does not exist.
    pub(crate) before: Option<String>,
    pub(crate) after: String,
}

/// What becomes of an entry of aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextStep {
    pub(crate) kind: TextStepKind,
    /// The mapping that holds its principal, or else one that did.
    pub(crate) mapping: Option<String>,
    /// The principal's ARN as aws-auth has it, where it is known: of a mark whose entry is gone it may not be.
    pub(crate) arn: Option<String>,
    pub(crate) line: Option<(Section, usize)>,
}

/// What becomes of an entry of aws-auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TextStepKind {
    /// It is written at the end of its list.
    Added,
    Changed,
    Removed,
    /// An unmanaged entry that says the same becomes managed; its text stays.
    Adopted,
    /// It is managed, and is marked so again.
    Marked,
    /// It is gone already; its mark goes.
    Unmarked,
    /// It stays, and is no longer managed.
    Retained,
}

impl TextStepKind {
    /// All of them, in the order in which they are counted for people.
    pub(crate) const ALL: [Self; 7] = [
        Self::Added,
        Self::Changed,
        Self::Removed,
        Self::Adopted,
        Self::Marked,
        Self::Unmarked,
        Self::Retained,
    ];

    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Adopted => "adopted",
            Self::Marked => "marked",
            Self::Unmarked => "unmarked",
            Self::Retained => "retained",
        }
    }
}

/// The calls to EKS for one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryDiff {
    pub(crate) key: Key,
    /// The mapping that holds it, or else one that did.
    pub(crate) mapping: Option<String>,
    /// The calls that change something, in order.
    pub(crate) calls: Vec<Call>,
    /// The entries that the calls are about, as they are now, by principal.
    pub(crate) before: BTreeMap<String, AccessEntry>,
}

impl Plan<'_> {
    #[must_use]
    pub(crate) fn diff(&self) -> PlanDiff {
        PlanDiff {
            config_map: self.config_map.as_ref().map(|write| self.texts(write)),
            entries: self.calls(),
        }
    }

    fn texts(&self, write: &ConfigMapWrite) -> ConfigMapDiff {
        let create = matches!(write, ConfigMapWrite::Create { .. });
        let standing = self.observed.config_map.as_ref();
        let after = write.applied(standing).data.into_iter();
        let change = |(key, after): (String, String)| {
            let before = standing.and_then(|view| view.data.get(&key)).cloned();
            (before.as_ref() != Some(&after)).then_some((key, TextChange { before, after }))
        };
        let steps = self.claims.iter().filter_map(|claim| self.text_step(claim));
        let mut steps: Vec<TextStep> = steps.collect();
        steps.sort_by(|a, b| (a.kind, a.line, &a.arn).cmp(&(b.kind, b.line, &b.arn)));
        ConfigMapDiff {
            create,
            texts: after.filter_map(change).collect(),
            steps,
        }
    }

    fn text_step(&self, claim: &Claim) -> Option<TextStep> {
        let marked_anew = || self.realized.mark.0.get(&claim.hash) != claim.marked.as_ref();
        let kind = match claim.effective() {
            Step::Add => TextStepKind::Added,
            Step::Replace | Step::Move => TextStepKind::Changed,
            Step::Remove => TextStepKind::Removed,
            Step::Adopt => TextStepKind::Adopted,
            Step::Keep | Step::Leave if marked_anew() => TextStepKind::Marked,
            Step::Unmark if claim.marked.is_some() => TextStepKind::Unmarked,
            Step::Retain if claim.marked.is_some() => TextStepKind::Retained,
            Step::Keep | Step::Leave | Step::Unmark | Step::Retain => return None,
        };
        let found = claim.found.as_ref();
        Some(TextStep {
            kind,
            mapping: self.mapping_of(claim),
            arn: self.arn_of(claim),
            line: found.map(|found| (found.section, found.line)),
        })
    }

    /// The ARN of a claim as its mapping or else its entry has it.
    fn arn_of(&self, claim: &Claim) -> Option<String> {
        let declared = || {
            let spec = self.mappings[claim.holder?].spec.as_ref().ok()?;
            Some(spec.form.as_ref()?.entry.arn.clone())
        };
        let standing = || {
            let found = claim.found.as_ref()?;
            let entries = &self.base.document.section(found.section).entries;
            let entry = entries.iter().find(|entry| entry.item == found.item)?;
            Some(entry.arn.clone())
        };
        declared()
            .or_else(standing)
            .or_else(|| claim.key.as_ref().map(Key::to_string))
    }

    fn calls(&self) -> Vec<EntryDiff> {
        let standing = self
            .observed
            .aws
            .view()
            .map(|view| &view.entries.by_principal);
        let pending = self.claims.iter().filter(|claim| {
            // Without calls of the plan nothing is asked of EKS, whatever the claims would.
            !self.entries.is_empty()
                && claim.entry.pending()
                && claim.entry.effective() != EntryStep::Describe
        });
        let diff = |claim: &Claim| {
            let changes = |call: &&Call| !matches!(call, Call::Describe { .. });
            let calls: Vec<Call> = claim.entry.calls.iter().filter(changes).cloned().collect();
            let entries = calls.iter().filter_map(|call| {
                let entry = standing?.get(call.principal_arn())?.entry.clone()?;
                Some((call.principal_arn().to_owned(), entry))
            });
            let before = entries.collect();
            (!calls.is_empty()).then_some(EntryDiff {
                key: claim.key.clone()?,
                mapping: self.mapping_of(claim),
                calls,
                before,
            })
        };
        let mut diffs: Vec<EntryDiff> = pending.filter_map(diff).collect();
        diffs.sort_by_key(|diff| diff.key.to_string());
        diffs
    }

    /// The mapping that holds a claim, or else the first of those that name it.
    fn mapping_of(&self, claim: &Claim) -> Option<String> {
        let position = claim.holder.or(claim.others.first().copied())?;
        Some(self.mappings[position].name.clone())
    }
}
