//! A principal that is asked for with another path than its entry or IAM has.

use super::*;

fn user(path: &str) -> String {
    format!("arn:aws:iam::111122223333:user/{path}")
}

fn with_users(mode: Mode) -> World {
    let mut world = World::new(mode);
    world.data.insert(
        "mapUsers".to_owned(),
        format!(
            "- userarn: {}\n  username: auditor\n",
            user("external/auditor")
        ),
    );
    world.document = Document::parse(&world.data);
    world
}

fn declare(world: &mut World, arn: &str, reported: bool) {
    world.installed = true;
    world.declared.insert(
        Key::parse_arn(arn).expect("a key"),
        DeclaringMapping {
            mapping: "auditors".to_owned(),
            until: None,
            not_ready: None,
            reported,
        },
    );
}

fn in_iam(world: &mut World, arn: &str) {
    let AwsState::Known(view) = &mut world.aws else {
        panic!("EKS is known");
    };
    let name = arn.rsplit('/').next().expect("a name").to_owned();
    let principal = IamPrincipal {
        arn: arn.to_owned(),
        id: "AIDA".to_owned(),
        created: None,
    };
    let account = IamAccount {
        users: Some(Listing {
            read: at(100),
            principals: Arc::new([(name, principal)].into()),
        }),
        ..IamAccount::default()
    };
    let accounts = [("111122223333".parse().expect("an account"), account)];
    view.iam = Iam {
        accounts: accounts.into(),
    }
    .into();
}

#[test]
fn an_entry_with_another_path_is_named_and_the_operator_is_not_suspected() {
    for (arn, declared) in [
        (user("auditor"), true),
        (user("auditor"), false),
        (user("other/auditor"), true),
    ] {
        let mut world = with_users(Mode::ConfigMap);
        if declared {
            declare(&mut world, &arn, true);
        }
        let explanation = world.explain(&arn);
        assert!(!explanation.has_access, "{arn}: IAM was not read");
        let first = explanation.causes.first().expect("a cause");
        assert_eq!(first.kind, CauseKind::Path, "{explanation:?}");
        for part in [
            user("external/auditor").as_str(),
            "another path",
            "as \"auditor\"",
        ] {
            assert!(first.message.contains(part), "{part}: {first:?}");
        }
        let fix = first.fix.as_ref().expect("a fix");
        assert_eq!(
            fix.commands[0],
            "aws iam get-user --user-name auditor --query User.Arn --output text"
        );
        assert_eq!(
            fix.commands
                .iter()
                .any(|it| it.contains("patch identitymapping auditors")),
            declared,
            "{fix:?}"
        );
        let words = format!("{explanation:?}");
        assert!(
            !words.contains("not active") && !words.contains("running"),
            "{words}"
        );
    }
}

#[test]
fn the_path_that_iam_has_is_the_one_of_logins() {
    let mut world = with_users(Mode::ApiAndConfigMap);
    in_iam(&mut world, &user("external/auditor"));
    let explanation = world.explain(&user("auditor"));
    assert!(explanation.has_access, "{explanation:?}");
    assert_eq!(explanation.resolved_to, user("external/auditor"));
    assert_eq!(explanation.identities[0].username, "auditor");
    assert!(
        explanation.notes[0].contains(&user("external/auditor")),
        "{explanation:?}"
    );
    // The entry's path is wrong, and the given one is right.
    in_iam(&mut world, &user("auditor"));
    assert!(!world.explain(&user("auditor")).has_access);
}

#[test]
fn an_access_entry_of_another_path_grants_access_and_is_named() {
    let mut world = World::new(Mode::Api);
    let AwsState::Known(view) = &mut world.aws else {
        panic!("EKS is known");
    };
    let (arn, state) = entry("external/Reader", "reader", &["readers"]);
    let mut entries = (*view.entries).clone();
    entries.by_principal.insert(arn.clone(), state);
    view.entries = entries.into();
    view.iam = Iam::default().into();
    declare(&mut world, &role("Reader"), true);
    for asked in [role("Reader"), role("wrong/Reader"), arn.clone()] {
        let explanation = world.explain(&asked);
        assert!(explanation.has_access, "{explanation:?}");
        assert_eq!(explanation.identities[0].username, "reader");
        let named = explanation.notes.iter().any(|note| note.contains(&arn));
        assert_eq!(named, asked != arn, "{asked}: {explanation:?}");
    }
}

#[test]
fn a_mapping_without_its_entry_says_what_is_missing() {
    for (reported, words) in [
        (true, "was Ready, but its entry is missing now"),
        (false, "has not reported a status yet"),
    ] {
        let mut world = World::new(Mode::ConfigMap);
        declare(&mut world, &role("Lost"), reported);
        let explanation = world.explain(&role("Lost"));
        assert_eq!(explanation.causes[0].kind, CauseKind::NotInEffect);
        assert!(
            explanation.causes[0].message.ends_with(words),
            "{explanation:?}"
        );
    }
}

#[test]
fn after_a_release_access_reports_that_nothing_is_enforced() {
    let mut world = World::new(Mode::ConfigMap);
    let said = |world: &World| {
        let report = Explainer::new(world.scene()).report();
        report
            .notes
            .iter()
            .any(|note| note.starts_with("ownership was given up"))
    };
    assert!(!said(&world));
    world.released = true;
    assert!(said(&world));
}
