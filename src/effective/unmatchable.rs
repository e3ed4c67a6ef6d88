//! Entries of aws-auth that never match a caller.

use std::fmt;
use std::str::FromStr as _;

use crate::aws_auth::Entry;
use crate::principal::{Arn, Partition, Resource};

/// Why an entry of aws-auth never matches any caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmatchable {
    /// An entry for a permission set, which EKS does not read.
    Sso,
    /// A role's ARN with its path, which callers come without.
    Path,
    /// The ARN of a session: the authenticator turns a session into its role before the lookup.
    Session,
    /// No ARN of an identity: with a space, a wildcard, an account that has not 12 digits, or of something else.
    NotAnIdentity,
    /// A principal of another partition than the cluster's: the cluster asks the STS of its own partition only.
    OtherPartition {
        /// The principal's partition.
        principal: Partition,
        /// The cluster's partition.
        cluster: Partition,
    },
}

impl fmt::Display for Unmatchable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sso => f.write_str("EKS does not read entries with `sso`"),
            Self::Path => f.write_str(
                "its ARN has the role's path, and the authenticator sees roles without their path",
            ),
            Self::Session => f.write_str(
                "its ARN is that of a session, and the authenticator resolves a session to its role",
            ),
            Self::NotAnIdentity => {
                f.write_str("its ARN is not that of a role or user, so no caller has it")
            }
            Self::OtherPartition { principal, cluster } => write!(
                f,
                "its principal is in partition {principal}, and the cluster, in partition {cluster}, accepts callers of its own partition only"
            ),
        }
    }
}

/// Why no caller matches the entry. A session's ARN is turned into its role's before the lookup, and a role's comes without its
/// path (`pkg/arn/arn.go` of aws-iam-authenticator). `cluster` is the cluster's partition, where it is known.
///
/// An entry without a username does match: the login has no name, and the rights of its groups.
#[must_use]
pub fn unmatchable(entry: &Entry, cluster: Option<Partition>) -> Option<Unmatchable> {
    if entry.sso {
        return Some(Unmatchable::Sso);
    }
    // The comparison is without regard to case, so the ARN need not be spelt as IAM would.
    let Ok(arn) = Arn::from_str(&entry.matched_arn()) else {
        return Some(Unmatchable::NotAnIdentity);
    };
    match &arn.resource {
        Resource::Role { path, .. } if path != "/" => return Some(Unmatchable::Path),
        Resource::AssumedRole { .. } => return Some(Unmatchable::Session),
        Resource::Role { .. }
        | Resource::User { .. }
        | Resource::FederatedUser { .. }
        | Resource::Root => {}
    }
    let cluster = cluster.filter(|cluster| *cluster != arn.partition)?;
    Some(Unmatchable::OtherPartition {
        principal: arn.partition,
        cluster,
    })
}

/// Whether some caller can match the entry, as far as its text tells.
pub(crate) fn can_match(entry: &Entry) -> bool {
    unmatchable(entry, None).is_none()
}
