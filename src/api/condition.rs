//! Condition types and reasons, each in one enum.

/// The type of a condition of an `IdentityMapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The authenticator would now give this principal exactly the declared identity.
    Ready,
    /// The spec can be put into effect.
    Accepted,
    /// The backend holds what the spec declares, and it is ours.
    Synced,
    /// Some binding names each group.
    GroupsBound,
    /// Someone undoes the entry again and again.
    Contested,
    /// Only a person can mend it (kstatus).
    Stalled,
    /// We work on it or retry (kstatus).
    Reconciling,
}

/// Why a condition has its status. Each has a heading in `docs/troubleshooting.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The entry stands as declared.
    InEffect,
}
