//! What an event of CloudTrail says that has changed. Pure.
//!
//! EventBridge hands on what CloudTrail records of write calls, at best: late, in any order, sometimes twice, sometimes not at all
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>). So an event is a hint to look,
//! never a fact to act on. What CloudTrail takes from a URL is still percent-encoded.

use std::fmt;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::plan::EksCluster;
use crate::principal::{AccountId, Key, PrincipalKind, SsoRole};

/// How the type of the envelope ends, whatever stands before it: `AWS API Call`, `AWS Service Event`, `Amazon API Call` in China's
/// documentation.
const TYPE_SUFFIX: &str = " via CloudTrail";

/// A call that someone made, and that changed something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it changed.
    pub what: Changed,
    /// The operation, such as `UpdateAccessEntry`.
    pub operation: String,
    /// The caller's ARN, where `CloudTrail` names one.
    pub caller: Option<String>,
    /// When it was called, to the second.
    pub time: Timestamp,
}

/// What a call changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The access entry of this principal.
    Entry {
        /// The principal's ARN.
        principal_arn: String,
    },
    /// The tags of an access entry.
    Tags {
        /// The entry's own ARN: the call names no principal.
        entry_arn: String,
    },
    /// The cluster's configuration, so perhaps its authentication mode.
    ClusterConfig,
    /// A principal was made or deleted in IAM.
    Principal {
        /// Its account.
        account: AccountId,
        /// Role or user.
        kind: PrincipalKind,
        /// Its name, without path.
        name: String,
        /// Whether it is the role of a permission set.
        permission_set: bool,
    },
}

/// Why an event is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOver {
    /// It is about another cluster.
    OtherCluster,
    /// The call failed, and changed nothing.
    FailedCall,
    /// The call changes nothing that matters here.
    Irrelevant,
    /// It is not an event of `CloudTrail` as we know them.
    Unknown,
}

impl PassedOver {
    /// The label in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherCluster => "other_cluster",
            Self::FailedCall => "failed_call",
            Self::Irrelevant => "irrelevant",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a message of the queue: what it says of this cluster, or why it is passed over.
pub fn read(message: &str, cluster: &EksCluster) -> Result<Change, PassedOver> {
    let event: Value = serde_json::from_str(message).map_err(|_| PassedOver::Unknown)?;
    let detail_type = text(&event, "/detail-type").ok_or(PassedOver::Unknown)?;
    if !detail_type.ends_with(TYPE_SUFFIX) {
        return Err(PassedOver::Unknown);
    }
    let source = text(&event, "/detail/eventSource").ok_or(PassedOver::Unknown)?;
    let operation = text(&event, "/detail/eventName").ok_or(PassedOver::Unknown)?;
    if text(&event, "/detail/errorCode").is_some() || text(&event, "/detail/errorMessage").is_some()
    {
        return Err(PassedOver::FailedCall);
    }
    // China's services have names of their own at the end, `eks.amazonaws.com.cn`.
    let what = match source.split('.').next() {
        Some("eks") => of_eks(&event, operation, cluster)?,
        Some("iam") => of_iam(&event, operation)?,
        _ => return Err(PassedOver::Irrelevant),
    };
    let time = text(&event, "/detail/eventTime").or_else(|| text(&event, "/time"));
    let time = time
        .and_then(|time| time.parse().ok())
        .ok_or(PassedOver::Unknown)?;
    Ok(Change {
        what,
        operation: operation.to_owned(),
        caller: text(&event, "/detail/userIdentity/arn").map(str::to_owned),
        time,
    })
}

fn of_eks(event: &Value, operation: &str, cluster: &EksCluster) -> Result<Changed, PassedOver> {
    let parameter = |name: &str| {
        let value = text(event, &format!("/detail/requestParameters/{name}"))?;
        Some(decoded(value))
    };
    if matches!(operation, "TagResource" | "UntagResource") {
        let arn = parameter("resourceArn").ok_or(PassedOver::Unknown)?;
        let ours = cluster
            .arn
            .rsplit_once(":cluster/")
            .map(|(prefix, name)| format!("{prefix}:access-entry/{name}/"));
        return match ours {
            Some(ours) if arn.starts_with(&ours) => Ok(Changed::Tags { entry_arn: arn }),
            _ if arn.contains(":access-entry/") => Err(PassedOver::OtherCluster),
            _ => Err(PassedOver::Irrelevant),
        };
    }
    let entry = matches!(
        operation,
        "CreateAccessEntry"
            | "UpdateAccessEntry"
            | "DeleteAccessEntry"
            | "AssociateAccessPolicy"
            | "DisassociateAccessPolicy"
    );
    if !entry && operation != "UpdateClusterConfig" {
        return Err(PassedOver::Irrelevant);
    }
    let name = parameter("name")
        .or_else(|| parameter("clusterName"))
        .ok_or(PassedOver::Unknown)?;
    // Clusters of other regions and accounts may have the same name, and buses can be joined.
    let elsewhere = |path: &str, ours: &str| text(event, path).is_some_and(|theirs| theirs != ours);
    let account = cluster.account();
    if name != cluster.name
        || elsewhere("/detail/awsRegion", cluster.region())
        || account.is_some_and(|account| elsewhere("/detail/recipientAccountId", account.as_str()))
    {
        return Err(PassedOver::OtherCluster);
    }
    if !entry {
        return Ok(Changed::ClusterConfig);
    }
    let principal_arn = parameter("principalArn").ok_or(PassedOver::Unknown)?;
    // What is no principal has no entry.
    Key::parse_arn(&principal_arn).ok_or(PassedOver::Irrelevant)?;
    Ok(Changed::Entry { principal_arn })
}

fn of_iam(event: &Value, operation: &str) -> Result<Changed, PassedOver> {
    let (kind, parameter) = match operation {
        "CreateRole" | "DeleteRole" => (PrincipalKind::Role, "roleName"),
        "CreateUser" | "DeleteUser" => (PrincipalKind::User, "userName"),
        _ => return Err(PassedOver::Irrelevant),
    };
    let name = text(event, &format!("/detail/requestParameters/{parameter}"))
        .ok_or(PassedOver::Unknown)?;
    let account = text(event, "/detail/recipientAccountId").or_else(|| text(event, "/account"));
    let account = account
        .and_then(|account| account.parse().ok())
        .ok_or(PassedOver::Unknown)?;
    Ok(Changed::Principal {
        account,
        kind,
        name: name.to_owned(),
        permission_set: kind == PrincipalKind::Role && SsoRole::parse_name(name).is_some(),
    })
}

fn text<'a>(event: &'a Value, path: &str) -> Option<&'a str> {
    event.pointer(path)?.as_str()
}

/// An ARN and a cluster's name hold no percent sign, so what has none is left as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const CALLER: &str = "arn:aws:sts::111122223333:assumed-role/Console/alice";
    const ROLE: &str = "arn:aws:iam::111122223333:role/teams/Dev";
    const ENCODED: &str = "arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteams%2FDev";

    fn cluster() -> EksCluster {
        EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/prod").expect("an ARN")
    }

    fn event(source: &str, operation: &str, parameters: Value) -> Value {
        json!({
            "version": "0",
            "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
            "detail-type": "AWS API Call via CloudTrail",
            "source": format!("aws.{source}"),
            "account": "111122223333",
            "time": "2026-01-02T03:04:06Z",
            "region": "eu-west-1",
            "resources": [],
            "detail": {
                "eventVersion": "1.11",
                "userIdentity": {"type": "AssumedRole", "arn": CALLER},
                "eventTime": "2026-01-02T03:04:05Z",
                "eventSource": format!("{source}.amazonaws.com"),
                "eventName": operation,
                "awsRegion": "eu-west-1",
                "recipientAccountId": "111122223333",
                "requestParameters": parameters,
                "responseElements": null,
            },
        })
    }

    fn change(event: &Value) -> Result<Change, PassedOver> {
        read(&event.to_string(), &cluster())
    }

    fn changed(event: &Value) -> Result<Changed, PassedOver> {
        change(event).map(|change| change.what)
    }

    fn entry() -> Result<Changed, PassedOver> {
        Ok(Changed::Entry {
            principal_arn: ROLE.to_owned(),
        })
    }

    #[test]
    fn calls_on_entries_name_the_principal() {
        let created = event(
            "eks",
            "CreateAccessEntry",
            json!({"name": "prod", "principalArn": ROLE}),
        );
        assert_eq!(
            change(&created),
            Ok(Change {
                what: Changed::Entry {
                    principal_arn: ROLE.to_owned()
                },
                operation: "CreateAccessEntry".to_owned(),
                caller: Some(CALLER.to_owned()),
                time: "2026-01-02T03:04:05Z".parse().expect("a time"),
            })
        );
        for operation in [
            "UpdateAccessEntry",
            "DeleteAccessEntry",
            "AssociateAccessPolicy",
            "DisassociateAccessPolicy",
        ] {
            let parameters = json!({"name": "prod", "principalArn": ENCODED, "policyArn": "arn%3Aaws%3Aeks%3A%3Aaws%3Ax"});
            assert_eq!(
                changed(&event("eks", operation, parameters)),
                entry(),
                "{operation}"
            );
        }
    }

    #[test]
    fn tags_name_the_entry() {
        let arn =
            "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/Dev/50ca5dee";
        for operation in ["TagResource", "UntagResource"] {
            let encoded = arn.replace(':', "%3A").replace('/', "%2F");
            let told = changed(&event("eks", operation, json!({"resourceArn": encoded})));
            assert_eq!(
                told,
                Ok(Changed::Tags {
                    entry_arn: arn.to_owned()
                })
            );
            let told = changed(&event(
                "eks",
                operation,
                json!({"resourceArn": arn.replace("/prod/", "/prod2/")}),
            ));
            assert_eq!(told, Err(PassedOver::OtherCluster));
            let told = changed(&event(
                "eks",
                operation,
                json!({"resourceArn": cluster().arn}),
            ));
            assert_eq!(told, Err(PassedOver::Irrelevant));
        }
    }

    #[test]
    fn principals_of_iam() {
        let mut made = event(
            "iam",
            "CreateRole",
            json!({"roleName": "AWSReservedSSO_View_0123456789abcdef"}),
        );
        // Handed on from the region where IAM's events are.
        made["region"] = "us-east-1".into();
        made["detail"]["awsRegion"] = "us-east-1".into();
        made["detail"]["recipientAccountId"] = "444455556666".into();
        let principal = |kind, name: &str, permission_set| {
            Ok(Changed::Principal {
                account: "444455556666".parse().expect("an account"),
                kind,
                name: name.to_owned(),
                permission_set,
            })
        };
        let set = principal(
            PrincipalKind::Role,
            "AWSReservedSSO_View_0123456789abcdef",
            true,
        );
        assert_eq!(changed(&made), set);
        made["detail-type"] = "AWS Service Event via CloudTrail".into();
        made["detail"]["userIdentity"] =
            json!({"type": "AWSService", "invokedBy": "sso.amazonaws.com"});
        assert_eq!(changed(&made), set);
        assert_eq!(change(&made).expect("a change").caller, None);
        made["detail"]["eventName"] = "DeleteUser".into();
        made["detail"]["requestParameters"] = json!({"userName": "bob"});
        assert_eq!(changed(&made), principal(PrincipalKind::User, "bob", false));
        made["detail"]["eventName"] = "AttachRolePolicy".into();
        assert_eq!(changed(&made), Err(PassedOver::Irrelevant));
    }

    #[test]
    fn the_configuration_of_the_cluster() {
        let updated = event(
            "eks",
            "UpdateClusterConfig",
            json!({"name": "prod", "accessConfig": {"authenticationMode": "API"}}),
        );
        assert_eq!(changed(&updated), Ok(Changed::ClusterConfig));
    }

    #[test]
    fn china_words_it_otherwise() {
        let mut created = event(
            "eks",
            "CreateAccessEntry",
            json!({"name": "prod", "principalArn": ROLE}),
        );
        created["detail-type"] = "Amazon API Call via CloudTrail".into();
        created["detail"]["eventSource"] = "eks.amazonaws.com.cn".into();
        assert_eq!(changed(&created), entry());
    }

    #[test]
    fn what_is_passed_over() {
        let created = || {
            event(
                "eks",
                "CreateAccessEntry",
                json!({"name": "prod", "principalArn": ROLE}),
            )
        };
        let with = |path: &str, value: Value| {
            let mut event = created();
            if let Some(place) = event.pointer_mut(path) {
                *place = value;
            } else {
                let (parent, key) = path.rsplit_once('/').expect("a path");
                event.pointer_mut(parent).expect("a parent")[key] = value;
            }
            changed(&event)
        };
        for (path, value, why) in [
            (
                "/detail/requestParameters/name",
                json!("prod2"),
                PassedOver::OtherCluster,
            ),
            (
                "/detail/awsRegion",
                json!("eu-west-2"),
                PassedOver::OtherCluster,
            ),
            (
                "/detail/recipientAccountId",
                json!("444455556666"),
                PassedOver::OtherCluster,
            ),
            (
                "/detail/errorCode",
                json!("AccessDenied"),
                PassedOver::FailedCall,
            ),
            ("/detail/errorMessage", json!("no"), PassedOver::FailedCall),
            (
                "/detail/eventName",
                json!("CreateNodegroup"),
                PassedOver::Irrelevant,
            ),
            (
                "/detail/eventSource",
                json!("s3.amazonaws.com"),
                PassedOver::Irrelevant,
            ),
            (
                "/detail/requestParameters/principalArn",
                json!("arn:aws:iam::111122223333:root"),
                PassedOver::Irrelevant,
            ),
            (
                "/detail-type",
                json!("EKS Cluster State Change"),
                PassedOver::Unknown,
            ),
            (
                "/detail/requestParameters",
                Value::Null,
                PassedOver::Unknown,
            ),
            (
                "/detail/requestParameters/principalArn",
                Value::Null,
                PassedOver::Unknown,
            ),
            ("/detail", json!("text"), PassedOver::Unknown),
        ] {
            assert_eq!(with(path, value), Err(why), "{path}");
        }
        for message in [
            "",
            "{",
            "[]",
            "null",
            "\"text\"",
            "{\"Type\": \"Notification\"}",
        ] {
            assert_eq!(
                read(message, &cluster()),
                Err(PassedOver::Unknown),
                "{message}"
            );
        }
        // Without the time of the call there is that of the event.
        assert_eq!(with("/detail/eventTime", Value::Null), entry());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(Value::from("%zz%3A%")),
            Just(Value::from(ENCODED)),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*") {
            let _ = read(&text, &cluster());
        }

        #[test]
        fn any_json_is_read(value in any_json()) {
            let _ = changed(&value);
        }

        /// A real event with something else in any place, or a place missing: no wrong principal comes of it.
        #[test]
        fn a_damaged_event_is_read(
            place in prop::sample::select(vec![
                "/detail-type", "/source", "/account", "/time", "/region", "/detail", "/detail/userIdentity",
                "/detail/eventTime", "/detail/eventSource", "/detail/eventName", "/detail/awsRegion",
                "/detail/recipientAccountId", "/detail/requestParameters", "/detail/requestParameters/name",
                "/detail/requestParameters/principalArn",
            ]),
            value in any_json(),
        ) {
            let mut event = event("eks", "UpdateAccessEntry", json!({"name": "prod", "principalArn": ENCODED}));
            *event.pointer_mut(place).expect("it is there") = value;
            if let Ok(Changed::Entry { principal_arn }) = changed(&event) {
                prop_assert_eq!(principal_arn, ROLE);
            }
        }
    }
}
