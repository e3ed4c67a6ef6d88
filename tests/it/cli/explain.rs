//! `identity-mapper explain` and `access`, offline as snapshots, and what they ask a real API server.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::Cluster;
use crate::support::eks::{Eks, Mode, World};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// Runs a command on the examples, whose folder is left out of what it prints.
fn example(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("EXAMPLES", EXAMPLES))
        .collect();
    Run::new(&arguments)
        .run()
        .shown()
        .replace(EXAMPLES, "EXAMPLES")
}

const AWS_AUTH: [&str; 2] = ["--aws-auth", "EXAMPLES/aws-auth.yaml"];
const BOTH: [&str; 4] = [
    "--aws-auth",
    "EXAMPLES/aws-auth.yaml",
    "--access-entries",
    "EXAMPLES/access-entries.json",
];

fn explain(files: &[&str], rest: &[&str]) -> String {
    example(&[&["explain"], files, rest].concat())
}

#[test]
fn a_misspelled_name_is_reported() {
    for name in ["role/observabilty", "Observability2"] {
        let said = explain(&BOTH, &[name]);
        assert!(said.contains("did you mean observability?"), "{said}");
    }
    let said = explain(&AWS_AUTH, &["ci-deploy"]);
    assert!(said.contains("did you mean ci-deployer?"), "{said}");
    let said = explain(&BOTH, &["user/observabilty"]);
    assert!(said.contains("give its ARN"), "{said}");
}

#[test]
fn explain_a_caller_with_access() {
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_PlatformAdmin_0123456789abcdef/ann@example.com"]), @"
    exit code 0
    --- stdout
    arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_PlatformAdmin_0123456789abcdef/ann@example.com
      resolved to       arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef
      access by         mapRoles line 8: arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef
      username          platform:ann-example.com
      groups            system:masters, system:authenticated
      administrator     yes: group system:masters, which has all permissions
      RBAC              not read
    ");
    assert_snapshot!(explain(&BOTH, &["arn:aws:iam::444455556666:role/observability"]), @"
    exit code 0
    --- stdout
    arn:aws:iam::444455556666:role/observability
      access by         access entry of arn:aws:iam::444455556666:role/observability
      username          observability:{{SessionName}}
      groups            metrics-readers, system:authenticated
      access policies   AmazonEKSViewPolicy in namespaces monitoring, team-*
      administrator     no
      RBAC              not read
      note              placeholders are filled in at each login; give the ARN of a session, as `aws sts get-caller-identity` prints it, to see their values
                        an access entry is only for the principal that existed when it was created. IAM was not read, so a deletion and recreation of the principal would not be noticed
    ");
}

#[test]
fn explain_a_caller_without_access() {
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:sts::111122223333:assumed-role/data-reader/ann"]), @r#"
    exit code 1
    --- stdout
    arn:aws:sts::111122223333:assumed-role/data-reader/ann
      resolved to       arn:aws:iam::111122223333:role/data-reader
      has access        no
      why               no entry of aws-auth grants arn:aws:iam::111122223333:role/data-reader access
      likely cause      mapRoles line 17 has "arn:aws:iam::111122223333:role/teams/data/data-reader": its ARN contains a path, and aws-iam-authenticator sees roles without their path
      fix               in mapRoles line 17, write "arn:aws:iam::111122223333:role/data-reader" instead of "arn:aws:iam::111122223333:role/teams/data/data-reader" (kubectl edit configmap aws-auth -n kube-system)
                          kubectl get configmap aws-auth -n kube-system -o yaml | identity-mapper lint --fix - | kubectl replace -f -
      not used          mapRoles line 17: arn:aws:iam::111122223333:role/teams/data/data-reader: its ARN has the role's path, and the authenticator sees roles without their path
      note              the cluster creator is also an administrator in CONFIG_MAP mode and is not listed anywhere: `identity-mapper access --aws-auth EXAMPLES/aws-auth.yaml` shows how to find out who it is
    "#);
    assert_snapshot!(explain(&BOTH, &["-o=json", "arn:aws:iam::111122223333:user/people/marai"]), @r#"
    exit code 1
    --- stdout
    {
      "mode": "API_AND_CONFIG_MAP",
      "explanations": [
        {
          "caller": "arn:aws:iam::111122223333:user/people/marai",
          "resolvedTo": "arn:aws:iam::111122223333:user/people/marai",
          "hasAccess": false,
          "identities": [],
          "refusal": "neither an access entry nor an entry of aws-auth grants arn:aws:iam::111122223333:user/people/marai access",
          "causes": [
            {
              "kind": "typo",
              "message": "mapUsers line 1 has \"arn:aws:iam::111122223333:user/people/maria\": the name differs in 1 character",
              "fix": {
                "text": "if that entry was intended for this principal, in mapUsers line 1, write \"arn:aws:iam::111122223333:user/people/marai\" instead of \"arn:aws:iam::111122223333:user/people/maria\" (kubectl edit configmap aws-auth -n kube-system)",
                "edit": {
                  "key": "mapUsers",
                  "line": 1,
                  "from": "arn:aws:iam::111122223333:user/people/maria",
                  "to": "arn:aws:iam::111122223333:user/people/marai"
                }
              }
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn what_cannot_be_asked_is_an_error() {
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:iam::111122223333:group/admins"]), @r#"
    exit code 1
    --- stderr
    error: arn:aws:iam::111122223333:group/admins: "admins" is an IAM group, which cannot sign in: map a role that its members assume, or each user
    "#);
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:iam::1111:role/x"]), @r#"
    exit code 1
    --- stderr
    error: arn:aws:iam::1111:role/x: account "1111" is not an AWS account: expected exactly 12 digits, leading zeros included
    "#);
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:iam::111122223333:role/x", "--can", "list", "pods"]), @"
    exit code 1
    --- stderr
    error: --can asks the API server, which is not available with files: remove --aws-auth and --access-entries
    ");
    assert_snapshot!(explain(&AWS_AUTH, &["arn:aws:iam::111122223333:role/x", "-n", "a"]), @"
    exit code 1
    --- stderr
    error: the following required arguments were not provided:
      --can <VERB> <RESOURCE>

    Usage: identity-mapper explain --can <VERB> <RESOURCE> --aws-auth <FILE> --namespace <NAMESPACE> <ARN|NAME>...

    For more information, try '--help'.
    ");
    assert_snapshot!(explain(&AWS_AUTH, &[]), @"
    exit code 1
    --- stderr
    error: the following required arguments were not provided:
      <ARN|NAME>...

    Usage: identity-mapper explain --aws-auth <FILE> <ARN|NAME>...

    For more information, try '--help'.
    ");
}

#[test]
fn access_lists_every_principal() {
    assert_snapshot!(example(&[&["access"][..], &BOTH].concat()), @"
    exit code 0
    --- stdout
    Principals with access: arn:aws:eks:eu-west-1:111122223333:cluster/main, mode API_AND_CONFIG_MAP, kube-system/aws-auth

    ADMIN    KIND        PRINCIPAL                          USERNAME                           GROUPS           ACCESS POLICIES  RBAC  UNTIL  SOURCE            MAPPING
    yes (1)  role        role/terraform                     (default)                          -                ClusterAdmin     -     -      access entry      -
    yes      role        sso/PlatformAdmin                  platform:{{SessionName}}           system:masters   -                -     -      mapRoles line 8   -
    -        role        role/observability (444455556666)  observability:{{SessionName}}      metrics-readers  View (ns)        -     -      access entry      -
    -        role        role/ci-deployer                   ci-deployer                        deployers        -                -     -      mapRoles line 13  -
    -        role, node  role/main-nodes                    system:node:{{EC2PrivateDNSName}}  system:nodes     -                -     -      access entry      -
    -        user        user/maria                         maria                              developers       -                -     -      mapUsers line 1   -

    (1) AmazonEKSClusterAdminPolicy in the whole cluster
    Principals without an account are in 111122223333.

    Entries without access:
      arn:aws:iam::111122223333:role/main-nodes (mapRoles line 2): the access entry of arn:aws:iam::111122223333:role/main-nodes wins
      arn:aws:iam::111122223333:role/teams/data/data-reader (mapRoles line 17): its ARN has the role's path, and the authenticator sees roles without their path

    note: RBAC was not read: of the administrators only those by system:masters and by access policies are known

    note: AmazonEKSViewPolicy does not cover custom resources, nodes, Secrets, Roles and RoleBindings (AWS's rules of 2025-11-06, more than a year old; compare https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html)

    note: the OIDC identity providers of the cluster, whose users have access too, were not read: `aws eks list-identity-provider-configs --cluster-name main --region eu-west-1` lists them

    note: client certificates and ServiceAccount tokens give access without IAM, and their holders are not listed
    ");
    assert_snapshot!(example(&[&["access"][..], &AWS_AUTH].concat()), @"
    exit code 0
    --- stdout
    Principals with access: files, mode CONFIG_MAP, kube-system/aws-auth

    ADMIN  KIND        PRINCIPAL          USERNAME                           GROUPS                              ACCESS POLICIES  RBAC  UNTIL  SOURCE            MAPPING
    yes    role        sso/PlatformAdmin  platform:{{SessionName}}           system:masters                      -                -     -      mapRoles line 8   -
    -      role        role/ci-deployer   ci-deployer                        deployers                           -                -     -      mapRoles line 13  -
    -      role, node  role/main-nodes    system:node:{{EC2PrivateDNSName}}  system:bootstrappers, system:nodes  -                -     -      mapRoles line 2   -
    -      user        user/maria         maria                              developers                          -                -     -      mapUsers line 1   -

    Principals without an account are in 111122223333.

    Entries without access:
      arn:aws:iam::111122223333:role/teams/data/data-reader (mapRoles line 17): its ARN has the role's path, and the authenticator sees roles without their path

    note: RBAC was not read: of the administrators only those by system:masters and by access policies are known

    note: the OIDC identity providers of the cluster, whose users have access too, were not read: `aws eks list-identity-provider-configs --cluster-name CLUSTER` lists them

    note: client certificates and ServiceAccount tokens give access without IAM, and their holders are not listed

    note: The cluster creator is also an administrator in CONFIG_MAP mode and is not listed anywhere
      who created the cluster, within the last 90 days (CloudTrail):
        aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=CreateCluster
      who signs in as the creator, where authenticator logs are enabled (CloudWatch Logs Insights on /aws/eks/CLUSTER/cluster):
        fields @timestamp, @message | filter @logStream like /authenticator/ | filter @message like /username=kubernetes-admin/ | sort @timestamp desc | limit 50
      if the creator can no longer sign in, IAM permissions alone restore access (the change of mode can't be undone):
        aws eks update-cluster-config --name CLUSTER --access-config authenticationMode=API_AND_CONFIG_MAP
        aws eks wait cluster-active --name CLUSTER
        aws eks create-access-entry --cluster-name CLUSTER --principal-arn ARN
        aws eks associate-access-policy --cluster-name CLUSTER --principal-arn ARN --policy-arn arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy --access-scope type=cluster
    ");
}

#[test]
fn csv_escapes_spreadsheet_formulas() {
    let roles = json!([
        {"rolearn": "arn:aws:iam::111122223333:role/a", "username": "=cmd|' /C calc'!A0", "groups": ["@SUM(1)", "-2+3"]},
        {"rolearn": "arn:aws:iam::111122223333:role/b", "username": "+1", "groups": ["a\"b", "c,d"]},
    ]);
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"}, "data": {"mapRoles": roles.to_string()}});
    let ran = Run::new(["access", "--aws-auth=-", "-o=csv"])
        .stdin(config_map.to_string())
        .run();
    assert_snapshot!(ran.shown(), @r#"
    exit code 0
    --- stdout
    has access,administrator,administrator by,kind,node,principal,username,groups,access policies,rbac,backend,source,mapping,until,reason
    yes,no,,role,no,arn:aws:iam::111122223333:role/a,'=cmd|' /C calc'!A0,'-2+3; @SUM(1),,not read,ConfigMap,mapRoles line 1,,,
    yes,no,,role,no,arn:aws:iam::111122223333:role/b,'+1,"a""b; c,d",,not read,ConfigMap,mapRoles line 1,,,
    "#);
}

/// One answer of `explain -o json`.
fn explained(ran: &Ran) -> Value {
    let document: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
    document["explanations"][0].clone()
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one cluster for many questions")]
async fn can_i_asks_the_api_server() {
    let cluster = Cluster::start().await;
    cluster
        .seed(json!({"mapRoles": "\
- rolearn: arn:aws:iam::111122223333:role/Dev
  username: dev:{{SessionName}}
  groups: [developers, unbound]
"}))
        .await;
    let world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(Mode::ApiAndConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    let eks = Eks::start(world).await;
    let viewer = eks.world().role("111122223333", "/", "Viewer");
    eks.by_hand(
        "CreateAccessEntry",
        json!({"principalArn": viewer.arn, "username": "viewer"}),
    )
    .unwrap();
    let scope = json!({"type": "namespace", "namespaces": ["dev-*"]});
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    eks.by_hand(
        "AssociateAccessPolicy",
        json!({"principalArn": viewer.arn, "policyArn": policy, "accessScope": scope}),
    )
    .unwrap();
    for arguments in [
        "create clusterrole readers --verb=get,list --resource=pods,deployments.apps,pods/log",
        "create clusterrolebinding readers --clusterrole=readers --group=developers",
        "create role deployer -n default --verb=create --resource=pods/exec",
        "create rolebinding deployer -n default --role=deployer --user=dev:ann",
        "create clusterrole healthy --verb=get --non-resource-url=/healthz",
        "create clusterrolebinding healthy --clusterrole=healthy --group=unbound",
    ] {
        cluster.kubectl_ok(&arguments.split(' ').collect::<Vec<_>>(), None);
    }
    let run = async |arguments: &[&str]| {
        let all = [&["explain", "--cluster-name=test"], arguments].concat();
        Run::new(all).on(&cluster).with(&eks).run_aside().await
    };
    let dev = "arn:aws:sts::111122223333:assumed-role/Dev/ann";
    assert_snapshot!(run(&[dev]).await.shown(), @"
    exit code 0
    --- stdout
    arn:aws:sts::111122223333:assumed-role/Dev/ann
      resolved to       arn:aws:iam::111122223333:role/Dev
      access by         mapRoles line 1: arn:aws:iam::111122223333:role/Dev
      username          dev:ann
      groups            developers, unbound, system:authenticated
      administrator     no
      RBAC              ClusterRole healthy in all namespaces, by ClusterRoleBinding healthy (group unbound)
                        ClusterRole readers in all namespaces, by ClusterRoleBinding readers (group developers)
                        ClusterRole system:basic-user in all namespaces, by ClusterRoleBinding system:basic-user (group system:authenticated)
                        ClusterRole system:discovery in all namespaces, by ClusterRoleBinding system:discovery (group system:authenticated)
                        ClusterRole system:public-info-viewer in all namespaces, by ClusterRoleBinding system:public-info-viewer (group system:authenticated)
                        Role deployer in namespace default, by RoleBinding deployer (username dev:ann)
    ");

    // Words as kubectl's users write them.
    for (words, exit, verdict) in [
        (
            &["list", "po"][..],
            0,
            "list pods in all namespaces: yes, by RBAC",
        ),
        (
            &["get", "Deployment/web", "-n=a"],
            0,
            "get deployments.apps web in namespace a: yes, by RBAC",
        ),
        (
            &["get", "deployments.v1.apps"],
            0,
            "get deployments.apps in all namespaces: yes, by RBAC",
        ),
        (
            &["create", "pods/exec", "-n=default"],
            0,
            "create pods/exec in namespace default: yes, by RBAC",
        ),
        (
            &["create", "pods/exec", "-n=other"],
            1,
            "create pods/exec in namespace other: not by RBAC",
        ),
        (
            &["get", "pods/web", "--subresource=log"],
            0,
            "get pods/log web in all namespaces: yes, by RBAC",
        ),
        (&["get", "/healthz"], 0, "get /healthz: yes, by RBAC"),
        (&["delete", "nodes"], 1, "delete nodes: not by RBAC"),
    ] {
        let ran = run(&[&[dev, "--can"], words].concat()).await;
        assert!(
            ran.code == exit && ran.stdout.contains(verdict),
            "{words:?}: {}",
            ran.shown()
        );
    }
    for (words, complaint) in [
        (
            &["list", "pids"][..],
            "the API server has no resource \"pids\": `kubectl api-resources` lists",
        ),
        (
            &["get", "nodes", "-n=a"],
            "nodes are not namespaced: remove -n a",
        ),
        (&["get", "/healthz", "-n=a"], "/healthz is not namespaced"),
        (
            &["get", "pods", "--subresource=scale"],
            "pods have no subresource \"scale\"",
        ),
    ] {
        let ran = run(&[&[dev, "--can"], words].concat()).await;
        assert!(
            ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains(complaint),
            "{}",
            ran.shown()
        );
    }

    // Where access policies hold, AWS's published rules say it.
    let viewer = viewer.arn.as_str();
    let ran = run(&[viewer, "--can", "list", "pods", "-n=dev-a"]).await;
    let yes = "list pods in namespace dev-a: yes, by AmazonEKSViewPolicy in namespaces dev-* (AWS's rules of ";
    assert!(ran.code == 0 && ran.stdout.contains(yes), "{}", ran.shown());
    let ran = run(&[viewer, "--can", "get", "secrets", "-n=dev-a"]).await;
    let no = "no: neither by RBAC nor by AmazonEKSViewPolicy in namespaces dev-* (AWS's rules of ";
    assert!(ran.code == 1 && ran.stdout.contains(no), "{}", ran.shown());
    let ran = run(&[viewer, "--can", "list", "pods", "-n=prod", "-o=json"]).await;
    assert_eq!(
        (ran.code, &explained(&ran)["can"][0]["verdict"]),
        (1, &json!("notByRbac")),
        "{}",
        ran.shown()
    );

    // Whoever asks for itself gets the API server's whole answer.
    let me = run(&["--me", "--can", "delete", "nodes", "-o=json"]).await;
    let me = explained(&me);
    assert_eq!(
        me["caller"],
        "arn:aws:sts::111122223333:assumed-role/identity-mapper/operator"
    );
    assert_eq!(me["hasAccess"], false);
    assert_eq!(me["apiServer"]["username"], "admin");
    assert_eq!(me["can"][0]["verdict"], "yes");

    // Who may not look is told who they are.
    let plain = cluster.person_kubeconfig("mallory", &["nobodies"]);
    let all = [
        "explain",
        "--me",
        "--cluster-name=test",
        "--kubeconfig",
        plain.to_str().unwrap(),
    ];
    let ran = Run::new(all).with(&eks).run_aside().await;
    let told = "the API server grants you access as \"mallory\" in groups nobodies, system:authenticated, but you may not read why; \
                ask a cluster administrator to run: identity-mapper explain arn:aws:sts::111122223333:assumed-role/identity-mapper/operator";
    assert!(
        ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains(told),
        "{}",
        ran.shown()
    );
}
