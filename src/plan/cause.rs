//! Why the access of a principal changed.

use std::fmt;

/// Why access changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeCause {
    /// The mapping is new.
    MappingCreated,
    /// Its spec was changed.
    SpecChanged,
    /// It was deleted.
    MappingDeleted,
    /// `validUntil` has passed.
    Expired,
    /// The principal moved from one backend to the other.
    Handover,
    /// Someone else had changed the entry.
    Drift,
    /// No mapping named it, and a person confirmed the removal.
    Orphaned,
    /// The mapping's status did not name the entry.
    StatusLost,
    /// The cluster, EKS or IAM changed, and the mapping did not.
    Reconciled,
}

impl ChangeCause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MappingCreated,
        Self::SpecChanged,
        Self::MappingDeleted,
        Self::Expired,
        Self::Handover,
        Self::Drift,
        Self::Orphaned,
        Self::StatusLost,
        Self::Reconciled,
    ];
}

impl fmt::Display for ChangeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MappingCreated => "MappingCreated",
            Self::SpecChanged => "SpecChanged",
            Self::MappingDeleted => "MappingDeleted",
            Self::Expired => "Expired",
            Self::Handover => "Handover",
            Self::Drift => "Drift",
            Self::Orphaned => "Orphaned",
            Self::StatusLost => "StatusLost",
            Self::Reconciled => "Reconciled",
        })
    }
}
