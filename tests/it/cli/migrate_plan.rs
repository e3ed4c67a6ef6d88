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
    in all:   1 blocked, 2 move, 2 new, 1 stands already, 1 entry of aws-auth lets nobody in

    VERDICT  PRINCIPAL                                           MAPPING                     ACCESS ENTRY                                           IN API NOW
    blocked  role/AWSReservedSSO_PlatformAdmin_0123456789abcdef  (platformadmin.sso-012345)  platform:{{SessionName}}: AmazonEKSClusterAdminPolicy  lost
    moves    role/ci-deployer                                    ci-deployer                 ci-deployer: deployers                                 lost
    new      role/teams/data/data-reader                         data-reader                 data-reader: data-readers                              -
    moves    user/people/maria                                   maria                       maria: developers, on-call                             lost
    new      arn:aws:iam::444455556666:role/developers           developers                  developer:{{SessionName}}: developers                  -
    stands   role/main-nodes                                     -                           EC2_LINUX                                              -
    Principals without an account are of 111122223333.
    Mappings in brackets are what an import makes.

    One by one:
      blocked role/AWSReservedSSO_PlatformAdmin_0123456789abcdef (mapRoles line 8)
        a role of IAM Identity Center has a path, which aws-auth leaves out and an access entry needs, and IAM was
        not read; declare it by its permission set or by its full ARN, or let IAM be read
      new     arn:aws:iam::444455556666:role/developers
        its ARN is used as written, for the IAM of account 444455556666 was not read; should the role have a path,
        EKS says 'invalid principal'

    What differs in an access entry:
      group "on-call" is given too
        for user/people/maria

    Lets nobody in, so there is nothing to hand over:
      mapRoles line 17: arn:aws:iam::111122223333:role/teams/data/data-reader: its ARN has the role's path, and
        the authenticator sees roles without their path: it would have to be
        arn:aws:iam::111122223333:role/data-reader

    Beside it:
      arn:aws:iam::111122223333:role/terraform (STANDARD, an administrator, as the cluster's creator is by EKS's
        own doing)
      arn:aws:iam::444455556666:role/observability (STANDARD)

    Step by step:
      1. Hand over 2 principals
         - aws-auth is backed up first; each access entry is made, verified, and only then its entry of aws-auth
           goes
         - 2 more are declared and in no backend yet: nothing has to be handed over for an access entry of theirs
         - entries of aws-auth stay beside their access entries for 24h as the way back (--soak); `migrate revert`
           goes back until then
           identity-mapper migrate apply
           identity-mapper migrate status
      2. Clear what keeps 1 principal in aws-auth
         - each is named above with what can be done; `migrate plan --to API` says when nobody is left
      3. Change the mode to API, for good
         - aws-auth is not read any more: whoever stands there alone is out, and EKS never goes back
           identity-mapper migrate plan --to API
           identity-mapper migrate apply --to API --confirm main
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
    in all:   4 blocked, 4 stay, 14 move, 1 entry of aws-auth lets nobody in

    VERDICT  PRINCIPAL                                           MAPPING                                 ACCESS ENTRY                                           IN API NOW
    blocked  role/AWSReservedSSO_Developer_fedcba9876543210      (developer.sso-fedcba)                  dev:{{SessionName}}: developers                        lost
    blocked  role/AWSReservedSSO_PlatformAdmin_0123456789abcdef  (platformadmin.sso-012345)              platform:{{SessionName}}: AmazonEKSClusterAdminPolicy  lost
    blocked  role/hybrid                                         -                                       -                                                      lost
    blocked  user/bob                                            -                                       -                                                      lost
    stays    (any of account 777788889999)                       -                                       -                                                      lost
    stays    role/AWSServiceRoleForAmazonEMRContainers           (awsserviceroleforamazonemrcontainers)  -                                                      lost
    stays    role/legacy-viewer                                  (legacy-viewer)                         -                                                      lost
    stays    role/no-colon                                       (no-colon)                              -                                                      lost
    moves    role/break-glass                                    (break-glass)                           break-glass: on-call, AmazonEKSClusterAdminPolicy      lost
    moves    role/ci-deployer                                    (ci-deployer)                           ci: auditors, deployers                                lost
    moves    role/fargate                                        (fargate)                               FARGATE_LINUX                                          lost
    moves    role/main-nodes                                     (main-nodes)                            EC2_LINUX                                              lost
    moves    role/team-1                                         (team-1)                                team-1:{{SessionName}}: team-1                         lost
    moves    role/team-2                                         (team-2)                                team-2:{{SessionName}}: team-2                         lost
    moves    role/team-3                                         (team-3)                                team-3:{{SessionName}}: team-3                         lost
    moves    role/team-4                                         (team-4)                                team-4:{{SessionName}}: team-4                         lost
    moves    role/team-5                                         (team-5)                                team-5:{{SessionName}}: team-5                         lost
    moves    role/team-6                                         (team-6)                                team-6:{{SessionName}}: team-6                         lost
    moves    role/terraform                                      (terraform)                             EKS's username: AmazonEKSClusterAdminPolicy            lost
    moves    role/windows                                        (windows)                               EC2_WINDOWS                                            lost
    moves    user/people/maria                                   (maria.user)                            maria: developers                                      lost
    moves    arn:aws:iam::444455556666:role/observability        (observability.444455556666)            observability: metrics-readers                         lost
    Principals without an account are of 111122223333.
    Mappings in brackets are what an import makes.

    One by one:
      blocked role/AWSReservedSSO_Developer_fedcba9876543210 (mapRoles line 6)
              role/AWSReservedSSO_PlatformAdmin_0123456789abcdef (mapRoles line 5)
        a role of IAM Identity Center has a path, which aws-auth leaves out and an access entry needs, and IAM was
        not read; declare it by its permission set or by its full ARN, or let IAM be read
      blocked role/hybrid (mapRoles line 4)
        nodes of several types sign in as "system:node:{{SessionName}}", and aws-auth does not tell which these
        are: declare the role with its type and adoption: Always. HybridLinux, FargateLinux, HyperPodLinux, or EC2
        for nodes of EKS Auto Mode and nodes that are named after their instance; a type that names nodes
        otherwise, as EC2Linux does, would throw them out
      blocked user/bob (mapUsers line 2, mapUsers line 3)
        mapUsers holds this ARN on lines 2, 3 in spellings that differ in case, of which the authenticator picks
        one at random at each login; remove all but one by hand
      stays   (any of account 777788889999) (mapAccounts line 1)
        an access entry is one principal's, so a whole account can't have one: declare those who need to get in,
        then take the account out of mapAccounts
      stays   role/AWSServiceRoleForAmazonEMRContainers (mapRoles line 11)
        spec.principal: arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers is a service-linked
        role, for which EKS accepts access entries from its own AWS service only; in authentication mode API
        nothing here can grant it: the AWS service whose role it is makes its own access entry, usually when it is
        enabled for the cluster; AWS has made none so far
      stays   role/legacy-viewer (mapRoles line 12)
        spec.groups: "system:viewers" begins with "system:", which EKS reserves in access entries; bind its roles
        to a group of your own as well, and write that one
      stays   role/no-colon (mapRoles line 13)
        spec.username: "reader-{{SessionName}}" has no colon before {{SessionName}}, which EKS demands of access
        entries; write it as in "reader-:{{SessionName}}"
      moves   role/ci-deployer (mapRoles line 8)
        mapRoles line 7 names it too and is passed over: the authenticator takes the last of a list, and mapRoles
        before mapUsers
      moves   role/fargate (mapRoles line 3)
              role/main-nodes (mapRoles line 1)
              role/windows (mapRoles line 2)
        EKS makes this entry itself when the mode changes, where the role is a managed node group's or a Fargate
        profile's
      moves   arn:aws:iam::444455556666:role/observability (mapRoles line 15)
        its ARN is used as written, for the IAM of account 444455556666 was not read; should the role have a path,
        EKS says 'invalid principal'

    What differs in an access entry:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization
        altogether; the policy is a decision of EKS's authorizer: it can be taken away at any time, and is dropped
        where the caller impersonates someone else (kubectl --as)
        for role/break-glass, role/terraform
      group system:bootstrappers is dropped: nodes on EKS sign in as nodes from the first moment, and EKS leaves
        it out of its own access entries too
        for role/fargate, role/main-nodes, role/windows
      the username of 4 principals is left to EKS, which gives the same as aws-auth does now

    Lets nobody in, so there is nothing to hand over:
      mapRoles line 10: arn:aws:iam::111122223333:role/teams/data/data-reader: its ARN has the role's path, and
        the authenticator sees roles without their path: it would have to be
        arn:aws:iam::111122223333:role/data-reader

    Step by step:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes, and nothing from anyone: aws-auth is read as before, access entries come first
         - EKS makes an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for each
           role of its managed node groups and Fargate profiles; self-managed nodes get none
         - there is no way back to CONFIG_MAP
         - `migrate plan --to API_AND_CONFIG_MAP` shows how Terraform, eksctl and CloudFormation change it;
           `migrate apply --await-mode` then waits for them
           identity-mapper migrate apply --confirm main
      2. Hand over 14 principals
         - aws-auth is backed up first; each access entry is made, verified, and only then its entry of aws-auth
           goes
         - 14 of them are declared by no mapping: --import makes mappings of them
         - 2 have their power from system:masters: an access entry is made without policies and wins at once, so
           group identity-mapper:bridge is bound to cluster-admin meanwhile, and the binding is taken away at the
           end
         - entries of aws-auth stay beside their access entries for 24h as the way back (--soak); `migrate revert`
           goes back until then
         - entries of nodes stay in aws-auth for good: running nodes must never lose both
           identity-mapper migrate apply --import
           identity-mapper migrate status
      3. Clear what keeps 8 principals in aws-auth
         - each is named above with what can be done; `migrate plan --to API` says when nobody is left
      4. Change the mode to API, for good
         - aws-auth is not read any more: whoever stands there alone is out, and EKS never goes back
           identity-mapper migrate plan --to API
           identity-mapper migrate apply --to API --confirm main
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
    in all:   1 moves

    VERDICT  PRINCIPAL  MAPPING  ACCESS ENTRY                      IN API NOW
    moves    role/ops   (ops)    ops: AmazonEKSClusterAdminPolicy  lost
    Principals without an account are of 111122223333.
    Mappings in brackets are what an import makes.

    What differs in an access entry:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization
        altogether; the policy is a decision of EKS's authorizer: it can be taken away at any time, and is dropped
        where the caller impersonates someone else (kubectl --as)
        for role/ops

    Step by step:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes, and nothing from anyone: aws-auth is read as before, access entries come first
         - EKS makes an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for each
           role of its managed node groups and Fargate profiles; self-managed nodes get none
         - there is no way back to CONFIG_MAP
         - `migrate plan --to API_AND_CONFIG_MAP` shows how Terraform, eksctl and CloudFormation change it;
           `migrate apply --await-mode` then waits for them
           identity-mapper migrate apply --confirm main
      2. Hand over 1 principal
         - aws-auth is backed up first; each access entry is made, verified, and only then its entry of aws-auth
           goes
         - 1 of them is declared by no mapping: --import makes mappings of them
         - one has its power from system:masters: an access entry is made without policies and wins at once, so
           group identity-mapper:bridge is bound to cluster-admin meanwhile, and the binding is taken away at the
           end
         - entries of aws-auth stay beside their access entries for 24h as the way back (--soak); `migrate revert`
           goes back until then
           identity-mapper migrate apply --import
           identity-mapper migrate status

    How the mode is set:
      Terraform, aws_eks_cluster
          access_config {
            authentication_mode                         = "API_AND_CONFIG_MAP"
            bootstrap_cluster_creator_admin_permissions = true # exactly what the state says
          }
        ! a change of bootstrap_cluster_creator_admin_permissions REPLACES THE CLUSTER. It counts as true where it
          is left out, and the state of a cluster that was made without access_config by an older provider says
          false: look at `terraform state show`, write what stands there, and apply only a plan without "forces
          replacement"; or add lifecycle { ignore_changes =
          [access_config[0].bootstrap_cluster_creator_admin_permissions] }
      Terraform, terraform-aws-modules/eks
          authentication_mode = "API_AND_CONFIG_MAP"
        ! versions 20 and 21 set API_AND_CONFIG_MAP where nothing is written, so an upgrade from 19 changes the
          mode by itself; version 21 has no aws-auth submodule any more: let go of its ConfigMap first (removed or
          state rm), or it is deleted with everyone in it
        ! the module pins bootstrap_cluster_creator_admin_permissions to false and ignores changes of it from
          20.13.1 on; an older one REPLACES THE CLUSTER where the state says true
        ! enable_cluster_creator_admin_permissions = true makes an access entry of whoever runs Terraform: it
          fails where EKS made that entry on the change of the mode; import it then
      eksctl
          eksctl utils update-authentication-mode --cluster main --region eu-west-1 --authentication-mode API_AND_CONFIG_MAP
          # in the ClusterConfig:
          accessConfig:
            authenticationMode: API_AND_CONFIG_MAP
      CloudFormation, AWS::EKS::Cluster
          AccessConfig:
            AuthenticationMode: API_AND_CONFIG_MAP
        ! a change of BootstrapClusterCreatorAdminPermissions REPLACES THE CLUSTER: leave it as the template has
          it, also where it has none
      AWS CLI
          aws eks update-cluster-config --name main --region eu-west-1 --access-config authenticationMode=API_AND_CONFIG_MAP

    Nobody would lose access by being in API_AND_CONFIG_MAP now.
    "#);
}

#[test]
fn the_step_to_api_is_closed_while_aws_auth_alone_lets_someone_in() {
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
            "\nWould lose access by being in API now:\n  arn:aws:iam::111122223333:role/ops\n--- stderr\nerror: 1 principal would lose access by \
             being in API now\n"
        ),
        "{closed}"
    );
    let open = to_api(&all);
    assert!(open.starts_with("exit code 0\n"), "{open}");
    assert!(
        open.ends_with("\nNobody would lose access by being in API now.\n"),
        "{open}"
    );
    assert!(open.contains("authenticationMode=API\n"), "{open}");
    // Once it has been set, a pipeline that asks again goes on.
    let there = plan(&text, "API", &["--access-entries", &all, "--to", "API"]);
    assert!(there.starts_with("exit code 0\n"), "{there}");
    assert!(
        there.ends_with("\nThe cluster is in API already: there is nothing to change.\n"),
        "{there}"
    );
    // What can't be read may let someone in.
    let broken = text.replace("- {", "- {{");
    let more = ["--access-entries", all.as_str(), "--to", "API"];
    let broken = plan(&broken, "API_AND_CONFIG_MAP", &more);
    assert!(broken.starts_with("exit code 1\n"), "{broken}");
    assert!(
        broken
            .contains("nobody can tell who would lose access in API, for mapRoles does not parse"),
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
        ("API", &["--to=api"]),
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
    assert_snapshot!(shown, @r#"
    CONFIG_MAP --to=API: error: EKS takes a cluster from CONFIG_MAP to API in two steps only: go to API_AND_CONFIG_MAP first, hand everyone over, then go to API
    API_AND_CONFIG_MAP --to=CONFIG_MAP: error: invalid value 'CONFIG_MAP' for '--to <MODE>': EKS never takes a cluster back to CONFIG_MAP; write API_AND_CONFIG_MAP or API; `migrate revert` takes principals back to aws-auth
    API --to=API_AND_CONFIG_MAP: error: EKS never takes a cluster back from the authentication mode API to API_AND_CONFIG_MAP; from here it can go nowhere
    API --to=api: error: invalid value 'api' for '--to <MODE>': "api" is not an authentication mode of EKS; expected CONFIG_MAP, API_AND_CONFIG_MAP or API
    CONFIG_MAP : error: what an access entry may be depends on the cluster's partition and account: give --cluster-name, or, with files, --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    API : error: in the mode API the cluster counts, for its partition and account: give --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    -f: error: -f is for files in place of a cluster: give --aws-auth too; a live cluster has its mappings in it
    "#);
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
    - principal: arn:aws:iam::111122223333:role/ops
      outcome: moves
      lostInApi: true
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
      - "system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization altogether; the policy is a decision of EKS's authorizer: it can be taken away at any time, and is dropped where the caller impersonates someone else (kubectl --as)"
      bridge: true
    letsNobodyIn:
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
      - "takes some minutes, and nothing from anyone: aws-auth is read as before, access entries come first"
      - >-
        EKS makes an access entry for the cluster's creator, with
        AmazonEKSClusterAdminPolicy, and one for each role of its managed node groups and Fargate profiles;
        self-managed nodes get none
      - there is no way back to CONFIG_MAP
      - "`migrate plan --to API_AND_CONFIG_MAP` shows how Terraform, eksctl and CloudFormation change it; `migrate apply --await-mode` then waits for them"
      commands:
      - identity-mapper migrate apply --confirm main
    - title: Hand over 1 principal
      notes:
      - >-
        aws-auth is backed up first; each access entry is made, verified, and only then
        its entry of aws-auth goes
      - "1 of them is declared by no mapping: --import makes mappings of them"
      - "one has its power from system:masters: an access entry is made without policies and wins at once, so group identity-mapper:bridge is bound to cluster-admin meanwhile, and the binding is taken away at the end"
      - >-
        entries of aws-auth stay beside their access entries for 24h as the way back
        (--soak); `migrate revert` goes back until then
      commands:
      - identity-mapper migrate apply --import
      - identity-mapper migrate status
    - title: Change the mode to API, for good
      notes:
      - "aws-auth is not read any more: whoever stands there alone is out, and EKS never goes back"
      commands:
      - identity-mapper migrate plan --to API
      - identity-mapper migrate apply --to API --confirm main
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
async fn live_with_what_iam_and_eks_know() {
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
    assert_snapshot!(ran.shown(), @r"
    exit code 0
    --- stdout
    cluster:  arn:aws:eks:eu-west-1:111122223333:cluster/test
    mode:     CONFIG_MAP -> API_AND_CONFIG_MAP -> API
    in all:   4 move, 1 gone from IAM

    VERDICT  PRINCIPAL                                                                            MAPPING                 ACCESS ENTRY                                        IN API NOW
    moves    role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef  (admin.sso-012345)      admin:{{SessionName}}: AmazonEKSClusterAdminPolicy  lost
    moves    role/ci/deployer                                                                     (deployer)              deployer: deployers                                 lost
    moves    role/main-nodes                                                                      (main-nodes)            EC2_LINUX                                           lost
    moves    arn:aws:iam::444455556666:role/teams/partner                                         (partner.444455556666)  partner: partners                                   lost
    gone     role/gone                                                                            -                       -                                                   -
    Principals without an account are of 111122223333.
    Mappings in brackets are what an import makes.

    One by one:
      moves   role/main-nodes (mapRoles line 1)
        EKS makes this entry itself when the mode changes, where the role is a managed node group's or a Fargate
        profile's
      gone    role/gone (mapRoles line 4)
        IAM has no such principal, so nobody gets in by it now; while it stands in aws-auth, whoever makes one of
        this name does: take it out, or make the principal again before the handover

    What differs in an access entry:
      system:masters becomes AmazonEKSClusterAdminPolicy for the whole cluster. The group bypasses authorization
        altogether; the policy is a decision of EKS's authorizer: it can be taken away at any time, and is dropped
        where the caller impersonates someone else (kubectl --as)
        for role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef
      group system:bootstrappers is dropped: nodes on EKS sign in as nodes from the first moment, and EKS leaves
        it out of its own access entries too
        for role/main-nodes
      the username of 1 principal is left to EKS, which gives the same as aws-auth does now

    Step by step:
      1. Change the mode to API_AND_CONFIG_MAP
         - takes some minutes, and nothing from anyone: aws-auth is read as before, access entries come first
         - EKS makes an access entry for the cluster's creator, with AmazonEKSClusterAdminPolicy, and one for each
           role of its managed node groups and Fargate profiles; self-managed nodes get none
         - there is no way back to CONFIG_MAP
         - `migrate plan --to API_AND_CONFIG_MAP` shows how Terraform, eksctl and CloudFormation change it;
           `migrate apply --await-mode` then waits for them
           identity-mapper migrate apply --confirm test
      2. Hand over 4 principals
         - aws-auth is backed up first; each access entry is made, verified, and only then its entry of aws-auth
           goes
         - no operator is installed, so the command hands over by itself, and takes each entry of aws-auth as it
           stands
         - one has its power from system:masters: an access entry is made without policies and wins at once, so
           group identity-mapper:bridge is bound to cluster-admin meanwhile, and the binding is taken away at the
           end
         - entries of aws-auth stay beside their access entries for 24h as the way back (--soak); `migrate revert`
           goes back until then
         - entries of nodes stay in aws-auth for good: running nodes must never lose both
           identity-mapper migrate apply
           identity-mapper migrate status
      3. Change the mode to API, for good
         - aws-auth is not read any more: whoever stands there alone is out, and EKS never goes back
           identity-mapper migrate plan --to API
           identity-mapper migrate apply --to API --confirm test
    ");

    // Without a role to assume there the ARN is used as it is written, and that is said.
    let ran = run(&[]).await;
    for words in [
        "its ARN is used as written, for the IAM of account 444455556666 was not read",
        "the IAM of account 444455556666 was not read: no role to assume there is given; give --iam-role",
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
            "\nfirst:    Kubernetes 1.27 has access entries from platform version eks.10 on"
        ),
        "{}",
        ran.stdout
    );
    let ran = run(&["--to=API_AND_CONFIG_MAP"]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("Kubernetes 1.27 has access entries from platform version eks.10 on"),
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
        stands.starts_with("stands") && stands.contains("EC2_LINUX"),
        "{stands}"
    );
    assert!(
        ran.stdout
            .contains("role/terraform (STANDARD, an administrator, as the cluster's creator is"),
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
