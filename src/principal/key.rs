//! What makes two mappings the same principal.

use std::fmt;

use super::{AccountId, Partition, PrincipalKind};

/// What identifies a principal: partition, account, role or user, and the lower-cased name without path.
///
/// IAM names are unique in their account whatever their case and path, so this is never coarser than IAM; and the
/// authenticator compares ARNs without regard to case, so nothing finer could be told apart by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    partition: Partition,
    account: AccountId,
    kind: PrincipalKind,
    name: String,
}

impl Key {
    pub(super) fn new(
        partition: Partition,
        account: AccountId,
        kind: PrincipalKind,
        name: &str,
    ) -> Self {
        Self {
            partition,
            account,
            kind,
            name: name.chars().map(fold).collect(),
        }
    }

    /// The key of an ARN as it is in aws-auth; `None` where it is not the ARN of a role or user.
    ///
    /// As tolerant as the authenticator's comparison: any case, any name. A path that was left in is set aside, so that
    /// an entry that is dead for that reason is still known as that principal's.
    #[must_use]
    pub fn parse_arn(arn: &str) -> Option<Self> {
        let folded: String = arn.chars().map(fold).collect();
        let mut parts = folded.splitn(6, ':');
        let mut part = || parts.next();
        let (prefix, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        if prefix != "arn" || service != "iam" || !region.is_empty() {
            return None;
        }
        let (kind, rest) = resource.split_once('/')?;
        let kind = match kind {
            "role" => PrincipalKind::Role,
            "user" => PrincipalKind::User,
            _ => return None,
        };
        let name = rest.rsplit('/').next().filter(|name| !name.is_empty())?;
        Some(Self {
            partition: partition.parse().ok()?,
            account: account.parse().ok()?,
            kind,
            name: name.to_owned(),
        })
    }

    /// The ARN without path, in lower case.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self {
            partition,
            account,
            kind,
            name,
        } = self;
        format!("arn:{partition}:iam::{account}:{kind}/{name}")
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Role or user.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The lower-cased name, without path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}/{}",
            self.partition, self.account, self.kind, self.name
        )
    }
}

/// Lower case for ASCII, and the two other characters that Go's `strings.EqualFold` takes for an ASCII letter.
const fn fold(c: char) -> char {
    match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_arns_as_they_stand() {
        for (arn, key) in [
            (
                "arn:aws:iam::111122223333:role/Admin",
                Some("aws:111122223333:role/admin"),
            ),
            (
                "arn:aws:iam::111122223333:role/team/a/Admin",
                Some("aws:111122223333:role/admin"),
            ),
            (
                "ARN:AWS:IAM::111122223333:ROLE/ADMIN",
                Some("aws:111122223333:role/admin"),
            ),
            (
                "arn:aws:iam::111122223333:role/\u{212a}it\u{17f}",
                Some("aws:111122223333:role/kits"),
            ),
            (
                "arn:aws:iam::111122223333:role/wild*",
                Some("aws:111122223333:role/wild*"),
            ),
            (
                "arn:aws:iam::111122223333:role/a:b",
                Some("aws:111122223333:role/a:b"),
            ),
            (
                "arn:aws-cn:iam::111122223333:user/div/Bob",
                Some("aws-cn:111122223333:user/bob"),
            ),
            ("arn:aws:iam::111122223333:role/", None),
            ("arn:aws:iam::111122223333:role/path/", None),
            ("arn:aws:iam::111122223333:role", None),
            ("arn:aws:iam::111122223333:root", None),
            ("arn:aws:iam::111122223333:group/admins", None),
            ("arn:aws:iam:eu-west-1:111122223333:role/Admin", None),
            ("arn:aws:sts::111122223333:assumed-role/Admin/me", None),
            ("arn:aws:iam::1111:role/Admin", None),
            ("arn:other:iam::111122223333:role/Admin", None),
            (" arn:aws:iam::111122223333:role/Admin", None),
            ("role/Admin", None),
            ("", None),
        ] {
            assert_eq!(
                Key::parse_arn(arn).map(|key| key.to_string()).as_deref(),
                key,
                "{arn}"
            );
        }
    }
}
