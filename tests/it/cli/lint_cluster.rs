//! `identity-mapper lint` on a cluster: what only a cluster and IAM show, and `--fix` under the rules of every write of ours.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::eks::{Eks, Mode, World};
use crate::support::mappings::FOREIGN;
use crate::support::{Cluster, Operator};

const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/gone
  username: gone
  groups: [bound]
- rolearn: arn:aws:iam::111122223333:role/team
  username: team
  groups: [bound, unbound, \"team-{{AccountID}}\"]
- rolearn: arn:aws:iam::444455556666:role/elsewhere
  username: elsewhere
";
const USERS: &str = "\
- userarn: arn:aws:iam::111122223333:user/maria
  username: maria
";

/// What a role needs that looks at a cluster, as docs/lint.md names it.
const RIGHTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: lint, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lint, namespace: kube-system}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [aws-auth, aws-auth-history], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lint, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: lint}
subjects: [{kind: ServiceAccount, name: lint, namespace: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lint}
rules:
- {apiGroups: [identity-mapper.dev], resources: [identitymappings], verbs: [list]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings, clusterrolebindings], verbs: [list]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: ["eks:node-manager"], verbs: [get]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], resourceNames: [identitymappings.identity-mapper.dev], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lint}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lint}
subjects: [{kind: ServiceAccount, name: lint, namespace: default}]
"#;

/// With `--fix` also this.
const RIGHTS_TO_FIX: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lint, namespace: kube-system}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [aws-auth, aws-auth-history], verbs: [get, patch]}
- {apiGroups: [""], resources: [configmaps], verbs: [create]}
"#;

/// What EKS makes for itself, as the fix says.
fn node_manager() -> &'static str {
    let page = include_str!("../../../docs/lint.md");
    let (_, under) = page.split_once("### IM062").unwrap();
    let (_, block) = under.split_once("```yaml\n").unwrap();
    block.split_once("```").unwrap().0
}

struct Stage {
    cluster: Cluster,
    eks: Eks,
}

impl Stage {
    /// Runs it with this kubeconfig, asking EKS.
    async fn lint(&self, arguments: &[&str]) -> Ran {
        let kubeconfig = self
            .cluster
            .service_account_kubeconfig("default", "lint")
            .await;
        let asked = ["lint", "--cluster-name=test", "--region=eu-west-1"];
        let run = Run::new([&asked, arguments].concat()).with(&self.eks);
        let run = run.env("KUBECONFIG", kubeconfig.to_str().unwrap());
        run.run_aside().await
    }

    async fn codes(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.lint(&[&["-o=json"], arguments].concat()).await;
        let document: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
        let findings = document["findings"].as_array().unwrap().iter();
        findings
            .map(|found| found["code"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn live_cluster_findings_that_files_cannot_have() {
    let cluster = Cluster::with_operator_rights().await;
    cluster
        .seed(json!({ "mapRoles": ROLES, "mapUsers": USERS }))
        .await;
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(RIGHTS));
    let binding = ["create", "clusterrolebinding"];
    cluster.kubectl_ok(
        &[
            &binding[..],
            &[
                "bound",
                "--clusterrole=view",
                "--group=bound",
                "--user=elsewhere",
            ],
        ]
        .concat(),
        None,
    );
    cluster.kubectl_ok(
        &[
            &binding[..],
            &["open", "--clusterrole=view", "--user=system:anonymous"],
        ]
        .concat(),
        None,
    );
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(Mode::ConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    world.role("111122223333", "/", "team");
    world.role("111122223333", "/", "nodes");
    world.user("111122223333", "/people/", "maria");
    let eks = Eks::start(world).await;
    let stage = Stage { cluster, eks };

    everything_is_reported(&stage).await;
    the_fixed_cluster_is_clean(&stage).await;
    a_fix_keeps_what_stood_and_leaves_owned_entries(&stage).await;
}

/// The entry of a mapping has its groups from there, and what only a text can guess is known of a cluster.
#[tokio::test]
async fn a_group_without_a_binding_is_reported_once() {
    let cluster = Cluster::with_operator_rights().await;
    let roles = "- rolearn: arn:aws:iam::111122223333:role/team\n  username: team\n  groups: [unbound, edit]\n";
    cluster.seed(json!({ "mapRoles": roles })).await;
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(RIGHTS));
    let groups = json!({"username": "team", "groups": ["unbound", "edit", "system:odd"]});
    cluster.declare("team", groups).await;
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(Mode::ConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    world.role("111122223333", "/", "team");
    let eks = Eks::start(world).await;
    let ran = Stage { cluster, eks }.lint(&["-o=json"]).await;
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    for group in ["unbound", "edit", "system:odd"] {
        let quoted = format!("{group:?}");
        let about = findings
            .iter()
            .filter(|found| found["title"].as_str().unwrap().contains(&quoted));
        let about: Vec<(&str, &str)> = about
            .map(|found| {
                (
                    found["code"].as_str().unwrap(),
                    found["source"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            about,
            [("IM060", "IdentityMapping team")],
            "{group}: {}",
            ran.shown()
        );
    }
}

async fn everything_is_reported(stage: &Stage) {
    stage
        .cluster
        .declare("odd", json!({ "groups": ["system:master", "nobody"] }))
        .await;
    assert_snapshot!(stage.lint(&[]).await.shown(), @r#"
    exit code 1
    --- stdout
    warning[IM063]: role "gone" that does not exist in IAM of account 111122223333
     --> mapRoles of kube-system/aws-auth:1:12
      |
    1 | - rolearn: arn:aws:iam::111122223333:role/gone
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ anyone who creates a role with this name gets access as "gone"
      |
      = note: aws-auth matches by name: anyone who creates a role or user with this name gets these groups
      = help: remove the entry, or make sure that only you can create a principal with this name

    warning[IM060]: group "unbound" without a binding
     --> mapRoles of kube-system/aws-auth:6:19
      |
    6 |   groups: [bound, unbound, "team-{{AccountID}}"]
      |                   ^^^^^^^ it grants nothing
      |
      = note: a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it
      = help: bind it, for example: kubectl create clusterrolebinding unbound --clusterrole=view --group=unbound

    note[IM040]: entry without groups
     --> mapUsers of kube-system/aws-auth:1:3
      |
    1 | - userarn: arn:aws:iam::111122223333:user/maria
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the authenticator sees username "maria" and no groups
      |
      = note: the principal can sign in but has no permissions, unless a binding names its username
      = help: add the intended groups, or make sure that a binding names the username

    error[IM064]: user path that differs from IAM: arn:aws:iam::111122223333:user/people/maria
     --> mapUsers of kube-system/aws-auth:1:12
      |
    1 | - userarn: arn:aws:iam::111122223333:user/maria
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never matches: the user has no access
      |
      = note: STS returns users with their path: the entry never matches
      = help: write arn:aws:iam::111122223333:user/people/maria

    error[IM065]: no entry for nodes
     --> the cluster:1:1
      |
    1 | kube-system/aws-auth
      | ^^^^^^^^^^^^^^^^^^^^ no node can join
      |
      = note: a node signs in with its role: without an entry no node can join, and running nodes are lost one by one
      = help: add an entry for the role of the nodes, without its path (`aws eks describe-nodegroup --cluster-name CLUSTER --nodegroup-name NAME --query nodegroup.nodeRole` prints its ARN), to mapRoles: {rolearn: "ARN", username: "system:node:{{EC2PrivateDNSName}}", groups: ["system:bootstrappers", "system:nodes"]}

    error[IM061]: system:anonymous bound to ClusterRole view
     --> the cluster:1:1
      |
    1 | ClusterRoleBinding open to ClusterRole view
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ grants these permissions without authentication
      |
      = note: everyone who can reach the API server has these permissions without signing in; by default Kubernetes binds only system:public-info-viewer this way
      = help: remove the subject, or delete the binding: kubectl delete clusterrolebinding open

    error[IM062]: missing ClusterRole and ClusterRoleBinding eks:node-manager
     --> the cluster:1:1
      |
    1 | ClusterRole and ClusterRoleBinding eks:node-manager
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ EKS can't manage nodes
      |
      = note: EKS manages nodes through this ClusterRole and its binding: without it managed node groups fail with AccessDenied
      = help: apply the manifest that `identity-mapper lint --explain IM062` prints

    error[IM041]: misspelled group "system:master"
      --> IdentityMapping odd:10:5
       |
    10 |   - system:master
       |     ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which grants nothing
       |
       = note: groups are compared character by character: no binding names this one
       = help: write "system:masters", if that is the intended group

    warning[IM060]: group "nobody" without a binding
      --> IdentityMapping odd:11:5
       |
    11 |   - nobody
       |     ^^^^^^ it grants nothing
       |
       = note: a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it
       = help: bind it, for example: kubectl create clusterrolebinding nobody --clusterrole=view --group=nobody

    5 errors, 3 warnings, 1 note
    --- stderr
    note: skipped IAM of account 444455556666: no role to assume is configured for it; add --iam-role
    "#);
    stage.cluster.delete("odd").await;
}

async fn the_fixed_cluster_is_clean(stage: &Stage) {
    let cluster = &stage.cluster;
    cluster.kubectl_ok(&["delete", "clusterrolebinding", "open"], None);
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(node_manager()));
    let unbound = [
        "create",
        "clusterrolebinding",
        "unbound",
        "--clusterrole=view",
        "--group=unbound",
    ];
    cluster.kubectl_ok(&unbound, None);
    let (_, rest) = ROLES
        .split_once("- rolearn: arn:aws:iam::111122223333:role/team")
        .unwrap();
    let roles = format!("{FOREIGN}- rolearn: arn:aws:iam::111122223333:role/team{rest}");
    let users = USERS.replace("user/maria", "user/people/maria") + "  groups: [bound]\n";
    cluster
        .patch_aws_auth(
            "kubectl-edit",
            json!({ "data": { "mapRoles": roles, "mapUsers": users } }),
        )
        .await;
    assert_eq!(stage.codes(&[]).await, Vec::<String>::new());
}

async fn a_fix_keeps_what_stood_and_leaves_owned_entries(stage: &Stage) {
    let cluster = &stage.cluster;
    let operator = Operator::start(cluster, &[]).await;
    cluster
        .establish("team-b", json!({ "username": "b", "groups": ["bound"] }))
        .await;
    operator.stop().await;
    let standing = cluster.roles().await;
    let copies = cluster.history().await.len();

    // The same once more, by hand, before what is ours; and a path.
    let by_hand = "\
- {rolearn: \"arn:aws:iam::111122223333:role/team-b\", username: b, groups: [bound]}
- {rolearn: \"arn:aws:iam::111122223333:role/ops/team-c\", username: c, groups: [bound]}
";
    let broken = format!("{by_hand}{standing}");
    cluster
        .write_text("kubectl-edit", "mapRoles", &broken)
        .await;
    let denied = stage.lint(&["--fix", "--yes"]).await;
    // No diff of what can't be written, but what is missing.
    assert_eq!((denied.code, denied.stdout.as_str()), (1, ""));
    for words in [
        "error: nothing was written\n",
        "lacks 2 of the permissions that `identity-mapper lint --fix` needs: patch configmaps aws-auth in namespace kube-system; patch \
            configmaps aws-auth-history in namespace kube-system",
        "name: identity-mapper-lintfix\n",
        "resources: [configmaps], resourceNames: [\"aws-auth\", \"aws-auth-history\"], verbs: [patch]",
    ] {
        assert!(denied.stderr.contains(words), "{words}: {}", denied.shown());
    }
    let dry = stage.lint(&["--fix", "--dry-run"]).await;
    assert_eq!(dry.code, 2, "{}", dry.shown());
    assert_eq!(cluster.roles().await, broken);

    cluster.kubectl_ok(&["apply", "-f", "-"], Some(RIGHTS_TO_FIX));
    let fixed = stage.lint(&["--fix", "--yes"]).await;
    let (target, _) = fixed.stdout.split_once("--- mapRoles (current)").unwrap();
    let target: Vec<&str> = target
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        target[..4],
        ["cluster", "context", "ConfigMap", "EKS"],
        "{}",
        fixed.shown()
    );
    assert!(
        fixed
            .stdout
            .contains("arn:aws:iam::111122223333:role/team-c as c in groups bound"),
        "{}",
        fixed.shown()
    );
    assert_eq!(
        cluster.roles().await,
        broken.replace("role/ops/team-c", "role/team-c")
    );
    let history = cluster.history().await;
    assert_eq!(history.len(), copies + 1);
    assert!(
        history
            .values()
            .any(|copy| copy["data"]["mapRoles"] == broken)
    );

    let again = stage.lint(&["--fix", "--yes"]).await;
    assert!(
        again
            .stderr
            .contains("no safe fixes for kube-system/aws-auth"),
        "{}",
        again.shown()
    );
}
