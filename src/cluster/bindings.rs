//! Keeps only the needed parts of RBAC bindings, so that their number and size do not increase memory.
//!
//! The administrator of a namespace may create `RoleBinding`s of a megabyte each. Of those only the groups that mappings name are kept, and
//! of bindings to `cluster-admin` all: those only an administrator can make. The price is that a group that no mapping named before has
//! to be searched for: until both kinds of binding have been listed anew it counts as unread, never as unbound.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::versioned::{Collection, Versioned, WatchChange};
use crate::desired::Mapping;
use crate::observed::{BindingSubjects, Bindings};

/// Which groups are looked for in bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Every one.
    All,
    /// Those that mappings name.
    Groups(BTreeSet<String>),
}

impl Interest {
    fn of<'a>(mappings: impl Iterator<Item = &'a Mapping>) -> Self {
        Self::Groups(mappings.flat_map(literal_groups).cloned().collect())
    }

    /// What is to be kept of a binding; `None`: nothing.
    #[must_use]
    pub fn narrow(&self, mut subjects: BindingSubjects) -> Option<BindingSubjects> {
        if !subjects.cluster_admin {
            subjects.groups.retain(|group| self.covers(group));
            subjects.users.clear();
        }
        let empty = subjects.groups.is_empty() && subjects.users.is_empty();
        (!empty).then_some(subjects)
    }

    fn covers(&self, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::Groups(groups) => groups.contains(group),
        }
    }
}

/// A template is no group that a binding could name.
fn literal_groups(mapping: &Mapping) -> impl Iterator<Item = &String> {
    mapping.groups.iter().filter(|group| !group.contains("{{"))
}

impl Versioned for BindingSubjects {
    fn resource_version(&self) -> &'static str {
        ""
    }
}

/// The bindings of one kind, and which groups they were searched for.
#[derive(Debug, Default)]
struct SearchedBindings {
    bindings: Collection<BindingSubjects>,
    searched: Option<Arc<Interest>>,
}

impl SearchedBindings {
    /// Whether something is otherwise now.
    fn apply(&mut self, change: WatchChange<BindingSubjects>, interest: Arc<Interest>) -> bool {
        let complete = matches!(change, WatchChange::Complete);
        let differs = self.bindings.apply(change, |before, after| before != after);
        if complete {
            self.searched = Some(interest);
        }
        differs || complete
    }

    fn searched(&self, group: &str) -> bool {
        self.searched
            .as_ref()
            .is_some_and(|interest| interest.covers(group))
    }
}

/// Both kinds of binding, and what mappings make of interest in them.
#[derive(Debug, Default)]
pub(super) struct KnownBindings {
    asked: Option<Arc<Interest>>,
    roles: SearchedBindings,
    cluster_roles: SearchedBindings,
    all: Bindings,
}

impl KnownBindings {
    /// Keeps every group.
    pub(super) fn keep_all(&mut self) {
        self.asked = Some(Arc::new(Interest::All));
    }

    /// What is to be searched for; `None` before the mappings are known.
    pub(super) fn interest(&self) -> Option<&Arc<Interest>> {
        self.asked.as_ref()
    }

    /// Whether this mapping names a group that is not searched for.
    pub(super) fn is_new_to(&self, mapping: &Mapping) -> bool {
        match &self.asked {
            Some(asked) => literal_groups(mapping).any(|group| !asked.covers(group)),
            None => true,
        }
    }

    /// Searches for the groups of all mappings, where one of them is new.
    pub(super) fn ask<'a>(&mut self, mappings: impl Iterator<Item = &'a Mapping> + Clone) {
        if self.asked.is_none() || mappings.clone().any(|mapping| self.is_new_to(mapping)) {
            self.asked = Some(Arc::new(Interest::of(mappings)));
            self.derive();
        }
    }

    pub(super) fn apply_role_binding(
        &mut self,
        change: WatchChange<BindingSubjects>,
        interest: Arc<Interest>,
    ) {
        if self.roles.apply(change, interest) {
            self.derive();
        }
    }

    pub(super) fn apply_cluster_role_binding(
        &mut self,
        change: WatchChange<BindingSubjects>,
        interest: Arc<Interest>,
    ) {
        if self.cluster_roles.apply(change, interest) {
            self.derive();
        }
    }

    /// What has not been listed yet, in words for people.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'static str> {
        [
            ("RoleBindings", &self.roles),
            ("ClusterRoleBindings", &self.cluster_roles),
        ]
        .into_iter()
        .filter_map(|(what, kind)| (!kind.bindings.is_complete()).then_some(what))
    }

    pub(super) fn all(&self) -> &Bindings {
        &self.all
    }

    fn derive(&mut self) {
        let kinds = [&self.roles, &self.cluster_roles];
        self.all = kinds
            .into_iter()
            .flat_map(|kind| kind.bindings.iter())
            .map(|(_, subjects)| subjects)
            .collect();
        if let Some(Interest::Groups(groups)) = self.asked.as_deref() {
            let unread = |group: &&String| !kinds.iter().all(|kind| kind.searched(group));
            self.all.unread = groups.iter().filter(unread).cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(groups: &[&str]) -> Mapping {
        let object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": { "name": "a" },
            "spec": { "principal": { "arn": "arn:aws:iam::111122223333:role/a" }, "groups": groups },
        });
        Mapping::from_object(&serde_json::from_value(object).expect("an IdentityMapping"))
    }

    fn subjects(groups: &[&str], cluster_admin: bool) -> BindingSubjects {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        BindingSubjects {
            groups: set(groups),
            users: set(&["someone"]),
            cluster_admin,
        }
    }

    /// A list of one binding of each kind, as a watch that narrows it tells of it.
    fn list(known: &mut KnownBindings, interest: &Arc<Interest>, groups: &[&str]) {
        let narrowed = interest.narrow(subjects(groups, false));
        let listed = narrowed.map(|subjects| WatchChange::Listed("ns/b".to_owned(), subjects));
        let changes = [
            Some(WatchChange::Restart),
            listed,
            Some(WatchChange::Complete),
        ];
        for change in changes.into_iter().flatten() {
            known.apply_role_binding(change, Arc::clone(interest));
        }
        for change in [WatchChange::Restart, WatchChange::Complete] {
            known.apply_cluster_role_binding(change, Arc::clone(interest));
        }
    }

    #[test]
    fn of_a_binding_only_groups_that_mappings_name_are_kept() {
        let interest = Interest::of([&mapping(&["dev", "{{SessionName}}"])].into_iter());
        let many: Vec<String> = (0..20_000).map(|number| format!("g{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(interest.narrow(subjects(&many, false)), None);
        let with_ours = [many.as_slice(), &["dev"]].concat();
        let kept = interest.narrow(subjects(&with_ours, false)).expect("kept");
        assert_eq!(kept.groups, BTreeSet::from(["dev".to_owned()]));
        assert!(kept.users.is_empty());
        let admin = subjects(&["ops"], true);
        assert_eq!(interest.narrow(admin.clone()), Some(admin));
        let all = Interest::All.narrow(subjects(&["x"], false));
        assert_eq!(all.expect("kept").groups.len(), 1);
    }

    #[test]
    fn a_new_group_is_unread_until_both_kinds_were_searched_for_it() {
        let mut known = KnownBindings::default();
        let (dev, ops) = (mapping(&["dev"]), mapping(&["ops"]));
        known.ask([&dev].into_iter());
        let first = Arc::clone(known.interest().expect("mappings are known"));
        assert!(known.all().unread.contains("dev"));
        list(&mut known, &first, &["dev", "ops"]);
        assert!(known.all().unread.is_empty() && known.missing().next().is_none());
        assert!(known.all().groups.contains("dev") && !known.all().groups.contains("ops"));

        known.ask([&dev].into_iter());
        assert!(Arc::ptr_eq(known.interest().expect("as before"), &first));
        assert!(known.is_new_to(&ops));
        known.ask([&dev, &ops].into_iter());
        assert_eq!(known.all().unread, BTreeSet::from(["ops".to_owned()]));
        // What is told meanwhile was read for the old interest.
        list(&mut known, &first, &["dev", "ops"]);
        assert!(known.all().unread.contains("ops"));
        let second = Arc::clone(known.interest().expect("a new one"));
        for change in [WatchChange::Restart, WatchChange::Complete] {
            known.apply_cluster_role_binding(change, Arc::clone(&second));
        }
        assert!(known.all().unread.contains("ops"), "only one kind was read");
        list(&mut known, &second, &["dev", "ops"]);
        assert!(known.all().unread.is_empty());
        assert!(known.all().groups.contains("ops"));
    }
}
