//! `identity-mapper lint` on a cluster: access entries that grant nothing, and bindings that bind nobody.

use std::process::Command;

use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::Cluster;
use crate::support::eks::{Eks, Mode, World};
use crate::support::programs::aws_cli;

const ACCOUNT: &str = "111122223333";

fn arn(role: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{role}")
}

struct Stage {
    cluster: Cluster,
    eks: Eks,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Cluster::with_operator_rights().await;
        let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
            .mode(Mode::Api)
            .api_server(&cluster.authority(), cluster.url());
        for role in [
            "nodes", "people", "gone", "bound", "policy", "nothing", "default",
        ] {
            world.role(ACCOUNT, "/", role);
        }
        let eks = Eks::start(world).await;
        let entry = |role: &str, more: Value| {
            let mut input = json!({ "principalArn": arn(role) });
            let fields = input.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            eks.by_hand("CreateAccessEntry", input).unwrap();
        };
        entry("people", json!({ "kubernetesGroups": ["bound"] }));
        entry("nodes", json!({ "type": "EC2_LINUX" }));
        entry("gone", json!({ "kubernetesGroups": ["bound"] }));
        entry(
            "bound",
            json!({ "kubernetesGroups": ["bound"], "username": "bound" }),
        );
        entry("policy", json!({}));
        entry("nothing", json!({ "kubernetesGroups": ["unbound"] }));
        entry("default", json!({}));
        let policy = json!({
            "principalArn": arn("policy"),
            "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "accessScope": { "type": "cluster" },
        });
        eks.by_hand("AssociateAccessPolicy", policy).unwrap();
        Self { cluster, eks }
    }

    async fn lint(&self) -> Ran {
        let arguments = [
            "lint",
            "--cluster-name=test",
            "--region=eu-west-1",
            "-o=json",
        ];
        Run::new(arguments)
            .on(&self.cluster)
            .with(&self.eks)
            .run_aside()
            .await
    }

    /// Each finding of these codes: its code, title and fix.
    async fn found(&self, codes: &[&str]) -> Vec<[String; 3]> {
        let ran = self.lint().await;
        let document: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
        let text = |found: &Value, field: &str| found[field].as_str().unwrap().to_owned();
        let findings = document["findings"].as_array().unwrap().iter();
        findings
            .map(|found| ["code", "title", "fix"].map(|field| text(found, field)))
            .filter(|[code, ..]| codes.contains(&code.as_str()))
            .collect()
    }

    fn bind(&self, name: &str, subject: &str) {
        let arguments = [
            "create",
            "clusterrolebinding",
            name,
            "--clusterrole=view",
            subject,
        ];
        self.cluster.kubectl_ok(&arguments, None);
    }
}

#[tokio::test]
async fn access_entries_and_bindings_without_effect_are_found() {
    let stage = Stage::new().await;
    stage.bind("bound", "--group=bound");
    stale_entries_come_first_with_the_calls_that_end_them(&stage).await;
    entries_without_power_are_found(&stage).await;
    bindings_without_a_principal_are_found(&stage).await;
}

async fn stale_entries_come_first_with_the_calls_that_end_them(stage: &Stage) {
    assert_eq!(stage.found(&["IM067"]).await, Vec::<[String; 3]>::new());
    // What is recreated is younger, and a listing of IAM may lack only what is new.
    let hour = jiff::SignedDuration::from_hours(1);
    stage.eks.world().age(hour);
    for role in ["people", "nodes"] {
        stage.eks.world().recreate_principal(&arn(role));
    }
    stage.eks.world().delete_principal(&arn("gone"));
    let dead = stage.found(&["IM067"]).await;
    let roles = ["nodes", "gone", "people"];
    assert_eq!(dead.len(), roles.len(), "{dead:?}");
    for ([_, _, fix], role) in dead.iter().zip(roles) {
        assert!(fix.contains(&arn(role)), "{role}: {dead:?}");
    }
    assert!(dead[0][2].ends_with("--type EC2_LINUX"), "{dead:?}");
    assert!(
        dead[2][2].ends_with("--kubernetes-groups bound"),
        "{dead:?}"
    );
    for [_, _, fix] in &dead {
        follow(stage, fix);
    }
    assert_eq!(stage.found(&["IM067"]).await, Vec::<[String; 3]>::new());
}

/// Runs the commands of a fix.
fn follow(stage: &Stage, fix: &str) {
    let at = fix.find("aws eks ").unwrap();
    let commands = fix[at..].split("; or ").next().unwrap();
    let output = Command::new("bash")
        .args(["-c", &format!("{}; {commands}", aws_cli())])
        .envs(stage.eks.env())
        .output()
        .unwrap();
    assert!(output.status.success(), "{commands}: {output:?}");
}

async fn entries_without_power_are_found(stage: &Stage) {
    let found = stage.found(&["IM068"]).await;
    let titles: Vec<&str> = found.iter().map(|[_, title, _]| title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "access entry without groups and access policies",
            "access entry without access policies, whose groups no binding names: unbound",
        ]
    );
    stage.bind("unbound", "--group=unbound");
    let user = "--user=arn:aws:sts::111122223333:assumed-role/default/somebody";
    stage.bind("somebody", user);
    assert_eq!(stage.found(&["IM068"]).await, Vec::<[String; 3]>::new());
}

async fn bindings_without_a_principal_are_found(stage: &Stage) {
    assert_eq!(
        stage.found(&["IM069", "IM080"]).await,
        Vec::<[String; 3]>::new()
    );
    let entry = format!("--group=eks-access-entry:{}", arn("people"));
    stage.bind("by-entry", &entry);
    stage.bind("no-group", "--group=nobodies");
    stage.bind("no-user", "--user=nobody");
    let found = stage.found(&["IM069", "IM080"]).await;
    let titles: Vec<(&str, &str)> = found
        .iter()
        .map(|[code, title, _]| (code.as_str(), title.as_str()))
        .collect();
    let by_entry = format!("binding of the group eks-access-entry:{}", arn("people"));
    assert_eq!(
        titles,
        [
            ("IM069", by_entry.as_str()),
            ("IM080", "binding of group nobodies, which no login has"),
            ("IM080", "binding of user nobody, which no login has"),
        ]
    );
}
