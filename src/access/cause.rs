//! Why a caller is not let in: causes with their mends.

use serde::Serialize;

use super::Mend;

/// A likely cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Which.
    pub kind: CauseKind,
    /// What is wrong, where, and with which value.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<Mend>,
}

/// The causes that are known, the likeliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// The ARN is of the root user or a federated user, which access entries don't let in.
    NotAPrincipal,
    /// The entry that counts has no username.
    NoUsername,
    /// The entry that counts asks for an instance's name.
    NotAnInstance,
    /// The access entry was made for a principal that was deleted and made again, or that IAM does not have.
    Recreated,
    /// A mapping declares it and is not in effect.
    NotInEffect,
    /// aws-auth names it, and is not read in the cluster's mode.
    Mode,
    /// A role's path was left in, or a user's taken out.
    Path,
    /// A key of aws-auth is spelt in other case.
    KeyCase,
    /// A session's ARN stands where its role's should.
    Session,
    /// White space around the ARN.
    Space,
    /// A key of aws-auth that names it is dropped whole.
    SectionDropped,
    /// An entry that names it is dropped.
    EntryDropped,
    /// An entry with `sso`, which EKS does not look at.
    Sso,
    /// A wildcard, which aws-auth does not have.
    Wildcard,
    /// The role of the same permission set with another suffix.
    SuffixChanged,
    /// The same name in another account or partition.
    OtherAccount,
    /// The same name of a role instead of a user, or the reverse.
    OtherKind,
    /// A name that differs in a few characters.
    Typo,
    /// Nothing near.
    Unnamed,
}
