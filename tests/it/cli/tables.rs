//! Tables at the widths of terminals.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::Run;
use crate::support::supervise::Scratch;

/// An aws-auth with long names, many groups and an administrator.
fn aws_auth() -> String {
    let role = |name: &str, username: &str, groups: &[&str]| json!({"rolearn": format!("arn:aws:iam::111122223333:role/{name}"), "username": username, "groups": groups});
    let roles = json!([
        role(
            "Nodes",
            "system:node:{{EC2PrivateDNSName}}",
            &["system:bootstrappers", "system:nodes"]
        ),
        role(
            "PlatformAdministrators",
            "platform:{{SessionName}}",
            &["system:masters"]
        ),
        role(
            "data-platform-production-readers",
            "data:{{SessionName}}",
            &["data-readers", "data-viewers", "on-call"]
        ),
        role("team/Dev", "dev", &["developers"]),
    ]);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapRoles": roles.to_string(), "mapAccounts": "[\"444455556666\"]"},
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

/// The table itself: what comes after it is prose, which terminals wrap.
fn table(shown: &str, first: &str) -> String {
    let lines = shown.lines().skip_while(|line| !line.starts_with(first));
    let lines = lines.take_while(|line| !line.is_empty());
    lines.fold(String::new(), |table, line| table + line + "\n")
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
    assert_fits(&narrow, 80);
    assert_snapshot!(narrow, @"
    ADMIN  PRINCIPAL                 USERNAME         GROUPS          SOURCE
    yes    …11112222333…inistrators  platfor…nName}}  system:masters  mapRole…line 1
    -      444455556666              (its own ARN)    -               mapAccounts
    -      …111122223333:role/Nodes  system:…SName}}  syste…ppers +1  mapRole…line 1
    -      …11112222333…ion-readers  data:{{…nName}}  data-…aders +2  mapRole…line 1
    ");
    let middle = table(&at("120", &access), "ADMIN");
    assert_fits(&middle, 120);
    assert_snapshot!(middle, @"
    ADMIN  KIND        PRINCIPAL                    USERNAME                     GROUPS                      SOURCE
    yes    role        …111122223333…dministrators  platform:{{SessionName}}     system:masters              mapRoles line 1
    -      account     444455556666                 (its own ARN)                -                           mapAccounts
    -      role, node  …111122223333:role/Nodes     system:node:{…vateDNSName}}  system:bootstrappers +1     mapRoles line 1
    -      role        …111122223333…ction-readers  data:{{SessionName}}         data-readers +2             mapRoles line 1
    ");
    let wide = [&access[..], &["-o", "wide", "--sort-by", "principal"]].concat();
    assert_snapshot!(table(&at("80", &wide), "ADMIN"), @"
    ADMIN  KIND        PRINCIPAL                                                        USERNAME                           GROUPS                               ACCESS POLICIES  RBAC  UNTIL  SOURCE           MAPPING
    -      account     444455556666                                                     (its own ARN)                      -                                    -                -     -      mapAccounts      -
    -      role, node  arn:aws:iam::111122223333:role/Nodes                             system:node:{{EC2PrivateDNSName}}  system:bootstrappers, system:nodes   -                -     -      mapRoles line 1  -
    yes    role        arn:aws:iam::111122223333:role/PlatformAdministrators            platform:{{SessionName}}           system:masters                       -                -     -      mapRoles line 1  -
    -      role        arn:aws:iam::111122223333:role/data-platform-production-readers  data:{{SessionName}}               data-readers, data-viewers, on-call  -                -     -      mapRoles line 1  -
    ");
    let bare = [&access[..], &["--no-headers"]].concat();
    assert!(!at("80", &bare).contains("PRINCIPAL"));
}

#[test]
fn effective_fits() {
    let effective = ["effective", "aws-auth.json"];
    let narrow = table(&at("80", &effective), "ARN");
    assert_fits(&narrow, 80);
    assert_snapshot!(narrow, @"
    ARN                     USERNAME            GROUPS             EFFECT
    …1111222233…role/Nodes  system:no…NSName}}  system:…appers +1  yes
    …1111222233…nistrators  platform:…onName}}  system:masters     yes
    …1111222233…on-readers  data:{{Se…onName}}  data-readers +2    yes
    …1111222233…e/team/Dev  dev                 developers         no: its …eir path
    (any of acc…455556666)  (its ARN)           -                  yes
    ");
    let middle = table(&at("120", &effective), "KEY");
    assert_fits(&middle, 120);
    assert_snapshot!(middle, @"
    KEY          ARN                         USERNAME                   GROUPS                     EFFECT
    mapRoles     …111122223333:role/Nodes    system:node:…ateDNSName}}  system:bootstrappers +1    yes
    mapRoles     …111122223333…ministrators  platform:{{SessionName}}   system:masters             yes
    mapRoles     …111122223333…tion-readers  data:{{SessionName}}       data-readers +2            yes
    mapRoles     …111122223333…ole/team/Dev  dev                        developers                 no: its ARN …t their path
    mapAccounts  (any of accou…44455556666)  (its ARN)                  -                          yes
    ");
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
        "user/people/maria ",
        "LOSES ACCESS IN API",
        "-o wide also shows ACCESS ENTRY.",
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
