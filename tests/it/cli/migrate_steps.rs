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
pub(super) const PACE: [&str; 4] = [
    "--soak=60s",
    "--propagation=1s",
    "--listing-period=10s",
    "--eks-rate=200",
];
const SOON: Duration = Duration::from_secs(90);

/// A small cluster without the operator, in `CONFIG_MAP`.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) eks: Eks,
    key: String,
}

/// The arguments, with `--yes` where the command would ask.
fn answered<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let asks = ["apply", "revert"].contains(&args[0]);
    let yes: &[&str] = if asks { &["--yes"] } else { &[] };
    [args, yes].concat()
}

impl Stage {
    pub(super) async fn set(accounts: &str) -> Self {
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

    /// What would be asked is answered beforehand.
    fn prepared(&self, args: &[&str]) -> Run {
        self.asking(&answered(args))
    }

    fn asking(&self, args: &[&str]) -> Run {
        let mut run = Run::new([&["migrate"], args].concat()).on(&self.cluster);
        for (name, value) in self.eks.env_as(&self.key) {
            run = run.env(&name, &value);
        }
        run.env("IDENTITY_MAPPER_CLUSTER_NAME", "test")
    }

    /// A run that goes on beside the test.
    fn start(&self, args: &[&str]) -> Supervised {
        let log = format!("migrate-{}.log", self.cluster.next_file());
        let mut environment = self.eks.env_as(&self.key);
        let kubeconfig = self.cluster.admin_kubeconfig().display().to_string();
        environment.push(("KUBECONFIG".to_owned(), kubeconfig));
        environment.push(("IDENTITY_MAPPER_CLUSTER_NAME".to_owned(), "test".to_owned()));
        Supervised::spawn(
            &operator_binary(),
            [&["migrate"], &answered(args)[..]].concat(),
            environment,
            &self.cluster.scratch().path().join(log),
        )
    }

    pub(super) async fn run(&self, args: &[&str]) -> Ran {
        self.prepared(args).run_aside().await
    }

    /// What was printed, without what differs from run to run.
    async fn told(&self, args: &[&str]) -> String {
        let shown = self.run(args).await.shown();
        // How many are how far when somebody looks depends on the machine.
        let counts = |line: &&str| !line.starts_with(|c: char| c.is_ascii_digit());
        let lines = shown.lines().filter(counts).map(|line| {
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

    pub(super) async fn in_text(&self) -> Vec<String> {
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
    pub(super) fn entries(&self) -> Vec<String> {
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

/// Waits until a run has told of something.
async fn until(process: &Supervised, words: &str) {
    eventually(words, SOON, async || {
        let log = process.log();
        if log.contains(words) {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}

/// Waits for a run's end: its exit code.
async fn end(process: &mut Supervised) -> Option<i32> {
    let status = eventually("it ends", SOON, async || {
        process.exited().ok_or_else(|| process.log())
    });
    status.await.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_the_fix_and_steps_can_be_undone() {
    let stage = Stage::set("- \"777788889999\"\n").await;
    refusals(&stage).await;
    forth(&stage).await;
    back(&stage).await;
}

/// Nothing is done before the mode has been asked about.
async fn refusals(stage: &Stage) {
    assert_snapshot!(stage.told(&["apply", "--to=CONFIG_MAP"]).await, @"
    exit code 1
    --- stderr
    error: invalid value 'CONFIG_MAP' for '--to <MODE>': EKS can't change a cluster back to CONFIG_MAP; write API_AND_CONFIG_MAP or API. `migrate revert` moves principals back to aws-auth

    For more information, try '--help'.
    ");
    assert_snapshot!(stage.told(&["apply", "--confirm=tset"]).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    --- stderr
    error: --confirm tset does not match the cluster test; nothing was changed. To change its authentication mode, write --confirm with that name
    ");
    assert_snapshot!(stage.told(&["apply", "--import"]).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    --- stderr
    error: --import creates IdentityMappings, but their CustomResourceDefinition is not installed; remove --import: the entries of aws-auth are then used directly
    ");
    assert_snapshot!(stage.told(&["apply"]).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    handover:   by this command (no operator is installed)
    backup:     COPY of kube-system/aws-auth-history

    mode:       CONFIG_MAP
    principals: 2 pending, 1 staying
    left:
      staying: (any of account 777788889999): an access entry is for one principal, so a whole account can't have one: declare the principals that need access, then remove the account from mapAccounts
      pending: arn:aws:iam::111122223333:role/teams/Alice
      pending: arn:aws:iam::111122223333:role/teams/Root
    --- stderr
    the authentication mode has to be API_AND_CONFIG_MAP to continue. Either ask the person who manages the cluster to change it and run this command again (--await-mode waits for the change), for example with

        aws eks update-cluster-config --region eu-west-1 --name test --access-config authenticationMode=API_AND_CONFIG_MAP

    or add --confirm test to change it from here. The change can't be undone
    ");
    assert_snapshot!(stage.told(&["status"]).await, @"
    exit code 0
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    handover:   not set, by this command (no operator is installed)
    binding:    none
    backup:     COPY of kube-system/aws-auth-history
    principals: 2 pending, 1 staying

    PRINCIPAL                      PROGRESS  ACCESS BY  DETAIL
    (any of account 777788889999)  staying   aws-auth   (1)
    role/Alice                     pending   aws-auth   -
    role/Root                      pending   aws-auth   -

    (1) an access entry is for one principal, so a whole account can't have one: declare the principals that need access, then remove the account from mapAccounts
    Principals without an account are in 111122223333.
    ");
    assert_snapshot!(stage.told(&["revert"]).await, @"
    exit code 0
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    Nothing to revert: in CONFIG_MAP mode all access comes from aws-auth.
    ");
    assert_eq!(stage.eks.world().cluster.mode, Mode::ConfigMap);
    assert_eq!(stage.handover().await, None);
}

/// To both modes, and no further than the soak; a bridge that was left behind is told of.
async fn forth(stage: &Stage) {
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

    stage.eks.knobs().allow("eks:UpdateClusterConfig");

    // To both, and no further than the soak.
    let mut args = vec!["apply", "--confirm=test", "--no-wait"];
    args.extend(PACE);
    assert_snapshot!(stage.told(&args).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (CONFIG_MAP)
    handover:   by this command (no operator is installed)
    backup:     COPY of kube-system/aws-auth-history

    mode:       API_AND_CONFIG_MAP
    principals: 2 soaking until TIME, 1 staying
    left:
      staying: (any of account 777788889999): an access entry is for one principal, so a whole account can't have one: declare the principals that need access, then remove the account from mapAccounts
    The rest waits for the end of the soak: run the same command again after that.
    --- stderr
    mode: requested the change from CONFIG_MAP to API_AND_CONFIG_MAP (update ID); EKS takes some minutes
    mode: now API_AND_CONFIG_MAP
    EKS created the access entry of arn:aws:iam::111122223333:role/Creator (STANDARD, AmazonEKSClusterAdminPolicy in cluster)
    handover: set to Auto on kube-system/aws-auth-history
    binding: created the temporary ClusterRoleBinding identity-mapper-bridge
    binding: deleted the temporary ClusterRoleBinding identity-mapper-bridge
    ");
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
        .map(|principal| &principal["progress"])
        .collect();
    assert_eq!(stages, ["staying", "soaking", "soaking"]);

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
}

/// And back, with the bridge that was left behind.
async fn back(stage: &Stage) {
    let mut args = vec!["revert"];
    args.extend(PACE);
    assert_snapshot!(stage.told(&args).await, @"
    exit code 0
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (API_AND_CONFIG_MAP)

    principals: 3 done
    --- stderr
    handover: set to Revert on kube-system/aws-auth-history
    binding: deleted the temporary ClusterRoleBinding identity-mapper-bridge
    handover: set to Manual on kube-system/aws-auth-history
    ");
    assert_eq!(stage.handover().await.as_deref(), Some("Manual"));
    assert_eq!(stage.entries(), [""; 0]);
    assert_eq!(stage.in_text().await, ["Alice", "Root"]);
    let bridge = stage.cluster.kubectl(
        &["get", "clusterrolebinding", "identity-mapper-bridge"],
        None,
    );
    assert!(!bridge.status.success());
    // Once more, there is nothing to do.
    assert_snapshot!(stage.told(&args).await, @"
    exit code 0
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (API_AND_CONFIG_MAP)

    principals: 3 done
    --- stderr
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_principal_loses_access_including_the_caller() {
    let stage = Stage::set("").await;
    let mut args = vec!["apply", "--confirm=test", "--to=API"];
    args.extend(PACE);
    // A signal in the soak: what has begun is made whole, and the bridge is gone.
    let mut process = stage.start(&args);
    until(
        &process,
        "binding: deleted the temporary ClusterRoleBinding identity-mapper-bridge",
    )
    .await;
    process.signal("INT");
    assert_eq!(end(&mut process).await, Some(1), "{}", process.log());
    let told = process.log();
    assert!(told.contains("run the same command again"), "{told}");

    let scratch = stage.cluster.scratch();
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
    let words = "you have access as arn:aws:iam::111122223333:role/Nobody, but by no access entry";
    assert!(ran.stderr.contains(words), "{}", ran.shown());
    assert_eq!(stage.eks.world().cluster.mode, Mode::ApiAndConfigMap);

    // As somebody who has an access entry it goes on, here with a mode that others change; there is no way back from there.
    let mut awaiting = vec!["apply", "--await-mode", "--to=API"];
    awaiting.extend(PACE);
    let mut process = stage.start(&awaiting);
    until(
        &process,
        "waiting until the authentication mode is changed to API",
    )
    .await;
    let config = json!({"accessConfig": {"authenticationMode": "API"}});
    stage.eks.by_hand("UpdateClusterConfig", config).unwrap();
    assert_eq!(end(&mut process).await, Some(0), "{}", process.log());
    assert_eq!(stage.eks.world().cluster.mode, Mode::Api);
    assert_eq!(
        stage.entries(),
        ["Alice team ", "Root  AmazonEKSClusterAdminPolicy"]
    );
    assert_snapshot!(stage.told(&["revert"]).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (API)
    --- stderr
    error: the cluster is in API mode: it does not read aws-auth, and EKS can't change the mode back. All principals keep their access entries
    ");
    assert_snapshot!(stage.told(&["apply", "--to=API_AND_CONFIG_MAP"]).await, @"
    exit code 1
    --- stdout
    cluster:    https://SERVER
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    EKS:        arn:aws:eks:eu-west-1:111122223333:cluster/test (API)
    --- stderr
    error: EKS can't change a cluster from authentication mode API back to API_AND_CONFIG_MAP; no further change is possible
    ");
    let again = stage.run(&args).await;
    assert_eq!(again.code, 0, "{}", again.shown());
}
