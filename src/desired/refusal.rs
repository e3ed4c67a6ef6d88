//! Why a spec is refused.

use crate::api::condition::Reason;

/// Why a spec can't be put into effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecRefusal {
    /// The reason of the condition.
    pub reason: Reason,
    /// Its message: what is wrong and how to fix it.
    pub message: String,
    /// It passes by itself; otherwise a person has to act.
    pub transient: bool,
}

impl SpecRefusal {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidSpec,
            message: message.into(),
            transient: false,
        }
    }
}
