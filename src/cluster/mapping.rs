//! A mapping as the watch shows it: decoded, if it can be, since one object that can't be read must not keep all others from being read;
//! then what the planner takes, and the few things that tell a change from an echo.

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::versioned::Versioned;
use crate::api::IdentityMapping;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{Backend, CONFIRM_ANNOTATION};
use crate::desired::{Mapping, read_status};

/// A mapping, or what is there in its place.
#[derive(Clone, Debug)]
pub struct AnyMapping(pub Result<Box<IdentityMapping>, Box<Undecoded>>);

/// An object that can't be decoded.
#[derive(Clone, Debug)]
pub struct Undecoded {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Why it can't be decoded.
    pub error: String,
    /// All of it.
    pub raw: Value,
}

impl<'de> Deserialize<'de> for AnyMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        // Nothing reads them, and their times are the clients' to choose.
        if let Some(metadata) = raw["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let error = match IdentityMapping::deserialize(&raw) {
            Ok(object) => return Ok(Self(Ok(Box::new(object)))),
            Err(error) => error.to_string(),
        };
        if let Some(object) = without_status(&raw) {
            return Ok(Self(Ok(Box::new(object))));
        }
        let metadata = ObjectMeta::deserialize(&raw["metadata"]).map_err(D::Error::custom)?;
        Ok(Self(Err(Box::new(Undecoded {
            metadata,
            error,
            raw,
        }))))
    }
}

/// The object, where only its status can't be decoded: nobody declares anything by that.
fn without_status(raw: &Value) -> Option<IdentityMapping> {
    let mut rest = raw.clone();
    let status = rest.as_object_mut()?.remove("status")?;
    let mut object = IdentityMapping::deserialize(rest).ok()?;
    object.status = Some(read_status(&status).ok()?);
    Some(object)
}

read_as!(AnyMapping, IdentityMapping; mapping => (
    match &mapping.0 {
        Ok(object) => object.meta(),
        Err(undecoded) => &undecoded.metadata,
    },
    match &mut mapping.0 {
        Ok(object) => object.meta_mut(),
        Err(undecoded) => &mut undecoded.metadata,
    }
));

/// Only an attacker gives an object more finalizers.
const MOST_FINALIZERS: usize = 16;

/// A mapping as it was last seen.
#[derive(Clone, Debug)]
pub struct SeenMapping {
    /// As the planner takes it.
    pub mapping: Box<Mapping>,
    /// Its uid.
    pub uid: String,
    /// Its finalizers: all of them, or only ours where there are too many.
    pub finalizers: Vec<String>,
    resource_version: String,
    generation: Option<i64>,
    deleting: bool,
    /// A hash in place of the annotation's text, of which authors of mappings choose the length.
    confirm: Option<[u8; 32]>,
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
            finalizers: finalizers(metadata),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation,
            deleting: metadata.deletion_timestamp.is_some(),
            confirm: metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(CONFIRM_ANNOTATION))
                .map(|text| Sha256::digest(text).into()),
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

/// Authors of mappings can give each a megabyte of finalizers. A change of ours reads the others again where these are not all.
fn finalizers(metadata: &ObjectMeta) -> Vec<String> {
    let all = metadata.finalizers.as_deref().unwrap_or_default();
    if all.len() <= MOST_FINALIZERS {
        return all.to_vec();
    }
    let ours = Finalizers::among(all);
    ours.iter().map(|ours| ours.as_str().to_owned()).collect()
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

    /// Without the chart's admission policy anybody who may write mappings chooses its length.
    #[test]
    fn a_long_confirmation_takes_no_memory() {
        for text in [" ", "x", "x, "] {
            let text = text.repeat(250_000 / text.len());
            let metadata =
                json!({ "name": "a", "uid": "u", "annotations": { CONFIRM_ANNOTATION: text } });
            let seen = seen(&metadata, &spec());
            assert!(seen.mapping.confirmations.is_empty());
            let kept = format!("{seen:?}").len();
            assert!(kept < 5_000, "{kept} bytes are kept of each mapping");
        }
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
