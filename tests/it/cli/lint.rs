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
