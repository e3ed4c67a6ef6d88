//! Answers of EKS as values.

use super::*;

fn answered(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        message: message.to_owned(),
    }
}

#[test]
fn pages_follow_each_other_to_an_end() {
    let asked = asked("ListAccessEntries", None);
    let token = |token: &str| Some(token.to_owned());
    assert_eq!(next(&asked, None, token("2")), Ok(token("2")));
    assert_eq!(
        next(&asked, token("2").as_ref(), token("3")),
        Ok(token("3"))
    );
    assert_eq!(next(&asked, token("3").as_ref(), None), Ok(None));
    assert_eq!(next(&asked, token("3").as_ref(), token("")), Ok(None));
    let failure = next(&asked, token("2").as_ref(), token("2")).expect_err("it never ends");
    assert_eq!(
        failure.message,
        "EKS's answer to ListAccessEntries leads from a page to the same page"
    );
}

#[test]
fn entries_without_policies_and_other_refusals() {
    let refused = |message| answered(FailureKind::Refused, message);
    let text =
        "This operation can only be performed on Access Entries with a type of \"STANDARD\".";
    assert!(takes_no_policies(&refused(text)));
    assert!(!takes_no_policies(&refused(
        "The policyArn parameter format is not valid"
    )));
    assert!(!takes_no_policies(&answered(
        FailureKind::Unavailable,
        text
    )));
}

#[test]
fn only_what_was_to_be_gone_may_be_missing() {
    let missing = || Err(answered(FailureKind::EntryMissing, "no"));
    assert_eq!(
        done_or(Ok(()), &FailureKind::EntryMissing),
        Ok(Output::Done)
    );
    assert_eq!(
        done_or(missing(), &FailureKind::EntryMissing),
        Ok(Output::Done)
    );
    assert_eq!(
        done_or(missing(), &FailureKind::PolicyMissing),
        Err(answered(FailureKind::EntryMissing, "no"))
    );
}

#[test]
fn what_an_answer_lacks_is_named() {
    let asked = asked("DescribeAccessEntry", None);
    let failure = entry(&asked, None).expect_err("no entry");
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert_eq!(
        failure.message,
        "EKS's answer to DescribeAccessEntry lacks the access entry"
    );
    let half = SdkAccessEntry::builder().principal_arn("arn").build();
    let failure = entry(&asked, Some(half)).expect_err("half an entry");
    assert!(
        failure.message.ends_with("lacks accessEntryArn"),
        "{failure}"
    );
    let scope = AccessScope::builder().r#type("galaxy".into()).build();
    let strange = AssociatedAccessPolicy::builder()
        .access_scope(scope)
        .build();
    let failure = association(&asked, Some(strange)).expect_err("an unknown scope");
    assert!(failure.message.contains("\"galaxy\""), "{failure}");
}

#[test]
fn modes_of_eks() {
    assert_eq!(
        read_mode(&AuthenticationMode::ConfigMap, "prod"),
        Ok(Mode::ConfigMap)
    );
    assert_eq!(
        read_mode(&AuthenticationMode::ApiAndConfigMap, "prod"),
        Ok(Mode::ApiAndConfigMap)
    );
    assert_eq!(read_mode(&AuthenticationMode::Api, "prod"), Ok(Mode::Api));
    let failure = read_mode(&AuthenticationMode::from("NEW"), "prod").expect_err("unknown");
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert!(
        failure.message.contains("\"NEW\"") && failure.message.contains("\"prod\""),
        "{failure}"
    );
}

#[test]
fn the_entries_of_a_cluster() {
    let cluster =
        EksCluster::parse("arn:aws-cn:eks:cn-north-1:111122223333:cluster/prod").expect("an ARN");
    assert_eq!(
        entries_arn(&cluster),
        "arn:aws-cn:eks:cn-north-1:111122223333:access-entry/prod/*"
    );
}
