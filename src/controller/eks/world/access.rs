//! Who really has access, evaluated by the judge itself.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::access_entry::{AccessEntry, Scope};
use crate::aws_auth::Document;
use crate::observed::{BindingSubjects, ConfigMapView, Mode};

pub(super) const ADMIN_POLICY: &str =
    "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

/// The principal that a login of it is compared by: in lower case, roles without their path.
pub(super) fn folded(arn: &str) -> String {
    let arn = arn.to_lowercase();
    match arn.split_once(":role/") {
        Some((account, path)) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            format!("{account}:role/{name}")
        }
        None => arn,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    Text,
    Entry,
}

/// What a principal becomes when it logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) username: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) policies: BTreeMap<String, Scope>,
    pub(super) by: By,
    pub(super) administrator: bool,
}

impl Access {
    fn new(
        username: &str,
        groups: BTreeSet<String>,
        policies: BTreeMap<String, Scope>,
        by: By,
        bindings: &[BindingSubjects],
    ) -> Self {
        let bound = |binding: &BindingSubjects| {
            binding.cluster_admin
                && (binding.groups.iter().any(|group| groups.contains(group))
                    || binding.users.contains(username))
        };
        let administrator = groups.contains("system:masters")
            || policies.get(ADMIN_POLICY) == Some(&Scope::Cluster)
            || bindings.iter().any(bound);
        Self {
            username: username.to_owned(),
            groups,
            policies,
            by,
            administrator,
        }
    }

    pub(super) fn of_entry(entry: &AccessEntry, bindings: &[BindingSubjects]) -> Self {
        let policies = entry.policies.iter();
        Self::new(
            &entry.username,
            entry.groups.clone(),
            policies
                .map(|(policy, it)| (policy.clone(), it.scope.clone()))
                .collect(),
            By::Entry,
            bindings,
        )
    }

    pub(super) fn is_made_admin(&self) -> bool {
        self.administrator
    }

    pub(super) fn is_node_identity(&self) -> bool {
        let groups = ["system:bootstrappers", "system:nodes"];
        self.username.starts_with("system:node:")
            || groups.iter().any(|group| self.groups.contains(*group))
    }

    pub(super) fn is_node(&self) -> bool {
        self.is_node_identity() && !self.administrator
    }

    /// Whether this gives nothing that `other` does not give.
    pub(super) fn within(&self, other: &Self) -> bool {
        let narrower = |(policy, scope): (&String, &Scope)| {
            let wider = other.policies.get(policy);
            wider.is_some_and(|wider| scope == wider || *wider == Scope::Cluster)
        };
        self.username == other.username
            && self.groups.is_subset(&other.groups)
            && self.policies.iter().all(narrower)
    }

    /// Whether both give the same, by whatever entry.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.within(other) && other.within(self)
    }
}

/// One entry of aws-auth: its principal as compared, and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TextEntry {
    pub(super) principal: String,
    pub(super) username: String,
    pub(super) groups: BTreeSet<String>,
}

impl TextEntry {
    /// The entries of a text in their order, dead ones included.
    pub(super) fn all(config_map: Option<&ConfigMapView>) -> Vec<Self> {
        let Some(view) = config_map else {
            return Vec::new();
        };
        let document = Document::parse(&view.data);
        let entries = document.entries().map(|entry| Self {
            principal: entry.arn.to_lowercase(),
            username: entry.username.clone(),
            groups: entry.groups.iter().cloned().collect(),
        });
        entries.collect()
    }
}

/// What each principal becomes that has access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accesses {
    pub(super) by_principal: BTreeMap<String, Access>,
    /// What aws-auth alone would give, also where it is not read.
    pub(super) text: BTreeMap<String, Access>,
}

impl Accesses {
    pub(super) fn of(world: &World) -> Self {
        let bindings = &world.bindings;
        let mut text = BTreeMap::new();
        for entry in TextEntry::all(world.config_map.as_ref()) {
            let has_path = entry.principal != folded(&entry.principal);
            if has_path || entry.username.is_empty() && entry.groups.is_empty() {
                continue;
            }
            let access = Access::new(
                &entry.username,
                entry.groups,
                BTreeMap::new(),
                By::Text,
                bindings,
            );
            text.insert(entry.principal, access);
        }
        let mut by_principal = BTreeMap::new();
        if world.mode != Mode::Api {
            by_principal.extend(text.clone());
        }
        if world.mode != Mode::ConfigMap {
            for entry in world.eks.entries.values() {
                let access = Access::of_entry(entry, bindings);
                by_principal.insert(folded(&entry.principal_arn), access);
            }
        }
        Self { by_principal, text }
    }

    pub(super) fn administrators(&self) -> BTreeSet<&String> {
        let all = self.by_principal.iter();
        all.filter(|(_, access)| access.administrator)
            .map(|(principal, _)| principal)
            .collect()
    }
}
