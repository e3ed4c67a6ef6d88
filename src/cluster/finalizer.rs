//! Adding and removing the finalizer of a mapping.
//!
//! JSON patches whose `test` operations name the uid and the finalizers that were seen: an object made anew under the
//! name, or a list that someone else changed, is never touched on a wrong assumption. A failed test reads again.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Cluster, bounded};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::FINALIZER;
use crate::error::{Category, Error};
use crate::plan::{FIELD_MANAGER, FinalizerChange};

/// How often the list is read again before it is left to the next pass.
const ATTEMPTS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Add,
    Remove,
}

impl Cluster {
    /// Adds the finalizer, and returns the mapping as it then stands; `None` where that very object is no more or goes.
    /// `seen` are its finalizers as they were last read.
    pub async fn add_finalizer(
        &self,
        change: &FinalizerChange,
        seen: &[String],
    ) -> Result<Option<IdentityMapping>, Error> {
        self.change_finalizer(change, seen, Direction::Add).await
    }

    /// Removes the finalizer; an object that is no more is a success.
    pub async fn remove_finalizer(
        &self,
        change: &FinalizerChange,
        seen: &[String],
    ) -> Result<(), Error> {
        self.change_finalizer(change, seen, Direction::Remove)
            .await
            .map(drop)
    }

    async fn change_finalizer(
        &self,
        change: &FinalizerChange,
        seen: &[String],
        direction: Direction,
    ) -> Result<Option<IdentityMapping>, Error> {
        let api = self.mappings();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let mut finalizers = seen.to_vec();
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let Some(patch) = patch(&change.uid, &finalizers, direction) else {
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
            let gone = object.metadata.uid.as_deref() != Some(change.uid.as_str());
            if gone || (direction == Direction::Add && object.metadata.deletion_timestamp.is_some())
            {
                return Ok(None);
            }
            finalizers = object.metadata.finalizers.clone().unwrap_or_default();
            if patch_is_needless(&finalizers, direction) {
                return Ok(Some(object));
            }
        }
        refused.map_or(Ok(None), Err)
    }
}

fn patch_is_needless(finalizers: &[String], direction: Direction) -> bool {
    let present = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    present == (direction == Direction::Add)
}

/// The operations, or `None` where there is nothing to do.
fn patch(uid: &str, finalizers: &[String], direction: Direction) -> Option<Value> {
    if patch_is_needless(finalizers, direction) {
        return None;
    }
    let same_object = json!({ "op": "test", "path": "/metadata/uid", "value": uid });
    Some(match direction {
        Direction::Add if finalizers.is_empty() => json!([
            same_object,
            // The API server's library takes an absent field for null here.
            { "op": "test", "path": "/metadata/finalizers", "value": null },
            { "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] },
        ]),
        Direction::Add => json!([
            same_object,
            { "op": "test", "path": "/metadata/finalizers", "value": finalizers },
            { "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER },
        ]),
        Direction::Remove => {
            let index = finalizers
                .iter()
                .position(|finalizer| finalizer == FINALIZER)?;
            let path = format!("/metadata/finalizers/{index}");
            json!([
                same_object,
                { "op": "test", "path": path, "value": FINALIZER },
                { "op": "remove", "path": path },
            ])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_addition_tests_what_was_seen() {
        let first = patch("u", &[], Direction::Add).expect("something to do");
        assert_eq!(
            first[1],
            json!({ "op": "test", "path": "/metadata/finalizers", "value": null })
        );
        assert_eq!(first[2]["value"], json!([FINALIZER]));
        let second = patch("u", &list(&["other"]), Direction::Add).expect("something to do");
        assert_eq!(
            second[0],
            json!({ "op": "test", "path": "/metadata/uid", "value": "u" })
        );
        assert_eq!(second[1]["value"], json!(["other"]));
        assert_eq!(second[2]["path"], "/metadata/finalizers/-");
        assert_eq!(patch("u", &list(&[FINALIZER]), Direction::Add), None);
    }

    #[test]
    fn a_removal_takes_only_ours() {
        let removal =
            patch("u", &list(&["other", FINALIZER]), Direction::Remove).expect("something to do");
        assert_eq!(
            removal[1],
            json!({ "op": "test", "path": "/metadata/finalizers/1", "value": FINALIZER })
        );
        assert_eq!(
            removal[2],
            json!({ "op": "remove", "path": "/metadata/finalizers/1" })
        );
        assert_eq!(patch("u", &list(&["other"]), Direction::Remove), None);
    }

    #[test]
    fn the_operations_are_valid_json_patches() {
        for finalizers in [list(&[]), list(&["other"]), list(&[FINALIZER, "other"])] {
            for direction in [Direction::Add, Direction::Remove] {
                if let Some(patch) = patch("u", &finalizers, direction) {
                    let parsed: Patch<()> =
                        Patch::Json(serde_json::from_value(patch).expect("RFC 6902"));
                    assert!(matches!(parsed, Patch::Json(_)));
                }
            }
        }
    }
}
