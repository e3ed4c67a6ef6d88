//! A mapping as the watch shows it: what the planner takes, and the few things that tell a change from an echo.

use kube::Resource;
use kube::api::ObjectMeta;

use super::any_mapping::AnyMapping;
use super::versioned::Versioned;
use crate::api::IdentityMapping;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{Backend, CONFIRM_ANNOTATION};
use crate::desired::Mapping;

/// A mapping as it was last seen.
#[derive(Clone, Debug)]
pub struct SeenMapping {
    /// As the planner takes it.
    pub mapping: Box<Mapping>,
    /// Its uid.
    pub uid: String,
    /// Its finalizers, all of them.
    pub finalizers: Vec<String>,
    resource_version: String,
    generation: Option<i64>,
    deleting: bool,
    confirm: Option<String>,
}

impl SeenMapping {
    /// What is kept of an object.
    #[must_use]
    pub fn from_object(object: &IdentityMapping) -> Self {
        Self::new(object.meta(), Mapping::from_object(object))
    }

    /// What is kept of an object that may not be decodable, which says so in its place.
    #[must_use]
    pub fn from_any(any: &AnyMapping) -> Self {
        match &any.0 {
            Ok(object) => Self::from_object(object),
            Err(undecoded) => Self::new(
                &undecoded.metadata,
                Mapping::undecodable(&undecoded.metadata, &undecoded.error, &undecoded.raw),
            ),
        }
    }

    fn new(metadata: &ObjectMeta, mapping: Mapping) -> Self {
        Self {
            mapping: Box::new(mapping),
            uid: metadata.uid.clone().unwrap_or_default(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation,
            deleting: metadata.deletion_timestamp.is_some(),
            confirm: metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(CONFIRM_ANNOTATION).cloned()),
        }
    }

    /// Whether a plan could come out otherwise. A finalizer that appears is our own doing; one that disappears is not. A status is ours
    /// where it is the one that we last wrote, which is then known before its event comes.
    pub(super) fn differs(before: Option<&Self>, after: Option<&Self>) -> bool {
        let (Some(before), Some(after)) = (before, after) else {
            return before.is_some() != after.is_some();
        };
        before.uid != after.uid
            || before.generation != after.generation
            || before.deleting != after.deleting
            || before.confirm != after.confirm
            || before.mapping.status != after.mapping.status
            || [Backend::ConfigMap, Backend::AccessEntry]
                .into_iter()
                .any(|backend| before.waits_for(backend) && !after.waits_for(backend))
    }

    fn waits_for(&self, backend: Backend) -> bool {
        Finalizers::among(&self.finalizers).keeps(backend)
    }
}

impl Versioned for SeenMapping {
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::finalizer::Finalizer;

    fn seen(metadata: &Value, spec: &Value) -> SeenMapping {
        let object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": metadata, "spec": spec,
        });
        SeenMapping::from_any(&serde_json::from_value(object).expect("metadata decodes"))
    }

    fn spec() -> Value {
        json!({ "principal": { "arn": "arn:aws:iam::111122223333:role/a" } })
    }

    #[test]
    fn only_what_a_plan_looks_at_is_a_difference() {
        let base = json!({ "name": "a", "uid": "u", "generation": 1, "resourceVersion": "1" });
        let with = |key: &str, value: Value| {
            let mut metadata = base.clone();
            metadata[key] = value;
            seen(&metadata, &spec())
        };
        let before = seen(&base, &spec());
        let differs = |after: &SeenMapping| SeenMapping::differs(Some(&before), Some(after));
        assert!(!differs(&with("resourceVersion", json!("2"))), "a version");
        assert!(
            !differs(&with("finalizers", json!([Finalizer::AwsAuth.as_str()]))),
            "our finalizer"
        );
        assert!(!differs(&with("labels", json!({ "a": "b" }))), "a label");
        assert!(differs(&with("generation", json!(2))), "a spec");
        assert!(differs(&with("uid", json!("v"))), "an object made anew");
        assert!(
            differs(&with("deletionTimestamp", json!("2026-01-01T00:00:00Z"))),
            "a deletion"
        );
        assert!(
            differs(&with(
                "annotations",
                json!({ CONFIRM_ANNOTATION: "mass-removal" })
            )),
            "a confirmation"
        );
        assert!(
            SeenMapping::differs(
                Some(&with("finalizers", json!([Finalizer::AwsAuth.as_str()]))),
                Some(&before)
            ),
            "a lost finalizer"
        );
        assert!(
            SeenMapping::differs(Some(&before), None) && SeenMapping::differs(None, Some(&before))
        );
    }

    #[test]
    fn an_undecodable_object_is_kept() {
        let seen = seen(
            &json!({ "name": "a", "uid": "u", "finalizers": [Finalizer::AwsAuth.as_str()] }),
            &json!({ "principal": 7 }),
        );
        assert_eq!((seen.uid.as_str(), seen.finalizers.len()), ("u", 1));
    }
}
