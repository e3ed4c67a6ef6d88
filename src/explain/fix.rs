//! How to grant access: what to write, as a manifest, as commands, or as a change of a line.

use std::collections::BTreeSet;

use kube::Resource as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::access_entry::EksCluster;
use crate::access_entry::{
    self, ADMIN_POLICY, AccessEntry, Kind, Scope, Target, policy_arn, target,
};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{AccessPolicy, AccessScope, EntryType, ScopeType};
use crate::aws_auth::{Entry, NewEntry, Section};
use crate::effective::{Unread, in_iam};
use crate::explain::caller::Caller;
use crate::explain::identity::Held;
use crate::explain::scene::Explainer;
use crate::import::mapping_name;
use crate::observed::{ConfigMapName, Mode};
use crate::principal::{Partition, Principal, PrincipalKind};

/// What is written where a person has to choose.
const CHOOSE: &str = "GROUP";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fix {
    pub(crate) text: String,
    /// A change of one line of aws-auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<TextReplacement>,
    /// An entry to add to aws-auth, as YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) commands: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<Value>,
}

/// A change of one line of aws-auth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextReplacement {
    /// The key of the `ConfigMap`.
    pub(crate) key: &'static str,
    /// The line in its value, from 1.
    pub(crate) line: usize,
    pub(crate) from: String,
    /// What to write in its place.
    pub(crate) to: String,
}

/// The identity that an entry gives, to be given again.
#[derive(Clone, Debug, Default)]
pub(super) struct Like {
    pub(super) username: Option<String>,
    pub(super) groups: BTreeSet<String>,
    pub(super) policies: BTreeSet<Held>,
}

impl From<&Entry> for Like {
    fn from(entry: &Entry) -> Self {
        Self {
            username: Some(entry.username.clone()).filter(|username| !username.is_empty()),
            groups: entry.groups.iter().cloned().collect(),
            policies: BTreeSet::new(),
        }
    }
}

impl From<&AccessEntry> for Like {
    fn from(entry: &AccessEntry) -> Self {
        let generated = Principal::parse(&entry.principal_arn)
            .is_ok_and(|principal| principal.default_username() == entry.username);
        Self {
            username: (!generated).then(|| entry.username.clone()),
            groups: entry.groups.clone(),
            policies: crate::explain::identity::held(entry),
        }
    }
}

impl Like {
    /// Nothing is known: the group is for a person to choose.
    fn unknown() -> Self {
        Self {
            groups: BTreeSet::from([CHOOSE.to_owned()]),
            ..Self::default()
        }
    }
}

impl Explainer<'_> {
    /// How to let a caller in like this, or with a group that a person has to choose.
    pub(super) fn grant(&self, caller: &Caller, like: Option<Like>) -> Option<Fix> {
        let principal = self.principal(caller)?;
        let chosen = like.is_some();
        let like = like.unwrap_or_else(Like::unknown);
        let why = if chosen {
            "give it the same identity"
        } else {
            "replace GROUP with the group whose permissions it needs"
        };
        if self.scene.installed {
            return Some(Fix {
                // Not applied: a mapping of the name that somebody made must stay as it is.
                text: format!("declare it (kubectl create -f FILE), and {why}"),
                manifest: Some(manifest(&principal, &like, &self.mapping_name(&principal))),
                ..Fix::default()
            });
        }
        if self.effective.counts_access_entries() {
            return Some(self.create(
                &principal,
                &like,
                &format!("create an access entry, and {why}"),
            ));
        }
        let section = match principal.kind {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        };
        let read = ConfigMapName::default();
        let config_map = match self.effective.unread() {
            Some(Unread::Name) => &read,
            Some(Unread::Mode) | None => self.scene.config_map,
        };
        Some(Fix {
            text: format!(
                "add this to {section} (kubectl edit configmap {} -n {}), and {why}",
                config_map.name, config_map.namespace
            ),
            entry: Some(item(section, &principal, &like)),
            ..Fix::default()
        })
    }

    /// The flags of the AWS CLI that name the cluster.
    pub(super) fn on_cluster(&self) -> String {
        let region = self.scene.aws.view().map(|view| view.cluster.region());
        let region = region.filter(|region| !region.is_empty());
        let region = region.map_or_else(String::new, |it| format!(" --region {}", quoted(it)));
        format!("--cluster-name {}{region}", quoted(self.cluster_name()))
    }

    /// The name that `import` would give the mapping.
    fn mapping_name(&self, principal: &Principal) -> String {
        let cluster = self.scene.aws.view().map(|view| &view.cluster);
        let home = cluster.and_then(|cluster| Some((cluster.partition()?, cluster.account()?)));
        mapping_name(principal, home)
    }

    /// A change of one line of aws-auth.
    pub(super) fn edit(&self, entry: &Entry, from: &str, to: &str) -> Fix {
        let config_map = self.scene.config_map;
        Fix {
            text: format!(
                "in {} line {}, write {to:?} instead of {from:?} (kubectl edit configmap {} -n {})",
                entry.section, entry.line, config_map.name, config_map.namespace
            ),
            edit: Some(TextReplacement {
                key: entry.section.key(),
                line: entry.line,
                from: from.to_owned(),
                to: to.to_owned(),
            }),
            ..Fix::default()
        }
    }

    /// The caller's principal, with its path as far as IAM tells.
    pub(super) fn principal(&self, caller: &Caller) -> Option<Principal> {
        let principal = Principal::parse(&caller.canonical).ok()?;
        let given = Principal::parse(&caller.arn).ok();
        let view = self.scene.aws.view();
        let in_iam = view.and_then(|view| in_iam(&principal, &view.iam));
        let in_iam = in_iam.and_then(|found| Principal::parse(&found.arn).ok());
        Some(in_iam.or(given).unwrap_or(principal))
    }

    /// The calls that make an access entry of this identity.
    pub(super) fn create(&self, principal: &Principal, like: &Like, text: &str) -> Fix {
        let policies: Vec<AccessPolicy> = like.policies.iter().map(policy).collect();
        let declared = access_entry::Declared {
            principal,
            type_: EntryType::Standard,
            username: like.username.as_deref(),
            groups: &like.groups,
            policies: &policies,
        };
        let cluster = self.scene.aws.view().map(|view| &view.cluster);
        let made = cluster.map(|cluster| target(&declared, cluster));
        match made {
            Some(Ok(target)) => Fix {
                text: text.to_owned(),
                commands: create_commands(&self.on_cluster(), &target),
                ..Fix::default()
            },
            Some(Err(why)) => Fix {
                text: format!("{text}. An access entry can't give the same: {why}"),
                ..Fix::default()
            },
            None => Fix {
                text: text.to_owned(),
                ..Fix::default()
            },
        }
    }
}

/// The calls of the AWS CLI that make an access entry; `on` are the flags that name the cluster.
fn create_commands(on: &str, target: &Target) -> Vec<String> {
    let policies = target.policies.iter();
    calls(
        &format!("{on} --principal-arn {}", quoted(&target.principal_arn)),
        &Kind::Known(target.type_),
        target.username.as_deref(),
        &target.groups,
        policies.map(|(arn, scope)| (arn.as_str(), scope)),
    )
}

/// The calls of the AWS CLI that delete an access entry and make it again, for the principal of this ARN: the one way to bind it to
/// a principal that was recreated.
pub(crate) fn recreate_commands(on: &str, entry: &AccessEntry, principal_arn: &str) -> Vec<String> {
    let generated = Principal::parse(&entry.principal_arn)
        .is_ok_and(|principal| principal.default_username() == entry.username);
    // EKS sets the names of node entries itself, and refuses calls that give them.
    let is_node = entry.kind.is_node();
    let none = BTreeSet::new();
    let policies = entry.policies.iter();
    let delete = format!(
        "aws eks delete-access-entry {on} --principal-arn {}",
        quoted(&entry.principal_arn)
    );
    let create = calls(
        &format!("{on} --principal-arn {}", quoted(principal_arn)),
        &entry.kind,
        Some(entry.username.as_str()).filter(|_| !is_node && !generated),
        if is_node { &none } else { &entry.groups },
        policies.map(|(arn, association)| (arn.as_str(), &association.scope)),
    );
    [delete].into_iter().chain(create).collect()
}

fn calls<'a>(
    on: &str,
    kind: &Kind,
    username: Option<&str>,
    groups: &BTreeSet<String>,
    policies: impl Iterator<Item = (&'a str, &'a Scope)>,
) -> Vec<String> {
    let mut create = format!("aws eks create-access-entry {on}");
    if kind.is_node() {
        create.push_str(" --type ");
        create.push_str(&quoted(kind.as_str()));
    }
    if let Some(username) = username {
        create.push_str(" --username ");
        create.push_str(&quoted(username));
    }
    if !groups.is_empty() {
        let groups: Vec<String> = groups.iter().map(|group| quoted(group)).collect();
        create.push_str(" --kubernetes-groups ");
        create.push_str(&groups.join(" "));
    }
    let associate = policies.map(|(arn, scope)| {
        let scope = match scope {
            Scope::Cluster => "type=cluster".to_owned(),
            Scope::Namespaces(namespaces) => {
                let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
                format!("type=namespace,namespaces={}", names.join(","))
            }
        };
        format!(
            "aws eks associate-access-policy {on} --policy-arn {arn} --access-scope {}",
            quoted(&scope)
        )
    });
    [create].into_iter().chain(associate).collect()
}

/// The commands that make a principal an administrator by the rights of IAM alone: anyone who may do that needs no way into the cluster.
#[must_use]
pub(crate) fn way_in(cluster: &EksCluster, mode: Mode, principal_arn: &str) -> Vec<String> {
    let partition = cluster.partition().unwrap_or(Partition::Aws);
    let region = match cluster.region() {
        "" => String::new(),
        region => format!(" --region {}", quoted(region)),
    };
    let name = quoted(&cluster.name);
    let on = format!(
        "--cluster-name {name}{region} --principal-arn {}",
        quoted(principal_arn)
    );
    // Access entries don't count in this mode, and only one step leads out of it, which can't be undone. EKS takes minutes for it and
    // refuses access entries until then.
    let mode = (mode == Mode::ConfigMap).then(|| {
        [
            format!("aws eks update-cluster-config --name {name}{region} --access-config authenticationMode=API_AND_CONFIG_MAP"),
            format!("aws eks wait cluster-active --name {name}{region}"),
        ]
    });
    let entry = [
        format!("aws eks create-access-entry {on}"),
        format!(
            "aws eks associate-access-policy {on} --policy-arn {} --access-scope type=cluster",
            policy_arn(partition, ADMIN_POLICY)
        ),
    ];
    mode.into_iter().flatten().chain(entry).collect()
}

/// A word of a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/:.,@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn policy(held: &Held) -> AccessPolicy {
    AccessPolicy {
        policy: held.policy.clone(),
        scope: match held.scope() {
            Scope::Cluster => AccessScope::default(),
            Scope::Namespaces(namespaces) => AccessScope {
                type_: ScopeType::Namespace,
                namespaces: namespaces.into_iter().collect(),
            },
        },
    }
}

fn manifest(principal: &Principal, like: &Like, name: &str) -> Value {
    let named = match principal.sso() {
        // The set is followed when it gets another role.
        Some(sso) => json!({"permissionSet": {
            "name": sso.permission_set,
            "accountId": principal.account.as_str(),
        }}),
        None => json!({"arn": principal.arn()}),
    };
    let mut spec = json!({ "principal": named });
    if let Some(username) = &like.username {
        spec["username"] = json!(username);
    }
    if !like.groups.is_empty() {
        spec["groups"] = json!(like.groups);
    }
    if !like.policies.is_empty() {
        spec["accessPolicies"] = like
            .policies
            .iter()
            .map(|held| json!(policy(held)))
            .collect();
    }
    json!({
        "apiVersion": IdentityMapping::api_version(&()),
        "kind": IdentityMapping::kind(&()),
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// An entry of aws-auth as YAML.
fn item(section: Section, principal: &Principal, like: &Like) -> String {
    let username = like.username.clone();
    let entry = NewEntry {
        section,
        arn: principal.aws_auth_arn(),
        username: username.unwrap_or_else(|| principal.default_username()),
        groups: like.groups.iter().cloned().collect(),
    };
    entry.item() + "\n"
}
