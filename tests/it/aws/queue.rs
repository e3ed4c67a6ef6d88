//! The queue that tells of changes.

use std::collections::{BTreeMap, BTreeSet};

use identity_mapper::access_entry::EksCluster;
use identity_mapper::access_entry::{Failure, FailureKind};
use identity_mapper::aws::event::{ChangedObject, IgnoredEvent};
use identity_mapper::principal::{PrincipalKind, SSO_PATH};
use serde_json::json;

use super::{OWN, SECOND, account, aws, cluster, policy, world};
use crate::support::eks::{Eks, Service};
use crate::support::eventually;

#[tokio::test]
async fn a_queue_reports_changes() {
    let mut world = world();
    let role = world.role(OWN, "/teams/", "Dev").arn;
    world.person("alice");
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let queue = aws.queue(&eks.queue_url().parse().unwrap(), &cluster());
    eks.knobs().duplicate_events = 1.0;
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let view = policy("AmazonEKSViewPolicy");
    let input =
        json!({"principalArn": role, "policyArn": view, "accessScope": {"type": "cluster"}});
    eks.by_hand("AssociateAccessPolicy", input).unwrap();
    let arn = eks.world().cluster.entries[&role].arn.clone();
    eks.by_hand(
        "TagResource",
        json!({"resourceArn": arn, "tags": {"a": "b"}}),
    )
    .unwrap();
    let set = "AWSReservedSSO_View_0123456789abcdef";
    let set_arn = eks
        .world()
        .role(OWN, &format!("{SSO_PATH}eu-west-1/"), set)
        .arn;
    eks.world().delete_principal(&set_arn);
    eks.by_hand(
        "UpdateClusterConfig",
        json!({"accessConfig": {"authenticationMode": "API"}}),
    )
    .unwrap();

    let mut changes = Vec::new();
    let mut passed_over = 0;
    eventually("all events", 30 * SECOND, async || {
        let batch = queue.receive().await.unwrap();
        assert_eq!(batch.undeleted, None);
        passed_over += batch.passed_over.values().sum::<u64>();
        changes.extend(batch.changes);
        let config = changes
            .iter()
            .filter(|change| change.what == ChangedObject::ClusterConfig)
            .count();
        if config == 2 {
            Ok(())
        } else {
            Err(changes.clone())
        }
    })
    .await;
    assert_eq!(passed_over, 0);
    let caller = eks.world().person("alice").arn;
    let entry = ChangedObject::Entry {
        principal_arn: role.clone(),
    };
    for (operation, what) in [
        ("CreateAccessEntry", entry.clone()),
        ("AssociateAccessPolicy", entry),
        ("TagResource", ChangedObject::Tags { entry_arn: arn }),
        ("UpdateClusterConfig", ChangedObject::ClusterConfig),
    ] {
        let told: Vec<_> = changes
            .iter()
            .filter(|change| change.operation == operation)
            .collect();
        assert_eq!(told.len(), 2, "{operation}, twice each: {changes:#?}");
        assert_eq!(told[0].what, what);
        assert_eq!(told[0].caller.as_ref(), Some(&caller));
    }
    let deleted = ChangedObject::Principal {
        account: account(OWN),
        kind: PrincipalKind::Role,
        name: set.to_owned(),
        permission_set: true,
    };
    assert!(
        changes.iter().any(|change| change.what == deleted),
        "{changes:#?}"
    );

    // Of another cluster of the account.
    let other = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/other").unwrap();
    let queue = aws.queue(&eks.queue_url().parse().unwrap(), &other);
    eks.by_hand("DeleteAccessEntry", json!({"principalArn": role}))
        .unwrap();
    let batch = queue.receive().await.unwrap();
    assert_eq!(batch.changes, []);
    assert_eq!(
        batch.passed_over,
        BTreeMap::from([(IgnoredEvent::OtherCluster, 2)])
    );
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_says_why() {
    let mut world = world();
    let role = world.role(OWN, "/", "Dev").arn;
    world.person("alice");
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    let aws = aws(&eks).await;
    let url = eks.queue_url();
    let queue = aws.queue(&url.parse().unwrap(), &cluster());
    let queue_arn = "arn:aws:sqs:eu-west-1:111122223333:changes";
    let statement = |failure: Failure| match failure.kind {
        FailureKind::Denied { statement, .. } => {
            serde_json::from_str::<serde_json::Value>(&statement).unwrap()
        }
        other => panic!("{other:?}"),
    };
    eks.knobs().deny("sqs:ReceiveMessage");
    let denied = statement(queue.receive().await.expect_err("denied"));
    assert_eq!(
        denied,
        json!({"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": queue_arn})
    );
    eks.knobs().allow("sqs:ReceiveMessage");

    // What can't be deleted is told all the same.
    eks.by_hand("CreateAccessEntry", json!({"principalArn": role}))
        .unwrap();
    eks.knobs().deny("sqs:DeleteMessage");
    let batch = queue.receive().await.unwrap();
    assert_eq!(batch.changes.len(), 1);
    let denied = statement(batch.undeleted.expect("it was not deleted"));
    assert_eq!(
        denied,
        json!({"Effect": "Allow", "Action": "sqs:DeleteMessage", "Resource": queue_arn})
    );

    let gone = aws.queue(&url.replace("changes", "gone").parse().unwrap(), &cluster());
    let failure = gone.receive().await.expect_err("no such queue");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(
        failure.message.contains("queue does not exist"),
        "{failure}"
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Sqs]);
    let failure = queue.receive().await.expect_err("unreachable");
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.message.starts_with("SQS can't be reached"),
        "{failure}"
    );
}
