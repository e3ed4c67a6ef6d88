//! Tests that no value of a spec, status, tag, annotation or time stops the process from making a plan and its report.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::mapping::{AnyMapping, SeenMapping};
use crate::access_entry::{Failure, FailureKind};
use crate::api::v1alpha1::CONFIRM_ANNOTATION;
use crate::desired::Desired;
use crate::observed::{CLUSTER_ANNOTATION, Mode, Unreachable};
use crate::plan::simulation::Simulation;
use crate::plan::{HANDOVER_ANNOTATION, Memory, Outcome, RELEASED_ANNOTATION, plan};
use crate::time::Timestamp;

const TEXT: &str = "\
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// Fields that hold a time, and those that are cut, compared or parsed.
const FIELDS: [&str; 29] = [
    "/spec",
    "/spec/accessPolicies",
    "/spec/backend",
    "/spec/deletion",
    "/spec/groups",
    "/spec/principal",
    "/spec/principal/arn",
    "/spec/suspend",
    "/spec/type",
    "/spec/username",
    "/spec/validUntil",
    "/status",
    "/status/accessEntryArn",
    "/status/awaitingConfirmation",
    "/status/backend",
    "/status/conditions",
    "/status/conditions/0/lastTransitionTime",
    "/status/conditions/0/message",
    "/status/conditions/0/type",
    "/status/lastDrift",
    "/status/lastDrift/time",
    "/status/lastSynced",
    "/status/observedGeneration",
    "/status/principalArn",
    "/status/seenValidUntil",
    "/status/username",
    "/status/written",
    "/status/written/0/arn",
    "/status/written/0/username",
];

/// Times that can be written.
const TIMES: [&str; 6] = [
    "-009999-01-02T01:59:59Z",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999999Z",
    "2027-01-15T08:00:00Z",
    "9999-12-30T21:59:59Z",
    "9999-12-30T22:00:00.999999999Z",
];

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        prop::sample::select(&TIMES[..]).prop_map(|time| time.parse().expect("a time")),
    ]
}

/// What a field may hold in place of what belongs there.
fn value() -> impl Strategy<Value = Value> {
    let long = "\u{e9}{{SessionName}}\u{1f511}\"".repeat(3_000);
    let odd = vec![
        json!("9999-12-31T23:59:59Z"),
        json!("2026-12-24T18:00:00+99:99"),
        json!(""),
        json!("\u{0}"),
        json!("arn:aws:iam::111122223333:role/\u{e9}"),
        json!(long),
        json!([long]),
        json!({ "time": "9999-12-30T22:00:00Z", "what": long, "manager": "" }),
        Value::Null,
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(true),
        json!([]),
        json!({}),
        json!([{}]),
    ];
    prop_oneof![
        prop::sample::select(&TIMES[..]).prop_map(|time| json!(time)),
        prop::sample::select(odd),
    ]
}

/// What an annotation may hold.
fn text() -> impl Strategy<Value = String> {
    let record = |time: &str| format!(r#"{{"{}": {time}}}"#, "0".repeat(16));
    let kept = |time: &str| {
        json!({
            "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/main", "mode": "API",
            "authority": "ab".repeat(32), "read": time,
        })
    };
    let mut texts = vec![
        String::new(),
        "{".to_owned(),
        record(&i64::MIN.to_string()),
        record(&i64::MAX.to_string()),
        record("1e400"),
        "\u{e9}".repeat(10_000),
        "[".repeat(10_000),
        "Auto".to_owned(),
        "mass-removal:1a2b3c4d5e6f708192a3b4c5d6e7f809".to_owned(),
    ];
    texts.extend(TIMES.map(|time| kept(time).to_string()));
    texts.extend(TIMES.map(ToOwned::to_owned));
    prop::sample::select(texts)
}

/// Puts a value into a field, where there is an object or list to hold it.
fn put(object: &mut Value, field: &str, value: Value) {
    let (parent, name) = field.rsplit_once('/').expect("a path");
    match object.pointer_mut(parent) {
        Some(Value::Object(parent)) => _ = parent.insert(name.to_owned(), value),
        Some(Value::Array(parent)) => {
            if let Some(item) = name.parse().ok().and_then(|at: usize| parent.get_mut(at)) {
                *item = value;
            }
        }
        _ => {}
    }
}

fn mapping(object: Value) -> crate::desired::Mapping {
    let any: AnyMapping = serde_json::from_value(object).expect("the metadata are as always");
    *SeenMapping::from_any(&any).mapping
}

/// Mappings of each kind, put into effect by now.
fn settled(mode: Option<Mode>) -> Simulation {
    let mut simulation = match mode {
        Some(mode) => Simulation::in_eks(mode, TEXT),
        None => Simulation::with_roles(TEXT),
    };
    let backend = |wanted: &'static str| if mode.is_some() { wanted } else { "Auto" };
    let specs = [
        ("a", json!({})),
        ("b", json!({ "backend": backend("AccessEntry") })),
        ("c", json!({ "validUntil": "2999-12-31T23:59:59Z" })),
        ("d", json!({ "deletion": "Retain" })),
        ("e", json!({ "groups": ["system:masters"] })),
    ];
    for (name, spec) in specs {
        simulation.create(name, &format!("role/{name}"), &spec);
    }
    simulation.settle();
    simulation
}

#[test]
fn a_record_of_the_earliest_removal_ends_nothing() {
    let mut simulation = settled(None);
    let history = simulation
        .history
        .as_mut()
        .expect("kept from the first write");
    let record = format!(r#"{{"{}": {}}}"#, "0".repeat(16), i64::MIN);
    history
        .annotations
        .insert("identity-mapper.dev/removals".to_owned(), record);
    simulation.create("f", "role/f", &json!({}));
    simulation.settle();
    assert_eq!(simulation.ready("f"), "True InEffect");
}

proptest! {
    #![proptest_config(crate::laws::cases(96))]

    #[test]
    fn no_value_keeps_a_plan_and_its_report_from_being_made(
        mode in prop::sample::select(vec![None, Some(Mode::ApiAndConfigMap), Some(Mode::Api)]),
        values in prop::collection::vec((0..5_usize, prop::sample::select(&FIELDS[..]), value()), 1..8),
        deleted in prop::collection::btree_set(0..5_usize, 0..3),
        annotations in prop::collection::vec(
            (prop::sample::select(vec![
                "identity-mapper.dev/managed",
                "identity-mapper.dev/removals",
                "identity-mapper.dev/confirm",
                CLUSTER_ANNOTATION,
                RELEASED_ANNOTATION,
                HANDOVER_ANNOTATION,
            ]), text()),
            0..4,
        ),
        confirms in text(),
        tags in prop::collection::vec(text(), 0..3),
        times in prop::array::uniform8(time()),
        forgets in any::<bool>(),
    ) {
        let [now, created, modified, read, managed, deletion, later, creation] = times;
        let mut simulation = settled(mode);
        let mut objects: Vec<Value> = simulation
            .objects
            .values()
            .map(|object| serde_json::to_value(object).expect("JSON"))
            .collect();
        for (position, field, value) in values {
            put(&mut objects[position], field, value);
        }
        for (position, object) in objects.iter_mut().enumerate() {
            object["metadata"]["creationTimestamp"] = json!(creation);
            object["metadata"]["annotations"] = json!({ CONFIRM_ANNOTATION: confirms });
            if deleted.contains(&position) {
                object["metadata"]["deletionTimestamp"] = json!(deletion);
            }
        }
        if let Some(cloud) = &mut simulation.cloud {
            for entry in cloud.eks.entries.values_mut() {
                entry.created = created;
                entry.modified = modified;
                for (number, tag) in tags.iter().enumerate() {
                    let key = ["identity-mapper.dev/principal-id", "identity-mapper.dev/mapping", "x"][number];
                    entry.tags.insert(key.to_owned(), tag.clone());
                }
            }
            cloud.list(now);
            cloud.unreachable = (read > later).then(|| Unreachable {
                read,
                failure: Failure { kind: FailureKind::Unavailable, message: tags.concat() },
            });
        }
        if let Some(view) = &mut simulation.config_map {
            for manager in view.managers.values_mut() {
                manager.time = Some(managed);
            }
        }
        for (key, value) in annotations {
            let mark = key == "identity-mapper.dev/managed";
            let annotated = if mark {
                simulation.config_map.as_mut().map(|view| &mut view.annotations)
            } else {
                simulation.history.as_mut().map(|view| &mut view.annotations)
            };
            annotated.map(|annotations| annotations.insert(key.to_owned(), value));
        }
        if let Some(history) = &mut simulation.history {
            for name in ["99991230T215959999Z", "99991231T235959999Z", "00010101T000000000Z"] {
                history.copies.insert(format!("{name}-{}.json.gz", "0".repeat(16)), 1_000);
            }
        }
        let mappings = objects.into_iter().map(mapping).collect();
        let desired = Desired { mappings };
        let mut memory = if forgets { Memory::default() } else { simulation.memory.clone() };
        for now in [now, later, now] {
            simulation.now = now;
            let observed = simulation.observed();
            let planned = plan(&desired, &observed, &simulation.settings, &memory);
            let outcome = match planned.config_map.as_deref() {
                None => Outcome::NothingToWrite,
                Some(_) => Outcome::Written { resource_version: "7".to_owned(), uid: "u".to_owned() },
            };
            let report = planned.report(&outcome);
            for status in &report.statuses {
                serde_json::to_value(&status.status).expect("a status is JSON");
            }
            memory = report.memory;
        }
    }
}
