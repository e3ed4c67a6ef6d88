//! Who is let in as whom.

use identity_mapper::observed::Mode::{Api, ApiAndConfigMap, ConfigMap};

use super::*;
use crate::support::power::{Caller, Identity, Refused};

const ID: &str = "AROAEXAMPLE0000000001";
const ALICE: &str = "alice@example.com";
const BY_MAP: &str = r#"
- rolearn: arn:aws:iam::111122223333:role/Developers
  username: "map:{{SessionName}}"
  groups: ["from-map", "acct-{{AccountID}}"]
"#;

fn alice() -> Caller {
    Caller::session(ROLE, ID, ALICE)
}

/// Username, groups, and what says so, of the one identity; or why not.
fn told(login: Result<Vec<Identity>, Refused>) -> Result<(String, Vec<String>, String), String> {
    let identities = login.map_err(|Refused(why)| why)?;
    assert_eq!(identities.len(), 1, "{identities:?}");
    let identity = identities[0].clone();
    let groups = identity.groups.into_iter().collect();
    Ok((identity.username, groups, identity.via.to_string()))
}

#[test]
fn the_entry_of_the_id_and_arn_comes_first_then_aws_auth() {
    let entry = |arn: &str, id: Option<&str>| {
        vec![in_force(
            arn,
            id,
            "entry:{{SessionNameRaw}}",
            &["from-entry"],
        )]
    };
    let by_entry = || {
        let via = format!("access entry of {ROLE}");
        Ok((
            "entry:alice@example.com".to_owned(),
            vec!["from-entry".to_owned()],
            via,
        ))
    };
    let by_map = || {
        Ok((
            "map:alice-example.com".to_owned(),
            vec!["acct-111122223333".to_owned(), "from-map".to_owned()],
            "aws-auth, mapRoles line 2".to_owned(),
        ))
    };
    let nobody = || Err("no access entry in force is its own".to_owned());
    let renamed = "arn:aws:iam::111122223333:role/team/Other";
    let upper = "arn:aws:iam::111122223333:role/team/DEVELOPERS";
    for (what, mode, entries, expected) in [
        (
            "the entry wins",
            ApiAndConfigMap,
            entry(ROLE, Some(ID)),
            by_entry(),
        ),
        ("in API too", Api, entry(ROLE, Some(ID)), by_entry()),
        (
            "letters do not matter",
            Api,
            entry(upper, Some(ID)),
            Ok({
                let (username, groups, _) = by_entry().unwrap();
                (username, groups, format!("access entry of {upper}"))
            }),
        ),
        (
            "entries do not count yet",
            ConfigMap,
            entry(ROLE, Some(ID)),
            by_map(),
        ),
        (
            "a dead entry falls through",
            ApiAndConfigMap,
            entry(ROLE, Some("AROAOLD")),
            by_map(),
        ),
        (
            "of another ARN as well",
            ApiAndConfigMap,
            entry(renamed, Some(ID)),
            by_map(),
        ),
        (
            "a dead entry in API lets nobody in",
            Api,
            entry(ROLE, Some("AROAOLD")),
            nobody(),
        ),
        (
            "an entry without id is nobody's",
            ApiAndConfigMap,
            entry(ROLE, None),
            by_map(),
        ),
        ("aws-auth does not count any more", Api, vec![], nobody()),
        ("no entry", ApiAndConfigMap, vec![], by_map()),
    ] {
        let scene = scene(mode, entries, BY_MAP, "");
        assert_eq!(told(scene.login(&alice())), expected, "{what}");
    }
}

#[test]
fn nodes_are_named_after_their_instance() {
    let dns = vec![in_force(
        ROLE,
        Some(ID),
        "system:node:{{EC2PrivateDNSName}}",
        &["system:nodes"],
    )];
    let scene = scene(ApiAndConfigMap, dns, BY_MAP, "");
    let node = Caller::session(ROLE, ID, "i-0123456789abcdef0");
    let (username, ..) = told(scene.login(&node)).unwrap();
    assert_eq!(username, "system:node:ip-10-0-0-1.ec2.internal");
    let why = told(scene.login(&alice())).unwrap_err();
    assert!(
        why.contains("is no instance"),
        "who matches an entry does not fall through: {why}"
    );
}

#[test]
fn users_and_what_is_left_to_chance() {
    let bob = "arn:aws:iam::111122223333:user/people/Bob";
    let caller = Caller::user(bob, "AIDAEXAMPLE0000000001");
    let one = format!("- userarn: {bob}\n  username: bob\n  groups: [a, b]\n");
    let two = format!(
        "{one}- userarn: {}\n  username: bobby\n  groups: [b, c]\n",
        bob.to_uppercase()
    );
    let power = |map_users: &str| scene(ApiAndConfigMap, vec![], "", map_users).power(&caller);

    let alone = scene(ApiAndConfigMap, vec![], "", &one);
    let via = "aws-auth, mapUsers line 1".to_owned();
    let groups = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        told(alone.login(&caller)),
        Ok(("bob".to_owned(), groups, via))
    );
    let either = scene(ApiAndConfigMap, vec![], "", &two);
    assert_eq!(either.login(&caller).unwrap().len(), 2);
    assert!(power(&one).covers(&power(&two)), "by chance is never more");

    let nameless = format!("- userarn: {bob}\n  groups: [a]\n");
    let unnamed = scene(ApiAndConfigMap, vec![], "", &nameless);
    let via = "aws-auth, mapUsers line 1".to_owned();
    assert_eq!(
        told(unnamed.login(&caller)),
        Ok((String::new(), vec!["a".to_owned()], via)),
        "a login without a name has the rights of its groups"
    );
    assert!(power(&nameless).covers(&power("")));
}

#[test]
fn policies_come_with_the_entry_alone() {
    let mut entry = in_force(ROLE, Some(ID), "u", &[]);
    entry.policies.insert(ADMIN.to_owned(), Scope::Cluster);
    let alive = scene(ApiAndConfigMap, vec![entry.clone()], BY_MAP, "");
    assert!(alive.power(&alice()).is_everything());
    entry.principal_id = Some("AROAOLD".to_owned());
    let dead = scene(ApiAndConfigMap, vec![entry], BY_MAP, "");
    assert!(!dead.power(&alice()).is_everything());
    assert!(alive.power(&alice()).covers(&dead.power(&alice())));
}
