//! The operator as a rendered Deployment starts it: its arguments, its environment, its ServiceAccount.

use std::ffi::OsString;
use std::net::SocketAddr;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use serde_json::Value;

/// What a kubelet would make a process of.
pub(crate) struct Rendered {
    namespace: String,
    account: String,
    container: Container,
}

impl Rendered {
    /// The only Deployment among these manifests, and its only container.
    pub(crate) fn read(manifests: &str) -> Self {
        let deployment: Deployment = documents(manifests)
            .into_iter()
            .find(|document| document["kind"] == "Deployment")
            .map(|document| {
                serde_json::from_value(document).expect("the rendered Deployment is valid")
            })
            .expect("a Deployment is rendered");
        let PodSpec {
            service_account_name,
            mut containers,
            ..
        } = deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .expect("the Deployment has a template");
        let container = containers.pop().expect("the Deployment has a container");
        assert!(containers.is_empty(), "the Deployment has one container");
        Self {
            namespace: deployment
                .metadata
                .namespace
                .expect("the chart names the namespace"),
            account: service_account_name.expect("the chart names the ServiceAccount"),
            container,
        }
    }

    /// Namespace and name of its ServiceAccount.
    pub(crate) fn account(&self) -> (&str, &str) {
        (&self.namespace, &self.account)
    }

    /// Its arguments; only the addresses become free ones on loopback.
    pub(crate) fn args(&self, health: SocketAddr, metrics: SocketAddr) -> Vec<String> {
        let mut args = self
            .container
            .args
            .clone()
            .expect("the chart gives arguments");
        for (flag, address) in [
            ("--health-address=", health),
            ("--metrics-address=", metrics),
        ] {
            let arg = args
                .iter_mut()
                .find(|arg| arg.starts_with(flag))
                .expect("the chart sets both addresses");
            *arg = format!("{flag}{address}");
        }
        args
    }

    /// Its environment.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let variables = self.container.env.iter().flatten();
        variables
            .map(|variable| (variable.name.clone().into(), self.value(variable).into()))
            .collect()
    }

    fn value(&self, variable: &EnvVar) -> String {
        let field = variable
            .value_from
            .as_ref()
            .and_then(|source| source.field_ref.as_ref());
        match field.map(|field| field.field_path.as_str()) {
            None => variable.value.clone().unwrap_or_default(),
            Some("metadata.name") => "identity-mapper-0".to_owned(),
            Some("metadata.namespace") => self.namespace.clone(),
            Some(other) => panic!(
                "{} comes from {other}, which the test bed does not know",
                variable.name
            ),
        }
    }
}

/// The documents of a stream of manifests, without empty ones.
pub(crate) fn documents(manifests: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(manifests).expect("rendered manifests parse");
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}
