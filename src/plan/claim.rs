//! The claim of a mapping to a key: the managed entry in aws-auth, and what happens to it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::memory::Memory;
use crate::access_entry::{Call, Sent, Target};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Backend, CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::{Entry, Index, Lookup, Meaning, Section};
use crate::desired::{Mapping, SpecRefusal, State};
use crate::effective::{StandingEntries, can_match};
use crate::observed::{AwsView, Bindings, Handover, Mode, Observed, Settings};
use crate::ownership::{KeyHash, KnownUnmanaged, MeaningHash};
use crate::plan::baseline::Base;
use crate::plan::orphans::Orphans;
use crate::principal::Key;
use crate::safety;
use crate::time::{Timestamp, to_the_second};

/// How an owned entry was found to differ from what we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TextDrift {
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
    /// An unmanaged duplicate is behind it and wins.
    Displaced,
}

impl TextDrift {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Displaced => "displaced",
        }
    }
}

/// An entry of the document, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) section: Section,
    pub(crate) item: usize,
    pub(crate) line: usize,
    pub(crate) meaning: Meaning,
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
pub(crate) fn identity(meaning: &Meaning) -> String {
    let groups: Vec<&str> = meaning.groups.iter().map(String::as_str).collect();
    let username = if meaning.username.is_empty() {
        "no username".to_owned()
    } else {
        format!("username {:?}", meaning.username)
    };
    match groups.as_slice() {
        [] => format!("{username} without groups"),
        [group] => format!("{username} and group {group}"),
        _ => format!("{username} and groups {}", groups.join(", ")),
    }
}

/// What is to be done for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: the entry and its mark stay as they are.
    Leave,
    /// The entry is as declared; its mark is renewed where it was lost.
    Keep,
    /// The entry is written anew at the end of its list.
    Add,
    /// The found entry is rewritten in its place.
    Replace,
    /// The found entry is written anew at the end of its list, so that it wins.
    Move,
    /// The identical unmanaged entry becomes ours.
    Adopt,
    /// The found entry goes.
    Remove,
    /// The entry is gone already: the mark goes.
    Unmark,
    /// `deletion: Retain`: the mark goes, and the entry stays as an unmanaged one.
    Retain,
}

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// It passes by itself; otherwise a person has to act.
    pub(crate) transient: bool,
    /// The confirmation that lifts it.
    pub(crate) awaiting: Option<Confirmation>,
}

impl Block {
    pub(crate) fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            transient: false,
            awaiting: None,
        }
    }

    /// Held until a person confirms it.
    pub(crate) fn held(confirmation: Confirmation, reason: Reason, why: &str) -> Self {
        Self {
            awaiting: Some(confirmation),
            ..Self::lasting(reason, why)
        }
    }

    /// What safety refuses.
    pub(crate) fn of_refusal(refusal: &safety::Refusal) -> Self {
        let safety::Refusal {
            reason,
            why,
            confirmation,
            transient,
            ..
        } = refusal;
        match confirmation {
            Some(confirmation) => Self::held(*confirmation, *reason, why),
            None => Self {
                transient: *transient,
                ..Self::lasting(*reason, why)
            },
        }
    }

    /// A call has been sent, and EKS has not answered it.
    pub(crate) fn awaiting_answer(sent: &Sent) -> Self {
        Self::passing(
            Reason::EntryPending,
            format!(
                "{} for {} has been in flight since {}, without an answer from EKS",
                sent.call.operation(),
                sent.call.principal_arn(),
                to_the_second(sent.since)
            ),
        )
    }

    /// The message as a mapping's condition has it, with the command that confirms what is held.
    pub(crate) fn sentence(&self, mapping: &str) -> String {
        match self.awaiting {
            Some(confirmation) => {
                format!("{}; {}", self.message, annotate(mapping, confirmation))
            }
            None => self.message.clone(),
        }
    }

    pub(crate) fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::lasting(reason, message)
        }
    }
}

/// How a confirmation is given, for a sentence.
pub(crate) fn annotate(mapping: &str, confirmation: Confirmation) -> String {
    format!(
        "to confirm: `kubectl annotate identitymapping {mapping} {CONFIRM_ANNOTATION}={confirmation}`"
    )
}

/// What is to be done about an access entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EntryStep {
    /// Nothing.
    #[default]
    Leave,
    /// It exists as declared; calls at most set its tags.
    Keep,
    /// It must be described before anything is decided by it.
    Describe,
    /// It is made.
    Create,
    /// It is changed in place.
    Change,
    /// It is deleted and made again: what AWS does not change in place.
    Recreate,
    /// It goes.
    Delete,
    /// AWS keeps it: what we added is taken back, and it stays.
    GiveBack,
    /// `deletion: Retain`: our tags go, and it stays as an unmanaged one.
    Release,
}

/// What someone else changed of an access entry of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryDrift {
    pub(crate) what: String,
    /// When it was first seen.
    pub(crate) seen: Timestamp,
}

/// The access entry's side of a claim.
#[allow(
    clippy::struct_excessive_bools,
    reason = "findings that are independent of each other"
)]
#[derive(Clone, Debug, Default)]
pub(crate) struct EntrySide {
    pub(crate) step: EntryStep,
    /// The calls that the step takes.
    pub(crate) calls: Vec<Call>,
    /// They are right only once the plan's write of aws-auth is made.
    pub(crate) needs_text: bool,
    pub(crate) block: Option<Block>,
    pub(crate) drift: Option<EntryDrift>,
    /// The calls only bring back what we last wrote.
    pub(crate) restores: bool,
    /// Whether an entry of this key exists for certain, no matter who made it.
    pub(crate) stands: bool,
    /// Whether one may.
    pub(crate) may_exist: bool,
    /// Whether it is ours.
    pub(crate) ours: bool,
    /// Whether it is a node's.
    pub(crate) node: bool,
    /// Its own ARN.
    pub(crate) entry_arn: Option<String>,
    /// What the holder asks for.
    pub(crate) target: Option<Target>,
    /// It exists in EKS as the target says.
    pub(crate) as_declared: bool,
    /// What the calls of this key last met.
    pub(crate) failed: bool,
    /// Whether it matters which principals EKS itself makes entries for.
    pub(crate) asks: bool,
    /// Policies on the entry that AWS associated and that are not declared.
    pub(crate) of_aws: BTreeSet<String>,
    /// Where it waits for aws-auth to hold the principal first: since when this process has seen it there.
    pub(crate) in_aws_auth_since: Option<Timestamp>,
    /// When to look again although nothing changes.
    pub(crate) wake: Option<Timestamp>,
}

impl EntrySide {
    /// The step, unless something blocks it.
    pub(crate) fn effective(&self) -> EntryStep {
        if self.block.is_some() {
            EntryStep::Leave
        } else {
            self.step
        }
    }

    /// Blocks it, unless it is blocked already.
    pub(crate) fn hold(&mut self, block: Block) {
        self.block.get_or_insert(block);
    }

    /// Whether calls are to be made.
    pub(crate) fn pending(&self) -> bool {
        self.block.is_none() && !self.calls.is_empty()
    }
}

/// Where a mapping is put into effect, and why there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) backend: Backend,
    /// What there is to say of it in `Accepted`.
    pub(crate) note: Option<String>,
    /// It can't be put into effect at all in this mode.
    pub(crate) refusal: Option<SpecRefusal>,
    /// A handover that is asked for and can't be made, or is under way.
    pub(crate) handover: Option<Block>,
    /// Until when the copy in aws-auth stays as the way back.
    pub(crate) soaks_until: Option<Timestamp>,
    /// On the way back to aws-auth: since when this process has seen the declared entry there.
    pub(crate) in_aws_auth_since: Option<Timestamp>,
}

impl Place {
    pub(crate) const fn of(backend: Backend) -> Self {
        Self {
            backend,
            note: None,
            refusal: None,
            handover: None,
            soaks_until: None,
            in_aws_auth_since: None,
        }
    }
}

/// One key: who claims it, what exists for it, what is done.
#[allow(
    clippy::struct_excessive_bools,
    reason = "findings that are independent of each other"
)]
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The access entry's side; everything else here is aws-auth's.
    pub(crate) entry: EntrySide,
    /// Where the holder is put into effect.
    pub(crate) place: Option<Place>,
    /// The entry of aws-auth goes because the access entry has taken its place, or the reverse: nobody loses anything.
    pub(crate) hands_over: bool,
    pub(crate) hash: KeyHash,
    /// Unknown for a mark whose entry is gone and that no mapping names.
    pub(crate) key: Option<Key>,
    /// The mapping that holds it.
    pub(crate) holder: Option<usize>,
    /// A live mapping that would hold it, can't be put into effect, and leaves what exists to those that wrote it.
    pub(crate) waiting: Option<usize>,
    /// What keeps that one from it.
    pub(crate) waits_for: Option<Block>,
    /// The other mappings that name it in spec or status.
    pub(crate) others: Vec<usize>,
    /// What the mark says.
    pub(crate) marked: Option<MeaningHash>,
    /// The entry that the mark meant is gone, and an unmanaged one has its place: the mark goes, whatever is held.
    pub(crate) loses_mark: bool,
    /// The entry that is ours, or with [`Step::Adopt`] and an unmanaged [`Step::Replace`] becomes ours.
    pub(crate) found: Option<Found>,
    /// The found entry is ours, by the mark or by what a status remembers.
    pub(crate) ours: bool,
    /// Whether, beside the found one, entries of this key stand that let someone in: a dead one is as good as none.
    pub(crate) beside: bool,
    pub(crate) drift: Option<TextDrift>,
    /// The write only brings back what we last wrote: a repair, and nothing that is new.
    pub(crate) restores: bool,
    /// Replacing the entry only takes groups away.
    pub(crate) narrows: bool,
    pub(crate) step: Step,
    pub(crate) block: Option<Block>,
    /// Where an unmanaged entry of this key never matches: its lines, for the message.
    pub(crate) dead_lines: Vec<usize>,
}

impl Claim {
    /// Whether the holder can't be put into effect until somebody changes something: it is refused, or something unmanaged is in its way.
    pub(crate) fn is_stuck(&self) -> bool {
        let place = self.place.as_ref();
        let lasts = |block: &Block| !block.transient && block.awaiting.is_none();
        place.is_some_and(|place| place.refusal.is_some())
            || self.block.iter().chain(&self.entry.block).any(lasts)
    }

    /// The step, unless something blocks it.
    pub(crate) fn effective(&self) -> Step {
        if self.block.is_some() {
            Step::Leave
        } else {
            self.step.clone()
        }
    }

    /// A key that no mapping names: only a confirmation on the history `ConfigMap` removes it.
    pub(crate) fn orphan(&self) -> bool {
        self.holder.is_none() && self.others.is_empty()
    }

    /// Whether the text changes for it.
    pub(crate) fn changes_text(&self) -> bool {
        match self.effective() {
            Step::Add | Step::Replace | Step::Move | Step::Remove => true,
            Step::Leave | Step::Keep | Step::Adopt | Step::Unmark | Step::Retain => false,
        }
    }

    /// Whether the write of aws-auth changes the text or the mark for it.
    pub(crate) fn changes_aws_auth(&self, mappings: &[Cow<'_, Mapping>]) -> bool {
        match self.effective() {
            Step::Add | Step::Replace | Step::Move | Step::Remove | Step::Adopt => true,
            Step::Unmark | Step::Retain => self.marked.is_some(),
            Step::Keep => {
                let holder = self.holder.map(|holder| &mappings[holder]);
                let spec = holder.and_then(|mapping| mapping.spec.as_ref().ok());
                let form = spec.and_then(|spec| spec.form.as_ref());
                form.map(|form| &form.meaning_hash) != self.marked.as_ref()
            }
            Step::Leave => false,
        }
    }

    /// Whether the access entry's side gives someone something that was not there a moment ago.
    pub(crate) fn entry_grants(&self) -> bool {
        match self.entry.effective() {
            EntryStep::Create | EntryStep::Change | EntryStep::Recreate => !self.entry.restores,
            EntryStep::Leave
            | EntryStep::Keep
            | EntryStep::Describe
            | EntryStep::Delete
            | EntryStep::GiveBack
            | EntryStep::Release => false,
        }
    }

    /// Whether aws-auth's side does.
    pub(crate) fn text_grants(&self) -> bool {
        match self.effective() {
            Step::Replace if self.narrows => false,
            Step::Add | Step::Replace => !self.restores,
            Step::Adopt => true,
            Step::Leave | Step::Keep | Step::Move | Step::Remove | Step::Unmark | Step::Retain => {
                false
            }
        }
    }

    /// Whether aws-auth holds a managed entry for the holder once the step is taken.
    pub(crate) fn keeps_text(&self) -> bool {
        match self.effective() {
            Step::Keep | Step::Add | Step::Replace | Step::Move | Step::Adopt => true,
            // In API mode, for example, what is managed there goes with its mapping.
            Step::Leave => self.marked.is_some(),
            Step::Remove | Step::Unmark | Step::Retain => false,
        }
    }

    /// Whether the holder has an access entry once the step is taken.
    pub(crate) fn keeps_entry(&self) -> bool {
        match self.entry.effective() {
            EntryStep::Keep | EntryStep::Create | EntryStep::Change | EntryStep::Recreate => true,
            EntryStep::Leave
            | EntryStep::Describe
            | EntryStep::Delete
            | EntryStep::GiveBack
            | EntryStep::Release => false,
        }
    }

    /// Whether aws-auth grants the principal access now.
    pub(crate) fn admitted(&self, context: &Context<'_>) -> bool {
        // A foreign entry beside an access entry of ours is not the claim's, and grants access all the same.
        let found = self.found.as_ref().map(|found| found.meaning.arn.clone());
        let declared = || {
            let holder = &context.mappings[self.holder?];
            Some(holder.principal.as_ref()?.aws_auth_arn())
        };
        let Some(arn) = found.or_else(declared) else {
            return false;
        };
        match context.index.lookup(&arn) {
            Lookup::Role(entry) | Lookup::User(entry) => can_match(entry),
            Lookup::AmbiguousUser(_) => true,
            Lookup::Account | Lookup::None => false,
        }
    }

    /// Whether its entry of aws-auth is as declared and is marked so, as far as can be told without the spec.
    pub(crate) fn text_settled(&self) -> bool {
        self.step == Step::Keep && self.marked.is_some() && self.drift.is_none()
    }

    /// Blocks aws-auth's side, unless it is blocked already: the first reason is the one that a person can act upon first.
    pub(crate) fn hold(&mut self, block: Block) {
        self.block.get_or_insert(block);
    }

    /// Blocks both sides.
    pub(crate) fn hold_both(&mut self, block: &Block) {
        self.hold(block.clone());
        self.entry.hold(block.clone());
    }
}

/// Everything that deciding needs.
pub(crate) struct Context<'a> {
    pub(crate) mappings: &'a [Cow<'a, Mapping>],
    pub(crate) states: &'a [State],
    pub(crate) base: &'a Base,
    pub(crate) index: &'a Index<'a>,
    pub(crate) memory: &'a Memory,
    /// `namespace/name` of the `ConfigMap`.
    pub(crate) config_map: &'a str,
    /// The keys that no mapping names, and what the history `ConfigMap` confirms for them.
    pub(crate) orphans: &'a Orphans,
    /// What is known to be unmanaged in aws-auth.
    pub(crate) unmanaged: &'a KnownUnmanaged<'a>,
    /// The mode in force; without one nothing is written.
    pub(crate) mode: Option<Mode>,
    /// EKS, where access entries count.
    pub(crate) eks: Option<&'a Eks<'a>>,
    pub(crate) observed: &'a Observed,
    pub(crate) now: Timestamp,
    /// Keys whose takeover by another mapping is blocked: what has ended goes without it.
    pub(crate) without_takeover: &'a BTreeSet<KeyHash>,
}

/// EKS as a plan takes it.
#[derive(Debug)]
pub(crate) struct Eks<'a> {
    pub(crate) view: &'a AwsView,
    pub(crate) standing: StandingEntries<'a>,
    pub(crate) settings: &'a Settings,
    /// The tag that says which installation an entry belongs to.
    pub(crate) installation: String,
    pub(crate) handover: Handover,
    pub(crate) bindings: &'a Bindings,
}
