//! Whom the door lets in, and what is said to those whom it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cause::CauseKind;
use super::*;
use crate::access_entry::EksCluster;
use crate::access_entry::{
    AccessEntry, Association, Entries, EntryState, Kind, PRINCIPAL_ID_TAG, Scope, policy_arn,
};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::Document;
use crate::observed::{AwsState, Binding, Bindings, ConfigMapName};
use crate::observed::{AwsView, Iam, IamAccount, IamPrincipal, Listing, Mode};
use crate::principal::Key;
use crate::principal::Partition;
use crate::time::Timestamp;

const MAP_ROLES: &str = r#"
- rolearn: arn:aws:iam::111122223333:role/Nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/Admin
  username: admin
  groups: [system:masters]
- rolearn: arn:aws:iam::111122223333:role/Developers
  username: dev:{{SessionName}}
  groups: [old]
- rolearn: arn:aws:iam::111122223333:role/Developers
  username: dev:{{SessionName}}
  groups: [developers]
- rolearn: arn:aws:iam::111122223333:role/team/Pathed
  username: pathed
- rolearn: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef
  username: ops
  groups: [ops]
- rolearn: arn:aws:iam::444455556666:role/Auditor
  username: auditor
- rolearn: arn:aws:iam::111122223333:role/Nameless
  groups: [g]
- rolearn: "arn:aws:iam::111122223333:role/Spaced "
  username: spaced
- rolearn: arn:aws:iam::111122223333:role/Wild*
  username: wild
- rolearn: arn:aws:sts::111122223333:assumed-role/Session/me
  username: session
- username: no-arn
  roleArns: arn:aws:iam::111122223333:role/Dropped
- sso: {permissionSetName: Views, accountID: "111122223333"}
  username: views
- rolearn: arn:aws:iam::111122223333:role/ByBoth
  username: by-text
"#;
const MAP_USERS: &str = r"
- userarn: arn:aws:iam::111122223333:user/people/Bob
  username: bob
- userarn: arn:aws:iam::111122223333:user/Eve
  username: eve
- userarn: arn:aws:iam::111122223333:user/eve
  username: eve-too
- userarn: arn:aws:iam::111122223333:role/Admin
  username: too-late
";
const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

/// What was read, owned.
struct World {
    data: BTreeMap<String, String>,
    document: Document,
    aws: AwsState,
    bindings: Bindings,
    rbac: Vec<Binding>,
    declared: BTreeMap<Key, DeclaringMapping>,
    without_key: Vec<IdleMapping>,
    installed: bool,
    released: bool,
    config_map: ConfigMapName,
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

fn entry(name: &str, username: &str, groups: &[&str]) -> (String, EntryState) {
    let principal_arn = role(name);
    let entry = AccessEntry {
        arn: format!(
            "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{name}/x"
        ),
        principal_arn: principal_arn.clone(),
        kind: Kind::Known(EntryType::Standard),
        username: username.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: BTreeMap::from([(PRINCIPAL_ID_TAG.to_owned(), format!("AROA{name}"))]),
        created: at(0),
        modified: at(0),
        policies: BTreeMap::new(),
    };
    let state = EntryState {
        entry: Some(entry),
        described: Some(at(0)),
        ..EntryState::default()
    };
    (principal_arn, state)
}

impl World {
    fn new(mode: Mode) -> Self {
        let data = BTreeMap::from([
            ("mapRoles".to_owned(), MAP_ROLES.to_owned()),
            ("mapUsers".to_owned(), MAP_USERS.to_owned()),
            ("mapAccounts".to_owned(), "- \"777788889999\"".to_owned()),
        ]);
        let (viewer, mut viewer_state) = entry("Viewer", "view:{{SessionName}}", &["viewers"]);
        let policy = |name: &str| policy_arn(Partition::Aws, name);
        let association = |scope| Association {
            scope,
            associated: at(0),
            modified: at(0),
        };
        if let Some(entry) = &mut viewer_state.entry {
            let scope = Scope::Namespaces(BTreeSet::from(["dev-*".to_owned()]));
            entry
                .policies
                .insert(policy("AmazonEKSViewPolicy"), association(scope));
        }
        let (boss, mut boss_state) = entry("Boss", "boss", &[]);
        if let Some(entry) = &mut boss_state.entry {
            entry.policies.insert(
                policy("AmazonEKSClusterAdminPolicy"),
                association(Scope::Cluster),
            );
        }
        let entries = [
            (viewer, viewer_state),
            (boss, boss_state),
            entry("ByBoth", "by-entry", &[]),
            entry("Recreated", "r", &["g"]),
            entry("old/Moved", "m", &[]),
            entry("Gone", "g", &[]),
        ];
        let exists = |path: &str, name: &str, id: &str| {
            let arn = role(&format!("{path}{name}"));
            let principal = IamPrincipal {
                arn,
                id: id.to_owned(),
                created: None,
            };
            (name.to_lowercase(), principal)
        };
        let principals = [
            exists("", "Viewer", "AROAViewer"),
            exists("", "Boss", "AROABoss"),
            exists("", "ByBoth", "AROAByBoth"),
            exists("", "Recreated", "AROAOther"),
            exists("new/", "Moved", "AROAold/Moved"),
            exists("teams/", "Nowhere", "AROANowhere"),
        ];
        let account = IamAccount {
            roles: Some(Listing {
                read: at(100),
                principals: Arc::new(principals.into()),
            }),
            ..IamAccount::default()
        };
        let iam = Iam {
            accounts: [("111122223333".parse().expect("an account"), account)].into(),
        };
        let cluster = EksCluster::parse(CLUSTER).expect("a cluster");
        let entries = Entries {
            listed: Some(at(10)),
            by_principal: entries.into(),
            ..Entries::default()
        };
        let view = AwsView::new(cluster, mode, entries, iam);
        Self {
            document: Document::parse(&data),
            data,
            aws: AwsState::Known(Box::new(view)),
            bindings: Bindings::default(),
            rbac: Vec::new(),
            declared: BTreeMap::new(),
            without_key: Vec::new(),
            installed: false,
            released: false,
            config_map: ConfigMapName {
                namespace: "kube-system".to_owned(),
                name: "aws-auth".to_owned(),
            },
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            fix_data: |data, is_kept| crate::lint::fix_data(data, is_kept, &BTreeSet::new()).data,
            data: Some(&self.data),
            document: &self.document,
            aws: &self.aws,
            bindings: &self.bindings,
            rbac: Some(&self.rbac),
            identity_providers: None,
            flags: "",
            now: at(20),
            declared: &self.declared,
            without_key: &self.without_key,
            installed: self.installed,
            released: self.released,
            config_map: &self.config_map,
        }
    }

    fn explain(&self, arn: &str) -> Explanation {
        let caller = Caller::parse(arn).expect("a caller");
        Explainer::new(self.scene()).explain(&caller, None)
    }
}

fn session(role: &str, session: &str) -> String {
    format!("arn:aws:sts::111122223333:assumed-role/{role}/{session}")
}

#[test]
fn granted_access_and_identity() {
    let both = World::new(Mode::ApiAndConfigMap);
    let text = World::new(Mode::ConfigMap);
    let api = World::new(Mode::Api);
    let cases = [
        (&both, session("Viewer", "a@b"), "access entry", "view:a-b"),
        (
            &both,
            role("Viewer"),
            "access entry",
            "view:{{SessionName}}",
        ),
        (&both, session("ByBoth", "a"), "access entry", "by-entry"),
        (&text, session("ByBoth", "a"), "mapRoles line", "by-text"),
        (&api, session("ByBoth", "a"), "access entry", "by-entry"),
        (
            &both,
            session("Developers", "a@b"),
            "mapRoles line 11",
            "dev:a-b",
        ),
        (
            &both,
            session("DEVELOPERS", "a"),
            "mapRoles line 11",
            "dev:a",
        ),
        (&both, session("Admin", "a"), "mapRoles line 5", "admin"),
        (&both, session("Nameless", "a"), "mapRoles line 21", ""),
        (
            &both,
            session("Nodes", "i-0123456789abcdef0"),
            "mapRoles line 2",
            "system:node:{{EC2PrivateDNSName}}",
        ),
        (
            &both,
            "arn:aws:iam::111122223333:user/people/bob".to_owned(),
            "mapUsers line 2",
            "bob",
        ),
        (
            &both,
            "arn:aws:iam::777788889999:user/x".to_owned(),
            "mapAccounts",
            "arn:aws:iam::777788889999:user/x",
        ),
    ];
    for (world, arn, place, username) in cases {
        let explanation = world.explain(&arn);
        assert!(
            explanation.has_access && explanation.causes.is_empty(),
            "{explanation:?}"
        );
        let [identity] = explanation.identities.as_slice() else {
            panic!("one identity: {explanation:?}");
        };
        assert!(
            identity.place.to_string().starts_with(place),
            "{identity:?}"
        );
        assert_eq!(identity.username, username, "{arn}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn denied_callers_get_cause_and_fix() {
    let both = World::new(Mode::ApiAndConfigMap);
    let text = World::new(Mode::ConfigMap);
    let api = World::new(Mode::Api);
    let user = |name: &str| format!("arn:aws:iam::111122223333:user/{name}");
    let cases = [
        (
            &text,
            session("Pathed", "a"),
            CauseKind::Path,
            "in mapRoles line 14, write \"arn:aws:iam::111122223333:role/Pathed\"",
        ),
        (
            &text,
            user("Bob"),
            CauseKind::Path,
            "write \"arn:aws:iam::111122223333:user/Bob\"",
        ),
        (
            &text,
            session("AWSReservedSSO_Ops_fedcba9876543210", "a"),
            CauseKind::SuffixChanged,
            "role/AWSReservedSSO_Ops_fedcba9876543210\" instead",
        ),
        (
            &text,
            role("Auditor"),
            CauseKind::OtherAccount,
            "if account 444455556666 was intended, sign in there",
        ),
        (
            &text,
            role("Spaced"),
            CauseKind::Space,
            "instead of \"arn:aws:iam::111122223333:role/Spaced \"",
        ),
        (
            &text,
            role("Wildcat"),
            CauseKind::Wildcard,
            "add this to mapRoles",
        ),
        (
            &text,
            role("Session"),
            CauseKind::Session,
            "write \"arn:aws:iam::111122223333:role/Session\"",
        ),
        (
            &text,
            role("Dropped"),
            CauseKind::EntryDropped,
            "in mapRoles line 29",
        ),
        (
            &text,
            role("AWSReservedSSO_Views_0123456789abcdef"),
            CauseKind::Sso,
            "add this to mapRoles",
        ),
        (
            &text,
            session("Nodes", "me"),
            CauseKind::NotAnInstance,
            "another role than that of the nodes",
        ),
        (
            &text,
            role("Develpers"),
            CauseKind::Typo,
            "if that entry was intended for this principal",
        ),
        (
            &text,
            user("Admin"),
            CauseKind::OtherKind,
            "add this to mapUsers",
        ),
        (
            &text,
            "arn:aws:iam::111122223333:root".to_owned(),
            CauseKind::NotAPrincipal,
            "sign in with an IAM role",
        ),
        (
            &text,
            role("Nowhere"),
            CauseKind::Unnamed,
            "add this to mapRoles",
        ),
        (
            &both,
            role("Nowhere"),
            CauseKind::Unnamed,
            "create an access entry",
        ),
        (
            &both,
            session("Recreated", "a"),
            CauseKind::Recreated,
            "delete the entry and create it again",
        ),
        (
            &both,
            session("Moved", "a"),
            CauseKind::Recreated,
            "delete the entry and create it again",
        ),
        (
            &both,
            session("Gone", "a"),
            CauseKind::Recreated,
            "recreate the principal in IAM",
        ),
        (
            &api,
            session("Developers", "a"),
            CauseKind::Mode,
            "create an access entry, and give it the same identity",
        ),
        (
            &api,
            "arn:aws:iam::777788889999:role/x".to_owned(),
            CauseKind::Mode,
            "replace GROUP with the group",
        ),
    ];
    for (world, arn, kind, fix) in cases {
        let explanation = world.explain(&arn);
        assert!(
            !explanation.has_access && explanation.refusal.is_some(),
            "{explanation:?}"
        );
        let cause = &explanation.causes[0];
        assert_eq!(cause.kind, kind, "{arn}: {explanation:#?}");
        let text = cause.fix.as_ref().map(|fix| fix.text.as_str());
        assert!(
            text.is_some_and(|text| text.contains(fix)),
            "{arn}: {text:?}"
        );
    }
}

#[test]
fn the_commands_make_the_same_entry_again() {
    let world = World::new(Mode::ApiAndConfigMap);
    let commands = |arn: &str| {
        let mut explanation = world.explain(arn);
        explanation.causes.remove(0).fix.expect("a fix").commands
    };
    assert_eq!(
        commands(&session("Recreated", "a")),
        [
            "aws eks delete-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/Recreated",
            "aws eks create-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/Recreated --username r \
             --kubernetes-groups g",
        ]
    );
    assert_eq!(
        commands(&session("Moved", "a")),
        [
            "aws eks delete-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/old/Moved",
            "aws eks create-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/new/Moved --username m",
        ]
    );
    // IAM tells the path, which a session's ARN lacks and EKS wants.
    assert_eq!(
        commands(&session("Nowhere", "a")),
        [
            "aws eks create-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/teams/Nowhere \
          --kubernetes-groups GROUP"
        ]
    );
}

#[test]
fn a_section_that_is_dropped_names_the_line() {
    let mut world = World::new(Mode::ConfigMap);
    let broken = format!(
        "{MAP_USERS}- userarn: arn:aws:iam::111122223333:user/dan\n  username: {{{{SessionName}}}}\n"
    );
    world.data.insert("mapUsers".to_owned(), broken);
    world.data.insert(
        "maproles".to_owned(),
        format!("- rolearn: {}\n  username: x\n", role("LowerCase")),
    );
    world.document = Document::parse(&world.data);
    for (arn, kind, words) in [
        (
            "arn:aws:iam::111122223333:user/people/Bob".to_owned(),
            CauseKind::SectionDropped,
            "contains the caller in line 2, but all of mapUsers is dropped because of line 11",
        ),
        (
            role("LowerCase"),
            CauseKind::KeyCase,
            "the key maproles contains the caller",
        ),
    ] {
        let explanation = world.explain(&arn);
        assert_eq!(explanation.causes[0].kind, kind, "{explanation:?}");
        assert!(
            explanation.causes[0].message.contains(words),
            "{explanation:?}"
        );
    }
}

#[test]
fn fix_is_a_mapping_when_the_operator_is_installed() {
    let mut world = World::new(Mode::ConfigMap);
    world.installed = true;
    for (arn, name) in [
        (session("Pathed", "a"), "pathed"),
        (
            session("AWSReservedSSO_Ops_fedcba9876543210", "a"),
            "ops.sso-fedcba",
        ),
        (role("Nowhere"), "nowhere"),
    ] {
        let mut explanation = world.explain(&arn);
        let manifest = explanation
            .causes
            .remove(0)
            .fix
            .and_then(|fix| fix.manifest);
        let manifest = manifest.unwrap_or_else(|| panic!("a manifest for {arn}"));
        assert_eq!(manifest["metadata"]["name"], name);
        assert_eq!(crate::api::check_json(&manifest), Ok(()));
    }
}

#[test]
fn a_mapping_that_is_not_in_effect_reports_why() {
    let mut world = World::new(Mode::ApiAndConfigMap);
    let declared = |mapping: &str, words: Option<&str>| DeclaringMapping {
        mapping: mapping.to_owned(),
        until: None,
        not_ready: words.map(str::to_owned),
        reported: true,
    };
    let key = |name: &str| Key::parse_arn(&role(name)).expect("a key");
    world
        .declared
        .insert(key("Nowhere"), declared("nowhere", Some("EksRefused: no")));
    world
        .declared
        .insert(key("Recreated"), declared("recreated", None));
    let nowhere = world.explain(&role("Nowhere"));
    assert_eq!(nowhere.causes[0].kind, CauseKind::NotInEffect);
    assert!(
        nowhere.causes[0].message.contains("EksRefused: no"),
        "{nowhere:?}"
    );
    let recreated = world.explain(&role("Recreated"));
    let fix = recreated.causes[0].fix.as_ref().expect("a fix");
    assert_eq!(
        fix.commands,
        [
            "kubectl annotate identitymapping recreated identity-mapper.dev/confirm=recreated-principal"
        ]
    );
}

#[test]
fn explain_me_uses_the_callers_own_id() {
    let world = World::new(Mode::ApiAndConfigMap);
    let door = Explainer::new(world.scene());
    let caller = Caller::parse(&session("Viewer", "a")).expect("a caller");
    assert!(door.explain(&caller, Some("AROAViewer:a")).has_access);
    let other = door.explain(&caller, Some("AROANew:a"));
    assert!(!other.has_access);
    assert!(
        other.passed_over[0]
            .why
            .contains("from AROAViewer to AROANew"),
        "{other:?}"
    );
    assert_eq!(other.causes[0].kind, CauseKind::Recreated, "{other:?}");
}

#[test]
fn two_spellings_of_a_user_are_two_identities() {
    let explanation = World::new(Mode::ConfigMap).explain("arn:aws:iam::111122223333:user/Eve");
    let usernames: Vec<&str> = explanation
        .identities
        .iter()
        .map(|it| it.username.as_str())
        .collect();
    assert_eq!(usernames, ["eve", "eve-too"]);
    assert!(
        explanation.notes[0].contains("at random"),
        "{explanation:?}"
    );
}

#[test]
fn report_sorts_by_power_and_lists_ineffective_entries_separately() {
    let mut world = World::new(Mode::ApiAndConfigMap);
    world.rbac = vec![Binding {
        service_accounts: BTreeSet::new(),
        namespace: Some("team".to_owned()),
        name: "devs".to_owned(),
        role: crate::observed::BoundRole {
            kind: "ClusterRole".to_owned(),
            name: "edit".to_owned(),
        },
        groups: BTreeSet::from(["developers".to_owned()]),
        users: BTreeSet::new(),
    }];
    let report = Explainer::new(world.scene()).report();
    let who: Vec<(String, bool, bool)> = report
        .principals
        .iter()
        .map(|row| {
            let name = row
                .identity
                .principal
                .rsplit('/')
                .next()
                .unwrap_or_default();
            (
                name.to_owned(),
                row.identity.administrator.is_some(),
                row.identity.node,
            )
        })
        .collect();
    let expected = [
        ("Boss", true, false),
        ("Admin", true, false),
        ("Developers", false, false),
        ("Viewer", false, false),
        ("777788889999", false, false),
        ("ByBoth", false, false),
        ("Nameless", false, false),
        ("Nodes", false, true),
        ("Eve", false, false),
        ("eve", false, false),
        ("Bob", false, false),
        ("Auditor", false, false),
    ];
    let names: Vec<(&str, bool, bool)> = who
        .iter()
        .map(|(name, a, n)| (name.as_str(), *a, *n))
        .collect();
    let sorted = |mut list: Vec<(&str, bool, bool)>| {
        list.sort_unstable();
        format!("{list:?}")
    };
    assert_eq!(sorted(names.clone()), sorted(expected.to_vec()));
    assert_eq!(names[..4], expected[..4], "by power");
    let dead: Vec<String> = report
        .nobody
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it.principal.rsplit('/').next().unwrap_or_default(),
                it.why
            )
        })
        .collect();
    for (name, why) in [
        ("Recreated", "deleted and recreated"),
        (
            "Moved",
            "now has the principal as arn:aws:iam::111122223333:role/new/Moved",
        ),
        ("Gone", "no longer has such a principal"),
        ("ByBoth", "role/ByBoth wins"),
        ("Developers", "the last one wins"),
        ("Admin", "mapRoles is read first"),
        ("Pathed", "the role's path"),
        ("Wild*", "not that of a role or user"),
    ] {
        assert!(
            dead.iter()
                .any(|it| it.starts_with(name) && it.contains(why)),
            "{name}: {dead:#?}"
        );
    }
    assert!(report.creator.is_none());
    assert!(
        Explainer::new(World::new(Mode::ConfigMap).scene())
            .report()
            .creator
            .is_some()
    );
}

mod agreement;
mod answers;
mod paths;
mod slips;
