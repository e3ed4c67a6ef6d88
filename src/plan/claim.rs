//! Who claims which key, which entry of aws-auth is ours for it, and what is to become of it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::base::Base;
use super::desired::Mapping;
use super::mark::{KeyHash, MeaningHash};
use super::memory::Memory;
use crate::api::condition::Reason;
use crate::api::v1alpha1::Confirmation;
use crate::aws_auth::{Entry, Index, Meaning, Section};
use crate::principal::Key;

/// What a mapping is to the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be put into effect.
    Live,
    /// `suspend: true`.
    Suspended,
    /// Its spec can't be put into effect.
    Refused,
    /// It carries a deletionTimestamp.
    Deleting,
    /// Its `validUntil` has passed.
    Expired,
}

impl State {
    pub(super) fn of(mapping: &Mapping, now: Timestamp) -> Self {
        if mapping.deleting {
            Self::Deleting
        } else if mapping.expired(now) {
            Self::Expired
        } else if mapping.suspend {
            Self::Suspended
        } else if mapping.spec.is_err() {
            Self::Refused
        } else {
            Self::Live
        }
    }
}

/// How an owned entry was found to differ from what we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drift {
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
    /// A foreign duplicate stands behind it and wins.
    Displaced,
}

impl Drift {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Displaced => "displaced",
        }
    }
}

/// An entry of the document, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) section: Section,
    pub(super) item: usize,
    pub(super) line: usize,
    pub(super) meaning: Meaning,
}

impl From<&Entry> for Found {
    fn from(entry: &Entry) -> Self {
        Self {
            section: entry.section,
            item: entry.item,
            line: entry.line,
            meaning: entry.meaning(),
        }
    }
}

/// Username and groups of an entry, for a sentence.
pub(super) fn identity(meaning: &Meaning) -> String {
    let groups: Vec<&str> = meaning.groups.iter().map(String::as_str).collect();
    match groups.as_slice() {
        [] => format!("username {:?} without groups", meaning.username),
        [group] => format!("username {:?} and group {group}", meaning.username),
        _ => format!(
            "username {:?} and groups {}",
            meaning.username,
            groups.join(", ")
        ),
    }
}

/// What is to be done for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the entry and its mark stay as they are.
    Leave,
    /// The entry stands as declared; its mark is renewed where it was lost.
    Keep,
    /// The entry is written anew at the end of its list.
    Add,
    /// The found entry is rewritten in its place.
    Replace,
    /// The found entry is written anew at the end of its list, so that it wins.
    Move,
    /// The identical foreign entry becomes ours.
    Adopt,
    /// The found entry goes.
    Remove,
    /// The entry is gone already: the mark goes.
    Unmark,
    /// `deletion: Retain`: the mark goes, and the entry stays as a foreign one.
    Retain,
}

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// It passes by itself; otherwise a person must mend it.
    pub(super) transient: bool,
    /// The confirmation that lifts it.
    pub(super) awaiting: Option<Confirmation>,
}

impl Block {
    pub(super) fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            transient: false,
            awaiting: None,
        }
    }

    pub(super) fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::lasting(reason, message)
        }
    }
}

/// One key: who claims it, what stands for it, what is done.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) hash: KeyHash,
    /// Unknown for a mark whose entry is gone and that no mapping names.
    pub(super) key: Option<Key>,
    /// The mapping that holds it.
    pub(super) holder: Option<usize>,
    /// The other mappings that name it in spec or status.
    pub(super) others: Vec<usize>,
    /// What the mark says.
    pub(super) marked: Option<MeaningHash>,
    /// The entry that is ours, or with [`Step::Adopt`] and a foreign [`Step::Replace`] becomes ours.
    pub(super) found: Option<Found>,
    /// The found entry is ours, by the mark or by what a status remembers.
    pub(super) ours: bool,
    /// Whether, beside the found one, entries of this key stand that let someone in: a dead one is as good as none.
    pub(super) beside: bool,
    pub(super) drift: Option<Drift>,
    /// The write only brings back what we last wrote: a repair, and nothing that is new.
    pub(super) restores: bool,
    pub(super) step: Step,
    pub(super) block: Option<Block>,
    /// Where a foreign entry of this key never matches: its lines, for the message.
    pub(super) dead_lines: Vec<usize>,
}

impl Claim {
    /// The step, unless something blocks it.
    pub(super) fn effective(&self) -> Step {
        if self.block.is_some() {
            Step::Leave
        } else {
            self.step.clone()
        }
    }

    /// A key that no mapping names: only a confirmation on the history `ConfigMap` removes it.
    pub(super) fn orphan(&self) -> bool {
        self.holder.is_none() && self.others.is_empty()
    }

    /// Whether the text changes for it.
    pub(super) fn changes_text(&self) -> bool {
        match self.effective() {
            Step::Add | Step::Replace | Step::Move | Step::Remove => true,
            Step::Leave | Step::Keep | Step::Adopt | Step::Unmark | Step::Retain => false,
        }
    }

    /// Whether it gives someone something that was not there a moment ago.
    pub(super) fn grants(&self) -> bool {
        match self.effective() {
            Step::Add | Step::Replace => !self.restores,
            Step::Adopt => true,
            Step::Leave | Step::Keep | Step::Move | Step::Remove | Step::Unmark | Step::Retain => {
                false
            }
        }
    }

    /// Whether its entry stands as declared and is marked so, as far as can be told without the spec.
    pub(super) fn settled(&self) -> bool {
        self.step == Step::Keep && self.marked.is_some() && self.drift.is_none()
    }

    /// Blocks it, unless it is blocked already: the first reason is the one that a person can act upon first.
    pub(super) fn hold(&mut self, block: Block) {
        self.block.get_or_insert(block);
    }
}

/// Everything that deciding needs.
pub(super) struct Context<'a> {
    pub(super) mappings: &'a [&'a Mapping],
    pub(super) states: &'a [State],
    pub(super) base: &'a Base,
    pub(super) index: &'a Index<'a>,
    pub(super) memory: &'a Memory,
    /// `namespace/name` of the `ConfigMap`.
    pub(super) config_map: &'a str,
    /// What the history `ConfigMap` confirms for keys that no mapping names.
    pub(super) orphans: &'a BTreeSet<Confirmation>,
}
