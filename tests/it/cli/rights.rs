//! Who may not read a cluster learns all rights that a command lacks, and with what is printed the command works.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::json;

use super::Run;
use crate::support::Cluster;
use crate::support::programs::program;

/// An operator of which only the arguments matter.
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: identity-mapper, namespace: default, labels: {app.kubernetes.io/name: identity-mapper}}
spec:
  replicas: 0
  selector: {matchLabels: {app.kubernetes.io/name: identity-mapper}}
  template:
    metadata: {labels: {app.kubernetes.io/name: identity-mapper}}
    spec:
      containers:
      - {name: operator, image: identity-mapper, args: [run, --authentication-mode=CONFIG_MAP]}
";

const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/a
  username: a
  groups: [system:masters]
";

#[tokio::test]
async fn all_missing_permissions_are_reported_and_granted_at_once() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(DEPLOYMENT));
    let kubectl_folder = program("kubectl").parent().unwrap().to_owned();
    let commands: [&[&str]; 10] = [
        &["access", "--mode=CONFIG_MAP"],
        &["effective"],
        &[
            "explain",
            "arn:aws:iam::111122223333:role/a",
            "--mode=CONFIG_MAP",
        ],
        &[
            "explain",
            "arn:aws:iam::111122223333:role/a",
            "--mode=CONFIG_MAP",
            "--can",
            "list",
            "pods",
        ],
        &["import", "--mode=CONFIG_MAP"],
        &["lint", "--mode=CONFIG_MAP"],
        &["plan", "--mode=CONFIG_MAP"],
        &["rollback", "list"],
        // The mode is read from the Deployment.
        &["access"],
        &["import"],
    ];
    for (number, command) in commands.into_iter().enumerate() {
        let user = format!("reader {number}@example.com");
        let kubeconfig = cluster.person_kubeconfig(&user, &["system:authenticated"]);
        let run = async || {
            let run = Run::new(command).env("KUBECONFIG", kubeconfig.to_str().unwrap());
            run.run_aside().await
        };
        let refused = run().await;
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (1, ""),
            "{command:?}"
        );
        if number == 0 {
            // Which of the reads that run side by side is refused first is chance.
            let (first, shown) = refused.stderr.split_once('\n').unwrap();
            assert!(first.contains("is forbidden"), "{first}");
            assert_snapshot!(shown, @r#"
            "reader 0@example.com" lacks 7 of the permissions that `identity-mapper access` needs: get configmaps aws-auth in namespace kube-system; get configmaps aws-auth-history in namespace kube-system; get customresourcedefinitions.apiextensions.k8s.io identitymappings.identity-mapper.dev; list identitymappings.identity-mapper.dev; list rolebindings.rbac.authorization.k8s.io; list clusterrolebindings.rbac.authorization.k8s.io; list deployments.apps. A cluster administrator grants all of them with

            kubectl apply -f - <<'END'
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata:
              name: identity-mapper-access
            rules:
            - {apiGroups: [""], resources: [configmaps], resourceNames: ["aws-auth", "aws-auth-history"], verbs: [get]}
            - {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], resourceNames: ["identitymappings.identity-mapper.dev"], verbs: [get]}
            - {apiGroups: [identity-mapper.dev], resources: [identitymappings], verbs: [list]}
            - {apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings], verbs: [list]}
            - {apiGroups: [rbac.authorization.k8s.io], resources: [clusterrolebindings], verbs: [list]}
            - {apiGroups: [apps], resources: [deployments], verbs: [list]}
            END
            kubectl create clusterrolebinding identity-mapper-access-37dd4e54 --clusterrole=identity-mapper-access --user='reader 0@example.com'
            "#);
        }
        let (_, printed) = refused
            .stderr
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("{command:?}: {}", refused.stderr));
        let script = cluster.scratch().path().join(format!("grant-{number}.sh"));
        fs::write(&script, printed).unwrap();
        let mut shell = Command::new("sh");
        let path = format!("{}:/usr/bin:/bin", kubectl_folder.display());
        shell.arg("-e").arg(&script).env("PATH", path);
        let output = shell
            .env("KUBECONFIG", cluster.admin_kubeconfig())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}\n{printed}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The authorizer sees a new binding some milliseconds later.
        crate::support::eventually(command[0], std::time::Duration::from_secs(30), async || {
            let ran = run().await;
            let denied = ["forbidden", "lacks", "is not known"];
            if denied.iter().any(|words| ran.stderr.contains(words)) {
                Err(ran.shown())
            } else {
                Ok(ran)
            }
        })
        .await;
    }
    let admin = cluster.person_kubeconfig("boss", &["system:masters"]);
    let ran = Run::new(["access", "--mode=CONFIG_MAP"]).env("KUBECONFIG", admin.to_str().unwrap());
    assert_eq!(ran.run_aside().await.code, 0);
}

/// The flags that a text names.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    let flags = words.filter(|word| word.starts_with("--") && word.len() > 2);
    flags.map(str::to_owned).collect()
}

#[tokio::test]
async fn errors_name_only_flags_that_the_command_has() {
    let cluster = Cluster::with_operator_rights().await;
    cluster.seed(json!({ "mapRoles": ROLES })).await;
    let arn = "arn:aws:iam::111122223333:role/a";
    let commands: [&[&str]; 13] = [
        &["access"],
        &["explain", arn],
        &["import"],
        &["plan"],
        &["migrate", "plan"],
        &["migrate", "status"],
        &["migrate", "apply"],
        &["migrate", "revert"],
        &["access", "--mode=API"],
        &["lint", "--mode=API"],
        &["migrate", "plan", "--mode=API"],
        &["migrate", "plan", "--mode=CONFIG_MAP"],
        &["explain", arn, "--mode=API", "--can", "list", "pods"],
    ];
    for deployed in [false, true] {
        if deployed {
            cluster.kubectl_ok(&["apply", "-f", "-"], Some(DEPLOYMENT));
        }
        for command in commands {
            let ran = Run::new(command).on(&cluster).run_aside().await;
            // The Deployment says the mode, which is enough but for what is done in EKS.
            let enough = deployed && command[0] != "migrate" && !command.contains(&"--mode=API");
            if enough {
                assert!(!ran.stderr.contains("error"), "{}", ran.shown());
                continue;
            }
            assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{command:?}");
            let named = flags(&ran.stderr);
            let words: Vec<&str> = command
                .iter()
                .copied()
                .take_while(|it| !it.starts_with('-'))
                .collect();
            let help = Run::new(words.into_iter().filter(|it| *it != arn).chain(["--help"]));
            let known = flags(&help.run_aside().await.stdout);
            // Flags of the AWS CLI in the command that prints the mode.
            let aws = ["--name", "--query"].map(str::to_owned);
            let unknown: Vec<&String> = named
                .iter()
                .filter(|flag| !known.contains(*flag) && !aws.contains(flag))
                .collect();
            assert!(
                unknown.is_empty(),
                "{command:?} {unknown:?}: {}",
                ran.stderr
            );
            assert!(named.contains("--cluster-name"), "{}", ran.shown());
            if command[0] == "migrate" {
                assert!(!ran.stderr.contains("add --mode"), "{}", ran.shown());
            }
        }
    }
    let status = Run::new(["migrate", "status"])
        .on(&cluster)
        .run_aside()
        .await;
    assert_eq!(
        status.stderr,
        "error: the name of the EKS cluster is not known (Deployment default/identity-mapper declares mode CONFIG_MAP, and names no \
            cluster): add --cluster-name; `aws eks list-clusters` prints the names\n"
    );
    // A wrong name is reported before the mode.
    let unknown = Run::new(["rollback", "diff", "zzz"])
        .on(&cluster)
        .run_aside()
        .await;
    assert_eq!(unknown.code, 2, "{}", unknown.shown());
    assert!(
        unknown.stderr.contains("has no history"),
        "{}",
        unknown.shown()
    );
}
