//! What helm makes of the chart.

use std::process::{Command, Output};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::deployment::documents;
use super::programs::{self, program, repository};
use super::rights;

/// `helm template` with these values, those that begin as a list or string of JSON taken as JSON.
pub(crate) fn template(values: &[&str]) -> Output {
    Command::new(program("helm"))
        .args(["template", "--namespace", rights::NAMESPACE, "some-release"])
        .arg(repository().join("charts/identity-mapper"))
        .args(values.iter().flat_map(|value| {
            let json = value.contains("=[") || value.contains("=\"");
            [if json { "--set-json" } else { "--set" }, value]
        }))
        .output()
        .expect("helm starts")
}

/// The admission policies and their bindings with these values.
pub(crate) fn policies(values: &[&str]) -> Vec<Value> {
    let mut policies = all(values);
    policies.retain(|document| document["apiVersion"] == "admissionregistration.k8s.io/v1");
    policies
}

/// The object of this kind and name with these values.
pub(crate) fn object<K: DeserializeOwned>(kind: &str, name: &str, values: &[&str]) -> K {
    let mut objects = all(values).into_iter();
    let object =
        objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    serde_json::from_value(object.expect("the chart renders it")).expect("it is of this kind")
}

/// Everything with these values, for a cluster that EKS is not asked about.
fn all(values: &[&str]) -> Vec<Value> {
    let output = template(&[&["authenticationMode=CONFIG_MAP"], values].concat());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let manifests = String::from_utf8(output.stdout).expect("manifests are text");
    documents(&manifests)
}

/// Those of the chart's own values; none where helm is not built: demo and benchmark do without.
pub(crate) fn default_policies() -> &'static [Value] {
    static POLICIES: OnceLock<Vec<Value>> = OnceLock::new();
    POLICIES.get_or_init(|| {
        if programs::is_built("helm") {
            policies(&[])
        } else {
            Vec::new()
        }
    })
}
