//! The list of effects against what could have one: the operator's rights, and every call in the sources that writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::PolicyRule;
use regex::Regex;

use super::effects::{EFFECTS, home, of};
use super::scenarios::Scenario;
use crate::support::programs::repository;
use crate::support::rights::Rules;

/// The effects of commands alone: people have these rights, and the operator does not.
const OF_PEOPLE: [&str; 4] = [
    "UpdateClusterConfig",
    "create clusterrolebindings",
    "create identitymappings",
    "delete clusterrolebindings",
];

/// The calls in each file that write to the API server, in order, each with its effect.
const CALLS: [(&str, &[(&str, &str)]); 8] = [
    (
        "config_map.rs",
        &[
            ("create", "create configmaps aws-auth"),
            ("patch", "patch configmaps aws-auth"),
        ],
    ),
    (
        "event.rs",
        &[("patch", "patch events"), ("create", "create events")],
    ),
    ("finalizer.rs", &[("patch", "patch identitymappings")]),
    (
        "history.rs",
        &[
            ("patch", "patch configmaps aws-auth-history"),
            ("create", "create configmaps aws-auth-history"),
        ],
    ),
    (
        "lease.rs",
        &[("replace", "update leases"), ("create", "create leases")],
    ),
    (
        "migration.rs",
        &[
            ("create", "create clusterrolebindings"),
            ("delete", "delete clusterrolebindings"),
            ("create", "create identitymappings"),
        ],
    ),
    (
        "release.rs",
        &[
            ("patch_status", "patch identitymappings/status"),
            ("patch", "patch identitymappings"),
        ],
    ),
    (
        "status.rs",
        &[("patch_status", "patch identitymappings/status")],
    ),
];

/// An effect, whichever part it writes.
fn whole(effect: &str) -> &str {
    effect.split_once(" (").map_or(effect, |(whole, _)| whole)
}

fn effects() -> BTreeSet<&'static str> {
    EFFECTS.iter().map(|effect| whole(effect)).collect()
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

/// The operator can have no effect that is not listed: the API server and IAM would refuse it.
#[test]
fn every_right_to_write_is_an_effect() {
    let rules = Rules::read("aws-auth");
    let rules = [
        rules.cluster,
        rules.events,
        rules.config_map,
        rules.leader_election,
    ];
    let rules = rules.concat();
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
    allowed.extend(OF_PEOPLE.map(str::to_owned));
    let known: BTreeSet<String> = effects().into_iter().map(str::to_owned).collect();
    assert_eq!(known, allowed);
}

/// The sources of a folder that are no tests: their paths and texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let files = fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let found = paths.flat_map(|path| {
        if path.is_dir() {
            return sources(&path);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_none_or(|it| it != "rs") || name.contains("tests") {
            return Vec::new();
        }
        let text = fs::read_to_string(&path).unwrap();
        vec![(path, text)]
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

/// Neither the operator nor a command writes to the API server by a call that has no crash test.
#[test]
fn every_call_that_writes_to_the_api_server_is_an_effect() {
    let call = r"(\w+)\s*(?:\(\))?\s*\.(create|patch|patch_status|replace|replace_status|delete|delete_collection|evict)\(\s*(?:&?[\w.]+,\s*)?&(?:params|\w+Params)";
    let call = Regex::new(call).unwrap();
    let mut found = Vec::new();
    for (path, text) in sources(&repository().join("src")) {
        let calls = call.captures_iter(&text);
        // What is asked is posted, too.
        let calls = calls.filter(|call| &call[1] != "reviews");
        let calls: Vec<String> = calls.map(|call| call[2].to_owned()).collect();
        if !calls.is_empty() {
            let name = path.strip_prefix(repository().join("src/cluster"));
            let name = name.unwrap_or(&path).to_string_lossy().into_owned();
            found.push((name, calls));
        }
    }
    let listed = CALLS.iter().map(|(file, calls)| {
        let calls = calls.iter().map(|(call, _)| (*call).to_owned());
        ((*file).to_owned(), calls.collect())
    });
    assert_eq!(found, listed.collect::<Vec<(String, Vec<String>)>>());
    let of_calls = CALLS.iter().flat_map(|(_, calls)| calls.iter());
    let of_calls: BTreeSet<&str> = of_calls.map(|(_, effect)| *effect).collect();
    let mut known = effects();
    known.retain(|effect| effect.contains(' '));
    assert_eq!(known, of_calls);
}

/// Nor to AWS.
#[test]
fn every_call_that_changes_anything_in_aws_is_an_effect() {
    let verbs =
        "associate|change|create|delete|disassociate|purge|put|register|send|set|tag|untag|update";
    let call = Regex::new(&format!(r"\.((?:{verbs})_[a-z_]+)\(\)\s*\.\w+\(")).unwrap();
    let mut called = BTreeSet::new();
    for (_, text) in sources(&repository().join("src/aws")) {
        for call in call.captures_iter(&text) {
            let words = call[1].split('_').map(|word| {
                let (first, rest) = word.split_at(1);
                format!("{}{rest}", first.to_uppercase())
            });
            called.insert(words.collect::<String>());
        }
    }
    let mut known = effects();
    known.retain(|effect| !effect.contains(' '));
    assert_eq!(known, called.iter().map(String::as_str).collect());
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
