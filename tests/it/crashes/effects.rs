//! Everything that lasts beyond the process that did it, by its name: what is asked of the API server by verb, resource and, of
//! `ConfigMap`s, name; what is asked of AWS by its operation.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::scenarios::Scenario;
use crate::support::rights::Rules;

/// All effects. One that is not here fails the test of the scenario that has it; so does one that no scenario has.
pub(super) const EFFECTS: [&str; 19] = [
    // The operator's.
    "create configmaps aws-auth",
    "create configmaps aws-auth-history",
    "create events",
    "patch configmaps aws-auth",
    "patch configmaps aws-auth-history",
    "patch events",
    "patch identitymappings",
    "patch identitymappings/status",
    "AssociateAccessPolicy",
    "CreateAccessEntry",
    "DeleteAccessEntry",
    "DeleteMessageBatch",
    "DisassociateAccessPolicy",
    "TagResource",
    "UntagResource",
    "UpdateAccessEntry",
    // Those of commands alone.
    "create clusterrolebindings",
    "delete clusterrolebindings",
    "UpdateClusterConfig",
];

/// Finalizer, history, text, status, event: what a change of aws-auth may have.
const TEXT: &[&str] = &[
    "create events",
    "patch configmaps aws-auth",
    "patch configmaps aws-auth-history",
    "patch identitymappings",
    "patch identitymappings/status",
];

/// What a new access entry may have.
const ENTRY: &[&str] = &[
    "AssociateAccessPolicy",
    "CreateAccessEntry",
    "DeleteMessageBatch",
    "TagResource",
    "create events",
    "patch identitymappings",
    "patch identitymappings/status",
];

/// What an access entry that goes may have. Its removal is counted in the history.
const ENTRY_REMOVED: &[&str] = &[
    "CreateAccessEntry",
    "DeleteAccessEntry",
    "DeleteMessageBatch",
    "TagResource",
    "create events",
    "patch configmaps aws-auth-history",
    "patch identitymappings",
    "patch identitymappings/status",
];

/// What any scenario may have: messages that came before are deleted, and an event that came before is counted once more.
pub(super) const ANYWHERE: [&str; 2] = ["DeleteMessageBatch", "patch events"];

/// The effects that a scenario may have, and no others. The first scenario that has an effect here has it each time.
pub(super) fn of(scenario: Scenario) -> &'static [&'static str] {
    match scenario {
        Scenario::Started => &[
            "create configmaps aws-auth-history",
            "create events",
            "patch configmaps aws-auth",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::Created => &[
            "create configmaps aws-auth",
            "create events",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::Repaired => &[
            "create events",
            "patch configmaps aws-auth",
            "patch configmaps aws-auth-history",
            "patch events",
            "patch identitymappings/status",
        ],
        Scenario::Granted
        | Scenario::Changed
        | Scenario::Revoked
        | Scenario::MarkLost
        | Scenario::Adopted
        | Scenario::Suspended
        | Scenario::Retained
        | Scenario::Expired
        | Scenario::Many
        | Scenario::Broken
        | Scenario::RolledBack => TEXT,
        Scenario::EntryGranted | Scenario::Made | Scenario::EntryRepaired => ENTRY,
        Scenario::EntryChanged | Scenario::MadeForAdministrators => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "DeleteMessageBatch",
            "DisassociateAccessPolicy",
            "TagResource",
            "UpdateAccessEntry",
            "create events",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::EntryTypeChanged | Scenario::EntryRevoked | Scenario::EntryMoved => ENTRY_REMOVED,
        Scenario::EntryAdopted => &[
            "DeleteMessageBatch",
            "TagResource",
            "create events",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::EntryRetained => &[
            "DeleteMessageBatch",
            "UntagResource",
            "create events",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::WentBack | Scenario::Reverted | Scenario::BothDeleted => &[
            "DeleteAccessEntry",
            "DeleteMessageBatch",
            "create events",
            "patch configmaps aws-auth",
            "patch configmaps aws-auth-history",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::Released => &[
            "UntagResource",
            "patch configmaps aws-auth",
            "patch configmaps aws-auth-history",
            "patch identitymappings",
            "patch identitymappings/status",
        ],
        Scenario::MigratedThere => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "TagResource",
            "UpdateAccessEntry",
            "UpdateClusterConfig",
            "create clusterrolebindings",
            "create configmaps aws-auth-history",
            "delete clusterrolebindings",
            "patch configmaps aws-auth",
            "patch configmaps aws-auth-history",
        ],
        Scenario::MigratedOn | Scenario::MigratedBack => &[
            "DeleteAccessEntry",
            "UntagResource",
            "create clusterrolebindings",
            "delete clusterrolebindings",
            "patch configmaps aws-auth",
            "patch configmaps aws-auth-history",
        ],
    }
}

/// Where an effect is tested in any case: the first scenario that has it.
pub(super) fn home(effect: &str) -> Option<Scenario> {
    Scenario::all().find(|scenario| of(*scenario).contains(&effect))
}

/// What a rule allows that changes anything.
fn writes(rule: &PolicyRule) -> BTreeSet<String> {
    let resources = rule.resources.iter().flatten();
    let of_resource = |resource: &String| {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        let verbs = rule
            .verbs
            .iter()
            .filter(|verb| writes.contains(&verb.as_str()));
        let effects = verbs.map(|verb| match (resource.as_str(), &rule.resource_names) {
            ("configmaps", Some(names)) => names
                .iter()
                .map(|name| format!("{verb} configmaps {name}"))
                .collect(),
            ("configmaps", None) => ["aws-auth", "aws-auth-history"]
                .map(|name| format!("{verb} configmaps {name}"))
                .to_vec(),
            _ => vec![format!("{verb} {resource}")],
        });
        effects.flatten().collect::<Vec<_>>()
    };
    resources.flat_map(of_resource).collect()
}

/// The operator can have no effect that is not here: the API server and IAM would refuse it.
#[test]
fn every_right_to_write_is_an_effect() {
    let rules = Rules::read("aws-auth");
    let rules = [rules.cluster, rules.events, rules.config_map].concat();
    let mut allowed: BTreeSet<String> = rules.iter().flat_map(writes).collect();
    let policies = include_str!("../../../docs/iam.md");
    let words = policies.split('"').filter_map(|word| {
        let (service, action) = word.split_once(':')?;
        let is_action = action.starts_with(|c: char| c.is_ascii_uppercase());
        (["eks", "sqs"].contains(&service) && is_action).then_some(action)
    });
    let reads = ["Describe", "Get", "List", "Receive", "Send"];
    let calls = words.filter(|word| !reads.iter().any(|read| word.starts_with(read)));
    // The right to delete one message is that to delete several.
    allowed.extend(calls.map(|call| call.replace("DeleteMessage", "DeleteMessageBatch")));
    let mut known: BTreeSet<String> = EFFECTS.map(str::to_owned).into();
    for of_people in ["create clusterrolebindings", "delete clusterrolebindings"] {
        assert!(known.remove(of_people), "{of_people}");
    }
    assert_eq!(known, allowed);
}

/// Each effect has a scenario in which processes die before and after it.
#[test]
fn every_effect_has_a_crash_test() {
    for (number, effect) in (1..).zip(EFFECTS) {
        let home = home(effect).unwrap_or_else(|| panic!("{effect} is in no scenario"));
        let others = Scenario::all().filter(|it| *it != home && of(*it).contains(&effect));
        let others: Vec<Scenario> = others.collect();
        println!(
            "{number:>2}. {effect}: {home:?}, and {} more {others:?}",
            others.len()
        );
    }
    for scenario in Scenario::all() {
        for effect in of(scenario) {
            assert!(EFFECTS.contains(effect), "{effect} of {scenario:?}");
        }
    }
}
