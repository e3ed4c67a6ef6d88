//! Many mappings at once, as a company with many accounts has them: SSO roles with the longest names that IAM allows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use identity_mapper::api::IdentityMapping;
use identity_mapper::api::v1alpha1::CONFIRM_ANNOTATION;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Two minutes are enough on two idle cores; a machine that builds, or runs other tests, at the same time has taken more than four.
pub(crate) const LONG: Duration = Duration::from_mins(10);

/// Clients at once: more than the API server answers at once on two cores.
const CLIENTS: usize = 32;

/// What stands in `mapRoles` before: a node role and a hand-made entry, with comments.
pub(crate) const ROLES: &str = "\
# nodes, made by EKS
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}

# made by hand
- rolearn: 'arn:aws:iam::111122223333:role/ops'   # do not touch
  username: ops
  groups: [system:masters]
";

/// What stands in `mapUsers` before.
pub(crate) const USERS: &str =
    "- {userarn: arn:aws:iam::111122223333:user/carol, username: carol} # the auditor\n";

/// A key of aws-auth that nobody reads, and everybody has to leave alone.
pub(crate) const NOTES: &str = "who owns this: team platform\n";

/// An aws-auth with foreign entries and comments.
pub(crate) fn aws_auth(annotations: BTreeMap<String, String>) -> ConfigMap {
    let data = [("mapRoles", ROLES), ("mapUsers", USERS), ("notes", NOTES)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some("aws-auth".to_owned()),
            annotations: Some(annotations),
            ..Default::default()
        },
        data: Some(
            data.map(|(key, text)| (key.to_owned(), text.to_owned()))
                .into(),
        ),
        ..Default::default()
    }
}

/// The name of a mapping.
pub(crate) fn name(number: usize) -> String {
    format!("mapping-{number:05}")
}

/// The name of its role: 64 characters, as long as IAM allows.
pub(crate) fn role(number: usize) -> String {
    // Such suffixes look random, and hardly compress.
    let suffix = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("AWSReservedSSO_PlatformEngineers-{number:05}-ReadOnly_{suffix:016x}")
}

/// A mapping of an SSO role, with the path and region that IAM gives such roles, the default username and two groups.
pub(crate) fn mapping(number: usize) -> IdentityMapping {
    let path = "aws-reserved/sso.amazonaws.com/eu-west-1";
    let object = json!({
        "apiVersion": "identity-mapper.dev/v1alpha1",
        "kind": "IdentityMapping",
        "metadata": {"name": name(number)},
        "spec": {
            "principal": {"arn": format!("arn:aws:iam::111122223333:role/{path}/{}", role(number))},
            "groups": ["platform-engineers", format!("team-{:02}", number % 50)],
        },
    });
    serde_json::from_value(object).expect("a mapping")
}

/// Creates mappings as fast as the API server takes them; how long that took.
pub(crate) async fn create(client: &Client, numbers: Range<usize>) -> Duration {
    create_all(client, numbers.map(mapping)).await
}

/// The same with any mappings.
pub(crate) async fn create_all(
    client: &Client,
    mappings: impl Iterator<Item = IdentityMapping>,
) -> Duration {
    let api = Api::<IdentityMapping>::all(client.clone());
    let started = Instant::now();
    let created = stream::iter(mappings).map(|mapping| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &mapping).await.map(drop) }
    });
    let created = created.buffer_unordered(CLIENTS).try_collect::<Vec<_>>();
    created.await.expect("the API server takes a mapping");
    started.elapsed()
}

/// Confirms the removal of each of these mappings and deletes it, as fast as the API server takes them; how long that took.
pub(crate) async fn delete(client: &Client, numbers: Range<usize>) -> Duration {
    let api = Api::<IdentityMapping>::all(client.clone());
    let started = Instant::now();
    let deleted = stream::iter(numbers).map(|number| {
        let (api, name) = (api.clone(), name(number));
        async move {
            let confirm =
                json!({"metadata": {"annotations": {CONFIRM_ANNOTATION: "mass-removal"}}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(confirm))
                .await?;
            api.delete(&name, &DeleteParams::default()).await.map(drop)
        }
    });
    let deleted = deleted.buffer_unordered(CLIENTS).try_collect::<Vec<_>>();
    deleted.await.expect("the API server deletes a mapping");
    started.elapsed()
}

/// Waits until so many mappings are there, each of them ready. By a watch: to list thousands again and again would keep the
/// API server from what is waited for.
pub(crate) async fn until_ready(client: &Client, count: usize) {
    let api = Api::<IdentityMapping>::all(client.clone());
    let mut changes = pin!(
        watcher(api, Config::default())
            .default_backoff()
            .applied_objects()
    );
    let mut found = BTreeMap::new();
    let all_ready = async {
        while found.len() < count || found.values().any(|ready| !ready) {
            let Ok(mapping) = changes.next().await.expect("a watch never ends") else {
                // It is begun anew by itself.
                continue;
            };
            found.insert(mapping.name_any(), ready(&mapping) == "True InEffect");
        }
    };
    if tokio::time::timeout(LONG, all_ready).await.is_err() {
        let ready = found.values().filter(|ready| **ready).count();
        panic!(
            "after {LONG:?} {ready} of {} mappings are ready",
            found.len()
        );
    }
}

/// All mappings.
pub(crate) async fn list(client: &Client) -> Vec<IdentityMapping> {
    let api = Api::<IdentityMapping>::all(client.clone());
    let list = api.list(&ListParams::default()).await;
    list.expect("the API server lists mappings").items
}

/// The reason of a mapping's condition Ready for its present spec, after the word `True` or `False`.
pub(crate) fn ready(mapping: &IdentityMapping) -> String {
    let conditions = mapping.status.iter().flat_map(|status| &status.conditions);
    let mut current = conditions.filter(|condition| {
        condition.type_ == "Ready" && condition.observed_generation == mapping.metadata.generation
    });
    current
        .next()
        .map(|condition| format!("{} {}", condition.status, condition.reason))
        .unwrap_or_default()
}
