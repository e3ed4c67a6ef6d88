//! The calls that change or read one access entry, what EKS answers, and how it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{AccessEntry, Association, Kind, Scope};

/// One call for one principal. The cluster is the caller's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `DescribeAccessEntry` and `ListAssociatedAccessPolicies`: the entry as it is.
    Describe {
        /// The principal.
        principal_arn: String,
    },
    /// `CreateAccessEntry`.
    Create {
        /// The principal.
        principal_arn: String,
        /// The type.
        kind: Kind,
        /// The username; `None` leaves it to EKS.
        username: Option<String>,
        /// The groups; none for node types.
        groups: BTreeSet<String>,
        /// The tags.
        tags: BTreeMap<String, String>,
    },
    /// `UpdateAccessEntry`, which replaces: what is not sent goes back to EKS's default.
    Update {
        /// The principal.
        principal_arn: String,
        /// The username; `None` leaves it to EKS.
        username: Option<String>,
        /// The groups, all of them.
        groups: BTreeSet<String>,
    },
    /// `DeleteAccessEntry`, associations included.
    Delete {
        /// The principal.
        principal_arn: String,
    },
    /// `AssociateAccessPolicy`: associates, or changes the scope without a gap.
    Associate {
        /// The principal.
        principal_arn: String,
        /// The policy's ARN.
        policy_arn: String,
        /// Where it is to hold.
        scope: Scope,
    },
    /// `DisassociateAccessPolicy`.
    Disassociate {
        /// The principal.
        principal_arn: String,
        /// The policy's ARN.
        policy_arn: String,
    },
    /// `TagResource` on the entry.
    Tag {
        /// The principal.
        principal_arn: String,
        /// The entry's own ARN.
        entry_arn: String,
        /// Tags to set.
        tags: BTreeMap<String, String>,
    },
    /// `UntagResource` on the entry.
    Untag {
        /// The principal.
        principal_arn: String,
        /// The entry's own ARN.
        entry_arn: String,
        /// Keys to take off.
        keys: BTreeSet<String>,
    },
}

impl Call {
    /// The principal that it is about.
    #[must_use]
    pub fn principal_arn(&self) -> &str {
        match self {
            Self::Describe { principal_arn }
            | Self::Create { principal_arn, .. }
            | Self::Update { principal_arn, .. }
            | Self::Delete { principal_arn }
            | Self::Associate { principal_arn, .. }
            | Self::Disassociate { principal_arn, .. }
            | Self::Tag { principal_arn, .. }
            | Self::Untag { principal_arn, .. } => principal_arn,
        }
    }

    /// The operation's name in the EKS API.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Describe { .. } => "DescribeAccessEntry",
            Self::Create { .. } => "CreateAccessEntry",
            Self::Update { .. } => "UpdateAccessEntry",
            Self::Delete { .. } => "DeleteAccessEntry",
            Self::Associate { .. } => "AssociateAccessPolicy",
            Self::Disassociate { .. } => "DisassociateAccessPolicy",
            Self::Tag { .. } => "TagResource",
            Self::Untag { .. } => "UntagResource",
        }
    }
}

/// What EKS answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// [`Call::Describe`]: the whole entry.
    Described(Box<AccessEntry>),
    /// [`Call::Create`] and [`Call::Update`]: the entry. Its `policies` are empty, for the answer does not hold them.
    Entry(Box<AccessEntry>),
    /// [`Call::Associate`]: the association as it is.
    Associated(Association),
    /// The others answer nothing.
    Done,
}

/// A call that failed. As text it is the message, and where a right is missing the statement that gives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", kind.fix())]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// AWS's own words, or those of the connection.
    pub message: String,
}

/// What kind of failure it is, and so what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No such principal in IAM: never, not any more, not under this path, or not yet (`The specified principalArn is
    /// invalid: invalid principal`).
    InvalidPrincipal,
    /// No such access entry (404); also just after it was made.
    EntryMissing,
    /// No such access policy (404).
    PolicyMissing,
    /// No such cluster (404).
    ClusterMissing,
    /// The cluster's authentication mode has no access entries; also just after it was changed.
    ModeWithoutEntries,
    /// The entry exists already (409), or the cluster is being changed.
    InUse,
    /// The cluster holds as many entries as it may.
    QuotaExceeded,
    /// IAM denies the action. The statement would allow it.
    Denied {
        /// The action, e.g. `eks:CreateAccessEntry`.
        action: String,
        /// The policy statement to add, as JSON on several lines.
        statement: String,
    },
    /// EKS refuses the request as invalid, and would again.
    Refused,
    /// Too many calls.
    Throttled,
    /// Unreachable, timed out, cut off, or a fault of the service. Whether the call took effect is not known.
    Unavailable,
    /// No credentials, or ones that AWS does not accept.
    Unauthenticated,
    /// An answer that is not what the API promises. Whether the call took effect is not known.
    Unreadable,
    /// Refused with an error code that this version does not know, which the message names.
    Unknown,
}

/// Whether a failure ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It ends by itself, mostly before the next try.
    Brief,
    /// It ends by itself where its cause was made or changed a moment ago, which AWS does not know everywhere yet; otherwise it lasts.
    Settling,
    /// It lasts until a person changes something.
    Lasting,
}

impl FailureKind {
    pub(crate) const fn persistence(&self) -> Persistence {
        match self {
            Self::Throttled | Self::Unavailable => Persistence::Brief,
            Self::InvalidPrincipal
            | Self::EntryMissing
            | Self::ModeWithoutEntries
            | Self::InUse => Persistence::Settling,
            Self::PolicyMissing
            | Self::ClusterMissing
            | Self::QuotaExceeded
            | Self::Denied { .. }
            | Self::Refused
            | Self::Unauthenticated
            | Self::Unreadable
            | Self::Unknown => Persistence::Lasting,
        }
    }

    /// What fixes it, where that is known here, to be put behind the message.
    fn fix(&self) -> String {
        match self {
            Self::Denied { statement, .. } => {
                format!("; add to the operator's IAM policy: {statement}")
            }
            _ => String::new(),
        }
    }

    /// Whether the call may have taken effect all the same.
    #[must_use]
    pub const fn effect_unknown(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Unreadable)
    }

    /// The label in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::InvalidPrincipal => "invalid_principal",
            Self::EntryMissing => "entry_missing",
            Self::PolicyMissing => "policy_missing",
            Self::ClusterMissing => "cluster_missing",
            Self::ModeWithoutEntries => "mode_without_entries",
            Self::InUse => "in_use",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Denied { .. } => "denied",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unauthenticated => "unauthenticated",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
