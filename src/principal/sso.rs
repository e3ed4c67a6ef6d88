//! The roles that IAM Identity Center makes for permission sets.

use super::{Key, PrincipalKind};

/// The path under which IAM Identity Center keeps its roles. A region segment may follow it: there is none where the
/// Identity Center instance lives in us-east-1 (IAM Identity Center user guide, *Referencing permission sets*).
pub const SSO_PATH: &str = "/aws-reserved/sso.amazonaws.com/";

const NAME_PREFIX: &str = "AWSReservedSSO_";
const SUFFIX_LENGTH: usize = 16;
/// The longest name of a permission set (SSO admin API, `CreatePermissionSet`): with prefix, underscore and suffix it
/// makes IAM's 64 characters of a role name.
const SET_LENGTH: usize = 32;

/// The name of a role that IAM Identity Center made, taken apart: `AWSReservedSSO_<permission set>_<suffix>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SsoRole {
    /// The exact name of the permission set, 1 to 32 characters; it may itself hold underscores.
    pub permission_set: String,
    /// The 16 lower-case hexadecimal digits that change whenever the role is made anew.
    pub suffix: String,
}

impl SsoRole {
    /// Takes a role's name (without path) apart; `None` where it is not such a name.
    ///
    /// The suffix is taken from the end, because names of permission sets may hold underscores: in
    /// `AWSReservedSSO_Admin_ReadOnly_0123456789abcdef` the set is `Admin_ReadOnly`.
    #[must_use]
    pub fn parse_name(name: &str) -> Option<Self> {
        let (permission_set, suffix) = name.strip_prefix(NAME_PREFIX)?.rsplit_once('_')?;
        let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let well_formed = suffix.len() == SUFFIX_LENGTH
            && suffix.bytes().all(is_hex)
            && (1..=SET_LENGTH).contains(&permission_set.len())
            && permission_set.bytes().all(super::arn::is_name_byte);
        well_formed.then(|| Self {
            permission_set: permission_set.to_owned(),
            suffix: suffix.to_owned(),
        })
    }

    /// The role's name, as [`SsoRole::parse_name`] takes it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{NAME_PREFIX}{}_{}", self.permission_set, self.suffix)
    }
}

/// Whether the role has such a name, wherever it was written: names of keys are lower-cased.
#[must_use]
pub(crate) fn is_of_sso(key: &Key) -> bool {
    let rest = key.name().strip_prefix("awsreservedsso_");
    let parts = rest.and_then(|rest| rest.rsplit_once('_'));
    key.kind() == PrincipalKind::Role
        && parts.is_some_and(|(set, suffix)| {
            SsoRole::parse_name(&format!("{NAME_PREFIX}{set}_{suffix}")).is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_from_the_end() {
        for (name, set) in [
            (
                "AWSReservedSSO_AdministratorAccess_0123456789abcdef",
                "AdministratorAccess",
            ),
            (
                "AWSReservedSSO_Admin_ReadOnly_0123456789abcdef",
                "Admin_ReadOnly",
            ),
            ("AWSReservedSSO__0123456789abcdef", ""),
            (
                "AWSReservedSSO_a+b=c,d.e@f-g_0123456789abcdef",
                "a+b=c,d.e@f-g",
            ),
            (
                "AWSReservedSSO_x_0123456789abcdef_fedcba9876543210",
                "x_0123456789abcdef",
            ),
            (
                "AWSReservedSSO_12345678901234567890123456789012_0123456789abcdef",
                "12345678901234567890123456789012",
            ),
        ] {
            let parsed = SsoRole::parse_name(name);
            if set.is_empty() {
                assert_eq!(parsed, None, "{name}");
                continue;
            }
            let parsed = parsed.unwrap_or_else(|| panic!("{name} is a name of an SSO role"));
            assert_eq!(parsed.permission_set, set);
            assert_eq!(parsed.name(), name);
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "",
            "AWSReservedSSO_",
            "AWSReservedSSO_Admin",
            "AWSReservedSSO_0123456789abcdef",
            "AWSReservedSSO_Admin_0123456789abcde",
            "AWSReservedSSO_Admin_0123456789abcdef0",
            "AWSReservedSSO_Admin_0123456789ABCDEF",
            "AWSReservedSSO_Admin_0123456789abcdeg",
            "AWSReservedSSO_123456789012345678901234567890123_0123456789abcdef",
            "AWSReservedSSO_Ad min_0123456789abcdef",
            "awsreservedsso_Admin_0123456789abcdef",
            "role/AWSReservedSSO_Admin_0123456789abcdef",
        ] {
            assert_eq!(SsoRole::parse_name(name), None, "{name}");
        }
    }
}
