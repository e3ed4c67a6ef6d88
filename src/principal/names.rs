//! Names for the principals of one list: as short as [`short_principal`] has them, and no two the same.

use std::collections::{BTreeMap, BTreeSet};

use super::short::{labelled, middle};
use super::{AccountId, Arn, Principal, Resource, short_principal};

/// How much of an ARN a name has. A name that another principal of the list has too gets more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// `role/Dev`, `sso/Admin`.
    Name,
    /// With a role's path, or with the suffix of a permission set's role, which changes when the role is recreated.
    Suffix,
    /// With the path and the name as IAM has them.
    Path,
    Arn,
}

impl Detail {
    const fn more(self) -> Option<Self> {
        match self {
            Self::Name => Some(Self::Suffix),
            Self::Suffix => Some(Self::Path),
            Self::Path => Some(Self::Arn),
            Self::Arn => None,
        }
    }
}

/// The names of the principals of a list.
#[derive(Clone, Debug, Default)]
pub struct PrincipalNames {
    /// The account that names leave out.
    own: Option<AccountId>,
    /// Those of the list; `None`: every name is the ARN.
    details: Option<BTreeMap<String, Detail>>,
    /// Whether a name leaves out the account.
    is_account_left_out: bool,
}

impl PrincipalNames {
    /// Short names for these ARNs. What is no ARN of an identity is its own name. Without an account of the cluster, the most frequent
    /// one of the list is left out of names.
    #[must_use]
    pub fn short<'a>(arns: impl IntoIterator<Item = &'a str>, cluster: Option<AccountId>) -> Self {
        let arns: BTreeSet<&str> = arns.into_iter().collect();
        let accounts = accounts(&arns);
        let own = cluster.or_else(|| {
            let most = accounts.iter().max_by_key(|(_, count)| **count);
            most.map(|(account, _)| account.clone())
        });
        let mut details: BTreeMap<&str, Detail> =
            arns.into_iter().map(|arn| (arn, Detail::Name)).collect();
        loop {
            let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (arn, detail) in &details {
                let name = name(arn, own.as_ref(), *detail, usize::MAX);
                named.entry(name).or_default().push(arn);
            }
            let mut is_settled = true;
            for arn in named.into_values().filter(|it| it.len() > 1).flatten() {
                if let Some(detail) = details.get_mut(arn)
                    && let Some(more) = detail.more()
                {
                    *detail = more;
                    is_settled = false;
                }
            }
            if is_settled {
                break;
            }
        }
        let details = details.into_iter();
        Self {
            is_account_left_out: own.as_ref().is_some_and(|own| accounts.contains_key(own)),
            own,
            details: Some(details.map(|(arn, it)| (arn.to_owned(), it)).collect()),
        }
    }

    /// The ARNs themselves.
    #[must_use]
    pub fn in_full() -> Self {
        Self::default()
    }

    /// The account that names leave out, if any name does.
    #[must_use]
    pub fn common_account(&self) -> Option<&AccountId> {
        self.own.as_ref().filter(|_| self.is_account_left_out)
    }

    /// The name of a principal of the list.
    #[must_use]
    pub fn name(&self, arn: &str) -> String {
        self.fit(arn, usize::MAX)
    }

    /// The same in `width` characters. Names that differ only in what is left out are then the same.
    #[must_use]
    pub fn fit(&self, arn: &str, width: usize) -> String {
        let Some(details) = &self.details else {
            return middle(arn, width);
        };
        let detail = details.get(arn).copied().unwrap_or(Detail::Arn);
        name(arn, self.own.as_ref(), detail, width)
    }
}

/// The accounts of the ARNs, and of how many each is.
fn accounts(arns: &BTreeSet<&str>) -> BTreeMap<AccountId, usize> {
    let mut accounts = BTreeMap::new();
    for arn in arns.iter().filter_map(|arn| arn.parse::<Arn>().ok()) {
        *accounts.entry(arn.account).or_default() += 1;
    }
    accounts
}

fn name(arn: &str, own: Option<&AccountId>, detail: Detail, width: usize) -> String {
    let parsed = arn.parse::<Arn>().ok().filter(|_| detail != Detail::Arn);
    let Some(parsed) = parsed else {
        return middle(arn, width);
    };
    let account = parsed.account.clone();
    let label = |kind: &str, name: &str| labelled(kind, name, &account, own, width);
    match &parsed.resource {
        Resource::Root => return label("", "root"),
        Resource::FederatedUser { name } => return label("federated-user/", name),
        Resource::AssumedRole { role, session } => {
            return label("assumed-role/", &format!("{role}/{session}"));
        }
        Resource::Role { .. } | Resource::User { .. } => {}
    }
    let Ok(principal) = Principal::try_from(parsed) else {
        return middle(arn, width);
    };
    let sso = principal.sso().filter(|_| detail == Detail::Suffix);
    match (detail, sso) {
        (Detail::Name, _) => short_principal(&principal, own, width),
        (_, Some(role)) => label("sso/", &format!("{}_{}", role.permission_set, role.suffix)),
        (_, None) => {
            let path = principal.path.trim_start_matches('/');
            label(
                &format!("{}/", principal.kind),
                &format!("{path}{}", principal.name),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn named(arns: &[&str]) -> String {
        let names = PrincipalNames::short(arns.iter().copied(), None);
        let lines = arns.iter().map(|arn| names.name(arn) + "\n");
        let own = names.common_account();
        lines.collect::<String>() + &own.map_or_else(|| "-".to_owned(), ToString::to_string)
    }

    #[test]
    fn names_have_as_much_as_tells_them_apart() {
        assert_snapshot!(named(&[
            "arn:aws:iam::111122223333:role/Dev",
            "arn:aws:iam::111122223333:role/team/Ops",
            "arn:aws:iam::111122223333:user/people/ann",
            "arn:aws:iam::444455556666:role/Dev",
            "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef",
            "arn:aws:iam::111122223333:root",
            "arn:aws:sts::111122223333:assumed-role/Dev/ann",
            "arn:aws:iam::1:role/Dev",
        ]), @"
        role/Dev
        role/Ops
        user/ann
        role/Dev (444455556666)
        sso/Admin
        root
        assumed-role/Dev/ann
        arn:aws:iam::1:role/Dev
        111122223333
        ");
        assert_snapshot!(named(&[
            "arn:aws:iam::111122223333:role/Dev",
            "arn:aws:iam::111122223333:role/team/Dev",
            "arn:aws-cn:iam::111122223333:role/Dev",
            "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef",
            "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_fedcba9876543210",
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_fedcba9876543210",
        ]), @"
        arn:aws:iam::111122223333:role/Dev
        role/team/Dev
        arn:aws-cn:iam::111122223333:role/Dev
        sso/Admin_0123456789abcdef
        role/AWSReservedSSO_Admin_fedcba9876543210
        role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_fedcba9876543210
        111122223333
        ");
        assert_eq!(named(&["*"]), "*\n-");
    }

    proptest! {
        #[test]
        fn no_two_principals_have_one_name(
            arns in prop::collection::btree_set(
                "(arn:aws(-cn)?:iam::(111122223333|444455556666):(role|user)/(a/|b/)?(a|b|AWSReservedSSO_a_0123456789abcde[0-2])|sso/a|\\PC{0,4})",
                1..20,
            )
        ) {
            let names = PrincipalNames::short(arns.iter().map(String::as_str), None);
            let named: BTreeSet<String> = arns.iter().map(|arn| names.name(arn)).collect();
            prop_assert_eq!(named.len(), arns.len(), "{:?}", named);
            for arn in &arns {
                prop_assert!(names.fit(arn, 30).chars().count() <= 30);
            }
        }
    }
}
