//! `identity-mapper lint` without a cluster, run as people run it.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use super::{Run, run};

const BROKEN: &str = r"apiVersion: v1
kind: ConfigMap
metadata:
  name: aws-auth
  namespace: kube-system
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/node
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
    - rolearn: arn:aws:iam::111122223333:role/team/dev  # developers
      username: dev:{{SessionName}}
      groups: [developers]
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/people/jane
      username: jane
      groups: [system:master]
";

fn lint(text: &str) -> String {
    run(&["lint", "-"], text)
}

#[test]
fn each_finding_has_place_reason_and_fix() {
    assert_snapshot!(lint(BROKEN), @r#"
    exit code 1
    --- stdout
    error[IM020]: role path in `rolearn`
      --> standard input:11:16
       |
    11 |     - rolearn: arn:aws:iam::111122223333:role/team/dev  # developers
       |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never matches: the principal has no access
       |
       = note: aws-iam-authenticator sees roles without their path, so an entry with a path never matches
       = help: write arn:aws:iam::111122223333:role/dev (fixed by --fix)

    error[IM041]: misspelled group "system:master"
      --> standard input:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which grants nothing
       |
       = note: groups are compared character by character: no binding names this one
       = help: write "system:masters", if that is the intended group

    2 errors; 1 fixable with --fix
    "#);
}

#[test]
fn other_forms() {
    assert_snapshot!(run(&["lint", "-", "-o", "json"], BROKEN), @r#"
    exit code 1
    --- stdout
    {
      "findings": [
        {
          "code": "IM020",
          "severity": "error",
          "source": "standard input",
          "line": 11,
          "column": 16,
          "endLine": 11,
          "endColumn": 55,
          "title": "role path in `rolearn`",
          "effect": "never matches: the principal has no access",
          "why": "aws-iam-authenticator sees roles without their path, so an entry with a path never matches",
          "fix": "write arn:aws:iam::111122223333:role/dev",
          "fixable": true
        },
        {
          "code": "IM041",
          "severity": "error",
          "source": "standard input",
          "line": 17,
          "column": 16,
          "endLine": 17,
          "endColumn": 29,
          "title": "misspelled group \"system:master\"",
          "effect": "the authenticator sees the group \"system:master\", which grants nothing",
          "why": "groups are compared character by character: no binding names this one",
          "fix": "write \"system:masters\", if that is the intended group",
          "fixable": false
        }
      ]
    }
    "#);
    assert_snapshot!(run(&["lint", "-", "-o", "github"], BROKEN), @r#"
    exit code 1
    --- stdout
    ::error file=standard input,line=11,col=16,title=IM020%3A role path in `rolearn`::never matches: the principal has no access%0Aaws-iam-authenticator sees roles without their path, so an entry with a path never matches%0Afix: write arn:aws:iam::111122223333:role/dev
    ::error file=standard input,line=17,col=16,title=IM041%3A misspelled group "system%3Amaster"::the authenticator sees the group "system:master", which grants nothing%0Agroups are compared character by character: no binding names this one%0Afix: write "system:masters", if that is the intended group
    "#);
}

#[test]
fn what_is_right_is_no_failure() {
    let text = BROKEN
        .replace("team/dev", "dev")
        .replace("system:master", "system:masters");
    assert_snapshot!(lint(&text), @"
    exit code 0
    --- stdout
    No problems found.
    ");
}

#[test]
fn a_warning_alone_is_no_failure() {
    let text = BROKEN
        .replace("team/dev", "dev")
        .replace("system:master", "system:admins");
    let shown = lint(&text);
    assert!(shown.starts_with("exit code 0\n"), "{shown}");
    assert!(shown.contains("warning[IM055]"), "{shown}");
}

#[test]
fn stdin_is_fixed_to_stdout() {
    assert_snapshot!(run(&["lint", "-", "--fix"], BROKEN), @r#"
    exit code 1
    --- stdout
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: aws-auth
      namespace: kube-system
    data:
      mapRoles: |
        - rolearn: arn:aws:iam::111122223333:role/node
          username: system:node:{{EC2PrivateDNSName}}
          groups: [system:bootstrappers, system:nodes]
        - rolearn: arn:aws:iam::111122223333:role/dev  # developers
          username: dev:{{SessionName}}
          groups: [developers]
      mapUsers: |
        - userarn: arn:aws:iam::111122223333:user/people/jane
          username: jane
          groups: [system:master]
    --- stderr
    --- standard input
    +++ standard input
    @@ -8,7 +8,7 @@
         - rolearn: arn:aws:iam::111122223333:role/node
           username: system:node:{{EC2PrivateDNSName}}
           groups: [system:bootstrappers, system:nodes]
    -    - rolearn: arn:aws:iam::111122223333:role/team/dev  # developers
    +    - rolearn: arn:aws:iam::111122223333:role/dev  # developers
           username: dev:{{SessionName}}
           groups: [developers]
       mapUsers: |

    Access changes:
      arn:aws:iam::111122223333:role/dev as dev:{{SessionName}} in groups developers

    error[IM041]: misspelled group "system:master"
      --> standard input:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which grants nothing
       |
       = note: groups are compared character by character: no binding names this one
       = help: write "system:masters", if that is the intended group

    1 error
    "#);
}

#[test]
fn files_are_fixed_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("aws-auth.yaml", BROKEN);
    write(
        "team.yaml",
        "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {name: team}\nspec:\n  principal: {arn: arn:aws:iam::111122223333:role/team}\n  groups: [on] # kept\n",
    );
    write("other.yaml", "kind: Deployment\n");
    let shown = in_folder(folder.path(), &["lint", ".", "--fix"]);
    assert_snapshot!(shown, @r#"
    exit code 1
    --- stdout
    --- ./aws-auth.yaml
    +++ ./aws-auth.yaml
    @@ -8,7 +8,7 @@
         - rolearn: arn:aws:iam::111122223333:role/node
           username: system:node:{{EC2PrivateDNSName}}
           groups: [system:bootstrappers, system:nodes]
    -    - rolearn: arn:aws:iam::111122223333:role/team/dev  # developers
    +    - rolearn: arn:aws:iam::111122223333:role/dev  # developers
           username: dev:{{SessionName}}
           groups: [developers]
       mapUsers: |

    Access changes:
      arn:aws:iam::111122223333:role/dev as dev:{{SessionName}} in groups developers

    --- ./team.yaml
    +++ ./team.yaml
    @@ -3,4 +3,4 @@
     metadata: {name: team}
     spec:
       principal: {arn: arn:aws:iam::111122223333:role/team}
    -  groups: [on] # kept
    +  groups: ["on"] # kept

    Written: ./aws-auth.yaml, ./team.yaml

    error[IM041]: misspelled group "system:master"
      --> ./aws-auth.yaml:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which grants nothing
       |
       = note: groups are compared character by character: no binding names this one
       = help: write "system:masters", if that is the intended group

    1 error
    "#);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        read("aws-auth.yaml"),
        BROKEN.replace("role/team/dev", "role/dev")
    );
    assert!(read("team.yaml").ends_with("groups: [\"on\"] # kept\n"));
    assert_eq!(read("other.yaml"), "kind: Deployment\n");
}

fn in_folder(folder: &Path, arguments: &[&str]) -> String {
    Run::new(arguments).within(folder).run().shown()
}

#[test]
fn what_is_neither_is_refused_and_nothing_is_printed() {
    assert_snapshot!(lint("kind: Deployment\n"), @"
    exit code 1
    --- stderr
    error: neither an aws-auth ConfigMap nor an IdentityMapping in standard input; --allow-empty accepts that
    ");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("junk.yaml"), "a: 1\n").unwrap();
    assert_snapshot!(in_folder(folder.path(), &["lint", "junk.yaml"]), @"
    exit code 1
    --- stderr
    error: neither an aws-auth ConfigMap nor an IdentityMapping in junk.yaml; --allow-empty accepts that
    ");
    assert_snapshot!(run(&["lint", "/nowhere/aws-auth.yaml"], ""), @"
    exit code 1
    --- stderr
    error: cannot read /nowhere/aws-auth.yaml: No such file or directory (os error 2)
    ");
    assert_snapshot!(run(&["lint", "-", "-o", "xml"], ""), @"
    exit code 1
    --- stderr
    error: invalid value 'xml' for '--output <OUTPUT>'
      [possible values: text, json, github, sarif, junit]

    For more information, try '--help'.
    ");
}

const AUTO_NODES: &str = "\
apiVersion: identity-mapper.dev/v1alpha1
kind: IdentityMapping
metadata: {name: viewers}
spec:
  principal: {arn: arn:aws:iam::111122223333:role/auto}
  accessPolicies: [{policy: AmazonEKSViewPolicy}]
  backend: AccessEntry
---
apiVersion: identity-mapper.dev/v1alpha1
kind: IdentityMapping
metadata: {name: team}
spec:
  principal: {arn: arn:aws:iam::111122223333:role/team}
  groups: [team]
---
kind: ConfigMap
metadata: {name: aws-auth}
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/team
      username: by-hand
      groups: [team]
";

/// A role of IAM Identity Center always has a path, and only an access entry needs it.
#[test]
fn lint_with_a_mode_knows_that_an_access_entry_needs_the_path_of_a_permission_set_s_role() {
    let manifest = |path: &str| {
        format!(
            "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {{name: a}}\nspec:\n  principal: {{arn: \
             \"arn:aws:iam::111122223333:role/{path}AWSReservedSSO_Admins_0123456789abcdef\"}}\n  groups: [g]\n"
        )
    };
    let cluster = "--cluster-arn=arn:aws:eks:eu-west-1:111122223333:cluster/main";
    let with_path = manifest("aws-reserved/sso.amazonaws.com/eu-west-1/");
    for (mode, text, found) in [
        ("--mode=CONFIG_MAP", manifest(""), false),
        ("--mode=API_AND_CONFIG_MAP", manifest(""), true),
        ("--mode=API", manifest(""), true),
        ("--mode=API", with_path, false),
    ] {
        let said = run(&["lint", "-", mode, cluster], text.as_str());
        let words = "a role of IAM Identity Center always has a path";
        assert_eq!(said.contains(words), found, "{mode} {text}: {said}");
        assert_eq!(said.starts_with("exit code 1"), found, "{said}");
    }
}

#[test]
fn lint_with_a_mode_reports_inactive_mappings() {
    assert_snapshot!(lint(AUTO_NODES), @r#"
    exit code 0
    --- stdout
    warning[IM073]: identity that differs from aws-auth (line 1 of mapRoles)
      --> standard input:13:14
       |
    13 |   principal: {arn: arn:aws:iam::111122223333:role/team}
       |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ aws-auth grants access as "by-hand" with groups ["team"]
       |
       = note: the operator adopts an unmanaged entry only as `adoption` allows: by default only an identical one
       = help: make both the same, or write spec.adoption: Always, so that the mapping adopts the entry

    1 warning
    "#);
    assert_snapshot!(run(&["lint", "-", "--mode=CONFIG_MAP"], AUTO_NODES), @r#"
    exit code 1
    --- stdout
    error[IM072]: mapping viewers would not become ready: backend AccessEntry needs the authentication mode API_AND_CONFIG_MAP or API, and this cluster is in CONFIG_MAP; set spec.backend: Auto, which follows the mode
     --> standard input:5:14
      |
    5 |   principal: {arn: arn:aws:iam::111122223333:role/auto}
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ Ready would be False with reason BackendUnavailable
      |
      = note: the object is valid, but it would not take effect in this cluster
      = help: `identity-mapper lint --explain BackendUnavailable` prints what to do

    error[IM072]: mapping team would not become ready: mapRoles line 1 is an unmanaged entry that maps arn:aws:iam::111122223333:role/team to username "by-hand" and group team; remove it, declare the same here, or set spec.adoption: Always to adopt it
      --> standard input:13:14
       |
    13 |   principal: {arn: arn:aws:iam::111122223333:role/team}
       |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ Ready would be False with reason UnmanagedEntry
       |
       = note: the object is valid, but it would not take effect in this cluster
       = help: `identity-mapper lint --explain UnmanagedEntry` prints what to do

    error[IM065]: no entry for nodes
      --> standard input:19:3
       |
    19 |   mapRoles: |
       |   ^^^^^^^^ no node can join
       |
       = note: a node signs in with its role: without an entry no node can join, and running nodes are lost one by one
       = help: add an entry for the role of the nodes, without its path (`aws eks describe-nodegroup --cluster-name CLUSTER --nodegroup-name NAME --query nodegroup.nodeRole` prints its ARN), to mapRoles: {rolearn: "ARN", username: "system:node:{{EC2PrivateDNSName}}", groups: ["system:bootstrappers", "system:nodes"]}

    3 errors
    "#);
    assert_snapshot!(run(&["lint", "-", "--mode=API"], AUTO_NODES), @"
    exit code 1
    --- stderr
    error: mode API needs the partition and account of the cluster: add --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    ");
    let cluster = "--cluster-arn=arn:aws:eks:eu-west-1:111122223333:cluster/main";
    assert_snapshot!(run(&["lint", "-", "--mode=API", cluster], AUTO_NODES), @"
    exit code 0
    --- stdout
    note[IM066]: aws-auth with entries in a cluster that does not read it
      --> standard input:19:3
       |
    19 |   mapRoles: |
       |   ^^^^^^^^ none of these entries has an effect
       |
       = note: in API mode, EKS reads only access entries
       = help: delete it when you no longer need it for reference; `identity-mapper access` lists who has access by access entries

    1 note
    ");
}
