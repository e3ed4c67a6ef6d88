//! 'You must be logged in to the server' and 'Forbidden': each situation from the broken state, by what `explain` says alone, to the one
//! in which the person gets in and may do what was asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use identity_mapper::aws_auth::Document;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::eks::{Eks, Mode, World};
use crate::support::mappings::SOON;
use crate::support::power::login::Identity;
use crate::support::power::{self, Caller, Rbac};
use crate::support::programs::{aws_cli, operator_binary, program};
use crate::support::{Cluster, Judge, Operator, eventually};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const ACCOUNT: &str = "111122223333";
const NODES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// A control plane, AWS, and nobody but us to talk with both.
struct Scene {
    cluster: Cluster,
    eks: Eks,
}

impl Scene {
    async fn new(mode: Mode) -> Self {
        let cluster = Cluster::start().await;
        Self::on(cluster, mode).await
    }

    async fn on(cluster: Cluster, mode: Mode) -> Self {
        let world = World::new(CLUSTER)
            .mode(mode)
            .api_server(&cluster.authority(), cluster.url());
        let eks = Eks::start(world).await;
        Self { cluster, eks }
    }

    /// Puts these texts in place of what stands.
    async fn stands(&self, data: Value) {
        let delete = [
            "delete",
            "configmap",
            "-n",
            "kube-system",
            "aws-auth",
            "--ignore-not-found",
        ];
        self.cluster.kubectl_ok(&delete, None);
        self.cluster.seed(data).await;
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let all = [&["explain", "--cluster-name=test"], arguments].concat();
        Run::new(all)
            .on(&self.cluster)
            .with(&self.eks)
            .run_aside()
            .await
    }

    /// What is said of somebody, who is not let in.
    async fn refused(&self, arn: &str) -> Value {
        let ran = self.run(&[arn, "-o=json"]).await;
        assert_eq!(ran.code, 1, "{}", ran.shown());
        let told = explained(&ran);
        assert_eq!(told["hasAccess"], false, "{told:#}");
        told
    }

    /// That somebody is said to be let in now.
    async fn admitted(&self, arn: &str) {
        let ran = self.run(&[arn]).await;
        assert_eq!(ran.code, 0, "{}", ran.shown());
    }

    /// Does what a fix says.
    async fn follow(&self, fix: &Value) {
        for command in fix["commands"].as_array().into_iter().flatten() {
            self.execute(command.as_str().unwrap()).await;
        }
        if !fix["manifest"].is_null() {
            self.cluster
                .kubectl_ok(&["create", "-f", "-"], Some(&fix["manifest"].to_string()));
        }
    }

    /// Does the change of a line that a fix gives.
    async fn follow_edit(&self, fix: &Value) {
        let edit = &fix["edit"];
        let key = edit["key"].as_str().unwrap();
        let number: usize = serde_json::from_value(edit["line"].clone()).unwrap();
        let text = self.data().await.remove(key).unwrap();
        let lines = text.lines().enumerate().map(|(index, line)| {
            if index + 1 == number {
                line.replace(edit["from"].as_str().unwrap(), edit["to"].as_str().unwrap())
            } else {
                line.to_owned()
            }
        });
        let changed: Vec<String> = lines.collect();
        let changed = changed.join("\n") + "\n";
        assert_ne!(changed, text, "{fix:#}");
        self.cluster.write_text("kubectl-edit", key, &changed).await;
    }

    /// Adds the entry that a fix gives to a key.
    async fn follow_entry(&self, key: &str, fix: &Value) {
        assert!(
            fix["text"]
                .as_str()
                .unwrap()
                .contains(&format!("add this to {key} ")),
            "{fix:#}"
        );
        let text = self.data().await.remove(key).unwrap();
        let added = text + fix["entry"].as_str().unwrap();
        self.cluster.write_text("kubectl-edit", key, &added).await;
    }

    async fn data(&self) -> BTreeMap<String, String> {
        let maps = Api::<ConfigMap>::namespaced(self.cluster.admin(), "kube-system");
        maps.get("aws-auth").await.unwrap().data.unwrap_or_default()
    }

    /// Runs a command in a shell, as a person would.
    async fn execute(&self, command: &str) {
        let command = command.replace(
            "identity-mapper lint --fix",
            "identity-mapper lint --fix --yes",
        );
        let mut path = vec![folder(&program("kubectl")), folder(&operator_binary())];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", &format!("{}; {command}", aws_cli())])
            .envs(self.eks.env())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("KUBECONFIG", self.cluster.admin_kubeconfig());
        let output = tokio::task::spawn_blocking(move || shell.output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // lint may find more than what it mends.
        let done =
            output.status.success() || said.contains("Written; the previous version is saved");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(done, "{command}: {said}{stderr}");
        if command.starts_with("aws ") {
            // What EKS was asked for takes a while to count.
            self.eks.advance(Duration::from_mins(10));
        }
    }

    /// Who somebody is to Kubernetes, by what counts at the door of EKS now.
    async fn login(&self, caller: &Caller) -> Option<Identity> {
        let data = self.data().await;
        let door = power::Door::of(&self.eks.world());
        let scene = power::Scene {
            door: Arc::new(door),
            aws_auth: Arc::new(Document::parse(&data)),
            rbac: Arc::new(Rbac::new(&power::Objects::default())),
            instances: Arc::default(),
        };
        scene
            .login(caller)
            .ok()
            .map(|mut identities| identities.remove(0))
    }
}

fn folder(path: &Path) -> std::path::PathBuf {
    path.parent().unwrap().to_owned()
}

/// The one answer of a run.
fn explained(ran: &Ran) -> Value {
    let document: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
    document["explanations"][0].clone()
}

/// The likeliest cause.
fn cause<'t>(told: &'t Value, kind: &str) -> &'t Value {
    let cause = &told["causes"][0];
    assert_eq!(cause["kind"], kind, "{told:#}");
    cause
}

async fn lets_in(judge: &mut Judge, caller: &str, username: &str) {
    eventually("the authenticator lets the person in", SOON, async || {
        let answer = judge.map(caller);
        if answer["username"] == username {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}

async fn keeps_out(judge: &mut Judge, caller: &str) {
    eventually("the authenticator keeps the person out", SOON, async || {
        let answer = judge.map(caller);
        if answer["mapped"] == false {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}

fn session(role: &str, name: &str) -> String {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}")
}

#[tokio::test]
async fn suggested_fix_for_aws_auth_grants_access() {
    let scene = Scene::new(Mode::ConfigMap).await;
    let mut judge = Judge::watch(scene.cluster.admin_kubeconfig());
    sso_path(&scene, &mut judge).await;
    sso_suffix(&scene, &mut judge).await;
    other_account(&scene, &mut judge).await;
    dropped_section(&scene, &mut judge).await;
    forbidden(&scene, &mut judge).await;
    lost_creator(&scene).await;
}

/// The ARN of a permission set's role as IAM shows it, with its path.
async fn sso_path(scene: &Scene, judge: &mut Judge) {
    let arn = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Dev_0123456789abcdef";
    let entry = format!(
        "- rolearn: {arn}\n  username: \"dev:{{{{SessionName}}}}\"\n  groups: [developers]\n"
    );
    scene
        .stands(json!({ "mapRoles": format!("{NODES}{entry}") }))
        .await;
    let ann = session("AWSReservedSSO_Dev_0123456789abcdef", "ann");
    keeps_out(judge, &ann).await;
    let told = scene.refused(&ann).await;
    let fix = &cause(&told, "path")["fix"];
    assert_eq!(
        fix["commands"],
        json!(["identity-mapper lint --fix --cluster-name test"])
    );
    scene.follow(fix).await;
    lets_in(judge, &ann, "dev:{{SessionName}}").await;
    scene.admitted(&ann).await;
}

/// The set was taken from everyone and assigned anew: its role has another suffix.
async fn sso_suffix(scene: &Scene, judge: &mut Judge) {
    let ann = session("AWSReservedSSO_Dev_fedcba9876543210", "ann");
    keeps_out(judge, &ann).await;
    let told = scene.refused(&ann).await;
    let cause = cause(&told, "suffixChanged");
    assert!(
        cause["message"]
            .as_str()
            .unwrap()
            .contains("had the suffix 0123456789abcdef; since the permission set was assigned again it has fedcba9876543210")
    );
    scene.follow_edit(&cause["fix"]).await;
    lets_in(judge, &ann, "dev:{{SessionName}}").await;
    scene.admitted(&ann).await;
}

/// The entry is another account's.
async fn other_account(scene: &Scene, judge: &mut Judge) {
    let entry = "- rolearn: arn:aws:iam::444455556666:role/Auditor\n  username: auditor\n  groups: [auditors]\n";
    scene
        .stands(json!({ "mapRoles": format!("{NODES}{entry}") }))
        .await;
    let joe = session("Auditor", "joe");
    keeps_out(judge, &joe).await;
    let told = scene.refused(&joe).await;
    let fix = &cause(&told, "otherAccount")["fix"];
    let text = fix["text"].as_str().unwrap();
    assert!(
        text.contains("if account 444455556666 was intended, sign in there"),
        "{text}"
    );
    scene
        .admitted("arn:aws:sts::444455556666:assumed-role/Auditor/joe")
        .await;
    scene.follow_entry("mapRoles", fix).await;
    lets_in(judge, &joe, "auditor").await;
    scene.admitted(&joe).await;
}

/// Somebody else's template without quotes takes the whole list away.
async fn dropped_section(scene: &Scene, judge: &mut Judge) {
    let users = "\
- userarn: arn:aws:iam::111122223333:user/people/maria
  username: maria
  groups: [developers]
- userarn: arn:aws:iam::111122223333:user/joe
  username: {{SessionName}}
";
    scene
        .stands(json!({ "mapRoles": NODES, "mapUsers": users }))
        .await;
    let maria = "arn:aws:iam::111122223333:user/people/maria";
    keeps_out(judge, maria).await;
    let told = scene.refused(maria).await;
    let cause = cause(&told, "sectionDropped");
    let message = cause["message"].as_str().unwrap();
    assert!(
        message.contains("mapUsers contains the caller in line 1, but all of mapUsers is dropped because of line 5"),
        "{message}"
    );
    scene.follow(&cause["fix"]).await;
    lets_in(judge, maria, "maria").await;
    scene.admitted(maria).await;
}

/// Let in, and 'forbidden': nothing is bound to the group.
async fn forbidden(scene: &Scene, judge: &mut Judge) {
    let maria = "arn:aws:iam::111122223333:user/people/maria";
    lets_in(judge, maria, "maria").await;
    let question = [maria, "--can", "list", "pods", "-n=default", "-o=json"];
    let ran = scene.run(&question).await;
    assert_eq!(ran.code, 1, "{}", ran.shown());
    let told = explained(&ran);
    assert_eq!(told["hasAccess"], true);
    assert_eq!(
        told["identities"][0]["unboundGroups"],
        json!(["developers"])
    );
    assert_eq!(told["can"][0]["verdict"], "notByRbac");
    let as_maria = scene.cluster.client_as("maria", &["developers"]).await;
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(as_maria, "default");
    assert!(pods.list(&kube::api::ListParams::default()).await.is_err());
    scene.follow(&told["can"][0]["fix"]).await;
    eventually("maria may list Pods", SOON, async || {
        pods.list(&kube::api::ListParams::default()).await
    })
    .await;
    assert_eq!(scene.run(&question).await.code, 0);
    let more = [maria, "--can", "delete", "pods", "-n=default"];
    assert_eq!(
        scene.run(&more).await.code,
        1,
        "exactly what was asked for is allowed"
    );
}

/// Only who made the cluster was an administrator, and that role is gone. Nobody can read aws-auth any more.
async fn lost_creator(scene: &Scene) {
    scene.stands(json!({ "mapRoles": NODES })).await;
    let (key, role) = {
        let mut world = scene.eks.world();
        let role = world.role(ACCOUNT, "/teams/", "Rescuer");
        let caller = world.session(ACCOUNT, "Rescuer", "ann");
        (world.key_of(caller), role)
    };
    let ann = Caller::session(&role.arn, &role.id, "ann");
    assert!(scene.login(&ann).await.is_none());
    let nobody = scene
        .cluster
        .user_kubeconfig(&json!({"token": "of-nobody"}));
    let arguments = [
        "explain",
        "--cluster-name=test",
        "--me",
        "--kubeconfig",
        nobody.to_str().unwrap(),
    ];
    let mut run = Run::new(arguments);
    for (name, value) in scene.eks.env_as(&key) {
        run = run.env(&name, &value);
    }
    let ran = run.run_aside().await;
    assert!(ran.code == 1 && ran.stdout.is_empty(), "{}", ran.shown());
    assert!(
        ran.stderr
            .contains("the API server does not grant you access"),
        "{}",
        ran.stderr
    );
    let commands: Vec<&str> = ran
        .stderr
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("aws eks "))
        .collect();
    assert_eq!(commands.len(), 4, "{}", ran.stderr);
    for command in commands {
        scene.execute(command).await;
    }
    let identity = scene.login(&ann).await.expect("has access");
    let administrator = identity
        .policies
        .keys()
        .any(|policy| policy.ends_with("/AmazonEKSClusterAdminPolicy"));
    assert!(administrator, "{identity}");
    let ran = scene.run(&[&session("Rescuer", "ann")]).await;
    assert!(
        ran.code == 0 && ran.stdout.contains("administrator     yes"),
        "{}",
        ran.shown()
    );
}

#[tokio::test]
async fn suggested_fix_for_a_stale_access_entry_grants_access() {
    let scene = Scene::new(Mode::ApiAndConfigMap).await;
    scene.stands(json!({ "mapRoles": NODES })).await;
    let role = scene.eks.world().role(ACCOUNT, "/teams/", "Deployer");
    let entry = json!({"principalArn": role.arn, "username": "deployer:{{SessionName}}", "kubernetesGroups": ["deployers"]});
    scene.eks.by_hand("CreateAccessEntry", entry).unwrap();
    let scope = json!({"type": "namespace", "namespaces": ["apps", "dev-*"]});
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";
    let associate = json!({"principalArn": role.arn, "policyArn": policy, "accessScope": scope});
    scene
        .eks
        .by_hand("AssociateAccessPolicy", associate)
        .unwrap();
    scene.eks.advance(Duration::from_mins(10));
    let before = scene
        .login(&Caller::session(&role.arn, &role.id, "ci"))
        .await
        .expect("has access");

    let again = scene.eks.world().recreate_principal(&role.arn);
    let ci = Caller::session(&again.arn, &again.id, "ci");
    assert!(scene.login(&ci).await.is_none());
    let told = scene.refused(&ci.arn).await;
    let cause = cause(&told, "recreated");
    assert!(
        cause["message"]
            .as_str()
            .unwrap()
            .contains("was deleted and recreated"),
        "{cause:#}"
    );
    scene.follow(&cause["fix"]).await;
    assert_eq!(scene.login(&ci).await, Some(before));
    scene.admitted(&ci.arn).await;
}

#[tokio::test]
async fn suggested_mapping_grants_access() {
    let cluster = Cluster::with_operator_rights().await;
    let scene = Scene::on(cluster, Mode::ConfigMap).await;
    let entry = "- rolearn: arn:aws:iam::111122223333:role/teams/Dev\n  username: \"dev:{{SessionName}}\"\n  groups: [developers]\n";
    scene
        .stands(json!({ "mapRoles": format!("{NODES}{entry}") }))
        .await;
    let _operator = Operator::start(&scene.cluster, &[]).await;
    let mut judge = Judge::watch(scene.cluster.admin_kubeconfig());
    let ann = session("Dev", "ann");
    keeps_out(&mut judge, &ann).await;
    let told = scene.refused(&ann).await;
    scene.follow(&cause(&told, "path")["fix"]).await;
    lets_in(&mut judge, &ann, "dev:{{SessionName}}").await;
    let ran = scene.run(&[&ann]).await;
    assert!(
        ran.code == 0 && ran.stdout.contains("mapping           dev"),
        "{}",
        ran.shown()
    );
}
