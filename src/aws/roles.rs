//! Which role is assumed to read the IAM of which account.

use std::collections::{BTreeMap, BTreeSet};

use crate::principal::{AccountId, Principal, PrincipalKind};

/// The placeholder of the account in a role's ARN that serves all accounts.
const ACCOUNT: &str = "{account}";

/// The roles to assume for reading the IAM of other accounts than our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamRoles {
    by_account: BTreeMap<AccountId, String>,
    template: Option<String>,
    /// What the template serves. Never any account that a mapping names: the author of a mapping would learn the external id by
    /// naming an account of their own, which then sees it in its own `CloudTrail`.
    accounts: BTreeSet<AccountId>,
    /// What the roles' trust policies may ask for (`sts:ExternalId`).
    pub external_id: Option<String>,
}

/// A value that names no role to assume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIamRole {
    /// It is not the ARN of a role.
    #[error(
        "{value:?} is not the ARN of a role to assume: write arn:aws:iam::444455556666:role/NAME for one account, or \
         arn:aws:iam::{{account}}:role/NAME with --iam-account for several"
    )]
    NotARole {
        /// The value.
        value: String,
    },
    /// There are two for the same account.
    #[error("{value:?} is the second role for {account}: specify one")]
    Twice {
        /// The second value.
        value: String,
        /// The account, or `{account}`.
        account: String,
    },
    /// A template comes without the accounts that it is for.
    #[error(
        "{value:?} has no accounts: list each one with --iam-account (IDENTITY_MAPPER_IAM_ACCOUNTS), such as --iam-account 444455556666. \
         Without the list, the author of a mapping would choose which account receives the external id"
    )]
    NoAccounts {
        /// The template.
        value: String,
    },
    /// Accounts come without a template.
    #[error(
        "--iam-account {accounts} has no role: add --iam-role arn:aws:iam::{{account}}:role/NAME too, or remove --iam-account"
    )]
    NoTemplate {
        /// The accounts, separated by commas.
        accounts: String,
    },
}

impl IamRoles {
    /// Reads ARNs of roles: each serves the account that it names, and one with `{account}` in place of the number those of
    /// `accounts` that no other does.
    pub fn parse<'a>(
        values: impl IntoIterator<Item = &'a str>,
        accounts: impl IntoIterator<Item = AccountId>,
    ) -> Result<Self, InvalidIamRole> {
        let mut roles = Self {
            accounts: accounts.into_iter().collect(),
            ..Self::default()
        };
        for value in values {
            let not_a_role = || InvalidIamRole::NotARole {
                value: value.to_owned(),
            };
            let every = value.contains(ACCOUNT);
            let example = value.replacen(ACCOUNT, "000000000000", 1);
            let role: Principal = Principal::parse(&example).map_err(|_| not_a_role())?;
            if role.kind != PrincipalKind::Role {
                return Err(not_a_role());
            }
            let account = role.account;
            if every && value.split(':').nth(4) != Some(ACCOUNT) {
                return Err(not_a_role());
            }
            let (before, account) = if every {
                let before = roles.template.replace(value.to_owned());
                (before, ACCOUNT.to_owned())
            } else {
                let before = roles.by_account.insert(account.clone(), value.to_owned());
                (before, format!("account {account}"))
            };
            if before.is_some() {
                return Err(InvalidIamRole::Twice {
                    value: value.to_owned(),
                    account,
                });
            }
        }
        match &roles.template {
            Some(template) if roles.accounts.is_empty() => Err(InvalidIamRole::NoAccounts {
                value: template.clone(),
            }),
            None if !roles.accounts.is_empty() => Err(InvalidIamRole::NoTemplate {
                accounts: roles
                    .accounts
                    .iter()
                    .map(AccountId::as_str)
                    .collect::<Vec<_>>()
                    .join(","),
            }),
            _ => Ok(roles),
        }
    }

    /// The role that was given for this very account.
    pub(super) fn of(&self, account: &AccountId) -> Option<String> {
        self.by_account.get(account).cloned()
    }

    /// The role for an account that is not our own.
    pub(super) fn elsewhere(&self, account: &AccountId) -> Option<String> {
        let template = self
            .template
            .as_ref()
            .filter(|_| self.accounts.contains(account))?;
        Some(template.replacen(ACCOUNT, account.as_str(), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(digits: &str) -> AccountId {
        digits.parse().expect("twelve digits")
    }

    #[test]
    fn a_template_serves_the_accounts_that_are_listed() {
        let (one, other) = (account("444455556666"), account("777788889999"));
        let roles = IamRoles::parse(
            [
                "arn:aws:iam::444455556666:role/audit/reader",
                "arn:aws:iam::{account}:role/identity-mapper-read",
            ],
            [other.clone()],
        )
        .expect("two roles");
        let unlisted = account("999900001111");
        assert_eq!(
            (roles.of(&unlisted), roles.elsewhere(&unlisted)),
            (None, None)
        );
        assert_eq!(
            roles.of(&one).as_deref(),
            Some("arn:aws:iam::444455556666:role/audit/reader")
        );
        assert_eq!(roles.of(&other), None);
        assert_eq!(
            roles.elsewhere(&other).as_deref(),
            Some("arn:aws:iam::777788889999:role/identity-mapper-read")
        );
        assert_eq!(IamRoles::default().elsewhere(&other), None);
    }

    #[test]
    fn what_names_no_role_is_refused() {
        for value in [
            "",
            "444455556666",
            "444455556666=arn:aws:iam::444455556666:role/r",
            "arn:aws:iam::444455556666:user/u",
            "arn:aws:iam::4444:role/r",
            "arn:aws:iam::account:role/r",
            "arn:aws:iam::444455556666:role/{account}",
            "arn:aws:iam::{account}:role/{account}",
            "arn:aws:sts::444455556666:assumed-role/r/s",
        ] {
            let error = IamRoles::parse([value], []).expect_err(value);
            assert!(error.to_string().contains("{account}"), "{error}");
        }
        let twice = [
            "arn:aws:iam::444455556666:role/a",
            "arn:aws:iam::444455556666:role/b",
        ];
        let error = IamRoles::parse(twice, []).expect_err("two for one account");
        assert_eq!(
            error.to_string(),
            "\"arn:aws:iam::444455556666:role/b\" is the second role for account 444455556666: specify one"
        );
        let twice = [
            "arn:aws:iam::{account}:role/a",
            "arn:aws:iam::{account}:role/b",
        ];
        assert!(IamRoles::parse(twice, [account("444455556666")]).is_err());
    }

    #[test]
    fn a_template_and_its_accounts_come_together() {
        let error = IamRoles::parse(["arn:aws:iam::{account}:role/a"], []).expect_err("no account");
        assert!(
            error.to_string().contains("--iam-account 444455556666"),
            "{error}"
        );
        let accounts = [account("444455556666"), account("777788889999")];
        let error = IamRoles::parse(["arn:aws:iam::444455556666:role/a"], accounts)
            .expect_err("no template");
        assert!(
            error
                .to_string()
                .starts_with("--iam-account 444455556666,777788889999 has no role"),
            "{error}"
        );
    }
}
