//! What an entry may be while calls are in flight: by call, by what became of it, by time.

use super::*;

const CREATED: &str = "created";

fn dev(groups: &[&str], policies: &[&str]) -> AccessEntry {
    let association = |policy: &&str| {
        let association = Association {
            scope: Scope::Cluster,
            associated: at(0),
            modified: at(0),
        };
        ((*policy).to_owned(), association)
    };
    AccessEntry {
        principal_arn: ROLE.to_owned(),
        arn: "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/x/1"
            .to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: "dev".to_owned(),
        groups: set(groups),
        tags: tags(&[]),
        created: at(0),
        modified: at(0),
        policies: policies.iter().map(association).collect(),
    }
}

fn one(entry: AccessEntry) -> Possible {
    Possible {
        absent: false,
        entries: vec![entry],
        unseen: false,
    }
}

fn create() -> Call {
    Call::Create {
        principal_arn: ROLE.to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: Some("dev".to_owned()),
        groups: set(&[CREATED]),
        tags: tags(&[]),
    }
}

fn update() -> Call {
    Call::Update {
        principal_arn: ROLE.to_owned(),
        username: Some("dev".to_owned()),
        groups: set(&["updated"]),
    }
}

fn delete() -> Call {
    Call::Delete {
        principal_arn: ROLE.to_owned(),
    }
}

fn associate() -> Call {
    Call::Associate {
        principal_arn: ROLE.to_owned(),
        policy_arn: VIEW.to_owned(),
        scope: Scope::Cluster,
    }
}

fn disassociate() -> Call {
    Call::Disassociate {
        principal_arn: ROLE.to_owned(),
        policy_arn: VIEW.to_owned(),
    }
}

/// What is possible, in short: groups and the number of policies of each, `-` for none at all, `?` for one that is not known.
fn words(possible: &Possible) -> String {
    let entry = |entry: &AccessEntry| {
        let groups: Vec<&str> = entry.groups.iter().map(String::as_str).collect();
        format!("{}/{}", groups.join("+"), entry.policies.len())
    };
    let mut all: Vec<String> = possible.entries.iter().map(entry).collect();
    all.sort();
    all.extend(possible.unseen.then(|| "?".to_owned()));
    all.extend(possible.absent.then(|| "-".to_owned()));
    all.join(" ")
}

#[test]
fn each_call_has_taken_effect_or_not() {
    let (none, unknown) = (Possible::none(), Possible::unknown());
    let existing = || one(dev(&["g"], &[]));
    let with_view = || one(dev(&["g"], &[VIEW]));
    for (known, calls, expected) in [
        (none.clone(), vec![], "-"),
        (none.clone(), vec![create()], "created/0 -"),
        (none.clone(), vec![delete()], "-"),
        (none.clone(), vec![update()], "-"),
        (existing(), vec![create()], "g/0"),
        (existing(), vec![update()], "g/0 updated/0"),
        (existing(), vec![delete()], "g/0 -"),
        (existing(), vec![associate()], "g/0 g/1"),
        (with_view(), vec![disassociate()], "g/0 g/1"),
        // One that was given up may take effect after a later one.
        (none.clone(), vec![create(), delete()], "created/0 -"),
        (existing(), vec![delete(), create()], "created/0 g/0 -"),
        (
            existing(),
            vec![update(), associate()],
            "g/0 g/1 updated/0 updated/1",
        ),
        (unknown.clone(), vec![], "? -"),
        (unknown, vec![create()], "created/0 ? -"),
    ] {
        let mut in_flight = InFlight::since(at(0));
        for call in &calls {
            in_flight.sent(call.clone(), &known, at(100));
        }
        let possible = in_flight.possible(ROLE, known.clone());
        assert_eq!(words(&possible), expected, "{known:?} {calls:?}");
        let other = in_flight.possible("arn:aws:iam::111122223333:role/Other", none.clone());
        assert_eq!(other, none, "of another principal it says nothing");
    }
}

#[test]
fn what_is_described_is_no_change() {
    let mut in_flight = InFlight::since(at(0));
    let describe = Call::Describe {
        principal_arn: ROLE.to_owned(),
    };
    in_flight.sent(describe.clone(), &Possible::none(), at(100));
    assert_eq!(in_flight.possible(ROLE, Possible::none()), Possible::none());
    in_flight.given_up(&describe, at(101));
    assert_eq!(in_flight, InFlight::since(at(0)), "and has no effect later");
}

#[test]
fn an_answer_ends_it_and_a_loss_ends_30_s_later() {
    let mut in_flight = InFlight::since(at(0));
    in_flight.sent(create(), &Possible::none(), at(100));
    in_flight.answered(&create());
    assert_eq!(in_flight, InFlight::since(at(0)));

    in_flight.sent(create(), &Possible::none(), at(100));
    assert_eq!(in_flight.next_end(), None, "it may be answered at any time");
    in_flight.given_up(&create(), at(110));
    assert_eq!(in_flight.next_end(), Some(at(140)));
    assert!(in_flight.settle(at(139)).is_empty());
    assert_eq!(
        words(&in_flight.possible(ROLE, Possible::none())),
        "created/0 -"
    );
    assert_eq!(in_flight.settle(at(140)), [ROLE]);
    assert_eq!(in_flight.possible(ROLE, Possible::none()), Possible::none());
}

#[test]
fn what_a_later_description_shows_has_happened() {
    let (created, other) = (dev(&[CREATED], &[]), dev(&["g"], &[]));
    let (updated, associated) = (dev(&["updated"], &[]), dev(&["g"], &[VIEW]));
    for (call, before, shown) in [
        (create(), None, Some(&created)),
        (delete(), Some(&other), None),
        (update(), Some(&other), Some(&updated)),
        (associate(), Some(&other), Some(&associated)),
        (disassociate(), Some(&associated), Some(&other)),
    ] {
        let possible = before.map_or_else(Possible::none, |entry| one(entry.clone()));
        let mut in_flight = InFlight::since(at(0));
        in_flight.sent(call.clone(), &possible, at(100));
        in_flight.seen(ROLE, shown);
        assert_eq!(
            in_flight.of(ROLE).len(),
            1,
            "its answer is awaited: {call:?}"
        );
        in_flight.given_up(&call, at(110));
        in_flight.seen(ROLE, before);
        assert_eq!(in_flight.of(ROLE).len(), 1, "not yet: {call:?}");
        in_flight.seen(ROLE, shown);
        assert_eq!(in_flight.of(ROLE), [], "{call:?}");

        // What was so before, or may have been, tells nothing.
        let so_before = shown.map_or_else(Possible::none, |entry| one(entry.clone()));
        for possible in [so_before, Possible::unknown()] {
            in_flight.sent(call.clone(), &possible, at(100));
            in_flight.given_up(&call, at(110));
            in_flight.seen(ROLE, shown);
            assert_eq!(in_flight.of(ROLE).len(), 1, "{call:?} {possible:?}");
            in_flight = InFlight::since(at(0));
        }
    }
}

#[test]
fn when_a_404_means_that_there_is_no_entry() {
    let counts = |in_flight: &InFlight, second| in_flight.absence_counts(ROLE, at(second));
    let mut in_flight = InFlight::since(at(100));
    assert!(
        !counts(&in_flight, 129),
        "an earlier process may have made it"
    );
    assert!(counts(&in_flight, 130));
    assert!(
        counts(&InFlight::default(), 0),
        "who only looks has made none"
    );
    in_flight.sent(delete(), &Possible::none(), at(200));
    assert!(counts(&in_flight, 200), "a delete makes none");
    in_flight.answered(&delete());
    in_flight.sent(create(), &Possible::none(), at(200));
    assert!(!counts(&in_flight, 1000), "awaited");
    in_flight.given_up(&create(), at(1000));
    assert!(!counts(&in_flight, 1029) && counts(&in_flight, 1030));
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_longer_than_from_then_on() {
    let mut in_flight = InFlight::since(at(0));
    in_flight.sent(create(), &Possible::none(), at(5000));
    in_flight.given_up(&create(), at(5010));
    assert!(in_flight.settle(at(1000)).is_empty());
    assert_eq!(in_flight.next_end(), Some(at(1030)));
}

#[test]
fn many_contents_are_one_that_is_not_known() {
    let mut in_flight = InFlight::since(at(0));
    for number in 0..6 {
        let policy_arn = format!("{VIEW}{number}");
        in_flight.sent(
            Call::Associate {
                principal_arn: ROLE.to_owned(),
                policy_arn,
                scope: Scope::Cluster,
            },
            &Possible::none(),
            at(100),
        );
    }
    let possible = in_flight.possible(ROLE, one(dev(&["g"], &[])));
    assert!(possible.unseen && possible.exists(), "{possible:?}");
    assert_eq!(possible.certain(), None);
}

#[test]
fn many_lost_calls_end_in_an_answer_within_bounds() {
    let policies = |number: usize| Call::Associate {
        principal_arn: ROLE.to_owned(),
        policy_arn: format!("{VIEW}{number}"),
        scope: Scope::Cluster,
    };
    let kinds: [&dyn Fn(usize) -> Call; 5] = [
        &|_| create(),
        &|_| update(),
        &|_| disassociate(),
        &|_| associate(),
        &policies,
    ];
    // Up to thirty calls of which no answer arrived, each at another second: contents differ in their times too.
    for first in 0..kinds.len() {
        for number in 1..=30 {
            let mut in_flight = InFlight::since(at(0));
            for position in 0..number {
                let call = kinds[(first + position * position) % kinds.len()](position);
                let second = 100 + i64::try_from(position).expect("it is small");
                in_flight.sent(call, &Possible::none(), at(second));
            }
            let possible = in_flight.possible(ROLE, Possible::none());
            assert!(possible.entries.len() <= 16, "{possible:?}");
            assert!(possible.absent, "nothing made it certainly exist");
        }
    }
}
