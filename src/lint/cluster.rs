//! Findings that need a cluster: bindings, IAM, what EKS requires, and whether nodes have access.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::code::Code;
use super::entries::names;
use super::finding::{LintFinding, LintReport, SourceText};
use super::mappings::{self, not_in_effect};
use super::names::{joined, misspelled, role_as_group};
use super::read::PlacedDocument;
use super::text::TextSpan;
use crate::access_entry::{Entries, Kind};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{EntryType, IdentityMappingStatus};
use crate::aws_auth::{Document, Entry, Places, Section, fold_arn};
use crate::effective::{is_node, unmatchable};
use crate::manifest::{Mappings, Source, read};
use crate::observed::{
    AwsView, Binding, Bindings, ConfigMapName, ConfigMapView, Iam, Listing, Mode,
};
use crate::ownership::Marked;
use crate::principal::{Key, Partition, PrincipalKind};

/// The `ClusterRole` and the binding of it that EKS makes for itself.
pub(crate) const NODE_MANAGER: &str = "eks:node-manager";
/// Kubernetes' own binding of callers that did not sign in.
const PUBLIC_INFO: &str = "system:public-info-viewer";

/// Guesses of a text alone. Whether a binding names the group is known of a cluster, and reported.
const TEXT_ONLY: [Code; 2] = [Code::UnknownSystemGroup, Code::RoleAsGroup];

/// A cluster, as far as it could be read.
pub(crate) struct ClusterFacts<'a> {
    /// The ConfigMap that is meant.
    pub(crate) name: &'a ConfigMapName,
    /// aws-auth; `None` where it does not exist.
    pub(crate) config_map: Option<&'a ConfigMapView>,
    /// Whether the history holds a copy of it.
    pub(crate) has_history: bool,
    /// The authentication mode; `None` where it is not known.
    pub(crate) mode: Option<Mode>,
    pub(crate) bindings: &'a [Binding],
    pub(crate) bound: &'a Bindings,
    /// The cluster's partition; `None` where it is not known.
    pub(crate) partition: Option<Partition>,
    /// The access entries; `None` where EKS was not asked.
    pub(crate) entries: Option<&'a Entries>,
    pub(crate) iam: Option<&'a Iam>,
    /// EKS, where it was asked.
    pub(crate) view: Option<&'a AwsView>,
    /// aws-auth as the authenticator reads it.
    pub(crate) document: Option<&'a Document>,
    /// The OIDC identity providers of the cluster; `None` where they are not known.
    pub(crate) identity_providers: Option<&'a [String]>,
    /// What the statuses of the mappings come to, by name.
    pub(crate) statuses: &'a BTreeMap<String, IdentityMappingStatus>,
    /// Whether the ClusterRole `eks:node-manager` is there; `None` where it was not asked for, or the cluster is not EKS's.
    pub(crate) node_manager: Option<bool>,
    pub(crate) mappings: &'a [IdentityMapping],
}

#[must_use]
pub(crate) fn check_cluster(facts: &ClusterFacts<'_>) -> LintReport {
    let mut report = LintReport::default();
    let empty = BTreeMap::new();
    let data = facts.config_map.map_or(&empty, |view| &view.data);
    if facts.mode == Some(Mode::Api) {
        if !data.is_empty() {
            report.say(&facts.name.to_string(), not_read());
        }
    } else {
        facts.aws_auth(&mut report, data);
    }
    facts.nodes(&mut report, data);
    facts.access_entries(&mut report);
    for binding in facts.bindings {
        for finding in anonymous(binding) {
            report.say(&binding.to_string(), finding);
        }
    }
    facts.bindings_of_nobody(&mut report);
    if facts.node_manager.is_some() {
        facts.node_manager(&mut report);
    }
    facts.mappings(&mut report);
    report
}

impl LintReport {
    /// A finding about something that has no text of its own.
    pub(super) fn say(&mut self, what: &str, finding: LintFinding<()>) {
        self.sources.push(SourceText {
            source: Source {
                name: "the cluster".to_owned(),
                text: what.to_owned(),
            },
            within: None,
        });
        self.take(self.sources.len() - 1, 0..what.len(), finding);
    }
}

impl ClusterFacts<'_> {
    fn aws_auth(&self, report: &mut LintReport, data: &BTreeMap<String, String>) {
        let managed = self.config_map.map(Marked::of).unwrap_or_default();
        let read = PlacedDocument::new(data).with_managed(managed);
        let mut findings = read.check(self.partition, &|entry| {
            format!("line {} of {}", entry.line, entry.section)
        });
        findings.retain(|found| match found.code {
            Code::NoGroups => !self.binds_username(&read, found),
            code => !TEXT_ONLY.contains(&code),
        });
        for (entry, places) in read.entries() {
            findings.extend(self.entry(entry, places));
        }
        for section in Section::ALL {
            let (mut mine, rest): (Vec<LintFinding<TextSpan>>, Vec<LintFinding<TextSpan>>) =
                findings
                    .into_iter()
                    .partition(|found: &LintFinding<TextSpan>| found.at.0 == section);
            findings = rest;
            if mine.is_empty() {
                continue;
            }
            report.sources.push(SourceText {
                source: Source {
                    name: format!("{section} of {}", self.name),
                    text: read.text(section).to_owned(),
                },
                within: None,
            });
            mine.sort_by(|a, b| {
                (a.at.1.start, a.code, &a.title).cmp(&(b.at.1.start, b.code, &b.title))
            });
            for finding in mine {
                let span = finding.at.1.clone();
                report.take(report.sources.len() - 1, span, finding);
            }
        }
    }

    /// Whether a binding names the username of an entry without groups.
    fn binds_username(&self, read: &PlacedDocument<'_>, found: &LintFinding<TextSpan>) -> bool {
        let (section, span) = &found.at;
        let entry = read.entry_at(*section, span.start);
        entry.is_some_and(|entry| {
            self.bindings
                .iter()
                .any(|binding| binding.users.contains(&entry.username))
        })
    }

    fn entry(&self, entry: &Entry, places: &Places) -> Vec<LintFinding<TextSpan>> {
        let names = names(entry, places);
        // The group is changed in the mapping, so it is reported there.
        let declared = self.declared_groups(entry);
        let mut findings: Vec<LintFinding<TextSpan>> = names
            .groups
            .iter()
            .filter(|group| self.is_unbound(group.text) && !declared.contains(group.text))
            .map(|group| unbound(group.text, group.at.clone()))
            .collect();
        findings.extend(self.principal(entry, places));
        findings
    }

    /// The groups that mappings declare for the principal of an entry.
    fn declared_groups(&self, entry: &Entry) -> BTreeSet<&str> {
        let Some(key) = entry.key() else {
            return BTreeSet::new();
        };
        let names_it = |mapping: &&IdentityMapping| {
            let resolved = mapping
                .status
                .as_ref()
                .and_then(|it| it.principal_arn.as_ref());
            let arn = mapping.spec.principal.arn.as_ref().or(resolved);
            arn.and_then(|arn| Key::parse_arn(arn)).as_ref() == Some(&key)
        };
        let mappings = self.mappings.iter().filter(names_it);
        mappings
            .flat_map(|mapping| mapping.spec.groups.iter().map(String::as_str))
            .collect()
    }

    fn is_unbound(&self, group: &str) -> bool {
        let told = group.is_empty()
            || group.contains("{{")
            || group.contains(" - ")
            || joined(group).is_some()
            || group.trim() != group;
        let known = misspelled(group).is_some();
        !told && !known && !self.bound.groups.contains(group)
    }

    /// Whether IAM still has the principal. Only whole listings count.
    fn principal(&self, entry: &Entry, places: &Places) -> Option<LintFinding<TextSpan>> {
        if unmatchable(entry, self.partition).is_some() {
            return None;
        }
        let key = entry.key()?;
        let account = self.iam?.accounts.get(key.account())?;
        let (listing, kind): (Option<&Listing>, _) = match key.kind() {
            PrincipalKind::Role => (account.roles.as_ref(), "role"),
            PrincipalKind::User => (account.users.as_ref(), "user"),
        };
        let at = (
            entry.section,
            places.arn.clone().unwrap_or_else(|| entry.span.clone()),
        );
        let finding = |code, title: String, label: String, fix: String| LintFinding {
            code,
            at: at.clone(),
            title,
            label,
            fix,
            edits: Vec::new(),
            proposed: Vec::new(),
        };
        match listing?.principals.get(key.name()) {
            None => Some(finding(
                Code::PrincipalGone,
                format!(
                    "{kind} {:?} that does not exist in IAM of account {}",
                    key.name(),
                    key.account()
                ),
                format!(
                    "anyone who creates a {kind} with this name gets access as {:?}",
                    entry.username
                ),
                "remove the entry, or make sure that only you can create a principal with this name".to_owned(),
            )),
            Some(found)
                if key.kind() == PrincipalKind::User
                    && fold_arn(&found.arn) != entry.matched_arn() =>
            {
                Some(finding(
                    Code::UserPath,
                    format!("user path that differs from IAM: {}", found.arn),
                    "never matches: the user has no access".to_owned(),
                    format!("write {}", found.arn),
                ))
            }
            Some(_) => None,
        }
    }

    /// Whether any entry grants nodes access.
    fn nodes(&self, report: &mut LintReport, data: &BTreeMap<String, String>) {
        let in_text = lets_nodes_in(&PlacedDocument::new(data), self.bound, self.partition);
        let is_node_entry = |kind: &Kind| *kind != Kind::Known(EntryType::Standard);
        let in_eks = self.entries.is_some_and(|entries| {
            let described = entries
                .by_principal
                .values()
                .filter_map(|state| state.entry.as_ref());
            described.map(|entry| &entry.kind).any(is_node_entry)
        });
        let missing = match self.mode {
            Some(Mode::ConfigMap) => !in_text,
            Some(Mode::ApiAndConfigMap) => !in_text && !in_eks && self.entries.is_some(),
            Some(Mode::Api) => !in_eks && self.entries.is_some(),
            None => false,
        };
        if missing {
            let what = if self.config_map.is_none() && self.mode != Some(Mode::Api) {
                format!("{} does not exist", self.name)
            } else {
                self.name.to_string()
            };
            report.say(&what, no_node_entry(self.mode, self.has_history));
        }
    }

    fn node_manager(&self, report: &mut LintReport) {
        let role = self.node_manager == Some(true);
        let binding = self.bindings.iter().any(|binding| {
            binding.namespace.is_none()
                && binding.role.name == NODE_MANAGER
                && binding.users.contains(NODE_MANAGER)
        });
        let missing = match (role, binding) {
            (true, true) => return,
            (true, false) => format!("ClusterRoleBinding {NODE_MANAGER}"),
            (false, true) => format!("ClusterRole {NODE_MANAGER}"),
            (false, false) => format!("ClusterRole and ClusterRoleBinding {NODE_MANAGER}"),
        };
        let finding = LintFinding {
            code: Code::NodeManager,
            at: (),
            title: format!("missing {missing}"),
            label: "EKS can't manage nodes".to_owned(),
            fix: "apply the manifest that `identity-mapper lint --explain IM062` prints".to_owned(),
            edits: Vec::new(),
            proposed: Vec::new(),
        };
        report.say(&missing, finding);
    }

    fn mappings(&self, report: &mut LintReport) {
        let mut sources = Vec::new();
        for object in self.mappings {
            let name = object.metadata.name.clone().unwrap_or_default();
            let shown = serde_json::json!({
                "apiVersion": "identity-mapper.dev/v1alpha1",
                "kind": "IdentityMapping",
                "metadata": {"name": name},
                "spec": object.spec,
            });
            if let Ok(text) = serde_saphyr::to_string(&shown) {
                sources.push(Source {
                    name: format!("IdentityMapping {name}"),
                    text,
                });
            }
        }
        let mut found = Mappings::default();
        for (number, source) in sources.iter().enumerate() {
            for manifest in read(&source.text).into_iter().flatten() {
                found.take(number, manifest);
            }
        }
        let mut findings: Vec<(usize, LintFinding<Range<usize>>)> =
            mappings::check(&found, &sources);
        findings.retain(|(_, finding)| !TEXT_ONLY.contains(&finding.code));
        for declared in &found.declared {
            let groups = declared.object.spec.groups.iter().enumerate();
            for (number, group) in groups.filter(|(_, group)| self.is_unbound(group)) {
                let at = declared.manifest.span_of(&format!("spec.groups[{number}]"));
                findings.push((declared.source, unbound(group, at)));
            }
        }
        let reported: BTreeSet<usize> = findings.iter().map(|(source, _)| *source).collect();
        for declared in &found.declared {
            let name = declared.object.metadata.name.as_deref().unwrap_or_default();
            let at = declared.manifest.span_of("spec.principal");
            // What is wrong with the object itself is said already.
            let status = self.statuses.get(name);
            let status = status.filter(|_| !reported.contains(&declared.source));
            let finding = status.and_then(|status| not_in_effect(name, status, at));
            findings.extend(finding.map(|finding| (declared.source, finding)));
        }
        let with_findings: BTreeSet<usize> = findings.iter().map(|(source, _)| *source).collect();
        let base = report.sources.len();
        let numbers: BTreeMap<usize, usize> = with_findings.into_iter().zip(base..).collect();
        let texts = numbers.keys().map(|number| SourceText {
            source: sources[*number].clone(),
            within: None,
        });
        report.sources.extend(texts);
        findings.sort_by(|(a, left), (b, right)| {
            (a, left.at.start, left.code).cmp(&(b, right.at.start, right.code))
        });
        for (source, finding) in findings {
            report.take(numbers[&source], finding.at.clone(), finding);
        }
    }
}

fn unbound<P>(group: &str, at: P) -> LintFinding<P> {
    LintFinding {
        code: Code::UnboundGroup,
        at,
        title: format!("group {group:?} without a binding"),
        label: "it grants nothing".to_owned(),
        fix: role_as_group(group).unwrap_or_else(|| {
            format!(
                "bind it, for example: kubectl create clusterrolebinding {} --clusterrole=view --group={group}",
                group.replace(':', "-")
            )
        }),
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// aws-auth where it is not read.
pub(super) fn not_read() -> LintFinding<()> {
    LintFinding {
        code: Code::NotRead,
        at: (),
        title: "aws-auth with entries in a cluster that does not read it".to_owned(),
        label: "none of these entries has an effect".to_owned(),
        fix: "delete it when you no longer need it for reference; `identity-mapper access` lists who has access by access \
            entries".to_owned(),
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// Whether an entry grants nodes access, as far as can be determined: entries in a key that does not parse are not known.
pub(super) fn lets_nodes_in(
    read: &PlacedDocument<'_>,
    bindings: &Bindings,
    partition: Option<Partition>,
) -> bool {
    let broken = |section| read.document.section(section).broken.is_some();
    let mut entries = read.document.entries();
    broken(Section::Roles)
        || entries.any(|entry| {
            is_node(&entry.meaning(), bindings) && unmatchable(entry, partition).is_none()
        })
}

/// What is wrong where no entry grants nodes access.
pub(super) fn no_node_entry(mode: Option<Mode>, has_history: bool) -> LintFinding<()> {
    let fix = match (mode, has_history) {
        (Some(Mode::Api), _) => {
            "create an access entry of type EC2_LINUX for the role of the nodes: `aws eks describe-nodegroup --cluster-name \
                CLUSTER --nodegroup-name NAME --query nodegroup.nodeRole` prints it"
                .to_owned()
        }
        (Some(Mode::ConfigMap | Mode::ApiAndConfigMap) | None, history) => {
            let rollback = if history {
                "restore the previous aws-auth (`identity-mapper rollback` lists the copies, `identity-mapper rollback restore \
                    COPY` restores one); or "
            } else {
                ""
            };
            format!(
                "{rollback}add an entry for the role of the nodes, without its path (`aws eks describe-nodegroup --cluster-name CLUSTER \
                 --nodegroup-name NAME --query nodegroup.nodeRole` prints its ARN), to mapRoles: {{rolearn: \"ARN\", username: \
                 \"system:node:{{{{EC2PrivateDNSName}}}}\", groups: [\"system:bootstrappers\", \"system:nodes\"]}}"
            )
        }
    };
    LintFinding {
        code: Code::NoNodeEntry,
        at: (),
        title: "no entry for nodes".to_owned(),
        label: "no node can join".to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// What callers that did not sign in may do, beside what Kubernetes itself lets them.
fn anonymous(binding: &Binding) -> Vec<LintFinding<()>> {
    if binding.namespace.is_none()
        && binding.name == PUBLIC_INFO
        && binding.role.name == PUBLIC_INFO
    {
        return Vec::new();
    }
    let groups = ["system:unauthenticated"]
        .into_iter()
        .filter(|group| binding.groups.contains(*group));
    let users = ["system:anonymous"]
        .into_iter()
        .filter(|user| binding.users.contains(*user));
    let finding = |subject: &str| {
        let (kind, namespace) = match &binding.namespace {
            Some(namespace) => ("rolebinding", format!(" -n {namespace}")),
            None => ("clusterrolebinding", String::new()),
        };
        LintFinding {
            code: Code::AnonymousBinding,
            at: (),
            title: format!(
                "{subject} bound to {} {}",
                binding.role.kind, binding.role.name
            ),
            label: "grants these permissions without authentication".to_owned(),
            fix: format!(
                "remove the subject, or delete the binding: kubectl delete {kind} {}{namespace}",
                binding.name
            ),
            edits: Vec::new(),
            proposed: Vec::new(),
        }
    };
    groups.chain(users).map(finding).collect()
}
