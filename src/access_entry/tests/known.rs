//! What is known of the entries after listings, answers and words of change.

use super::*;

const OTHER: &str = "arn:aws:iam::111122223333:role/Other";

fn entry(principal_arn: &str, policies: &[&str]) -> AccessEntry {
    let association = |policy: &&str| {
        let association = Association {
            scope: Scope::Cluster,
            associated: at(0),
            modified: at(0),
        };
        ((*policy).to_owned(), association)
    };
    AccessEntry {
        principal_arn: principal_arn.to_owned(),
        arn: "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/x/1"
            .to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: "u".to_owned(),
        groups: set(&["g"]),
        tags: tags(&[("owner", "them")]),
        created: at(0),
        modified: at(0),
        policies: policies.iter().map(association).collect(),
    }
}

fn described(entry: AccessEntry, second: i64) -> Entries {
    let mut entries = Entries::default();
    let call = Call::Describe {
        principal_arn: entry.principal_arn.clone(),
    };
    entries.apply(&call, Output::Described(Box::new(entry)), at(second));
    entries
}

fn list(entries: &mut Entries, all: &[&str], administrators: &[&str], second: i64) {
    entries.take_listing(
        &set(all),
        &set(administrators),
        ADMIN,
        at(second),
        at(second + 1),
    );
}

#[test]
fn a_listing_shows_new_entries_and_what_to_describe() {
    let mut entries = described(entry(ROLE, &[]), 1);
    list(&mut entries, &[ROLE, OTHER], &[OTHER], 10);
    assert_eq!(entries.listed, Some(at(11)));
    assert!(entries.by_principal[ROLE].known().is_some());
    let other = &entries.by_principal[OTHER];
    assert!(other.listed_as_admin && other.known().is_none() && other.described.is_none());

    let once = entries.clone();
    list(&mut entries, &[ROLE, OTHER], &[OTHER], 10);
    assert_eq!(entries, once, "the same listing says nothing new");

    assert_eq!(entries.possible(ROLE).certain(), Some(&entry(ROLE, &[])));
    let unlisted = "arn:aws:iam::111122223333:role/Unlisted";
    assert_eq!(entries.possible(unlisted), Possible::none());
    assert_eq!(Entries::default().possible(unlisted), Possible::unknown());

    list(&mut entries, &[OTHER], &[], 20);
    let state = &entries.by_principal[ROLE];
    assert!(
        state.doubtful && state.may_be_gone,
        "it may lag behind: what it lacks is to be asked for"
    );
    let possible = entries.possible(ROLE);
    assert!(possible.absent && possible.may_exist(), "{possible:?}");
    entries.gone(ROLE, at(22), at(23));
    assert!(entries.is_absent(ROLE));
    assert_eq!(entries.possible(ROLE), Possible::none());
    list(&mut entries, &[ROLE, OTHER], &[], 52);
    let possible = entries.possible(ROLE);
    assert_eq!(
        possible,
        Possible::unknown(),
        "it lags, or it was made since"
    );
    entries.gone(ROLE, at(53), at(53));
    list(&mut entries, &[ROLE, OTHER], &[], 83);
    assert!(entries.possible(ROLE).exists(), "made since");
    let delete = Call::Delete {
        principal_arn: ROLE.to_owned(),
    };
    entries.apply(&delete, Output::Done, at(90));
    list(&mut entries, &[ROLE, OTHER], &[], 119);
    assert!(entries.is_absent(ROLE), "it lags behind our call");
    list(&mut entries, &[ROLE, OTHER], &[], 120);
    assert!(entries.possible(ROLE).exists(), "made since");
}

#[test]
fn an_administrator_that_was_created_or_deleted_is_stale() {
    for (policies, administrators, doubtful) in [
        (&[][..], &[][..], false),
        (&[ADMIN, VIEW], &[ROLE], false),
        (&[VIEW], &[ROLE], true),
        (&[ADMIN], &[], true),
    ] {
        let mut entries = described(entry(ROLE, policies), 1);
        list(&mut entries, &[ROLE], administrators, 10);
        let state = &entries.by_principal[ROLE];
        assert_eq!(state.doubtful, doubtful, "{policies:?} {administrators:?}");
        assert_eq!(state.known().is_none(), doubtful);
        assert!(
            state.entry.is_some(),
            "what was known still says whose it was"
        );
    }
}

#[test]
fn a_listing_that_began_before_a_write_does_not_undo_it() {
    let created = Call::Create {
        principal_arn: ROLE.to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: None,
        groups: BTreeSet::new(),
        tags: BTreeMap::new(),
    };
    let mut entries = Entries::default();
    entries.apply(&created, Output::Entry(Box::new(entry(ROLE, &[]))), at(15));
    list(&mut entries, &[], &[], 10);
    assert!(entries.by_principal[ROLE].known().is_some(), "made since");
    list(&mut entries, &[ROLE], &[ROLE], 12);
    assert!(
        !entries.by_principal[ROLE].doubtful,
        "its policies may be newer than the listing"
    );
    list(&mut entries, &[], &[], 44);
    assert!(
        entries.by_principal[ROLE].known().is_some(),
        "it may lag 30 s behind"
    );
    list(&mut entries, &[], &[], 45);
    assert!(entries.by_principal[ROLE].may_be_gone);
}

#[test]
fn answers_are_taken_over_what_was_known() {
    let mut entries = described(entry(ROLE, &[ADMIN]), 1);
    let principal_arn = || ROLE.to_owned();
    let policy_arn = || VIEW.to_owned();
    let view = Association {
        scope: namespaces(&["a"]),
        associated: at(2),
        modified: at(2),
    };
    let scope = view.scope.clone();
    entries.apply(
        &Call::Associate {
            principal_arn: principal_arn(),
            policy_arn: policy_arn(),
            scope,
        },
        Output::Associated(view.clone()),
        at(2),
    );
    let updated = AccessEntry {
        username: "v".to_owned(),
        modified: at(3),
        ..entry(ROLE, &[])
    };
    entries.apply(
        &Call::Update {
            principal_arn: principal_arn(),
            username: Some("v".to_owned()),
            groups: set(&["g"]),
        },
        Output::Entry(Box::new(updated.clone())),
        at(3),
    );
    entries.apply(
        &Call::Disassociate {
            principal_arn: principal_arn(),
            policy_arn: ADMIN.to_owned(),
        },
        Output::Done,
        at(4),
    );
    let entry_arn = updated.arn.clone();
    entries.apply(
        &Call::Tag {
            principal_arn: principal_arn(),
            entry_arn: entry_arn.clone(),
            tags: tags(&[("a", "1"), ("b", "2")]),
        },
        Output::Done,
        at(5),
    );
    entries.apply(
        &Call::Untag {
            principal_arn: principal_arn(),
            entry_arn,
            keys: set(&["a"]),
        },
        Output::Done,
        at(6),
    );
    let state = &entries.by_principal[ROLE];
    assert_eq!(
        state.known(),
        Some(&AccessEntry {
            policies: BTreeMap::from([(policy_arn(), view)]),
            tags: tags(&[("b", "2"), ("owner", "them")]),
            ..updated
        })
    );
    assert_eq!((state.described, state.written), (Some(at(1)), Some(at(6))));

    let created = Call::Create {
        principal_arn: principal_arn(),
        kind: Kind::Known(EntryType::Standard),
        username: None,
        groups: BTreeSet::new(),
        tags: BTreeMap::new(),
    };
    entries.doubt(ROLE, None, at(2));
    let answer = Output::Entry(Box::new(entry(ROLE, &[])));
    entries.apply(&created, answer, at(7));
    let known = entries.by_principal[ROLE].known().unwrap();
    assert!(known.policies.is_empty(), "a new entry has no policies");

    let deleted = Call::Delete {
        principal_arn: principal_arn(),
    };
    entries.apply(&deleted, Output::Done, at(8));
    assert!(entries.by_principal.is_empty());
}

#[test]
fn what_was_only_listed_is_not_known_by_an_answer_without_policies() {
    let mut entries = Entries::default();
    list(&mut entries, &[ROLE], &[ROLE], 1);
    let update = Call::Update {
        principal_arn: ROLE.to_owned(),
        username: None,
        groups: BTreeSet::new(),
    };
    entries.apply(&update, Output::Entry(Box::new(entry(ROLE, &[]))), at(2));
    assert!(entries.by_principal[ROLE].known().is_none());
}

/// EKS need not answer a question about it: then a listing ends it, one from after the time within which it may lag.
#[test]
fn a_word_of_an_entry_that_no_listing_shows_is_forgotten() {
    let mut entries = described(entry(ROLE, &[]), 1);
    entries.doubt(ROLE, None, at(100));
    entries.doubt(OTHER, None, at(100));
    list(&mut entries, &[], &[], 159);
    assert!(entries.by_principal.contains_key(OTHER), "it may lag");
    list(&mut entries, &[], &[], 160);
    assert!(!entries.by_principal.contains_key(OTHER));
    assert!(
        entries.by_principal[ROLE].may_be_gone,
        "what was shown once is asked for"
    );
    entries.doubt(OTHER, None, at(200));
    list(&mut entries, &[OTHER], &[], 210);
    list(&mut entries, &[], &[], 300);
    assert!(
        entries.by_principal[OTHER].may_be_gone,
        "a listing has shown it"
    );
}

#[test]
fn doubt_lasts_until_the_entry_is_described() {
    let by = "arn:aws:sts::111122223333:assumed-role/Admin/alice";
    let mut entries = described(entry(ROLE, &[]), 1);
    entries.doubt(ROLE, Some(by), at(2));
    entries.doubt(ROLE, None, at(2));
    let state = &entries.by_principal[ROLE];
    assert!(state.known().is_none() && state.entry.is_some());
    assert_eq!(state.changed_by.as_deref(), Some(by), "who did it is kept");

    list(&mut entries, &[ROLE], &[], 2);
    assert!(
        entries.by_principal[ROLE].doubtful,
        "a listing tells little"
    );
    let update = Call::Update {
        principal_arn: ROLE.to_owned(),
        username: None,
        groups: BTreeSet::new(),
    };
    entries.apply(&update, Output::Entry(Box::new(entry(ROLE, &[]))), at(4));
    assert!(
        entries.by_principal[ROLE].doubtful,
        "nor an answer without policies"
    );
    let describe = Call::Describe {
        principal_arn: ROLE.to_owned(),
    };
    let answer = Output::Described(Box::new(entry(ROLE, &[VIEW])));
    entries.apply(&describe, answer, at(5));
    let state = &entries.by_principal[ROLE];
    assert_eq!(state.known(), Some(&entry(ROLE, &[VIEW])));

    entries.doubt(OTHER, Some(by), at(5));
    assert!(
        entries.by_principal[OTHER].known().is_none(),
        "an entry that was not known of may have been made"
    );
    entries.gone(OTHER, at(6), at(6));
    assert!(!entries.by_principal.contains_key(OTHER));
}
