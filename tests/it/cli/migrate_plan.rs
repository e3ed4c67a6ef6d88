//! `identity-mapper migrate plan`: offline as snapshots, and live for what only IAM and EKS know.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Run, run};
use crate::support::eks::{Eks, Mark, Mode, NodeKind, World};
use crate::support::{Cluster, eventually};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
const ROLE: &str = "arn:aws:iam::111122223333:role";
const NODE: &str = "system:node:{{EC2PrivateDNSName}}";
const SESSION: &str = "system:node:{{SessionName}}";
const NODES: &[&str] = &["system:bootstrappers", "system:nodes"];

/// An entry of `mapRoles`.
fn role(arn: &str, username: &str, groups: &[&str]) -> String {
    format!(
        "- {}\n",
        json!({"rolearn": arn, "username": username, "groups": groups})
    )
}

fn own(name: &str, username: &str, groups: &[&str]) -> String {
    role(&format!("{ROLE}/{name}"), username, groups)
}

/// aws-auth as `kubectl get -o json` prints it.
fn aws_auth(roles: &[String], users: &str, accounts: &str) -> String {
    let data = json!({"mapRoles": roles.concat(), "mapUsers": users, "mapAccounts": accounts});
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"}, "data": data,
    })
    .to_string()
}

/// What stands in EKS as the AWS CLI prints it.
fn entry(role: &str, type_: &str, username: &str, groups: &[&str], policies: &[&str]) -> String {
    let arn = format!("{ROLE}/{role}");
    let name = role.rsplit('/').next().unwrap();
    let described = json!({ "accessEntry": {
        "clusterName": "main", "principalArn": arn, "type": type_, "username": username, "kubernetesGroups": groups,
        "accessEntryArn": format!("arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{name}/x"),
        "createdAt": 1_767_323_045, "modifiedAt": 1_767_323_045, "tags": {},
    }});
    let policies: Vec<Value> = policies
        .iter()
        .map(|policy| json!({
            "policyArn": format!("arn:aws:eks::aws:cluster-access-policy/{policy}"), "accessScope": {"type": "cluster", "namespaces": []},
            "associatedAt": 1_767_323_045, "modifiedAt": 1_767_323_045,
        }))
        .collect();
    let associated =
        json!({"associatedAccessPolicies": policies, "clusterName": "main", "principalArn": arn});
    format!("{described}\n{associated}\n")
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs it on an aws-auth from standard input.
fn plan(text: &str, from: &str, more: &[&str]) -> String {
    let arguments = [
        &["migrate", "plan", "--aws-auth", "-", "--mode", from],
        more,
    ]
    .concat();
    run(&arguments, text)
}

#[test]
fn the_examples() {
    let ran = Run::new([
        "migrate",
        "plan",
        "--aws-auth",
        &format!("{EXAMPLES}/aws-auth.yaml"),
        "-f",
        &format!("{EXAMPLES}/mappings"),
        "--access-entries",
        &format!("{EXAMPLES}/access-entries.json"),
        "--mode=API_AND_CONFIG_MAP",
    ])
    .run();
    assert_snapshot!(ran.shown(), @r#"
    exit code 0
    --- stdout
    cluster:  arn:aws:eks:eu-west-1:111122223333:cluster/main
    mode:     API_AND_CONFIG_MAP -> API
    summary:  1 blocked, 2 move, 2 new, 1 already done, 1 entry of aws-auth grants no access

    OUTCOME  PRINCIPAL                       MAPPING                     ACCESS ENTRY                                           LOSES ACCESS IN API
    blocked  sso/PlatformAdmin               (platformadmin.sso-012345)  platform:{{SessionName}}: AmazonEKSClusterAdminPolicy  yes
    moves    role/ci-deployer                ci-deployer                 ci-deployer: deployers                                 yes
    new      role/data-reader                data-reader                 data-reader: data-readers                              -
    moves    user/maria                      maria                       maria: developers, on-call                             yes
    new      role/developers (444455556666)  developers                  developer:{{SessionName}}: developers                  -
    done     role/main-nodes                 -                           EC2_LINUX                                              -

    Principals without an account are in 111122223333.
    Mappings in parentheses are what --import creates.

    Details:
      blocked sso/PlatformAdmin (mapRoles line 8)
        a role of IAM Identity Center has a path, which aws-auth omits and an access entry needs, but IAM was not
        read; declare its permission set or its full ARN, or allow reading IAM
      new     role/developers (444455556666)
        the ARN is used as written, because IAM of account 444455556666 was not read; if the role has a path, EKS
        reports 'invalid principal'

    Differences in access entries:
      with additional group "on-call"
        for user/maria

    Entries without access (nothing to migrate):
      mapRoles line 17: arn:aws:iam::111122223333:role/teams/data/data-reader: its ARN has the role's path, and
        the authenticator sees roles without their path: it would have to be
        arn:aws:iam::111122223333:role/data-reader

    Also:
      arn:aws:iam::111122223333:role/terraform (STANDARD, an administrator, like the access entry that EKS creates
        for the cluster's creator)
      arn:aws:iam::444455556666:role/observability (STANDARD)

    Steps:
      1. Move 2 principals to access entries
         - backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the
           entry in aws-auth
         - 2 more declared principals have no entry yet, and will get access entries
         - entries of aws-auth stay beside their access entries for 24h as a fallback (--soak); until then
           `migrate revert` can move principals back
           identity-mapper migrate apply --cluster-name main --region eu-west-1
           identity-mapper migrate status --cluster-name main --region eu-west-1
      2. Resolve what keeps 1 principal in aws-auth
         - each is listed above with a fix; `migrate plan --to API` shows when none is left
      3. Change the mode to API, which can't be undone
         - the cluster then no longer reads aws-auth: principals that are only there lose access
           identity-mapper migrate plan --to API --cluster-name main --region eu-west-1
           identity-mapper migrate apply --to API --confirm main --cluster-name main --region eu-west-1
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "what it prints")]
fn many_principals_of_every_kind() {
    let mut roles = vec![
        own("main-nodes", NODE, NODES),
        own(
            "windows",
            NODE,
            &[
                "eks:kube-proxy-windows",
                "system:bootstrappers",
                "system:nodes",
            ],
        ),
        own(
            "fargate",
            SESSION,
            &[
                "system:bootstrappers",
                "system:node-proxier",
                "system:nodes",
            ],
        ),
        own("hybrid", SESSION, NODES),
        own(
            "AWSReservedSSO_PlatformAdmin_0123456789abcdef",
            "platform:{{SessionName}}",
            &["system:masters"],
        ),
        own(
            "AWSReservedSSO_Developer_fedcba9876543210",
            "dev:{{SessionName}}",
            &["developers"],
        ),
        own("ci-deployer", "ci", &["deployers"]),
        own("ci-deployer", "ci", &["deployers", "auditors"]),
        own("break-glass", "break-glass", &["on-call", "system:masters"]),
        own("teams/data/data-reader", "data-reader", &["data-readers"]),
        own("AWSServiceRoleForAmazonEMRContainers", "emr", &["emr"]),
        own("legacy-viewer", "viewer", &["system:viewers"]),
        own("no-colon", "reader-{{SessionName}}", &["readers"]),
        own(
            "terraform",
            "arn:aws:sts::111122223333:assumed-role/terraform/{{SessionName}}",
            &["system:masters"],
        ),
        role(
            "arn:aws:iam::444455556666:role/observability",
            "observability",
            &["metrics-readers"],
        ),
    ];
    for team in 1..=6 {
        roles.push(own(
            &format!("team-{team}"),
            &format!("team-{team}:{{{{SessionName}}}}"),
            &[&format!("team-{team}")],
        ));
    }
    let users = "- {userarn: arn:aws:iam::111122223333:user/people/maria, username: maria, groups: [developers]}\n\
                 - {userarn: arn:aws:iam::111122223333:user/bob, username: bob, groups: [developers]}\n\
                 - {userarn: arn:aws:iam::111122223333:user/Bob, username: bob, groups: [admins]}\n";
    let text = aws_auth(&roles, users, "- \"777788889999\"\n");
    assert_snapshot!(plan(&text, "CONFIG_MAP", &["--cluster-arn", CLUSTER]), @r#"
    exit code 0
    --- stdout
    cluster:  arn:aws:eks:eu-west-1:111122223333:cluster/main
    mode:     CONFIG_MAP -> API_AND_CONFIG_MAP -> API
    summary:  4 blocked, 4 stay, 14 move, 1 entry of aws-auth grants no access

    OUTCOME  PRINCIPAL                                  MAPPING                                 ACCESS ENTRY                                           LOSES ACCESS IN API
    blocked  sso/Developer                              (developer.sso-fedcba)                  dev:{{SessionName}}: developers                        yes
    blocked  sso/PlatformAdmin                          (platformadmin.sso-012345)              platform:{{SessionName}}: AmazonEKSClusterAdminPolicy  yes
    blocked  role/hybrid                                -                                       -                                                      yes
    blocked  user/bob                                   -                                       -                                                      yes
    stays    (any of account 777788889999)              -                                       -                                                      yes
    stays    role/AWSServiceRoleForAmazonEMRContainers  (awsserviceroleforamazonemrcontainers)  -                                                      yes
    stays    role/legacy-viewer                         (legacy-viewer)                         -                                                      yes
    stays    role/no-colon                              (no-colon)                              -                                                      yes
    moves    role/break-glass                           (break-glass)                           break-glass: on-call, AmazonEKSClusterAdminPolicy      yes
    moves    role/ci-deployer                           (ci-deployer)                           ci: auditors, deployers                                yes
    moves    role/fargate                               (fargate)                               FARGATE_LINUX                                          yes
    moves    role/main-nodes                            (main-nodes)                            EC2_LINUX                                              yes
    moves    role/team-1                                (team-1)                                team-1:{{SessionName}}: team-1                         yes
    moves    role/team-2                                (team-2)                                team-2:{{SessionName}}: team-2                         yes
    moves    role/team-3                                (team-3)                                team-3:{{SessionName}}: team-3                         yes
    moves    role/team-4                                (team-4)                                team-4:{{SessionName}}: team-4                         yes
    moves    role/team-5                                (team-5)                                team-5:{{SessionName}}: team-5                         yes
    moves    role/team-6                                (team-6)                                team-6:{{SessionName}}: team-6                         yes
    moves    role/terraform                             (terraform)                             EKS's default username: AmazonEKSClusterAdminPolicy    yes
    moves    role/windows                               (windows)                               EC2_WINDOWS                                            yes
    moves    user/maria                                 (maria.user)                            maria: developers                                      yes
    moves    role/observability (444455556666)          (observability.444455556666)            observability: metrics-readers                         yes

    Principals without an account are in 111122223333.
    Mappings in parentheses are what --import creates.

    Details:
      blocked sso/Developer (mapRoles line 6)
              sso/PlatformAdmin (mapRoles line 5)
        a role of IAM Identity Center has a path, which aws-auth omits and an access entry needs, but IAM was not
        read; declare its permission set or its full ARN, or allow reading IAM
      blocked role/hybrid (mapRoles line 4)
        nodes of several types sign in as "system:node:{{SessionName}}", and aws-auth does not show the type:
        declare the role with its type and adoption: Always. The types are HybridLinux, FargateLinux,
        HyperPodLinux, or EC2 for EKS Auto Mode and nodes named after their instance. A type that names nodes
        differently, such as EC2Linux, would lock them out
      blocked user/bob (mapUsers line 2, mapUsers line 3)
        mapUsers has this ARN in lines 2, 3 in spellings that differ in case, of which the authenticator uses one
        at random at each login; remove all but one by hand
      stays   (any of account 777788889999) (mapAccounts line 1)
        an access entry is for one principal, so a whole account can't have one: declare the principals that need
        access, then remove the account from mapAccounts
      stays   role/AWSServiceRoleForAmazonEMRContainers (mapRoles line 11)
        spec.principal: arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers is a service-linked
        role, for which EKS accepts access entries from its own AWS service only; in API mode only the AWS service
        that owns the role can grant it access: it creates its own access entry, usually when it is enabled for
        the cluster; AWS has created none so far
      stays   role/legacy-viewer (mapRoles line 12)
        spec.groups: "system:viewers" begins with "system:", which EKS reserves in access entries; bind its roles
        to a group of your own, and write that one
      stays   role/no-colon (mapRoles line 13)
        spec.username: "reader-{{SessionName}}" has no colon before {{SessionName}}, which EKS requires in access
        entries; write it as in "reader-:{{SessionName}}"
      moves   role/ci-deployer (mapRoles line 8)
        mapRoles line 7 has the same principal but no effect: the authenticator uses the last entry of a list, and
        mapRoles before mapUsers
      moves   role/fargate (mapRoles line 3)
              role/main-nodes (mapRoles line 1)
              role/windows (mapRoles line 2)
        EKS creates this entry itself when the mode changes, if the role belongs to a managed node group or a
        Fargate profile
      moves   role/observability (444455556666) (mapRoles line 15)
        the ARN is used as written, because IAM of account 444455556666 was not read; if the role has a path, EKS
        reports 'invalid principal'

    Differences in access entries:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization;
        the policy is evaluated by EKS's authorizer: it can be removed at any time, and does not apply while the
        caller impersonates someone else (kubectl --as)
        for role/break-glass, role/terraform
      group system:bootstrappers is dropped: nodes on EKS sign in as nodes from the start, and EKS omits it from
        its own access entries too
        for role/fargate, role/main-nodes, role/windows
      the username of 4 principals is EKS's default, which equals the current one in aws-auth

    Entries without access (nothing to migrate):
      mapRoles line 10: arn:aws:iam::111122223333:role/teams/data/data-reader: its ARN has the role's path, and
        the authenticator sees roles without their path: it would have to be
        arn:aws:iam::111122223333:role/data-reader

    Steps:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes and removes no access: aws-auth is read as before, access entries take precedence
         - EKS creates an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for
           each role of its managed node groups and Fargate profiles; none for self-managed nodes
         - the change back to CONFIG_MAP is not possible
         - `migrate plan --to API_AND_CONFIG_MAP` shows how to change it with Terraform, eksctl and
           CloudFormation; `migrate apply --await-mode` then waits for the change
         - this command also does the next step
           identity-mapper migrate apply --confirm main --cluster-name main --region eu-west-1
      2. Move 14 principals to access entries
         - backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the
           entry in aws-auth
         - 14 of them have no mapping yet: --import creates them
         - 2 principals have administrator rights by system:masters, and a new access entry has no policies yet
           but already wins. To avoid an access gap, a temporary ClusterRoleBinding binds group
           identity-mapper:bridge to cluster-admin and is deleted at the end
         - entries of aws-auth stay beside their access entries for 24h as a fallback (--soak); until then
           `migrate revert` can move principals back
         - entries of nodes stay in aws-auth permanently: running nodes must never lose both
           identity-mapper migrate apply --import --cluster-name main --region eu-west-1
           identity-mapper migrate status --cluster-name main --region eu-west-1
      3. Resolve what keeps 8 principals in aws-auth
         - each is listed above with a fix; `migrate plan --to API` shows when none is left
      4. Change the mode to API, which can't be undone
         - the cluster then no longer reads aws-auth: principals that are only there lose access
           identity-mapper migrate plan --to API --cluster-name main --region eu-west-1
           identity-mapper migrate apply --to API --confirm main --cluster-name main --region eu-west-1
    "#);
}

#[test]
fn the_step_to_both_takes_nothing_from_anyone() {
    let text = aws_auth(&[own("ops", "ops", &["system:masters"])], "", "");
    let more = ["--cluster-arn", CLUSTER, "--to", "API_AND_CONFIG_MAP"];
    assert_snapshot!(plan(&text, "CONFIG_MAP", &more), @r#"
    exit code 0
    --- stdout
    cluster:  arn:aws:eks:eu-west-1:111122223333:cluster/main
    mode:     CONFIG_MAP -> API_AND_CONFIG_MAP
    summary:  1 moves

    OUTCOME  PRINCIPAL  MAPPING  ACCESS ENTRY                      LOSES ACCESS IN API
    moves    role/ops   (ops)    ops: AmazonEKSClusterAdminPolicy  yes

    Principals without an account are in 111122223333.
    Mappings in parentheses are what --import creates.

    Differences in access entries:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization;
        the policy is evaluated by EKS's authorizer: it can be removed at any time, and does not apply while the
        caller impersonates someone else (kubectl --as)
        for role/ops

    Steps:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes and removes no access: aws-auth is read as before, access entries take precedence
         - EKS creates an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for
           each role of its managed node groups and Fargate profiles; none for self-managed nodes
         - the change back to CONFIG_MAP is not possible
         - `migrate plan --to API_AND_CONFIG_MAP` shows how to change it with Terraform, eksctl and
           CloudFormation; `migrate apply --await-mode` then waits for the change
         - this command also does the next step
           identity-mapper migrate apply --confirm main --cluster-name main --region eu-west-1
      2. Move 1 principal to access entries
         - backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the
           entry in aws-auth
         - 1 of them has no mapping yet: --import creates it
         - 1 principal has administrator rights by system:masters, and a new access entry has no policies yet but
           already wins. To avoid an access gap, a temporary ClusterRoleBinding binds group identity-mapper:bridge
           to cluster-admin and is deleted at the end
         - entries of aws-auth stay beside their access entries for 24h as a fallback (--soak); until then
           `migrate revert` can move principals back
           identity-mapper migrate apply --import --cluster-name main --region eu-west-1
           identity-mapper migrate status --cluster-name main --region eu-west-1

    How to change the mode:
      Terraform, aws_eks_cluster
          access_config {
            authentication_mode                         = "API_AND_CONFIG_MAP"
            bootstrap_cluster_creator_admin_permissions = true # exactly what the state says
          }
        ! changing bootstrap_cluster_creator_admin_permissions REPLACES THE CLUSTER. Unset counts as true, but the
          state of a cluster that an older provider created without access_config contains false: read
          `terraform state show`, write the value that it shows, and apply only a plan without "forces
          replacement"; or add lifecycle { ignore_changes =
          [access_config[0].bootstrap_cluster_creator_admin_permissions] }
      Terraform, terraform-aws-modules/eks
          authentication_mode = "API_AND_CONFIG_MAP"
        ! versions 20 and 21 set API_AND_CONFIG_MAP by default, so an upgrade from 19 changes the mode; version 21
          has no aws-auth submodule: remove its ConfigMap from the state first (removed block or state rm), or it
          is deleted with everyone in it
        ! the module sets bootstrap_cluster_creator_admin_permissions to false and ignores its changes from
          20.13.1 on; an older version REPLACES THE CLUSTER if the state contains true
        ! enable_cluster_creator_admin_permissions = true creates an access entry for the identity that runs
          Terraform: it fails if EKS created that entry when the mode changed; import the entry then
      eksctl
          eksctl utils update-authentication-mode --cluster main --region eu-west-1 --authentication-mode API_AND_CONFIG_MAP
          # in the ClusterConfig:
          accessConfig:
            authenticationMode: API_AND_CONFIG_MAP
      CloudFormation, AWS::EKS::Cluster
          AccessConfig:
            AuthenticationMode: API_AND_CONFIG_MAP
        ! changing BootstrapClusterCreatorAdminPermissions REPLACES THE CLUSTER: keep it as it is in the template,
          also if it is not there
      AWS CLI
          aws eks update-cluster-config --name main --region eu-west-1 --access-config authenticationMode=API_AND_CONFIG_MAP

    No principal would lose access in API_AND_CONFIG_MAP now.
    "#);
}

#[test]
fn api_mode_is_refused_while_aws_auth_alone_grants_a_principal_access() {
    let text = aws_auth(
        &[own("main-nodes", NODE, NODES), own("ops", "ops", &["ops"])],
        "",
        "",
    );
    let folder = tempfile::tempdir().unwrap();
    let nodes = entry("main-nodes", "EC2_LINUX", NODE, &["system:nodes"], &[]);
    let ops = entry("ops", "STANDARD", "ops", &["ops"], &[]);
    let some = file(folder.path(), "some.json", &nodes);
    let all = file(folder.path(), "all.json", &format!("{nodes}{ops}"));
    let to_api = |entries: &str| {
        let more = ["--access-entries", entries, "--to", "API"];
        plan(&text, "API_AND_CONFIG_MAP", &more)
    };
    let closed = to_api(&some);
    assert!(closed.starts_with("exit code 1\n"), "{closed}");
    assert!(
        closed.ends_with(
            "\nWould lose access in API now:\n  arn:aws:iam::111122223333:role/ops\n--- stderr\nerror: 1 principal would lose access \
             in API now\n"
        ),
        "{closed}"
    );
    let open = to_api(&all);
    assert!(open.starts_with("exit code 0\n"), "{open}");
    assert!(
        open.ends_with("\nNo principal would lose access in API now.\n"),
        "{open}"
    );
    assert!(open.contains("authenticationMode=API\n"), "{open}");
    // Once it has been set, a pipeline that asks again goes on.
    let there = plan(&text, "API", &["--access-entries", &all, "--to", "API"]);
    assert!(there.starts_with("exit code 0\n"), "{there}");
    assert!(
        there.ends_with("\nThe cluster is already in mode API: nothing to change.\n"),
        "{there}"
    );
    // What can't be read may let someone in.
    let broken = text.replace("- {", "- {{");
    let more = ["--access-entries", all.as_str(), "--to", "API"];
    let broken = plan(&broken, "API_AND_CONFIG_MAP", &more);
    assert!(broken.starts_with("exit code 1\n"), "{broken}");
    assert!(
        broken.contains(
            "it is unknown who would lose access in API, because mapRoles is invalid YAML"
        ),
        "{broken}"
    );
}

#[test]
fn what_is_impossible_or_unclear_is_refused_with_what_is_possible() {
    let text = aws_auth(&[own("ops", "ops", &["ops"])], "", "");
    let mut shown = String::new();
    for (mode, more) in [
        ("CONFIG_MAP", &["--to=API"][..]),
        ("API_AND_CONFIG_MAP", &["--to=CONFIG_MAP"]),
        ("API", &["--to=API_AND_CONFIG_MAP"]),
        ("API", &["--to=apis"]),
        ("CONFIG_MAP", &[]),
        ("API", &[]),
    ] {
        let ran = Run::new(
            [
                &["migrate", "plan", "--aws-auth", "-", "--mode", mode],
                more,
            ]
            .concat(),
        )
        .stdin(text.clone())
        .run();
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{mode} {more:?}");
        let first = ran.stderr.lines().next().unwrap_or_default();
        let _ = writeln!(shown, "{mode} {}: {first}", more.concat());
    }
    let ran = Run::new(["migrate", "plan", "-f", EXAMPLES]).run();
    let _ = write!(shown, "-f: {}", ran.stderr);
    assert_snapshot!(shown, @"
    CONFIG_MAP --to=API: error: EKS can't change a cluster from CONFIG_MAP to API directly: change to API_AND_CONFIG_MAP first, move all principals, then change to API
    API_AND_CONFIG_MAP --to=CONFIG_MAP: error: invalid value 'CONFIG_MAP' for '--to <MODE>': EKS can't change a cluster back to CONFIG_MAP; write API_AND_CONFIG_MAP or API. `migrate revert` moves principals back to aws-auth
    API --to=API_AND_CONFIG_MAP: error: EKS can't change a cluster from authentication mode API back to API_AND_CONFIG_MAP; no further change is possible
    API --to=apis: error: invalid value 'apis' for '--to <MODE>'
    CONFIG_MAP : error: access entries depend on the cluster's partition and account: add --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    API : error: mode API needs the partition and account of the cluster: add --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    -f: error: -f reads files instead of a cluster: add --aws-auth. A live cluster already contains its mappings
    ");
}

#[test]
fn as_a_document() {
    let roles = [
        own("ops", "ops", &["system:masters"]),
        own("teams/old", "old", &[]),
    ];
    let more = ["--cluster-arn", CLUSTER, "--to", "API_AND_CONFIG_MAP", "-o"];
    let json = plan(
        &aws_auth(&roles, "", ""),
        "CONFIG_MAP",
        &[&more[..], &["json"]].concat(),
    );
    let (_, document) = json.split_once("--- stdout\n").unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["gate"]["open"], json!(true));
    assert_eq!(
        document["principals"][0]["becomes"]["policies"],
        json!([["AmazonEKSClusterAdminPolicy", "cluster"]])
    );
    let yaml = plan(
        &aws_auth(&roles, "", ""),
        "CONFIG_MAP",
        &["--cluster-arn", CLUSTER, "-o", "yaml"],
    );
    assert_snapshot!(yaml, @r#"
    exit code 0
    --- stdout
    cluster: arn:aws:eks:eu-west-1:111122223333:cluster/main
    mode: CONFIG_MAP
    to: API
    principals:
    - outcome: moves
      principal: arn:aws:iam::111122223333:role/ops
      losesAccessInApi: true
      mapping: null
      import: ops
      awsAuth:
      - key: mapRoles
        line: 1
      now:
        username: ops
        groups:
        - system:masters
      becomes:
        principalArn: arn:aws:iam::111122223333:role/ops
        type: STANDARD
        username: ops
        usernameGenerated: false
        groups: []
        policies:
        - - AmazonEKSClusterAdminPolicy
          - cluster
      differences:
      - "system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization; the policy is evaluated by EKS's authorizer: it can be removed at any time, and does not apply while the caller impersonates someone else (kubectl --as)"
      bridge: true
    withoutAccess:
    - key: mapRoles
      line: 2
      what: arn:aws:iam::111122223333:role/teams/old
      why: "its ARN has the role's path, and the authenticator sees roles without their path: it would have to be arn:aws:iam::111122223333:role/old"
    unreadable: []
    otherAccessEntries: []
    unreadAccounts: []
    steps:
    - title: Change the mode to API_AND_CONFIG_MAP
      notes:
      - "takes some minutes and removes no access: aws-auth is read as before, access entries take precedence"
      - >-
        EKS creates an access entry for the cluster's creator, with
        AmazonEKSClusterAdminPolicy, and one for each role of its managed node groups and Fargate profiles;
        none for self-managed nodes
      - the change back to CONFIG_MAP is not possible
      - "`migrate plan --to API_AND_CONFIG_MAP` shows how to change it with Terraform, eksctl and CloudFormation; `migrate apply --await-mode` then waits for the change"
      - this command also does the next step
      commands:
      - >-
        identity-mapper migrate apply --confirm main --cluster-name main --region
        eu-west-1
    - title: Move 1 principal to access entries
      notes:
      - "backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the entry in aws-auth"
      - "1 of them has no mapping yet: --import creates it"
      - >-
        1 principal has administrator rights by system:masters, and a new access entry
        has no policies yet but already wins. To avoid an access gap, a temporary
        ClusterRoleBinding binds group identity-mapper:bridge to cluster-admin and is deleted at
        the end
      - >-
        entries of aws-auth stay beside their access entries for 24h as a fallback
        (--soak); until then `migrate revert` can move principals back
      commands:
      - identity-mapper migrate apply --import --cluster-name main --region eu-west-1
      - identity-mapper migrate status --cluster-name main --region eu-west-1
    - title: Change the mode to API, which can't be undone
      notes:
      - "the cluster then no longer reads aws-auth: principals that are only there lose access"
      commands:
      - identity-mapper migrate plan --to API --cluster-name main --region eu-west-1
      - >-
        identity-mapper migrate apply --to API --confirm main --cluster-name main
        --region eu-west-1
    "#);
}

/// A cluster in `CONFIG_MAP` with people of two accounts, one of whom IAM Identity Center made.
fn world(cluster: &Cluster) -> World {
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(Mode::ConfigMap)
        .api_server(&cluster.authority(), cluster.url())
        .creator(&format!("{ROLE}/terraform"))
        .node_group(&format!("{ROLE}/main-nodes"), NodeKind::Linux);
    for name in ["terraform", "main-nodes"] {
        world.role("111122223333", "/", name);
    }
    world.role(
        "111122223333",
        "/aws-reserved/sso.amazonaws.com/eu-west-1/",
        "AWSReservedSSO_Admin_0123456789abcdef",
    );
    world.role("111122223333", "/ci/", "deployer");
    world.role("444455556666", "/teams/", "partner");
    world.assumable_role("444455556666", "/", "reader", None);
    world
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "what it prints")]
async fn a_live_plan_uses_iam_and_eks() {
    let cluster = Cluster::start().await;
    let roles = [
        own("main-nodes", NODE, NODES),
        own(
            "AWSReservedSSO_Admin_0123456789abcdef",
            "admin:{{SessionName}}",
            &["system:masters"],
        ),
        own("deployer", "deployer", &["deployers"]),
        own("gone", "gone", &["team"]),
        role(
            "arn:aws:iam::444455556666:role/partner",
            "partner",
            &["partners"],
        ),
    ];
    cluster.seed(json!({ "mapRoles": roles.concat() })).await;
    let eks = Eks::start(world(&cluster)).await;
    let run = async |arguments: &[&str]| {
        let all = [&["migrate", "plan", "--cluster-name=test"], arguments].concat();
        Run::new(all).on(&cluster).with(&eks).run_aside().await
    };
    let reader = "--iam-role=arn:aws:iam::444455556666:role/reader";
    let ran = run(&[reader]).await;
    assert_snapshot!(ran.shown(), @"
    exit code 0
    --- stdout
    cluster:  arn:aws:eks:eu-west-1:111122223333:cluster/test
    mode:     CONFIG_MAP -> API_AND_CONFIG_MAP -> API
    summary:  4 move, 1 not in IAM

    OUTCOME  PRINCIPAL                    MAPPING                 ACCESS ENTRY                                        LOSES ACCESS IN API
    moves    sso/Admin                    (admin.sso-012345)      admin:{{SessionName}}: AmazonEKSClusterAdminPolicy  yes
    moves    role/deployer                (deployer)              deployer: deployers                                 yes
    moves    role/main-nodes              (main-nodes)            EC2_LINUX                                           yes
    moves    role/partner (444455556666)  (partner.444455556666)  partner: partners                                   yes
    missing  role/gone                    -                       -                                                   -

    Principals without an account are in 111122223333.
    Mappings in parentheses are what --import creates.

    Details:
      moves   role/main-nodes (mapRoles line 1)
        EKS creates this entry itself when the mode changes, if the role belongs to a managed node group or a
        Fargate profile
      missing role/gone (mapRoles line 4)
        IAM has no such principal, so the entry grants no access now. Anyone who creates a principal with this
        name gets it: remove the entry, or recreate the principal before the handover

    Differences in access entries:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization;
        the policy is evaluated by EKS's authorizer: it can be removed at any time, and does not apply while the
        caller impersonates someone else (kubectl --as)
        for sso/Admin
      group system:bootstrappers is dropped: nodes on EKS sign in as nodes from the start, and EKS omits it from
        its own access entries too
        for role/main-nodes
      the username of 1 principal is EKS's default, which equals the current one in aws-auth

    Steps:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes and removes no access: aws-auth is read as before, access entries take precedence
         - EKS creates an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for
           each role of its managed node groups and Fargate profiles; none for self-managed nodes
         - the change back to CONFIG_MAP is not possible
         - `migrate plan --to API_AND_CONFIG_MAP` shows how to change it with Terraform, eksctl and
           CloudFormation; `migrate apply --await-mode` then waits for the change
         - this command also does the next step
           identity-mapper migrate apply --confirm test --cluster-name test
      2. Move 4 principals to access entries
         - backs up aws-auth, then for each principal: creates and verifies the access entry, then removes the
           entry in aws-auth
         - no operator is installed, so the command moves them itself, with the entries of aws-auth as they are
         - 1 principal has administrator rights by system:masters, and a new access entry has no policies yet but
           already wins. To avoid an access gap, a temporary ClusterRoleBinding binds group identity-mapper:bridge
           to cluster-admin and is deleted at the end
         - entries of aws-auth stay beside their access entries for 24h as a fallback (--soak); until then
           `migrate revert` can move principals back
         - entries of nodes stay in aws-auth permanently: running nodes must never lose both
           identity-mapper migrate apply --cluster-name test
           identity-mapper migrate status --cluster-name test
      3. Change the mode to API, which can't be undone
         - the cluster then no longer reads aws-auth: principals that are only there lose access
           identity-mapper migrate plan --to API --cluster-name test
           identity-mapper migrate apply --to API --confirm test --cluster-name test
    ");

    // Without a role to assume there the ARN is used as it is written, and that is said.
    let ran = run(&[]).await;
    for words in [
        "the ARN is used as written, because IAM of account 444455556666 was not read",
        "IAM of account 444455556666 was not read: no role to assume is configured for it; add --iam-role",
    ] {
        let flowing: Vec<&str> = ran.stdout.split_whitespace().collect();
        assert!(flowing.join(" ").contains(words), "{}", ran.stdout);
    }

    // A cluster that is older than access entries can't take the step.
    let young = {
        let mut world = eks.world();
        let young = (
            world.cluster.version.clone(),
            world.cluster.platform_version.clone(),
        );
        (world.cluster.version, world.cluster.platform_version) =
            ("1.27".to_owned(), "eks.9".to_owned());
        young
    };
    let ran = run(&[]).await;
    assert!(
        ran.stdout.contains(
            "\nfirst:    Kubernetes 1.27 supports access entries from platform version eks.10,"
        ),
        "{}",
        ran.stdout
    );
    let ran = run(&["--to=API_AND_CONFIG_MAP"]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("Kubernetes 1.27 supports access entries from platform version eks.10,"),
        "{}",
        ran.stderr
    );
    (
        eks.world().cluster.version,
        eks.world().cluster.platform_version,
    ) = young;

    let ran = run(&["--to=API_AND_CONFIG_MAP"]).await;
    assert_eq!(ran.code, 0, "{}", ran.shown());

    // On the change EKS makes entries of its own, which are told from the rest.
    let config = json!({"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}});
    eks.by_hand("UpdateClusterConfig", config).unwrap();
    eventually(
        "the mode has changed",
        Duration::from_secs(30),
        async || eks.world().cluster.mode == Mode::ApiAndConfigMap,
    )
    .await;
    let ran = run(&[reader, "--to=API"]).await;
    assert_eq!(ran.code, 1, "{}", ran.shown());
    let stands = ran
        .stdout
        .lines()
        .find(|line| line.contains("role/main-nodes"))
        .unwrap();
    assert!(
        stands.starts_with("done") && stands.contains("EC2_LINUX"),
        "{stands}"
    );
    assert!(
        ran.stdout.contains(
            "role/terraform (STANDARD, an administrator, like the access entry that EKS creates"
        ),
        "{}",
        ran.stdout
    );
    for call in [
        "CreateAccessEntry",
        "UpdateAccessEntry",
        "AssociateAccessPolicy",
        "TagResource",
    ] {
        assert_eq!(eks.log().count(call, Mark::START), 0, "{call}");
    }
}
