//! Builds mappings: a spec for the current state, checked to have exactly the same effect.

use crate::api::v1alpha1::{
    AccessPolicy, AccessScope, Adoption, BackendChoice, Deletion, EntryType, IdentityMappingSpec,
    PrincipalSpec, ScopeType,
};
use crate::api::{IdentityMapping, check};
use crate::desired::{Mapping, Spec};
use crate::import::imported::{Imported, Origin};
use crate::principal::Principal;

/// A mapping that has no name yet.
pub(super) struct Draft {
    pub(super) principal: Principal,
    /// The name that it had before.
    pub(super) name: Option<String>,
    pub(super) spec: IdentityMappingSpec,
    pub(super) comments: Vec<String>,
    pub(super) origin: Origin,
    pub(super) notes: Vec<String>,
}

impl Draft {
    pub(super) fn named(self, name: &str) -> Imported {
        Imported {
            object: IdentityMapping::new(name, self.spec),
            comments: self.comments,
            origin: self.origin,
            notes: self.notes,
        }
    }
}

/// A spec for a principal, with the defaults of all else.
pub(super) fn spec(principal: &Principal, type_: EntryType) -> IdentityMappingSpec {
    IdentityMappingSpec {
        principal: PrincipalSpec {
            arn: Some(principal.arn()),
            permission_set: None,
        },
        username: None,
        groups: Vec::new(),
        access_policies: Vec::new(),
        type_,
        backend: BackendChoice::Auto,
        adoption: Adoption::IfIdentical,
        deletion: Deletion::Revoke,
        valid_until: None,
        suspend: false,
    }
}

/// What the planner makes of a spec, if the API server takes it.
pub(super) fn parsed(spec: &IdentityMappingSpec) -> Result<Spec, String> {
    let object = IdentityMapping::new("", spec.clone());
    let parsed = Mapping::from_object(&object)
        .spec
        .map_err(|refusal| refusal.message);
    if parsed.is_ok() && surely_accepted(spec) {
        return parsed;
    }
    match check(&object) {
        Ok(()) => parsed,
        Err(violations) => {
            let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
            Err(violations.join("; "))
        }
    }
}

/// Whether the API server takes a spec of ours that parses, told without its rules, which cost a millisecond each time.
fn surely_accepted(spec: &IdentityMappingSpec) -> bool {
    let name = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        (1..=128).contains(&text.len()) && text.bytes().all(fits)
    };
    let namespace = |text: &String| {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'*' | b'-')
        };
        (1..=63).contains(&text.len()) && text.bytes().all(fits)
    };
    let scope = |scope: &AccessScope| match scope.type_ {
        ScopeType::Cluster => scope.namespaces.is_empty(),
        ScopeType::Namespace => {
            (1..=50).contains(&scope.namespaces.len())
                && !repeats(&scope.namespaces)
                && scope.namespaces.iter().all(namespace)
        }
    };
    let policy = |policy: &AccessPolicy| name(&policy.policy) && scope(&policy.scope);
    let policies = || spec.access_policies.iter().map(|policy| &policy.policy);
    spec.username
        .as_ref()
        .is_none_or(|username| username.len() <= 256)
        && spec.groups.len() <= 50
        && spec.groups.iter().all(|group| group.len() <= 256)
        && !repeats(&spec.groups)
        && spec.access_policies.len() <= 20
        && spec.access_policies.iter().all(policy)
        && !repeats(&policies().cloned().collect::<Vec<_>>())
        && (spec.access_policies.is_empty()
            || matches!(spec.type_, EntryType::Standard | EntryType::EC2))
}

fn repeats(items: &[String]) -> bool {
    let repeated = |(at, item): (usize, &String)| items[..at].contains(item);
    items.iter().enumerate().any(repeated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn specs() -> impl Strategy<Value = IdentityMappingSpec> {
        let name = "[a-z*A-Z_.+/-]{0,3}";
        let groups = prop::collection::vec("(system:)?[a-c]{0,2}(\\{\\{SessionName\\}\\})?", 0..4);
        let policies = prop::collection::vec(
            (name, any::<bool>(), prop::collection::vec(name, 0..3)),
            0..3,
        );
        let types = prop::sample::select(vec![
            EntryType::Standard,
            EntryType::EC2Linux,
            EntryType::EC2,
            EntryType::HybridLinux,
        ]);
        let username = prop::option::of("[a{}: ]{0,4}");
        (name, any::<bool>(), username, groups, policies, types).prop_map(
            |(name, user, username, groups, policies, type_)| {
                let kind = if user { "user" } else { "role" };
                let arn = format!("arn:aws:iam::111122223333:{kind}/{name}");
                let anyone = Principal::parse("arn:aws:iam::111122223333:role/a").expect("a role");
                let policy = |(policy, cluster, namespaces)| AccessPolicy {
                    policy,
                    scope: AccessScope {
                        type_: if cluster {
                            ScopeType::Cluster
                        } else {
                            ScopeType::Namespace
                        },
                        namespaces,
                    },
                };
                IdentityMappingSpec {
                    principal: PrincipalSpec {
                        arn: Some(arn),
                        permission_set: None,
                    },
                    username,
                    groups,
                    access_policies: policies.into_iter().map(policy).collect(),
                    ..spec(&anyone, type_)
                }
            },
        )
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn what_is_surely_accepted_the_api_server_takes(spec in specs()) {
            let object = IdentityMapping::new("", spec.clone());
            if Mapping::from_object(&object).spec.is_ok() && surely_accepted(&spec) {
                prop_assert_eq!(check(&object), Ok(()), "{:?}", spec);
            }
        }
    }
}
