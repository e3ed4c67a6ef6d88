//! A principal whose entry is in the text, and is read as something else: the cause names its line, as `lint` does.

use super::*;
use crate::explain::cause::LikelyCause;
use crate::explain::is_typo;

fn with_roles(text: &str) -> World {
    let mut world = World::new(Mode::ConfigMap);
    world.data = BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]);
    world.document = Document::parse(&world.data);
    world
}

fn cause(world: &World, arn: &str) -> LikelyCause {
    let explanation = world.explain(arn);
    assert!(!explanation.has_access, "{arn}");
    explanation.causes.into_iter().next().expect("a cause")
}

fn text() -> String {
    let entry = |name: &str| {
        format!(
            "- rolearn: arn:aws:iam::111122223333:role/{name}\n  username: {name}\n  groups:\n  - {name}s\n"
        )
    };
    ["one", "two", "three"].map(entry).concat()
}

#[test]
fn an_entry_in_a_broken_line_is_found_with_the_line_and_the_fix_of_lint() {
    let whole = text();
    let faults: [(&str, &str); 6] = [
        (
            "- rolearn: arn:aws:iam::111122223333:role/two",
            "  rolearn: arn:aws:iam::111122223333:role/two",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/three",
            "  rolearn: arn:aws:iam::111122223333:role/three",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/two",
            "-rolearn: arn:aws:iam::111122223333:role/two",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/two",
            "- rolearn arn:aws:iam::111122223333:role/two",
        ),
        (
            "- rolearn: arn:aws:iam::111122223333:role/two",
            "- rolearn:arn:aws:iam::111122223333:role/two",
        ),
        ("  username: two\n", "- username: two\n"),
    ];
    let mut lost = 0;
    for (right, wrong) in faults {
        let text = whole.replace(right, wrong);
        let world = with_roles(&text);
        let problems = &world
            .document
            .section(crate::aws_auth::Section::Roles)
            .problems;
        for name in ["one", "two", "three"] {
            if world.explain(&role(name)).has_access {
                continue;
            }
            lost += 1;
            let cause = cause(&world, &role(name));
            assert!(
                matches!(
                    cause.kind,
                    CauseKind::EntryDropped | CauseKind::SectionDropped
                ),
                "{text}{name}: {cause:#?}"
            );
            let at = text.lines().position(|line| line.contains(&role(name)));
            let at = format!("contains the caller in line {}", at.expect("a line") + 1);
            assert!(cause.message.contains(&at), "{text}{name}: {cause:#?}");
            // The place and the fix are those that `lint` has.
            let fix = cause.fix.expect("a fix").text;
            assert!(
                problems.iter().any(|problem| fix.contains(&format!(
                    "line {}, {}",
                    problem.line,
                    problem.fix()
                ))),
                "{text}{name}: {fix}"
            );
        }
    }
    assert!(lost >= faults.len(), "{lost}");
}

#[test]
fn names_that_differ_in_two_characters_are_found() {
    for (one, other) in [
        ("ci-deploy", "ci-deployer"),
        ("developer", "edvleoper"),
        ("admin", "adimns"),
        ("dev", "devs"),
    ] {
        for (name, of) in [(one, other), (other, one)] {
            assert!(is_typo(name, of), "{name} {of}");
            let text = text().replace("role/two", &format!("role/{of}"));
            let cause = cause(&with_roles(&text), &role(name));
            assert_eq!(cause.kind, CauseKind::Typo, "{name}: {cause:#?}");
        }
    }
    for (name, of) in [
        ("dev", "ops"),
        ("dev", "qa"),
        ("admin", "audit"),
        ("reader", "writer"),
    ] {
        assert!(!is_typo(name, of), "{name} {of}");
    }
}

#[test]
fn an_invalid_arn_of_the_same_name_comes_before_a_wildcard() {
    for invalid in [
        "arn:aws:iam::11112222333:role/two",
        "arn:aws:iam:111122223333:role/two",
        "arn:aws:iam::111122223333:rol/two",
        "arn:aws:iam::111122223333:two",
    ] {
        let text = text()
            .replace(&role("one"), "arn:aws:iam::111122223333:role/*")
            .replace(&role("two"), invalid);
        let cause = cause(&with_roles(&text), &role("two"));
        assert_eq!(cause.kind, CauseKind::InvalidArn, "{invalid}: {cause:#?}");
        assert!(cause.message.contains("mapRoles line 5"), "{cause:#?}");
        let edit = cause.fix.and_then(|fix| fix.edit).expect("an edit");
        assert_eq!((edit.from.as_str(), edit.to), (invalid, role("two")));
    }
    // What names another account is no slip of this one.
    let other = text().replace(&role("two"), "arn:aws:iam:444455556666:role/two");
    assert_eq!(
        cause(&with_roles(&other), &role("two")).kind,
        CauseKind::Unnamed
    );
}

#[test]
fn the_root_user_gets_what_counts_in_the_mode() {
    let root = "arn:aws:iam::111122223333:root";
    for (mode, words) in [
        (Mode::ConfigMap, "only if mapUsers contains this ARN"),
        (Mode::ApiAndConfigMap, "can't have an access entry"),
        (Mode::Api, "can't have an access entry"),
    ] {
        let message = cause(&World::new(mode), root).message;
        assert!(message.contains(words), "{mode}: {message}");
    }
}

#[test]
fn an_entry_under_a_misspelled_key_or_in_other_letters_is_found() {
    for key in [
        "mapRole",
        "map_roles",
        "maproles",
        "mapRoles ",
        "map\u{200b}Roles",
    ] {
        let mut world = with_roles("");
        world.data = BTreeMap::from([(key.to_owned(), text())]);
        world.document = Document::parse(&world.data);
        let cause = cause(&world, &role("two"));
        assert_eq!(cause.kind, CauseKind::KeyCase, "{key:?}: {cause:#?}");
        let fix = cause.fix.expect("a fix").text;
        assert!(fix.contains("to mapRoles ("), "{key:?}: {fix}");
    }
    for (written, line) in [
        ("arn:aws:iam::111122223333:role/tw\u{43e}", 5),
        ("\"arn:aws:iam::111122223333:role/two\\u200b\"", 5),
        ("\\\"arn:aws:iam::111122223333:role/two\\\"", 5),
    ] {
        let text = text().replace(&role("two"), written);
        let cause = cause(&with_roles(&text), &role("two"));
        let is_known = matches!(cause.kind, CauseKind::InvalidArn | CauseKind::EntryDropped);
        assert!(is_known, "{written}: {cause:#?}");
        let place = format!("line {line}");
        assert!(cause.message.contains(&place), "{written}: {cause:#?}");
    }
}

#[test]
fn an_account_that_is_written_as_an_arn_is_found() {
    let mut world = with_roles("");
    let accounts = "- arn:aws:iam::777788889999:root\n".to_owned();
    world.data = BTreeMap::from([("mapAccounts".to_owned(), accounts)]);
    world.document = Document::parse(&world.data);
    let cause = cause(&world, "arn:aws:iam::777788889999:role/x");
    assert!(cause.message.contains("no account ID"), "{cause:#?}");
    let fix = cause.fix.expect("a fix").text;
    assert!(fix.contains("write \"777788889999\""), "{fix}");
}

#[test]
fn groups_that_are_read_as_items_of_the_list_are_noted() {
    let text = text().replacen("  groups:\n  - ones", "  groups:\n- ones", 1);
    let explanation = with_roles(&text).explain(&role("one"));
    assert!(explanation.has_access);
    let notes = explanation.notes.join("\n");
    assert!(notes.contains("mapRoles line 4"), "{notes}");
}

#[test]
fn nodes_with_an_access_entry_of_another_type_are_noted() {
    let mut world = World::new(Mode::ApiAndConfigMap);
    let text = "- rolearn: arn:aws:iam::111122223333:role/Viewer\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: \
        [system:bootstrappers, system:nodes]\n";
    world.data = BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]);
    world.document = Document::parse(&world.data);
    let notes = world.explain(&role("Viewer")).notes.join("\n");
    assert!(notes.contains("these nodes can't work"), "{notes}");
    assert!(notes.contains("--type EC2_LINUX"), "{notes}");
    let notes = world.explain(&role("Boss")).notes.join("\n");
    assert!(!notes.contains("nodes"), "{notes}");
}
