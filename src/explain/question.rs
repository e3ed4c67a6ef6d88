//! `--can`: the question, and the meaning of RBAC's answer if access policies count too.

use std::fmt;

use serde::Serialize;

use crate::access_entry::{PolicyRequest, PolicyTable};
use crate::effective::is_templated;
use crate::explain::fix::{Fix, quoted};
use crate::explain::identity::{Held, Identity};
use crate::time::Timestamp;
use crate::yaml::almost;

/// The verbs of resources, RBAC's own and those of our definition
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb>).
const VERBS: [&str; 18] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
    "attest",
    "grant",
    "adopt",
    "confirm",
];
/// The verbs of paths: the methods of HTTP.
const PATH_VERBS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// What to report of a verb that is probably mistyped. Not an error: definitions may have verbs of their own, which nothing lists.
pub(crate) fn unknown_verb(verb: &str, is_path: bool) -> Option<String> {
    let known: &[&str] = if is_path { &PATH_VERBS } else { &VERBS };
    if verb == "*" || known.contains(&verb) {
        return None;
    }
    let meant = known.iter().find(|known| almost(verb, known));
    let hint = meant.map_or_else(
        || format!("known are {}", known.join(", ")),
        |meant| format!("did you mean {meant}?"),
    );
    Some(format!("note: --can {verb}: not a known verb; {hint}"))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    /// The verb, such as `list`.
    pub(crate) verb: String,
    /// What it is done to.
    #[serde(flatten)]
    pub(crate) object: Object,
}

/// What something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(crate) enum Object {
    /// A path of the API server that is no resource's, such as `/healthz`.
    Path { path: String },
    Resource {
        /// The API group; empty for the core.
        group: String,
        /// The resource in the plural, as RBAC names it.
        resource: String,
        /// The subresource, such as `exec`.
        #[serde(skip_serializing_if = "Option::is_none")]
        subresource: Option<String>,
        /// The object's name; `None`: any.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The namespace; `None`: in all of them, or a resource of the cluster itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Whether objects of the resource are in namespaces.
        #[serde(skip)]
        namespaced: bool,
    },
}

impl Object {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Path { .. } => None,
            // The API server takes the name of a namespace for its namespace.
            Self::Resource {
                group,
                resource,
                name: Some(name),
                ..
            } if group.is_empty() && resource == "namespaces" => Some(name),
            Self::Resource { namespace, .. } => namespace.as_deref(),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Object::Path { path } => write!(f, "{} {path}", self.verb),
            Object::Resource {
                name,
                namespace,
                namespaced,
                ..
            } => {
                write!(f, "{} {}", self.verb, self.resource())?;
                if let Some(name) = name {
                    write!(f, " {name}")?;
                }
                match namespace {
                    Some(namespace) => write!(f, " in namespace {namespace}"),
                    None if *namespaced => f.write_str(" in all namespaces"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermissionAnswer {
    pub(crate) question: Question,
    /// For whom, as the API server was told: a username, where it was for somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    pub(crate) verdict: Permission,
    /// The API server's own words, where it gave any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<Fix>,
    /// Where the rules of access policies are from, where the answer rests on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<String>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Permission {
    Yes,
    /// These access policies allow it, by the rules that AWS publishes.
    YesByPolicy(Vec<Held>),
    /// RBAC does not allow it, and these access policies may: their rules are not known.
    Maybe(Vec<Held>),
    /// Neither RBAC nor the published rules of these access policies allow it.
    NotByPolicy(Vec<Held>),
    /// RBAC does not allow it, and no access policy holds there.
    NotByRbac,
    /// It is not allowed, by the API server's answer to a caller that asked for itself.
    No,
}

impl PermissionAnswer {
    /// The answer for somebody, by what RBAC says.
    #[must_use]
    pub(crate) fn for_other(
        question: Question,
        identity: &Identity,
        allowed: bool,
        words: Option<String>,
        now: Timestamp,
    ) -> Self {
        let table = PolicyTable::published();
        let verdict = if allowed {
            Permission::Yes
        } else {
            question.by_policies(identity, table)
        };
        let rests_on_rules = matches!(
            verdict,
            Permission::YesByPolicy(_) | Permission::NotByPolicy(_)
        );
        let is_yes = matches!(verdict, Permission::Yes | Permission::YesByPolicy(_));
        Self {
            fix: (!is_yes).then(|| question.grant(identity)),
            rules: rests_on_rules.then(|| table.origin(now)),
            question,
            username: Some(identity.username.clone()),
            verdict,
            words,
        }
    }

    /// The answer for a caller that asks for itself, which is EKS's own.
    #[must_use]
    pub(crate) fn for_self(
        question: Question,
        identity: Option<&Identity>,
        allowed: bool,
        words: Option<String>,
    ) -> Self {
        let fix = identity
            .filter(|_| !allowed)
            .map(|identity| question.grant(identity));
        Self {
            question,
            username: None,
            verdict: if allowed {
                Permission::Yes
            } else {
                Permission::No
            },
            words,
            fix,
            rules: None,
        }
    }

    /// Whether it is a plain yes.
    #[must_use]
    pub(crate) fn is_yes(&self) -> bool {
        matches!(self.verdict, Permission::Yes | Permission::YesByPolicy(_))
    }
}

impl fmt::Display for PermissionAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.question)?;
        match (&self.verdict, &self.username) {
            (Permission::Yes, Some(_)) => f.write_str("yes, by RBAC"),
            (Permission::Yes, None) => f.write_str("yes"),
            (Permission::No, _) => f.write_str("no"),
            (Permission::NotByRbac, _) => f.write_str("not by RBAC"),
            (Permission::YesByPolicy(policies), _) => {
                write!(
                    f,
                    "yes, by {} ({})",
                    listed(policies, " and "),
                    self.origin()
                )
            }
            (Permission::NotByPolicy(policies), _) => write!(
                f,
                "no: neither by RBAC nor by {} ({})",
                listed(policies, " or "),
                self.origin()
            ),
            (Permission::Maybe(policies), _) => write!(
                f,
                "not by RBAC; unknown for {}: its rules are not published, and EKS does not report them for others",
                listed(policies, " and ")
            ),
        }
    }
}

fn listed(policies: &[Held], between: &str) -> String {
    let policies: Vec<String> = policies.iter().map(Held::to_string).collect();
    policies.join(between)
}

impl PermissionAnswer {
    fn origin(&self) -> &str {
        self.rules.as_deref().unwrap_or_default()
    }
}

impl Question {
    /// What the access policies of an identity say where RBAC does not allow it.
    fn by_policies(&self, identity: &Identity, table: &PolicyTable) -> Permission {
        let namespace = self.object.namespace();
        let policies = identity.access_policies.iter();
        let here = policies.filter(|held| held.holds_in(namespace));
        let (mut allow, mut unknown, mut deny) = (Vec::new(), Vec::new(), Vec::new());
        let resource = self.with_subresource();
        let wish = match &self.object {
            Object::Path { path } => PolicyRequest::Path {
                verb: &self.verb,
                path,
            },
            Object::Resource { group, .. } => PolicyRequest::Resource {
                verb: &self.verb,
                group,
                resource: &resource,
            },
        };
        for held in here {
            match table.allows(&held.policy, wish) {
                Some(true) => allow.push(held.clone()),
                Some(false) => deny.push(held.clone()),
                None => unknown.push(held.clone()),
            }
        }
        if !allow.is_empty() {
            Permission::YesByPolicy(allow)
        } else if !unknown.is_empty() {
            Permission::Maybe(unknown)
        } else if !deny.is_empty() {
            Permission::NotByPolicy(deny)
        } else {
            Permission::NotByRbac
        }
    }

    /// The resource as rules have it, the subresource behind a slash.
    fn with_subresource(&self) -> String {
        match &self.object {
            Object::Path { path } => path.clone(),
            Object::Resource {
                resource,
                subresource,
                ..
            } => match subresource {
                Some(subresource) => format!("{resource}/{subresource}"),
                None => resource.clone(),
            },
        }
    }

    /// The resource as RBAC's rules and kubectl's flags have it.
    fn resource(&self) -> String {
        match &self.object {
            Object::Path { path } => path.clone(),
            Object::Resource {
                group,
                resource,
                subresource,
                ..
            } => {
                let group = if group.is_empty() {
                    String::new()
                } else {
                    format!(".{group}")
                };
                let subresource = subresource
                    .as_ref()
                    .map_or_else(String::new, |subresource| format!("/{subresource}"));
                format!("{resource}{group}{subresource}")
            }
        }
    }

    /// How to allow exactly this: a role for it, bound to a group or the username of the identity.
    fn grant(&self, identity: &Identity) -> Fix {
        let groups = identity.groups.iter();
        let group = groups
            .into_iter()
            .find(|group| !group.starts_with("system:") && !is_templated(group));
        let subject = match group {
            Some(group) => format!("--group={group}"),
            None if identity.username.is_empty() => {
                return Fix {
                    text: "give its entry a group or a username that a role can be bound to"
                        .to_owned(),
                    ..Fix::default()
                };
            }
            None if is_templated(&identity.username) => {
                return Fix {
                    text: "give its entry a group that a role can be bound to; the username is different at each login"
                        .to_owned(),
                    ..Fix::default()
                };
            }
            None => format!("--user={}", identity.username),
        };
        let mut name: String = format!("{}-{}", self.verb, self.resource())
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        let (kind, what, place) = match &self.object {
            Object::Path { path } => (
                "clusterrole",
                format!("--non-resource-url={path}"),
                String::new(),
            ),
            Object::Resource {
                name: object,
                namespace,
                ..
            } => {
                let mut what = format!("--resource={}", self.resource());
                if let Some(object) = object {
                    what = format!("{what} --resource-name={object}");
                    name = format!("{name}-{object}");
                }
                match namespace {
                    Some(namespace) => ("role", what, format!(" -n {}", quoted(namespace))),
                    None => ("clusterrole", what, String::new()),
                }
            }
        };
        let words: Vec<String> = what.split(' ').map(quoted).collect();
        Fix {
            text: "if it should be allowed, bind a role that allows it; to allow exactly this:"
                .to_owned(),
            commands: vec![
                format!(
                    "kubectl create {kind} {}{place} --verb={} {}",
                    quoted(&name),
                    quoted(&self.verb),
                    words.join(" ")
                ),
                format!(
                    "kubectl create {kind}binding {}{place} --{kind}={} {}",
                    quoted(&name),
                    quoted(&name),
                    quoted(&subject)
                ),
            ],
            ..Fix::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_verbs_are_reported() {
        for (verb, is_path, hint) in [
            ("lst", false, "did you mean list?"),
            ("List", false, "did you mean list?"),
            ("watches", false, "known are get, list, watch"),
            ("post", false, "known are"),
            ("list", true, "known are get, post"),
        ] {
            let note = unknown_verb(verb, is_path).unwrap_or_default();
            assert!(note.contains(hint), "{verb}: {note}");
        }
        for (verb, is_path) in [
            ("list", false),
            ("confirm", false),
            ("*", false),
            ("post", true),
        ] {
            assert_eq!(unknown_verb(verb, is_path), None, "{verb}");
        }
    }
}
