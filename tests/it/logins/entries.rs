//! Access entries and access policies: who gets in by them in each mode, and what they may do then.

use serde_json::{Value, json};

use super::*;
use crate::support::eks::Principal;

/// Somebody with an access entry, with an entry of aws-auth, with both, or with an access entry of a role that was since replaced.
struct People {
    both: Caller,
    map_only: Caller,
    entry_only: Caller,
    recreated: Caller,
    user: Caller,
    node: Caller,
}

const INSTANCE: &str = "i-0123456789abcdef0";

/// A cluster, and those who come to it.
struct Stage {
    eks: Eks,
    logins: Logins,
    cluster: Cluster,
}

impl Stage {
    fn entry(&self, principal: &Principal, fields: &Value) {
        let mut input = fields.clone();
        input["principalArn"] = json!(principal.arn);
        self.eks.by_hand("CreateAccessEntry", input).unwrap();
    }

    fn associate(&self, principal: &Principal, policy: &str, namespaces: &[&str]) {
        let scope = if namespaces.is_empty() {
            json!({"type": "cluster"})
        } else {
            json!({"type": "namespace", "namespaces": namespaces})
        };
        let input =
            json!({"principalArn": principal.arn, "policyArn": arn(policy), "accessScope": scope});
        self.eks.by_hand("AssociateAccessPolicy", input).unwrap();
    }

    async fn enters(&self, caller: &Caller) -> Option<String> {
        let found = enters(&self.logins, &self.eks, caller).await;
        found.map(|(username, _)| username)
    }

    /// Waits until these get in as said, or not at all.
    async fn until(&self, what: &str, wanted: &[(&Caller, Option<&str>)]) {
        eventually(what, SOON, async || {
            for (caller, wanted) in wanted {
                let found = self.enters(caller).await;
                if found.as_deref() != *wanted {
                    return Err((caller.arn.clone(), found, *wanted, self.logins.log()));
                }
            }
            Ok(())
        })
        .await;
    }

    async fn may(&self, token: &str, verb: &str, resource: &str, namespace: &str) -> bool {
        let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
        let resource =
            json!({"verb": verb, "group": group, "resource": resource, "namespace": namespace});
        let spec = json!({ "resourceAttributes": resource });
        self.logins.may(token, &spec).await.unwrap()
    }

    fn switch(&self, mode: Mode) {
        let config = json!({"accessConfig": {"authenticationMode": mode.as_str()}});
        self.eks.by_hand("UpdateClusterConfig", config).unwrap();
    }
}

fn arn(policy: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{policy}")
}

#[tokio::test]
async fn access_entries_count_as_the_mode_says() {
    let cluster = Cluster::with_logins().await;
    let text = |names: &[&str]| {
        let entry = |name: &&str| {
            format!(
                "- rolearn: arn:aws:iam::{ACCOUNT}:role/{name}\n  username: map-{name}\n  groups: [system:masters]\n"
            )
        };
        names.iter().map(entry).collect::<String>()
    };
    cluster
        .seed(json!({"mapRoles": text(&["Both", "MapOnly", "Again"])}))
        .await;
    let mut world = World::new(ARN).mode(Mode::ConfigMap);
    world
        .instances
        .insert(INSTANCE.to_owned(), "ip-10-0-0-1".to_owned());
    let role = |world: &mut World, path: &str, name: &str| world.role(ACCOUNT, path, name);
    let both = role(&mut world, "/", "Both");
    role(&mut world, "/", "MapOnly");
    let entry_only = role(&mut world, "/teams/a/", "EntryOnly");
    let again = role(&mut world, "/", "Again");
    let nodes = role(&mut world, "/", "Nodes");
    let user = world.user(ACCOUNT, "/people/", "Una");
    let session = |world: &World, name: &str, of: &str| world.session(ACCOUNT, name, of);
    let people = People {
        both: session(&world, "Both", "alice"),
        map_only: session(&world, "MapOnly", "alice"),
        entry_only: session(&world, "EntryOnly", "alice@example.com"),
        recreated: session(&world, "Again", "alice"),
        user: caller(&user.arn, &user.id),
        node: session(&world, "Nodes", INSTANCE),
    };
    let eks = Eks::start(world).await;
    let logins = Logins::start(&cluster, &eks).await;
    let mut stage = Stage {
        eks,
        logins,
        cluster,
    };
    let by_map = [
        (&people.both, Some("map-Both")),
        (&people.map_only, Some("map-MapOnly")),
        (&people.recreated, Some("map-Again")),
        (&people.entry_only, None),
        (&people.user, None),
        (&people.node, None),
    ];
    stage.until("aws-auth counts", &by_map).await;

    stage.switch(Mode::ApiAndConfigMap);
    let named = json!({"username": "entry:{{SessionNameRaw}}", "kubernetesGroups": ["team"]});
    stage.entry(&both, &json!({"username": "entry-Both"}));
    stage.entry(&entry_only, &named);
    stage.entry(&again, &json!({"username": "entry-Again"}));
    stage.entry(&user, &json!({}));
    stage.entry(&nodes, &json!({"type": "EC2_LINUX"}));
    let by_both = [
        (&people.both, Some("entry-Both")),
        (&people.map_only, Some("map-MapOnly")),
        (&people.recreated, Some("entry-Again")),
        (&people.entry_only, Some("entry:alice@example.com")),
        (&people.user, Some(user.arn.as_str())),
        (&people.node, Some("system:node:ip-10-0-0-1")),
    ];
    stage.until("an entry wins", &by_both).await;
    let token = stage.eks.token(&people.both);
    assert!(
        !stage.may(&token, "list", "secrets", "").await,
        "whole: nothing is left of what aws-auth gives"
    );

    // A role that was made again has another id: its entry is dead, and aws-auth counts.
    stage.eks.world().recreate_principal(&again.arn);
    let recreated = stage.eks.world().session(ACCOUNT, "Again", "alice");
    stage
        .until("aws-auth counts again", &[(&recreated, Some("map-Again"))])
        .await;

    stage.switch(Mode::Api);
    let by_api = [
        (&people.both, Some("entry-Both")),
        (&people.map_only, None),
        (&recreated, None),
        (&people.entry_only, Some("entry:alice@example.com")),
        (&people.user, Some(user.arn.as_str())),
        (&people.node, Some("system:node:ip-10-0-0-1")),
    ];
    stage.until("aws-auth is read no more", &by_api).await;
    policies(&mut stage, &entry_only, &people.entry_only).await;
}

/// What policies allow: one login, asked again and again, since authorisation is no part of its token.
async fn policies(stage: &mut Stage, principal: &Principal, caller: &Caller) {
    let token = stage.eks.token(caller);
    assert!(!stage.may(&token, "list", "pods", "dev-a").await);

    stage.associate(principal, "AmazonEKSEditPolicy", &["dev-*", "shared"]);
    for (verb, resource, namespace, allowed) in [
        ("list", "pods", "dev-a", true),
        ("patch", "apps/deployments", "shared", true),
        ("list", "pods", "dev", false),
        ("list", "pods", "", false),
        (
            "create",
            "rbac.authorization.k8s.io/rolebindings",
            "dev-a",
            false,
        ),
        ("get", "example.com/things", "dev-a", false),
    ] {
        let found = stage.may(&token, verb, resource, namespace).await;
        assert_eq!(found, allowed, "{verb} {resource} in {namespace:?}");
    }

    stage.associate(principal, "AmazonEKSClusterAdminPolicy", &[]);
    assert!(stage.may(&token, "delete", "nodes", "").await);
    assert_eq!(stage.logins.get(&token, "/metrics").await, 200);
    assert_eq!(stage.logins.get(&token, "/api/v1/secrets").await, 200);
    // The policy belongs to the login: who is impersonated has none of it, not even under the same name.
    let user = stage.cluster.user_kubeconfig(&json!({"token": token}));
    let kubeconfig = format!("--kubeconfig={}", user.display());
    let ask = |more: &[&str]| {
        let args = [&["auth", "can-i", "delete", "nodes", &kubeconfig], more].concat();
        stage.cluster.kubectl(&args, None).status.success()
    };
    assert!(ask(&[]));
    assert!(!ask(&["--as=entry:alice@example.com"]));

    let input =
        json!({"principalArn": principal.arn, "policyArn": arn("AmazonEKSClusterAdminPolicy")});
    stage
        .eks
        .by_hand("DisassociateAccessPolicy", input)
        .unwrap();
    assert!(!stage.may(&token, "delete", "nodes", "").await);
    assert!(stage.may(&token, "list", "pods", "dev-a").await);
    let input = json!({"principalArn": principal.arn});
    stage.eks.by_hand("DeleteAccessEntry", input).unwrap();
    stage.until("the entry is gone", &[(caller, None)]).await;
}
