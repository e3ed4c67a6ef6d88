mod iam;
mod queue;

use super::*;
use crate::access_entry::{AccessEntry, Call, FailureKind, INSTALLATION_TAG, Kind, Output};
use crate::api::v1alpha1::EntryType;
use crate::aws::event::{AwsChange, ChangedObject};
use crate::observed::{IamAccount, IamWants, Listing};
use crate::principal::AccountId;

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";
const OURS: &str = "arn:aws:sts::111122223333:assumed-role/identity-mapper/pod";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

pub(super) fn principal(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

pub(super) fn key(name: &str) -> Key {
    Key::parse_arn(&principal(name)).expect("an ARN")
}

pub(super) fn reading(mode: Mode, authority: &str, second: i64) -> ClusterReading {
    ClusterReading {
        cluster: EksCluster::parse(CLUSTER).expect("an ARN"),
        mode,
        authorities: [authority.to_owned()].into(),
        users: Users::new(),
        at: at(second),
    }
}

pub(super) fn failure(kind: FailureKind) -> Failure {
    Failure {
        message: format!("the words of {kind}"),
        kind,
    }
}

fn entry(name: &str, groups: &[&str]) -> AccessEntry {
    AccessEntry {
        principal_arn: principal(name),
        arn: format!(
            "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{name}/1"
        ),
        kind: Kind::Known(EntryType::Standard),
        username: name.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        tags: [(INSTALLATION_TAG.to_owned(), "here".to_owned())].into(),
        created: at(0),
        modified: at(0),
        policies: BTreeMap::new(),
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "an answer, as EKS gives it among failures"
)]
fn described(entry: AccessEntry) -> Result<Output, Failure> {
    Ok(Output::Described(Box::new(entry)))
}

pub(super) fn create(name: &str) -> Call {
    Call::Create {
        principal_arn: principal(name),
        kind: Kind::Known(EntryType::Standard),
        username: None,
        groups: BTreeSet::new(),
        tags: BTreeMap::new(),
    }
}

fn describe(name: &str) -> Call {
    Call::Describe {
        principal_arn: principal(name),
    }
}

fn work(name: &str) -> EntryWork {
    EntryWork {
        key: key(name),
        calls: vec![create(name)],
        needs_text: false,
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| principal(name)).collect()
}

pub(super) fn new() -> AwsCache {
    let trust = Trust::Authorities(["aa".to_owned()].into());
    AwsCache::new("main".to_owned(), trust, at(-100))
}

fn pass(known: &mut AwsCache, second: i64) -> AwsState {
    known.hand_out(None, at(second))
}

/// Read, listed and described: `Dev` stands with group `a`; a pass was made.
fn settled() -> AwsCache {
    let mut known = new();
    known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "aa", 1)));
    known.entries_listed(Ok((names(&["Dev"]), BTreeSet::new())), at(1), at(2));
    let (whole, _) = known.described(
        &principal("Dev"),
        described(entry("Dev", &["a"])),
        at(3),
        at(3),
    );
    assert!(whole && known.changed(at(3)));
    pass(&mut known, 4);
    assert!(!known.changed(at(4)), "a pass leaves nothing to do");
    known
}

/// The key, and what it says that something is known of it that the last pass did not see.
fn accepted(known: &mut AwsCache, name: &str) -> bool {
    !known.accept(vec![work(name)]).is_empty()
}

pub(super) fn view(state: AwsState) -> AwsView {
    match state {
        AwsState::Known(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reading_the_same_again_is_no_change() {
    let mut known = settled();
    let before = view(known.state(None));
    known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "aa", 60)));
    known.entries_listed(Ok((names(&["Dev"]), BTreeSet::new())), at(60), at(61));
    known.described(
        &principal("Dev"),
        described(entry("Dev", &["a"])),
        at(62),
        at(62),
    );
    assert!(!known.changed(at(63)));
    let after = view(known.state(None));
    assert_eq!(after.entries.listed, Some(at(61)));
    assert_eq!(
        before.entries.listed,
        Some(at(2)),
        "what was handed out stays"
    );
    assert!(accepted(&mut known, "Dev"));
}

#[test]
fn nothing_is_cloned_while_nothing_changes() {
    let mut known = settled();
    let one = view(pass(&mut known, 5));
    let two = view(pass(&mut known, 6));
    assert!(Arc::ptr_eq(&one.entries, &two.entries));
    assert!(Arc::ptr_eq(&one.iam, &two.iam));
    assert!(Arc::ptr_eq(&one.attempts, &two.attempts));
}

#[test]
fn another_mode_is_a_change_and_stops_what_was_planned_for_the_old_one() {
    let mut known = settled();
    known.cluster_read(Ok(reading(Mode::Api, "aa", 60)));
    assert!(known.changed(at(60)) && !accepted(&mut known, "Ops"));
    let state = pass(&mut known, 61);
    assert_eq!(state.mode(), Some(Mode::Api));
    assert!(accepted(&mut known, "Ops"));
}

#[test]
fn another_cluster_is_never_written_to() {
    let mut known = settled();
    known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "bb", 60)));
    assert!(known.changed(at(60)));
    assert!(matches!(pass(&mut known, 61), AwsState::Unproven { .. }));
    assert!(!accepted(&mut known, "Ops"));
}

#[test]
fn a_brief_failure_is_reported_from_the_second_on_with_its_first_message() {
    let mut known = settled();
    known.cluster_read(Err(failure(FailureKind::Unavailable)));
    assert!(!known.changed(at(5)), "once is nothing");
    known.cluster_read(Err(failure(FailureKind::Unavailable)));
    assert!(known.changed(at(6)));
    let unreachable = view(pass(&mut known, 7)).unreachable.expect("said");
    assert_eq!(unreachable.read, at(1));
    let other_words = Failure {
        kind: FailureKind::Unavailable,
        message: "RequestId 2".to_owned(),
    };
    known.cluster_read(Err(other_words));
    assert!(!known.changed(at(8)), "only the words differ");
    known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "aa", 9)));
    assert!(known.changed(at(9)));
    assert_eq!(view(pass(&mut known, 9)).unreachable, None);
}

#[test]
fn a_lasting_failure_is_reported_at_once() {
    let mut known = settled();
    known.cluster_read(Err(failure(FailureKind::Unauthenticated)));
    assert!(known.changed(at(5)));
    assert!(view(pass(&mut known, 6)).unreachable.is_some());
}

#[test]
fn the_kept_mode_is_in_force_until_it_is_read() {
    let mut known = new();
    known.cluster_read(Err(failure(FailureKind::Unavailable)));
    assert!(known.changed(at(1)), "the first failure ends the waiting");
    let kept = Kept {
        arn: CLUSTER.to_owned(),
        mode: "API".to_owned(),
        authority: "aa".to_owned(),
        read: at(-100),
    };
    let state = known.hand_out(Some(&kept), at(2));
    assert_eq!(state.mode(), Some(Mode::Api));
    assert_eq!(view(state).unreachable.expect("said").read, at(-100));
    assert!(!accepted(&mut known, "Dev"), "it was not read");
    assert_eq!(pass(&mut known, 3).mode(), None, "neither read nor kept");
}

#[test]
fn a_listing_that_differs_is_a_change_of_those_that_differ() {
    let mut known = settled();
    known.entries_listed(
        Ok((names(&["Dev", "New"]), BTreeSet::new())),
        at(60),
        at(61),
    );
    assert!(known.changed(at(61)));
    assert!(accepted(&mut known, "Dev") && !accepted(&mut known, "New"));
    pass(&mut known, 62);
    known.entries_listed(
        Ok((names(&["Dev", "New"]), names(&["Dev"]))),
        at(70),
        at(71),
    );
    assert!(known.changed(at(71)), "it was made an administrator");
    assert!(!accepted(&mut known, "Dev") && accepted(&mut known, "New"));
    assert!(known.entries().by_principal[&principal("Dev")].doubtful);
    pass(&mut known, 72);
    known.entries_listed(Ok((names(&["New"]), BTreeSet::new())), at(80), at(81));
    assert!(known.changed(at(81)) && !accepted(&mut known, "Dev"));
}

#[test]
fn a_failed_listing_keeps_the_entries_and_is_reported_once() {
    let mut known = settled();
    known.entries_listed(Err(failure(FailureKind::Throttled)), at(60), at(61));
    assert!(known.changed(at(61)));
    let seen = view(pass(&mut known, 62));
    assert_eq!(seen.unlisted, Some(failure(FailureKind::Throttled)));
    assert_eq!(seen.entries.by_principal.len(), 1);
    known.entries_listed(Err(failure(FailureKind::Throttled)), at(63), at(64));
    assert!(!known.changed(at(64)));
    known.entries_listed(Ok((names(&["Dev"]), BTreeSet::new())), at(65), at(66));
    assert!(known.changed(at(66)));
    assert_eq!(view(pass(&mut known, 67)).unlisted, None);
}

#[test]
fn the_end_of_a_work_is_a_change_and_its_key_waits_for_the_next_plan() {
    let mut known = settled();
    let made = || Ok(Output::Entry(Box::new(entry("Ops", &[]))));
    known.answered(&key("Ops"), &create("Ops"), made(), false, at(5), 0.0);
    assert!(!known.changed(at(5)), "more is in flight");
    assert!(
        !accepted(&mut known, "Ops"),
        "a plan from before would make it again"
    );
    known.answered(&key("Ops"), &create("Ops"), made(), true, at(6), 0.0);
    assert!(known.changed(at(6)));
    pass(&mut known, 7);
    assert!(accepted(&mut known, "Ops"));
}

#[test]
fn a_failure_is_kept_until_it_may_be_tried_again() {
    let mut known = settled();
    let refused = || Err(failure(FailureKind::InvalidPrincipal));
    known.answered(&key("Ops"), &create("Ops"), refused(), true, at(5), 0.0);
    assert!(known.changed(at(5)));
    let seen = view(pass(&mut known, 5));
    assert_eq!(seen.attempts[&key("Ops")].retry, at(6));
    known.accept(Vec::new());
    assert!(!known.changed(at(5)));
    assert_eq!(known.retry(), Some(at(6)));
    assert!(known.changed(at(6)), "its time has come");
    pass(&mut known, 6);
    assert_eq!(known.retry(), None, "the plan has seen it");
    assert!(accepted(&mut known, "Ops"));
    known.answered(&key("Ops"), &create("Ops"), refused(), true, at(7), 0.0);
    let seen = view(pass(&mut known, 7));
    let attempt = &seen.attempts[&key("Ops")];
    assert_eq!(
        (attempt.count, attempt.since, attempt.retry),
        (2, at(5), at(9))
    );
    pass(&mut known, 10);
    known.accept(Vec::new());
    let seen = view(pass(&mut known, 11));
    assert!(seen.attempts.is_empty(), "no plan wants it any more");
}

#[test]
fn success_clears_the_failure() {
    let mut known = settled();
    let refused = Err(failure(FailureKind::InvalidPrincipal));
    known.answered(&key("Ops"), &create("Ops"), refused, true, at(5), 0.0);
    let made = Ok(Output::Entry(Box::new(entry("Ops", &[]))));
    known.answered(&key("Ops"), &create("Ops"), made, true, at(6), 0.0);
    assert!(view(pass(&mut known, 7)).attempts.is_empty());
}

#[test]
fn a_call_of_unknown_effect_makes_doubtful() {
    for kind in [FailureKind::Unavailable, FailureKind::Unreadable] {
        let mut known = settled();
        let update = Call::Update {
            principal_arn: principal("Dev"),
            username: None,
            groups: BTreeSet::new(),
        };
        let lost = Err(failure(kind));
        known.answered(&key("Dev"), &update, lost, true, at(5), 0.0);
        assert!(known.entries().by_principal[&principal("Dev")].doubtful);
    }
    let mut known = settled();
    let in_use = Err(failure(FailureKind::InUse));
    known.answered(&key("Ops"), &create("Ops"), in_use, true, at(5), 0.0);
    assert!(
        known.entries().by_principal[&principal("Ops")].doubtful,
        "someone made it: it must be looked at"
    );
}

#[test]
fn what_was_missing_when_looked_for_is_gone_but_for_what_was_made_a_moment_ago() {
    let missing = || Err(failure(FailureKind::EntryMissing));
    let mut known = settled();
    known.answered(&key("Dev"), &describe("Dev"), missing(), true, at(5), 0.0);
    assert!(known.entries().by_principal.is_empty());
    assert!(
        view(pass(&mut known, 5)).attempts.is_empty(),
        "an answer, no failure"
    );

    let mut known = settled();
    let made = Ok(Output::Entry(Box::new(entry("Dev", &[]))));
    known.answered(&key("Dev"), &create("Dev"), made, true, at(5), 0.0);
    known.answered(&key("Dev"), &describe("Dev"), missing(), true, at(6), 0.0);
    assert!(known.entries().by_principal[&principal("Dev")].doubtful);
    assert_eq!(view(pass(&mut known, 6)).attempts.len(), 1, "tried again");
    let (whole, _) = known.described(&principal("Dev"), missing(), at(20), at(20));
    assert!(!whole && known.entries().by_principal.len() == 1);
    let (whole, _) = known.described(&principal("Dev"), missing(), at(60), at(60));
    assert!(whole && known.entries().by_principal.is_empty());
}

#[test]
fn a_failure_asks_for_what_would_explain_it() {
    let mut known = settled();
    let mut then =
        |call: &Call, kind| known.answered(&key("Dev"), call, Err(failure(kind)), true, at(5), 0.0);
    assert_eq!(
        then(&create("Dev"), FailureKind::ModeWithoutEntries),
        FollowUp::ReadMode
    );
    assert_eq!(
        then(&create("Dev"), FailureKind::PolicyMissing),
        FollowUp::ListPolicies
    );
    assert_eq!(
        then(&create("Dev"), FailureKind::Refused),
        FollowUp::Nothing
    );
}

#[test]
fn an_entry_that_is_not_as_it_was_is_a_change() {
    let mut known = settled();
    known.described(
        &principal("Dev"),
        described(entry("Dev", &["b"])),
        at(5),
        at(5),
    );
    assert!(known.changed(at(5)) && !accepted(&mut known, "Dev"));
    let mut known = settled();
    let denied = Err(failure(FailureKind::Throttled));
    let (whole, _) = known.described(&principal("Dev"), denied, at(5), at(5));
    assert!(!whole && !known.changed(at(5)));
}

#[test]
fn events_make_doubtful_but_for_those_of_our_own_calls() {
    let change = |caller: &str, operation: &str, second| AwsChange {
        what: ChangedObject::Entry {
            principal_arn: principal("Dev"),
        },
        operation: operation.to_owned(),
        caller: Some(caller.to_owned()),
        time: at(second),
    };
    let person = "arn:aws:iam::111122223333:user/ann";
    let doubtful = |known: &AwsCache| {
        let state = known.entries().by_principal.get(&principal("Dev"));
        state.map(|state| (state.doubtful, state.changed_by.clone()))
    };
    let mut known = settled();
    known.notified(
        &principal("Dev"),
        &change(person, "UpdateAccessEntry", 5),
        Some(OURS),
        at(5),
    );
    assert_eq!(doubtful(&known), Some((true, Some(person.to_owned()))));
    assert!(!accepted(&mut known, "Dev"));

    let mut known = settled();
    let ours = change(OURS, "UpdateAccessEntry", 5);
    known.notified(&principal("Dev"), &ours, Some(OURS), at(5));
    assert_eq!(
        doubtful(&known),
        Some((true, None)),
        "we remember no such call"
    );
    let mut known = settled();
    let made = || Ok(Output::Entry(Box::new(entry("Dev", &[]))));
    known.answered(&key("Dev"), &create("Dev"), made(), true, at(5), 0.0);
    known.notified(&principal("Dev"), &ours, Some(OURS), at(5));
    assert_eq!(doubtful(&known), Some((false, None)), "its answer is known");
    known.notified(&principal("Dev"), &ours, None, at(5));
    assert_eq!(
        doubtful(&known),
        Some((true, Some(OURS.to_owned()))),
        "who we are is not known"
    );
    let mut known = settled();
    known.answered(&key("Dev"), &create("Dev"), made(), true, at(5), 0.0);
    known.notified(
        &principal("Dev"),
        &change(OURS, "UpdateAccessEntry", 50),
        Some(OURS),
        at(50),
    );
    assert_eq!(
        doubtful(&known),
        Some((true, None)),
        "a later call under our name"
    );

    let delete = Call::Delete {
        principal_arn: principal("Dev"),
    };
    known.answered(&key("Dev"), &delete, Ok(Output::Done), true, at(60), 0.0);
    known.notified(
        &principal("Dev"),
        &change(OURS, "DeleteAccessEntry", 60),
        Some(OURS),
        at(60),
    );
    assert_eq!(doubtful(&known), None, "it is gone, and we know");

    let known = settled();
    let tags = ChangedObject::Tags {
        entry_arn: entry("Dev", &[]).arn,
    };
    assert_eq!(known.notified_principal(&tags), Some(principal("Dev")));
    assert_eq!(
        known.notified_principal(&ChangedObject::ClusterConfig),
        None
    );
}

#[test]
fn what_was_planned_before_something_changed_is_not_sent() {
    let permits = |known: &AwsCache| known.permits(&key("Dev"));
    let mut known = settled();
    known.accept(vec![work("Dev")]);
    assert_eq!(permits(&known), Ok(()));
    known.stir_key(key("Dev"));
    assert!(permits(&known).is_err() && known.permits(&key("Ops")).is_ok());
    pass(&mut known, 5);
    assert!(
        permits(&known).is_err(),
        "until the plan that has seen it is taken over"
    );
    known.accept(vec![work("Dev")]);
    assert_eq!(permits(&known), Ok(()));

    known.described(
        &principal("Dev"),
        described(entry("Dev", &["b"])),
        at(6),
        at(6),
    );
    assert!(permits(&known).is_err(), "someone changed the entry");
    known.cluster_read(Ok(reading(Mode::Api, "aa", 7)));
    assert!(known.permits(&key("Ops")).is_err(), "another mode");
    pass(&mut known, 8);
    known.accept(Vec::new());
    assert_eq!(known.permits(&key("Ops")), Ok(()));
    known.cluster_read(Ok(reading(Mode::Api, "bb", 9)));
    let why = known.permits(&key("Ops")).expect_err("another cluster");
    assert!(why.contains("API server"), "{why}");
}

/// What was sent a moment ago may still take effect, whatever the clock says.
#[test]
fn a_clock_that_is_set_forward_an_hour_ends_nothing_early() {
    let mut known = settled();
    known.compare_clocks(at(7200), Duration::from_hours(2));
    known.sent(&key("New"), &create("New"), at(7200));
    let lost = Err(failure(FailureKind::Unavailable));
    known.answered(&key("New"), &create("New"), lost, true, at(7201), 0.0);
    known.compare_clocks(at(10_802), Duration::from_secs(7202));
    known.tick(at(10_802));
    let missing = || Err(failure(FailureKind::EntryMissing));
    let (certain, _) = known.described(&principal("New"), missing(), at(10_803), at(10_803));
    assert!(!certain, "the creation may still take effect");
    known.compare_clocks(at(10_832), Duration::from_secs(7232));
    known.tick(at(10_832));
    let (certain, _) = known.described(&principal("New"), missing(), at(10_832), at(10_832));
    assert!(certain, "half a minute has passed by a steady clock");
}

#[test]
fn a_clock_that_is_set_back_an_hour_delays_nothing() {
    let mut known = settled();
    let refused = Err(failure(FailureKind::Refused));
    known.answered(&key("Ops"), &create("Ops"), refused, true, at(7200), 0.0);
    pass(&mut known, 7201);
    known.tick(at(3600));
    assert!(known.changed(at(3600)), "what failed may be tried again");
    let made = Ok(Output::Entry(Box::new(entry("New", &[]))));
    known.answered(&key("New"), &create("New"), made, true, at(7200), 0.0);
    known.tick(at(3601));
    known.tick(at(3600));
    let missing = Err(failure(FailureKind::EntryMissing));
    let (whole, _) = known.described(&principal("New"), missing, at(3640), at(3640));
    assert!(whole, "it is old enough to be missed");
}

#[test]
fn an_earlier_mode_clears_nothing() {
    let mut known = settled();
    let entries = known.entries().clone();
    known.cluster_read(Ok(reading(Mode::ConfigMap, "aa", 20)));
    known.cluster_read(Ok(reading(Mode::ConfigMap, "aa", 21)));
    assert_eq!(*known.entries(), entries);
    let seen = view(known.state(None));
    assert_eq!(seen.mode, Mode::ApiAndConfigMap);
    let told = seen.unreachable.expect("it is said").failure.message;
    assert!(told.contains("never returns to an earlier mode"), "{told}");
    known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "aa", 22)));
    assert_eq!(view(known.state(None)).unreachable, None);
}
