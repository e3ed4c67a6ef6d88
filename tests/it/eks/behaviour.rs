//! What EKS does with what it accepts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{CLUSTER, OTHER, OWN, policy};
use crate::support::eks::{Change, Eks, Entry, Mode, NodeKind, World};
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(5);
const ADMIN: &str = "AmazonEKSClusterAdminPolicy";

fn create(eks: &Eks, input: Value) -> Value {
    let made = eks.by_hand("CreateAccessEntry", input).unwrap();
    made["accessEntry"].clone()
}

fn associate(eks: &Eks, arn: &str, name: &str) {
    let input =
        json!({"principalArn": arn, "policyArn": policy(name), "accessScope": {"type": "cluster"}});
    eks.by_hand("AssociateAccessPolicy", input).unwrap();
}

#[tokio::test]
async fn each_type_gets_its_own_username_and_groups() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let node = "system:node:{{EC2PrivateDNSName}}";
    let session = "system:node:{{SessionName}}";
    let rows = [
        (
            "STANDARD",
            "arn:aws:sts::111122223333:assumed-role/STANDARD/{{SessionName}}",
            json!([]),
        ),
        ("EC2_LINUX", node, json!(["system:nodes"])),
        (
            "EC2_WINDOWS",
            node,
            json!(["system:nodes", "eks:kube-proxy-windows"]),
        ),
        (
            "FARGATE_LINUX",
            session,
            json!(["system:nodes", "system:node-proxier"]),
        ),
        ("HYBRID_LINUX", session, json!(["system:nodes"])),
        ("EC2", session, json!(["system:nodes"])),
        ("HYPERPOD_LINUX", session, json!(["system:nodes"])),
    ];
    for (type_, username, groups) in rows {
        let arn = eks.world().role(OWN, "/a/b/", type_).arn;
        let made = create(&eks, json!({"principalArn": arn, "type": type_}));
        assert_eq!(
            (&made["username"], &made["kubernetesGroups"]),
            (&json!(username), &groups)
        );
    }
    let user = eks.world().user(OTHER, "/people/", "ann").arn;
    assert_eq!(
        create(&eks, json!({"principalArn": user}))["username"],
        json!(user)
    );
    let root = format!("arn:aws:iam::{OTHER}:root");
    assert_eq!(
        create(&eks, json!({"principalArn": root}))["username"],
        json!(root)
    );
    // The placeholder is fine behind a colon.
    for (number, username) in [
        ":john{{SessionName}}",
        "jo:hn{{SessionName}}",
        "sts:foo",
        "system",
    ]
    .into_iter()
    .enumerate()
    {
        let arn = eks.world().role(OWN, "/", &format!("r{number}")).arn;
        let made = create(
            &eks,
            json!({"principalArn": arn, "username": username, "kubernetesGroups": ["system"]}),
        );
        assert_eq!(made["username"], json!(username));
    }
}

#[tokio::test]
async fn an_auto_mode_node_takes_policies_and_other_nodes_have_none() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let auto = eks.world().role(OWN, "/", "auto").arn;
    create(&eks, json!({"principalArn": auto, "type": "EC2"}));
    associate(&eks, &auto, "AmazonEKSAutoNodePolicy");
    let linux = eks.world().role(OWN, "/", "linux").arn;
    create(&eks, json!({"principalArn": linux, "type": "EC2_LINUX"}));
    let listed = eks
        .by_hand(
            "ListAssociatedAccessPolicies",
            json!({"principalArn": linux}),
        )
        .unwrap();
    assert_eq!(listed["associatedAccessPolicies"], json!([]));
}

#[tokio::test]
async fn the_mode_change_creates_the_entries_of_the_creator_and_of_eks_own_nodes() {
    let creator = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef";
    let mut world = World::new(CLUSTER).mode(Mode::ConfigMap).creator(creator);
    world.role(
        OWN,
        "/aws-reserved/sso.amazonaws.com/",
        "AWSReservedSSO_Admin_0123456789abcdef",
    );
    let mut nodes = Vec::new();
    for (name, kind) in [
        ("linux", NodeKind::Linux),
        ("windows", NodeKind::Windows),
        ("fargate", NodeKind::Fargate),
    ] {
        let arn = world.role(OWN, "/", name).arn;
        world = world.node_group(&arn, kind);
        nodes.push(arn);
    }
    let eks = Eks::start(world).await;
    eks.knobs().update = Duration::from_millis(50);
    assert_eq!(eks.world().force.mode, Mode::ConfigMap);
    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}}),
    )
    .unwrap();
    assert!(eks.world().cluster.entries.is_empty());
    // Nobody calls: it happens by itself.
    let mut changes = eks.subscribe();
    eventually("the update is done", SOON, async || {
        changes.try_recv().is_ok_and(|it| it == Change::Cluster)
    })
    .await;

    let world = eks.world();
    assert_eq!(
        (world.cluster.mode, world.force.mode),
        (Mode::ApiAndConfigMap, Mode::ApiAndConfigMap)
    );
    let entries = &world.cluster.entries;
    assert_eq!(entries.len(), 4);
    let own = &entries[creator];
    assert_eq!(own.type_, "STANDARD");
    assert_eq!(
        own.principal_id,
        world.find(creator).map(|it| it.id.clone())
    );
    assert!(own.policies[&policy(ADMIN)].namespaces.is_none());
    assert!(world.force.policies[creator].contains_key(&policy(ADMIN)));
    let types: Vec<&str> = nodes
        .iter()
        .map(|arn| entries[arn].type_.as_str())
        .collect();
    assert_eq!(types, ["EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX"]);
    assert_eq!(entries[&nodes[0]].groups, ["system:nodes"]);
    assert_eq!(world.force.entries.len(), 4);
}

#[tokio::test]
async fn a_recreated_principal_has_a_new_id_and_a_stale_entry() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let role = eks.world().role(OWN, "/a/", "Dev");
    let before = create(&eks, json!({"principalArn": role.arn}));
    let again = eks.world().recreate_principal(&role.arn);
    assert_eq!(again.arn, role.arn);
    assert_ne!(again.id, role.id);
    let describe = || {
        eks.by_hand("DescribeAccessEntry", json!({"principalArn": role.arn}))
            .unwrap()
    };
    assert_eq!(
        describe()["accessEntry"],
        before,
        "the description gives no hint"
    );
    assert_eq!(
        eks.world().force.entries[&role.arn].principal_id.as_ref(),
        Some(&role.id)
    );
    // An update does not bring it back; a deletion and a creation do.
    eks.by_hand("UpdateAccessEntry", json!({"principalArn": role.arn}))
        .unwrap();
    assert_eq!(
        eks.world().force.entries[&role.arn].principal_id.as_ref(),
        Some(&role.id)
    );
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role.arn}))
        .unwrap();
    create(&eks, json!({"principalArn": role.arn}));
    assert_eq!(
        eks.world().force.entries[&role.arn].principal_id,
        Some(again.id)
    );
}

#[tokio::test]
async fn force_follows_effect_after_the_delays() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let role = eks.world().role(OWN, "/", "Dev").arn;
    eks.knobs().entry_delay = Duration::from_mins(1);
    eks.knobs().policy_delay = Duration::from_mins(3);
    let seen: Arc<Mutex<Vec<(Change, bool, bool)>>> = Arc::default();
    let observed = seen.clone();
    let watched = role.clone();
    eks.observe(move |world, change| {
        let policies = world
            .force
            .policies
            .get(&watched)
            .is_some_and(|it| !it.is_empty());
        let state = (
            change.clone(),
            world.force.entries.contains_key(&watched),
            policies,
        );
        observed.lock().unwrap().push(state);
    });
    create(&eks, json!({"principalArn": role}));
    associate(&eks, &role, ADMIN);
    assert!(eks.world().cluster.entries.contains_key(&role));
    eks.advance(Duration::from_mins(10));
    let described = Change::Described(role.clone());
    let in_force = Change::InForce(role.clone());
    // The person who calls is a principal, too, and made at the first call.
    let mut states = seen.lock().unwrap().clone();
    states.retain(|(change, ..)| !matches!(change, Change::Principal(_)));
    assert_eq!(
        states,
        [
            (described.clone(), false, false),
            (described.clone(), false, false),
            (in_force.clone(), true, false),
            (in_force, true, true),
        ]
    );
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    assert!(
        eks.world().force.entries.contains_key(&role),
        "still in force"
    );
    eks.advance(Duration::from_mins(1));
    assert!(!eks.world().force.entries.contains_key(&role));
}

#[tokio::test]
async fn what_is_newer_is_not_overtaken_by_what_is_older() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let role = eks.world().role(OWN, "/", "Dev").arn;
    eks.knobs().entry_delay = Duration::from_mins(1);
    eks.knobs().policy_delay = Duration::from_mins(3);
    create(&eks, json!({"principalArn": role}));
    associate(&eks, &role, ADMIN);
    // The new entry has no policy, so none may come into force later.
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    create(&eks, json!({"principalArn": role}));
    eks.advance(Duration::from_mins(10));
    let world = eks.world();
    assert!(world.force.entries.contains_key(&role));
    assert!(world.force.policies[&role].is_empty());
}

#[tokio::test]
async fn entries_of_service_linked_roles_are_listed_and_left_alone() {
    let mut world = World::new(CLUSTER);
    let path = "/aws-service-role/eks.amazonaws.com/";
    let role = world.role(OWN, path, "AWSServiceRoleForAmazonEKS");
    let entry = Entry::new(
        &world.cluster,
        &role.arn,
        "STANDARD",
        Some(role.id),
        world.now,
    );
    world.standing_entry(entry.unwrap());
    let eks = Eks::start(world).await;
    let listed = eks.by_hand("ListAccessEntries", json!({})).unwrap();
    assert_eq!(listed["accessEntries"], json!([role.arn]));
    for operation in ["DeleteAccessEntry", "UpdateAccessEntry"] {
        let input = json!({"principalArn": role.arn});
        let refused = eks.by_hand(operation, input).unwrap_err();
        let text = "The caller is not allowed to modify access entries";
        assert!(refused.message.starts_with(text), "{refused:?}");
    }
}

#[tokio::test]
async fn a_repeated_token_gets_its_first_answer_where_that_is_switched_on() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    let role = eks.world().role(OWN, "/", "Dev").arn;
    let input = json!({"principalArn": role, "clientRequestToken": "t"});
    eks.knobs().replay_tokens = true;
    let first = create(&eks, input.clone());
    assert_eq!(create(&eks, input.clone()), first);
    eks.knobs().replay_tokens = false;
    let refused = eks.by_hand("CreateAccessEntry", input).unwrap_err();
    assert_eq!(refused.code, "ResourceInUseException");
}
