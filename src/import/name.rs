//! Names of mappings. A name depends only on the principal, so it does not change if other principals are added or removed.
//!
//! A name is the principal's own in lower case, with what tells it apart behind dots, which no such name has in its first part:
//! `ci-deployer`, `maria.user`, `observability.444455556666`. A role of a permission set is the set's name with the first six digits of
//! the role's suffix: `platformadmin.sso-012345`. What a name of Kubernetes can't hold becomes a hyphen, and eight digits of a hash behind
//! it keep two such principals apart: `j-doe.user.5fe6d574`.

use std::collections::BTreeSet;

use crate::ownership::KeyHash;
use crate::principal::{AccountId, Key, Partition, Principal, PrincipalKind, SsoRole};

/// The digits of a role's suffix in the name of a mapping.
const SUFFIX_DIGITS: usize = 6;
/// The digits of a hash.
const HASH_DIGITS: usize = 8;
/// The longest name of an object (RFC 1123 subdomain,
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>).
const LONGEST: usize = 253;

/// The account that most principals are of, which names leave out.
pub(super) type Home = (Partition, AccountId);

/// The name that a principal's mapping gets where nobody else has it; `home` is the account that names leave out.
#[must_use]
pub fn mapping_name(principal: &Principal, home: Option<(Partition, AccountId)>) -> String {
    Names::new(home, BTreeSet::new()).spelt(principal, &principal.key())
}

/// Gives names that nobody else has.
pub(super) struct Names {
    home: Option<Home>,
    taken: BTreeSet<String>,
}

impl Names {
    /// Names for principals seen from this account; `taken` are those of mappings that exist already.
    pub(super) fn new(home: Option<Home>, taken: BTreeSet<String>) -> Self {
        Self { home, taken }
    }

    /// Takes a name as it is, if it can be one and nobody has it.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        (is_name(name) && self.taken.insert(name.to_owned())).then(|| name.to_owned())
    }

    /// The name for a principal.
    pub(super) fn of(&mut self, principal: &Principal) -> String {
        let key = principal.key();
        let name = self.spelt(principal, &key);
        if self.taken.insert(name.clone()) {
            return name;
        }
        let hash = KeyHash::of(&key);
        // Only a mapping that was named by hand, or a hash that two share, comes this far.
        let longer = [HASH_DIGITS, hash.as_str().len()].map(|digits| &hash.as_str()[..digits]);
        let others = longer.iter().map(|hash| format!("{name}.{hash}"));
        let counted = (2_u64..).map(|count| format!("{name}.{}.{count}", hash.as_str()));
        let mut all = others.chain(counted);
        all.find(|name| self.taken.insert(name.clone()))
            .unwrap_or(name)
    }

    fn spelt(&self, principal: &Principal, key: &Key) -> String {
        let sso = principal.sso();
        let (base, exact) = slug(
            &sso.as_ref()
                .map_or_else(|| key.name().to_owned(), |sso| lower(&sso.permission_set)),
        );
        let mut labels = vec![base];
        if principal.kind == PrincipalKind::User {
            labels.push("user".to_owned());
        }
        labels
            .extend(sso.map(|SsoRole { suffix, .. }| format!("sso-{}", &suffix[..SUFFIX_DIGITS])));
        let home = self.home.as_ref();
        let own_partition = home.map_or(Partition::Aws, |(partition, _)| *partition);
        if home != Some(&(principal.partition, principal.account.clone())) {
            labels.push(principal.account.to_string());
            if principal.partition != own_partition {
                labels.push(principal.partition.to_string());
            }
        }
        if !exact {
            labels.push(KeyHash::of(key).as_str()[..HASH_DIGITS].to_owned());
        }
        labels.join(".")
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The name with hyphens for all that a label can't hold, and whether it is the name still.
fn slug(name: &str) -> (String, bool) {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let replaced: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let trimmed = replaced.trim_matches('-');
    let exact = trimmed == name;
    match trimmed {
        "" => ("principal".to_owned(), false),
        trimmed => (trimmed.to_owned(), exact),
    }
}

/// Whether the API server takes it as the name of an object.
fn is_name(name: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes
            .iter()
            .all(|byte| is_alphanumeric(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| is_alphanumeric(*byte))
            && bytes.last().is_some_and(|byte| is_alphanumeric(*byte))
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn home() -> Home {
        (Partition::Aws, "111122223333".parse().expect("an account"))
    }

    fn name(home: Option<Home>, arn: &str) -> String {
        let principal = Principal::parse(arn).expect("a principal");
        Names::new(home, BTreeSet::new()).of(&principal)
    }

    #[test]
    fn names_say_whom_they_are_for() {
        for (arn, expected) in [
            ("arn:aws:iam::111122223333:role/ci-deployer", "ci-deployer"),
            ("arn:aws:iam::111122223333:role/teams/data/Reader", "reader"),
            ("arn:aws:iam::111122223333:user/people/maria", "maria.user"),
            (
                "arn:aws:iam::444455556666:role/observability",
                "observability.444455556666",
            ),
            (
                "arn:aws-cn:iam::111122223333:role/a",
                "a.111122223333.aws-cn",
            ),
            (
                "arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef",
                "platformadmin.sso-012345",
            ),
            (
                "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_PlatformAdmin_0123456789abcdef",
                "platformadmin.sso-012345",
            ),
            (
                "arn:aws:iam::111122223333:user/j.doe@example.com",
                "j-doe-example-com.user.841c59c8",
            ),
            ("arn:aws:iam::111122223333:role/a_b", "a-b.5a1847a3"),
            ("arn:aws:iam::111122223333:role/a+b", "a-b.7e380e3c"),
            ("arn:aws:iam::111122223333:role/-a-", "a.a1e401a1"),
            ("arn:aws:iam::111122223333:role/++", "principal.1a8df6c1"),
        ] {
            assert_eq!(name(Some(home()), arn), expected, "{arn}");
        }
        assert_eq!(
            name(None, "arn:aws:iam::111122223333:role/a"),
            "a.111122223333"
        );
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_again() {
        let principal = Principal::parse("arn:aws:iam::111122223333:role/a").expect("a principal");
        let mut names = Names::new(Some(home()), BTreeSet::from(["a".to_owned()]));
        let given: Vec<String> = (0..4).map(|_| names.of(&principal)).collect();
        let unique: BTreeSet<&String> = given.iter().collect();
        assert_eq!(unique.len(), 4, "{given:?}");
        assert!(given.iter().all(|name| is_name(name) && name != "a"));
    }

    #[test]
    fn only_names_of_objects_are_taken_over() {
        let mut names = Names::new(None, BTreeSet::new());
        for (name, taken) in [
            ("a", true),
            ("a", false),
            ("a.b-c", true),
            ("A", false),
            ("-a", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(names.take(name).is_some(), taken, "{name}");
        }
        assert_eq!(names.take(&"a".repeat(254)), None);
    }

    fn principals() -> impl Strategy<Value = Vec<Principal>> {
        let one = (
            any::<bool>(),
            0..2_usize,
            0..2_usize,
            "[aAbB._+=,@-]{1,4}",
            any::<bool>(),
        );
        let principal =
            |(user, account, partition, name, sso): (bool, usize, usize, String, bool)| Principal {
                partition: [Partition::Aws, Partition::AwsCn][partition],
                account: ["111122223333", "444455556666"][account]
                    .parse()
                    .expect("an account"),
                kind: if user {
                    PrincipalKind::User
                } else {
                    PrincipalKind::Role
                },
                path: "/".to_owned(),
                name: if sso {
                    format!("AWSReservedSSO_{name}_0123456789abcdef")
                } else {
                    name
                },
            };
        prop::collection::vec(one.prop_map(principal), 1..40)
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn two_principals_never_share_a_name_and_others_change_none(principals in principals()) {
            let mut by_name = std::collections::BTreeMap::new();
            for principal in &principals {
                let name = Names::new(Some(home()), BTreeSet::new()).of(principal);
                prop_assert!(is_name(&name), "{}", name);
                let before = by_name.insert(name.clone(), principal.key());
                prop_assert!(before.is_none_or(|key| key == principal.key()), "{} is given twice", name);
            }
        }
    }
}
