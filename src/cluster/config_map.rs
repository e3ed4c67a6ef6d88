//! Reading and writing aws-auth.
//!
//! The write is a JSON merge patch of the changed keys alone that carries the resourceVersion that was read: the API
//! server answers 409 where anyone wrote in between
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>). It is not a server-side apply,
//! which owns whole keys of `data` and would take them from other writers.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::Cluster;
use super::any_managers::AnyManagers;
use crate::error::{Category, Error};
use crate::observed::ConfigMapView;
use crate::plan::{ConfigMapWrite, FIELD_MANAGER, WriteFailure};
use crate::safety::Cleared;

/// Why a write does not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The object is not the one that was read any more: read again and plan again, never send again.
    Stale,
    /// It was refused or did not get through.
    Failed(WriteFailure),
}

impl From<Error> for WriteFailure {
    fn from(Error { category, message }: Error) -> Self {
        match category {
            Category::Denied => Self::Denied(message),
            Category::Forbidden => Self::Forbidden(message),
            // A namespace that does not exist is a mistake in the settings, and no retry makes it.
            Category::Invalid | Category::Missing => Self::Invalid(message),
            Category::Transient | Category::Throttled | Category::Conflict => {
                Self::Unavailable(message)
            }
        }
    }
}

impl Cluster {
    /// The current aws-auth; `None` where the API server says that it does not exist.
    pub async fn read_config_map(&self) -> Result<Option<ConfigMapView>, Error> {
        let name = &self.config_map().name;
        let found = self.bounded(self.config_maps().get_opt(name)).await?;
        Ok(found.map(|object| ConfigMapView::from_object(&object.0)))
    }

    /// Writes aws-auth, and returns the result.
    pub async fn write_config_map(
        &self,
        write: &Cleared<ConfigMapWrite>,
    ) -> Result<ConfigMapView, WriteError> {
        let api = self.config_maps();
        let name = &self.config_map().name;
        let (answer, stale) = match &**write {
            ConfigMapWrite::Create {
                data,
                binary_data,
                labels,
                annotations,
            } => {
                let object = AnyManagers(new_object(name, data, binary_data, labels, annotations));
                let params = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                (
                    self.bounded(api.create(&params, &object)).await,
                    [Category::Conflict].as_slice(),
                )
            }
            ConfigMapWrite::Patch {
                resource_version,
                data,
                annotations,
            } => {
                let patch = merge_patch(resource_version, data, annotations);
                let params = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let answer = self
                    .bounded(api.patch(name, &params, &Patch::Merge(patch)))
                    .await;
                (answer, [Category::Conflict, Category::Missing].as_slice())
            }
        };
        match answer {
            Ok(object) => Ok(ConfigMapView::from_object(&object.0)),
            Err(error) if stale.contains(&error.category) => Err(WriteError::Stale),
            Err(error) => Err(WriteError::Failed(error.into())),
        }
    }
}

fn new_object(
    name: &str,
    data: &BTreeMap<String, String>,
    binary_data: &BTreeMap<String, Vec<u8>>,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> ConfigMap {
    let binary_data: BTreeMap<_, _> = binary_data
        .iter()
        .map(|(key, value)| (key.clone(), ByteString(value.clone())))
        .collect();
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()).filter(|labels| !labels.is_empty()),
            annotations: Some(annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        },
        data: Some(data.clone()),
        binary_data: Some(binary_data).filter(|binary| !binary.is_empty()),
        immutable: None,
    }
}

fn merge_patch(
    resource_version: &str,
    data: &BTreeMap<String, Option<String>>,
    annotations: &BTreeMap<String, Option<String>>,
) -> serde_json::Value {
    let mut metadata = json!({ "resourceVersion": resource_version });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    let mut patch = json!({ "metadata": metadata });
    if !data.is_empty() {
        patch["data"] = json!(data);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_only_what_changes() {
        let data = BTreeMap::from([
            ("mapRoles".to_owned(), Some("[]\n".to_owned())),
            ("mapUsers".to_owned(), None),
        ]);
        let annotations = BTreeMap::from([
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), None),
        ]);
        assert_eq!(
            merge_patch("7", &data, &annotations),
            json!({
                "metadata": { "resourceVersion": "7", "annotations": { "a": "1", "b": null } },
                "data": { "mapRoles": "[]\n", "mapUsers": null },
            })
        );
        assert_eq!(
            merge_patch("7", &BTreeMap::new(), &BTreeMap::new()),
            json!({ "metadata": { "resourceVersion": "7" } })
        );
    }

    #[test]
    fn an_object_without_extras_has_no_empty_maps() {
        let empty = BTreeMap::new();
        let object = new_object("aws-auth", &empty, &BTreeMap::new(), &empty, &empty);
        assert_eq!(
            serde_json::to_value(&object).expect("a ConfigMap is JSON"),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth" }, "data": {} })
        );
    }

    #[test]
    fn every_category_has_its_failure() {
        let failure = |category| {
            WriteFailure::from(Error {
                category,
                message: "m".to_owned(),
            })
        };
        assert_eq!(
            failure(Category::Denied),
            WriteFailure::Denied("m".to_owned())
        );
        assert_eq!(
            failure(Category::Forbidden),
            WriteFailure::Forbidden("m".to_owned())
        );
        assert_eq!(
            failure(Category::Invalid),
            WriteFailure::Invalid("m".to_owned())
        );
        assert_eq!(
            failure(Category::Missing),
            WriteFailure::Invalid("m".to_owned())
        );
        assert_eq!(
            failure(Category::Throttled),
            WriteFailure::Unavailable("m".to_owned())
        );
        assert_eq!(
            failure(Category::Transient),
            WriteFailure::Unavailable("m".to_owned())
        );
    }
}
