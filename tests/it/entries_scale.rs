//! As many access entries as EKS allows: how many calls they cost, told by the stand-in's log of calls and never by a clock on
//! the wall; and what becomes of them where one call in four goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use identity_mapper::api::IdentityMapping;
use identity_mapper::principal::Principal;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::eks::{Call, Eks, Entry, Log, Mark, Mode, Outcome, Service, World};
use crate::support::{Cluster, Operator, eventually, fleet};

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const ACCOUNT: &str = "111122223333";
const ADMIN_POLICY: &str = "AmazonEKSClusterAdminPolicy";
/// Mappings at the start.
const MAPPINGS: usize = 2990;
/// Entries of others.
const FOREIGN: usize = 10;
/// Every so many-th mapping has two policies besides.
const WITH_POLICIES: usize = 50;
/// And one mapping is an administrator.
const ADMINISTRATOR: usize = 7;
/// Calls a second at most: so many that the test itself is quick.
const RATE: u32 = 400;
/// Between two listings.
const LISTING: Duration = Duration::from_secs(10);
/// Each entry of ours is described again within this time.
const REFRESH: Duration = Duration::from_hours(1);

/// A mapping of the fleet.
fn mapping(number: usize) -> IdentityMapping {
    let mut object = json!(fleet::mapping(number));
    if number.is_multiple_of(WITH_POLICIES) {
        object["spec"]["accessPolicies"] = json!([
            {"policy": "AmazonEKSViewPolicy"},
            {"policy": "AmazonEKSEditPolicy", "scope": {"type": "Namespace", "namespaces": ["team-a", "dev-*"]}},
        ]);
    }
    if number == ADMINISTRATOR {
        object["spec"]["groups"] = json!(["system:masters"]);
    }
    serde_json::from_value(object).expect("a mapping")
}

/// How many policies are associated for the mapping.
fn policies(number: usize) -> usize {
    match number {
        ADMINISTRATOR => 1,
        number if number.is_multiple_of(WITH_POLICIES) => 2,
        _ => 0,
    }
}

fn arn(number: usize) -> String {
    format!(
        "arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/{}",
        fleet::role(number)
    )
}

/// AWS with the roles of so many mappings, and so many entries of others.
fn world(cluster: &Cluster, roles: usize, foreign: usize) -> World {
    let mut world = World::new(ARN)
        .mode(Mode::ApiAndConfigMap)
        .api_server(&cluster.authority(), cluster.url());
    for number in 0..roles {
        let path = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
        world.role(ACCOUNT, path, &fleet::role(number));
    }
    for number in 0..foreign {
        let role = world.role(ACCOUNT, "/", &format!("foreign-{number}"));
        let now = world.now;
        let entry = Entry::new(&world.cluster, &role.arn, "STANDARD", Some(role.id), now);
        world.standing_entry(entry.expect("a role"));
    }
    world
}

/// How many calls of each operation of EKS were made since then, about this principal alone where one is named.
fn counts(log: &Log, since: Mark, principal: Option<&str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let wanted = |call: &&Call| {
        let theirs = principal.is_none() || call.principal.as_deref() == principal;
        call.service == Service::Eks && !call.by_hand && theirs
    };
    for call in log.since(since).iter().filter(wanted) {
        *counts.entry(call.operation.clone()).or_default() += 1;
    }
    counts
}

fn of(counts: &BTreeMap<String, usize>, operation: &str) -> usize {
    counts.get(operation).copied().unwrap_or_default()
}

/// In no time between two calls were there more calls than the rate allows, and a second's worth at once.
fn assert_paced(log: &Log, rate: u32) {
    let calls = log.all().iter().filter(|call| call.service == Service::Eks);
    let times: Vec<Timestamp> = calls.map(|call| call.time).collect();
    // Calls take different times to arrive, so that some of those that began before come with those that began after.
    let late = SignedDuration::from_millis(500);
    let beyond = |calls: usize| {
        u64::try_from(calls)
            .expect("few")
            .saturating_sub(u64::from(rate))
    };
    for (first, from) in times.iter().enumerate().step_by(50) {
        for (last, to) in times.iter().enumerate().skip(first).step_by(50) {
            let least = Duration::from_millis(beyond(last - first) * 1000 / u64::from(rate));
            let least = SignedDuration::try_from(least).expect("short");
            let took = to.duration_since(*from) + late;
            assert!(
                took >= least,
                "{} calls within {took:?}, at {rate} a second",
                last - first
            );
        }
    }
}

/// The listings since then: runs of pages with nothing between them for half a period, each with where it begins.
fn listings(log: &Log, since: Mark) -> Vec<(Timestamp, usize)> {
    let pages = log.since(since).iter();
    let pages = pages.filter(|call| call.operation == "ListAccessEntries");
    let mut found: Vec<(Timestamp, usize)> = Vec::new();
    let mut last = Timestamp::MIN;
    let gap = SignedDuration::try_from(LISTING / 2).expect("short");
    for page in pages {
        match found.last_mut() {
            Some((_, count)) if page.time.duration_since(last) < gap => *count += 1,
            _ => found.push((page.time, 1)),
        }
        last = page.time;
    }
    found
}

/// The entry is as the mapping declares it.
fn assert_as_declared(entry: &Entry, number: usize) {
    let Entry {
        groups,
        type_,
        username,
        policies,
        ..
    } = entry;
    let found: Vec<(&str, Option<BTreeSet<String>>)> = policies
        .iter()
        .map(|(arn, association)| {
            let namespaces = association.namespaces.clone();
            let namespaces = namespaces.map(|names| names.into_iter().collect());
            (arn.rsplit('/').next().unwrap_or_default(), namespaces)
        })
        .collect();
    let namespaces: BTreeSet<String> = ["team-a", "dev-*"].map(str::to_owned).into();
    let wanted = match number {
        ADMINISTRATOR => vec![(ADMIN_POLICY, None)],
        number if number.is_multiple_of(WITH_POLICIES) => {
            vec![
                ("AmazonEKSEditPolicy", Some(namespaces)),
                ("AmazonEKSViewPolicy", None),
            ]
        }
        _ => Vec::new(),
    };
    assert_eq!(found, wanted, "{entry:?}");
    assert_eq!(type_, "STANDARD");
    let role = Principal::parse(&entry.principal_arn).expect("a role");
    assert_eq!(*username, role.default_username());
    let groups: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
    let team = format!("team-{:02}", number % 50);
    let declared = ["platform-engineers", team.as_str()];
    let declared: &[&str] = if number == ADMINISTRATOR {
        &[]
    } else {
        &declared
    };
    assert_eq!(groups, declared.iter().copied().collect());
}

/// Every role of the fleet has exactly the entry that is declared, foreign ones stand as they stood, and there is no other.
fn assert_stands(world: &World, mappings: usize, foreign: usize) {
    let entries = &world.cluster.entries;
    assert_eq!(entries.len(), mappings + foreign);
    for number in 0..mappings {
        assert_as_declared(&entries[&arn(number)], number);
    }
    for number in 0..foreign {
        let entry = &entries[&format!("arn:aws:iam::{ACCOUNT}:role/foreign-{number}")];
        assert!(
            entry.tags.is_empty() && entry.groups.is_empty(),
            "{entry:?}"
        );
    }
}

async fn start(cluster: &Cluster, eks: &Eks) -> Operator {
    let (rate, listing) = (
        format!("--eks-rate={RATE}"),
        format!("--listing-period={}s", LISTING.as_secs()),
    );
    let refresh = format!("--refresh-period={}s", REFRESH.as_secs());
    Operator::start_in(cluster, eks, &[&rate, &listing, &refresh]).await
}

/// The condition Ready of the mapping of this number, once it is as expected.
async fn until_ready_is(cluster: &Cluster, number: usize, expected: &str) -> String {
    cluster
        .until(&fleet::name(number), "Ready", expected)
        .await
        .message
}

/// 2,990 mappings beside 10 foreign entries: what they cost at first, while nothing happens, and when one of them changes; and
/// what becomes of more at the quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nearly_three_thousand_entries_cost_the_calls_that_they_need_and_no_more() {
    let cluster = Cluster::seeded().await;
    let eks = Eks::start(world(&cluster, MAPPINGS + 20, FOREIGN)).await;
    fleet::create_all(&cluster.admin(), (0..MAPPINGS).map(mapping)).await;

    // Convergence: a call for each entry and each association, one look at each foreign entry, and the listings.
    let operator = start(&cluster, &eks).await;
    fleet::until_ready(&cluster.admin(), MAPPINGS).await;
    assert_stands(&eks.world(), MAPPINGS, FOREIGN);
    let associations: usize = (0..MAPPINGS).map(policies).sum();
    {
        let log = eks.log();
        let made = counts(&log, Mark::START, None);
        assert_eq!(of(&made, "CreateAccessEntry"), MAPPINGS, "{made:?}");
        assert_eq!(of(&made, "AssociateAccessPolicy"), associations, "{made:?}");
        for never in [
            "UpdateAccessEntry",
            "DeleteAccessEntry",
            "DisassociateAccessPolicy",
            "TagResource",
            "UntagResource",
        ] {
            assert_eq!(of(&made, never), 0, "{made:?}");
        }
        let span = log
            .all()
            .last()
            .map(|call| call.time.duration_since(log.all()[0].time));
        let described = FOREIGN + rolling(span.unwrap_or_default());
        assert!(
            of(&made, "DescribeAccessEntry") <= described,
            "{made:?}, at most {described} descriptions"
        );
        assert_paced(&log, RATE);
    }

    a_quiet_period(&eks).await;
    a_change(&cluster, &eks).await;
    at_the_quota(&cluster, &eks).await;
    let (status, _) = operator.stop().await;
    assert!(status.success());
}

/// How many entries the rolling refresh may describe within this time, and one more.
fn rolling(span: SignedDuration) -> usize {
    let share = span.as_secs_f64() / REFRESH.as_secs_f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of some thousands"
    )]
    let entries = (share * MAPPINGS as f64).ceil() as usize;
    entries + 1
}

/// From one listing to the next: a call for each hundred entries, that of the administrators, and the rolling share.
async fn a_quiet_period(eks: &Eks) {
    let mark = eks.log().mark();
    eventually("a whole period has passed", fleet::LONG, async || {
        // The first listing may have begun before, and the last one may go on.
        let found = listings(&eks.log(), mark);
        if found.len() >= 3 { Ok(()) } else { Err(found) }
    })
    .await;
    let log = eks.log();
    let found = listings(&log, mark);
    let (from, to) = (found[1].0, found[2].0);
    let period = log
        .since(mark)
        .iter()
        .filter(|call| call.service == Service::Eks && from <= call.time && call.time < to);
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for call in period {
        *calls.entry(&call.operation).or_default() += 1;
    }
    let pages = (MAPPINGS + FOREIGN).div_ceil(100);
    assert_eq!(
        calls.remove("ListAccessEntries"),
        Some(pages + 1),
        "and one of administrators"
    );
    let share = rolling(to.duration_since(from));
    for each in ["DescribeAccessEntry", "ListAssociatedAccessPolicies"] {
        let made = calls.remove(each).unwrap_or_default();
        assert!(made <= share, "{made} of {each}, at most {share}");
    }
    // The cluster's mode is read each minute.
    let modes = calls.remove("DescribeCluster").unwrap_or_default();
    assert!(modes <= 1, "{modes}");
    assert!(calls.is_empty(), "{calls:?}");
}

/// What a change of one mapping costs.
async fn a_change(cluster: &Cluster, eks: &Eks) {
    let (one, other) = (1, WITH_POLICIES);
    let cases: [(usize, Value, usize); 3] = [
        (
            one,
            json!({"spec": {"groups": ["platform-engineers", "team-99"]}}),
            0,
        ),
        (
            one,
            json!({"spec": {"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}, {"policy": "AmazonEKSEditPolicy"}]}}),
            2,
        ),
        (
            other,
            json!({"spec": {"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]}}),
            1,
        ),
    ];
    for (number, patch, associations) in cases {
        let mark = eks.log().mark();
        cluster.change(&fleet::name(number), patch.clone()).await;
        until_ready_is(cluster, number, "True InEffect").await;
        let made = counts(&eks.log(), mark, Some(&arn(number)));
        let all: usize = made.values().sum();
        assert!(0 < all && all <= 3 + associations, "{patch}: {made:?}");
        let changed = of(&made, "AssociateAccessPolicy") + of(&made, "DisassociateAccessPolicy");
        assert_eq!(changed, associations, "{patch}: {made:?}");
    }
    let world = eks.world();
    let groups = &world.cluster.entries[&arn(one)].groups;
    assert!(groups.iter().any(|group| group == "team-99"), "{groups:?}");
}

/// EKS takes no more: the rest stand in aws-auth where that counts, and say so where it does not.
async fn at_the_quota(cluster: &Cluster, eks: &Eks) {
    let full = MAPPINGS + FOREIGN;
    let more = MAPPINGS + 1..MAPPINGS + 4;
    fleet::create_all(&cluster.admin(), more.clone().map(mapping)).await;
    for number in more.clone() {
        until_ready_is(cluster, number, "True InEffect").await;
        let text = cluster.roles().await;
        assert!(text.contains(&fleet::role(number)), "it stands in aws-auth");
    }
    assert_eq!(eks.world().cluster.entries.len(), full);

    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API"}}),
    )
    .unwrap();
    // The mode is read each minute; those in aws-auth are not let in by it any more.
    for number in more {
        eventually("it says that there is no room", fleet::LONG, async || {
            let name = fleet::name(number);
            let mapping = cluster.mappings().get(&name).await;
            let ready = fleet::ready(&mapping.expect("it is there"));
            if ready == "False EntryQuotaExceeded" {
                Ok(())
            } else {
                Err(ready)
            }
        })
        .await;
    }
    let late = MAPPINGS + 11;
    fleet::create_all(&cluster.admin(), std::iter::once(mapping(late))).await;
    let message = until_ready_is(cluster, late, "False EntryQuotaExceeded").await;
    assert!(
        message.contains("maximum number of access entries that EKS allows"),
        "{message}"
    );
    assert_eq!(eks.world().cluster.entries.len(), full);
}

/// One call in five is throttled, one in twenty fails, and of one in fifty the connection ends after its effect: all converge,
/// none twice, none lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_calls_go_wrong_all_converge_none_twice_and_none_lost() {
    const COUNT: usize = 500;
    let cluster = Cluster::seeded().await;
    let eks = Eks::start(world(&cluster, COUNT, FOREIGN)).await;
    {
        let mut knobs = eks.knobs();
        knobs.throttled = 0.20;
        knobs.server_errors = 0.05;
        knobs.dropped = 0.02;
    }
    let operator = Operator::start_in(&cluster, &eks, &["--eks-rate=1000"]).await;
    fleet::create_all(&cluster.admin(), (0..COUNT).map(mapping)).await;
    fleet::until_ready(&cluster.admin(), COUNT).await;
    assert_stands(&eks.world(), COUNT, FOREIGN);
    assert_none_twice(&eks.log(), COUNT);
    operator.stop().await;
}

/// Each principal's entry was made once and none was removed, although a good part of all calls went wrong.
fn assert_none_twice(log: &Log, count: usize) {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for call in log.all().iter().filter(|call| call.had_effect()) {
        let operation = call.operation.as_str();
        let removes = ["DeleteAccessEntry", "DisassociateAccessPolicy"].contains(&operation);
        assert!(!removes, "nothing was to be removed: {call:?}");
        if operation == "CreateAccessEntry" {
            let principal = call.principal.as_deref().expect("of a principal");
            *made.entry(principal).or_default() += 1;
        }
    }
    assert_eq!(made.len(), count);
    let twice: Vec<_> = made.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let faults = log
        .all()
        .iter()
        .filter(|call| !call.by_hand && call.service == Service::Eks);
    let (good, bad): (Vec<_>, Vec<_>) = faults.partition(|call| call.outcome == Outcome::Done);
    assert!(
        bad.len() * 5 > good.len(),
        "{} of {} went wrong",
        bad.len(),
        good.len() + bad.len()
    );
}
