//! What an identity may do, as a value that can be compared.

use std::collections::BTreeSet;
use std::fmt;

use identity_mapper::access_entry::Scope;

use super::rbac::grants;
use crate::support::access_policies::published;

/// What an identity may do. Nothing at all: not even what everyone may who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Power {
    grants: BTreeSet<Grant>,
}

/// One thing that may be done, or many by a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// Anything that everyone may who is let in.
    LoggedIn,
    /// A verb on resources.
    Resource {
        /// Where.
        place: Place,
        /// The verb, or `*`.
        verb: String,
        /// The API group, or `*`.
        group: String,
        /// The resource, perhaps with a subresource, `*/SUBRESOURCE`, or `*`.
        resource: String,
        /// The object's name; `None`: any.
        name: Option<String>,
    },
    /// A verb on a path that is no resource.
    Path {
        /// The verb, or `*`.
        verb: String,
        /// The path, perhaps with `*` at the end.
        path: String,
    },
    /// What an access policy allows, known by its name alone.
    Policy {
        /// Where.
        place: Place,
        /// Its name.
        name: String,
    },
    /// What the API server lets the kubelet of this node do.
    Node(String),
}

/// Where something may be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Everywhere, resources without namespace included.
    Cluster,
    /// In the namespaces of this pattern, with `*` for any text.
    Namespaces(String),
}

/// One thing that somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The verb.
    pub(crate) verb: &'static str,
    /// The API group.
    pub(crate) group: &'static str,
    /// The resource, perhaps with a subresource; or a path, with a slash before it.
    pub(crate) resource: &'static str,
    /// The namespace.
    pub(crate) namespace: Option<&'static str>,
    /// The object's name.
    pub(crate) name: Option<&'static str>,
}

/// Access policies of which each allows what the next ones do
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
const LADDER: [&str; 3] = [
    "AmazonEKSAdminPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
];
const ADMIN_POLICY: &str = "AmazonEKSClusterAdminPolicy";

impl Power {
    /// The same, with this.
    pub(super) fn add(&mut self, grant: Grant) {
        self.grants.insert(grant);
    }

    /// Everything in a place; in the whole cluster also all paths.
    pub(super) fn add_all(&mut self, place: Place) {
        if place == Place::Cluster {
            self.add(Grant::Path {
                verb: "*".to_owned(),
                path: "*".to_owned(),
            });
        }
        self.add(Grant::Resource {
            place,
            verb: "*".to_owned(),
            group: "*".to_owned(),
            resource: "*".to_owned(),
            name: None,
        });
    }

    /// Whether everything may be done.
    pub(crate) fn is_everything(&self) -> bool {
        let mut all = Self::default();
        all.add_all(Place::Cluster);
        all.grants.is_subset(&self.grants)
    }

    /// The same, with an access policy.
    pub(super) fn associate(&mut self, policy_arn: &str, scope: &Scope) {
        let name = policy_arn.rsplit('/').next().unwrap_or(policy_arn);
        let places = match scope {
            Scope::Cluster => vec![Place::Cluster],
            Scope::Namespaces(names) => names.iter().cloned().map(Place::Namespaces).collect(),
        };
        for place in places {
            if name == ADMIN_POLICY {
                self.add_all(place);
                continue;
            }
            self.grants.extend(grants(published(name), &place));
            self.add(Grant::Policy {
                place,
                name: name.to_owned(),
            });
        }
    }

    /// Whether all that the other may do may be done.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.lacks(other).is_empty()
    }

    /// What the other may do and this may not.
    pub(crate) fn lacks(&self, other: &Self) -> Vec<Grant> {
        let lacking = other.grants.difference(&self.grants);
        let lacking = lacking.filter(|wanted| !self.gives(wanted));
        lacking.cloned().collect()
    }

    /// What both may do, as far as one of the two says it so: never more.
    pub(crate) fn meet(&self, other: &Self) -> Self {
        let of = |some: &Self, others: &Self| {
            let both = some.grants.iter().filter(|grant| others.gives(grant));
            both.cloned().collect::<BTreeSet<_>>()
        };
        Self {
            grants: &of(self, other) | &of(other, self),
        }
    }

    /// Whether this may be done.
    pub(crate) fn allows(&self, request: &Request) -> bool {
        let verb = request.verb.to_owned();
        let wanted = if request.resource.starts_with('/') {
            Grant::Path {
                verb,
                path: request.resource.to_owned(),
            }
        } else {
            let namespace = request.namespace.map(str::to_owned);
            Grant::Resource {
                place: namespace.map_or(Place::Cluster, Place::Namespaces),
                verb,
                group: request.group.to_owned(),
                resource: request.resource.to_owned(),
                name: request.name.map(str::to_owned),
            }
        };
        self.gives(&wanted)
    }

    fn gives(&self, wanted: &Grant) -> bool {
        self.grants.contains(wanted) || self.grants.iter().any(|grant| grant.covers(wanted))
    }

    /// All that may be done, in words.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }
}

impl Grant {
    /// Whether this allows all that the other does.
    fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (
                Self::Resource {
                    place,
                    verb,
                    group,
                    resource,
                    name,
                },
                Self::Resource {
                    place: wanted_place,
                    verb: wanted_verb,
                    group: wanted_group,
                    resource: wanted_resource,
                    name: wanted_name,
                },
            ) => {
                place.covers(wanted_place)
                    && any_or(verb, wanted_verb)
                    && any_or(group, wanted_group)
                    && resource_covers(resource, wanted_resource)
                    && (name.is_none() || name == wanted_name)
            }
            (
                Self::Path { verb, path },
                Self::Path {
                    verb: wanted_verb,
                    path: wanted_path,
                },
            ) => any_or(verb, wanted_verb) && path_covers(path, wanted_path),
            (
                Self::Policy { place, name },
                Self::Policy {
                    place: wanted_place,
                    name: wanted_name,
                },
            ) => place.covers(wanted_place) && policy_covers(name, wanted_name),
            // Whatever a policy allows, everything is more.
            (Self::Resource { place, .. }, Self::Policy { place: wanted, .. }) => {
                self.is_all() && place.covers(wanted)
            }
            _ => self == wanted,
        }
    }

    fn is_all(&self) -> bool {
        matches!(
            self,
            Self::Resource { verb, group, resource, name: None, .. }
                if verb == "*" && group == "*" && resource == "*"
        )
    }
}

impl Place {
    fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Cluster, _) => true,
            (Self::Namespaces(_), Self::Cluster) => false,
            // A pattern in place of a name: a star of it matches only by a star.
            (Self::Namespaces(pattern), Self::Namespaces(name)) => matches(pattern, name),
        }
    }
}

/// Whether the text is one of the pattern's, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| &tail[at..])
                .chain([""])
                .any(|tail| matches(rest, tail))
        }),
    }
}

fn any_or(have: &str, want: &str) -> bool {
    have == "*" || have == want
}

/// As `ResourceMatches` of `k8s.io/kubernetes/pkg/apis/rbac/v1`: `*` is everything, `*/SUB` the subresource of every one.
fn resource_covers(have: &str, want: &str) -> bool {
    let subresource = have.strip_prefix("*/");
    any_or(have, want)
        || subresource
            .is_some_and(|have| want.split_once('/').is_some_and(|(_, want)| have == want))
}

/// As `NonResourceURLMatches` of the same package: a `*` at the end stands for any text.
fn path_covers(have: &str, want: &str) -> bool {
    have == want
        || have
            .strip_suffix('*')
            .is_some_and(|start| want.trim_end_matches('*').starts_with(start))
}

fn policy_covers(have: &str, want: &str) -> bool {
    let step = |name: &str| LADDER.iter().position(|policy| *policy == name);
    have == want || matches!((step(have), step(want)), (Some(have), Some(want)) if have <= want)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("in the cluster"),
            Self::Namespaces(pattern) => write!(f, "in namespace {pattern}"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedIn => f.write_str("be let in"),
            Self::Resource {
                place,
                verb,
                group,
                resource,
                name,
            } => {
                write!(f, "{verb} {resource}")?;
                if !group.is_empty() {
                    write!(f, ".{group}")?;
                }
                if let Some(name) = name {
                    write!(f, " {name:?}")?;
                }
                write!(f, " {place}")
            }
            Self::Path { verb, path } => write!(f, "{verb} {path}"),
            Self::Policy { place, name } => write!(f, "what {name} allows {place}"),
            Self::Node(name) => write!(f, "be the node {name}"),
        }
    }
}
