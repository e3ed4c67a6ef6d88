//! Whatever legal form aws-auth has: mappings come, change and go in it, and not a byte of it changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::NO_TIMER;
use crate::support::{Cluster, Judge, Operator};

/// Texts of `mapRoles`; as `mapUsers` the same with users. Each is what its name says, and holds what was met in clusters.
const FORMS: [(&str, &str); 17] = [
    ("nothing", ""),
    ("a comment alone", "# managed by hand\n"),
    ("an empty list", "[]\n"),
    (
        "comments",
        "# first\n\n- rolearn: arn:aws:iam::111122223333:role/a # of a\n  # between\n  username: a\n\n  groups:   # list\n    - g # item\n# between entries\n\n- {rolearn: 'arn:aws:iam::111122223333:role/b', username: b}\n# last, without an end",
    ),
    (
        "CRLF",
        "- rolearn: arn:aws:iam::111122223333:role/a\r\n  username: a\r\n  groups:\r\n  - g\r\n# end\r\n",
    ),
    (
        "a flow list",
        "[{rolearn: \"arn:aws:iam::111122223333:role/a\", username: a, groups: [g, 'h']}, {rolearn: 'arn:aws:iam::111122223333:role/b', username: b}]",
    ),
    (
        "a flow list over lines",
        "[\n  {rolearn: 'arn:aws:iam::111122223333:role/a', # first\n   username: a, groups: [g,\n  h]},\n  {rolearn: 'arn:aws:iam::111122223333:role/b', username: b, }, # comma\n]\n# end\n",
    ),
    (
        "anchors and merges",
        "- &base\n  rolearn: arn:aws:iam::111122223333:role/a\n  username: base\n  groups: &g [ops, dev]\n- <<: *base\n  rolearn: arn:aws:iam::111122223333:role/b\n- rolearn: arn:aws:iam::111122223333:role/c\n  username: &n c\n  groups: *g\n- {rolearn: 'arn:aws:iam::111122223333:role/d', username: *n}\n",
    ),
    (
        "block scalars",
        "- rolearn: >-\n    arn:aws:iam::111122223333:role/a\n  username: |-\n    system:node:{{EC2PrivateDNSName}}\n  groups:\n  - |-\n    g\n- groups: [g]\n  username: b\n  rolearn: |+\n    arn:aws:iam::111122223333:role/b\n\n\n",
    ),
    (
        "duplicates, cases and unknown fields",
        "- RoleARN: arn:aws:iam::111122223333:role/a\n  rolearn: arn:aws:iam::111122223333:role/a\n  UserName: a\n  GROUPS: [g]\n  owner: team-x\n  nested: {a: [b, {c: d}]}\n- rolearn: arn:aws:iam::111122223333:role/a\n  username: b\n  username: c\n- rolearn: arn:aws:iam::111122223333:role/A\n  username: d\n",
    ),
    (
        "single sign-on, nulls and drops",
        "- sso: {permissionSetName: View, accountID: '111122223333'}\n  username: sso\n  groups: [g]\n- null\n-\n- ~\n- username: nobody\n- {}\n- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n",
    ),
    (
        "a second document",
        "---\n- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n---\n- rolearn: arn:aws:iam::111122223333:role/unread\n  username: unread\n",
    ),
    (
        "an end of document",
        "%YAML 1.1\n---\n- rolearn: !!str arn:aws:iam::111122223333:role/a\n  ? username\n  : a\n...\n",
    ),
    (
        "a byte order mark",
        "\u{feff}- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n",
    ),
    (
        "JSON",
        "[\n\t{\"rolearn\": \"arn:aws:iam::111122223333:role/a\", \"username\": \"a\", \"groups\": [\"g\"]},\n\t{\"rolearn\": \"arn:aws:iam::111122223333:role/b\", \"username\": \"\\u0062\"}\n]",
    ),
    (
        "dashes alone and deep indentation",
        "        -\n            rolearn: arn:aws:iam::111122223333:role/a\n            username: a\n            groups:\n            -   g\n            -\n                h\n        -   # of b\n\n            rolearn: arn:aws:iam::111122223333:role/b\n            username: b\n      # shallow\n",
    ),
    (
        "scalars of YAML 1.1",
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: yes\n  groups: [on, g, 0o14, 1_000]\n- rolearn: arn:aws:iam::111122223333:role/b\n  username: 12345\n  groups: alone\n- \"rolearn\": \"arn:aws:iam::111122223333:\\\n    role/c\"\n  'username': 'it''s\n    c'\n  groups: [ \"\u{fc}ber\", é ]   \n",
    ),
];

fn as_users(text: &str) -> String {
    text.replace("rolearn", "userarn")
        .replace("RoleARN", "UserARN")
        .replace(":role", ":user")
        .replace("    role/c", "    user/c")
}

/// What the authenticator makes of these texts.
fn judged(roles: &str, users: &str) -> Value {
    let data = [("mapRoles", roles), ("mapUsers", users)];
    let data: BTreeMap<_, _> = data
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .into();
    Judge::parse(&[data]).remove(0)
}

/// Whether `new` is `old` with something put in at one place.
fn only_inserts(old: &str, new: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a == b;
    let before = old.bytes().zip(new.bytes()).take_while(same).count();
    let after = old
        .bytes()
        .rev()
        .zip(new.bytes().rev())
        .take_while(same)
        .count();
    new.len() > old.len() && before + after >= old.len()
}

#[tokio::test]
async fn mappings_come_change_and_go_in_every_legal_form() {
    let cluster = Cluster::with_operator_rights().await;
    cluster
        .seed(json!({ "mapAccounts": "- '444455556666'", "other": "stays" }))
        .await;
    let _operator = Operator::start(&cluster, &NO_TIMER).await;
    for (name, roles) in FORMS {
        let users = as_users(roles);
        let foreign = judged(roles, &users);
        let read = foreign["roles"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        assert_eq!(read, roles.contains("/a"), "{name} is legal: {foreign}");
        cluster
            .patch_aws_auth(
                "kubectl-edit",
                json!({ "data": { "mapRoles": roles, "mapUsers": users } }),
            )
            .await;
        let user = json!({ "principal": { "arn": "arn:aws:iam::111122223333:user/path/ours" } });
        cluster.declare("ours", json!({})).await;
        cluster.declare("our-user", user).await;
        for group in ["team", "changed"] {
            if group == "changed" {
                for mapping in ["ours", "our-user"] {
                    cluster
                        .change(mapping, json!({ "spec": { "groups": [group] } }))
                        .await;
                }
            }
            cluster.ready("ours").await;
            cluster.ready("our-user").await;
            let (new_roles, new_users) = (cluster.roles().await, cluster.text("mapUsers").await);
            assert!(only_inserts(roles, &new_roles), "{name}:\n{new_roles}");
            assert!(only_inserts(&users, &new_users), "{name}:\n{new_users}");
            let mut seen = judged(&new_roles, &new_users);
            for (list, arn) in [("roles", "rolearn"), ("users", "userarn")] {
                let seen = seen[list].as_array_mut().unwrap();
                let is_ours = |entry: &Value| {
                    entry[arn]
                        .as_str()
                        .is_some_and(|arn| arn.ends_with("/ours"))
                };
                let at = seen.iter().position(is_ours);
                let ours = seen.remove(at.expect("ours is read"));
                assert_eq!(ours["groups"], json!([group]), "{name}");
                let theirs = foreign[list].as_array().cloned().unwrap_or_default();
                assert_eq!(*seen, theirs, "{name}");
            }
        }
        cluster.delete("ours").await;
        cluster.delete("our-user").await;
        cluster.gone("ours").await;
        cluster.gone("our-user").await;
        assert_eq!(cluster.roles().await, roles, "{name}");
        assert_eq!(cluster.text("mapUsers").await, users, "{name}");
    }
    let object = cluster.config_maps().get("aws-auth").await.unwrap();
    let data = object.data.unwrap();
    assert_eq!(
        (data["mapAccounts"].as_str(), data["other"].as_str()),
        ("- '444455556666'", "stays")
    );
    assert!(
        cluster.events_on_faults().await.is_empty(),
        "{:#?}",
        cluster.events_on_faults().await
    );
}
