//! Other ways to get access than aws-auth and access entries.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::effective::{AUTHENTICATED, MASTERS};
use crate::explain::identity::Identity;
use crate::explain::scene::Explainer;
use crate::observed::Binding;

/// How the API server names a `ServiceAccount`, and the groups that each is in
/// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>).
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// Who enters the cluster by other ways than aws-auth and access entries, as far as it can be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OtherWays {
    /// The OIDC identity providers of the cluster, whose users have access too; `None`: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity_providers: Option<Vec<String>>,
    /// Administrators that no listed principal is; `None`: RBAC was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) administrators: Option<BTreeSet<OtherAdministrator>>,
}

/// A subject that is bound to cluster-admin and that IAM has no part in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OtherAdministrator {
    pub(crate) kind: OtherSubject,
    /// `namespace/name` of a `ServiceAccount`, else the name of the user or group.
    pub(crate) name: String,
    /// The `ClusterRoleBinding`.
    pub(crate) binding: String,
}

/// What a binding names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum OtherSubject {
    ServiceAccount,
    User,
    Group,
}

impl OtherSubject {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

impl fmt::Display for OtherAdministrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            name,
            binding,
        } = self;
        write!(
            f,
            "{} {name}, by ClusterRoleBinding {binding}",
            kind.as_str()
        )
    }
}

impl Explainer<'_> {
    /// The other ways in, given who has access by aws-auth and access entries.
    pub(super) fn other_ways<'i>(
        &self,
        identities: impl Iterator<Item = &'i Identity> + Clone,
    ) -> OtherWays {
        let providers = self.scene.identity_providers;
        OtherWays {
            identity_providers: providers.and_then(|read| read.as_ref().ok()).cloned(),
            administrators: self
                .scene
                .rbac
                .map(|bindings| administrators(bindings, identities)),
        }
    }

    /// What the list does not cover.
    pub(super) fn not_covered(&self) -> Vec<String> {
        let providers = match self.scene.identity_providers {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(format!(
                "the OIDC identity providers of the cluster, whose users have access too, could not be read: {why}"
            )),
            None => Some(format!(
                "the OIDC identity providers of the cluster, whose users have access too, were not read: `aws eks \
                    list-identity-provider-configs {}` lists them",
                self.on_cluster()
            )),
        };
        let certificates = "client certificates and ServiceAccount tokens give access without IAM, and their holders are not listed";
        providers
            .into_iter()
            .chain([certificates.to_owned()])
            .collect()
    }
}

fn administrators<'i>(
    bindings: &[Binding],
    identities: impl Iterator<Item = &'i Identity> + Clone,
) -> BTreeSet<OtherAdministrator> {
    let usernames: BTreeSet<&str> = identities.clone().map(|it| it.username.as_str()).collect();
    let groups: BTreeSet<&str> = identities
        .flat_map(|it| it.groups.iter().map(String::as_str))
        .collect();
    let mut found = BTreeSet::new();
    for binding in bindings.iter().filter(|binding| binding.is_cluster_admin()) {
        let mut add = |kind, name: &str| {
            found.insert(OtherAdministrator {
                kind,
                name: name.to_owned(),
                binding: binding.name.clone(),
            });
        };
        for account in &binding.service_accounts {
            add(OtherSubject::ServiceAccount, account);
        }
        for user in &binding.users {
            match user.strip_prefix(SERVICE_ACCOUNT) {
                Some(account) => add(OtherSubject::ServiceAccount, &account.replacen(':', "/", 1)),
                None if usernames.contains(user.as_str()) => {}
                None => add(OtherSubject::User, user),
            }
        }
        for group in &binding.groups {
            // The group that Kubernetes itself binds, and the one that the report lists for everyone.
            let known = [MASTERS, AUTHENTICATED].contains(&group.as_str());
            match group.strip_prefix(SERVICE_ACCOUNTS) {
                Some("") => add(OtherSubject::ServiceAccount, "every ServiceAccount"),
                Some(of) if of.starts_with(':') => {
                    add(OtherSubject::ServiceAccount, &format!("{}/*", &of[1..]));
                }
                _ if known || groups.contains(group.as_str()) => {}
                _ => add(OtherSubject::Group, group),
            }
        }
    }
    found
}
