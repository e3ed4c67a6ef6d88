//! The witness sees every gap, and no other.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;
use crate::support::Cluster;
use crate::support::eks::{self, Eks, World};
use crate::support::power::{Caller, Via, Witness};

const ACCOUNT: &str = "111122223333";
const BRIDGE: &str = "identity-mapper:bridge";

/// A cluster with an administrator by system:masters in aws-auth, and one who watches.
struct Bed {
    cluster: Cluster,
    eks: Eks,
    witness: Witness,
    maps: Api<ConfigMap>,
    role: String,
    caller: Caller,
}

fn text(groups: &[&str]) -> String {
    format!(
        "- rolearn: arn:aws:iam::{ACCOUNT}:role/Admin\n  username: admin\n  groups: {}\n",
        json!(groups)
    )
}

impl Bed {
    async fn start(groups: &[&str]) -> Self {
        let cluster = Cluster::start().await;
        let world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test");
        let eks = Eks::start(world.mode(eks::Mode::ApiAndConfigMap)).await;
        let role = eks.world().role(ACCOUNT, "/", "Admin");
        let maps = Api::<ConfigMap>::namespaced(cluster.admin(), "kube-system");
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some("aws-auth".to_owned()),
                ..Default::default()
            },
            data: Some(BTreeMap::from([("mapRoles".to_owned(), text(groups))])),
            ..Default::default()
        };
        maps.create(&PostParams::default(), &map).await.unwrap();
        let witness = Witness::start(&cluster, &eks, BTreeMap::new()).await;
        let caller = Caller::session(&role.arn, &role.id, "alice");
        let power = witness.keep("admin", caller.clone()).await;
        assert_eq!(power.is_everything(), groups.contains(&"system:masters"));
        Self {
            cluster,
            eks,
            witness,
            maps,
            role: role.arn,
            caller,
        }
    }

    async fn map(&self, text: &str) {
        let patch = Patch::Merge(json!({"data": {"mapRoles": text}}));
        let params = PatchParams::default();
        self.maps.patch("aws-auth", &params, &patch).await.unwrap();
    }

    fn call(&self, operation: &str, input: Value) {
        let mut input = input;
        input["principalArn"] = json!(self.role);
        let answer = self.eks.by_hand(operation, input);
        answer.unwrap_or_else(|refusal| panic!("{operation}: {refusal:?}"));
    }

    fn create(&self, groups: &[&str]) {
        let tags = json!({"made": "by-hand"});
        self.call(
            "CreateAccessEntry",
            json!({"kubernetesGroups": groups, "tags": tags}),
        );
    }

    fn associate(&self) {
        let scope = json!({"type": "cluster"});
        self.call(
            "AssociateAccessPolicy",
            json!({"policyArn": ADMIN, "accessScope": scope}),
        );
    }

    fn update(&self, groups: &[&str]) {
        self.call("UpdateAccessEntry", json!({ "kubernetesGroups": groups }));
    }

    fn delete(&self) {
        self.call("DeleteAccessEntry", json!({}));
    }

    async fn bind(&self, name: &str, group: &str) {
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        });
        let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
        let bindings = Api::all(self.cluster.admin());
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .unwrap();
    }

    async fn unbind(&self, name: &str) {
        let bindings = Api::<ClusterRoleBinding>::all(self.cluster.admin());
        bindings
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    async fn losses(&self) -> usize {
        self.witness.losses().await.len()
    }
}

#[tokio::test]
async fn a_handover_with_a_bridge_loses_nothing_and_without_one_it_does() {
    let bed = Bed::start(&["system:masters"]).await;
    bed.eks.knobs().policy_delay = Duration::from_millis(300);
    bed.bind("bridge", BRIDGE).await;
    bed.create(&[BRIDGE]);
    bed.associate();
    bed.eks.advance(Duration::from_millis(300));
    bed.update(&[]);
    bed.unbind("bridge").await;
    bed.map("[]").await;
    bed.witness.acquit(&bed.eks).await;
    let (login, power) = bed.witness.now("admin").await;
    assert_eq!(login.unwrap()[0].via, Via::AccessEntry(bed.role.clone()));
    assert!(power.is_everything());

    // And back, by the same steps: made, then broken.
    bed.map(&text(&["system:masters"])).await;
    bed.delete();
    bed.witness.acquit(&bed.eks).await;

    bed.create(&[]);
    bed.associate();
    bed.eks.advance(Duration::from_millis(300));
    let losses = bed.witness.losses().await;
    assert_eq!(losses.len(), 1, "between the two calls: {losses:#?}");
    let story = &losses[0].story;
    for part in [
        "admin (arn:aws:sts::111122223333:assumed-role/Admin/alice) is without power",
        "before: \"admin\" in {\"system:masters\"} by aws-auth, mapRoles line 1",
        "now:    \"arn:aws:sts::111122223333:assumed-role/Admin/alice\" in {} by access entry of",
        "lacking 2:",
        "* *.* in the cluster",
        "InForce(\"arn:aws:iam::111122223333:role/Admin\")",
    ] {
        assert!(story.contains(part), "{part:?} is not in:\n{story}");
    }
}

#[tokio::test]
async fn a_gap_of_one_round_trip_is_seen_in_whatever_order_it_is_made() {
    let bed = Bed::start(&["system:masters"]).await;
    bed.bind("everything", "ops").await;

    // Each of these is right again a moment later.
    bed.map("[]").await;
    bed.create(&["ops"]);
    assert_eq!(bed.losses().await, 1, "aws-auth first, then the entry");
    bed.delete();
    bed.map(&text(&["system:masters"])).await;
    assert_eq!(bed.losses().await, 2, "the entry first, then aws-auth");
    bed.map("[]").await;
    bed.map(&text(&["system:masters"])).await;
    assert_eq!(bed.losses().await, 3, "within aws-auth");
    bed.create(&["ops"]);
    bed.unbind("everything").await;
    bed.bind("everything", "ops").await;
    assert_eq!(bed.losses().await, 4, "the binding");
    bed.update(&[]);
    bed.update(&["ops"]);
    assert_eq!(bed.losses().await, 5, "the entry's groups");

    // And each right order is let pass.
    bed.bind("more", "more").await;
    bed.update(&["ops", "more"]);
    bed.unbind("everything").await;
    bed.update(&["more"]);
    bed.delete();
    bed.create(&["more"]);
    bed.map("[]").await;
    bed.map(&text(&["more"])).await;
    bed.delete();
    assert_eq!(bed.losses().await, 5);
    assert!(bed.witness.evaluations() > 20);
}

#[tokio::test]
async fn what_comes_into_force_late_is_late_to_the_witness_too() {
    let bed = Bed::start(&["system:masters"]).await;
    bed.bind("everything", "ops").await;
    bed.eks.knobs().entry_delay = Duration::from_secs(30);
    bed.create(&["ops"]);
    let (login, _) = bed.witness.now("admin").await;
    assert_eq!(login.unwrap()[0].via, Via::AwsAuth("mapRoles", 1));
    bed.map("[]").await;
    assert_eq!(
        bed.losses().await,
        1,
        "the entry is there, and not in force"
    );
    bed.eks.advance(Duration::from_secs(30));
    let (login, power) = bed.witness.now("admin").await;
    assert_eq!(login.unwrap()[0].via, Via::AccessEntry(bed.role.clone()));
    assert!(power.is_everything());
    assert_eq!(bed.losses().await, 1);
}

#[tokio::test]
async fn the_stale_entry_of_a_recreated_role_exposes_aws_auth() {
    let bed = Bed::start(&["ops"]).await;
    bed.create(&["ops"]);
    let made = bed.eks.world().recreate_principal(&bed.role);
    let anew = Caller::session(&made.arn, &made.id, "alice");
    bed.witness.keep("admin anew", anew).await;
    let (login, _) = bed.witness.now("admin anew").await;
    assert_eq!(login.unwrap()[0].via, Via::AwsAuth("mapRoles", 1));
    let (login, _) = bed.witness.now("admin").await;
    assert_eq!(login.unwrap()[0].via, Via::AccessEntry(bed.role.clone()));
    assert_ne!(bed.caller.user_id.split(':').next(), Some(made.id.as_str()));

    bed.witness.allow_loss("admin anew");
    bed.map("[]").await;
    assert_eq!(bed.losses().await, 0, "it was asked for");
    let (login, power) = bed.witness.now("admin anew").await;
    assert!(login.is_err() && power.grants().next().is_none());
}

/// Two hundred people are handed over side by side, in batches, while aws-auth is written all the time; one of them wrongly.
#[tokio::test]
async fn among_many_at_once_only_the_one_who_lost_is_named() {
    const PEOPLE: usize = 200;
    const BATCH: usize = 20;
    const WRONG: usize = 77;
    let bed = Bed::start(&["ops"]).await;
    let line = |name: &str| {
        format!(
            "- rolearn: arn:aws:iam::{ACCOUNT}:role/{name}\n  username: \"{name}:{{{{SessionName}}}}\"\n  groups: [ops]\n"
        )
    };
    let people: Vec<(String, eks::Principal)> = (0..PEOPLE)
        .map(|number| {
            let name = format!("Person{number}");
            let role = bed.eks.world().role(ACCOUNT, "/people/", &name);
            (name, role)
        })
        .collect();
    let lines: Vec<String> = people.iter().map(|(name, _)| line(name)).collect();
    bed.witness.allow_loss("admin");
    bed.bind("ops", "ops").await;
    bed.map(&lines.concat()).await;
    for (name, role) in &people {
        let caller = Caller::session(&role.arn, &role.id, "s");
        assert!(bed.witness.keep(name, caller).await.is_everything());
    }

    let tags = json!({"made": "by-hand"});
    for batch in (0..PEOPLE).step_by(BATCH) {
        let members = || (batch..batch + BATCH).filter(|number| *number != WRONG);
        if (batch..batch + BATCH).contains(&WRONG) {
            bed.map(
                &[&lines[batch..WRONG], &lines[WRONG + 1..]]
                    .concat()
                    .concat(),
            )
            .await;
        }
        let create = |number: usize| {
            let arn = &people[number].1.arn;
            let input = json!({"principalArn": arn, "kubernetesGroups": ["ops"], "tags": tags});
            bed.eks.by_hand("CreateAccessEntry", input).unwrap();
        };
        std::thread::scope(|scope| {
            let (some, others): (Vec<_>, Vec<_>) = members().partition(|it| it % 2 == 0);
            scope.spawn(|| some.into_iter().for_each(create));
            scope.spawn(|| others.into_iter().for_each(create));
        });
        if (batch..batch + BATCH).contains(&WRONG) {
            create(WRONG);
        }
        bed.map(&lines[batch + BATCH..].concat()).await;
    }
    let losses = bed.witness.losses().await;
    let names: Vec<&str> = losses.iter().map(|loss| loss.name.as_str()).collect();
    assert_eq!(names, [people[WRONG].0.as_str()], "{losses:#?}");
}
