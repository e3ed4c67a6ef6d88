//! What goes wrong on the way: throttling, faults of the service, answers that are lost.

use std::collections::BTreeSet;

use identity_mapper::access_entry::{Call, FailureKind};
use identity_mapper::aws::{AwsSettings, Priority};
use serde_json::json;

use super::{
    OWN, SECOND, aws, aws_with, cluster, create, describe, described, failed, set, start, world,
};
use crate::support::eks::{Eks, Fault, Outcome};
use crate::support::eventually;

#[tokio::test]
async fn a_part_of_a_listing_is_an_error() {
    let eks = Eks::start(world()).await;
    for number in 0..150 {
        let role = eks.world().role(OWN, "/", &format!("role-{number}")).arn;
        eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
            .unwrap();
    }
    let aws = aws(&eks).await;
    // The first page comes after one failure; the second never does.
    for fault in [Fault::ServerError, Fault::DroppedAfterEffect] {
        eks.knobs().script("ListAccessEntries", fault);
    }
    let listed = aws.list_entries(&cluster(), None).await.unwrap();
    assert_eq!(listed.len(), 150);
    eks.knobs().throttle("ListAccessEntries", 0.0, 1.0);
    let failure = aws
        .list_entries(&cluster(), None)
        .await
        .expect_err("half a listing");
    assert_eq!(failure.kind, FailureKind::Throttled);
}

#[tokio::test]
async fn throttling_lowers_the_rate_and_success_raises_it() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    eks.knobs().throttle("DescribeAccessEntry", 10.0, 5.0);
    let aws = aws_with(
        &eks,
        &AwsSettings {
            rate: 100.0,
            ..AwsSettings::default()
        },
    )
    .await;
    let calls = (0..40).map(|_| described(&aws, &role));
    futures::future::join_all(calls).await;
    let rate = || aws.calls().rate.get();
    let lowered = rate();
    assert!(lowered < 50.0, "{lowered} calls a second");
    let counted = |outcome| {
        let labels = [("operation", "DescribeAccessEntry"), ("outcome", outcome)];
        aws.calls().calls.get_or_create(&labels).get()
    };
    assert_eq!(counted("ok"), 40);
    let (throttled, refused) = (
        counted("throttled"),
        eks.log().count("DescribeAccessEntry", start()),
    );
    assert_eq!(
        usize::try_from(throttled + 40).unwrap(),
        refused,
        "all attempts are counted"
    );
    assert!(
        (1..40).contains(&throttled),
        "{throttled} calls were throttled"
    );
    assert!(aws.calls().waited.get() > 0.0);

    eks.knobs().unthrottle();
    eventually("the rate recovers", 30 * SECOND, async || {
        described(&aws, &role).await;
        let now = rate();
        if now >= lowered + 10.0 {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_has_priority_over_background_calls() {
    let mut world = world();
    let (role, changed) = (
        world.role(OWN, "/", "Dev").arn,
        world.role(OWN, "/", "Changed").arn,
    );
    let eks = Eks::start(world).await;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let aws = aws_with(
        &eks,
        &AwsSettings {
            rate: 20.0,
            ..AwsSettings::default()
        },
    )
    .await;
    let (cluster, describe, create) = (cluster(), describe(&role), create(&changed));
    let background = futures::future::join_all(
        (0..30).map(|_| aws.call(&cluster, &describe, Priority::Background)),
    );
    let urgent = async {
        eventually("the first ones are made", 10 * SECOND, async || {
            eks.log().count("DescribeAccessEntry", start()) >= 15
        })
        .await;
        aws.call(&cluster, &create, Priority::Urgent).await
    };
    let (background, urgent) = futures::join!(background, urgent);
    assert!(urgent.is_ok() && background.iter().all(Result::is_ok));
    let log = eks.log();
    let made: Vec<&str> = log
        .all()
        .iter()
        .filter(|call| !call.by_hand)
        .map(|call| call.operation.as_str())
        .collect();
    let place = made
        .iter()
        .position(|made| *made == "CreateAccessEntry")
        .unwrap();
    assert!(place < made.len() - 15, "{place} of {}", made.len());
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_made_again() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let mark = eks.log().mark();
    eks.knobs()
        .script("CreateAccessEntry", Fault::DroppedAfterEffect);
    let failure = failed(&aws, create(&role)).await;
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.kind.effect_unknown());
    assert!(
        failure.message.starts_with("EKS can't be reached: "),
        "{failure}"
    );
    assert!(!failure.message.contains("service error"), "{failure}");
    assert_eq!(eks.log().count("CreateAccessEntry", mark), 1);
    described(&aws, &role).await;

    eks.knobs()
        .script("UpdateAccessEntry", Fault::ServerErrorAfterEffect);
    let update = Call::Update {
        principal_arn: role.clone(),
        username: None,
        groups: set(&["dev"]),
    };
    assert_eq!(failed(&aws, update).await.kind, FailureKind::Unavailable);
    assert_eq!(eks.log().count("UpdateAccessEntry", mark), 1);
    assert_eq!(described(&aws, &role).await.groups, set(&["dev"]));

    // A read is made again.
    let mark = eks.log().mark();
    eks.knobs()
        .script("DescribeAccessEntry", Fault::DroppedAfterEffect);
    eks.knobs()
        .script("DescribeAccessEntry", Fault::ServerError);
    described(&aws, &role).await;
    assert_eq!(eks.log().count("DescribeAccessEntry", mark), 3);
}

#[tokio::test]
async fn no_answer_in_time() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    eks.knobs()
        .script("CreateAccessEntry", Fault::TimeoutAfterEffect);
    let failure = tokio::time::timeout(20 * SECOND, failed(&aws, create(&role))).await;
    let failure = failure.expect("it gives up after ten seconds");
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.message.starts_with("no answer from EKS: "),
        "{failure}"
    );
    described(&aws, &role).await;
}

/// Everything that goes wrong at once: nothing is done twice and nothing is lost.
#[tokio::test]
async fn calls_under_faults_do_no_more_than_they_say() {
    let mut world = world();
    let roles: Vec<String> = (0..60)
        .map(|number| world.role(OWN, "/", &format!("role-{number}")).arn)
        .collect();
    let eks = Eks::start(world).await;
    {
        let mut knobs = eks.knobs();
        knobs.throttled = 0.2;
        knobs.server_errors = 0.05;
        knobs.dropped = 0.05;
    }
    let aws = aws_with(
        &eks,
        &AwsSettings {
            rate: 200.0,
            ..AwsSettings::default()
        },
    )
    .await;
    let outcomes = futures::future::join_all(roles.iter().map(async |role| {
        let result = aws.call(&cluster(), &create(role), Priority::Urgent).await;
        (role, result)
    }))
    .await;
    let standing: BTreeSet<String> = eks.world().cluster.entries.keys().cloned().collect();
    for (role, result) in outcomes {
        match result {
            Ok(_) => assert!(standing.contains(role), "{role} was said to be made"),
            Err(failure) if failure.kind.effect_unknown() => {}
            Err(failure) if failure.kind == FailureKind::Throttled => {
                assert!(!standing.contains(role));
            }
            Err(failure) => panic!("{role}: {failure:?}"),
        }
    }
    for role in &roles {
        let log = eks.log();
        let effects = log.all().iter().filter(|call| {
            call.operation == "CreateAccessEntry"
                && call.principal.as_ref() == Some(role)
                && call.had_effect()
        });
        let effects: Vec<_> = effects.collect();
        assert!(effects.len() <= 1, "{effects:?}");
        let after = effects
            .iter()
            .find(|call| matches!(call.outcome, Outcome::Lost { .. }))
            .map(|lost| lost.time);
        let again = log.all().iter().any(|call| {
            call.principal.as_ref() == Some(role) && after.is_some_and(|after| call.time > after)
        });
        assert!(!again, "{role} was called for after an answer was lost");
    }
}
