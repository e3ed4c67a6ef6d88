//! The permissions that a command needs in a cluster: if one is missing, all missing ones are reported together.

use std::fmt::Write as _;

use futures::future::join_all;
use kube::Client;
use sha2::{Digest as _, Sha256};

use crate::cluster::read::Unreadable;
use crate::cluster::review::{may_i, who_am_i};
use crate::error::{Category, Error};
use crate::explain::{Object, Question, quoted};
use crate::lint::NODE_MANAGER;
use crate::migrate::BRIDGE;
use crate::observed::ConfigMapName;

/// A command that reads a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReadingCommand {
    #[default]
    Access,
    Effective,
    Explain,
    /// With `--can` for others.
    ExplainCan,
    Import,
    Lint,
    Migrate,
    Plan,
    /// With EKS and the mappings, to compare with a copy.
    Rollback,
    /// The history alone.
    RollbackList,
}

impl ReadingCommand {
    /// As it is typed.
    const fn words(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Effective => "effective",
            Self::Explain => "explain",
            Self::ExplainCan => "explain --can",
            Self::Import => "import",
            Self::Lint => "lint",
            Self::Migrate => "migrate",
            Self::Plan => "plan",
            Self::Rollback => "rollback",
            Self::RollbackList => "rollback list",
        }
    }

    /// All that it reads.
    fn rules(self, config_map: &ConfigMapName) -> Vec<RoleRule> {
        let rule = |verb, group, resource, names: &[&str]| RoleRule {
            verb,
            group,
            resource,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            namespace: None,
        };
        let rbac = "rbac.authorization.k8s.io";
        let history = config_map.history().name;
        let mut rules = vec![RoleRule {
            namespace: Some(config_map.namespace.clone()),
            ..rule("get", "", "configmaps", &[&config_map.name, &history])
        }];
        if self == Self::RollbackList {
            return rules;
        }
        rules.extend([
            rule(
                "get",
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                &["identitymappings.identity-mapper.dev"],
            ),
            rule("list", "identity-mapper.dev", "identitymappings", &[]),
            rule("list", rbac, "rolebindings", &[]),
            rule("list", rbac, "clusterrolebindings", &[]),
        ]);
        match self {
            Self::ExplainCan => rules.push(rule(
                "create",
                "authorization.k8s.io",
                "subjectaccessreviews",
                &[],
            )),
            Self::Lint => rules.push(rule("get", rbac, "clusterroles", &[NODE_MANAGER])),
            Self::Migrate => rules.push(rule("get", rbac, "clusterrolebindings", &[BRIDGE])),
            // The operator's settings.
            Self::Plan => rules.push(rule("list", "apps", "deployments", &[])),
            Self::Access
            | Self::Effective
            | Self::Explain
            | Self::Import
            | Self::Rollback
            | Self::RollbackList => {}
        }
        rules
    }
}

/// A rule of a ClusterRole.
#[derive(Clone, Debug)]
struct RoleRule {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    /// The only objects that are read; none: any.
    names: Vec<String>,
    namespace: Option<String>,
}

impl RoleRule {
    /// The questions that a caller with these rights gets a yes to.
    fn questions(&self) -> Vec<Question> {
        let question = |name: Option<String>| Question {
            verb: self.verb.to_owned(),
            object: Object::Resource {
                group: self.group.to_owned(),
                resource: self.resource.to_owned(),
                subresource: None,
                name,
                namespace: self.namespace.clone(),
                namespaced: self.namespace.is_some(),
            },
        };
        if self.names.is_empty() {
            return vec![question(None)];
        }
        let names = self.names.iter().cloned();
        names.map(|name| question(Some(name))).collect()
    }

    fn yaml(&self) -> String {
        let group = match self.group {
            "" => "\"\"",
            group => group,
        };
        let names = match self.names.as_slice() {
            [] => String::new(),
            names => format!("resourceNames: [\"{}\"], ", names.join("\", \"")),
        };
        format!(
            "- {{apiGroups: [{group}], resources: [{}], {names}verbs: [{}]}}\n",
            self.resource, self.verb
        )
    }
}

/// A cluster that may not be read, with all rights that are missing.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}\n{missing}")]
pub(crate) struct LacksRights {
    error: anyhow::Error,
    missing: String,
}

/// Whether the API server refused to let us read.
pub(crate) fn is_forbidden(error: &anyhow::Error) -> bool {
    let forbidden = |error: &Error| error.category == Category::Forbidden;
    error.downcast_ref::<LacksRights>().is_some()
        || error.chain().any(|cause| {
            let of_read = cause.downcast_ref::<Unreadable>();
            of_read.is_some_and(|it| forbidden(&it.error))
                || cause.downcast_ref::<Error>().is_some_and(forbidden)
        })
}

/// The error with all rights that the command lacks, where it lacks any. A caller that the API server does not know has no rights to
/// ask for.
pub(crate) async fn with_missing(
    error: impl Into<anyhow::Error>,
    client: &Client,
    reader: ReadingCommand,
    config_map: &ConfigMapName,
) -> anyhow::Error {
    let error = error.into();
    if !is_forbidden(&error) {
        return error;
    }
    let rules = reader.rules(config_map);
    let questions: Vec<Question> = rules.iter().flat_map(RoleRule::questions).collect();
    let answers = join_all(questions.iter().map(|it| may_i(client, it))).await;
    let mut missing = Vec::new();
    for (question, answer) in questions.iter().zip(answers) {
        match answer {
            Ok(review) if review.allowed => {}
            Ok(_) => missing.push(question.to_string()),
            Err(_) => return error,
        }
    }
    let Ok(user) = who_am_i(client).await else {
        return error;
    };
    if missing.is_empty() {
        return error;
    }
    let user = user.username.unwrap_or_default();
    LacksRights {
        error,
        missing: words(reader, &rules, &missing, &user),
    }
    .into()
}

fn words(reader: ReadingCommand, rules: &[RoleRule], missing: &[String], user: &str) -> String {
    let command = reader.words();
    let name = format!("identity-mapper-{}", command.replace([' ', '-'], ""));
    // A binding for each user: another one of this name may exist.
    let binding = format!("{name}-{:.8x}", Sha256::digest(user));
    let mut text = format!(
        "{user:?} lacks {} of the permissions that `identity-mapper {command}` needs: {}. A cluster administrator grants all of them with\n\n\
            kubectl apply -f - <<'END'\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:\n",
        missing.len(),
        missing.join("; ")
    );
    text.extend(rules.iter().map(RoleRule::yaml));
    let _ = write!(
        text,
        "END\nkubectl create clusterrolebinding {binding} --clusterrole={name} --user={}",
        quoted(user)
    );
    text
}
