//! Hosts of STS in each partition, and accounts that are kept out of logs.

use serde_json::json;

use super::*;
use crate::support::logins::Settings;

/// A cluster, the setting of its authenticator, and hosts by which people get in or do not.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ROWS: [Row; 8] = [
    (
        "arn:aws:eks:us-east-1:111122223333:cluster/test",
        "aws",
        &[
            "sts.amazonaws.com",
            "sts.us-east-1.amazonaws.com",
            "sts.us-east-1.api.aws",
            "sts-fips.us-east-1.amazonaws.com",
            "sts.eu-west-1.amazonaws.com",
        ],
        &[
            "sts.cn-north-1.amazonaws.com.cn",
            "sts.example.com",
            "ec2.us-east-1.amazonaws.com",
        ],
    ),
    (
        "arn:aws-cn:eks:cn-north-1:111122223333:cluster/test",
        "aws-cn",
        &["sts.cn-north-1.amazonaws.com.cn"],
        &["sts.amazonaws.com", "sts.us-east-1.amazonaws.com"],
    ),
    (
        "arn:aws-us-gov:eks:us-gov-west-1:111122223333:cluster/test",
        "aws-us-gov",
        &[
            "sts.us-gov-west-1.amazonaws.com",
            "sts.eu-west-1.amazonaws.com",
        ],
        &["sts.amazonaws.com", "sts.cn-north-1.amazonaws.com.cn"],
    ),
    (
        "arn:aws-iso:eks:us-iso-east-1:111122223333:cluster/test",
        "aws-iso",
        &["sts.us-iso-east-1.c2s.ic.gov"],
        &["sts.amazonaws.com", "sts.us-isob-east-1.sc2s.sgov.gov"],
    ),
    (
        "arn:aws-iso-b:eks:us-isob-east-1:111122223333:cluster/test",
        "aws-iso-b",
        &["sts.us-isob-east-1.sc2s.sgov.gov"],
        &["sts.amazonaws.com", "sts.us-iso-east-1.c2s.ic.gov"],
    ),
    (
        "arn:aws-iso-e:eks:eu-isoe-west-1:111122223333:cluster/test",
        "aws-iso-e",
        &["sts.eu-isoe-west-1.cloud.adc-e.uk"],
        &["sts.amazonaws.com", "sts.eu-west-1.amazonaws.com"],
    ),
    (
        "arn:aws-iso-f:eks:us-isof-south-1:111122223333:cluster/test",
        "aws-iso-f",
        &["sts.us-isof-south-1.csp.hci.ic.gov"],
        &["sts.amazonaws.com", "sts.us-iso-east-1.c2s.ic.gov"],
    ),
    (
        "arn:aws-eusc:eks:eusc-de-east-1:111122223333:cluster/test",
        "aws-eusc",
        &[
            "sts.eusc-de-east-1.amazonaws.eu",
            "sts.eusc-de-east-1.api.amazonwebservices.eu",
        ],
        &["sts.amazonaws.com", "sts.eu-central-1.amazonaws.com"],
    ),
];

#[tokio::test]
async fn hosts_of_partitions_and_accounts_that_are_not_logged() {
    let cluster = Cluster::with_logins().await;
    let entry = |partition: &str| {
        let arn = format!("arn:{partition}:iam::{ACCOUNT}:role/Dev");
        format!("- rolearn: {arn}\n  username: of-{partition}\n")
    };
    let roles: String = ROWS
        .iter()
        .map(|(_, partition, ..)| entry(partition))
        .collect();
    cluster.seed(json!({ "mapRoles": roles })).await;

    for (arn, partition, good, bad) in ROWS {
        let mut world = World::new(arn).mode(Mode::ConfigMap);
        let dev = session(&mut world, ACCOUNT, "Dev", "alice");
        let eks = Eks::start(world).await;
        let settings = Settings {
            partition,
            ..Settings::default()
        };
        let logins = Logins::start_with(&cluster, &eks, settings).await;
        open(&logins, &eks, &dev).await;
        for host in good {
            let user = logins.who(&eks.token_by(&dev, "test", host)).await;
            let user = user.unwrap_or_else(|denied| panic!("{partition}, {host}: {denied:?}"));
            assert_eq!(user.username, Some(format!("of-{partition}")), "{host}");
        }
        for host in bad {
            let denied = logins.who(&eks.token_by(&dev, "test", host)).await;
            assert!(denied.unwrap_err().is_unauthorized(), "{partition}, {host}");
        }
    }

    let mut world = World::new(ARN).mode(Mode::ConfigMap);
    let dev = session(&mut world, ACCOUNT, "Dev", "alice");
    let eks = Eks::start(world).await;
    let settings = Settings {
        scrubbed: &[ACCOUNT],
        ..Settings::default()
    };
    let logins = Logins::start_with(&cluster, &eks, settings).await;
    open(&logins, &eks, &dev).await;
    let user = logins.who(&eks.token(&dev)).await.unwrap();
    assert_eq!(
        user.uid.as_deref(),
        Some("aws-iam-authenticator:administrative:of-aws")
    );
    let extra = user.extra.unwrap_or_default();
    assert!(!extra.contains_key("arn"), "{extra:?}");
    assert!(!logins.log().contains(&dev.arn), "{}", logins.log());
}
