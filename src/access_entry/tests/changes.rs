//! The calls of every kind of change, one by one, and how differences are told.

use super::*;

const DEFAULT: &str = "arn:aws:sts::111122223333:assumed-role/Developers/{{SessionName}}";
const ENTRY_ARN: &str =
    "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/Developers/50ca5dee";

fn entry(
    type_: EntryType,
    username: &str,
    groups: &[&str],
    policies: &[(&str, Scope)],
) -> AccessEntry {
    let association = |(policy, scope): &(&str, Scope)| {
        let association = Association {
            scope: scope.clone(),
            associated: at(0),
            modified: at(0),
        };
        ((*policy).to_owned(), association)
    };
    AccessEntry {
        principal_arn: ROLE.to_owned(),
        arn: ENTRY_ARN.to_owned(),
        kind: Kind::Known(type_),
        username: username.to_owned(),
        groups: set(groups),
        tags: tags(&[("owner", "them")]),
        created: at(0),
        modified: at(0),
        policies: policies.iter().map(association).collect(),
    }
}

fn people(groups: &[&str], policies: &[(&str, Scope)]) -> AccessEntry {
    entry(EntryType::Standard, DEFAULT, groups, policies)
}

/// The calls in short.
fn told(calls: &[Call]) -> Vec<String> {
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
    let tell = |call: &Call| {
        assert_eq!(call.principal_arn(), ROLE);
        match call {
            Call::Create {
                kind,
                username,
                groups,
                tags,
                ..
            } => {
                let tags: Vec<&str> = tags.keys().map(String::as_str).collect();
                format!("create {kind} {username:?} [{}] {tags:?}", list(groups))
            }
            Call::Update {
                username, groups, ..
            } => {
                format!("update {username:?} [{}]", list(groups))
            }
            Call::Associate {
                policy_arn, scope, ..
            } => {
                format!("associate {} {scope}", policy_name(policy_arn))
            }
            Call::Disassociate { policy_arn, .. } => {
                format!("disassociate {}", policy_name(policy_arn))
            }
            Call::Tag {
                entry_arn, tags, ..
            } => {
                assert_eq!(entry_arn, ENTRY_ARN);
                format!("tag {tags:?}")
            }
            Call::Describe { .. } | Call::Delete { .. } | Call::Untag { .. } => {
                format!("{call:?}")
            }
        }
    };
    calls.iter().map(tell).collect()
}

/// No policy is AWS's.
static NOTHING: BTreeSet<String> = BTreeSet::new();

fn wanted<'a>(target: &'a Target, tags: &'a BTreeMap<String, String>) -> Wanted<'a> {
    Wanted {
        target,
        tags,
        bridge: false,
        accepted_default: None,
        of_aws: &NOTHING,
    }
}

fn calls_for(standing: &AccessEntry, wanted: &Wanted<'_>) -> Vec<String> {
    match change(standing, wanted) {
        Change::Same => Vec::new(),
        Change::Calls(calls) => {
            assert!(!calls.is_empty(), "no calls are Same");
            told(&calls)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn changes_in_place() {
    let none = BTreeMap::new();
    let ab = || namespaces(&["a", "b"]);
    let cases: Vec<(&str, AccessEntry, Target, &[&str])> = vec![
        (
            "as wanted",
            people(&["g"], &[(VIEW, ab())]),
            standard(
                None,
                &["g"],
                &[in_namespaces("AmazonEKSViewPolicy", &["b", "a"])],
            ),
            &[],
        ),
        (
            "a group",
            people(&["g"], &[]),
            standard(None, &["h"], &[]),
            &["update None [h]"],
        ),
        (
            "a username, groups sent again",
            people(&["g"], &[]),
            standard(Some("dev:{{SessionName}}"), &["g"], &[]),
            &["update Some(\"dev:{{SessionName}}\") [g]"],
        ),
        (
            "a username left to EKS again",
            entry(EntryType::Standard, "dev", &["g"], &[]),
            standard(None, &["g"], &[]),
            &["update None [g]"],
        ),
        (
            "from groups to a policy",
            people(&["g"], &[]),
            standard(None, &[], &[in_cluster("AmazonEKSViewPolicy")]),
            &["associate AmazonEKSViewPolicy cluster", "update None []"],
        ),
        (
            "from one policy to another and a group",
            people(&[], &[(EDIT, Scope::Cluster)]),
            standard(None, &["g"], &[in_cluster("AmazonEKSViewPolicy")]),
            &[
                "associate AmazonEKSViewPolicy cluster",
                "update None [g]",
                "disassociate AmazonEKSEditPolicy",
            ],
        ),
        (
            "a scope widened",
            people(&[], &[(VIEW, ab())]),
            standard(None, &["g"], &[in_cluster("AmazonEKSViewPolicy")]),
            &["associate AmazonEKSViewPolicy cluster", "update None [g]"],
        ),
        (
            "a scope narrowed, after the group that replaces it",
            people(&[], &[(VIEW, ab())]),
            standard(
                None,
                &["viewers-of-b"],
                &[in_namespaces("AmazonEKSViewPolicy", &["a"])],
            ),
            &[
                "update None [viewers-of-b]",
                "associate AmazonEKSViewPolicy namespaces a",
            ],
        ),
        (
            "namespaces exchanged",
            people(&[], &[(VIEW, ab())]),
            standard(
                None,
                &[],
                &[in_namespaces("AmazonEKSViewPolicy", &["b", "c"])],
            ),
            &[
                "associate AmazonEKSViewPolicy namespaces a, b, c",
                "associate AmazonEKSViewPolicy namespaces b, c",
            ],
        ),
        (
            "system:masters declared",
            people(&["g"], &[]),
            standard(None, &["g", "system:masters"], &[]),
            &["associate AmazonEKSClusterAdminPolicy cluster"],
        ),
        (
            "a policy of nodes of Auto Mode",
            entry(
                EntryType::EC2,
                "system:node:{{SessionName}}",
                &["system:nodes"],
                &[(VIEW, ab())],
            ),
            asked(
                ROLE,
                EntryType::EC2,
                None,
                &[],
                &[in_cluster("AmazonEKSAutoNodePolicy")],
            )
            .unwrap(),
            &[
                "associate AmazonEKSAutoNodePolicy cluster",
                "disassociate AmazonEKSViewPolicy",
            ],
        ),
        (
            "nodes are never updated, whatever EKS gave them",
            entry(
                EntryType::EC2Linux,
                "system:node:{{Future}}",
                &["system:nodes", "x"],
                &[],
            ),
            asked(ROLE, EntryType::EC2Linux, None, &[], &[]).unwrap(),
            &[],
        ),
    ];
    for (what, standing, target, calls) in cases {
        assert_eq!(
            calls_for(&standing, &wanted(&target, &none)),
            calls,
            "{what}"
        );
    }
}

#[test]
fn tags_of_ours_are_set_last_and_others_left() {
    let ours = tags(&[(INSTALLATION_TAG, "i"), (MAPPING_TAG, "m")]);
    let mut standing = people(&["g"], &[]);
    standing
        .tags
        .insert(INSTALLATION_TAG.to_owned(), "i".to_owned());
    standing
        .tags
        .insert(MAPPING_TAG.to_owned(), "old".to_owned());
    standing
        .tags
        .insert(PRINCIPAL_ID_TAG.to_owned(), "AROAEXAMPLE".to_owned());
    let target = standard(None, &["h"], &[]);
    assert_eq!(
        calls_for(&standing, &wanted(&target, &ours)),
        [
            "update None [h]",
            "tag {\"identity-mapper.dev/mapping\": \"m\"}"
        ]
    );
    let nodes = entry(EntryType::FargateLinux, "n", &[], &[]);
    let target = asked(ROLE, EntryType::FargateLinux, None, &[], &[]).unwrap();
    assert_eq!(
        calls_for(&nodes, &wanted(&target, &ours)),
        [
            "tag {\"identity-mapper.dev/installation\": \"i\", \"identity-mapper.dev/mapping\": \"m\"}"
        ]
    );
}

#[test]
fn letting_go_takes_off_our_tags_where_the_entry_is_ours() {
    let ours = tags(&[
        (INSTALLATION_TAG, "i"),
        (PRINCIPAL_ID_TAG, "AROAEXAMPLE"),
        ("team", "a"),
    ]);
    let mut standing = people(&["g"], &[]);
    standing.tags = ours;
    let call = Call::Untag {
        principal_arn: standing.principal_arn.clone(),
        entry_arn: standing.arn.clone(),
        keys: set(&[INSTALLATION_TAG, PRINCIPAL_ID_TAG]),
    };
    assert_eq!(release(&standing, "i"), Some(call));
    assert_eq!(release(&standing, "another"), None);
    standing.tags = tags(&[("team", "a")]);
    assert_eq!(release(&standing, "i"), None);
    assert_eq!(untag(&standing), None);
}

#[test]
fn an_entry_is_created_and_then_gets_its_policies() {
    let ours = tags(&[(INSTALLATION_TAG, "i")]);
    let policies = [
        in_namespaces("AmazonEKSViewPolicy", &["b", "a"]),
        in_cluster("AmazonEKSEditPolicy"),
    ];
    let target = standard(None, &["g", "system:masters"], &policies);
    let with_bridge = Wanted {
        bridge: true,
        ..wanted(&target, &ours)
    };
    let associations = [
        "associate AmazonEKSClusterAdminPolicy cluster",
        "associate AmazonEKSEditPolicy cluster",
        "associate AmazonEKSViewPolicy namespaces a, b",
    ];
    let tagged = "[\"identity-mapper.dev/created\", \"identity-mapper.dev/installation\"]";
    let made = |groups: &str| {
        let create = format!("create STANDARD None [{groups}] {tagged}");
        let mut calls = vec![create];
        calls.extend(associations.map(str::to_owned));
        calls
    };
    assert_eq!(
        told(&create(&with_bridge)),
        made("g identity-mapper:bridge")
    );
    assert_eq!(told(&create(&wanted(&target, &ours))), made("g"));

    let node = asked(ROLE, EntryType::EC2Linux, None, &[], &[]).unwrap();
    let node = Wanted {
        bridge: true,
        ..wanted(&node, &ours)
    };
    assert_eq!(
        told(&create(&node)),
        [format!("create EC2_LINUX None [] {tagged}")],
        "a node has no groups of its own"
    );
}

#[test]
fn what_aws_associated_stays_as_it_is() {
    let ns = |names: &[&str]| namespaces(names);
    let of_aws: BTreeSet<String> = [VIEW.to_owned(), EDIT.to_owned()].into();
    let tags = BTreeMap::new();
    let standing = people(&["g"], &[(VIEW, ns(&["a"])), (EDIT, Scope::Cluster)]);
    let cases: [(&str, Vec<AccessPolicy>, usize); 4] = [
        ("not declared", Vec::new(), 0),
        (
            "declared so",
            vec![in_namespaces("AmazonEKSViewPolicy", &["a"])],
            0,
        ),
        (
            "declared for less",
            vec![in_namespaces("AmazonEKSEditPolicy", &["a"])],
            0,
        ),
        (
            "declared for more",
            vec![in_cluster("AmazonEKSViewPolicy")],
            1,
        ),
    ];
    for (what, policies, differences) in cases {
        let target = standard(None, &["g"], &policies);
        let wanted = Wanted {
            of_aws: &of_aws,
            ..wanted(&target, &tags)
        };
        assert_eq!(calls_for(&standing, &wanted), [""; 0], "{what}");
        assert_eq!(
            meaning_differs(&standing, &wanted).len(),
            differences,
            "{what}"
        );
    }
}

#[test]
fn what_was_added_is_given_back_and_the_tags_last() {
    let ours = tags(&[
        (INSTALLATION_TAG, "i"),
        (AWS_POLICIES_TAG, "none"),
        ("team", "blue"),
    ]);
    let mut standing = people(&["g"], &[(VIEW, Scope::Cluster), (EDIT, Scope::Cluster)]);
    standing.tags = ours;
    let calls = give_back(&standing, &[EDIT.to_owned()].into());
    let operations: Vec<&str> = calls.iter().map(Call::operation).collect();
    assert_eq!(
        operations,
        [
            "DisassociateAccessPolicy",
            "UpdateAccessEntry",
            "UntagResource"
        ]
    );
    let Some(Call::Untag { keys, .. }) = calls.last() else {
        panic!("{calls:?}");
    };
    assert_eq!(*keys, set(&[INSTALLATION_TAG, AWS_POLICIES_TAG]));
    let mut node = entry(
        EntryType::EC2,
        "system:node:{{SessionName}}",
        &["system:nodes"],
        &[],
    );
    assert_eq!(give_back(&node, &BTreeSet::new()), [], "nothing was added");
    node.tags = tags(&[(MAPPING_TAG, "m")]);
    assert_eq!(give_back(&node, &BTreeSet::new()).len(), 1, "only the tags");
}

#[test]
fn the_bridge_group_is_removed_when_it_is_no_longer_needed() {
    let none = BTreeMap::new();
    let target = standard(None, &["g", "system:masters"], &[]);
    let standing = people(&["g", BRIDGE_GROUP], &[(ADMIN, Scope::Cluster)]);
    let without = wanted(&target, &none);
    assert_eq!(calls_for(&standing, &without), ["update None [g]"]);
    assert_eq!(
        meaning_differs(&standing, &without),
        [Difference::GroupAdded(BRIDGE_GROUP.to_owned())]
    );
    let with = Wanted {
        bridge: true,
        ..without
    };
    assert_eq!(change(&standing, &with), Change::Same);
    assert_eq!(meaning_differs(&standing, &with), []);
}

#[test]
fn a_username_that_eks_gave_is_accepted_only_where_none_is_declared() {
    let none = BTreeMap::new();
    let standing = entry(EntryType::Standard, "what:eks:gave", &[], &[]);
    let unset = standard(None, &[], &[]);
    let accepting = |target| Wanted {
        accepted_default: Some("what:eks:gave"),
        ..wanted(target, &none)
    };
    assert_eq!(change(&standing, &accepting(&unset)), Change::Same);
    assert_eq!(
        calls_for(&standing, &wanted(&unset, &none)),
        ["update None []"]
    );
    let set = standard(Some("dev"), &[], &[]);
    assert_eq!(
        calls_for(&standing, &accepting(&set)),
        ["update Some(\"dev\") []"]
    );
    let usual = people(&[], &[]);
    assert_eq!(change(&usual, &accepting(&unset)), Change::Same);
}

#[test]
fn what_cannot_be_changed_in_place_has_a_reason() {
    let none = BTreeMap::new();
    let target = standard(None, &[], &[]);
    let why = |standing: &AccessEntry| match change(standing, &wanted(&target, &none)) {
        Change::Recreate(why) => why.to_string(),
        Change::UnknownType(why) => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why(&entry(EntryType::EC2Linux, "n", &[], &[])),
        "the access entry has type EC2_LINUX, and type STANDARD is declared: EKS can't change the type of an access entry, so it \
         must be deleted and created"
    );
    let moved = AccessEntry {
        principal_arn: "arn:aws:iam::111122223333:role/Developers".to_owned(),
        ..people(&[], &[])
    };
    assert_eq!(
        why(&moved),
        "the access entry is of arn:aws:iam::111122223333:role/Developers, and the principal is \
         arn:aws:iam::111122223333:role/team/Developers: EKS can't change the principal of an access entry, so it must be deleted \
         and created"
    );
    let newer = AccessEntry {
        kind: Kind::parse("QUANTUM_LINUX"),
        ..people(&[], &[])
    };
    assert_eq!(
        why(&newer),
        "the access entry has type QUANTUM_LINUX, which this version of identity-mapper does not know, so the operator does \
            not change it; \
         upgrade identity-mapper, or delete the entry yourself"
    );
    assert_eq!(
        meaning_differs(&newer, &wanted(&target, &none)).len(),
        1,
        "never the same"
    );
}

#[test]
fn an_entry_in_other_letters_is_not_created_again() {
    let none = BTreeMap::new();
    let standing = AccessEntry {
        principal_arn: ROLE.to_uppercase().replace("ARN:AWS:IAM", "arn:aws:iam"),
        ..people(&["g"], &[])
    };
    let target = standard(None, &["h"], &[]);
    let Change::Calls(calls) = change(&standing, &wanted(&target, &none)) else {
        panic!("it is the same principal");
    };
    assert_eq!(
        calls[0].principal_arn(),
        standing.principal_arn,
        "EKS knows it by the letters that it stands under"
    );
}

#[test]
fn differences_in_words() {
    let none = BTreeMap::new();
    let standing = AccessEntry {
        principal_arn: "arn:aws:iam::111122223333:role/Developers".to_owned(),
        ..entry(
            EntryType::Standard,
            "dev",
            &["g", "h"],
            &[(ADMIN, Scope::Cluster), (VIEW, namespaces(&["a"]))],
        )
    };
    let policies = [
        in_cluster("AmazonEKSEditPolicy"),
        in_namespaces("AmazonEKSViewPolicy", &["b", "a"]),
    ];
    let target = standard(None, &["h", "i"], &policies);
    let words = |standing: &AccessEntry, target: &Target| -> Vec<String> {
        meaning_differs(standing, &wanted(target, &none))
            .iter()
            .map(Difference::to_string)
            .collect()
    };
    assert_eq!(
        words(&standing, &target),
        [
            "principal arn:aws:iam::111122223333:role/Developers instead of arn:aws:iam::111122223333:role/team/Developers",
            "username \"dev\" instead of \"arn:aws:sts::111122223333:assumed-role/Developers/{{SessionName}}\"",
            "group \"g\" added",
            "group \"i\" missing",
            "policy AmazonEKSClusterAdminPolicy (cluster) added",
            "policy AmazonEKSEditPolicy (cluster) missing",
            "policy AmazonEKSViewPolicy (namespaces a) instead of (namespaces a, b)",
        ]
    );
    let nodes = entry(EntryType::EC2, "n", &["system:nodes"], &[]);
    assert_eq!(
        words(&nodes, &standard(None, &["g"], &[])),
        ["type EC2 instead of STANDARD"],
        "its username and groups are the type's"
    );
}
