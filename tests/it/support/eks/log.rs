//! Who called what, when, about whom, and what came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Service;

/// The calls, in the order of their effects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// When.
    pub(crate) time: Timestamp,
    /// Of which service.
    pub(crate) service: Service,
    /// Its name, such as `CreateAccessEntry`.
    pub(crate) operation: String,
    /// The caller's ARN; empty where it is not known.
    pub(crate) caller: String,
    /// The principal that it is about.
    pub(crate) principal: Option<String>,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// Whether it was made by [`super::Eks::call_as`], not over the network.
    pub(crate) by_hand: bool,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, and the caller was told so.
    Done,
    /// It was refused, with this code and message.
    Refused(String, String),
    /// The caller was not told, or was told something else.
    Lost {
        /// Whether it had its effect.
        effect: bool,
        /// How the answer was lost.
        how: super::Fault,
    },
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(usize);

impl Mark {
    /// Before the first call.
    pub(crate) const START: Self = Self(0);
}

impl Log {
    pub(super) fn push(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// The end as it is now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.calls.len())
    }

    /// All calls.
    pub(crate) fn all(&self) -> &[Call] {
        &self.calls
    }

    /// The calls after the mark.
    pub(crate) fn since(&self, mark: Mark) -> &[Call] {
        &self.calls[mark.0..]
    }

    /// How often each operation was called over the network after the mark, whatever came of it.
    pub(crate) fn counts(&self, mark: Mark) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.since(mark).iter().filter(|call| !call.by_hand) {
            *counts.entry(call.operation.clone()).or_default() += 1;
        }
        counts
    }

    /// How often one operation was called over the network after the mark.
    pub(crate) fn count(&self, operation: &str, mark: Mark) -> usize {
        self.counts(mark)
            .get(operation)
            .copied()
            .unwrap_or_default()
    }
}

impl Call {
    /// Whether it changed anything: a write that was done, told of or not.
    pub(crate) fn had_effect(&self) -> bool {
        match self.outcome {
            Outcome::Done => true,
            Outcome::Lost { effect, .. } => effect,
            Outcome::Refused(..) => false,
        }
    }
}
