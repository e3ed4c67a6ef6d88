//! `migrate apply`, `status` and `revert` as a person meets them: what is refused and how that is mended, what is told, and the way back.

use std::time::Duration;

use identity_mapper::aws_auth::Document;
use identity_mapper::plan::HANDOVER_ANNOTATION;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::eks::{Eks, Mode, World};
use crate::support::programs::operator_binary;
use crate::support::supervise::Supervised;
use crate::support::{Cluster, eventually};

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const ACCOUNT: &str = "111122223333";
const PACE: [&str; 4] = [
    "--soak=60s",
    "--propagation=1s",
    "--listing-period=10s",
    "--eks-rate=200",
];
const SOON: Duration = Duration::from_secs(90);

/// A small cluster without the operator, in CONFIG_MAP.
struct Stage {
    cluster: Cluster,
    eks: Eks,
    key: String,
}

impl Stage {
    async fn set(accounts: &str) -> Self {
        let cluster = Cluster::start().await;
        let mut world = World::new(ARN)
            .mode(Mode::ConfigMap)
            .api_server(&cluster.authority(), cluster.url());
        for name in ["Alice", "Root"] {
            world.role(ACCOUNT, "/teams/", name);
        }
        world.cluster.creator = Some(world.role(ACCOUNT, "/", "Creator").arn);
        let person = world.person("pat");
        let key = world.key_of(person);
        let eks = Eks::start(world).await;
        let roles = format!(
            "# by hand\n- {}\n- {}\n",
            json!({"rolearn": format!("arn:aws:iam::{ACCOUNT}:role/Alice"), "username": "alice:{{SessionName}}", "groups": ["team"]}),
            json!({"rolearn": format!("arn:aws:iam::{ACCOUNT}:role/Root"), "username": "root", "groups": ["system:masters"]}),
        );
        cluster
            .seed(json!({"mapRoles": roles, "mapAccounts": accounts}))
            .await;
        Self { cluster, eks, key }
    }

    fn prepared(&self, args: &[&str]) -> Run {
        let mut run = Run::new([&["migrate"], args].concat()).on(&self.cluster);
        for (name, value) in self.eks.env_as(&self.key) {
            run = run.env(&name, &value);
        }
        run.env("IDENTITY_MAPPER_CLUSTER_NAME", "test")
    }

    async fn run(&self, args: &[&str]) -> Ran {
        self.prepared(args).run_aside().await
    }

    /// What was printed, without what differs from run to run.
    async fn told(&self, args: &[&str]) -> String {
        let shown = self.run(args).await.shown();
        let lines = shown.lines().map(|line| {
            let line = line.replace(self.cluster.url(), "https://SERVER");
            let mut words = line.split(' ').map(|word| {
                let bare = word.trim_end_matches([',', ')', ';']);
                if bare.ends_with(".json.gz") {
                    "COPY".to_owned()
                } else if bare.parse::<jiff::Timestamp>().is_ok() {
                    word.replace(bare, "TIME")
                } else if bare.len() == 36 && bare.matches('-').count() == 4 {
                    word.replace(bare, "ID")
                } else {
                    word.to_owned()
                }
            });
            words.by_ref().collect::<Vec<_>>().join(" ")
        });
        lines.map(|line| line + "\n").collect()
    }

    async fn handover(&self) -> Option<String> {
        let maps = self.cluster.config_maps();
        let history = maps.get_opt("aws-auth-history").await.unwrap()?;
        history
            .metadata
            .annotations?
            .get(HANDOVER_ANNOTATION)
            .cloned()
    }

    async fn in_text(&self) -> Vec<String> {
        let object = self.cluster.config_maps().get("aws-auth").await.unwrap();
        let document = Document::parse(&object.data.unwrap());
        let mut names: Vec<String> = document
            .entries()
            .map(|entry| entry.arn.rsplit('/').next().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    }

    /// The access entries but those that EKS made, and the groups of each.
    fn entries(&self) -> Vec<String> {
        let world = self.eks.world();
        let entries = world.cluster.entries.values();
        let ours = entries.filter(|entry| !entry.tags.is_empty());
        ours.map(|entry| {
            let name = entry.principal_arn.rsplit('/').next().unwrap_or_default();
            let policies: Vec<&str> = entry
                .policies
                .keys()
                .filter_map(|policy| policy.rsplit('/').next())
                .collect();
            let groups: Vec<&str> = entry.groups.iter().map(String::as_str).collect();
            format!("{name} {} {}", groups.join(","), policies.join(","))
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_names_the_mend_and_what_is_done_can_be_taken_back() {
    let stage = Stage::set("- \"777788889999\"\n").await;
    // Nothing is done before the mode has been asked about.
    assert_snapshot!(stage.told(&["apply", "--to=CONFIG_MAP"]).await);
    assert_snapshot!(stage.told(&["apply", "--confirm=tset"]).await);
    assert_snapshot!(stage.told(&["apply", "--import"]).await);
    assert_snapshot!(stage.told(&["apply"]).await);
    assert_snapshot!(stage.told(&["status"]).await);
    assert_snapshot!(stage.told(&["revert"]).await);
    assert_eq!(stage.eks.world().cluster.mode, Mode::ConfigMap);
    assert_eq!(stage.handover().await, None);

    // EKS's own words, where the change fails.
    stage.eks.knobs().deny("eks:UpdateClusterConfig");
    let as_operator = Run::new(["migrate", "apply", "--cluster-name=test", "--confirm=test"]);
    let ran = as_operator
        .on(&stage.cluster)
        .with(&stage.eks)
        .run_aside()
        .await;
    assert_eq!(ran.code, 1);
    let words = "is not authorized to perform: eks:UpdateClusterConfig on resource";
    assert!(ran.stderr.contains(words), "{}", ran.shown());
    assert!(
        ran.stderr
            .contains("\"Action\": \"eks:UpdateClusterConfig\""),
        "{}",
        ran.shown()
    );

    // To both, and no further than the soak.
    let mut args = vec!["apply", "--confirm=test", "--no-wait"];
    args.extend(PACE);
    assert_snapshot!(stage.told(&args).await);
    assert_eq!(stage.handover().await.as_deref(), Some("Auto"));
    assert_eq!(
        stage.entries(),
        ["Alice team ", "Root  AmazonEKSClusterAdminPolicy"]
    );
    assert_eq!(stage.in_text().await, ["Alice", "Root"]);
    let mut status = vec!["status", "-ojson"];
    status.extend(PACE);
    let told: Value = serde_json::from_str(&stage.run(&status).await.stdout).unwrap();
    assert_eq!(
        (&told["mode"], &told["handover"], &told["bridge"]),
        (
            &json!("API_AND_CONFIG_MAP"),
            &json!("Auto"),
            &json!("Absent")
        )
    );
    let stages: Vec<&Value> = told["principals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|principal| &principal["stage"])
        .collect();
    assert_eq!(stages, ["stays", "soaking", "soaking"]);

    // A bridge that was left behind is told of, and goes with the next run.
    stage.cluster.kubectl_ok(
        &[
            "create",
            "clusterrolebinding",
            "identity-mapper-bridge",
            "--clusterrole=cluster-admin",
            "--group=identity-mapper:bridge",
        ],
        None,
    );
    let status = stage.told(&["status"]).await;
    assert!(status.contains("was left behind"), "{status}");

    // And back.
    let mut args = vec!["revert"];
    args.extend(PACE);
    assert_snapshot!(stage.told(&args).await);
    assert_eq!(stage.handover().await.as_deref(), Some("Manual"));
    assert_eq!(stage.entries(), [""; 0]);
    assert_eq!(stage.in_text().await, ["Alice", "Root"]);
    let bridge = stage.cluster.kubectl(
        &["get", "clusterrolebinding", "identity-mapper-bridge"],
        None,
    );
    assert!(!bridge.status.success());
    // Once more, there is nothing to do.
    assert_snapshot!(stage.told(&args).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shut_out_least_of_all_whoever_runs_it() {
    let stage = Stage::set("").await;
    let mut args = vec!["apply", "--confirm=test", "--to=API"];
    args.extend(PACE);
    // A signal in the soak: what has begun is made whole, and the bridge is gone.
    let scratch = stage.cluster.scratch();
    let log = scratch.path().join("interrupted.log");
    let mut environment: Vec<(String, String)> = stage.eks.env_as(&stage.key);
    let kubeconfig = stage.cluster.admin_kubeconfig().display().to_string();
    environment.push(("KUBECONFIG".to_owned(), kubeconfig));
    environment.push(("IDENTITY_MAPPER_CLUSTER_NAME".to_owned(), "test".to_owned()));
    let whole = [&["migrate"], &args[..]].concat();
    let mut process = Supervised::spawn(&operator_binary(), whole, environment, &log);
    eventually("both soak", SOON, async || {
        let log = process.log();
        if log.contains("bridge: ClusterRoleBinding identity-mapper-bridge is gone") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    process.signal("INT");
    let status = eventually("it ends", SOON, async || {
        process.exited().ok_or_else(|| process.log())
    })
    .await;
    assert_eq!(status.code(), Some(1), "{}", process.log());
    let told = process.log();
    assert!(told.contains("run the same command again"), "{told}");

    // Whoever comes in by aws-auth alone: the gate of the mode API names them first.
    let person = serde_json::from_str::<Value>(
        &std::fs::read_to_string(stage.cluster.admin_kubeconfig()).unwrap(),
    );
    let mut kubeconfig = person.unwrap();
    kubeconfig["users"][0]["user"]["as"] = json!("kubernetes-admin");
    kubeconfig["users"][0]["user"]["as-groups"] = json!(["system:masters"]);
    kubeconfig["users"][0]["user"]["as-user-extra"] =
        json!({"canonicalArn": [format!("arn:aws:iam::{ACCOUNT}:role/Nobody")]});
    let path = scratch.path().join("nobody.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let ran = stage
        .prepared(&args)
        .env("KUBECONFIG", &path.display().to_string())
        .run_aside()
        .await;
    assert_eq!(ran.code, 1);
    let words =
        "you come in as arn:aws:iam::111122223333:role/Nobody, and no access entry lets you in";
    assert!(ran.stderr.contains(words), "{}", ran.shown());
    assert_eq!(stage.eks.world().cluster.mode, Mode::ApiAndConfigMap);

    // As somebody who has an access entry it goes on, and there is no way back from there.
    let ran = stage.run(&args).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert_eq!(stage.eks.world().cluster.mode, Mode::Api);
    assert_eq!(
        stage.entries(),
        ["Alice team ", "Root  AmazonEKSClusterAdminPolicy"]
    );
    assert_snapshot!(stage.told(&["revert"]).await);
    assert_snapshot!(stage.told(&["apply", "--to=API_AND_CONFIG_MAP"]).await);
    let again = stage.run(&args).await;
    assert_eq!(again.code, 0, "{}", again.shown());
}
