//! `identity-mapper rollback`, on a real API server, with and without a running operator.

use std::fmt::Write as _;

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::eks::{Eks, Mode, World};
use crate::support::mappings::FOREIGN;
use crate::support::{Cluster, Operator};

/// Runs it for a cluster in `CONFIG_MAP` mode, without AWS.
async fn rollback(cluster: &Cluster, arguments: &[&str]) -> Ran {
    let mut all = vec!["rollback"];
    all.extend(arguments);
    if matches!(arguments.first(), Some(&("diff" | "restore"))) {
        all.push("--mode=CONFIG_MAP");
    }
    Run::new(all).on(cluster).run_aside().await
}

/// What is printed, without what differs from run to run.
async fn shown(cluster: &Cluster, ran: &Ran) -> String {
    let mut shown = ran.shown().replace(cluster.url(), "URL");
    for (number, copy) in (1..).zip(copies(cluster).await) {
        let text = |field: &str| copy[field].as_str().unwrap().to_owned();
        let second = text("time").split('.').next().unwrap().to_owned();
        shown = shown
            .replace(&text("copy"), &format!("COPY{number:04}"))
            .replace(&format!("{second}Z"), "2026-01-01T00:00:00Z")
            .replace(&format!("{} B", copy["bytes"]), "100 B");
        if let Some(version) = copy["resourceVersion"].as_str() {
            let version = Regex::new(&format!(r"\b{version}\b +")).unwrap();
            shown = version.replace_all(&shown, "VERSION  ").into_owned();
        }
    }
    shown
}

async fn stderr(cluster: &Cluster, ran: &Ran) -> String {
    assert_eq!(ran.code, 1, "{}", ran.shown());
    let shown = shown(cluster, ran).await;
    shown.rsplit("--- stderr\n").next().unwrap().to_owned()
}

/// The list as a document, newest first.
async fn copies(cluster: &Cluster) -> Vec<Value> {
    let ran = rollback(cluster, &["list", "-o=json"]).await;
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["configMap"], "kube-system/aws-auth");
    document["copies"].as_array().unwrap().clone()
}

const CONSOLE: &str = "- rolearn: arn:aws:iam::111122223333:role/Console\n  username: console\n";

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one story, with what is printed on the way"
)]
async fn copies_are_listed_shown_and_restored() {
    let cluster = Cluster::with_operator_rights().await;
    let none = rollback(&cluster, &[]).await;
    assert_eq!(
        none.stdout,
        "No copies of kube-system/aws-auth: identity-mapper has not written to it yet.\n"
    );
    cluster.seed(json!({ "mapRoles": FOREIGN })).await;
    let operator = Operator::start(&cluster, &[]).await;
    cluster.establish("a", json!({})).await;
    cluster.establish("b", json!({})).await;
    // Someone writes all of it anew: a comment and a layout are gone, and an entry is new.
    let text = cluster.roles().await.replace("# by hand\n", "");
    cluster
        .write_text("vandal", "mapRoles", &format!("{text}{CONSOLE}"))
        .await;
    cluster.delete("a").await;
    cluster.gone("a").await;

    let list = rollback(&cluster, &[]).await;
    assert_snapshot!(shown(&cluster, &list).await, @"
    exit code 0
    --- stdout
    #  COPY      TIME                  ENTRIES  CHANGED THEN  VERSION  SIZE   WRITTEN BY       NOTE
    1  COPY0001  2026-01-01T00:00:00Z  4        +0 -1 ~0      VERSION  100 B  vandal           -
    2  COPY0002  2026-01-01T00:00:00Z  2        +2 -0 ~0      VERSION  100 B  identity-mapper  -
    3  COPY0003  2026-01-01T00:00:00Z  1        +1 -0 ~0      VERSION  100 B  unknown          before the first write
    ");
    // A copy is of a version of aws-auth, and is shown as a manifest that kubectl takes.
    let documents = copies(&cluster).await;
    let versions: Vec<u64> = documents
        .iter()
        .map(|copy| copy["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(
        versions.is_sorted_by(|newer, older| newer > older),
        "{versions:?}"
    );
    let wide = rollback(&cluster, &["list", "-o=wide"]).await;
    assert!(
        wide.stdout.contains(" VERSION ") && wide.stdout.contains(&versions[0].to_string()),
        "{}",
        wide.stdout
    );
    let show = rollback(&cluster, &["show", "1"]).await;
    assert!(show.stdout.starts_with("# copy "), "{}", show.shown());
    let manifest: Value = serde_saphyr::from_str(&show.stdout).unwrap();
    assert_eq!(manifest["metadata"]["name"], "aws-auth");
    let console = manifest["data"]["mapRoles"].as_str().unwrap();
    assert!(console.contains(CONSOLE), "{console}");
    cluster.kubectl_ok(&["apply", "--dry-run=server", "-f=-"], Some(&show.stdout));
    let name = documents[1]["copy"].as_str().unwrap();
    let by_name = rollback(&cluster, &["show", name]).await;
    let by_number = rollback(&cluster, &["show", "2"]).await;
    assert_eq!((by_name.code, &by_name.stdout), (0, &by_number.stdout));
    let narrow = Run::new(["rollback", "diff", "2", "--mode=CONFIG_MAP"])
        .on(&cluster)
        .env("COLUMNS", "80")
        .run_aside()
        .await;
    let prose = narrow
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Not restored"));
    let prose: Vec<&str> = prose.collect();
    assert!(
        prose.len() > 4 && prose.iter().all(|line| line.chars().count() <= 80),
        "{prose:?}"
    );
    let oldest = documents.len().to_string();
    let diff = rollback(&cluster, &["diff", &oldest]).await;
    assert_snapshot!(shown(&cluster, &diff).await, @r#"
    exit code 1
    --- stdout
    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (copy COPY0003 of 2026-01-01T00:00:00Z)
    @@ -1,3 +1,4 @@
    +# by hand
     - rolearn: arn:aws:iam::111122223333:role/nodes
       username: system:node:{{EC2PrivateDNSName}}
       groups: [system:bootstrappers, system:nodes]
    @@ -5,5 +6,3 @@
       username: "arn:aws:sts::111122223333:assumed-role/b/{{SessionName}}"
       groups:
       - "team"
    -- rolearn: arn:aws:iam::111122223333:role/Console
    -  username: console

    Managed and different from the copy: not changed; to change one, change its mapping:
      arn:aws:iam::111122223333:role/b
    "#);
    // The copy from before b, in which a stands.
    let diff = rollback(&cluster, &["diff", "2"]).await;
    assert_snapshot!(shown(&cluster, &diff).await, @r#"
    exit code 1
    --- stdout
    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (copy COPY0002 of 2026-01-01T00:00:00Z)
    @@ -1,3 +1,4 @@
    +# by hand
     - rolearn: arn:aws:iam::111122223333:role/nodes
       username: system:node:{{EC2PrivateDNSName}}
       groups: [system:bootstrappers, system:nodes]
    @@ -5,5 +6,3 @@
       username: "arn:aws:sts::111122223333:assumed-role/b/{{SessionName}}"
       groups:
       - "team"
    -- rolearn: arn:aws:iam::111122223333:role/Console
    -  username: console

    Not restored, because no mapping declares them any more (they were managed); to restore one, declare it in a mapping:
      arn:aws:iam::111122223333:role/a

    Managed and different from the copy: not changed; to change one, change its mapping:
      arn:aws:iam::111122223333:role/b
    "#);

    let refused = rollback(&cluster, &["restore", "nonsense"]).await;
    assert_snapshot!(shown(&cluster, &refused).await, @r#"
    exit code 1
    --- stderr
    error: no copy "nonsense" in the history of kube-system/aws-auth; available copies:
      1 COPY0001 of 2026-01-01T00:00:00Z
      2 COPY0002 of 2026-01-01T00:00:00Z
      3 COPY0003 of 2026-01-01T00:00:00Z
    "#);
    let before = cluster.roles().await;
    let unasked = rollback(&cluster, &["restore", &oldest]).await;
    assert_eq!((unasked.code, cluster.roles().await), (1, before));
    assert!(unasked.stderr.contains("Add --yes"), "{}", unasked.stderr);

    // With the operator at work, which takes it as anyone's legal change.
    let restored = rollback(&cluster, &["restore", &oldest, "--yes"]).await;
    assert_snapshot!(shown(&cluster, &restored).await, @r#"
    exit code 0
    --- stdout
    cluster:    URL
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    copy:       COPY0004 of 2026-01-01T00:00:00Z

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (copy COPY0004 of 2026-01-01T00:00:00Z)
    @@ -1,3 +1,4 @@
    +# by hand
     - rolearn: arn:aws:iam::111122223333:role/nodes
       username: system:node:{{EC2PrivateDNSName}}
       groups: [system:bootstrappers, system:nodes]
    @@ -5,5 +6,3 @@
       username: "arn:aws:sts::111122223333:assumed-role/b/{{SessionName}}"
       groups:
       - "team"
    -- rolearn: arn:aws:iam::111122223333:role/Console
    -  username: console

    Managed and different from the copy: not changed; to change one, change its mapping:
      arn:aws:iam::111122223333:role/b

    Restored; the previous version is saved as copy COPY0001.
    "#);
    cluster.establish("c", json!({})).await;
    let text = cluster.roles().await;
    assert!(
        text.starts_with(FOREIGN) && !text.contains("Console"),
        "{text}"
    );
    cluster.ready("b").await;
    let again = rollback(&cluster, &["restore", "1", "--yes"]).await;
    let nothing = "Nothing to restore: aws-auth is identical to the copy.";
    assert!(again.stdout.contains(nothing), "{}", again.shown());

    // Broken and deleted, where nobody is at work.
    let (status, _) = operator.stop().await;
    assert!(status.success());
    let whole = cluster.roles().await;
    for loss in ["broken", "deleted"] {
        if loss == "broken" {
            cluster
                .write_text("vandal", "mapRoles", "- rolearn: {{oops}}\n")
                .await;
        } else {
            cluster.kubectl_ok(&["delete", "configmap", "-n=kube-system", "aws-auth"], None);
        }
        let newest = copies(&cluster).await;
        let newest = newest.iter().find(|copy| copy["broken"].is_null()).unwrap();
        let ran = rollback(
            &cluster,
            &["restore", newest["copy"].as_str().unwrap(), "--yes"],
        )
        .await;
        assert_eq!(ran.code, 0, "{}", ran.shown());
        let text = cluster.roles().await;
        for arn in ["nodes", "b", "c"] {
            assert!(text.contains(&format!("role/{arn}")), "{loss}: {text}");
        }
        assert_eq!(
            text.contains("# by hand"),
            whole.contains("# by hand"),
            "{loss}: {text}"
        );
    }
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one story, with what is printed on the way"
)]
async fn needed_access_is_removed_only_if_confirmed_and_the_callers_own_never() {
    let cluster = Cluster::with_operator_rights().await;
    let plain = "- rolearn: arn:aws:iam::111122223333:role/x\n  username: x\n";
    cluster.seed(json!({ "mapRoles": plain })).await;
    let operator = Operator::start(&cluster, &[]).await;
    cluster.establish("a", json!({})).await;
    let (status, _) = operator.stop().await;
    assert!(status.success());
    let node_and_admin = format!(
        "{FOREIGN}- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n  groups: [system:masters]\n"
    );
    let ours = cluster.roles().await;
    cluster
        .write_text("kubectl", "mapRoles", &format!("{node_and_admin}{ours}"))
        .await;
    let mut told = String::new();
    for confirmations in [
        &[][..],
        &["--confirm=node-entry"],
        &["--confirm=mass-removal"],
    ] {
        let ran = rollback(
            &cluster,
            &[&["restore", "1", "--yes"], confirmations].concat(),
        )
        .await;
        let _ = writeln!(told, "{confirmations:?}: {}", shown(&cluster, &ran).await);
    }
    assert_snapshot!(told, @r#"
    []: exit code 1
    --- stdout
    cluster:    URL
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    copy:       COPY0001 of 2026-01-01T00:00:00Z

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (copy COPY0001 of 2026-01-01T00:00:00Z)
    @@ -1,10 +1,3 @@
    -# by hand
    -- rolearn: arn:aws:iam::111122223333:role/nodes
    -  username: system:node:{{EC2PrivateDNSName}}
    -  groups: [system:bootstrappers, system:nodes]
    -- rolearn: arn:aws:iam::111122223333:role/ops
    -  username: ops
    -  groups: [system:masters]
     - rolearn: arn:aws:iam::111122223333:role/x
       username: x
     - rolearn: "arn:aws:iam::111122223333:role/a"

    Managed and different from the copy: not changed; to change one, change its mapping:
      arn:aws:iam::111122223333:role/a

    Node entries to be removed or changed; without them nodes can't join or stay in the cluster:
      arn:aws:iam::111122223333:role/nodes

    No administrator would be left.
    --- stderr
    error: nothing was restored, because it would take away the access listed above; to do it anyway, add --confirm node-entry,last-administrator

    ["--confirm=node-entry"]: exit code 1
    --- stdout
    cluster:    URL
    context:    testbed
    ConfigMap:  kube-system/aws-auth
    copy:       COPY0001 of 2026-01-01T00:00:00Z

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (copy COPY0001 of 2026-01-01T00:00:00Z)
    @@ -1,10 +1,3 @@
    -# by hand
    -- rolearn: arn:aws:iam::111122223333:role/nodes
    -  username: system:node:{{EC2PrivateDNSName}}
    -  groups: [system:bootstrappers, system:nodes]
    -- rolearn: arn:aws:iam::111122223333:role/ops
    -  username: ops
    -  groups: [system:masters]
     - rolearn: arn:aws:iam::111122223333:role/x
       username: x
     - rolearn: "arn:aws:iam::111122223333:role/a"

    Managed and different from the copy: not changed; to change one, change its mapping:
      arn:aws:iam::111122223333:role/a

    Node entries to be removed or changed; without them nodes can't join or stay in the cluster:
      arn:aws:iam::111122223333:role/nodes

    No administrator would be left.
    --- stderr
    error: nothing was restored, because it would take away the access listed above; to do it anyway, add --confirm last-administrator

    ["--confirm=mass-removal"]: exit code 1
    --- stderr
    error: invalid value 'mass-removal' for '--confirm <VALUE>': write node-entry or last-administrator

    For more information, try '--help'.
    "#);

    // The caller by the API server's word: the administrator's certificate says `admin`.
    let me = "- rolearn: arn:aws:iam::111122223333:role/me\n  username: admin\n  groups: [system:masters]\n";
    cluster
        .write_text("kubectl", "mapRoles", &format!("{me}{ours}"))
        .await;
    let all = [
        "restore",
        "1",
        "--yes",
        "--confirm=node-entry,last-administrator",
    ];
    let ran = rollback(&cluster, &all).await;
    assert_snapshot!(stderr(&cluster, &ran).await, @r#"
    error: this would take away your own access; nothing was written. aws-auth grants arn:aws:iam::111122223333:role/me access as username "admin" and group system:masters; with the copy it would be nothing: no access. Declare yourself in a mapping, choose another copy, or ask someone with different access to run this command
    "#);

    // And by AWS's.
    let operators =
        "- rolearn: arn:aws:iam::111122223333:role/identity-mapper\n  username: runner\n";
    cluster
        .write_text("kubectl", "mapRoles", &format!("{operators}{ours}"))
        .await;
    let world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(Mode::ConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    let eks = Eks::start(world).await;
    let live = [
        "rollback",
        "restore",
        "1",
        "--yes",
        "--cluster-name=test",
        "--region=eu-west-1",
    ];
    let ran = Run::new(live).on(&cluster).with(&eks).run_aside().await;
    assert_snapshot!(stderr(&cluster, &ran).await, @r#"
    error: this would take away your own access; nothing was written. aws-auth grants arn:aws:iam::111122223333:role/identity-mapper access as username "runner" without groups; with the copy it would be nothing: no access. Declare yourself in a mapping, choose another copy, or ask someone with different access to run this command
    "#);
    eks.world().cluster.mode = Mode::Api;
    let ran = Run::new(live).on(&cluster).with(&eks).run_aside().await;
    assert_snapshot!(stderr(&cluster, &ran).await, @"
    error: copy COPY0001 of 2026-01-01T00:00:00Z: the cluster does not read aws-auth in API mode: restoring it would grant no access
    ");
}
