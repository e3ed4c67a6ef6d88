//! Specs that the API server takes, on the simulated cluster.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{IdentityMapping, check_json};
use crate::aws_auth::{Document, Meaning};
use crate::desired::Mapping;
use crate::observed::Mode;
use crate::plan::HANDOVER_ANNOTATION;
use crate::plan::simulation::Simulation;

/// So many mappings there are at most.
const MAPPINGS: u8 = 5;

/// Something that happens to the cluster.
#[derive(Clone, Debug)]
pub enum Step {
    /// A mapping is created, or changed to this spec, where the API server takes it.
    Apply {
        /// Which mapping.
        number: u8,
        /// Its `spec`.
        spec: Value,
    },
    /// A mapping is deleted.
    Delete {
        /// Which mapping.
        number: u8,
    },
    /// A person confirms what a guard holds.
    Confirm {
        /// Which mapping.
        number: u8,
        /// The annotation's value.
        words: String,
    },
    /// Someone writes a key of aws-auth.
    Write {
        /// `mapRoles`, `mapUsers` or `mapAccounts`.
        key: String,
        /// Its value.
        text: String,
    },
    /// Someone takes an annotation off the history, or writes it.
    Annotate {
        /// The annotation.
        key: String,
        /// Its value.
        value: Option<String>,
    },
    /// Someone takes the mark off aws-auth.
    LoseMark,
    /// Someone deletes aws-auth.
    DeleteConfigMap,
    /// The operator starts again.
    Restart,
    /// Time passes.
    Later {
        /// So many seconds.
        seconds: u32,
    },
    /// The cluster gets the next authentication mode.
    ModeOn,
    /// Mappings are to be handed over, or back.
    Handover {
        /// `Manual`, `Auto` or `Revert`.
        word: String,
    },
}

/// In a cluster of a mode (0: declared as `CONFIG_MAP`, without EKS), with these texts and steps: nothing panics, it comes to rest after
/// each step, and what no mapping names stays as it is.
pub fn plan(mode: u8, data: &BTreeMap<String, String>, steps: &[Step]) {
    let mut simulation = match mode % 4 {
        0 => Simulation::new(),
        1 => Simulation::in_eks(Mode::ConfigMap, ""),
        2 => Simulation::in_eks(Mode::ApiAndConfigMap, ""),
        _ => Simulation::in_eks(Mode::Api, ""),
    };
    for (key, text) in data {
        simulation.vandalise(key, text);
    }
    simulation.restart();
    rest(&mut simulation);
    for step in steps {
        let before = strangers(&simulation);
        let kept = happen(&mut simulation, step);
        let after = strangers(&simulation);
        rest(&mut simulation);
        // Someone else may have changed them; the operator has not.
        if kept && before == after {
            assert_eq!(strangers(&simulation), after, "after {step:?}");
        }
    }
}

/// Until nothing more is to be done, over the waits for bridges, soaks and retries.
fn rest(simulation: &mut Simulation) {
    let waits: &[i64] = if simulation.cloud.is_some() {
        &[70; 6]
    } else {
        &[2]
    };
    for seconds in waits {
        simulation.later(*seconds);
        if simulation.cloud.is_some() {
            simulation.look();
        }
        simulation.settle();
    }
    let calls = simulation.cloud.as_ref().map(|cloud| cloud.calls.len());
    assert_eq!(simulation.settle(), 0, "aws-auth is written a second time");
    let again = simulation.cloud.as_ref().map(|cloud| cloud.calls.len());
    assert_eq!(calls, again, "EKS is called a second time");
}

fn name(number: u8) -> String {
    format!("m{}", number % MAPPINGS)
}

/// Whether the operator has no reason to write what is not of a mapping.
fn happen(simulation: &mut Simulation, step: &Step) -> bool {
    match step {
        Step::Apply { number, spec } => apply(simulation, &name(*number), spec),
        Step::Delete { number } => {
            if simulation.objects.contains_key(&name(*number)) {
                simulation.delete(&name(*number));
            }
        }
        Step::Confirm { number, words } => {
            if simulation.objects.contains_key(&name(*number)) {
                simulation.confirm(&name(*number), words);
            }
        }
        Step::Write { key, text } => {
            simulation.vandalise(key, text);
            return false;
        }
        Step::Annotate { key, value } => {
            let history = simulation.history.get_or_insert_default();
            match value {
                Some(value) => history.annotations.insert(key.clone(), value.clone()),
                None => history.annotations.remove(key),
            };
        }
        Step::LoseMark => {
            if let Some(view) = &mut simulation.config_map {
                view.annotations.clear();
            }
        }
        Step::DeleteConfigMap => {
            simulation.config_map = None;
            return false;
        }
        Step::Restart => simulation.restart(),
        Step::Later { seconds } => simulation.later(i64::from(*seconds)),
        Step::ModeOn => {
            if let Some(cloud) = &mut simulation.cloud {
                cloud.mode = match cloud.mode {
                    Mode::ConfigMap => Mode::ApiAndConfigMap,
                    Mode::ApiAndConfigMap | Mode::Api => Mode::Api,
                };
            }
        }
        Step::Handover { word } => {
            let history = simulation.history.get_or_insert_default();
            let (key, value) = (HANDOVER_ANNOTATION.to_owned(), word.clone());
            history.annotations.insert(key, value);
        }
    }
    true
}

/// As the API server does it.
fn apply(simulation: &mut Simulation, name: &str, spec: &Value) {
    let object = json!({
        "apiVersion": "identity-mapper.dev/v1alpha1",
        "kind": "IdentityMapping",
        "metadata": {"name": name},
        "spec": spec,
    });
    if check_json(&object).is_err() {
        return;
    }
    let object: IdentityMapping =
        serde_json::from_value(object).expect("what the rules accept can be decoded");
    let mapping = Mapping::from_object(&object);
    let by_arn = object.spec.principal.arn.is_some();
    if let (true, Err(refusal)) = (by_arn, &mapping.spec) {
        panic!("the rules accept {spec}, and the operator does not: {refusal:?}");
    }
    if simulation.objects.contains_key(name) {
        simulation.edit(name, |standing| standing.spec = object.spec);
    } else {
        simulation.create(name, "role/any", &json!({}));
        simulation.edit(name, |standing| standing.spec = object.spec);
    }
}

/// The entries of aws-auth that no mapping names, in their order.
fn strangers(simulation: &Simulation) -> Vec<Meaning> {
    let none = BTreeMap::new();
    let view = simulation.config_map.as_ref();
    let document = Document::parse(view.map_or(&none, |view| &view.data));
    let mappings: Vec<Mapping> = simulation.desired().mappings;
    let ours = |meaning: &Meaning| {
        mappings.iter().any(|mapping| {
            mapping.names(&meaning.arn)
                || mapping
                    .written("kube-system/aws-auth")
                    .values()
                    .any(|it| it.meaning == *meaning)
        })
    };
    let entries = document.entries().map(crate::aws_auth::Entry::meaning);
    entries.filter(|meaning| !ours(meaning)).collect()
}
