//! What events from the queue change.

use super::*;

fn event_by(caller: &str, operation: &str, second: i64) -> AwsChange {
    AwsChange {
        what: ChangedObject::Entry {
            principal_arn: principal("Dev"),
        },
        operation: operation.to_owned(),
        caller: Some(caller.to_owned()),
        time: at(second),
    }
}

#[test]
fn who_did_it_is_kept_until_a_plan_has_seen_what() {
    let person = "arn:aws:iam::111122223333:user/ann";
    let changed_by = |known: &mut AwsCache| {
        let entries = view(pass(known, 60)).entries;
        let state = entries.by_principal.get(&principal("Dev"));
        let changed = state.and_then(|state| state.changed_by.clone());
        let absence = entries.absent.get(&principal("Dev"));
        changed.or_else(|| absence?.deleted_by.clone())
    };
    for operation in [
        "CreateAccessEntry",
        "UpdateAccessEntry",
        "AssociateAccessPolicy",
        "DisassociateAccessPolicy",
        "TagResource",
        "UntagResource",
        "DeleteAccessEntry",
    ] {
        let mut known = settled();
        let word = event_by(person, operation, 50);
        known.notified(&principal("Dev"), &word, Some(OURS), at(51));
        let found = if operation == "DeleteAccessEntry" {
            Err(failure(FailureKind::EntryMissing))
        } else {
            described(entry("Dev", &["b"]))
        };
        known.described(&principal("Dev"), found, at(52), at(52));
        assert_eq!(
            changed_by(&mut known).as_deref(),
            Some(person),
            "{operation}"
        );
        // The next change is not theirs, whether this one was repaired or is none any more.
        let now_as_before = described(entry("Dev", &["b"]));
        known.described(&principal("Dev"), now_as_before.clone(), at(70), at(70));
        known.described(&principal("Dev"), now_as_before, at(71), at(71));
        assert_eq!(changed_by(&mut known), None, "{operation}");
    }
}

#[test]
fn events_of_undeclared_principals_are_ignored() {
    let mut known = settled();
    for number in 0..1000 {
        let name = principal(&format!("Nobody{number}"));
        let word = event_by("arn:aws:iam::111122223333:user/ann", "CreateAccessEntry", 5);
        known.notified(&name, &word, Some(OURS), at(5));
    }
    assert_eq!(known.entries().by_principal.len(), 1);
    assert!(!known.changed(at(6)));
    known.declare([key("Ops")].into());
    let word = event_by("arn:aws:iam::111122223333:user/ann", "CreateAccessEntry", 7);
    known.notified(&principal("Ops"), &word, Some(OURS), at(7));
    let state = &known.entries().by_principal[&principal("Ops")];
    assert!(state.doubtful, "someone may have made a declared one");
}

#[test]
fn a_stream_of_events_cannot_keep_an_entry_stale() {
    let mut known = settled();
    let mut looks = 0;
    for second in 100..280 {
        let word = event_by(
            "arn:aws:iam::111122223333:user/ann",
            "UpdateAccessEntry",
            second,
        );
        known.notified(&principal("Dev"), &word, Some(OURS), at(second));
        known.tick(at(second));
        if known.entries().by_principal[&principal("Dev")].doubtful {
            looks += 1;
            let same = described(entry("Dev", &["a"]));
            known.described(&principal("Dev"), same, at(second), at(second));
        }
    }
    assert_eq!(looks, 3, "one in a minute");
}

#[test]
fn a_queue_that_fails_is_a_change_once() {
    let mut known = settled();
    known.queue_read(Some(failure(FailureKind::Unavailable)));
    assert!(known.changed(at(5)));
    assert!(view(pass(&mut known, 5)).queue.is_some());
    known.queue_read(Some(failure(FailureKind::Unavailable)));
    assert!(!known.changed(at(6)));
    known.queue_read(None);
    assert!(known.changed(at(7)));
    assert_eq!(view(pass(&mut known, 7)).queue, None);
}

/// One principal is declared, and someone who may send to the queue invents paths for it.
#[test]
fn invented_paths_of_a_declared_principal_are_ignored() {
    let mut known = settled();
    known.declare([key("Ops")].into());
    let long = "x".repeat(100_000);
    for number in 0..1000 {
        let name = principal(&format!(
            "{number}/{}/Ops",
            &long[..if number < 5 { 100_000 } else { 1 }]
        ));
        let word = event_by("arn:aws:iam::111122223333:user/ann", "CreateAccessEntry", 5);
        known.notified(&name, &word, Some(OURS), at(5));
        // EKS knows no such entry.
        if known.entries().by_principal.contains_key(&name) {
            let missing = Err(failure(FailureKind::EntryMissing));
            known.described(&name, missing, at(6), at(6));
        }
    }
    known.declare([key("Ops")].into());
    let kept = known.entries().by_principal.len() + known.entries().absent.len();
    let bytes: usize = known
        .entries()
        .by_principal
        .keys()
        .map(String::len)
        .sum::<usize>()
        + known
            .entries()
            .absent
            .keys()
            .map(String::len)
            .sum::<usize>();
    assert!(
        kept <= 4,
        "{kept} states, {} words, {bytes} bytes of ARNs",
        known.words.len()
    );
}

/// One look a minute and principal, whatever the path; what is planned for it is sent.
#[test]
fn invented_paths_keep_no_call_from_being_sent() {
    let mut known = settled();
    known.declare([key("Dev")].into());
    let mut refused = 0;
    for second in 100..130 {
        pass(&mut known, second);
        known.accept(Vec::new());
        let word = event_by(
            "arn:aws:iam::111122223333:user/ann",
            "UpdateAccessEntry",
            second,
        );
        let name = principal(&format!("{second}/Dev"));
        known.notified(&name, &word, Some(OURS), at(second));
        refused += usize::from(known.permits(&key("Dev")).is_err());
    }
    assert!(refused <= 2, "refused in {refused} of 30 seconds");
}

/// EKS answers `InvalidParameterException` to a malformed ARN, which is neither an entry nor its absence.
#[test]
fn a_malformed_arn_of_a_declared_principal_is_ignored() {
    let mut known = settled();
    known.declare([key("Ops")].into());
    let name = principal("{no path}/Ops");
    let word = event_by("arn:aws:iam::111122223333:user/ann", "CreateAccessEntry", 5);
    known.notified(&name, &word, Some(OURS), at(5));
    let state = known.entries().by_principal.get(&name);
    assert_eq!(state, None, "there can be no such entry");
}

/// IAM allows such a path, and EKS need not: what it refuses to look for is no entry that may exist.
#[test]
fn a_word_of_what_eks_refuses_to_describe_is_forgotten() {
    for by_plan in [false, true] {
        for kind in [FailureKind::Refused, FailureKind::InvalidPrincipal] {
            let mut known = settled();
            known.declare([key("Ops")].into());
            let name = principal("{path}/Ops");
            let word = event_by("arn:aws:iam::111122223333:user/ann", "CreateAccessEntry", 5);
            known.notified(&name, &word, Some(OURS), at(5));
            assert!(known.entries().by_principal.contains_key(&name));
            pass(&mut known, 6);
            let refused = Err(failure(kind));
            if by_plan {
                let call = describe("{path}/Ops");
                known.sent(&key("Ops"), &call, at(7));
                known.answered(&key("Ops"), &call, refused, true, at(8), 0.0);
            } else {
                let (over, _) = known.described(&name, refused, at(7), at(8));
                assert!(over, "it is not described again");
            }
            assert_eq!(known.entries().by_principal.get(&name), None);
            assert!(known.changed(at(8)), "a plan that waited for it goes on");
            assert_eq!(known.retry(), None);
        }
    }
}

/// What was shown once is not forgotten for a refusal.
#[test]
fn an_entry_that_eks_has_shown_stays_whatever_it_refuses() {
    let mut known = settled();
    let word = event_by("arn:aws:iam::111122223333:user/ann", "UpdateAccessEntry", 5);
    known.notified(&principal("Dev"), &word, Some(OURS), at(5));
    let refused = Err(failure(FailureKind::Refused));
    let (over, _) = known.described(&principal("Dev"), refused, at(7), at(8));
    assert!(!over && known.entries().by_principal.contains_key(&principal("Dev")));
}
