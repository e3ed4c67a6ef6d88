//! Changes the finalizers of a mapping.
//!
//! JSON patches whose `test` operations name the uid and the finalizers that were seen: an object made anew under the
//! name, or a list that someone else changed, is never touched on a wrong assumption. A failed test reads again. What is added and
//! what is taken off is one patch, so that there is no moment without either.

use kube::Resource as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::mapping::AnyMapping;
use super::{Cluster, bounded};
use crate::api::finalizer::{Finalizer, Finalizers};
use crate::error::{Category, Error};
use crate::plan::{FIELD_MANAGER, FinalizerChange};
use crate::safety::Cleared;

/// How often the list is read again before it is left to the next pass.
const ATTEMPTS: usize = 4;

impl Cluster {
    /// Adds finalizers, and returns the resulting mapping, as [`Cluster::change_finalizers`] does.
    pub async fn add_finalizers(
        &self,
        change: &FinalizerChange,
        seen: &[String],
    ) -> Result<Option<AnyMapping>, Error> {
        let additions = FinalizerChange {
            remove: Finalizers::default(),
            ..change.clone()
        };
        self.write_finalizers(&additions, seen).await
    }

    /// Makes the change, and returns the resulting mapping; `None` where that very object is no more, or is deleted and can't be
    /// given a finalizer. `seen` are its finalizers as they were last read.
    pub async fn change_finalizers(
        &self,
        change: &Cleared<FinalizerChange>,
        seen: &[String],
    ) -> Result<Option<AnyMapping>, Error> {
        self.write_finalizers(change, seen).await
    }

    #[allow(
        clippy::missing_panics_doc,
        reason = "the operations are our own, and always those of RFC 6902"
    )]
    async fn write_finalizers(
        &self,
        change: &FinalizerChange,
        seen: &[String],
    ) -> Result<Option<AnyMapping>, Error> {
        let api = self.any_mappings();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let mut finalizers = seen.to_vec();
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let Some(patch) = patch(change, &finalizers) else {
                break;
            };
            let patch =
                serde_json::from_value(patch).expect("the operations are those of RFC 6902");
            match bounded(api.patch(&change.name, &params, &Patch::Json::<()>(patch))).await {
                Ok(object) => return Ok(Some(object)),
                Err(error) if error.category == Category::Missing => return Ok(None),
                // A failed test is 422, a race inside the API server 409.
                Err(error) if matches!(error.category, Category::Invalid | Category::Conflict) => {
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
            let Some(object) = bounded(api.get_opt(&change.name)).await? else {
                return Ok(None);
            };
            let metadata = object.meta();
            let gone = metadata.uid.as_deref() != Some(change.uid.as_str());
            if gone || (!change.add.is_empty() && metadata.deletion_timestamp.is_some()) {
                return Ok(None);
            }
            finalizers = metadata.finalizers.clone().unwrap_or_default();
            if changed(change, &finalizers) == finalizers {
                return Ok(Some(object));
            }
        }
        refused.map_or(Ok(None), Err)
    }
}

/// The list after the change: others' finalizers keep their places.
fn changed(change: &FinalizerChange, finalizers: &[String]) -> Vec<String> {
    let remove: Vec<&str> = change.remove.iter().map(Finalizer::as_str).collect();
    let kept = finalizers
        .iter()
        .filter(|name| !remove.contains(&name.as_str()));
    let present = Finalizers::among(finalizers);
    let added = change
        .add
        .without(present)
        .iter()
        .map(|ours| ours.as_str().to_owned());
    kept.cloned().chain(added).collect()
}

/// The operations, or `None` where there is nothing to do.
fn patch(change: &FinalizerChange, finalizers: &[String]) -> Option<Value> {
    let after = changed(change, finalizers);
    if after == finalizers {
        return None;
    }
    let path = "/metadata/finalizers";
    // The API server's library takes an absent field for null here.
    let seen = (!finalizers.is_empty()).then_some(finalizers);
    let write = if after.is_empty() {
        json!({ "op": "remove", "path": path })
    } else {
        json!({ "op": "add", "path": path, "value": after })
    };
    Some(json!([
        { "op": "test", "path": "/metadata/uid", "value": change.uid },
        { "op": "test", "path": path, "value": seen },
        write,
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = Finalizer::AwsAuth.as_str();
    const ENTRY: &str = Finalizer::AccessEntry.as_str();
    const EARLIER: &str = Finalizer::Earlier.as_str();

    fn change(add: &[Finalizer], remove: &[Finalizer]) -> FinalizerChange {
        FinalizerChange {
            name: "a".to_owned(),
            uid: "u".to_owned(),
            add: add.iter().copied().collect(),
            remove: remove.iter().copied().collect(),
            ..FinalizerChange::default()
        }
    }

    #[test]
    fn a_change_tests_what_was_seen_and_leaves_what_is_others() {
        use Finalizer::{AccessEntry, AwsAuth, Earlier};
        for (seen, add, remove, after) in [
            (vec![], vec![AwsAuth], vec![], Some(vec![TEXT])),
            (
                vec!["other"],
                vec![AwsAuth, AccessEntry],
                vec![],
                Some(vec!["other", TEXT, ENTRY]),
            ),
            (vec![TEXT], vec![AwsAuth], vec![], None),
            (vec!["other"], vec![], vec![AwsAuth], None),
            (
                vec![TEXT, "other", ENTRY],
                vec![],
                vec![AwsAuth],
                Some(vec!["other", ENTRY]),
            ),
            (vec![ENTRY], vec![], vec![AccessEntry], Some(vec![])),
            // In one write: there is no moment without either.
            (
                vec![EARLIER, "other"],
                vec![AwsAuth, AccessEntry],
                vec![Earlier],
                Some(vec!["other", TEXT, ENTRY]),
            ),
        ] {
            let names: Vec<String> = seen.iter().map(ToString::to_string).collect();
            let found = patch(&change(&add, &remove), &names);
            let Some(after) = after else {
                assert_eq!(found, None, "{seen:?}");
                continue;
            };
            let found = found.expect("something to do");
            assert_eq!(
                found[0],
                json!({ "op": "test", "path": "/metadata/uid", "value": "u" })
            );
            let tested = if seen.is_empty() {
                json!(null)
            } else {
                json!(seen)
            };
            assert_eq!(found[1]["value"], tested);
            if after.is_empty() {
                assert_eq!(found[2]["op"], "remove");
            } else {
                assert_eq!(found[2]["value"], json!(after));
            }
            let parsed: Patch<()> = Patch::Json(serde_json::from_value(found).expect("RFC 6902"));
            assert!(matches!(parsed, Patch::Json(_)));
        }
    }
}
