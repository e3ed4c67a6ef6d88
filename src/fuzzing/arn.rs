//! ARNs and the other names of AWS that people and AWS write.

use crate::access_entry::EksCluster;
use crate::aws::QueueUrl;
use crate::principal::{
    Arn, Group, Key, Principal, SsoRole, Username, canonical_caller, middle, short_principal,
};

/// What is parsed is displayed as it was written, and every spelling of a principal is that principal.
pub fn arn(text: &str) {
    if let Ok(arn) = text.parse::<Arn>() {
        assert_eq!(arn.to_string(), text);
        // Parsed as the authenticator does, which is more tolerant.
        canonical_caller(text).expect("the authenticator reads it too");
        let of_arn = Principal::try_from(arn).map_err(|error| error.to_string());
        let parsed = Principal::parse(text).map_err(|error| error.to_string());
        assert_eq!(of_arn, parsed);
    }
    if let Ok(principal) = Principal::parse(text) {
        one_principal(text, &principal);
    }
    if let Some(key) = Key::parse_arn(text) {
        let again = Key::parse_arn(&key.arn());
        assert_eq!(again.as_ref(), Some(&key), "{text:?}");
    }
    if let Ok(caller) = canonical_caller(text) {
        let again = canonical_caller(&caller).expect("it is canonical");
        assert_eq!(again, caller, "{text:?}");
    }
    if let Some(role) = SsoRole::parse_name(text) {
        assert_eq!(role.name(), text);
    }
    if let Ok(cluster) = EksCluster::parse(text) {
        assert!(cluster.partition().is_some() && cluster.account().is_some());
        assert!(cluster.arn == text && cluster.arn.ends_with(&cluster.name));
        let _ = cluster.region();
    }
    if let Ok(url) = text.parse::<QueueUrl>() {
        assert_eq!(url.to_string(), text);
    }
    let (username, group) = (Username::parse(text), Group::parse(text));
    assert_eq!(username.is_ok(), group.is_ok(), "{text:?}");
    if let Ok(username) = username {
        assert_eq!(username.as_str(), text);
        assert_eq!(username.is_templated(), !username.placeholders().is_empty());
    }
    for width in [0, 1, 2, 10, 40] {
        let short = middle(text, width);
        assert!(
            short.chars().count() <= width.max(1),
            "{short:?} of {text:?}"
        );
    }
}

fn one_principal(text: &str, principal: &Principal) {
    assert_eq!(principal.arn(), text);
    let key = principal.key();
    assert_eq!(Key::parse_arn(text).as_ref(), Some(&key));
    for spelling in [principal.aws_auth_arn(), key.arn(), text.to_uppercase()] {
        assert_eq!(Key::parse_arn(&spelling).as_ref(), Some(&key), "{spelling}");
    }
    let other = Principal::parse(&principal.aws_auth_arn()).expect("an ARN without path is one");
    assert_eq!(other.key(), key);
    assert_eq!(other.default_username(), principal.default_username());
    if let Some(role) = principal.sso() {
        assert_eq!(role.name(), principal.name);
    }
    let _ = principal.is_service_linked();
    for width in [0, 10, 40] {
        let _ = short_principal(principal, Some(&principal.account), width);
    }
}
