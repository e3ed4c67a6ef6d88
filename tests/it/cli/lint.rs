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
fn each_finding_has_its_place_why_it_matters_and_the_mend() {
    assert_snapshot!(lint(BROKEN), @r#"
    exit code 1
    --- stdout
    error[IM020]: `rolearn` has the path /team/
      --> standard input:11:16
       |
    11 |     - rolearn: arn:aws:iam::111122223333:role/team/dev  # developers
       |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the entry never matches: who it is for is not let in
       |
       = note: STS tells the authenticator a role's name without its path, and the two are compared as they stand: the entry never matches
       = help: write arn:aws:iam::111122223333:role/dev (--fix does it)

    error[IM041]: "system:master" is not "system:masters"
      --> standard input:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which means nothing
       |
       = note: groups are compared character by character: this one is bound to nothing
       = help: write "system:masters", if that is meant

    2 errors; --fix mends 1 of them
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
          "title": "`rolearn` has the path /team/",
          "effect": "the entry never matches: who it is for is not let in",
          "why": "STS tells the authenticator a role's name without its path, and the two are compared as they stand: the entry never matches",
          "mend": "write arn:aws:iam::111122223333:role/dev",
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
          "title": "\"system:master\" is not \"system:masters\"",
          "effect": "the authenticator sees the group \"system:master\", which means nothing",
          "why": "groups are compared character by character: this one is bound to nothing",
          "mend": "write \"system:masters\", if that is meant",
          "fixable": false
        }
      ]
    }
    "#);
    assert_snapshot!(run(&["lint", "-", "-o", "github"], BROKEN), @r#"
    exit code 1
    --- stdout
    ::error file=standard input,line=11,col=16,title=IM020%3A `rolearn` has the path /team/::the entry never matches: who it is for is not let in%0ASTS tells the authenticator a role's name without its path, and the two are compared as they stand: the entry never matches%0Amend: write arn:aws:iam::111122223333:role/dev
    ::error file=standard input,line=17,col=16,title=IM041%3A "system%3Amaster" is not "system%3Amasters"::the authenticator sees the group "system:master", which means nothing%0Agroups are compared character by character: this one is bound to nothing%0Amend: write "system:masters", if that is meant
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
    Nothing is wrong.
    ");
}

#[test]
fn a_warning_alone_is_no_failure() {
    let text = BROKEN
        .replace("team/dev", "dev")
        .replace("system:master", "system:admins");
    let shown = lint(&text);
    assert!(shown.starts_with("exit code 0\n"), "{shown}");
    assert!(shown.contains("warning[IM047]"), "{shown}");
}

#[test]
fn standard_input_goes_mended_to_standard_output() {
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

    By this gets in, or gets in otherwise than before:
      arn:aws:iam::111122223333:role/dev as dev:{{SessionName}} in developers

    error[IM041]: "system:master" is not "system:masters"
      --> standard input:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which means nothing
       |
       = note: groups are compared character by character: this one is bound to nothing
       = help: write "system:masters", if that is meant

    1 error
    "#);
}

#[test]
fn files_are_mended_in_place() {
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

    By this gets in, or gets in otherwise than before:
      arn:aws:iam::111122223333:role/dev as dev:{{SessionName}} in developers

    --- ./team.yaml
    +++ ./team.yaml
    @@ -3,4 +3,4 @@
     metadata: {name: team}
     spec:
       principal: {arn: arn:aws:iam::111122223333:role/team}
    -  groups: [on] # kept
    +  groups: ["on"] # kept

    error[IM041]: "system:master" is not "system:masters"
      --> ./aws-auth.yaml:17:16
       |
    17 |       groups: [system:master]
       |                ^^^^^^^^^^^^^ the authenticator sees the group "system:master", which means nothing
       |
       = note: groups are compared character by character: this one is bound to nothing
       = help: write "system:masters", if that is meant

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
    error: there is neither an aws-auth ConfigMap nor an IdentityMapping in what was given
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
      [possible values: text, json, github]

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

#[test]
fn a_mode_shows_what_would_not_take_effect() {
    assert_snapshot!(lint(AUTO_NODES), @r#"
    exit code 0
    --- stdout
    warning[IM073]: aws-auth has another identity for this principal, in line 1 of mapRoles
      --> standard input:13:14
       |
    13 |   principal: {arn: arn:aws:iam::111122223333:role/team}
       |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ it is let in as "by-hand" with groups ["team"]
       |
       = note: an entry that the operator did not write is taken over only as `adoption` says: by default where it gives the same identity
       = help: make both say the same, or write spec.adoption: Always, so that the mapping takes the entry over

    1 warning
    "#);
    assert_snapshot!(run(&["lint", "-", "--mode=CONFIG_MAP"], AUTO_NODES), @r#"
    exit code 1
    --- stdout
    error[IM072]: mapping viewers would not take effect: backend AccessEntry needs the authentication mode API_AND_CONFIG_MAP or API, and this cluster is in CONFIG_MAP; set spec.backend: Auto, which follows the mode
     --> standard input:5:14
      |
    5 |   principal: {arn: arn:aws:iam::111122223333:role/auto}
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ its condition Ready would be False, with the reason BackendUnavailable
      |
      = note: the operator would report it as not ready
      = help: as the sentence says; docs/troubleshooting.md has more under BackendUnavailable

    error[IM072]: mapping team would not take effect: mapRoles line 1 is an unmanaged entry that maps arn:aws:iam::111122223333:role/team to username "by-hand" and group team; remove it, declare the same here, or set spec.adoption: Always to adopt it
      --> standard input:13:14
       |
    13 |   principal: {arn: arn:aws:iam::111122223333:role/team}
       |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ its condition Ready would be False, with the reason UnmanagedEntry
       |
       = note: the operator would report it as not ready
       = help: as the sentence says; docs/troubleshooting.md has more under UnmanagedEntry

    error[IM065]: no entry lets nodes in
      --> standard input:19:3
       |
    19 |   mapRoles: |
       |   ^^^^^^^^ no node can join
       |
       = note: a node signs in with its role: without an entry for it none can join, and those that run are lost one by one
       = help: add an entry for the role of the nodes, which `aws eks describe-nodegroup --cluster-name CLUSTER --nodegroup-name NAME --query nodegroup.nodeRole` prints, without its path, to mapRoles: {rolearn: "ARN", username: "system:node:{{EC2PrivateDNSName}}", groups: ["system:bootstrappers", "system:nodes"]}

    3 errors
    "#);
    assert_snapshot!(run(&["lint", "-", "--mode=API"], AUTO_NODES), @"
    exit code 1
    --- stderr
    error: in the mode API the cluster counts, for its partition and account: give --cluster-arn arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    ");
    let cluster = "--cluster-arn=arn:aws:eks:eu-west-1:111122223333:cluster/main";
    assert_snapshot!(run(&["lint", "-", "--mode=API", cluster], AUTO_NODES), @"
    exit code 0
    --- stdout
    note[IM066]: aws-auth has entries, and the cluster does not read it
      --> standard input:19:3
       |
    19 |   mapRoles: |
       |   ^^^^^^^^ nothing of it takes effect
       |
       = note: in the mode API only access entries count
       = help: delete it once nobody needs it for reference; who gets in by access entries `identity-mapper access` tells

    1 note
    ");
}
