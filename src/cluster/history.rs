//! Reading and writing the history `ConfigMap`, under the same rules as aws-auth.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Cluster;
use super::any_managers::AnyManagers;
use crate::error::{Category, Error};
use crate::observed::HistoryView;
use crate::plan::{FIELD_MANAGER, HistoryWrite};

/// Why a write of the history does not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// It is not the one that was read any more: read again and plan again.
    Stale,
    /// It was refused or did not get through: the API server's words.
    Failed(Error),
}

impl Cluster {
    /// The current history; `None` where it does not exist.
    pub async fn read_history(&self) -> Result<Option<HistoryView>, Error> {
        let found = self
            .bounded(
                self.config_maps()
                    .get_opt(&self.config_map().history().name),
            )
            .await?;
        Ok(found.map(|object| HistoryView::from_object(&object.0)))
    }

    /// The copies in the history, packed as they stand, by name.
    pub async fn read_copies(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let name = &self.config_map().history().name;
        let found = self.bounded(self.config_maps().get_opt(name)).await?;
        let copies = found.and_then(|object| object.0.binary_data);
        let copies = copies.unwrap_or_default().into_iter();
        Ok(copies.map(|(name, bytes)| (name, bytes.0)).collect())
    }

    /// Writes the history, and returns the result.
    pub async fn write_history(&self, write: &HistoryWrite) -> Result<HistoryView, HistoryError> {
        let api = self.config_maps();
        let name = self.config_map().history().name;
        let (answer, stale) = if let Some(resource_version) = &write.resource_version {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let answer = self
                .bounded(api.patch(
                    &name,
                    &params,
                    &Patch::Merge(merge_patch(resource_version, write)),
                ))
                .await;
            (answer, [Category::Conflict, Category::Missing].as_slice())
        } else {
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            (
                self.bounded(api.create(&params, &AnyManagers(new_object(name, write))))
                    .await,
                [Category::Conflict].as_slice(),
            )
        };
        match answer {
            Ok(object) => Ok(HistoryView::from_object(&object.0)),
            Err(error) if stale.contains(&error.category) => Err(HistoryError::Stale),
            Err(error) => Err(HistoryError::Failed(error)),
        }
    }
}

fn new_object(name: String, write: &HistoryWrite) -> ConfigMap {
    let annotations: BTreeMap<_, _> = write
        .annotations
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
        .collect();
    let copies: BTreeMap<_, _> = write
        .add
        .iter()
        .map(|(key, value)| (key.clone(), ByteString(value.clone())))
        .collect();
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        },
        binary_data: Some(copies).filter(|copies| !copies.is_empty()),
        ..ConfigMap::default()
    }
}

fn merge_patch(resource_version: &str, write: &HistoryWrite) -> Value {
    let mut metadata = json!({ "resourceVersion": resource_version });
    if !write.annotations.is_empty() {
        metadata["annotations"] = json!(write.annotations);
    }
    let mut copies: BTreeMap<&str, Value> = write
        .remove
        .iter()
        .map(|key| (key.as_str(), Value::Null))
        .collect();
    for (key, value) in &write.add {
        copies.insert(key, json!(ByteString(value.clone())));
    }
    let mut patch = json!({ "metadata": metadata });
    if !copies.is_empty() {
        patch["binaryData"] = json!(copies);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write() -> HistoryWrite {
        HistoryWrite {
            resource_version: Some("9".to_owned()),
            add: BTreeMap::from([("2".to_owned(), b"new".to_vec())]),
            remove: vec!["1".to_owned()],
            annotations: BTreeMap::from([
                ("kept".to_owned(), Some("x".to_owned())),
                ("gone".to_owned(), None),
            ]),
        }
    }

    #[test]
    fn a_patch_adds_and_removes() {
        assert_eq!(
            merge_patch("9", &write()),
            json!({
                "metadata": { "resourceVersion": "9", "annotations": { "gone": null, "kept": "x" } },
                "binaryData": { "1": null, "2": "bmV3" },
            })
        );
    }

    #[test]
    fn a_new_object_has_what_is_added() {
        let object = new_object(
            "history".to_owned(),
            &HistoryWrite {
                resource_version: None,
                ..write()
            },
        );
        assert_eq!(
            serde_json::to_value(&object).expect("a ConfigMap is JSON"),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "history", "annotations": { "kept": "x" } },
                "binaryData": { "2": "bmV3" },
            })
        );
    }
}
