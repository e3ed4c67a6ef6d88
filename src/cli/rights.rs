//! The permissions that a command needs in a cluster: if one is missing, all missing ones are reported together.

use std::fmt::Write as _;

use anyhow::anyhow;
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
use crate::plan::{ConfigMapWrite, Rewrite};

/// A command that reads a cluster, and perhaps writes to it.
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
    LintFix,
    Migrate,
    Plan,
    /// With EKS and the mappings, to compare with a copy.
    Rollback,
    /// The history alone.
    RollbackList,
    RollbackRestore,
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
            Self::LintFix => "lint --fix",
            Self::Migrate => "migrate",
            Self::Plan => "plan",
            Self::Rollback => "rollback",
            Self::RollbackList => "rollback list",
            Self::RollbackRestore => "rollback restore",
        }
    }

    /// The flags with which it reads files, as the end of an error; empty where it has none.
    pub(crate) const fn instead_of_a_cluster(self) -> &'static str {
        match self {
            Self::Access | Self::Explain | Self::Import | Self::Plan => {
                ", or pass files (--aws-auth, --access-entries)"
            }
            Self::Migrate => ", or pass files (--aws-auth, --access-entries, --cluster-arn)",
            Self::Lint => ", or pass files, with --cluster-arn",
            Self::Effective
            | Self::ExplainCan
            | Self::LintFix
            | Self::Rollback
            | Self::RollbackList
            | Self::RollbackRestore => "",
        }
    }

    /// All that it does.
    fn rules(self, config_map: &ConfigMapName) -> Vec<RoleRule> {
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
        if self != Self::Effective {
            // The operator's arguments name the cluster or its mode.
            rules.push(rule("list", "apps", "deployments", &[]));
        }
        match self {
            Self::ExplainCan => rules.push(rule(
                "create",
                "authorization.k8s.io",
                "subjectaccessreviews",
                &[],
            )),
            Self::Lint | Self::LintFix => {
                rules.push(rule("get", rbac, "clusterroles", &[NODE_MANAGER]));
            }
            Self::Migrate => rules.push(rule("get", rbac, "clusterrolebindings", &[BRIDGE])),
            Self::Access
            | Self::Effective
            | Self::Explain
            | Self::Import
            | Self::Plan
            | Self::Rollback
            | Self::RollbackList
            | Self::RollbackRestore => {}
        }
        if matches!(self, Self::LintFix | Self::RollbackRestore) {
            rules.extend([patches(config_map), creates(config_map)]);
        }
        rules
    }
}

fn rule(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    names: &[&str],
) -> RoleRule {
    RoleRule {
        verb,
        group,
        resource,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        namespace: None,
    }
}

fn patches(config_map: &ConfigMapName) -> RoleRule {
    let history = config_map.history().name;
    RoleRule {
        namespace: Some(config_map.namespace.clone()),
        ..rule("patch", "", "configmaps", &[&config_map.name, &history])
    }
}

/// RBAC can't restrict a creation to a name.
fn creates(config_map: &ConfigMapName) -> RoleRule {
    RoleRule {
        namespace: Some(config_map.namespace.clone()),
        ..rule("create", "", "configmaps", &[])
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
    match missing(client, reader, config_map, &rules).await {
        Some(missing) => LacksRights { error, missing }.into(),
        None => error,
    }
}

/// Refuses a write that the caller may not make, before a diff is shown that would come to nothing.
pub(crate) async fn check_write(
    client: &Client,
    writer: ReadingCommand,
    config_map: &ConfigMapName,
    rewrite: &Rewrite,
) -> Result<(), LacksRights> {
    let history = rewrite.history.as_ref();
    let created = [
        history.map(|write| write.resource_version.is_none()),
        Some(matches!(rewrite.config_map, ConfigMapWrite::Create { .. })),
    ];
    let mut rules = Vec::new();
    if created.contains(&Some(false)) {
        rules.push(patches(config_map));
    }
    if created.contains(&Some(true)) {
        rules.push(creates(config_map));
    }
    match missing(client, writer, config_map, &rules).await {
        Some(missing) => Err(LacksRights {
            error: anyhow!("nothing was written"),
            missing,
        }),
        None => Ok(()),
    }
}

/// Which of these rights the caller lacks, in words; `None` where that can't be found out, or it has all.
async fn missing(
    client: &Client,
    command: ReadingCommand,
    config_map: &ConfigMapName,
    rules: &[RoleRule],
) -> Option<String> {
    let questions: Vec<Question> = rules.iter().flat_map(RoleRule::questions).collect();
    let answers = join_all(questions.iter().map(|it| may_i(client, it))).await;
    let mut missing = Vec::new();
    for (question, answer) in questions.iter().zip(answers) {
        if !answer.ok()?.allowed {
            missing.push(question.to_string());
        }
    }
    if missing.is_empty() {
        return None;
    }
    let user = who_am_i(client).await.ok()?.username.unwrap_or_default();
    Some(words(command, &command.rules(config_map), &missing, &user))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ReadingCommand; 12] = [
        ReadingCommand::Access,
        ReadingCommand::Effective,
        ReadingCommand::Explain,
        ReadingCommand::ExplainCan,
        ReadingCommand::Import,
        ReadingCommand::Lint,
        ReadingCommand::LintFix,
        ReadingCommand::Migrate,
        ReadingCommand::Plan,
        ReadingCommand::Rollback,
        ReadingCommand::RollbackList,
        ReadingCommand::RollbackRestore,
    ];

    #[test]
    fn each_command_that_needs_the_mode_may_list_the_deployment_that_says_it() {
        for command in ALL {
            let rules = command.rules(&ConfigMapName::default());
            let lists = rules.iter().any(|rule| rule.resource == "deployments");
            let needs_no_mode = matches!(
                command,
                ReadingCommand::Effective | ReadingCommand::RollbackList
            );
            assert_eq!(lists, !needs_no_mode, "{command:?}");
        }
    }

    #[test]
    fn only_commands_that_write_ask_for_rights_to_write() {
        for command in ALL {
            let rules = command.rules(&ConfigMapName::default());
            let verbs = rules.iter().filter(|rule| rule.resource == "configmaps");
            let verbs: Vec<&str> = verbs.map(|rule| rule.verb).collect();
            let expected: &[&str] = match command {
                ReadingCommand::LintFix | ReadingCommand::RollbackRestore => {
                    &["get", "patch", "create"]
                }
                _ => &["get"],
            };
            assert_eq!(verbs, expected, "{command:?}");
        }
    }
}
