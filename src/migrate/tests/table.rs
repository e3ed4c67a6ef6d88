//! What becomes of each kind of entry.

use insta::assert_snapshot;
use serde_json::json;

use super::{line, lines, migration};
use crate::access_entry::{Call, INSTALLATION_TAG, Kind, PRINCIPAL_ID_TAG};
use crate::api::v1alpha1::EntryType;
use crate::migrate::{PlannedOutcome, PrincipalPlan};
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

const ROLE: &str = "arn:aws:iam::111122223333:role";

fn entry(arn: &str, username: &str, groups: &[&str]) -> String {
    let field = if arn.contains(":role/") || arn.contains("assumed-role") {
        "rolearn"
    } else {
        "userarn"
    };
    format!(
        "- {}\n",
        json!({field: arn, "username": username, "groups": groups})
    )
}

fn role(name: &str, username: &str, groups: &[&str]) -> String {
    entry(&format!("{ROLE}/{name}"), username, groups)
}

const NODE: (&str, &[&str]) = (
    "system:node:{{EC2PrivateDNSName}}",
    &["system:bootstrappers", "system:nodes"],
);
const SESSION: &str = "system:node:{{SessionName}}";

#[test]
#[expect(clippy::too_many_lines, reason = "a row for each kind")]
fn every_kind_of_role() {
    let text = [
        role("plain", "plain", &["team"]),
        role(
            "default",
            "arn:aws:sts::111122223333:assumed-role/default/{{SessionName}}",
            &[],
        ),
        role(
            "admin",
            "admin:{{SessionName}}",
            &["system:masters", "team"],
        ),
        role("node", NODE.0, NODE.1),
        role(
            "windows",
            NODE.0,
            &[
                "eks:kube-proxy-windows",
                "system:bootstrappers",
                "system:nodes",
            ],
        ),
        role(
            "fargate",
            SESSION,
            &[
                "system:bootstrappers",
                "system:node-proxier",
                "system:nodes",
            ],
        ),
        role(
            "ambiguous",
            SESSION,
            &["system:bootstrappers", "system:nodes"],
        ),
        role("strange", "system:node:x", &["system:nodes"]),
        role("half", NODE.0, &["system:bootstrappers"]),
        role(
            "more",
            NODE.0,
            &["system:bootstrappers", "system:nodes", "spies"],
        ),
        role("reserved", "viewer", &["system:viewers"]),
        role("username", "aws:reader", &["team"]),
        role("colon", "reader-{{SessionName}}", &["team"]),
        role("template", "reader:{{Sessionname}}", &["team"]),
        role("AWSServiceRoleForAmazonEMRContainers", "emr", &["emr"]),
        role(
            "AWSReservedSSO_Admin_0123456789abcdef",
            "sso:{{SessionName}}",
            &["team"],
        ),
        entry(
            "arn:aws:iam::444455556666:role/partner",
            "partner",
            &["team"],
        ),
        entry(
            "arn:aws:iam::444455556666:role/partner-nodes",
            NODE.0,
            NODE.1,
        ),
    ];
    let simulation = Simulation::in_eks(Mode::ConfigMap, &text.concat());
    assert_snapshot!(lines(&simulation).join("\n"), @r"
    blocked! role/AWSReservedSSO_Admin_0123456789abcdef -> STANDARD | sso:{{SessionName}} | team | 
    blocked! role/ambiguous
    blocked! role/half
    blocked! role/more
    blocked! role/strange
    blocked! role/template
    stays! role/AWSServiceRoleForAmazonEMRContainers
    stays! role/colon
    stays! role/reserved
    stays! role/username
    stays! role/partner-nodes
    moves! role/admin -> STANDARD | admin:{{SessionName}} | team | AmazonEKSClusterAdminPolicy@cluster
    moves! role/default -> STANDARD | arn:aws:sts::111122223333:assumed-role/default/{{SessionName}} |  | 
    moves! role/fargate -> FARGATE_LINUX | system:node:{{SessionName}} | system:node-proxier,system:nodes | 
    moves! role/node -> EC2_LINUX | system:node:{{EC2PrivateDNSName}} | system:nodes | 
    moves! role/plain -> STANDARD | plain | team | 
    moves! role/windows -> EC2_WINDOWS | system:node:{{EC2PrivateDNSName}} | eks:kube-proxy-windows,system:nodes | 
    moves! role/partner -> STANDARD | partner | team |
    ");
    let why: Vec<String> = migration(&simulation)
        .verdicts
        .iter()
        .filter_map(|verdict| {
            Some(format!(
                "{}: {}",
                verdict.who.key()?.name(),
                verdict.why.as_ref()?.message
            ))
        })
        .collect();
    assert_snapshot!(why.join("\n"), @r#"
    awsreservedsso_admin_0123456789abcdef: a role of IAM Identity Center has a path, which aws-auth omits and an access entry needs, but IAM was not read; declare its permission set or its full ARN, or allow reading IAM
    ambiguous: nodes of several types sign in as "system:node:{{SessionName}}", and aws-auth does not show the type: declare the role with its type and adoption: Always. The types are HybridLinux, FargateLinux, HyperPodLinux, or EC2 for EKS Auto Mode and nodes named after their instance. A type that names nodes differently, such as EC2Linux, would lock them out
    half: the username is a node's but the group system:nodes is missing, which an access entry for nodes always gives: add it if these are nodes, or give them another username and other groups
    more: an access entry of type EC2Linux can't have spies: bind its permissions to group system:nodes, or remove it from the entry if the nodes don't need it
    strange: EKS gives no node the username "system:node:x", so no access entry can give these nodes their names: use a separate role for new nodes, and move the workloads to them
    template: spec.username: contains an unknown placeholder: write {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} or {{EC2PrivateDNSName}}, spelled exactly like this
    awsserviceroleforamazonemrcontainers: spec.principal: arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers is a service-linked role, for which EKS accepts access entries from its own AWS service only; in API mode only the AWS service that owns the role can grant it access: it creates its own access entry, usually when it is enabled for the cluster; AWS has created none so far
    colon: spec.username: "reader-{{SessionName}}" has no colon before {{SessionName}}, which EKS requires in access entries; write it as in "reader-:{{SessionName}}"
    reserved: spec.groups: "system:viewers" begins with "system:", which EKS reserves in access entries; bind its roles to a group of your own, and write that one
    username: spec.username: "aws:reader" begins with "aws:", which EKS reserves in access entries; use another one, or leave it out: EKS then gives "arn:aws:sts::111122223333:assumed-role/username/{{SessionName}}"
    partner-nodes: spec.type: EC2Linux is for roles in the cluster's own account 111122223333, and arn:aws:iam::444455556666:role/partner-nodes is of another; a user or another account's principal can only be Standard
    "#);
}

#[test]
fn users_accounts_and_entries_without_access() {
    let mut simulation = Simulation::in_eks(
        Mode::ApiAndConfigMap,
        &[
            role("a", "first", &["one"]),
            role("A", "last", &["two"]),
            role("with/path", "path", &["team"]),
            "- sso: {permissionSetName: View, accountID: \"111122223333\"}\n  username: sso\n"
                .to_owned(),
            entry(
                "arn:aws:sts::111122223333:assumed-role/a/session",
                "session",
                &[],
            ),
            role("nameless", "", &["team"]),
            "- username: nobody\n".to_owned(),
        ]
        .concat(),
    );
    simulation.vandalise(
        "mapUsers",
        &[
            entry(
                "arn:aws:iam::111122223333:user/people/maria",
                "maria",
                &["team"],
            ),
            entry("arn:aws:iam::111122223333:user/bob", "bob", &["team"]),
            entry("arn:aws:iam::111122223333:user/BOB", "bob", &["others"]),
            entry(
                "arn:aws:iam::111122223333:root",
                "root",
                &["system:masters"],
            ),
            entry("arn:aws:sts::111122223333:federated-user/fred", "fred", &[]),
        ]
        .concat(),
    );
    simulation.vandalise("mapAccounts", "- \"444455556666\"\n- \"44445555666\"\n");
    let migration = migration(&simulation);
    assert_snapshot!(lines(&simulation).join("\n"), @r"
    blocked! role/nameless
    blocked! user/bob
    stays! (any of account 444455556666)
    stays! root
    stays! federated-user/fred
    moves! role/A -> STANDARD | last | two | 
    moves! user/people/maria -> STANDARD | maria | team |
    ");
    let dead: Vec<String> = migration
        .dead
        .iter()
        .map(|dead| format!("{}: {}: {}", dead.place, dead.what, dead.why))
        .collect();
    assert_snapshot!(dead.join("\n"), @r#"
    mapRoles line 3: arn:aws:iam::111122223333:role/with/path: its ARN has the role's path, and the authenticator sees roles without their path: it would have to be arn:aws:iam::111122223333:role/path
    mapRoles line 4: (sso): EKS does not read entries with `sso`: write the role's ARN without its path
    mapRoles line 6: arn:aws:sts::111122223333:assumed-role/a/session: "arn:aws:sts::111122223333:assumed-role/a/session" is a session of a role: write the role, "arn:aws:iam::111122223333:role/a"
    mapRoles line 8: username: nobody: the entry has no `rolearn`: write `rolearn:` with the ARN that the entry is for
    mapAccounts line 2: 44445555666: an account has exactly 12 digits, so it never matches
    "#);
    let last = migration
        .verdicts
        .iter()
        .find(|verdict| verdict.who.to_string().ends_with("/A"));
    assert_eq!(
        last.map(|it| it.shadowed[0].line),
        Some(1),
        "the last of two wins, and the loser is named"
    );
    assert_eq!(migration.losers(Mode::ApiAndConfigMap).count(), 0);
}

#[test]
fn logins_without_username_are_reported() {
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap] {
        let text = role("ec2admin", "", &["system:masters"]);
        let simulation = Simulation::in_eks(mode, &text);
        let migration = migration(&simulation);
        let losers: Vec<&PrincipalPlan> = migration.losers(Mode::Api).collect();
        let [loser] = losers.as_slice() else {
            panic!("{mode}: {losers:?}");
        };
        assert_eq!(loser.outcome, PlannedOutcome::Blocked);
        let why = loser.why.as_ref().expect("a reason");
        assert!(
            why.message
                .contains("an access entry always set one; write one into the entry"),
            "{why:?}"
        );
        assert_eq!(migration.losers(Mode::ApiAndConfigMap).count(), 0);
    }
}

#[test]
fn existing_access_entries_count() {
    let text = [
        role("node", NODE.0, NODE.1),
        role("self-managed", NODE.0, NODE.1),
        role("same", "same", &["team"]),
        role("other", "other", &["team"]),
        role(
            "ambiguous",
            SESSION,
            &["system:bootstrappers", "system:nodes"],
        ),
    ];
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &text.concat());
    let create = |name: &str, type_, username: Option<&str>, groups: &[&str]| Call::Create {
        principal_arn: format!("{ROLE}/{name}"),
        kind: Kind::Known(type_),
        username: username.map(str::to_owned),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: [].into(),
    };
    simulation.by_hand(&create("node", EntryType::EC2Linux, None, &[]));
    simulation.by_hand(&create("ambiguous", EntryType::HybridLinux, None, &[]));
    simulation.by_hand(&create(
        "same",
        EntryType::Standard,
        Some("same"),
        &["team"],
    ));
    simulation.by_hand(&create(
        "other",
        EntryType::Standard,
        Some("somebody"),
        &["team"],
    ));
    simulation.by_hand(&create("creator", EntryType::Standard, None, &[]));
    assert_snapshot!(lines(&simulation).join("\n"), @"
    moves! role/self-managed -> EC2_LINUX | system:node:{{EC2PrivateDNSName}} | system:nodes | 
    differs role/other -> STANDARD | somebody | team | 
    done role/ambiguous -> HYBRID_LINUX | system:node:{{SessionName}} | system:nodes | 
    done role/node -> EC2_LINUX | system:node:{{EC2PrivateDNSName}} | system:nodes | 
    done role/same -> STANDARD | same | team |
    ");
    let others = migration(&simulation).others;
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].principal_arn, format!("{ROLE}/creator"));
}

#[test]
fn iam_completes_paths_and_reports_missing_principals() {
    let text = [
        role(
            "AWSReservedSSO_Admin_0123456789abcdef",
            "sso:{{SessionName}}",
            &["system:masters"],
        ),
        role("deployer", "deployer", &["deployers"]),
        role("gone", "gone", &["team"]),
    ];
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &text.concat());
    let now = simulation.now;
    simulation.cloud().iam_lists(
        &[
            (&format!("{ROLE}/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef"), "AROA1"),
            (&format!("{ROLE}/ci/deployer"), "AROA2"),
        ],
        now,
    );
    assert_snapshot!(lines(&simulation).join("\n"), @"
    moves! role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef -> STANDARD | sso:{{SessionName}} |  | AmazonEKSClusterAdminPolicy@cluster
    moves! role/ci/deployer -> STANDARD | deployer | deployers | 
    missing role/gone
    ");
    assert!(migration(&simulation).needs_bridge());
}

#[test]
fn mappings_decide_what_they_declare() {
    let text = [
        role("declared", "declared", &["team"]),
        role("text", "text", &["g"]),
        role("conflict", "somebody", &["team"]),
        role("stopped", "stopped", &["g"]),
        role("refused", "refused", &["g"]),
        role("hybrid", SESSION, &["system:bootstrappers", "system:nodes"]),
    ];
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &text.concat());
    simulation.create("declared", "role/declared", &json!({"groups": ["team"]}));
    simulation.create("text", "role/text", &json!({"backend": "ConfigMap"}));
    simulation.create("conflict", "role/conflict", &json!({}));
    simulation.create("stopped", "role/stopped", &json!({"suspend": true}));
    simulation.create("refused", "role/refused", &json!({"username": ""}));
    simulation.create("new", "role/new", &json!({}));
    simulation.create(
        "hybrid",
        "role/hybrid",
        &json!({"type": "HybridLinux", "adoption": "Always", "username": null, "groups": null}),
    );
    assert_snapshot!(lines(&simulation).join("\n"), @r"
    blocked! role/conflict -> STANDARD | conflict | g | 
    blocked! role/refused
    blocked! role/stopped
    blocked! role/text -> STANDARD | text | g | 
    moves! role/declared -> STANDARD | declared | team | 
    moves! role/hybrid -> HYBRID_LINUX | system:node:{{SessionName}} | system:nodes | 
    new role/new -> STANDARD | new | g |
    ");
    let why: Vec<String> = migration(&simulation)
        .verdicts
        .iter()
        .filter_map(|verdict| {
            Some(format!(
                "{}: {}",
                verdict.mapping.as_ref()?,
                verdict.why.as_ref()?.message
            ))
        })
        .collect();
    assert_snapshot!(why.join("\n"), @r#"
    conflict: mapRoles line 3 is an unmanaged entry that maps arn:aws:iam::111122223333:role/conflict to username "somebody" and group team; remove it, declare the same here, or set spec.adoption: Always to adopt it
    text: mapping text declares backend: ConfigMap; write backend: Auto
    "#);
}

#[test]
fn entries_of_recreated_principals_grant_no_access() {
    let text = [
        role("again", "again", &["team"]),
        role("ours", "ours", &["g"]),
    ];
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &text.concat());
    let create = |name: &str, groups: &[&str], tags: &[(&str, &str)]| Call::Create {
        principal_arn: format!("{ROLE}/{name}"),
        kind: Kind::Known(EntryType::Standard),
        username: Some(name.to_owned()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: tags
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let id = (PRINCIPAL_ID_TAG, "AROAOLD");
    let installation = (INSTALLATION_TAG, "kube-system/aws-auth");
    simulation.by_hand(&create("again", &["team"], &[id]));
    simulation.by_hand(&create("ours", &["g"], &[id, installation]));
    simulation.create("ours", "role/ours", &json!({}));
    let now = simulation.now;
    simulation.cloud().iam_lists(
        &[
            (&format!("{ROLE}/again"), "AROANEW"),
            (&format!("{ROLE}/ours"), "AROANEW"),
        ],
        now,
    );
    let migration = migration(&simulation);
    let told: Vec<String> = migration
        .verdicts
        .iter()
        .map(|verdict| {
            let why = verdict.why.as_ref().map(|why| why.message.as_str());
            format!("{}: {}", line(verdict), why.unwrap_or_default())
        })
        .collect();
    assert_snapshot!(told.join("\n"), @"
    blocked! role/again -> STANDARD | again | team | : the unmanaged access entry of arn:aws:iam::111122223333:role/again grants no access, because its principal was deleted or recreated: delete the entry (aws eks delete-access-entry), and the migration creates a new one
    blocked! role/ours -> STANDARD | ours | g | : arn:aws:iam::111122223333:role/ours was deleted and recreated (id AROAOLD, now AROANEW), so its access entry no longer works (aws-auth still grants access); to restore access, confirm that the entry is recreated; to confirm: `kubectl annotate identitymapping ours identity-mapper.dev/confirm=recreated-principal`
    ");
    assert_eq!(
        migration.losers(Mode::Api).count(),
        2,
        "aws-auth alone lets them in"
    );
}

#[test]
fn placeholders_of_which_aws_says_nothing_are_named() {
    for (username, group, named) in [
        ("p:{{SessionName}}", "team", None),
        ("p:{{SessionNameRaw}}", "team", None),
        (
            "p:{{AccountID}}",
            "team",
            Some("username \"p:{{AccountID}}\""),
        ),
        (
            "p",
            "team-{{AccountID}}",
            Some("group \"team-{{AccountID}}\""),
        ),
        (
            "p",
            "team-{{SessionName}}",
            Some("group \"team-{{SessionName}}\""),
        ),
    ] {
        let text = role("p", username, &[group]);
        let simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &text);
        let notes = migration(&simulation).verdicts[0].notes.join(" ");
        match named {
            None => assert_eq!(notes, "", "{username} {group}"),
            Some(named) => assert!(
                notes.contains(&format!("the placeholder in {named}.")),
                "{notes}"
            ),
        }
    }
}

#[test]
fn an_unmanaged_entry_outlives_the_mapping_that_expired() {
    let mut simulation =
        Simulation::in_eks(Mode::ApiAndConfigMap, &role("alice", "alice", &["team"]));
    simulation.create("mine", "role/mine", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    let past = simulation.now;
    simulation.create("alice", "role/alice", &json!({"username": "other"}));
    for name in ["alice", "mine"] {
        simulation.edit(name, |object| object.spec.valid_until = Some(past.into()));
    }
    let migration = migration(&simulation);
    let outcomes: Vec<(&str, String)> = migration
        .verdicts
        .iter()
        .map(|verdict| {
            let why = verdict.why.as_ref().map(|why| why.message.clone());
            (verdict.word(), why.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (
                "blocked",
                "mapping alice is being deleted or has expired, but an unmanaged entry stays: remove it by hand \
                    to end the access, or renew the mapping to keep it"
                    .to_owned()
            ),
            (
                "leaves",
                "mapping mine is being deleted or has expired, and its entry will be removed".to_owned()
            ),
        ]
    );
}
