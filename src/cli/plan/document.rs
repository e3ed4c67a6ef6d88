//! A plan as a document for `-o json` and `-o yaml`; the text output is made from it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::access_entry::{
    AccessEntry, Call, Entries, EntryState, Kind, PolicyTable, Scope, policy_name,
};
use crate::cli::diff::KeyText;
use crate::diff::{ConfigMapDiff, EntryDiff, Forecast, PlanDiff, TextStepKind};
use crate::observed::{Mode, Settings};
use crate::time::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanDocument {
    #[serde(rename = "source")]
    pub(super) looked_at: LookedAt,
    /// Whether anything is written to aws-auth or EKS.
    pub(super) changes: bool,
    /// What is not in effect as declared, and will not be by itself.
    pub(super) faults: Vec<GateFault>,
    #[serde(flatten)]
    pub(super) now: BackendChanges,
    /// What follows without anyone doing anything.
    pub(super) later: Vec<LaterChanges>,
    /// Mappings that get the finalizer first. No change by itself.
    pub(super) finalizers: Vec<String>,
    /// What the mappings say once everything that can be done now is done.
    pub(super) mappings: Vec<MappingConditions>,
    /// What there is to say of aws-auth itself.
    pub(super) notes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LookedAt {
    /// The URL of the API server; `None`: files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    /// The context of the kubeconfig, where one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<String>,
    /// The cluster's ARN in EKS, where access entries count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eks_cluster: Option<String>,
    pub(super) mode: String,
    /// The `ConfigMap`, or the file in its place; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aws_auth: Option<String>,
    /// How many access entries exist.
    pub(super) access_entries: usize,
    /// The Deployment whose settings are used, where one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operator: Option<String>,
    pub(super) settings: SettingsDocument,
    /// How many mappings there are.
    pub(super) mappings: usize,
    /// Those of the cluster that no file has, and that stay.
    pub(super) left: Vec<String>,
    /// Those of the cluster that no file has, and that are taken as deleted.
    pub(super) pruned: Vec<String>,
}

/// The settings that the plan depends on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SettingsDocument {
    handover: String,
    soak: String,
    propagation: String,
    recreated_principals: String,
}

impl SettingsDocument {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            handover: settings.handover.to_string(),
            soak: format!("{:#}", settings.soak),
            propagation: format!("{:#}", settings.propagation),
            recreated_principals: settings.recreated.to_string(),
        }
    }
}

impl fmt::Display for SettingsDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "handover {}, soak {}, propagation {}, recreated principals {}",
            self.handover, self.soak, self.propagation, self.recreated_principals
        )
    }
}

/// What does not become as declared by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct GateFault {
    /// The mapping that would not become ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mapping: Option<String>,
    /// The key of aws-auth that is invalid YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'static str>,
    /// The reason that the mapping's conditions give, or `InvalidYAML`.
    pub(super) reason: String,
}

impl GateFault {
    pub(super) fn line(&self) -> String {
        match (&self.mapping, self.key) {
            (Some(mapping), _) => {
                format!("mapping {mapping} would not become ready: {}", self.reason)
            }
            (None, Some(key)) => format!(
                "{key} of aws-auth is invalid YAML, so nobody in it has access; `identity-mapper lint` shows how to fix it"
            ),
            (None, None) => self.reason.clone(),
        }
    }
}

/// What changes in the backends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendChanges {
    pub(super) aws_auth: Option<AwsAuthChange>,
    /// The calls to EKS, by principal in order.
    pub(super) access_entries: Vec<Action>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LaterChanges {
    /// So long after now, at the earliest; `0s`: as soon as what comes before it exists.
    pub(super) after: String,
    #[serde(skip)]
    pub(super) seconds: i64,
    #[serde(flatten)]
    pub(super) changes: BackendChanges,
}

/// What is written to aws-auth.
#[derive(Serialize)]
pub(super) struct AwsAuthChange {
    pub(super) action: &'static str,
    /// The keys of `data` whose text changes.
    pub(super) keys: Vec<KeyText>,
    /// What becomes of single entries.
    pub(super) entries: Vec<TextEntry>,
}

#[derive(Serialize)]
pub(super) struct TextEntry {
    /// `added`, `changed`, `removed`, `adopted`, `marked`, `unmarked` or `retained`.
    pub(super) step: TextStepKind,
    /// The ARN as aws-auth has it.
    pub(super) arn: Option<String>,
    pub(super) mapping: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'static str>,
    /// The line within the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    /// `create`, `update`, `delete`, `associate`, `disassociate`, `tag` or `untag`.
    #[serde(rename = "action")]
    pub(super) kind: &'static str,
    /// The operation of the EKS API.
    pub(super) operation: &'static str,
    pub(super) principal_arn: String,
    pub(super) mapping: Option<String>,
    /// Of an entry that is made, changed or deleted: as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<EntryDocument>,
    /// Of an entry that is made or changed: as it will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<EntryDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy_arn: Option<String>,
    /// Where it is to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<ScopeDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope_before: Option<ScopeDocument>,
    /// Tags that are set; with `untag` those that are taken off.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
}

/// What an access entry gives, its policies apart.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryDocument {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) username: String,
    pub(super) kubernetes_groups: BTreeSet<String>,
    /// Names of the associated policies, with `delete` only: they go with the entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) policies: Vec<String>,
}

/// As the EKS API writes it.
#[derive(Serialize)]
pub(super) struct ScopeDocument {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) namespaces: BTreeSet<String>,
}

#[derive(Serialize)]
pub(super) struct MappingConditions {
    pub(super) name: String,
    pub(super) conditions: Vec<ConditionDocument>,
}

/// A condition, without its times.
#[derive(Serialize)]
pub(super) struct ConditionDocument {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl PlanDocument {
    /// A plan as a document. `bindings`: whether RBAC was read.
    pub(super) fn new(
        looked_at: LookedAt,
        course: Forecast,
        faults: Vec<GateFault>,
        now: Timestamp,
        bindings: bool,
    ) -> Self {
        let Forecast {
            finalizers,
            first,
            then,
            mappings,
            at_end: _,
            notes,
        } = course;
        let later = then.into_iter().map(|later| {
            let after = later.at.duration_since(now);
            LaterChanges {
                after: format!("{:#}", jiff::SignedDuration::from_secs(after.as_secs())),
                seconds: after.as_secs(),
                changes: BackendChanges::new(later.diff, later.at),
            }
        });
        let unknown = unknown_policies(&first);
        let gaps = gaps(&looked_at.mode, &first);
        Self {
            looked_at,
            changes: !first.is_empty(),
            faults,
            now: BackendChanges::new(first, now),
            later: later.collect(),
            finalizers,
            mappings: mappings
                .into_iter()
                .map(|(name, status)| MappingConditions {
                    name,
                    conditions: status
                        .conditions
                        .into_iter()
                        .filter(|condition| bindings || condition.type_ != "GroupsBound")
                        .map(ConditionDocument::from)
                        .collect(),
                })
                .collect(),
            notes: gaps
                .into_iter()
                .chain(unknown)
                .chain(notes.into_iter().map(|note| note.note))
                .collect(),
        }
    }
}

/// Policies that are associated and that AWS may not have. One that is certainly misspelled fails in the forecast.
fn unknown_policies(diff: &PlanDiff) -> Vec<String> {
    let table = PolicyTable::published();
    let calls = diff.entries.iter().flat_map(|entry| &entry.calls);
    let policies: BTreeSet<&str> = calls
        .filter_map(|call| match call {
            Call::Associate { policy_arn, .. } => Some(policy_name(policy_arn)),
            _ => None,
        })
        .filter(|policy| !table.is_known(policy) && table.misspelled(policy).is_none())
        .collect();
    let note = |policy| {
        format!(
            "AWS had no access policy {policy} on {}: EKS refuses it unless AWS added it later; `aws eks \
                list-access-policies` lists all",
            table.read
        )
    };
    policies.into_iter().map(note).collect()
}

/// Where an access entry is deleted and created again and nothing else grants access meanwhile.
fn gaps(mode: &str, diff: &PlanDiff) -> Vec<String> {
    let gap = |entry: &EntryDiff| {
        let deletes = |call: &&Call| matches!(call, Call::Delete { .. });
        let arn = entry.calls.iter().find(deletes)?.principal_arn();
        let creates = |call: &Call| matches!(call, Call::Create { principal_arn, .. } if principal_arn == arn);
        entry.calls.iter().any(creates).then(|| {
            format!(
                "{arn} has no access between the deletion of its access entry and the creation of the new one: EKS can't change \
                    the entry in place, and does not read aws-auth in this mode"
            )
        })
    };
    if mode == Mode::Api.as_str() {
        diff.entries.iter().filter_map(gap).collect()
    } else {
        Vec::new()
    }
}

impl From<Condition> for ConditionDocument {
    fn from(condition: Condition) -> Self {
        Self {
            type_: condition.type_,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
        }
    }
}

impl BackendChanges {
    fn new(diff: PlanDiff, now: Timestamp) -> Self {
        Self {
            aws_auth: diff.config_map.map(AwsAuthChange::from),
            access_entries: diff
                .entries
                .into_iter()
                .flat_map(|entry| actions(entry, now))
                .collect(),
        }
    }
}

impl From<ConfigMapDiff> for AwsAuthChange {
    fn from(diff: ConfigMapDiff) -> Self {
        let keys = diff.texts.into_iter().map(|(key, text)| KeyText {
            key,
            before: text.before,
            after: Some(text.after),
        });
        let entries = diff.steps.into_iter().map(|step| TextEntry {
            step: step.kind,
            arn: step.arn,
            mapping: step.mapping,
            key: step.line.map(|(section, _)| section.key()),
            line: step.line.map(|(_, line)| line),
        });
        Self {
            action: if diff.create { "create" } else { "update" },
            keys: keys.collect(),
            entries: entries.collect(),
        }
    }
}

/// The calls of one principal, each with what exists when it is made.
fn actions(diff: EntryDiff, now: Timestamp) -> Vec<Action> {
    let EntryDiff {
        mapping,
        calls,
        before,
        ..
    } = diff;
    let states = before.into_iter().map(|(arn, entry)| {
        let state = EntryState {
            entry: Some(entry),
            ..EntryState::default()
        };
        (arn, state)
    });
    let mut entries = Entries {
        listed: None,
        by_principal: states.collect(),
        ..Entries::default()
    };
    let mut actions = Vec::new();
    for call in calls {
        let standing = |entries: &Entries| {
            let state = entries.by_principal.get(call.principal_arn())?;
            state.entry.clone()
        };
        let before = standing(&entries);
        if let Some(output) = call.expected(before.as_ref(), now) {
            entries.apply(&call, output, now);
        }
        let after = standing(&entries);
        actions.push(Action::new(call, mapping.clone(), before, after));
    }
    actions
}

impl Action {
    fn new(
        call: Call,
        mapping: Option<String>,
        standing: Option<AccessEntry>,
        after: Option<AccessEntry>,
    ) -> Self {
        let mut action = Self {
            kind: "",
            operation: call.operation(),
            principal_arn: call.principal_arn().to_owned(),
            mapping,
            before: None,
            after: None,
            policy_arn: None,
            scope: None,
            scope_before: None,
            tags: BTreeMap::new(),
        };
        let scope_of = |policy: &String| {
            let association = standing.as_ref()?.policies.get(policy)?;
            Some(ScopeDocument::from(association.scope.clone()))
        };
        match call {
            Call::Describe { .. } => action.kind = "describe",
            Call::Create { tags, .. } => {
                action.kind = "create";
                action.after = after.map(EntryDocument::from);
                action.tags = tags;
            }
            Call::Update { .. } => {
                action.kind = "update";
                action.before = standing.map(EntryDocument::from);
                action.after = after.map(EntryDocument::from);
            }
            Call::Delete { .. } => {
                action.kind = "delete";
                action.before = standing.map(|entry| {
                    let names = entry.policies.keys();
                    let names =
                        names.map(|policy| crate::access_entry::policy_name(policy).to_owned());
                    let policies = names.collect();
                    EntryDocument {
                        policies,
                        ..EntryDocument::from(entry)
                    }
                });
            }
            Call::Associate {
                policy_arn, scope, ..
            } => {
                action.kind = "associate";
                action.scope_before = scope_of(&policy_arn);
                action.policy_arn = Some(policy_arn);
                action.scope = Some(scope.into());
            }
            Call::Disassociate { policy_arn, .. } => {
                action.kind = "disassociate";
                action.scope_before = scope_of(&policy_arn);
                action.policy_arn = Some(policy_arn);
            }
            Call::Tag { tags, .. } => {
                action.kind = "tag";
                action.tags = tags;
            }
            Call::Untag { keys, .. } => {
                action.kind = "untag";
                let tags = standing.map(|entry| entry.tags).unwrap_or_default();
                action.tags = tags
                    .into_iter()
                    .filter(|(key, _)| keys.contains(key))
                    .collect();
            }
        }
        action
    }
}

impl From<AccessEntry> for EntryDocument {
    fn from(entry: AccessEntry) -> Self {
        Self {
            kind: Kind::as_str(&entry.kind).to_owned(),
            username: entry.username,
            kubernetes_groups: entry.groups,
            policies: Vec::new(),
        }
    }
}

impl From<Scope> for ScopeDocument {
    fn from(scope: Scope) -> Self {
        let (kind, namespaces) = match scope {
            Scope::Cluster => ("cluster", BTreeSet::new()),
            Scope::Namespaces(namespaces) => ("namespace", namespaces),
        };
        Self { kind, namespaces }
    }
}
