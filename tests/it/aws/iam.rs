//! The IAM of our own account, and of others.

use std::collections::BTreeSet;

use identity_mapper::aws::{AwsSettings, IamRoles};
use identity_mapper::observed::IamProblem;
use identity_mapper::principal::SSO_PATH;
use identity_mapper::time::Timestamp;
use serde_json::json;

use super::{OTHER, OWN, account, aws, aws_with, fast, start, world};
use crate::support::eks::{Eks, Service};

#[tokio::test]
async fn roles_and_users_of_our_own_account() {
    let mut world = world();
    for number in 0..2500 {
        world.role(OWN, "/many/", &format!("Role-{number}"));
    }
    let view = world.role(
        OWN,
        &format!("{SSO_PATH}eu-west-1/"),
        "AWSReservedSSO_View_0123456789abcdef",
    );
    let bob = world.user(OWN, "/people/", "Bob");
    let eks = Eks::start(world).await;
    // IAM may give fewer than it is asked for.
    eks.knobs().iam_page = 700;
    let aws = aws(&eks).await;
    let before = Timestamp::now();
    let listing = aws.roles(&account(OWN), "/").await.unwrap();
    // With the operator's own.
    assert_eq!(listing.principals.len(), 2502);
    assert!(listing.read >= before && listing.read <= Timestamp::now());
    assert_eq!(eks.log().count("ListRoles", start()), 4);
    let counted = |service, operation| {
        let labels = [
            ("service", service),
            ("operation", operation),
            ("outcome", "ok"),
        ];
        aws.calls().others.get_or_create(&labels).get()
    };
    assert_eq!(counted("iam", "ListRoles"), 4);
    assert_eq!(counted("sts", "GetCallerIdentity"), 1);
    let listing = aws.roles(&account(OWN), SSO_PATH).await.unwrap();
    let principals: Vec<_> = listing.principals.iter().collect();
    let [(name, principal)] = principals.as_slice() else {
        panic!("{principals:?}");
    };
    assert_eq!(name.as_str(), "awsreservedsso_view_0123456789abcdef");
    assert_eq!((&principal.arn, &principal.id), (&view.arn, &view.id));
    let made = principal
        .created
        .unwrap()
        .duration_since(view.created.into())
        .abs();
    assert!(made.as_secs() <= 1, "{principal:?}");
    let users = aws.users(&account(OWN)).await.unwrap();
    assert_eq!(users.principals["bob"].arn, bob.arn);
    assert_eq!(users.principals["bob"].id, bob.id);
}

#[tokio::test]
async fn other_accounts_through_their_roles() {
    let mut world = world();
    let reader = world
        .assumable_role(OTHER, "/", "reader", Some("shared"))
        .arn;
    world.role("777788889999", "/", "reader");
    let dev = world.role(OTHER, "/", "Dev").arn;
    let eks = Eks::start(world).await;
    let other = account(OTHER);

    let aws = aws(&eks).await;
    assert_eq!(aws.roles(&other, "/").await, Err(IamProblem::NoRole));
    assert_eq!(aws.users(&other).await, Err(IamProblem::NoRole));

    let template = ["arn:aws:iam::{account}:role/reader"];
    let listed = [other.clone(), account("777788889999")];
    let mut iam_roles = IamRoles::parse(template, listed).unwrap();
    iam_roles.external_id = Some("shared".to_owned());
    let aws = aws_with(
        &eks,
        &AwsSettings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    let listing = aws.roles(&other, "/").await.unwrap();
    assert_eq!(listing.principals["dev"].arn, dev);
    aws.users(&other).await.unwrap();
    assert_eq!(
        eks.log().count("AssumeRole", start()),
        1,
        "the credentials are kept"
    );
    assert!(
        aws.roles(&account(OWN), "/").await.is_ok(),
        "our own account needs no role"
    );
    assert_eq!(eks.log().count("AssumeRole", start()), 1);

    // Whoever writes mappings names accounts: one that is not listed hears of neither role nor external id.
    let unlisted = aws.roles(&account("999900001111"), "/").await;
    assert_eq!(unlisted, Err(IamProblem::NoRole));
    assert_eq!(eks.log().count("AssumeRole", start()), 1);

    // A role that does not let us in, and one that wants another external id.
    let closed = aws
        .roles(&account("777788889999"), "/")
        .await
        .expect_err("closed");
    let reader_there = "arn:aws:iam::777788889999:role/reader";
    let expect_denied = |problem: IamProblem, role: &str| {
        let IamProblem::Denied { message, statement } = problem else {
            panic!("{problem:?}");
        };
        assert!(message.contains("sts:AssumeRole"), "{message}");
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role})
        );
    };
    expect_denied(closed, reader_there);
    let iam_roles = IamRoles::parse([reader.as_str()], []).unwrap();
    let aws = aws_with(
        &eks,
        &AwsSettings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    expect_denied(
        aws.roles(&other, "/").await.expect_err("the external id"),
        &reader,
    );
}

#[tokio::test]
async fn iam_that_is_unreachable_is_not_iam_that_denies() {
    let mut world = world();
    world.assumable_role(OTHER, "/", "reader", None);
    let eks = Eks::start(world).await;
    let iam_roles =
        IamRoles::parse(["arn:aws:iam::{account}:role/reader"], [account(OTHER)]).unwrap();
    let aws = aws_with(
        &eks,
        &AwsSettings {
            iam_roles,
            ..fast()
        },
    )
    .await;
    let unreachable = |problem: IamProblem, service: &str| match problem {
        IamProblem::Unreachable(message) => assert!(message.contains(service), "{message}"),
        other => panic!("{other:?}"),
    };
    // Without STS nobody knows whose account it is.
    eks.knobs().unreachable = BTreeSet::from([Service::Sts]);
    unreachable(
        aws.roles(&account(OWN), "/").await.expect_err("no STS"),
        "STS",
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Iam]);
    unreachable(
        aws.roles(&account(OWN), "/").await.expect_err("no IAM"),
        "IAM",
    );
    eks.knobs().unreachable = BTreeSet::from([Service::Sts]);
    unreachable(
        aws.roles(&account(OTHER), "/").await.expect_err("no STS"),
        "no credentials",
    );
    eks.knobs().unreachable.clear();
    for (action, users) in [("iam:ListRoles", false), ("iam:ListUsers", true)] {
        eks.knobs().deny(action);
        let problem = if users {
            aws.users(&account(OWN)).await.expect_err(action)
        } else {
            aws.roles(&account(OWN), SSO_PATH).await.expect_err(action)
        };
        let IamProblem::Denied { statement, .. } = problem else {
            panic!("{problem:?}");
        };
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            json!({"Effect": "Allow", "Action": action, "Resource": "*"})
        );
    }
    eks.knobs().denied.clear();
    assert!(aws.roles(&account(OTHER), "/").await.is_ok(), "it recovers");
}
