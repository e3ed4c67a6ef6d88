//! What holds for every entry and every spec, against a small EKS.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::access_entry::simulation::Eks;

const GROUPS: [&str; 5] = ["a", "b", "c", "system:masters", BRIDGE_GROUP];
const NAMESPACES: [&str; 3] = ["x", "y", "dev-*"];
const POLICIES: [&str; 4] = [
    ADMIN_POLICY,
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
    "AmazonEKSAdminPolicy",
];
const TYPES: [EntryType; 3] = [EntryType::Standard, EntryType::EC2, EntryType::EC2Linux];

fn scopes() -> impl Strategy<Value = AccessScope> {
    subsequence(NAMESPACES.to_vec(), 0..=3).prop_map(|names| AccessScope {
        type_: if names.is_empty() {
            ScopeType::Cluster
        } else {
            ScopeType::Namespace
        },
        namespaces: names.into_iter().map(str::to_owned).collect(),
    })
}

fn policies() -> impl Strategy<Value = Vec<AccessPolicy>> {
    let named = |names: Vec<&'static str>| {
        let policy = |name: &str| {
            let policy = name.to_owned();
            scopes().prop_map(move |scope| AccessPolicy {
                policy: policy.clone(),
                scope,
            })
        };
        names.into_iter().map(policy).collect::<Vec<_>>()
    };
    subsequence(POLICIES.to_vec(), 0..=4).prop_flat_map(named)
}

fn usernames() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("one"), Some("dev:{{SessionName}}")])
}

/// What a spec says.
#[derive(Clone, Debug)]
struct GeneratedSpec {
    type_: EntryType,
    username: Option<&'static str>,
    groups: Vec<&'static str>,
    policies: Vec<AccessPolicy>,
}

impl GeneratedSpec {
    fn target(&self) -> Target {
        asked(
            ROLE,
            self.type_,
            self.username,
            &self.groups,
            &self.policies,
        )
        .unwrap()
    }
}

fn specs_of(type_: EntryType) -> impl Strategy<Value = GeneratedSpec> {
    let groups = subsequence(GROUPS[..4].to_vec(), 0..=4);
    (usernames(), groups, policies()).prop_map(move |(username, groups, policies)| {
        let standard = type_ == EntryType::Standard;
        GeneratedSpec {
            type_,
            username: username.filter(|_| standard),
            groups: if standard { groups } else { Vec::new() },
            policies: if type_ == EntryType::EC2Linux {
                Vec::new()
            } else {
                policies
            },
        }
    })
}

fn specs() -> impl Strategy<Value = GeneratedSpec> {
    prop::sample::select(TYPES.to_vec()).prop_flat_map(specs_of)
}

/// A standing entry as one of two specs made it, and the other spec.
fn pairs() -> impl Strategy<Value = (GeneratedSpec, GeneratedSpec)> {
    prop::sample::select(TYPES.to_vec()).prop_flat_map(|type_| (specs_of(type_), specs_of(type_)))
}

fn ours() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::sample::select(vec![
        tags(&[]),
        tags(&[(MAPPING_TAG, "m")]),
        tags(&[(MAPPING_TAG, "m"), (INSTALLATION_TAG, "i")]),
    ])
}

/// Has EKS and what is known of it take the calls, and gives the entry after each.
fn run(eks: &mut Eks, known: &mut Entries, calls: &[Call]) -> Vec<AccessEntry> {
    let mut steps = Vec::new();
    for call in calls {
        let answer = eks
            .call(call)
            .unwrap_or_else(|refused| panic!("{call:?}: {refused}"));
        known.apply(call, answer, eks.now);
        let entry = &eks.entries[ROLE];
        assert_eq!(
            known.by_principal[ROLE].known(),
            Some(entry),
            "after {call:?}"
        );
        steps.push(entry.clone());
    }
    steps
}

/// A cluster in which the calls of `create` have been made, with a tag of somebody else's, and what is known of it.
fn made(wanted: &Wanted<'_>) -> (Eks, Entries, AccessEntry) {
    let (mut eks, mut known) = (Eks::default(), Entries::default());
    run(&mut eks, &mut known, &create(wanted));
    let mut entry = eks.entries[ROLE].clone();
    entry.tags.insert("owner".to_owned(), "them".to_owned());
    let mut eks = Eks::with(&entry, at(1000));
    let describe = Call::Describe {
        principal_arn: ROLE.to_owned(),
    };
    let answer = eks.call(&describe).unwrap();
    known.apply(&describe, answer, eks.now);
    (eks, known, entry)
}

/// Each policy in each namespace, `None` being the whole cluster, which holds all of them.
fn grants(entry: &AccessEntry) -> BTreeSet<(String, Option<String>)> {
    let mut grants = BTreeSet::new();
    for (policy, association) in &entry.policies {
        let all = NAMESPACES.map(str::to_owned).into_iter().collect();
        let names = match &association.scope {
            Scope::Cluster => {
                grants.insert((policy.clone(), None));
                &all
            }
            Scope::Namespaces(names) => names,
        };
        grants.extend(
            names
                .iter()
                .map(|name| (policy.clone(), Some(name.clone()))),
        );
    }
    grants
}

fn calls_of(change: Change) -> Vec<Call> {
    match change {
        Change::Same => Vec::new(),
        Change::Calls(calls) => calls,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(256))]
    /// After the calls of `create` nothing is left to do, and after those of `change` neither.
    #[test]
    fn the_calls_lead_to_what_is_wanted(
        (before, after) in pairs(),
        (had, bridge) in any::<(bool, bool)>(),
        (old, new) in (ours(), ours()),
    ) {
        let (before, after) = (before.target(), after.target());
        let first = Wanted { target: &before, tags: &old, bridge: had, accepted_default: None, of_aws: &BTreeSet::new() };
        let second = Wanted { target: &after, tags: &new, bridge, accepted_default: None, of_aws: &BTreeSet::new() };
        let (mut eks, mut known, standing) = made(&first);
        prop_assert_eq!(change(&standing, &first), Change::Same);
        let calls = calls_of(change(&standing, &second));
        run(&mut eks, &mut known, &calls);
        let standing = &eks.entries[ROLE];
        prop_assert_eq!(change(standing, &second), Change::Same);
        prop_assert_eq!(meaning_differs(standing, &second), vec![]);
        prop_assert_eq!(standing.tags.get("owner").map(String::as_str), Some("them"));
        prop_assert_eq!(eks.entries.len(), 1);
    }

    /// What both the standing and the wanted entry give is given at every step; and nothing goes before all that is
    /// granted has come.
    #[test]
    fn grants_come_before_removals((before, after) in pairs(), bridges in any::<(bool, bool)>()) {
        let none = BTreeMap::new();
        let (before, after) = (before.target(), after.target());
        let first = Wanted { target: &before, tags: &none, bridge: bridges.0, accepted_default: None, of_aws: &BTreeSet::new() };
        let second = Wanted { target: &after, tags: &none, bridge: bridges.1, accepted_default: None, of_aws: &BTreeSet::new() };
        let (mut eks, mut known, standing) = made(&first);
        let calls = calls_of(change(&standing, &second));
        let steps = run(&mut eks, &mut known, &calls);
        let last = steps.last().unwrap_or(&standing);
        let (had, gets) = (grants(&standing), grants(last));
        for (call, step) in calls.iter().zip(&steps) {
            let gives = grants(step);
            prop_assert!(gives.is_superset(&(&had & &gets)), "{:?}", call);
            prop_assert!(step.groups.is_superset(&(&standing.groups & &last.groups)), "{:?}", call);
            let all_granted = gives.is_superset(&gets) && step.groups.is_superset(&last.groups);
            let removes = !gives.is_superset(&had);
            prop_assert!(all_granted || !removes, "{:?} takes away too early", call);
            let replaced = step.groups != standing.groups || step.username != standing.username;
            prop_assert!(gives.is_superset(&gets) || !replaced, "{:?} replaces too early", call);
        }
    }

    /// The meaning differs exactly where a call other than a tag is made.
    #[test]
    fn differences_and_calls_agree((before, after) in (specs(), specs()), new in ours()) {
        let none = BTreeMap::new();
        let (before, after) = (before.target(), after.target());
        let first = Wanted { target: &before, tags: &none, bridge: false, accepted_default: None, of_aws: &BTreeSet::new() };
        let second = Wanted { target: &after, tags: &new, ..Wanted { target: &after, ..first } };
        let (.., standing) = made(&first);
        let different = !meaning_differs(&standing, &second).is_empty();
        match change(&standing, &second) {
            Change::Same => prop_assert!(!different),
            Change::Calls(calls) => {
                let tags_only = calls.iter().all(|call| matches!(call, Call::Tag { .. }));
                prop_assert_eq!(different, !tags_only);
            }
            Change::Recreate(_) => {
                prop_assert!(different);
                prop_assert_ne!(standing.kind, Kind::Known(after.type_));
            }
            Change::UnknownType(why) => prop_assert!(false, "{}", why),
        }
    }

    /// The order of groups, policies and namespaces means nothing, nor does naming a namespace twice.
    #[test]
    fn order_means_nothing(spec in specs()) {
        let mut other = spec.clone();
        other.groups.reverse();
        other.policies.reverse();
        for policy in &mut other.policies {
            policy.scope.namespaces.reverse();
            policy.scope.namespaces.extend(policy.scope.namespaces.clone());
        }
        prop_assert_eq!(spec.target(), other.target());
    }

    /// No text panics, and what is refused as a username or group is never anything but what the rules name.
    #[test]
    fn any_text_is_taken_or_refused(username in ".{0,40}", group in "(system:|eks:|iam:)?.{0,20}") {
        match asked(ROLE, EntryType::Standard, Some(&username), &[&group], &[]) {
            Ok(target) => {
                prop_assert_eq!(target.username, Some(username));
                prop_assert!(target.masters || target.groups == set(&[&group]));
            }
            Err(Inexpressible::ReservedGroup { prefix, .. }) => {
                prop_assert!(group.starts_with(prefix) && group != "system:masters");
            }
            Err(Inexpressible::ReservedUsername { prefix, .. }) => prop_assert!(username.starts_with(prefix)),
            Err(Inexpressible::NoColonBeforeSessionName { fixed, .. }) => {
                prop_assert!(username.contains("{{SessionName"));
                let fixed = asked(ROLE, EntryType::Standard, Some(&fixed), &[], &[]);
                prop_assert!(fixed.is_ok(), "{:?}", fixed);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// An entry that stands, was listed and is described again is known, whatever came before.
    #[test]
    fn a_description_settles_every_doubt(
        spec in specs(),
        doubts in prop::collection::vec(any::<(bool, bool)>(), 0..6),
    ) {
        let target = spec.target();
        let none = BTreeMap::new();
        let wanted = Wanted { target: &target, tags: &none, bridge: false, accepted_default: None, of_aws: &BTreeSet::new() };
        let (mut eks, mut known, standing) = made(&wanted);
        for (listing, administrator) in doubts {
            if listing {
                let administrators = if administrator { set(&[ROLE]) } else { BTreeSet::new() };
                let started = at(5000);
                known.take_listing(&set(&[ROLE]), &administrators, ADMIN, started, started);
                let agrees = administrator == standing.policies.contains_key(ADMIN);
                prop_assert!(agrees || known.by_principal[ROLE].doubtful);
            } else {
                known.doubt(ROLE, None, at(5000));
                prop_assert!(known.by_principal[ROLE].known().is_none());
            }
        }
        let describe = Call::Describe { principal_arn: ROLE.to_owned() };
        let answer = eks.call(&describe).unwrap();
        known.apply(&describe, answer, eks.now);
        prop_assert_eq!(known.by_principal[ROLE].known(), Some(&standing));
    }
}
