//! What exists implies the mappings of a migration without the operator: each principal's entry, taken as if it were imported.
//!
//! Nothing is remembered between two runs, so the same has to follow from every state on the way. Invariants:
//!
//! - a principal is implied once, by its entry of aws-auth or by its managed access entry, never by both;
//! - while both exist, aws-auth says what is declared: the access entry is made from it, and may be half made;
//! - what the authenticator passed over before is never taken for what is declared once the entry that won has gone.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;

use super::mapping_from_entry::mapping_from_entry;
use crate::access_entry::{
    ADMIN_POLICY, AccessEntry, BRIDGE_GROUP, INSTALLATION_TAG, Kind, MAPPING_TAG, NodeTwin, Scope,
    node_twin, policy_name,
};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{
    AccessPolicy, AccessScope, Adoption, BackendChoice, Deletion, EntryType, IdentityMappingSpec,
    PrincipalSpec, ScopeType,
};
use crate::aws_auth::{Document, Entry as TextEntry, Index};
use crate::effective::{MASTERS, is_node, unmatchable};
use crate::import::mapping_name;
use crate::observed::{AwsView, Bindings, Mode, Observed};
use crate::ownership::Marked;
use crate::principal::{Key, Principal, PrincipalKind};

/// Which way the migration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forth,
    Back,
}

/// The mappings that a state implies, by principal. `installation` is the value of the installation tag. Nobody new sets foot on a bridge that is
/// `closed`: those who would have to cross it are left in aws-auth for now.
#[must_use]
pub(crate) fn implied(
    observed: &Observed,
    installation: &str,
    way: Way,
    closed: bool,
) -> Vec<IdentityMapping> {
    let Some(view) = observed.aws.view() else {
        return Vec::new();
    };
    if view.mode == Mode::ConfigMap {
        return Vec::new();
    }
    let none = BTreeMap::new();
    let standing = observed.config_map.as_ref();
    let document = Document::parse(standing.map_or(&none, |view| &view.data));
    let marked = standing.map(Marked::of);
    let is_marked = |key: &Key| marked.as_ref().is_some_and(|marked| marked.holds(key));
    let text = in_text(&document, view);
    let entries = ours(view, installation);
    let keys: BTreeSet<&Key> = text.keys().chain(entries.keys()).collect();
    let home = view.cluster.partition().zip(view.cluster.account());
    let mut mappings = Vec::new();
    for key in keys {
        let (winner, entry) = (text.get(key).copied(), entries.get(key).copied());
        let named = entry.and_then(|entry| entry.tags.get(MAPPING_TAG));
        let declared = match (winner, entry) {
            (Some(winner), Some(entry))
                if !winner.username.is_empty()
                    && (is_marked(key) || says_the_same(winner, entry)) =>
            {
                Some(mapping_from_entry(winner, ""))
            }
            (_, Some(entry)) => of_entry(entry),
            // An entry that can't be listed as ours is not made anew either, and in API mode aws-auth grants no access.
            (Some(winner), None) => {
                let waits = closed && winner.groups.iter().any(|group| group == MASTERS);
                let wanted = match way {
                    // Calls that are on their way already are seen to their end.
                    Way::Forth => {
                        view.mode == Mode::ApiAndConfigMap
                            && may_go(winner, view, &observed.bindings)
                            && (!waits || view.in_flight.of_key(key).next().is_some())
                    }
                    Way::Back => is_marked(key) && !winner.username.is_empty(),
                };
                wanted.then(|| mapping_from_entry(winner, ""))
            }
            (None, None) => None,
        };
        let principal = winner
            .and_then(|winner| Principal::parse(&winner.arn).ok())
            .or_else(|| Principal::parse(&entry?.principal_arn).ok());
        if let (Some(mut mapping), Some(principal)) = (declared, principal) {
            // As an import would name it, so that an operator that comes later finds its own tags.
            let name = named.cloned();
            let name = name.unwrap_or_else(|| mapping_name(&principal, home.clone()));
            mapping.metadata.name = Some(name);
            mappings.push(mapping);
        }
    }
    mappings
}

/// What wins in aws-auth for each principal. Two of one name under different paths are unmanaged until a person has cleared it.
fn in_text<'a>(document: &'a Document, view: &AwsView) -> BTreeMap<Key, &'a TextEntry> {
    let index = Index::new(document);
    let partition = view.cluster.partition();
    let mut found: BTreeMap<Key, Option<&TextEntry>> = BTreeMap::new();
    let winners = index.winners();
    for entry in winners.filter(|entry| unmatchable(entry, partition).is_none()) {
        if let Some(key) = entry.key() {
            let before = found.insert(key.clone(), Some(entry));
            if before.is_some() {
                found.insert(key, None);
            }
        }
    }
    found
        .into_iter()
        .filter_map(|(key, entry)| Some((key, entry?)))
        .collect()
}

/// Our access entries, the youngest of each principal.
fn ours<'a>(view: &'a AwsView, installation: &str) -> BTreeMap<Key, &'a AccessEntry> {
    let mut found: BTreeMap<Key, &AccessEntry> = BTreeMap::new();
    for entry in view.entries.by_principal.values() {
        // A stale one is managed as well: it is described again before anything is decided by it.
        let Some(entry) = &entry.entry else {
            continue;
        };
        let tagged = entry.tags.get(INSTALLATION_TAG).map(String::as_str) == Some(installation);
        let Some(key) = Key::parse_arn(&entry.principal_arn).filter(|_| tagged) else {
            continue;
        };
        let younger = found
            .get(&key)
            .is_none_or(|before| before.created < entry.created);
        if younger {
            found.insert(key, entry);
        }
    }
    found
}

/// Whether the handover may begin with this entry: nodes only where their type is plain, nobody without a username, nobody whom IAM
/// does not have.
fn may_go(winner: &TextEntry, view: &AwsView, bindings: &Bindings) -> bool {
    // Neither a mapping nor an access entry is without a username.
    if winner.username.is_empty() {
        return false;
    }
    let meaning = winner.meaning();
    let plain = matches!(
        node_twin(&meaning.username, &meaning.groups),
        NodeTwin::Type(_)
    );
    if is_node(&meaning, bindings) && !plain {
        return false;
    }
    let Some(key) = winner.key() else {
        return false;
    };
    let account = view.iam.accounts.get(key.account());
    let listing = account.and_then(|account| match key.kind() {
        PrincipalKind::Role => account.roles.as_ref(),
        PrincipalKind::User => account.users.as_ref(),
    });
    listing.is_none_or(|listing| listing.principals.contains_key(key.name()))
}

/// Whether an entry of aws-auth gives what an access entry gives, or what one that is half made will give.
fn says_the_same(text: &TextEntry, entry: &AccessEntry) -> bool {
    let meaning = text.meaning();
    if let NodeTwin::Type(type_) = node_twin(&meaning.username, &meaning.groups) {
        return entry.kind == Kind::Known(type_);
    }
    let without = |groups: &BTreeSet<String>, group: &str| -> BTreeSet<String> {
        groups.iter().filter(|it| *it != group).cloned().collect()
    };
    meaning.username == entry.username
        && without(&meaning.groups, MASTERS) == without(&entry.groups, BRIDGE_GROUP)
        && meaning.groups.contains(MASTERS) == is_administrator(entry)
}

/// Whether the entry gives what system:masters becomes, or will once it is whole.
fn is_administrator(entry: &AccessEntry) -> bool {
    entry.groups.contains(BRIDGE_GROUP)
        || entry.policies.iter().any(|(policy, association)| {
            policy_name(policy) == ADMIN_POLICY && association.scope == Scope::Cluster
        })
}

/// The mapping that declares what an managed access entry gives. The administrator's policy is system:masters, as aws-auth can say it.
/// `None`: it is of a type that this version does not know.
fn of_entry(entry: &AccessEntry) -> Option<IdentityMapping> {
    let Kind::Known(type_) = entry.kind else {
        return None;
    };
    let principal = Principal::parse(&entry.principal_arn).ok()?;
    let standard = type_ == EntryType::Standard;
    let administrator = is_administrator(entry);
    let mut groups: Vec<String> = entry
        .groups
        .iter()
        .filter(|group| standard && *group != BRIDGE_GROUP)
        .cloned()
        .collect();
    groups.extend((standard && administrator).then(|| MASTERS.to_owned()));
    let policies = entry.policies.iter().filter(|(policy, association)| {
        !(standard && policy_name(policy) == ADMIN_POLICY && association.scope == Scope::Cluster)
    });
    let policies = policies.map(|(policy, association)| AccessPolicy {
        policy: policy_name(policy).to_owned(),
        scope: match &association.scope {
            Scope::Cluster => AccessScope::default(),
            Scope::Namespaces(namespaces) => AccessScope {
                type_: ScopeType::Namespace,
                namespaces: namespaces.iter().cloned().collect(),
            },
        },
    });
    let own_name = entry.username != principal.default_username();
    let spec = IdentityMappingSpec {
        principal: PrincipalSpec {
            arn: Some(entry.principal_arn.clone()),
            permission_set: None,
        },
        username: (standard && own_name).then(|| entry.username.clone()),
        groups,
        access_policies: policies.collect(),
        type_,
        backend: BackendChoice::default(),
        adoption: Adoption::default(),
        deletion: Deletion::default(),
        valid_until: None,
        suspend: false,
    };
    Some(IdentityMapping {
        metadata: ObjectMeta::default(),
        spec,
        status: None,
    })
}
