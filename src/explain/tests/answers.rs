//! Answers that hide nothing: what is dropped, who is declared and gets nothing, who else is an administrator.

use super::*;

fn idle(mapping: &str, role_name: &str, why: IdleReason, words: &str) -> IdleMapping {
    IdleMapping {
        mapping: mapping.to_owned(),
        key: Key::parse_arn(&role(role_name)),
        permission_set: None,
        why,
        words: words.to_owned(),
    }
}

fn with_roles(text: &str) -> World {
    let mut world = World::new(Mode::ConfigMap);
    world.data.insert("mapRoles".to_owned(), text.to_owned());
    world.document = Document::parse(&world.data);
    world
}

fn fix_of(cause: &super::super::cause::LikelyCause) -> String {
    let fix = cause.fix.as_ref().expect("a fix");
    format!("{} {}", fix.text, fix.commands.join(" "))
}

#[test]
fn a_mapping_that_grants_nothing_is_named_before_another_is_advised() {
    for (why, command) in [
        (IdleReason::Suspended, r#"{"spec":{"suspend":false}}"#),
        (IdleReason::Expired, r#"{"spec":{"validUntil":null}}"#),
        (
            IdleReason::Refused,
            "kubectl describe identitymapping other",
        ),
        (
            IdleReason::Deleting,
            "kubectl describe identitymapping other",
        ),
    ] {
        let mut world = World::new(Mode::ConfigMap);
        world.installed = true;
        world.without_key = vec![idle("other", "Other", why, "the reason")];
        let explanation = world.explain(&role("Other"));
        let first = explanation.causes.first().expect("a cause");
        assert_eq!(first.kind, CauseKind::NotInEffect, "{explanation:?}");
        assert!(first.message.contains("mapping other"), "{first:?}");
        assert!(first.message.ends_with("the reason"), "{first:?}");
        assert!(fix_of(first).contains(command), "{why:?}: {first:?}");
    }
}

#[test]
fn a_permission_set_that_is_not_resolved_is_found_by_its_name() {
    let mut world = World::new(Mode::ConfigMap);
    let mut set = idle("readers", "x", IdleReason::Refused, "no role was found");
    set.key = None;
    set.permission_set = Some(("Readers".to_owned(), "111122223333".to_owned()));
    world.without_key = vec![set];
    let named = |name: &str| {
        let explanation = world.explain(&role(name));
        explanation.causes[0].message.contains("mapping readers")
    };
    assert!(named("AWSReservedSSO_Readers_fedcba9876543210"));
    assert!(!named("AWSReservedSSO_Writers_fedcba9876543210"));
}

#[test]
fn a_broken_key_that_does_not_name_the_caller_is_fixed_first() {
    let world = with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/Other\n  username: {{SessionName}}\n",
    );
    let explanation = world.explain(&role("Newcomer"));
    let [cause] = explanation.causes.as_slice() else {
        panic!("one cause: {explanation:?}");
    };
    assert!(
        cause.message.contains("all of mapRoles is dropped"),
        "{cause:?}"
    );
    assert!(
        fix_of(cause).starts_with("fix mapRoles line 2 first"),
        "{cause:?}"
    );
    // Where access entries count, the new entry needs no aws-auth.
    let mut both = World::new(Mode::ApiAndConfigMap);
    both.data = world.data;
    both.document = Document::parse(&both.data);
    let explanation = both.explain(&role("Newcomer"));
    assert!(
        !fix_of(&explanation.causes[0]).contains("first"),
        "{explanation:?}"
    );
}

#[test]
fn access_by_the_account_alone_does_not_hide_why_the_own_entry_gives_none() {
    let account = "arn:aws:iam::777788889999:role/";
    for (entry, kind) in [
        (
            format!("- rolearn: {account}team/Dev\n  username: dev\n  groups: [dev]\n"),
            Some(CauseKind::Path),
        ),
        (
            format!("- rolearn: {account}Dev\n  username: {{{{SessionName}}}}\n"),
            Some(CauseKind::SectionDropped),
        ),
        (format!("- rolearn: {account}Devs\n  username: dev\n"), None),
    ] {
        let explanation = with_roles(&entry).explain(&format!("{account}Dev"));
        assert!(explanation.has_access, "{explanation:?}");
        let found = explanation.causes.first().map(|cause| cause.kind);
        assert_eq!(found, kind, "{entry}: {explanation:?}");
        assert!(
            explanation
                .notes
                .iter()
                .any(|note| note.contains("only mapAccounts"))
        );
    }
}

#[test]
fn values_that_are_dropped_are_named() {
    let world = with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/Dev\n  username: dev\n  groups: developers\n",
    );
    let explanation = world.explain(&role("Dev"));
    assert!(explanation.has_access && explanation.identities[0].groups.is_empty());
    let note = |notes: &[String]| {
        notes
            .iter()
            .any(|note| note.starts_with("mapRoles line 3: the value is dropped: "))
    };
    assert!(note(&explanation.notes), "{explanation:?}");
    let report = Explainer::new(world.scene()).report();
    assert!(note(&report.notes), "{:?}", report.notes);
}

#[test]
fn a_person_with_the_username_of_nodes_is_advised_to_change_it() {
    let world = with_roles(
        "- rolearn: arn:aws:iam::111122223333:role/Ops\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:masters]\n",
    );
    let explanation = world.explain(&session("Ops", "alice"));
    assert!(!explanation.has_access);
    let fix = fix_of(&explanation.causes[0]);
    assert!(fix.contains("\"ops:{{SessionName}}\""), "{fix}");
    let nodes = World::new(Mode::ConfigMap).explain(&session("Nodes", "alice"));
    assert!(
        fix_of(&nodes.causes[0]).contains("than that of the nodes"),
        "{nodes:?}"
    );
}

#[test]
fn administrators_without_an_entry_are_listed() {
    let mut world = World::new(Mode::ConfigMap);
    let binding = |name: &str, groups: &[&str], users: &[&str], accounts: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Binding {
            namespace: None,
            name: name.to_owned(),
            role: crate::observed::BoundRole {
                kind: "ClusterRole".to_owned(),
                name: "cluster-admin".to_owned(),
            },
            groups: owned(groups),
            users: owned(users),
            service_accounts: owned(accounts),
        }
    };
    world.rbac = vec![
        binding("cluster-admin", &["system:masters"], &[], &[]),
        binding(
            "tools",
            &["developers", "oidc:admins", "system:serviceaccounts:ci"],
            &["bob", "cert-admin", "system:serviceaccount:ops:runner"],
            &["flux-system/flux"],
        ),
        Binding {
            namespace: Some("team".to_owned()),
            ..binding("own-namespace", &[], &[], &["team/own"])
        },
    ];
    let providers = Ok(vec!["corp".to_owned()]);
    let scene = Scene {
        identity_providers: Some(&providers),
        ..world.scene()
    };
    let report = Explainer::new(scene).report();
    let others = report.other_ways.administrators.expect("RBAC was read");
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    assert_eq!(
        others,
        [
            "ServiceAccount ci/*, by ClusterRoleBinding tools",
            "ServiceAccount flux-system/flux, by ClusterRoleBinding tools",
            "ServiceAccount ops/runner, by ClusterRoleBinding tools",
            "User cert-admin, by ClusterRoleBinding tools",
            "Group oidc:admins, by ClusterRoleBinding tools",
        ]
    );
    assert_eq!(
        report.other_ways.identity_providers,
        Some(vec!["corp".to_owned()])
    );
    // What can't be known is said.
    for (read, words) in [
        (None, "were not read"),
        (
            Some(Err("not authorized".to_owned())),
            "could not be read: not authorized",
        ),
    ] {
        let scene = Scene {
            identity_providers: read.as_ref(),
            ..world.scene()
        };
        let notes = Explainer::new(scene).report().notes;
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
    }
}
