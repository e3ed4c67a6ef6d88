//! Events as CloudTrail and EventBridge shape them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const CALLER: &str = "arn:aws:sts::111122223333:assumed-role/Console/alice";
const ROLE: &str = "arn:aws:iam::111122223333:role/teams/Dev";
const ENCODED: &str = "arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteams%2FDev";

fn cluster() -> EksCluster {
    EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/prod").expect("an ARN")
}

fn event(source: &str, operation: &str, parameters: &Value) -> Value {
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

fn change(event: &Value) -> Result<AwsChange, IgnoredEvent> {
    read(&event.to_string(), &cluster())
}

fn changed(event: &Value) -> Result<ChangedObject, IgnoredEvent> {
    change(event).map(|change| change.what)
}

fn entry() -> ChangedObject {
    ChangedObject::Entry {
        principal_arn: ROLE.to_owned(),
    }
}

#[test]
fn calls_on_entries_name_the_principal() {
    let created = event(
        "eks",
        "CreateAccessEntry",
        &json!({"name": "prod", "principalArn": ROLE}),
    );
    assert_eq!(
        change(&created),
        Ok(AwsChange {
            what: ChangedObject::Entry {
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
            changed(&event("eks", operation, &parameters)),
            Ok(entry()),
            "{operation}"
        );
    }
}

#[test]
fn tags_name_the_entry() {
    let arn = "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/Dev/50ca5dee";
    for operation in ["TagResource", "UntagResource"] {
        let encoded = arn.replace(':', "%3A").replace('/', "%2F");
        let told = changed(&event("eks", operation, &json!({"resourceArn": encoded})));
        assert_eq!(
            told,
            Ok(ChangedObject::Tags {
                entry_arn: arn.to_owned()
            })
        );
        let told = changed(&event(
            "eks",
            operation,
            &json!({"resourceArn": arn.replace("/prod/", "/prod2/")}),
        ));
        assert_eq!(told, Err(IgnoredEvent::OtherCluster));
        let told = changed(&event(
            "eks",
            operation,
            &json!({"resourceArn": cluster().arn}),
        ));
        assert_eq!(told, Err(IgnoredEvent::Irrelevant));
    }
}

#[test]
fn principals_of_iam() {
    let mut made = event(
        "iam",
        "CreateRole",
        &json!({"roleName": "AWSReservedSSO_View_0123456789abcdef"}),
    );
    // Handed on from the region where IAM's events are.
    made["region"] = "us-east-1".into();
    made["detail"]["awsRegion"] = "us-east-1".into();
    made["detail"]["recipientAccountId"] = "444455556666".into();
    let principal = |kind, name: &str, permission_set| {
        Ok(ChangedObject::Principal {
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
    assert_eq!(changed(&made), Err(IgnoredEvent::Irrelevant));
}

#[test]
fn the_configuration_of_the_cluster() {
    let updated = event(
        "eks",
        "UpdateClusterConfig",
        &json!({"name": "prod", "accessConfig": {"authenticationMode": "API"}}),
    );
    assert_eq!(changed(&updated), Ok(ChangedObject::ClusterConfig));
    for operation in [
        "CreateCertificateAuthority",
        "ActivateCertificateAuthority",
        "DeleteCertificateAuthority",
    ] {
        let rotated = event("eks", operation, &json!({"name": "prod"}));
        assert_eq!(
            changed(&rotated),
            Ok(ChangedObject::ClusterConfig),
            "{operation}"
        );
    }
}

#[test]
fn events_in_china_have_another_detail_type() {
    let mut created = event(
        "eks",
        "CreateAccessEntry",
        &json!({"name": "prod", "principalArn": ROLE}),
    );
    created["detail-type"] = "Amazon API Call via CloudTrail".into();
    created["detail"]["eventSource"] = "eks.amazonaws.com.cn".into();
    assert_eq!(changed(&created), Ok(entry()));
}

/// IAM has no such path, and EKS takes no principals of another partition.
#[test]
fn principals_that_can_have_no_entry_are_passed_over() {
    for arn in [
        "arn:aws:iam::111122223333:role/{no path}/Dev",
        "arn:aws-cn:iam::111122223333:role/Dev",
    ] {
        let parameters = json!({"name": "prod", "principalArn": arn});
        let created = event("eks", "CreateAccessEntry", &parameters);
        assert_eq!(changed(&created), Err(IgnoredEvent::Irrelevant), "{arn}");
    }
}

#[test]
fn ignored_events() {
    let created = || {
        event(
            "eks",
            "CreateAccessEntry",
            &json!({"name": "prod", "principalArn": ROLE}),
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
            IgnoredEvent::OtherCluster,
        ),
        (
            "/detail/awsRegion",
            json!("eu-west-2"),
            IgnoredEvent::OtherCluster,
        ),
        (
            "/detail/recipientAccountId",
            json!("444455556666"),
            IgnoredEvent::OtherCluster,
        ),
        (
            "/detail/errorCode",
            json!("AccessDenied"),
            IgnoredEvent::FailedCall,
        ),
        (
            "/detail/errorMessage",
            json!("no"),
            IgnoredEvent::FailedCall,
        ),
        (
            "/detail/eventName",
            json!("CreateNodegroup"),
            IgnoredEvent::Irrelevant,
        ),
        (
            "/detail/eventSource",
            json!("s3.amazonaws.com"),
            IgnoredEvent::Irrelevant,
        ),
        (
            "/detail/requestParameters/principalArn",
            json!("arn:aws:iam::111122223333:root"),
            IgnoredEvent::Irrelevant,
        ),
        (
            "/detail-type",
            json!("EKS Cluster State AwsChange"),
            IgnoredEvent::Unknown,
        ),
        (
            "/detail/requestParameters",
            Value::Null,
            IgnoredEvent::Unknown,
        ),
        (
            "/detail/requestParameters/principalArn",
            Value::Null,
            IgnoredEvent::Unknown,
        ),
        ("/detail", json!("text"), IgnoredEvent::Unknown),
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
            Err(IgnoredEvent::Unknown),
            "{message}"
        );
    }
    // Without the time of the call there is that of the event.
    assert_eq!(with("/detail/eventTime", Value::Null), Ok(entry()));
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
    #![proptest_config(crate::laws::cases(256))]
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
        let mut event = event("eks", "UpdateAccessEntry", &json!({"name": "prod", "principalArn": ENCODED}));
        *event.pointer_mut(place).expect("it is there") = value;
        if let Ok(ChangedObject::Entry { principal_arn }) = changed(&event) {
            prop_assert_eq!(principal_arn, ROLE);
        }
    }
}

#[test]
fn callers_are_bounded_arns_without_spaces_and_control_characters() {
    let session = "arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com";
    assert_eq!(caller(session).as_deref(), Some(session));
    assert_eq!(caller("nobody"), None);
    let forged = caller("arn:aws:iam::1:user/a\n\u{1b}[2Jb\u{202e}").expect("an ARN");
    assert_eq!(forged, "arn:aws:iam::1:user/a\\n\\u{1b}[2Jb\\u{202e}");
    let sentence = caller("arn:aws:iam::1:user/a, as approved").expect("an ARN");
    assert_eq!(sentence, "arn:aws:iam::1:user/a,\\u{20}as\\u{20}approved");
    let long = caller(&format!("arn:{}", "x".repeat(1_000_000))).expect("an ARN");
    assert!(long.len() <= CALLER_BYTES + '…'.len_utf8() && long.ends_with('…'));
}
