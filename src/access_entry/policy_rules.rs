//! What AWS's access policies allow, as the EKS user guide publishes it: `access-policies.json`, with its address and date.
//!
//! The rules are read as those of RBAC, which they are alike (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>). Of a
//! policy that is not in the table nothing is known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::time::Timestamp;

const FILE: &str = include_str!("access-policies.json");
/// The policies that AWS reserves for its own services: EKS refuses to associate them with anything but service-linked roles
/// (`source` of the table, in the notes of each).
const OF_SERVICES: [&str; 6] = [
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterInsightsPolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSHybridPolicy",
];

/// Whether only service-linked roles can have a policy.
#[must_use]
pub(crate) fn is_service_policy(policy: &str) -> bool {
    OF_SERVICES.contains(&policy)
}

/// AWS adds policies and changes rules: a table older than this says so.
const OLD_AFTER: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The published rules.
#[derive(Debug, Deserialize)]
pub(crate) struct PolicyTable {
    /// Where they are published.
    pub(crate) source: String,
    /// The day of their state.
    pub(crate) read: String,
    policies: BTreeMap<String, Vec<PolicyRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyRule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    verbs: Vec<String>,
}

/// What somebody wants to do, as a rule may allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyRequest<'a> {
    /// On a path that is no resource's, such as `/metrics`.
    Path { verb: &'a str, path: &'a str },
    Resource {
        verb: &'a str,
        group: &'a str,
        /// With the subresource behind a slash.
        resource: &'a str,
    },
}

/// What a policy covers, in the parts that people ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) custom_resources: Reach,
    pub(crate) nodes: Reach,
    pub(crate) secrets: Reach,
    pub(crate) rbac: Reach,
}

/// How far a policy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Read,
    Write,
}

static TABLE: LazyLock<PolicyTable> = LazyLock::new(|| match serde_json::from_str(FILE) {
    Ok(table) => table,
    // A test reads the file, which is part of the program.
    Err(error) => unreachable!("access-policies.json: {error}"),
});

impl PolicyTable {
    #[must_use]
    pub(crate) fn published() -> &'static Self {
        &TABLE
    }

    /// The policies whose rules are published.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }

    /// The policy that a name is a slip of; `None` for one that exists, or that is like none.
    pub(crate) fn misspelled(&self, policy: &str) -> Option<&str> {
        let plain = |name: &str| {
            let name = name.to_ascii_lowercase();
            let name = name.strip_prefix("amazoneks").unwrap_or(&name);
            name.strip_suffix("policy").unwrap_or(name).to_owned()
        };
        if self.is_known(policy) {
            return None;
        }
        let written = plain(policy);
        let whole = policy.to_ascii_lowercase();
        // A slip can be in what all names have in common.
        let distance = |known: &&str| {
            let by_name = strsim::osa_distance(&plain(known), &written);
            by_name.min(strsim::osa_distance(&known.to_ascii_lowercase(), &whole))
        };
        let nearest = self.names().min_by_key(distance)?;
        (distance(&nearest) <= 1).then_some(nearest)
    }

    /// Whether AWS had a policy of this name when the table was made.
    pub(crate) fn is_known(&self, policy: &str) -> bool {
        is_service_policy(policy) || self.policies.contains_key(policy)
    }

    /// Whether a policy allows something where it holds; `None`: its rules are not known.
    #[must_use]
    pub(crate) fn allows(&self, policy: &str, wish: PolicyRequest<'_>) -> Option<bool> {
        let rules = self.policies.get(policy)?;
        Some(rules.iter().any(|rule| rule.allows(wish)))
    }

    /// What a policy covers; `None`: its rules are not known.
    #[must_use]
    pub(crate) fn coverage(&self, policy: &str) -> Option<Coverage> {
        self.policies.get(policy)?;
        let reach = |group: &str, resource: &str| {
            let may = |verb| {
                self.allows(
                    policy,
                    PolicyRequest::Resource {
                        verb,
                        group,
                        resource,
                    },
                ) == Some(true)
            };
            match (may("create") || may("delete"), may("list")) {
                (true, _) => Reach::Write,
                (false, true) => Reach::Read,
                (false, false) => Reach::Nothing,
            }
        };
        Some(Coverage {
            custom_resources: reach("any.example.com", "anythings"),
            nodes: reach("", "nodes"),
            secrets: reach("", "secrets"),
            rbac: reach("rbac.authorization.k8s.io", "roles"),
        })
    }

    /// Whether the table is so old that AWS may have changed much since.
    #[must_use]
    pub(crate) fn is_old(&self, now: Timestamp) -> bool {
        self.day()
            .is_none_or(|read| now.duration_since(read) > OLD_AFTER)
    }

    fn day(&self) -> Option<Timestamp> {
        format!("{}T00:00:00Z", self.read).parse().ok()
    }

    /// Where the rules are from, and that they are old where they are.
    #[must_use]
    pub(crate) fn origin(&self, now: Timestamp) -> String {
        let old = if self.is_old(now) {
            format!(", more than a year old; compare {}", self.source)
        } else {
            String::new()
        };
        format!("AWS's rules of {}{old}", self.read)
    }

    /// What a policy does not cover of what people expect, or that it is not known; `None`: it covers everything.
    #[must_use]
    pub(crate) fn limits(&self, policy: &str) -> Option<String> {
        let Some(coverage) = self.coverage(policy) else {
            return Some(format!(
                "what {policy} allows is not in the published rules"
            ));
        };
        let parts = [
            (coverage.custom_resources, "custom resources"),
            (coverage.nodes, "nodes"),
            (coverage.secrets, "Secrets"),
            (coverage.rbac, "Roles and RoleBindings"),
        ];
        if parts.iter().all(|(reach, _)| *reach == Reach::Write) {
            return None;
        }
        if parts.iter().all(|(reach, _)| *reach == Reach::Read) {
            return Some(format!(
                "{policy} reads everything, Secrets included, and changes nothing"
            ));
        }
        let missing = parts.iter().filter(|(reach, _)| *reach == Reach::Nothing);
        let missing: Vec<&str> = missing.map(|(_, what)| *what).collect();
        Some(format!("{policy} does not cover {}", missing.join(", ")))
    }
}

impl PolicyRule {
    fn allows(&self, wish: PolicyRequest<'_>) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|it| it == "*" || it == one);
        match wish {
            PolicyRequest::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| covers(url, path))
            }
            PolicyRequest::Resource {
                verb,
                group,
                resource,
            } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && has(&self.resources, resource)
            }
        }
    }
}

/// A URL of a rule may end in `*`.
fn covers(url: &str, path: &str) -> bool {
    match url.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => url == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &str, verb: &str, group: &str, resource: &str) -> Option<bool> {
        let wish = PolicyRequest::Resource {
            verb,
            group,
            resource,
        };
        PolicyTable::published().allows(policy, wish)
    }

    #[test]
    fn published_rules_answer_what_people_ask() {
        let table = PolicyTable::published();
        assert!(table.source.starts_with("https://docs.aws.amazon.com/"));
        for (policy, verb, group, resource, expected) in [
            (
                "AmazonEKSClusterAdminPolicy",
                "delete",
                "",
                "nodes",
                Some(true),
            ),
            (
                "AmazonEKSClusterAdminPolicy",
                "create",
                "x.example.com",
                "widgets/status",
                Some(true),
            ),
            (
                "AmazonEKSAdminViewPolicy",
                "list",
                "",
                "secrets",
                Some(true),
            ),
            (
                "AmazonEKSAdminViewPolicy",
                "delete",
                "",
                "nodes",
                Some(false),
            ),
            (
                "AmazonEKSAdminViewPolicy",
                "get",
                "x.example.com",
                "widgets",
                Some(true),
            ),
            (
                "AmazonEKSAdminPolicy",
                "create",
                "rbac.authorization.k8s.io",
                "roles",
                Some(true),
            ),
            ("AmazonEKSAdminPolicy", "list", "", "nodes", Some(false)),
            ("AmazonEKSEditPolicy", "create", "", "pods/exec", Some(true)),
            (
                "AmazonEKSEditPolicy",
                "create",
                "rbac.authorization.k8s.io",
                "roles",
                Some(false),
            ),
            (
                "AmazonEKSEditPolicy",
                "list",
                "x.example.com",
                "widgets",
                Some(false),
            ),
            ("AmazonEKSEditPolicy", "get", "", "pods/log", Some(true)),
            ("AmazonEKSViewPolicy", "get", "", "secrets", Some(false)),
            (
                "AmazonEKSViewPolicy",
                "get",
                "apps",
                "deployments",
                Some(true),
            ),
            ("AmazonEKSViewPolicy", "get", "", "deployments", Some(false)),
            (
                "AmazonEKSSecretReaderPolicy",
                "get",
                "",
                "secrets",
                Some(true),
            ),
            (
                "AmazonEKSSecretReaderPolicy",
                "get",
                "",
                "pods",
                Some(false),
            ),
            ("AmazonEKSACKPolicy", "get", "", "pods", None),
        ] {
            let found = allows(policy, verb, group, resource);
            assert_eq!(found, expected, "{policy}: {verb} {resource}.{group}");
        }
        let metrics = PolicyRequest::Path {
            verb: "get",
            path: "/metrics",
        };
        assert_eq!(
            table.allows("AmazonEKSClusterAdminPolicy", metrics),
            Some(true)
        );
        assert_eq!(table.allows("AmazonEKSAdminPolicy", metrics), Some(false));
    }

    #[test]
    fn coverage_in_the_parts_that_people_ask_for() {
        use Reach::{Nothing, Read, Write};
        let table = PolicyTable::published();
        for (policy, expected) in [
            ("AmazonEKSClusterAdminPolicy", Some([Write; 4])),
            ("AmazonEKSAdminViewPolicy", Some([Read; 4])),
            (
                "AmazonEKSAdminPolicy",
                Some([Nothing, Nothing, Write, Write]),
            ),
            (
                "AmazonEKSEditPolicy",
                Some([Nothing, Nothing, Write, Nothing]),
            ),
            ("AmazonEKSViewPolicy", Some([Nothing; 4])),
            ("AmazonEKSArgoCDPolicy", None),
        ] {
            let found = table
                .coverage(policy)
                .map(|it| [it.custom_resources, it.nodes, it.secrets, it.rbac]);
            assert_eq!(found, expected, "{policy}");
        }
    }

    #[test]
    fn a_table_is_old_after_a_year() {
        let table = PolicyTable::published();
        let read = table.day().expect("a day");
        let after = |days: i64| read.plus(SignedDuration::from_hours(24 * days + 1));
        assert!(!table.is_old(after(364)) && table.is_old(after(365)));
    }
}
