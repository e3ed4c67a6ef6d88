//! Node groups, Fargate profiles, capabilities and Auto Mode: what EKS says of them, and the access entries that it makes.

use serde_json::{Value, json};

use super::clients::{Clients, call};
use super::{CLUSTER, OWN};
use crate::support::eks::{CapabilityKind, Eks, Entry, Mode, NodeKind, World};

fn role(name: &str) -> String {
    format!("arn:aws:iam::{OWN}:role/{name}")
}

/// A world with roles, in which nothing was made yet.
fn world(mode: Mode) -> World {
    let mut world = World::new(CLUSTER).mode(mode);
    for name in [
        "linux",
        "windows",
        "fargate",
        "argo",
        "ack",
        "kro",
        "auto",
        "eks-cluster",
        "dev",
    ] {
        world.role(OWN, "/", name);
    }
    world
}

/// Type, and policies with their namespaces, of an entry.
fn entry(world: &World, name: &str) -> Option<(String, Vec<String>)> {
    let entry = world.cluster.entries.get(&role(name))?;
    let policies = entry.policies.iter().map(|(arn, association)| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        match &association.namespaces {
            None => name.to_owned(),
            Some(namespaces) => format!("{name} in {}", namespaces.join(",")),
        }
    });
    Some((entry.type_.clone(), policies.collect()))
}

#[test]
fn each_feature_makes_the_entry_of_its_role() {
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api] {
        let mut world = world(mode);
        let dev = role("dev");
        let id = world.find(&dev).map(|it| it.id.clone());
        if mode != Mode::ConfigMap {
            let mut standing = Entry::new(&world.cluster, &dev, "STANDARD", id, world.now).unwrap();
            standing.groups = vec!["g".to_owned()];
            world.standing_entry(standing);
        }
        world.make_node_group(&role("linux"), NodeKind::Linux);
        world.make_node_group(&role("windows"), NodeKind::Windows);
        world.make_node_group(&role("fargate"), NodeKind::Fargate);
        world.make_capability("argo", CapabilityKind::ArgoCd, &role("argo"));
        world.make_capability("ack", CapabilityKind::Ack, &role("ack"));
        world.make_capability("kro", CapabilityKind::Kro, &role("kro"));
        world.make_capability("dev", CapabilityKind::Kro, &dev);
        world.make_auto_mode(&role("auto"));
        let rows: [(&str, &str, usize); 9] = [
            ("linux", "EC2_LINUX", 0),
            ("windows", "EC2_WINDOWS", 0),
            ("fargate", "FARGATE_LINUX", 0),
            ("argo", "STANDARD", 2),
            ("ack", "STANDARD", 1),
            ("kro", "STANDARD", 1),
            ("dev", "STANDARD", 1),
            ("auto", "EC2", 1),
            ("eks-cluster", "STANDARD", 8),
        ];
        for (name, type_, policies) in rows {
            let found = entry(&world, name).map(|(type_, policies)| (type_, policies.len()));
            let expected = (type_.to_owned(), policies);
            let expected = (mode != Mode::ConfigMap).then_some(expected);
            assert_eq!(found, expected, "{name} in {mode}");
        }
        if mode == Mode::ConfigMap {
            continue;
        }
        assert_eq!(
            entry(&world, "argo").unwrap().1,
            [
                "AmazonEKSArgoCDClusterPolicy",
                "AmazonEKSArgoCDPolicy in argocd"
            ]
        );
        assert_eq!(
            world.cluster.entries[&dev].groups,
            ["g"],
            "it was there before"
        );
    }
}

#[tokio::test]
async fn all_are_listed_page_by_page_and_described() {
    let mut world = world(Mode::Api);
    for number in 0..101 {
        let arn = world.role(OWN, "/many/", &format!("linux-{number:03}")).arn;
        world.make_node_group(&arn, NodeKind::Linux);
        let arn = world.role(OWN, "/", &format!("fargate-{number:03}")).arn;
        world.make_node_group(&arn, NodeKind::Fargate);
        world.make_capability(
            &format!("kro-{number:03}"),
            CapabilityKind::Kro,
            &role("kro"),
        );
    }
    world.make_auto_mode(&role("auto"));
    let eks = Eks::start(world).await;
    let client = Clients::new(&eks).await.eks;

    let groups = client.list_nodegroups().cluster_name("test");
    let first = groups.clone().send().await.unwrap();
    assert_eq!(first.nodegroups().len(), 100);
    let rest = groups
        .set_next_token(first.next_token.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (rest.nodegroups(), rest.next_token()),
        (&["linux-100".to_owned()][..], None)
    );
    let profiles = client.list_fargate_profiles().cluster_name("test");
    let first = profiles.clone().send().await.unwrap();
    assert_eq!(first.fargate_profile_names().len(), 100);
    let rest = profiles
        .set_next_token(first.next_token)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.fargate_profile_names(), ["fargate-100"]);
    let capabilities = client.list_capabilities().cluster_name("test");
    let first = capabilities.clone().send().await.unwrap();
    assert_eq!(first.capabilities().len(), 100);
    let rest = capabilities
        .set_next_token(first.next_token)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.capabilities()[0].capability_name(), Some("kro-100"));

    let group = client
        .describe_nodegroup()
        .cluster_name("test")
        .nodegroup_name("linux-007");
    let group = group.send().await.unwrap().nodegroup.unwrap();
    assert_eq!(
        group.node_role(),
        Some("arn:aws:iam::111122223333:role/many/linux-007"),
        "with its path"
    );
    let profile = client.describe_fargate_profile().cluster_name("test");
    let profile = profile
        .fargate_profile_name("fargate-007")
        .send()
        .await
        .unwrap();
    assert_eq!(
        profile.fargate_profile.unwrap().pod_execution_role_arn(),
        Some("arn:aws:iam::111122223333:role/fargate-007")
    );
    let capability = client.describe_capability().cluster_name("test");
    let capability = capability.capability_name("kro-007").send().await.unwrap();
    let capability = capability.capability.unwrap();
    assert_eq!(capability.role_arn(), Some(role("kro").as_str()));
    assert_eq!(
        capability
            .r#type()
            .map(aws_sdk_eks::types::CapabilityType::as_str),
        Some("KRO")
    );
    let cluster = client.describe_cluster().name("test").send().await.unwrap();
    let cluster = cluster.cluster.unwrap();
    assert_eq!(cluster.role_arn(), Some(role("eks-cluster").as_str()));
    let auto = cluster.compute_config().and_then(|it| it.node_role_arn());
    assert_eq!(auto, Some(role("auto").as_str()));
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let mut world = world(Mode::Api);
    world.make_node_group(&role("linux"), NodeKind::Linux);
    world.make_node_group(&role("fargate"), NodeKind::Fargate);
    let eks = Eks::start(world).await;
    let rows = [
        (
            "/clusters/none/node-groups",
            "No cluster found for name: none.",
        ),
        (
            "/clusters/none/fargate-profiles",
            "No cluster found for name: none.",
        ),
        (
            "/clusters/none/capabilities",
            "No cluster found for name: none.",
        ),
        (
            "/clusters/test/node-groups/fargate",
            "No node group found for name: fargate.",
        ),
        (
            "/clusters/test/fargate-profiles/linux",
            "No Fargate Profile found with name: linux.",
        ),
        (
            "/clusters/test/capabilities/argo",
            "No capability found for name: argo.",
        ),
    ];
    for (target, message) in rows {
        let answer = call(&eks, "GET", target, &Value::Null).await;
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.json()["message"], json!(message), "{target}");
    }
}
