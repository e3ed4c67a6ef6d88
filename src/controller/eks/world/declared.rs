//! What mappings declare, as the judge reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::access::{ADMIN_POLICY, Access, By, folded};
use crate::access_entry::{BRIDGE_GROUP, Scope};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{
    Adoption, BackendChoice, CONFIRM_ANNOTATION, Deletion, EntryType, ScopeType,
};
use crate::time::Timestamp;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorldMapping {
    pub(super) name: String,
    /// The principal, as [`folded`].
    pub(super) principal: String,
    pub(super) username: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) policies: BTreeMap<String, Scope>,
    pub(super) type_: EntryType,
    pub(super) backend: BackendChoice,
    pub(super) adoption: Adoption,
    pub(super) deletion: Deletion,
    pub(super) valid_until: Option<Timestamp>,
    pub(super) seen_valid_until: Option<Timestamp>,
    pub(super) suspended: bool,
    pub(super) deleting: bool,
    pub(super) confirms: BTreeSet<String>,
}

impl WorldMapping {
    /// Whether its end belongs to no mass removal: it was confirmed, leaves the entry, or comes at a time that was seen well before.
    pub(super) fn counts_for_no_limit(&self, now: Timestamp) -> bool {
        let seen = self.seen_valid_until;
        self.confirms.contains("mass-removal")
            || self.deletion == Deletion::Retain
            || seen.is_some_and(|seen| seen <= now && self.valid_until <= Some(seen))
    }

    pub(super) fn all(objects: &BTreeMap<String, IdentityMapping>) -> Vec<Self> {
        objects.values().map(Self::of).collect()
    }

    fn of(object: &IdentityMapping) -> Self {
        let spec = &object.spec;
        let arn = spec.principal.arn.clone().unwrap_or_default();
        let name = arn.rsplit('/').next().unwrap_or_default();
        let default = format!("arn:aws:sts::111122223333:assumed-role/{name}/{{{{SessionName}}}}");
        let annotations = object.metadata.annotations.as_ref();
        let words = annotations.and_then(|all| all.get(CONFIRM_ANNOTATION));
        let policies = spec.access_policies.iter().map(|policy| {
            let scope = match policy.scope.type_ {
                ScopeType::Cluster => Scope::Cluster,
                ScopeType::Namespace => {
                    Scope::Namespaces(policy.scope.namespaces.iter().cloned().collect())
                }
            };
            let arn = format!("arn:aws:eks::aws:cluster-access-policy/{}", policy.policy);
            (arn, scope)
        });
        let seen = object
            .status
            .as_ref()
            .and_then(|status| status.seen_valid_until.as_ref());
        Self {
            name: object.metadata.name.clone().unwrap_or_default(),
            principal: folded(&arn),
            username: spec.username.clone().unwrap_or(default),
            groups: spec.groups.iter().cloned().collect(),
            policies: policies.collect(),
            type_: spec.type_,
            backend: spec.backend,
            adoption: spec.adoption,
            deletion: spec.deletion,
            valid_until: spec.valid_until.as_ref().map(Timestamp::from),
            seen_valid_until: seen.map(Timestamp::from),
            suspended: spec.suspend,
            deleting: object.metadata.deletion_timestamp.is_some(),
            confirms: words
                .into_iter()
                .flat_map(|words| words.split(','))
                .map(|word| word.trim().to_owned())
                .collect(),
        }
    }

    pub(super) fn live(&self, now: Timestamp) -> bool {
        !self.deleting && !self.suspended && self.valid_until.is_none_or(|until| until > now)
    }

    pub(super) fn is_node(&self) -> bool {
        self.type_ != EntryType::Standard
    }

    /// Whether this access is what the mapping declares, or in flight there: an access entry gets its policies after it was made.
    pub(super) fn gives(&self, access: &Access) -> bool {
        if self.is_node() {
            return access.is_node_identity();
        }
        if access.username != self.username {
            return false;
        }
        match access.by {
            By::Text => access.groups == self.groups,
            By::Entry => {
                let masters = self.groups.contains("system:masters");
                let groups = access.groups.iter();
                let policies = access.policies.iter();
                groups.clone().all(|group| {
                    self.groups.contains(group) && group != "system:masters"
                        || group == BRIDGE_GROUP && masters
                }) && policies.clone().all(|(policy, scope)| {
                    self.policies.get(policy) == Some(scope)
                        || masters && policy == ADMIN_POLICY && *scope == Scope::Cluster
                })
            }
        }
    }

    /// Whether all that this access gives beyond what was given before is what the mapping declares: in an access entry, grants come
    /// before removals.
    pub(super) fn gives_on_the_way(&self, before: Option<&Access>, after: &Access) -> bool {
        let Some(before) = before.filter(|it| it.by == By::Entry && after.by == By::Entry) else {
            return self.gives(after);
        };
        let mut more = after.clone();
        more.groups.retain(|group| !before.groups.contains(group));
        more.policies
            .retain(|policy, scope| before.policies.get(policy) != Some(scope));
        if more.username == before.username && !self.is_node() {
            more.username.clone_from(&self.username);
        }
        self.gives(&more)
    }

    /// Whether this access is all that the mapping declares.
    pub(super) fn given_by(&self, access: &Access) -> bool {
        let masters = self.groups.contains("system:masters");
        let groups = self
            .groups
            .iter()
            .filter(|group| access.by == By::Text || *group != "system:masters");
        let policies = self.policies.keys().filter(|_| access.by == By::Entry);
        self.gives(access)
            && (self.is_node()
                || groups.clone().all(|group| access.groups.contains(group))
                    && policies
                        .clone()
                        .all(|policy| access.policies.contains_key(policy))
                    && (!masters || access.by == By::Text || access.is_made_admin()))
    }

    /// Whether two states of a mapping declare the same identity.
    pub(super) fn same_identity(&self, other: &Self) -> bool {
        (
            &self.principal,
            &self.username,
            &self.groups,
            &self.policies,
            self.type_,
        ) == (
            &other.principal,
            &other.username,
            &other.groups,
            &other.policies,
            other.type_,
        )
    }
}

/// What something that is in flight was decided by, and what has changed since then.
#[derive(Clone, Debug)]
pub(super) struct Since {
    /// The operator's clock when it was decided.
    pub(super) decided: Timestamp,
    /// The mappings as they were then, and after each change since.
    pub(super) mappings: Vec<Arc<Vec<WorldMapping>>>,
    /// Principals whose entry of either backend someone else changed since.
    pub(super) touched: BTreeSet<String>,
    /// Whether someone else took an administrator's access since.
    pub(super) administrator_lost: bool,
    /// Whether the definition was being deleted when it was decided.
    pub(super) definition_deleting: bool,
}

impl Since {
    pub(super) fn new(decided: Timestamp, declared: &Arc<Vec<WorldMapping>>) -> Self {
        Self {
            decided,
            mappings: vec![Arc::clone(declared)],
            touched: BTreeSet::new(),
            administrator_lost: false,
            definition_deleting: false,
        }
    }

    pub(super) fn declared(&mut self, now: &Arc<Vec<WorldMapping>>) {
        self.mappings.push(Arc::clone(now));
    }

    /// Each state of each mapping of a principal since it was decided.
    pub(super) fn of<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = &'a WorldMapping> {
        let all = self.mappings.iter().flat_map(|declared| declared.iter());
        all.filter(move |declared| declared.principal == principal)
    }

    pub(super) fn confirms(&self, principal: &str, word: &str) -> bool {
        self.of(principal)
            .any(|declared| declared.confirms.contains(word))
    }

    /// The mapping that declared the same identity for the principal all the time, and was live.
    pub(super) fn throughout<'a>(
        &'a self,
        principal: &'a str,
        now: Timestamp,
    ) -> Option<&'a WorldMapping> {
        let holder = |declared: &'a Arc<Vec<WorldMapping>>| {
            // An older mapping that is held, or another one of the principal, makes it none of this law's business.
            let mut all = declared.iter().filter(|it| it.principal == principal);
            let only = all.next()?;
            (all.next().is_none() && only.live(self.decided) && only.live(now)).then_some(only)
        };
        let first = holder(self.mappings.first()?)?;
        let same = |declared| holder(declared).is_some_and(|it| it.same_identity(first));
        self.mappings.iter().all(same).then_some(first)
    }
}
