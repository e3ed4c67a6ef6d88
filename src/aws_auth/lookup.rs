//! The authenticator's lookup: which identity a caller gets from the entries that were read.

use super::{Document, Entry, Index};

/// The entry that the authenticator finds for a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// An entry of `mapRoles`.
    Role(&'a Entry),
    /// An entry of `mapUsers`.
    User(&'a Entry),
    /// Entries of `mapUsers` whose ARNs differ in case only: the authenticator picks one at random at each login.
    AmbiguousUser(Vec<&'a Entry>),
    /// No entry, but the caller's account is in `mapAccounts`: the username is the caller's ARN, without groups.
    Account,
    /// The caller has no access.
    None,
}

impl Document {
    /// Looks up a caller by its canonical ARN, in which an assumed-role session is its role.
    ///
    /// As `pkg/mapper/configmap/mapper.go` does it: `mapRoles` first, keyed by the lower-cased ARN, the last duplicate
    /// wins; then `mapUsers`, keyed by the ARN as written; then the caller's account in `mapAccounts`. ARNs are
    /// compared with `strings.EqualFold`.
    #[must_use]
    pub fn lookup(&self, canonical_arn: &str) -> Lookup<'_> {
        Index::new(self).lookup(canonical_arn)
    }
}

/// Folds an ARN so that two are equal exactly if Go's `strings.EqualFold` holds them equal.
///
/// Among the characters of an ARN that IAM accepts this is lower-casing. Beyond ASCII, characters fold to the least
/// character of their simple case-folding orbit as far as lower-casing an upper-casing finds it.
#[must_use]
pub fn fold_arn(arn: &str) -> String {
    if arn.is_ascii() {
        return arn.to_ascii_lowercase();
    }
    arn.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let single = |mut i: std::char::ToLowercase| match (i.next(), i.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    };
    let mut upper = c.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    };
    single(upper.to_lowercase()).unwrap_or(c)
}
