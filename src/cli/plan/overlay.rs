//! Mappings from files that replace existing ones.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use crate::api::IdentityMapping;
use crate::desired::{Desired, Mapping};
use crate::diff;
use crate::observed::AwsState;
use crate::time::Timestamp;

/// What became of the mappings that stand and that no file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// They stay as they are.
    pub(super) left: Vec<String>,
    /// They are taken as deleted.
    pub(super) pruned: Vec<String>,
}

/// Puts the mappings from files over those in a cluster, as `kubectl apply` would: an object that exists keeps its uid, its
/// age, its status and its finalizers, and a new one is the youngest. With `prune` those that no file has are taken as deleted.
pub(super) fn lay_over(
    desired: &mut Desired,
    objects: &mut Vec<IdentityMapping>,
    declared: Vec<IdentityMapping>,
    prune: bool,
    now: Timestamp,
) -> Others {
    let mut standing: BTreeMap<String, Mapping> = std::mem::take(&mut desired.mappings)
        .into_iter()
        .map(|mapping| (mapping.name.clone(), mapping))
        .collect();
    let mut before: BTreeMap<String, IdentityMapping> = std::mem::take(objects)
        .into_iter()
        .map(|object| (object.name_any(), object))
        .collect();
    for mut object in declared {
        let name = object.name_any();
        let (mapping, old) = (standing.remove(&name), before.remove(&name));
        apply(&mut object, mapping.as_ref(), old.as_ref(), now);
        desired.mappings.push(Mapping::from_object(&object));
        objects.push(object);
    }
    let mut others = Others::default();
    for (name, mut mapping) in standing {
        if !prune || mapping.is_deleting() {
            others.left.push(name);
            desired.mappings.push(mapping);
            continue;
        }
        // Without a finalizer the object is gone at once.
        if !mapping.finalizers.is_empty() {
            mapping.deletion_timestamp = Some(now);
            desired.mappings.push(mapping);
        }
        others.pruned.push(name);
    }
    objects.extend(before.into_values());
    others
}

/// What of an object is not the file's to say.
fn apply(
    object: &mut IdentityMapping,
    standing: Option<&Mapping>,
    old: Option<&IdentityMapping>,
    now: Timestamp,
) {
    let metadata = &mut object.metadata;
    let Some(standing) = standing else {
        metadata.uid = None;
        metadata.generation = Some(1);
        metadata.creation_timestamp = Some(now.into());
        metadata.deletion_timestamp = None;
        metadata.finalizers = None;
        object.status = None;
        return;
    };
    metadata.uid = Some(standing.uid.clone());
    metadata.creation_timestamp = standing.created.map(Into::into);
    metadata.deletion_timestamp = standing.deletion_timestamp.map(Into::into);
    let names = standing
        .finalizers
        .iter()
        .map(|ours| ours.as_str().to_owned());
    metadata.finalizers = Some(names.collect());
    let same = old.is_some_and(|old| old.spec == object.spec);
    metadata.generation = Some(standing.generation + i64::from(!same));
    // apply takes away only annotations that an earlier file had, which is not known here.
    let kept = old.and_then(|old| old.metadata.annotations.clone());
    let mut annotations = kept.unwrap_or_default();
    annotations.extend(metadata.annotations.take().unwrap_or_default());
    metadata.annotations = Some(annotations);
    object.status = Some(standing.status.clone());
}

/// The mappings of files alone, which stand for themselves: one without an age is made now.
pub(super) fn alone(
    desired: &mut Desired,
    objects: &mut Vec<IdentityMapping>,
    declared: Vec<IdentityMapping>,
    now: Timestamp,
) {
    for mut object in declared {
        object.metadata.creation_timestamp.get_or_insert(now.into());
        desired.mappings.push(Mapping::from_object(&object));
        objects.push(object);
    }
}

/// Files do not hold what IAM has, which a permission set asks for.
pub(super) fn without_iam(objects: &[IdentityMapping], aws: &mut AwsState) {
    let sets = objects
        .iter()
        .filter_map(|object| object.spec.principal.permission_set.as_ref());
    let of_sets = sets.filter_map(|set| set.account_id.parse().ok());
    let stripped = objects.iter().filter_map(diff::account_of_stripped);
    diff::without_iam(aws, of_sets.chain(stripped));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::finalizer::Finalizer;

    fn object(name: &str, metadata: &Value, groups: &[&str]) -> IdentityMapping {
        let mut metadata = metadata.clone();
        metadata["name"] = json!(name);
        serde_json::from_value(json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": metadata,
            "spec": { "principal": { "arn": "arn:aws:iam::111122223333:role/a" }, "groups": groups },
            "status": { "principalArn": name, "conditions": [] },
        }))
        .expect("a mapping")
    }

    fn standing(name: &str) -> IdentityMapping {
        let metadata = json!({
            "uid": format!("uid-{name}"), "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": [Finalizer::AwsAuth.as_str()], "annotations": { "identity-mapper.dev/confirm": "node-entry" },
        });
        object(name, &metadata, &["old"])
    }

    fn lay(files: &[IdentityMapping], prune: bool) -> (BTreeMap<String, Mapping>, Others) {
        let mut objects = vec![standing("a"), standing("b"), standing("c")];
        objects[2].metadata.finalizers = None;
        let mut desired = Desired {
            mappings: objects.iter().map(Mapping::from_object).collect(),
        };
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let others = lay_over(&mut desired, &mut objects, files.to_vec(), prune, now);
        let mappings = desired.mappings.into_iter();
        (
            mappings
                .map(|mapping| (mapping.name.clone(), mapping))
                .collect(),
            others,
        )
    }

    #[test]
    fn overlay_keeps_creation_times() {
        let given =
            json!({ "uid": "of another cluster", "creationTimestamp": "2020-01-01T00:00:00Z" });
        let files = [object("a", &given, &["new"]), object("n", &given, &["new"])];
        let (mappings, others) = lay(&files, false);
        let (a, n) = (&mappings["a"], &mappings["n"]);
        assert_eq!(
            (a.uid.as_str(), a.generation, a.finalizers.is_empty()),
            ("uid-a", 4, false)
        );
        assert_eq!(a.status.principal_arn.as_deref(), Some("a"));
        assert_eq!(a.confirmations.len(), 1);
        assert!(a.groups.contains("new"));
        assert_eq!(
            (n.uid.as_str(), n.generation, n.finalizers.is_empty()),
            ("", 1, true)
        );
        assert_eq!(n.status.principal_arn, None);
        assert!(n.created > a.created);
        assert_eq!(others.left, ["b", "c"]);
        assert!(!mappings["b"].is_deleting());
    }

    #[test]
    fn a_file_that_says_the_same_changes_nothing() {
        let (mappings, _) = lay(&[object("a", &json!({}), &["old"])], false);
        assert_eq!(mappings["a"].generation, 3);
    }

    #[test]
    fn pruning_deletes_what_no_file_has() {
        let (mappings, others) = lay(&[standing("a")], true);
        assert_eq!(others.pruned, ["b", "c"]);
        assert!(mappings["b"].is_deleting() && !mappings["a"].is_deleting());
        assert!(!mappings.contains_key("c"), "it has no finalizer");
    }
}
