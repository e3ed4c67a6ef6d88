//! Tables at the widths of terminals.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::Run;
use crate::support::programs::repository;
use crate::support::supervise::Scratch;

/// An aws-auth as clusters have it: names of 64 characters, paths, other accounts, an entry of the same role with and without its path.
fn aws_auth() -> String {
    let entry = |key: &str, arn: &str, username: &str, groups: &[&str]| json!({key: format!("arn:aws:iam::{arn}"), "username": username, "groups": groups});
    let role = |arn: &str, username: &str, groups: &[&str]| entry("rolearn", arn, username, groups);
    let roles = json!([
        role(
            "111122223333:role/eksctl-production-nodegroup-general-NodeInstanceRole-1A2B3C4D5E",
            "system:node:{{EC2PrivateDNSName}}",
            &["system:bootstrappers", "system:nodes"]
        ),
        role(
            "111122223333:role/AWSReservedSSO_PlatformAdmin_0123456789abcdef",
            "platform:{{SessionName}}",
            &["system:masters"]
        ),
        role(
            "111122223333:role/AWSReservedSSO_DataPlatformProductionOperations_0123456789abcdef",
            "data-operations:{{SessionName}}",
            &["data-operators", "data-viewers", "on-call"]
        ),
        role(
            "444455556666:role/AWSReservedSSO_DataPlatformProductionOperations_fedcba9876543210",
            "data-operations:{{AccountID}}:{{SessionName}}",
            &["data-operators", "data-viewers", "on-call"]
        ),
        role(
            "111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_ReadOnly_00112233445566aa",
            "readonly:{{SessionName}}",
            &["viewers"]
        ),
        role(
            "111122223333:role/teams/payments/Deploy",
            "deploy",
            &["deployers"]
        ),
        role("111122223333:role/Deploy", "deploy", &["deployers"]),
    ]);
    let users = json!([entry(
        "userarn",
        "777788889999:user/contractors/maria.lopez@example.com",
        "maria",
        &["developers"]
    )]);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapRoles": roles.to_string(), "mapUsers": users.to_string(), "mapAccounts": "[\"444455556666\"]"},
    })
    .to_string()
}

fn at(width: &str, arguments: &[&str]) -> String {
    let folder = Scratch::new();
    fs::write(folder.path().join("aws-auth.json"), aws_auth()).unwrap();
    let ran = Run::new(arguments)
        .within(folder.path())
        .env("COLUMNS", width)
        .run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    ran.stdout
}

/// The table itself, with what is below it.
fn table(shown: &str, first: &str) -> String {
    let lines = shown.lines().skip_while(|line| !line.starts_with(first));
    lines.fold(String::new(), |table, line| table + line + "\n")
}

/// The lines of the table, without what is below it.
fn rows(table: &str) -> String {
    let lines = table.lines().take_while(|line| {
        !line.starts_with("Permissions")
            && !line.starts_with("Entries")
            && !line.starts_with("note")
    });
    let rows = lines.fold(String::new(), |rows, line| rows + line + "\n");
    rows.trim_end().to_owned() + "\n"
}

fn assert_fits(table: &str, width: usize) {
    assert!(table.lines().count() > 3, "{table}");
    for line in table.lines() {
        assert!(
            line.chars().count() <= width,
            "{} characters: {line}",
            line.chars().count()
        );
    }
}

#[test]
fn access_fits() {
    let access = ["access", "--aws-auth", "aws-auth.json", "--mode=CONFIG_MAP"];
    let narrow = table(&at("80", &access), "ADMIN");
    assert_fits(&rows(&narrow), 80);
    assert_snapshot!(rows(&narrow), @"
    ADMIN  PRINCIPAL                                 GROUPS          SOURCE
    yes    sso/PlatformAdmin                         system:masters  mapRoles line 1
    -      (any of account 444455556666)             -               mapAccounts
    -      sso/DataPlatformProductionOperations      data-…ators +2  mapRoles line 1
    -      role/Deploy                               deployers       mapRoles line 1
    -      role/eksctl-prod…InstanceRole-1A2B3C4D5E  syste…ppers +1  mapRoles line 1
    -      sso/DataPlatf…oductionOperations (…6666)  data-…ators +2  mapRoles line 1
    -      user/maria.lopez@example.com (…9999)      developers      mapUsers line 1

    Principals without an account are in 111122223333.
    -o wide also shows KIND, USERNAME.
    ");
    let middle = table(&at("120", &access), "ADMIN");
    assert_fits(&rows(&middle), 120);
    assert_snapshot!(rows(&middle), @"
    ADMIN  PRINCIPAL                                                     USERNAME          GROUPS            SOURCE
    yes    sso/PlatformAdmin                                             platform:{{…}}    system:masters    mapRoles line 1
    -      (any of account 444455556666)                                 (its own ARN)     -                 mapAccounts
    -      sso/DataPlatformProductionOperations                          data-ope…s:{{…}}  data-o…rators +2  mapRoles line 1
    -      role/Deploy                                                   deploy            deployers         mapRoles line 1
    -      role/eksctl-production-…-general-NodeInstanceRole-1A2B3C4D5E  system:n…e:{{…}}  system…appers +1  mapRoles line 1
    -      sso/DataPlatformProductionOperations (444455556666)           data-ope…}:{{…}}  data-o…rators +2  mapRoles line 1
    -      user/maria.lopez@example.com (777788889999)                   maria             developers        mapUsers line 1

    Principals without an account are in 111122223333.
    -o wide also shows KIND.
    ");
    let wide = [&access[..], &["-o", "wide", "--sort-by", "principal"]].concat();
    let wide = table(&at("80", &wide), "ADMIN");
    assert!(!rows(&wide).contains('…'), "{wide}");
    assert!(wide.contains("arn:aws:iam::444455556666:role/AWSReservedSSO_DataPlatformProductionOperations_fedcba9876543210"), "{wide}");
    let bare = [&access[..], &["--no-headers"]].concat();
    assert!(!at("80", &bare).contains("PRINCIPAL"));
}

#[test]
fn effective_fits() {
    let effective = ["effective", "aws-auth.json"];
    let narrow = table(&at("80", &effective), "PRINCIPAL");
    assert_fits(&narrow, 80);
    assert_snapshot!(narrow, @"
    PRINCIPAL                                 USERNAME        GROUPS          EFFECT
    role/eksctl-prod…InstanceRole-1A2B3C4D5E  system:…:{{…}}  syste…ppers +1  yes
    sso/PlatformAdmin                         platform:{{…}}  system:masters  yes
    sso/DataPlatformProductionOperations      data-op…:{{…}}  data-…ators +2  yes
    sso/DataPlatf…oductionOperations (…6666)  data-op…:{{…}}  data-…ators +2  yes
    sso/ReadOnly                              readonly:{{…}}  viewers         no (1)
    role/teams/payments/Deploy                deploy          deployers       no (1)
    role/Deploy                               deploy          deployers       yes
    user/maria.lopez@example.com (…9999)      maria           developers      yes
    (any of account 444455556666)             (its ARN)       -               yes

    (1) its ARN has the role's path, and the authenticator sees roles without their
        path
    Principals without an account are in 111122223333.
    -o wide also shows KEY.
    ");
    let middle = table(&at("120", &effective), "PRINCIPAL");
    assert_fits(&middle, 120);
    assert_snapshot!(middle, @"
    PRINCIPAL                                                     USERNAME                  GROUPS                    EFFECT
    role/eksctl-production-…-general-NodeInstanceRole-1A2B3C4D5E  system:node:{{…}}         system:bootstrappers +1   yes
    sso/PlatformAdmin                                             platform:{{SessionName}}  system:masters            yes
    sso/DataPlatformProductionOperations                          data-operations:{{…}}     data-operators +2         yes
    sso/DataPlatformProductionOperations (444455556666)           data-operati…{{…}}:{{…}}  data-operators +2         yes
    sso/ReadOnly                                                  readonly:{{SessionName}}  viewers                   no (1)
    role/teams/payments/Deploy                                    deploy                    deployers                 no (1)
    role/Deploy                                                   deploy                    deployers                 yes
    user/maria.lopez@example.com (777788889999)                   maria                     developers                yes
    (any of account 444455556666)                                 (its ARN)                 -                         yes

    (1) its ARN has the role's path, and the authenticator sees roles without their path
    Principals without an account are in 111122223333.
    -o wide also shows KEY.
    ");
    let wide = at("80", &[&effective[..], &["-o=wide"]].concat());
    assert!(wide.contains("no: its ARN has the role's path"), "{wide}");
    let bare = at("80", &[&effective[..], &["--no-headers"]].concat());
    assert!(bare.contains("no: its ARN has the role's path"), "{bare}");
}

/// Sentences are broken between words, and what people copy is not.
#[test]
fn prose_fits() {
    let fits = |shown: &str| {
        for line in shown.lines() {
            let is_copied = ["arn:", "aws ", "kubectl ", "filter "]
                .iter()
                .any(|it| line.contains(it));
            assert!(is_copied || line.chars().count() <= 80, "{line}");
        }
    };
    let role = "arn:aws:iam::111122223333:role/Deploy";
    let explained = Run::new(["explain", role, "--aws-auth=-"])
        .stdin(aws_auth())
        .env("COLUMNS", "80")
        .run();
    fits(&explained.stdout);
    fits(&at(
        "80",
        &["access", "--aws-auth", "aws-auth.json", "--mode=CONFIG_MAP"],
    ));
    fits(&at("80", &["lint", "--explain", "IM060"]));
    let linted = Run::new(["lint", "-"])
        .stdin(aws_auth())
        .env("COLUMNS", "80")
        .run();
    let prose = linted.stdout.lines();
    let prose: Vec<&str> = prose.filter(|line| !line.contains(" | ")).collect();
    let prose = prose.join("\n");
    fits(&prose);
    assert!(prose.contains("= note: "), "{prose}");
}

/// Everything but what people copy.
fn assert_prose_fits(shown: &str, width: usize) {
    let copied = [
        "arn:",
        "aws ",
        "kubectl ",
        "filter ",
        "eksctl ",
        "identity-mapper ",
        "  resource ",
    ];
    for line in shown.lines() {
        let is_copied = copied.iter().any(|it| line.contains(it));
        assert!(is_copied || line.chars().count() <= width, "{line}");
    }
}

/// The examples, of which a plan has changes now and later, mappings that are not ready, and ownership.
#[test]
fn plan_fits() {
    let plan = |width: &str| {
        let ran = Run::new([
            "plan",
            "--aws-auth=tests/examples/aws-auth.yaml",
            "--access-entries=tests/examples/access-entries.json",
            "-f=tests/examples/mappings",
            "--mode=API_AND_CONFIG_MAP",
        ])
        .within(&repository())
        .env("COLUMNS", width)
        .run();
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    let narrow = plan("80");
    assert_prose_fits(&narrow, 80);
    assert_snapshot!(narrow, @r#"
    Source: files (arn:aws:eks:eu-west-1:111122223333:cluster/main, mode
      API_AND_CONFIG_MAP, aws-auth from tests/examples/aws-auth.yaml, 3 access
      entries, 4 mappings).

    --- aws-auth mapUsers (current)
    +++ aws-auth mapUsers (planned)
    @@ -1,4 +1,5 @@
    -- userarn: arn:aws:iam::111122223333:user/people/maria
    -  username: maria
    +- userarn: "arn:aws:iam::111122223333:user/people/maria"
    +  username: "maria"
       groups:
    -  - developers
    +  - "developers"
    +  - "on-call"

    ownership in aws-auth
    ~ mapRoles line 13, arn:aws:iam::111122223333:role/ci-deployer: adopted, text
        unchanged (mapping ci-deployer)

    access entries
    + create       arn:aws:iam::111122223333:role/teams/data/data-reader: type
        STANDARD, username "data-reader", group data-readers (mapping data-reader)
    + create       arn:aws:iam::444455556666:role/developers: type STANDARD,
        username "developer:{{SessionName}}", group developers (mapping developers)

    Plan: aws-auth 1 to change, 1 to adopt; access entries 2 to create.
    "#);
    let middle = plan("120");
    assert_prose_fits(&middle, 120);
    assert_snapshot!(middle, @r#"
    Source: files (arn:aws:eks:eu-west-1:111122223333:cluster/main, mode API_AND_CONFIG_MAP, aws-auth from
      tests/examples/aws-auth.yaml, 3 access entries, 4 mappings).

    --- aws-auth mapUsers (current)
    +++ aws-auth mapUsers (planned)
    @@ -1,4 +1,5 @@
    -- userarn: arn:aws:iam::111122223333:user/people/maria
    -  username: maria
    +- userarn: "arn:aws:iam::111122223333:user/people/maria"
    +  username: "maria"
       groups:
    -  - developers
    +  - "developers"
    +  - "on-call"

    ownership in aws-auth
    ~ mapRoles line 13, arn:aws:iam::111122223333:role/ci-deployer: adopted, text unchanged (mapping ci-deployer)

    access entries
    + create       arn:aws:iam::111122223333:role/teams/data/data-reader: type STANDARD, username "data-reader", group
        data-readers (mapping data-reader)
    + create       arn:aws:iam::444455556666:role/developers: type STANDARD, username "developer:{{SessionName}}", group
        developers (mapping developers)

    Plan: aws-auth 1 to change, 1 to adopt; access entries 2 to create.
    "#);
}

/// The head and what follows the table; the table itself has a test of its own.
#[test]
fn migrate_plan_prose_fits() {
    for (width, columns) in [("80", 80), ("120", 120)] {
        let ran = Run::new([
            "migrate",
            "plan",
            "--aws-auth=tests/examples/aws-auth.yaml",
            "--access-entries=tests/examples/access-entries.json",
            "-f=tests/examples/mappings",
            "--mode=API_AND_CONFIG_MAP",
        ])
        .within(&repository())
        .env("COLUMNS", width)
        .run();
        assert_prose_fits(&ran.stdout, columns);
        assert!(ran.stdout.contains("\nsummary:  "), "{}", ran.stdout);
    }
}

/// Who moves stays readable at 80 columns, and the rest is in `-o wide`.
#[test]
fn migrate_plan_fits() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let run = |more: &[&str]| {
        let aws_auth = format!("--aws-auth={examples}/aws-auth.yaml");
        let entries = format!("--access-entries={examples}/access-entries.json");
        let arguments = [
            "migrate",
            "plan",
            "--mode=API_AND_CONFIG_MAP",
            &aws_auth,
            &entries,
        ];
        let ran = Run::new([&arguments, more].concat())
            .env("COLUMNS", "80")
            .run();
        let rows = ran
            .stdout
            .lines()
            .skip_while(|line| !line.starts_with("OUTCOME"));
        rows.take_while(|line| !line.starts_with("Details"))
            .flat_map(|line| [line, "\n"])
            .collect::<String>()
    };
    let shown = run(&[]);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    for whole in [
        "role/ci-deployer ",
        "user/maria ",
        "LOSES ACCESS IN API",
        "-o wide also shows ACCESS ENTRY.",
        "Principals without an account are in 111122223333.",
    ] {
        assert!(shown.contains(whole), "{whole}: {shown}");
    }
    let wide = run(&["-o=wide"]);
    assert!(
        wide.contains("ACCESS ENTRY")
            && wide.contains("AWSReservedSSO_PlatformAdmin_0123456789abcdef "),
        "{wide}"
    );
}
