//! The longest lists fit into what the API server lets a policy cost, and each of their items is looked at.

use serde_json::json;

use super::{Person, USERNAME, give, granting, guarded, rule};

#[tokio::test]
async fn the_longest_lists_are_checked_to_the_last_item() {
    let cluster = guarded(&[]).await;
    let names = |count: usize, length: usize| -> Vec<String> {
        (0..count).map(|i| format!("{i:0>length$}")).collect()
    };
    let (groups, policies) = (names(50, 256), names(20, 128));
    let rules = |groups: &[String], policies: &[String]| {
        let [groups, policies] =
            [groups, policies].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        vec![
            rule("", "groups", "impersonate", &groups),
            rule("", "users", "impersonate", &[USERNAME]),
            rule("identity-mapper.dev", "accesspolicies", "grant", &policies),
            rule("identity-mapper.dev", "identitymappings", "adopt", &["one"]),
        ]
    };
    let admin = cluster.admin();
    give(&admin, "full", rules(&groups, &policies)).await;
    give(&admin, "less", rules(&groups[..49], &policies)).await;
    give(&admin, "first", rules(&groups[1..], &policies)).await;
    give(&admin, "none", rules(&groups, &policies[..19])).await;
    let namespaces: Vec<String> = names(50, 63);
    let scoped: Vec<_> = policies
        .iter()
        .map(|policy| json!({"policy": policy, "scope": {"type": "Namespace", "namespaces": namespaces}}))
        .collect();
    let longest =
        granting(&json!({"groups": groups, "accessPolicies": scoped, "adoption": "Always"}));
    Person::editor(&cluster, "less")
        .await
        .may_not_create(&longest, &format!("the group '{}'", groups[49]))
        .await;
    Person::editor(&cluster, "none")
        .await
        .may_not_create(&longest, &format!("the access policy {}", policies[19]))
        .await;
    Person::editor(&cluster, "first")
        .await
        .may_not_create(&longest, &format!("the group '{}'", groups[0]))
        .await;
    Person::editor(&cluster, "full")
        .await
        .may_create("who holds all of it", &longest)
        .await;

    // Compared with as long a list of others, all of which stay.
    let mappings = cluster.mappings();
    let params = kube::api::PostParams::default();
    mappings.create(&params, &longest).await.unwrap();
    let mut reversed = groups.clone();
    reversed.reverse();
    let patch = json!({"spec": {"groups": reversed}});
    Person::editor(&cluster, "bob")
        .await
        .may_patch("one", &patch)
        .await;
    let others: Vec<String> = groups
        .iter()
        .map(|name| format!("{}x", &name[1..]))
        .collect();
    let patch = json!({"spec": {"groups": others}});
    Person::editor(&cluster, "bob")
        .await
        .may_not_patch("one", &patch, "'bob' grants the group '0")
        .await;
}
