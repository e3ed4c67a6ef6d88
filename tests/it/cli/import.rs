//! `identity-mapper import`: from files, and from a cluster whose operator then takes up what was imported.

use std::collections::BTreeMap;
use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Run, run};
use crate::support::eks::{Eks, Entry, Mode, World};
use crate::support::{Cluster, Operator};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// Runs it on the examples, whose folder is left out of what it prints.
fn example(arguments: &str) -> String {
    let arguments = arguments.replace("EXAMPLES", EXAMPLES);
    let all = ["import"].into_iter().chain(arguments.split(' '));
    Run::new(all).run().shown().replace(EXAMPLES, "EXAMPLES")
}

/// An aws-auth of this text of `mapRoles`.
fn aws_auth(roles: &str) -> String {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapRoles": roles},
    });
    object.to_string()
}

#[test]
fn manifests_of_both_backends() {
    assert_snapshot!(example("--aws-auth EXAMPLES/aws-auth.yaml --access-entries EXAMPLES/access-entries.json --mode API_AND_CONFIG_MAP"), @r#"
    exit code 0
    --- stdout
    # Imported by identity-mapper from EXAMPLES/aws-auth.yaml and EXAMPLES/access-entries.json

    # Deployments
    # of all repositories
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: ci-deployer
    spec:
      principal:
        arn: arn:aws:iam::111122223333:role/ci-deployer
      username: ci-deployer
      groups:
      - deployers
    ---
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: maria.user
    spec:
      principal:
        arn: arn:aws:iam::111122223333:user/people/maria
      username: maria
      groups:
      - developers
    ---
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: observability.444455556666
    spec:
      principal:
        arn: arn:aws:iam::444455556666:role/observability
      username: observability:{{SessionName}}
      groups:
      - metrics-readers
      accessPolicies:
      - policy: AmazonEKSViewPolicy
        scope:
          type: Namespace
          namespaces:
          - monitoring
          - team-*
    ---
    # The platform team, by IAM Identity Center
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: platformadmin.sso-012345
    spec:
      principal:
        arn: arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef
      username: platform:{{SessionName}}
      groups:
      - system:masters
    ---
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: terraform
    spec:
      principal:
        arn: arn:aws:iam::111122223333:role/terraform
      accessPolicies:
      - policy: AmazonEKSClusterAdminPolicy
    --- stderr
    5 mappings imported
    left out: it has type EC2_LINUX: EKS creates those of node groups and Fargate profiles itself; --include nodes imports it
      access entry: arn:aws:iam::111122223333:role/main-nodes
    left out: nodes sign in with it, and EKS maintains those of node groups and Fargate profiles; --include nodes imports it
      mapRoles line 2: arn:aws:iam::111122223333:role/main-nodes
    no access: it never matches, because aws-iam-authenticator sees roles without their path; write "arn:aws:iam::111122223333:role/data-reader"
      mapRoles line 17: arn:aws:iam::111122223333:role/teams/data/data-reader
    "#);
}

#[test]
fn what_is_declared_already_is_only_counted() {
    assert_snapshot!(example("--aws-auth EXAMPLES/aws-auth.yaml --mode CONFIG_MAP -f EXAMPLES/mappings"), @r#"
    exit code 0
    --- stdout
    # Imported by identity-mapper from EXAMPLES/aws-auth.yaml

    # The platform team, by IAM Identity Center
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: platformadmin.sso-012345
    spec:
      principal:
        arn: arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef
      username: platform:{{SessionName}}
      groups:
      - system:masters
    --- stderr
    1 mapping imported; 2 entries are already declared
    left out: nodes sign in with it, and EKS maintains those of node groups and Fargate profiles; --include nodes imports it
      mapRoles line 2: arn:aws:iam::111122223333:role/main-nodes
    no access: it never matches, because aws-iam-authenticator sees roles without their path; write "arn:aws:iam::111122223333:role/data-reader"
      mapRoles line 17: arn:aws:iam::111122223333:role/teams/data/data-reader
    "#);
    assert_snapshot!(example("--aws-auth EXAMPLES/aws-auth.yaml --mode API --cluster-arn arn:aws:eks:eu-west-1:111122223333:cluster/main"), @"
    exit code 0
    --- stderr
    0 mappings imported
    without effect: the cluster does not read aws-auth in API mode, so it grants no access
      mapRoles: 4 entries
      mapUsers: 1 entry
    ");
}

#[test]
fn a_list_as_json() {
    assert_snapshot!(example("--aws-auth EXAMPLES/aws-auth.yaml --mode CONFIG_MAP --include nodes -f EXAMPLES/mappings -o json"), @r#"
    exit code 0
    --- stdout
    {
      "apiVersion": "v1",
      "kind": "List",
      "items": [
        {
          "apiVersion": "identity-mapper.dev/v1alpha1",
          "kind": "IdentityMapping",
          "metadata": {
            "name": "main-nodes"
          },
          "spec": {
            "principal": {
              "arn": "arn:aws:iam::111122223333:role/main-nodes"
            },
            "type": "EC2Linux"
          }
        },
        {
          "apiVersion": "identity-mapper.dev/v1alpha1",
          "kind": "IdentityMapping",
          "metadata": {
            "name": "platformadmin.sso-012345"
          },
          "spec": {
            "groups": [
              "system:masters"
            ],
            "principal": {
              "arn": "arn:aws:iam::111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef"
            },
            "username": "platform:{{SessionName}}"
          }
        }
      ],
      "imported": [
        {
          "name": "main-nodes",
          "from": {
            "key": "mapRoles",
            "line": 2
          },
          "comments": [
            "Written by EKS for the node group"
          ],
          "notes": []
        },
        {
          "name": "platformadmin.sso-012345",
          "from": {
            "key": "mapRoles",
            "line": 8
          },
          "comments": [
            "The platform team, by IAM Identity Center"
          ],
          "notes": []
        }
      ],
      "notImported": [
        {
          "what": "arn:aws:iam::111122223333:role/teams/data/data-reader",
          "from": {
            "key": "mapRoles",
            "line": 17
          },
          "reason": "LetsNobodyIn",
          "message": "it never matches, because aws-iam-authenticator sees roles without their path; write \"arn:aws:iam::111122223333:role/data-reader\""
        }
      ],
      "declared": [
        {
          "mapping": "ci-deployer",
          "from": {
            "key": "mapRoles",
            "line": 13
          }
        },
        {
          "mapping": "maria",
          "from": {
            "key": "mapUsers",
            "line": 1
          }
        }
      ]
    }
    "#);
}

#[test]
fn a_key_that_does_not_parse_is_an_error() {
    let ran = run(
        &["import", "--aws-auth=-", "--mode=CONFIG_MAP"],
        aws_auth("- rolearn: arn:aws:iam::111122223333:role/a\n  username: {{SessionName}}\n"),
    );
    assert_snapshot!(ran, @r#"
    exit code 1
    --- stderr
    error: unquoted template in username: write "{{SessionName}}"
     --> mapRoles:2:13
      |
    2 |   username: {{SessionName}}
      |             ^^^^^^^^^^^^^^^ all of mapRoles is dropped
    error: mapRoles is invalid YAML; fix it first (`identity-mapper lint`)
    "#);
    assert_snapshot!(run(&["import", "--aws-auth=-"], aws_auth("")), @"
    exit code 0
    --- stderr
    0 mappings imported
    ");
}

#[test]
fn a_file_for_each_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/mappings");
    let path = path.to_str().unwrap();
    let write = |roles: &str, more: &[&str]| {
        let arguments = [
            "import",
            "--aws-auth=-",
            "--mode=CONFIG_MAP",
            "--output-dir",
            path,
        ];
        let ran = run(&[&arguments, more].concat(), aws_auth(roles));
        ran.replace(folder.path().to_str().unwrap(), "FOLDER")
    };
    let one = "# of a\n- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n- rolearn: arn:aws:iam::111122223333:role/b\n  username: b\n";
    assert_snapshot!(write(one, &[]), @"
    exit code 0
    --- stdout
    FOLDER/new/mappings/a.111122223333.yaml
    FOLDER/new/mappings/b.111122223333.yaml
    --- stderr
    2 mappings imported
    ");
    let read = |name: &str| fs::read_to_string(format!("{path}/{name}.111122223333.yaml")).unwrap();
    assert_snapshot!(read("a"), @"
    # of a
    apiVersion: identity-mapper.dev/v1alpha1
    kind: IdentityMapping
    metadata:
      name: a.111122223333
    spec:
      principal:
        arn: arn:aws:iam::111122223333:role/a
      username: a
    ");
    // The same again is no change.
    assert!(write(one, &[]).starts_with("exit code 0"));
    let other = one.replace("username: b", "username: c");
    assert_snapshot!(write(&other, &[]), @"
    exit code 1
    --- stderr
    error: nothing was written: FOLDER/new/mappings/b.111122223333.yaml exists already with other content; add --force to overwrite, or choose another --output-dir
    ");
    assert!(read("b").contains("username: b"));
    assert!(write(&other, &["--force"]).starts_with("exit code 0"));
    assert!(read("b").contains("username: c"));
}

/// What people write, in most of the ways in which they write it.
const ROLES: &str = "\
# nodes, made by EKS
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}

# of both
- &base
  rolearn: arn:aws:iam::111122223333:role/base # first
  username: base:{{SessionName}}
  groups: &g [ops, 'dev']
- <<: *base
  rolearn: 'arn:aws:iam::111122223333:role/merged'
- rolearn: >-
    arn:aws:iam::111122223333:role/folded
  username: |-
    folded
  groups: *g
- {rolearn: \"arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef\", username: \"admin:{{SessionName}}\", groups: [system:masters]}
- RoleARN: arn:aws:iam::444455556666:role/Partner_Team
  Username: partner
- rolearn: arn:aws:iam::111122223333:role/twice
  username: old
- rolearn: arn:aws:iam::111122223333:role/Twice
  username: new
- rolearn: arn:aws:iam::111122223333:role/AWSServiceRoleForBatch
  username: batch
  groups: alone
- rolearn: arn:aws:iam::111122223333:role/teams/dead
  username: dead
- rolearn: arn:aws:iam::111122223333:role/default
  username: arn:aws:sts::111122223333:assumed-role/default/{{SessionName}}
  groups:   # of the default
    - team
- rolearn: arn:aws:iam::111122223333:role/both
  username: both
  groups: [system:masters]
- null
# the end
";

const USERS: &str = "[{\"userarn\": \"arn:aws:iam::111122223333:user/people/maria\", \"username\": \"m\\u0061ria\", \"groups\": [\"dev\"]}]";

/// IAM of a cluster with all of these.
fn world(cluster: &Cluster, mode: Mode) -> World {
    let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
        .mode(mode)
        .api_server(&cluster.authority(), cluster.url());
    let own = "111122223333";
    for name in [
        "node", "folded", "twice", "default", "both", "direct", "auto",
    ] {
        world.role(own, "/", name);
    }
    for (path, name) in [
        ("/teams/", "base"),
        ("/teams/", "merged"),
        ("/teams/", "dead"),
        (
            "/aws-reserved/sso.amazonaws.com/eu-west-1/",
            "AWSReservedSSO_Admin_0123456789abcdef",
        ),
        (
            "/aws-service-role/batch.amazonaws.com/",
            "AWSServiceRoleForBatch",
        ),
        (
            "/aws-service-role/eks.amazonaws.com/",
            "AWSServiceRoleForAmazonEKS",
        ),
    ] {
        world.role(own, path, name);
    }
    world.role("444455556666", "/", "Partner_Team");
    world.user(own, "/people/", "maria");
    world.user(own, "/ops/", "ann");
    world
}

/// The access entries that people made, and those that AWS made.
fn make_entries(eks: &Eks) {
    let arn = |name: &str| format!("arn:aws:iam::111122223333:{name}");
    let by_hand = |operation: &str, input: Value| {
        eks.by_hand(operation, input).unwrap();
    };
    for (name, username, groups) in [
        ("role/both", Some("both"), json!([])),
        (
            "role/direct",
            Some("direct:{{SessionName}}"),
            json!(["team"]),
        ),
        ("user/ops/ann", None, json!(["team"])),
    ] {
        let mut input = json!({"principalArn": arn(name), "kubernetesGroups": groups, "tags": {"team": "blue"}});
        if let Some(username) = username {
            input["username"] = json!(username);
        }
        by_hand("CreateAccessEntry", input);
    }
    let policy = |name: &str| format!("arn:aws:eks::aws:cluster-access-policy/{name}");
    for (name, of, scope) in [
        (
            "role/both",
            "AmazonEKSClusterAdminPolicy",
            json!({"type": "cluster"}),
        ),
        (
            "role/direct",
            "AmazonEKSViewPolicy",
            json!({"type": "cluster"}),
        ),
        (
            "role/direct",
            "AmazonEKSEditPolicy",
            json!({"type": "namespace", "namespaces": ["dev-*", "a"]}),
        ),
    ] {
        let input =
            json!({"principalArn": arn(name), "policyArn": policy(of), "accessScope": scope});
        by_hand("AssociateAccessPolicy", input);
    }
    let mut world = eks.world();
    for (name, type_, tag) in [
        ("role/node", "EC2_LINUX", None),
        (
            "role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS",
            "STANDARD",
            None,
        ),
        ("role/auto", "STANDARD", Some("aws:eks:managed")),
    ] {
        let id = world.find(&arn(name)).map(|principal| principal.id.clone());
        let mut entry = Entry::new(&world.cluster, &arn(name), type_, id, world.now).unwrap();
        entry
            .tags
            .extend(tag.map(|tag| (tag.to_owned(), "true".to_owned())));
        world.standing_entry(entry);
    }
}

/// The access entries without our tags.
fn entries(eks: &Eks) -> BTreeMap<String, Entry> {
    let world = eks.world();
    let entries = world.cluster.entries.iter().map(|(arn, entry)| {
        let mut entry = Entry::clone(entry);
        entry
            .tags
            .retain(|tag, _| !tag.starts_with("identity-mapper.dev/"));
        (arn.clone(), entry)
    });
    entries.collect()
}

/// What is imported and applied the operator takes up, and changes nothing but its marks.
async fn round_trip(mode: Mode, format: &str, expected: &[&str]) {
    let cluster = Cluster::with_operator_rights().await;
    let data = json!({"mapRoles": ROLES, "mapUsers": USERS, "mapAccounts": "- \"777788889999\"\n", "notes": "who: platform\n"});
    cluster.seed(data.clone()).await;
    let eks = Eks::start(world(&cluster, mode)).await;
    if mode != Mode::ConfigMap {
        make_entries(&eks);
    }
    let before = entries(&eks);
    let import = async |more: &[&str]| {
        let arguments = ["import", "--cluster-name=test", "--include=nodes"];
        let run = Run::new([&arguments, more].concat())
            .on(&cluster)
            .with(&eks);
        let ran = run.run_aside().await;
        assert_eq!(ran.code, 0, "{}", ran.shown());
        ran
    };
    let ran = import(&["-o", format]).await;
    let applied = cluster.kubectl_ok(&["apply", "-f", "-", "-o", "name"], Some(&ran.stdout));
    let mut names: Vec<&str> = applied
        .lines()
        .filter_map(|line| line.split('/').nth(1))
        .collect();
    names.sort_unstable();
    assert_eq!(names, expected, "{}", ran.shown());
    let _operator = Operator::start_in(&cluster, &eks, &["--propagation=1s"]).await;
    for name in &names {
        cluster.ready(name).await;
    }
    let aws_auth = cluster.config_maps().get("aws-auth").await.unwrap();
    assert_eq!(json!(aws_auth.data), data);
    let marked = aws_auth.metadata.annotations.unwrap_or_default();
    let owned = marked.get("identity-mapper.dev/managed");
    assert_eq!(owned.is_some(), mode != Mode::Api, "{marked:?}");
    assert_eq!(entries(&eks), before);
    let again = import(&[]).await;
    assert_eq!(again.stdout, "", "{}", again.shown());
}

#[tokio::test]
async fn what_is_imported_from_aws_auth_is_taken_up_as_it_is() {
    let expected = [
        "admin.sso-012345",
        "awsserviceroleforbatch",
        "base",
        "both",
        "default",
        "folded",
        "maria.user",
        "merged",
        "node",
        "partner-team.444455556666.e5c6cddb",
        "twice",
    ];
    round_trip(Mode::ConfigMap, "json", &expected).await;
}

#[tokio::test]
async fn what_is_imported_from_both_backends_is_taken_up_as_it_is() {
    let expected = [
        "admin.sso-012345",
        "ann.user",
        "awsserviceroleforbatch",
        "base",
        "both",
        "default",
        "direct",
        "folded",
        "maria.user",
        "merged",
        "node",
        "partner-team.444455556666.e5c6cddb",
        "twice",
    ];
    round_trip(Mode::ApiAndConfigMap, "yaml", &expected).await;
}

#[tokio::test]
async fn what_is_imported_from_access_entries_is_taken_up_as_it_is() {
    round_trip(Mode::Api, "yaml", &["ann.user", "both", "direct", "node"]).await;
}
