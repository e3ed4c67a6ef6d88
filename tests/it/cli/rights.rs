//! Who may not read a cluster learns all rights that a command lacks, and with what is printed the command works.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::json;

use super::Run;
use crate::support::Cluster;
use crate::support::programs::program;

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
    let kubectl_folder = program("kubectl").parent().unwrap().to_owned();
    let commands: [&[&str]; 8] = [
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
            "reader 0@example.com" lacks 6 of the permissions that `identity-mapper access` needs: get configmaps aws-auth in namespace kube-system; get configmaps aws-auth-history in namespace kube-system; get customresourcedefinitions.apiextensions.k8s.io identitymappings.identity-mapper.dev; list identitymappings.identity-mapper.dev; list rolebindings.rbac.authorization.k8s.io; list clusterrolebindings.rbac.authorization.k8s.io. A cluster administrator grants all of them with

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
            if ran.stderr.contains("forbidden") || ran.stderr.contains("lacks") {
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
