//! May someone do something? The question as it is asked, and what the answer of RBAC means where access policies count too.

use std::fmt;

use serde::Serialize;

use crate::effective::is_templated;
use crate::explain::fix::{Fix, quoted};
use crate::explain::identity::{Held, Identity};

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
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Permission {
    Yes,
    /// RBAC does not allow it, and these access policies may: EKS does not say so for others.
    Maybe(Vec<Held>),
    /// RBAC does not allow it, and no access policy holds there.
    NotByRbac,
    /// It is not allowed, by the API server's answer to whoever asked for itself.
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
    ) -> Self {
        let policies = identity.access_policies.iter();
        let namespace = question.object.namespace();
        let may: Vec<Held> = policies
            .filter(|held| held.holds_in(namespace))
            .cloned()
            .collect();
        let verdict = match (allowed, may.is_empty()) {
            (true, _) => Permission::Yes,
            (false, false) => Permission::Maybe(may),
            (false, true) => Permission::NotByRbac,
        };
        let fix = (!allowed).then(|| question.grant(identity));
        Self {
            question,
            username: Some(identity.username.clone()),
            verdict,
            words,
            fix,
        }
    }

    /// The answer for whoever asks for itself, which is EKS's own.
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
        }
    }

    /// Whether it is a plain yes.
    #[must_use]
    pub(crate) fn is_yes(&self) -> bool {
        self.verdict == Permission::Yes
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
            (Permission::Maybe(policies), _) => {
                let policies: Vec<String> = policies.iter().map(Held::to_string).collect();
                write!(
                    f,
                    "not by RBAC; may be allowed by {}: EKS does not report this for others",
                    policies.join(" or by ")
                )
            }
        }
    }
}

impl Question {
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
