//! What a spec becomes as an access entry, and the sentence where it can't be one.

use super::*;
use EntryType::{EC2, EC2Linux, EC2Windows, FargateLinux, HybridLinux, HyperPodLinux, Standard};

const USER: &str = "arn:aws:iam::111122223333:user/people/Bob";
const ELSEWHERE: &str = "arn:aws:iam::444455556666:role/Deployer";

#[test]
fn an_entry_has_the_full_arn_and_leaves_the_username_to_eks() {
    let target = standard(None, &["devs", "on-call"], &[]);
    assert_eq!(
        target,
        Target {
            principal_arn: ROLE.to_owned(),
            type_: Standard,
            username: None,
            default_username: "arn:aws:sts::111122223333:assumed-role/Developers/{{SessionName}}"
                .to_owned(),
            groups: set(&["devs", "on-call"]),
            policies: BTreeMap::new(),
            masters: false,
        }
    );
    let user = asked(USER, Standard, None, &[], &[]).unwrap();
    assert_eq!(
        (user.username, user.default_username.as_str()),
        (None, USER)
    );
    let spelt_out = standard(Some(&target.default_username), &["devs", "on-call"], &[]);
    assert_eq!(spelt_out, target, "EKS's own default is not sent");
    let elsewhere = asked(ELSEWHERE, Standard, None, &["ci"], &[]).unwrap();
    assert_eq!(elsewhere.principal_arn, ELSEWHERE);
}

#[test]
fn masters_becomes_the_policy_of_cluster_administrators() {
    let target = standard(None, &["system:masters", "devs"], &[]);
    assert_eq!(target.groups, set(&["devs"]));
    assert_eq!(
        target.policies,
        BTreeMap::from([(ADMIN.to_owned(), Scope::Cluster)])
    );
    assert!(target.masters);

    let narrower = [
        in_namespaces(ADMIN_POLICY, &["a"]),
        in_namespaces("AmazonEKSViewPolicy", &["b"]),
    ];
    let target = standard(None, &["system:masters"], &narrower);
    assert_eq!(
        target.policies,
        BTreeMap::from([
            (ADMIN.to_owned(), Scope::Cluster),
            (VIEW.to_owned(), namespaces(&["b"])),
        ])
    );
    let declared = standard(None, &[], &[in_cluster(ADMIN_POLICY)]);
    assert!(!declared.masters, "its power does not come from the group");
    assert_eq!(
        declared.policies,
        BTreeMap::from([(ADMIN.to_owned(), Scope::Cluster)])
    );
}

#[test]
fn policies_are_completed_to_the_partition() {
    for (partition, region) in [
        ("aws", "eu-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ] {
        let cluster = EksCluster::parse(&format!(
            "arn:{partition}:eks:{region}:111122223333:cluster/c"
        ))
        .unwrap();
        let arn = format!("arn:{partition}:iam::111122223333:role/R");
        let declared = Declared {
            principal: &Principal::parse(&arn).unwrap(),
            type_: Standard,
            username: None,
            groups: &set(&["system:masters"]),
            policies: &[in_namespaces("AmazonEKSViewPolicy", &["dev-*"])],
        };
        let target = target(&declared, &cluster).unwrap();
        let names: Vec<&String> = target.policies.keys().collect();
        let policy = |name: &str| format!("arn:{partition}:eks::aws:cluster-access-policy/{name}");
        assert_eq!(
            names,
            [
                &policy("AmazonEKSClusterAdminPolicy"),
                &policy("AmazonEKSViewPolicy")
            ]
        );
    }
}

#[test]
fn nodes_get_what_their_type_gives() {
    for (type_, username) in [
        (EC2Linux, "system:node:{{EC2PrivateDNSName}}"),
        (EC2Windows, "system:node:{{EC2PrivateDNSName}}"),
        (FargateLinux, "system:node:{{SessionName}}"),
        (HybridLinux, "system:node:{{SessionName}}"),
        (EC2, "system:node:{{SessionName}}"),
        (HyperPodLinux, "system:node:{{SessionName}}"),
    ] {
        let target = asked(ROLE, type_, None, &[], &[]).unwrap();
        assert_eq!(
            target,
            Target {
                principal_arn: ROLE.to_owned(),
                type_,
                username: None,
                default_username: username.to_owned(),
                groups: BTreeSet::new(),
                policies: BTreeMap::new(),
                masters: false,
            }
        );
    }
    let auto = asked(
        ROLE,
        EC2,
        None,
        &[],
        &[in_cluster("AmazonEKSAutoNodePolicy")],
    )
    .unwrap();
    assert_eq!(auto.policies.len(), 1, "EC2 is the one that takes policies");
}

#[test]
fn usernames_that_eks_takes() {
    for username in [
        "bob",
        "arn:aws:iam::111122223333:user/other",
        "sts:foo",
        "system",
        "System:bob",
        "ci:{{SessionName}}",
        ":{{SessionNameRaw}}",
        "jo:hn{{SessionName}}-{{SessionNameRaw}}",
        "{{AccountID}}:{{SessionName}}",
        "{{AccessKeyID}}",
    ] {
        assert_eq!(
            standard(Some(username), &[], &[]).username.as_deref(),
            Some(username)
        );
    }
}

/// Principal, type, username, groups and policies; whether aws-auth can give them; the sentence.
type Case<'a> = (
    (
        &'a str,
        EntryType,
        Option<&'a str>,
        &'a [&'a str],
        Vec<AccessPolicy>,
    ),
    bool,
    &'a str,
);

/// Every reason, its whole sentence, and whether aws-auth can give it.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn what_eks_would_refuse_is_refused_with_a_fix() {
    let linked = "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch";
    let stripped = "arn:aws:iam::111122223333:role/AWSServiceRoleForBatch";
    let view = || vec![in_cluster("AmazonEKSViewPolicy")];
    let cases: Vec<Case<'_>> = vec![
        (
            (linked, Standard, None, &["g"], vec![]),
            true,
            "spec.principal: arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch is a \
             service-linked role, for which EKS accepts access entries from its own AWS service only",
        ),
        (
            (stripped, EC2Linux, None, &[], vec![]),
            true,
            "spec.principal: arn:aws:iam::111122223333:role/AWSServiceRoleForBatch is a service-linked role, for which EKS accepts \
             access entries from its own AWS service only",
        ),
        (
            (
                "arn:aws-cn:iam::111122223333:role/R",
                Standard,
                None,
                &[],
                vec![],
            ),
            false,
            "spec.principal: arn:aws-cn:iam::111122223333:role/R is in partition aws-cn, and cluster main in partition aws, whose IAM does not know it; use a principal of aws",
        ),
        (
            (ROLE, Standard, None, &["a", "system:authenticated"], vec![]),
            true,
            "spec.groups: \"system:authenticated\" begins with \"system:\", which EKS reserves in access entries; bind its roles to a group of your own, and write that one",
        ),
        (
            (ROLE, Standard, Some("system:kube-scheduler"), &[], vec![]),
            true,
            "spec.username: \"system:kube-scheduler\" begins with \"system:\", which EKS reserves in access entries; use another one, or leave it out: EKS then gives \"arn:aws:sts::111122223333:assumed-role/Developers/{{SessionName}}\"",
        ),
        (
            (ROLE, Standard, Some("ci-{{SessionNameRaw}}"), &[], vec![]),
            true,
            "spec.username: \"ci-{{SessionNameRaw}}\" has no colon before {{SessionNameRaw}}, which EKS requires in access entries; \
             write it as in \"ci-:{{SessionNameRaw}}\"",
        ),
        (
            (
                ROLE,
                Standard,
                Some("{{SessionName}}:{{SessionNameRaw}}"),
                &[],
                vec![],
            ),
            true,
            "spec.username: \"{{SessionName}}:{{SessionNameRaw}}\" has no colon before {{SessionName}}, which EKS requires in access entries; write it as in \":{{SessionName}}:{{SessionNameRaw}}\"",
        ),
        (
            (USER, FargateLinux, None, &[], vec![]),
            false,
            "spec.type: FargateLinux is for node roles, and arn:aws:iam::111122223333:user/people/Bob is a user; a user or \
             another account's principal can only be Standard",
        ),
        (
            (ELSEWHERE, EC2Linux, None, &[], vec![]),
            true,
            "spec.type: EC2Linux is for roles in the cluster's own account 111122223333, and \
             arn:aws:iam::444455556666:role/Deployer is of another; a user or another account's principal can only be Standard",
        ),
        (
            (ELSEWHERE, HybridLinux, None, &[], vec![]),
            false,
            "spec.type: HybridLinux is for roles in the cluster's own account 111122223333, and \
             arn:aws:iam::444455556666:role/Deployer is of another; a user or another account's principal can only be Standard",
        ),
        (
            (ROLE, EC2Linux, Some("n"), &["g"], vec![]),
            false,
            "spec.type: EC2Linux gets its username and groups from EKS, and spec.username is set; remove spec.username, or set spec.type: Standard",
        ),
        (
            (ROLE, EC2, None, &["system:masters"], vec![]),
            false,
            "spec.type: EC2 gets its username and groups from EKS, and spec.groups is set; remove spec.groups, or set spec.type: Standard",
        ),
        (
            (ROLE, HyperPodLinux, None, &[], view()),
            false,
            "spec.accessPolicies: AmazonEKSViewPolicy can't be given to type HyperPodLinux: of the node types only EC2 can have access policies; remove spec.accessPolicies",
        ),
        (
            (
                ROLE,
                Standard,
                None,
                &[],
                vec![in_namespaces("AmazonEKSViewPolicy", &[])],
            ),
            false,
            "spec.accessPolicies: AmazonEKSViewPolicy has scope type Namespace and no namespace; name at least one, or set type Cluster",
        ),
        (
            (
                ROLE,
                Standard,
                None,
                &[],
                vec![AccessPolicy {
                    scope: AccessScope {
                        type_: ScopeType::Cluster,
                        ..in_namespaces("", &["a"]).scope
                    },
                    ..in_cluster("AmazonEKSViewPolicy")
                }],
            ),
            false,
            "spec.accessPolicies: AmazonEKSViewPolicy has scope type Cluster, and names namespaces; remove them, or set type Namespace",
        ),
    ];
    for ((arn, type_, username, groups, policies), in_aws_auth, sentence) in cases {
        let refused = asked(arn, type_, username, groups, &policies).unwrap_err();
        assert_eq!(refused.to_string(), sentence);
        assert_eq!(refused.in_aws_auth(), in_aws_auth, "{sentence}");
        let linked = matches!(refused, Inexpressible::ServiceLinkedRole { .. });
        assert_eq!(refused.in_api_mode().is_some(), linked, "{sentence}");
    }
}

#[test]
fn the_colon_that_is_proposed_makes_no_reserved_prefix() {
    let refused = asked(ROLE, Standard, Some("eks{{SessionName}}"), &[], &[]).unwrap_err();
    assert!(matches!(
        refused,
        Inexpressible::NoColonBeforeSessionName { fixed, .. } if fixed == ":eks{{SessionName}}"
    ));
}

#[test]
fn each_reserved_prefix_is_refused_in_usernames_and_groups() {
    for prefix in ["system:", "eks:", "aws:", "amazon:", "iam:"] {
        let name = format!("{prefix}x");
        assert!(matches!(
            asked(ROLE, Standard, Some(&name), &[], &[]),
            Err(Inexpressible::ReservedUsername { prefix: found, .. }) if found == prefix
        ));
        assert!(matches!(
            asked(ROLE, Standard, None, &[&name], &[]),
            Err(Inexpressible::ReservedGroup { prefix: found, .. }) if found == prefix
        ));
        let bare = prefix.trim_end_matches(':');
        assert!(asked(ROLE, Standard, Some(bare), &[bare], &[]).is_ok());
    }
}
