//! Many clusters in one run: forty contexts, some of which can't be read, and what a file says of them.

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::Cluster;
use crate::support::eks::{Eks, Mark, Mode, World};

const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/platform
  username: platform
  groups: [system:masters]
- rolearn: arn:aws:iam::111122223333:role/teams/data
  username: data
  groups: [data]
";

/// A kubeconfig with these contexts of one API server; some lead nowhere.
fn kubeconfig(
    cluster: &Cluster,
    folder: &Path,
    reachable: &[&str],
    others: &[(&str, &str)],
) -> PathBuf {
    let text = fs::read_to_string(cluster.admin_kubeconfig()).unwrap();
    let mut file: Value = serde_saphyr::from_str(&text).unwrap();
    let known = file["clusters"][0]["cluster"].clone();
    let user = file["users"][0]["name"].clone();
    let mut clusters = Vec::new();
    let mut contexts = Vec::new();
    let all = reachable.iter().map(|name| (*name, None));
    let all = all.chain(others.iter().map(|(name, server)| (*name, Some(*server))));
    for (name, server) in all {
        let mut cluster = known.clone();
        if let Some(server) = server {
            cluster["server"] = json!(server);
        }
        clusters.push(json!({"name": name, "cluster": cluster}));
        contexts.push(json!({"name": name, "context": {"cluster": name, "user": user}}));
    }
    file["clusters"] = json!(clusters);
    file["contexts"] = json!(contexts);
    file["current-context"] = json!(reachable[0]);
    let path = folder.join("kubeconfig");
    fs::write(&path, file.to_string()).unwrap();
    path
}

async fn run(kubeconfig: &Path, arguments: &[&str]) -> Ran {
    let run = Run::new(arguments).env("KUBECONFIG", kubeconfig.to_str().unwrap());
    run.run_aside().await
}

/// What is printed, without what differs from run to run.
fn shown(cluster: &Cluster, ran: &Ran) -> String {
    ran.shown().replace(cluster.url(), "URL")
}

const NOWHERE: &str = "https://127.0.0.1:1";

#[tokio::test]
async fn forty_clusters_some_of_which_cannot_be_read() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (1..=36)
        .map(|number| format!("stage-{number:02}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let others = [
        ("gone-1", NOWHERE),
        ("gone-2", NOWHERE),
        ("gone-3", NOWHERE),
        ("gone-4", NOWHERE),
    ];
    let kubeconfig = kubeconfig(&cluster, folder.path(), &names, &others);
    let all = ["--all-contexts", "--mode=CONFIG_MAP"];
    let ran = run(&kubeconfig, &[&["access", "-o=json"], &all[..]].concat()).await;
    assert_eq!(ran.code, 1, "{}", ran.shown());
    assert!(
        ran.stderr
            .ends_with("error: 4 of 40 clusters could not be read\n"),
        "{}",
        ran.stderr
    );
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let clusters = document["clusters"].as_array().unwrap();
    let order: Vec<&str> = clusters
        .iter()
        .map(|it| it["cluster"].as_str().unwrap())
        .collect();
    assert_eq!(order, [&names[..], &others.map(|(name, _)| name)].concat());
    for cluster in &clusters[..36] {
        let principals = cluster["report"]["principals"].as_array().unwrap();
        assert_eq!(principals.len(), 2, "{cluster}");
        assert_eq!(cluster["report"]["cluster"]["context"], cluster["cluster"]);
    }
    for cluster in &clusters[36..] {
        let error = cluster["error"].as_str().unwrap();
        assert!(error.contains(NOWHERE) && !error.contains('\n'), "{error}");
    }
    // Each row names its cluster, and spreadsheets show which are missing.
    let csv = run(&kubeconfig, &[&["access", "-o=csv"], &all[..]].concat())
        .await
        .stdout;
    assert_eq!(csv.lines().count(), 1 + 36 * 3 + 4);
    assert_eq!(
        csv.lines()
            .filter(|line| line.starts_with("gone-") && line.contains("not read"))
            .count(),
        4
    );
    let page = run(&kubeconfig, &[&["access", "-o=html"], &all[..]].concat())
        .await
        .stdout;
    assert!(page.contains("<h1>Principals with access to 40 clusters</h1>"));
    assert_eq!(page.matches("<td data-label=\"Cluster\">").count(), 36 * 3);
    assert!(page.contains("<strong>gone-4</strong>"));
    for arguments in [
        &["lint", "-o=json"][..],
        &["plan", "-o=json"],
        &["explain", "role/platform", "-o=json"],
    ] {
        let ran = run(&kubeconfig, &[arguments, &all[..]].concat()).await;
        let document: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
        let clusters = document["clusters"].as_array().unwrap();
        let reports = clusters.iter().filter(|it| it["report"].is_object());
        assert_eq!(
            (ran.code, clusters.len(), reports.count()),
            (1, 40, 36),
            "{arguments:?}"
        );
    }
}

#[allow(clippy::too_many_lines, reason = "mostly snapshots")]
#[tokio::test]
async fn tables_of_many_clusters() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(&cluster, folder.path(), &["eu", "us"], &[("old", NOWHERE)]);
    let ran = async |arguments: &[&str], contexts: &str| {
        let more = ["--mode=CONFIG_MAP", contexts];
        let run = Run::new([arguments, &more].concat()).env("COLUMNS", "120");
        let run = run.env("KUBECONFIG", kubeconfig.to_str().unwrap());
        shown(&cluster, &run.run_aside().await)
    };
    assert_snapshot!(ran(&["access"], "--contexts=us,eu").await, @"
    exit code 0
    --- stdout
    CLUSTER  ADMIN  PRINCIPAL      USERNAME                 GROUPS                   RBAC                    SOURCE
    us       yes    role/platform  platform                 system:masters           ClusterRole…ster-admin  mapRoles line 4
    us       -      role/node      system:node:{{…}}        system:bootstrappers +1  -                       mapRoles line 1
    eu       yes    role/platform  platform                 system:masters           ClusterRole…ster-admin  mapRoles line 4
    eu       -      role/node      system:node:{{…}}        system:bootstrappers +1  -                       mapRoles line 1

    Principals without an account are in 111122223333.
    -o wide also shows KIND.

    note: 2 entries without access and the notes of each cluster are in -o json and -o html
    ");
    assert_snapshot!(ran(&["access", "--sort-by=principal"], "--contexts=eu,old").await, @"
    exit code 1
    --- stdout
    CLUSTER  ADMIN  PRINCIPAL      USERNAME                 GROUPS                   RBAC                    SOURCE
    eu       -      role/node      system:node:{{…}}        system:bootstrappers +1  -                       mapRoles line 1
    eu       yes    role/platform  platform                 system:masters           ClusterRole…ster-admin  mapRoles line 4

    Principals without an account are in 111122223333.
    -o wide also shows KIND.

    Not read:
      old: aws-auth can't be read: can't connect to https://127.0.0.1:1: connection refused

    note: 1 entry without access and the notes of each cluster are in -o json and -o html
    --- stderr
    error: 1 of 2 clusters could not be read
    ");
    assert_snapshot!(ran(&["lint"], "--contexts=eu,us").await, @r#"
    exit code 1
    --- stdout
    error[IM020]: role path in `rolearn`
     --> eu: mapRoles of kube-system/aws-auth:7:12
      |
    7 | - rolearn: arn:aws:iam::111122223333:role/teams/data
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never matches: the principal has no access
      |
      = note: aws-iam-authenticator sees roles without their path, so an entry with a path never matches
      = help: write arn:aws:iam::111122223333:role/data (fixed by --fix)

    warning[IM060]: group "data" without a binding
     --> eu: mapRoles of kube-system/aws-auth:9:12
      |
    9 |   groups: [data]
      |            ^^^^ it grants nothing
      |
      = note: a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it
      = help: bind it, for example: kubectl create clusterrolebinding data --clusterrole=view --group=data

    error[IM020]: role path in `rolearn`
     --> us: mapRoles of kube-system/aws-auth:7:12
      |
    7 | - rolearn: arn:aws:iam::111122223333:role/teams/data
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never matches: the principal has no access
      |
      = note: aws-iam-authenticator sees roles without their path, so an entry with a path never matches
      = help: write arn:aws:iam::111122223333:role/data (fixed by --fix)

    warning[IM060]: group "data" without a binding
     --> us: mapRoles of kube-system/aws-auth:9:12
      |
    9 |   groups: [data]
      |            ^^^^ it grants nothing
      |
      = note: a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it
      = help: bind it, for example: kubectl create clusterrolebinding data --clusterrole=view --group=data

    2 errors, 2 warnings; 2 fixable with --fix

    CLUSTER  ERRORS  WARNINGS  NOTES
    eu       1       1         0
    us       1       1         0
    "#);
    assert_snapshot!(ran(&["lint", "-o=github", "--ignore=IM020,IM042,IM060"], "--contexts=eu,us").await, @"
    exit code 0
    --- stderr
    note: --ignore IM042 matched no finding
    ");
    assert_snapshot!(ran(&["plan"], "--contexts=eu,us").await, @"
    exit code 0
    --- stdout
    CLUSTER  MODE        PLAN        NOT READY  LATER  MAPPINGS
    eu       CONFIG_MAP  no changes  -          -      0
    us       CONFIG_MAP  no changes  -          -      0
    ");
    assert_snapshot!(ran(&["explain", "arn:aws:iam::111122223333:role/platform", "arn:aws:iam::111122223333:role/teams/data"], "--contexts=eu,us").await, @r#"
    exit code 1
    --- stdout
    CLUSTER  PRINCIPAL      ACCESS  ADMIN  ALLOWED  USERNAME  GROUPS          SOURCE OR REASON
    eu       role/platform  yes     yes    -        platform  system:masters  mapRoles line 4
    eu       role/data      no      -      -        -         -               (1)
    us       role/platform  yes     yes    -        platform  system:masters  mapRoles line 4
    us       role/data      no      -      -        -         -               (1)

    (1) mapRoles line 7 has "arn:aws:iam::111122223333:role/teams/data": its ARN contains a path, and aws-iam-authenticator
        sees roles without their path
    Principals without an account are in 111122223333.
    "#);
    assert_snapshot!(ran(&["access"], "--contexts=eu,nowhere").await, @r#"
    exit code 1
    --- stderr
    error: --contexts: the kubeconfig has no context "nowhere"; it has eu, us, old
    "#);
    assert_snapshot!(ran(&["access", "--aws-auth=x"], "--contexts=eu").await, @"
    exit code 1
    --- stderr
    error: --contexts reads clusters, and files are given too: remove one of the two
    ");
    assert_snapshot!(ran(&["lint", "--fix"], "--contexts=eu,us").await, @"
    exit code 1
    --- stderr
    error: --fix rewrites one cluster at a time: name it with --context
    ");
    assert_snapshot!(ran(&["access", "--cluster-name=main"], "--contexts=eu").await, @"
    exit code 1
    --- stderr
    error: --cluster-name main names one cluster, and --contexts asks for several: remove it; clusterName in the file of --config names the EKS cluster of each context
    ");
}

#[tokio::test]
async fn a_file_names_eks_clusters_and_roles_to_assume() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/main")
        .mode(Mode::ApiAndConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    world.assumable_role("111122223333", "/", "audit", Some("shared"));
    for role in ["node", "platform"] {
        world.role("111122223333", "/", role);
    }
    world.role("111122223333", "/teams/", "data");
    let eks = Eks::start(world).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(&cluster, folder.path(), &["a", "b"], &[("c", NOWHERE)]);
    let config = folder.path().join("config/identity-mapper/clusters.yaml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let clusters = "clusters:\n- {context: b, name: production, clusterName: main, region: eu-west-1, assumeRole: 'arn:aws:iam::111122223333:role/audit', externalId: shared}\n";
    fs::write(&config, clusters).unwrap();
    let run = async |arguments: &[&str]| {
        let run = Run::new(arguments).with(&eks);
        let run = run.env("KUBECONFIG", kubeconfig.to_str().unwrap());
        let home = folder.path().join("config");
        run.env("XDG_CONFIG_HOME", home.to_str().unwrap())
            .run_aside()
            .await
    };
    let named = format!("--config={}", config.display());
    let status = run(&["migrate", "status", "-o=json", &named]).await;
    let document: Value = serde_json::from_str(&status.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", status.shown()));
    let [production] = document["clusters"].as_array().unwrap().as_slice() else {
        panic!("{document}")
    };
    assert_eq!(
        (status.code, &production["cluster"]),
        (0, &json!("production"))
    );
    assert_eq!(production["report"]["mode"], "API_AND_CONFIG_MAP");
    assert_eq!(eks.log().counts(Mark::START)["AssumeRole"], 1);
    let table = run(&["migrate", "status", &named]).await;
    assert_snapshot!(table.shown(), @"
    exit code 0
    --- stdout
    CLUSTER     MODE                HANDOVER  BINDING  PENDING  MIGRATING  SOAKING  DONE  STAYING  BLOCKED
    production  API_AND_CONFIG_MAP  -         Absent   0        0          0        0     0        2
    ");
    // The file is found by itself where contexts are named, and says more of those that it knows.
    let access = run(&["access", "--contexts=a,b", "--no-headers"]).await;
    assert_eq!(access.code, 1, "{}", access.shown());
    assert!(
        access.stdout.contains("production  ")
            && access
                .stdout
                .contains("\n  a: the cluster's authentication mode is not known"),
        "{}",
        access.stdout
    );
    // A role that does not let us in is one cluster's failure.
    fs::write(&config, clusters.replace("shared", "other")).unwrap();
    let denied = run(&["access", &named]).await;
    assert_eq!(denied.code, 1);
    assert!(
        denied.stdout.contains("production: ") && denied.stdout.contains("sts:AssumeRole"),
        "{}",
        denied.shown()
    );
    fs::write(&config, "clusters:\n- {context: b, assumeRole: audit}\n").unwrap();
    let wrong = run(&["access", &named]).await;
    assert_snapshot!(wrong.shown().replace(folder.path().to_str().unwrap(), "FOLDER"), @r#"
    exit code 1
    --- stderr
    error: FOLDER/config/identity-mapper/clusters.yaml: context b: assumeRole: "audit": write the ARN of a role, such as arn:aws:iam::111122223333:role/NAME
    "#);
}

/// A cluster is a context, whatever it is called: none is passed over because another has its name.
#[tokio::test]
async fn clusters_are_told_apart_by_context() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(&cluster, folder.path(), &["l", "m"], &[]);
    let config = folder.path().join("clusters.yaml");
    let option = format!("--config={}", config.display());
    let names = async |clusters: &str, contexts: &str| {
        fs::write(&config, format!("clusters:\n{clusters}\n")).unwrap();
        let arguments = ["access", "-o=json", "--mode=CONFIG_MAP", &option, contexts];
        run(&kubeconfig, &arguments).await
    };
    let ran = names("- {context: l, name: other}", "--contexts=l,m,l").await;
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let clusters = document["clusters"].as_array().unwrap();
    let found: Vec<&Value> = clusters.iter().map(|it| &it["cluster"]).collect();
    assert_eq!(found, ["other", "m"]);
    let ran = names("- {context: l, name: m}", "--contexts=l,m").await;
    assert_snapshot!(ran.shown(), @r#"
    exit code 1
    --- stderr
    error: two clusters would be called "m", of the contexts "l" and "m": give one of them another name in the file of --config
    "#);
}
