//! What access policies allow, as AWS publishes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Deserialize;

/// The EKS user guide, "Review access policy permissions", in its state of 2025-11-06
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
const PUBLISHED: &str = include_str!("../../../src/access_entry/access-policies.json");

#[derive(Deserialize)]
struct Published {
    policies: BTreeMap<String, Vec<PolicyRule>>,
}

/// The rules of the policy of this name; none where AWS publishes none.
pub(crate) fn published(name: &str) -> &'static [PolicyRule] {
    static ALL: LazyLock<Published> =
        LazyLock::new(|| serde_json::from_str(PUBLISHED).expect("the file is in the repository"));
    ALL.policies.get(name).map_or(&[], Vec::as_slice)
}
