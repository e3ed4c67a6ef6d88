//! Findings about access entries that need a cluster, and about bindings of names that no principal has.

use std::collections::BTreeSet;

use super::cluster::ClusterFacts;
use super::code::Code;
use super::finding::{LintFinding, LintReport};
use crate::access_entry::{AccessEntry, EntryState};
use crate::aws_auth::{Document, Section};
use crate::effective::{Life, Standing, StandingEntries, becomes, can_match};
use crate::explain::{quoted, recreate_commands};
use crate::observed::{AwsView, Binding, Mode};
use crate::principal::Principal;

/// What some take for the group of an access entry: `eks-access-entry:` and the principal's ARN. EKS gives it to nobody.
const NO_GROUP: &str = "eks-access-entry:";
/// Names of Kubernetes, of EKS and of our handover, which no entry has to give.
const RESERVED: [&str; 6] = [
    "system:",
    "eks:",
    "aws:",
    "amazon:",
    "iam:",
    "identity-mapper:",
];

/// The names that logins can have.
#[derive(Default)]
struct GivenNames<'a> {
    usernames: Vec<&'a str>,
    groups: Vec<&'a str>,
    /// Whole accounts sign in under their ARNs.
    whole_accounts: bool,
}

impl ClusterFacts<'_> {
    /// Access entries that grant nothing: those of nodes first.
    pub(super) fn access_entries(&self, report: &mut LintReport) {
        let Some(view) = self.view.filter(|view| view.mode != Mode::ConfigMap) else {
            return;
        };
        let entries = StandingEntries::new(view);
        let known = entries.all().filter_map(|it| Some((it, it.known()?)));
        let mut known: Vec<(&Standing<'_>, &AccessEntry)> = known.collect();
        let users = self.bindings.iter().flat_map(|binding| &binding.users);
        let users: BTreeSet<String> = users.cloned().collect();
        known.sort_by_key(|(standing, entry)| (!entry.kind.is_node(), standing.principal_arn));
        for (standing, entry) in known {
            let what = format!(
                "access entry {} of type {}",
                entry.principal_arn, entry.kind
            );
            if standing.life.is_dead() {
                report.say(&what, dead(view, standing, entry));
            } else if self.grants_nothing(entry, &users) {
                report.say(&what, powerless(view, entry));
            }
        }
    }

    /// Whether nothing binds what an entry gives. EKS makes those of its own roles, and uses them as it likes.
    fn grants_nothing(&self, entry: &AccessEntry, users: &BTreeSet<String>) -> bool {
        let is_aws = Principal::parse(&entry.principal_arn)
            .is_ok_and(|principal| principal.is_service_linked());
        let mut groups = entry.groups.iter();
        let is_bound = groups.any(|group| becomes(group, &self.bound.groups).is_some());
        !is_aws
            && !entry.kind.is_node()
            && entry.policies.is_empty()
            && !is_bound
            && becomes(&entry.username, users).is_none()
    }

    /// Bindings of names that no login has.
    pub(super) fn bindings_of_nobody(&self, report: &mut LintReport) {
        let given = self.given_names();
        // Who writes the name into an entry has it, whatever it looks like.
        let written = |kind: &str, name: &str| {
            let names = self.entry_names();
            names.has(kind, name)
        };
        for binding in self.bindings {
            let groups = binding.groups.iter().map(|name| ("group", name.as_str()));
            let users = binding.users.iter().map(|name| ("user", name.as_str()));
            for (kind, name) in groups.chain(users) {
                if let Some(arn) = name.strip_prefix(NO_GROUP).filter(|_| !written(kind, name)) {
                    report.say(&binding.to_string(), not_a_group(kind, name, arn));
                } else if given.as_ref().is_some_and(|given| !given.has(kind, name)) {
                    report.say(&binding.to_string(), nobody(binding, kind, name));
                }
            }
        }
    }

    /// The names that logins can have; `None` where they can't all be known.
    fn given_names(&self) -> Option<GivenNames<'_>> {
        let mode = self.mode?;
        if !self.identity_providers?.is_empty() {
            return None;
        }
        let mut given = GivenNames::default();
        if let Some(document) = self.document.filter(|_| mode != Mode::Api) {
            given.take_aws_auth(document)?;
        }
        if mode != Mode::ConfigMap {
            let mut states = self.view?.entries.by_principal.values();
            if states.any(|state| state.known().is_none()) {
                return None;
            }
        }
        let GivenNames {
            usernames, groups, ..
        } = self.entry_names();
        given.usernames.extend(usernames);
        given.groups.extend(groups);
        Some(given)
    }

    /// The names that access entries and mappings give, as far as they are known.
    fn entry_names(&self) -> GivenNames<'_> {
        let mut given = GivenNames::default();
        let states = self
            .view
            .into_iter()
            .flat_map(|view| view.entries.by_principal.values());
        for entry in states.filter_map(EntryState::known) {
            given.usernames.push(&entry.username);
            given.groups.extend(entry.groups.iter().map(String::as_str));
        }
        for mapping in self.mappings {
            given.usernames.extend(mapping.spec.username.as_deref());
            let groups = mapping.spec.groups.iter().map(String::as_str);
            given.groups.extend(groups);
        }
        given
    }
}

impl<'a> GivenNames<'a> {
    /// `None` where a key can't be read.
    fn take_aws_auth(&mut self, document: &'a Document) -> Option<()> {
        for section in Section::ALL {
            let view = document.section(section);
            if view.broken.is_some() {
                return None;
            }
            self.whole_accounts |= !view.accounts.is_empty();
            for entry in view.entries.iter().filter(|entry| can_match(entry)) {
                self.usernames.push(&entry.username);
                self.groups.extend(entry.groups.iter().map(String::as_str));
            }
        }
        Some(())
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        if RESERVED.iter().any(|prefix| name.starts_with(prefix)) {
            return true;
        }
        let names = if kind == "group" {
            &self.groups
        } else {
            &self.usernames
        };
        let one = BTreeSet::from([name.to_owned()]);
        (kind == "user" && self.whole_accounts && name.starts_with("arn:"))
            || names.iter().any(|given| becomes(given, &one).is_some())
    }
}

fn finding(code: Code, title: String, label: &str, fix: String) -> LintFinding<()> {
    LintFinding {
        code,
        at: (),
        title,
        label: label.to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

fn dead(view: &AwsView, standing: &Standing<'_>, entry: &AccessEntry) -> LintFinding<()> {
    let label = if entry.kind.is_node() {
        "nodes with this role can't join"
    } else {
        "grants no access"
    };
    let again = |arn: &str| {
        let commands = recreate_commands(&view.cluster.cli_flags(), entry, arn);
        format!(
            "delete the entry and create it again: {}",
            commands.join(" && ")
        )
    };
    let (what, fix) = match &standing.life {
        Life::Missing { elsewhere: None } | Life::Alive | Life::Unknown => (
            "deleted",
            format!(
                "delete it: aws eks delete-access-entry {} --principal-arn {}; or recreate the principal and lint again",
                view.cluster.cli_flags(),
                quoted(&entry.principal_arn)
            ),
        ),
        Life::Missing {
            elsewhere: Some(arn),
        } => ("moved", again(arn)),
        Life::Recreated { .. } => ("recreated", again(&entry.principal_arn)),
    };
    let title = format!("access entry of a {what} principal: {}", standing.life);
    finding(Code::DeadAccessEntry, title, label, fix)
}

fn powerless(view: &AwsView, entry: &AccessEntry) -> LintFinding<()> {
    let groups: Vec<&str> = entry.groups.iter().map(String::as_str).collect();
    let title = if groups.is_empty() {
        "access entry without groups and access policies".to_owned()
    } else {
        format!(
            "access entry without access policies, whose groups no binding names: {}",
            groups.join(", ")
        )
    };
    let bind = groups.first().map_or_else(String::new, |group| {
        format!(
            "; or bind the group: kubectl create clusterrolebinding {} --clusterrole=view --group={}",
            quoted(&group.replace(':', "-")),
            quoted(group)
        )
    });
    let partition = view.cluster.partition();
    let partition = partition.map_or("aws", |partition| partition.as_str());
    let fix = format!(
        "associate an access policy: aws eks associate-access-policy {} --principal-arn {} --policy-arn \
            arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSViewPolicy --access-scope type=cluster{bind}",
        view.cluster.cli_flags(),
        quoted(&entry.principal_arn)
    );
    finding(
        Code::PowerlessAccessEntry,
        title,
        "the principal can sign in but has no permissions",
        fix,
    )
}

fn not_a_group(kind: &str, name: &str, arn: &str) -> LintFinding<()> {
    finding(
        Code::BindingOfAccessEntry,
        format!("binding of the {kind} {name}"),
        "no login has this name",
        format!(
            "bind a group of your own instead, and give it to the access entry of {arn}: its kubernetesGroups, or spec.groups of its \
                mapping"
        ),
    )
}

fn nobody(binding: &Binding, kind: &str, name: &str) -> LintFinding<()> {
    let (resource, namespace) = match &binding.namespace {
        Some(namespace) => ("rolebinding", format!(" -n {namespace}")),
        None => ("clusterrolebinding", String::new()),
    };
    finding(
        Code::BindsNobody,
        format!("binding of {kind} {name}, which no login has"),
        "grants nothing now",
        format!(
            "give the {kind} to an entry or mapping; or remove it from the binding, unless it is used by impersonation: kubectl edit \
                {resource} {}{namespace}",
            binding.name
        ),
    )
}
