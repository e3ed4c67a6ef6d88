//! Tables and properties of ARNs, principals and identities.

use proptest::prelude::*;

use super::*;

fn message(arn: &str) -> String {
    match Principal::parse(arn) {
        Ok(principal) => panic!("{arn} was taken for {principal:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn both_spellings_of_principals() {
    // Written, as aws-auth wants it, key. An access entry wants it as it is written.
    let sso = "AWSReservedSSO_Admin_0123456789abcdef";
    for (arn, aws_auth, key) in [
        (
            "arn:aws:iam::111122223333:role/Admin",
            "arn:aws:iam::111122223333:role/Admin",
            "aws:111122223333:role/admin",
        ),
        (
            "arn:aws:iam::111122223333:role/team/Admin",
            "arn:aws:iam::111122223333:role/Admin",
            "aws:111122223333:role/admin",
        ),
        (
            "arn:aws:iam::111122223333:role/a:b/~!/Admin",
            "arn:aws:iam::111122223333:role/Admin",
            "aws:111122223333:role/admin",
        ),
        (
            "arn:aws:iam::111122223333:user/Bob",
            "arn:aws:iam::111122223333:user/Bob",
            "aws:111122223333:user/bob",
        ),
        (
            "arn:aws:iam::111122223333:user/div/Bob",
            "arn:aws:iam::111122223333:user/div/Bob",
            "aws:111122223333:user/bob",
        ),
        (
            "arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
            "arn:aws:iam::111122223333:role/AWSServiceRoleForBatch",
            "aws:111122223333:role/awsserviceroleforbatch",
        ),
    ] {
        let principal = Principal::parse(arn).unwrap_or_else(|error| panic!("{arn}: {error}"));
        assert_eq!(principal.arn(), arn);
        assert_eq!(principal.aws_auth_arn(), aws_auth);
        assert_eq!(principal.key().to_string(), key);
    }
    for partition in Partition::ALL {
        for path in [
            "",
            "aws-reserved/sso.amazonaws.com/",
            "aws-reserved/sso.amazonaws.com/eu-west-1/",
        ] {
            let arn = format!("arn:{partition}:iam::111122223333:role/{path}{sso}");
            let principal = Principal::parse(&arn).unwrap_or_else(|error| panic!("{arn}: {error}"));
            assert_eq!(principal.arn(), arn);
            assert_eq!(
                principal.aws_auth_arn(),
                format!("arn:{partition}:iam::111122223333:role/{sso}")
            );
            assert_eq!(
                principal.sso().map(|sso| sso.permission_set).as_deref(),
                Some("Admin"),
                "{arn}"
            );
        }
    }
}

#[test]
fn default_usernames_are_those_of_eks() {
    for (arn, username) in [
        (
            "arn:aws-cn:iam::111122223333:role/team/Admin",
            "arn:aws-cn:sts::111122223333:assumed-role/Admin/{{SessionName}}",
        ),
        (
            "arn:aws:iam::111122223333:user/div/Bob",
            "arn:aws:iam::111122223333:user/div/Bob",
        ),
    ] {
        let principal = Principal::parse(arn).expect("a good ARN");
        assert_eq!(principal.default_username(), username);
        assert!(Username::parse(username).is_ok());
    }
}

#[test]
fn reserved_roles_are_recognised() {
    for (resource, service_linked, sso) in [
        ("role/Admin", false, false),
        (
            "role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS",
            true,
            false,
        ),
        ("role/AWSServiceRoleForAmazonEKS", true, false),
        ("role/mine/AWSServiceRoleForAmazonEKS", false, false),
        ("role/mine/aws-service-role/x", false, false),
        ("user/AWSServiceRoleForAmazonEKS", false, false),
        ("role/AWSReservedSSO_A_0123456789abcdef", false, true),
        ("role/mine/AWSReservedSSO_A_0123456789abcdef", false, false),
        (
            "role/aws-reserved/AWSReservedSSO_A_0123456789abcdef",
            false,
            false,
        ),
        ("role/aws-reserved/sso.amazonaws.com/Other", false, false),
        ("user/AWSReservedSSO_A_0123456789abcdef", false, false),
    ] {
        let principal =
            Principal::parse(&format!("arn:aws:iam::111122223333:{resource}")).expect("a good ARN");
        assert_eq!(principal.is_service_linked(), service_linked, "{resource}");
        assert_eq!(principal.sso().is_some(), sso, "{resource}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn errors_name_part_value_and_what_was_expected() {
    let long = format!("arn:aws:iam::111122223333:role/{}", "n".repeat(65));
    let deep = format!("arn:aws:iam::111122223333:role/{}/Admin", "p".repeat(511));
    for (arn, parts) in [
        (
            "",
            vec![
                "\"\" is not an ARN",
                "expected arn:PARTITION:iam::ACCOUNT:role/NAME",
            ],
        ),
        ("Admin", vec!["\"Admin\" is not an ARN"]),
        ("arn:aws:iam:111122223333:role/Admin", vec!["is not an ARN"]),
        (
            " arn:aws:iam::111122223333:role/Admin",
            vec!["is not an ARN"],
        ),
        (
            "arn:aws-xx:iam::111122223333:role/Admin",
            vec!["partition \"aws-xx\"", "aws-us-gov"],
        ),
        (
            "arn:AWS:iam::111122223333:role/Admin",
            vec!["partition \"AWS\""],
        ),
        (
            "arn:aws:s3:::bucket",
            vec!["service \"s3\"", "expected iam"],
        ),
        (
            "arn:aws:iam:eu-west-1:111122223333:role/Admin",
            vec!["region \"eu-west-1\" must be empty"],
        ),
        (
            "arn:aws:iam::1234:role/Admin",
            vec!["account \"1234\"", "12 digits"],
        ),
        (
            "arn:aws:iam::\u{661}11122223333:role/Admin",
            vec!["account"],
        ),
        (
            "arn:aws:iam::aws:policy/AdministratorAccess",
            vec!["account \"aws\""],
        ),
        (
            "arn:aws:iam::111122223333:group/team/admins",
            vec!["\"team/admins\" is an IAM group"],
        ),
        (
            "arn:aws:iam::111122223333:policy/x",
            vec!["\"policy/x\" is not a principal of iam"],
        ),
        ("arn:aws:iam::111122223333:rootless", vec!["\"rootless\""]),
        ("arn:aws:iam::111122223333:root/x", vec!["\"root/x\""]),
        (
            "arn:aws:iam::111122223333:assumed-role/Admin/me",
            vec!["not a principal of iam"],
        ),
        (
            "arn:aws:sts::111122223333:role/Admin",
            vec!["not a principal of sts"],
        ),
        ("arn:aws:iam::111122223333:role", vec!["name \"\""]),
        (
            "arn:aws:iam::111122223333:role/",
            vec!["name \"\"", "1 to 64 letters"],
        ),
        ("arn:aws:iam::111122223333:role/team/", vec!["name \"\""]),
        ("arn:aws:iam::111122223333:role/Ad*", vec!["name \"Ad*\""]),
        (
            "arn:aws:iam::111122223333:role/Admin\n",
            vec!["name \"Admin\\n\""],
        ),
        (&long, vec!["name", "1 to 64"]),
        ("arn:aws:iam::111122223333:role//Admin", vec!["path \"//\""]),
        (
            "arn:aws:iam::111122223333:role/a b/Admin",
            vec!["path \"/a b/\"", "512"],
        ),
        (&deep, vec!["path", "512"]),
        (
            "arn:aws:sts::111122223333:assumed-role/Admin",
            vec!["\"Admin\"", "expected assumed-role/ROLE/SESSION"],
        ),
        (
            "arn:aws-cn:sts::111122223333:assumed-role/Admin/me",
            vec![
                "session of a role",
                "\"arn:aws-cn:iam::111122223333:role/Admin\"",
            ],
        ),
        (
            "arn:aws:sts::111122223333:federated-user/bob",
            vec!["federated user"],
        ),
        ("arn:aws:iam::111122223333:root", vec!["root user"]),
    ] {
        let message = message(arn);
        for part in parts {
            assert!(message.contains(part), "{arn}: {message}");
        }
    }
}

#[test]
fn arns_that_are_no_principals_parse_all_the_same() {
    for arn in [
        "arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com",
        "arn:aws-iso-e:sts::111122223333:federated-user/bob",
        "arn:aws:iam::111122223333:root",
    ] {
        assert_eq!(arn.parse::<Arn>().expect("an identity").to_string(), arn);
    }
}

#[test]
fn identities() {
    use Placeholder::{AccessKeyId, AccountId, Ec2PrivateDnsName, SessionName, SessionNameRaw};
    for (text, placeholders) in [
        ("admin", vec![]),
        ("system:masters", vec![]),
        ("{a}", vec![]),
        ("a}}", vec![]),
        ("sso:{{SessionName}}", vec![SessionName]),
        ("{{{SessionName}}}", vec![SessionName]),
        (
            "{{SessionNameRaw}}{{AccountID}}",
            vec![SessionNameRaw, super::Placeholder::AccountId],
        ),
        ("system:node:{{EC2PrivateDNSName}}", vec![Ec2PrivateDnsName]),
        (
            "{{AccessKeyID}}@{{AccountID}}",
            vec![AccessKeyId, AccountId],
        ),
    ] {
        let username = Username::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let group = Group::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((username.as_str(), group.as_str()), (text, text));
        assert_eq!(username.is_templated(), !placeholders.is_empty(), "{text}");
        assert_eq!(group.is_templated(), !placeholders.is_empty(), "{text}");
        assert_eq!(username.placeholders(), placeholders, "{text}");
        assert_eq!(group.placeholders(), placeholders, "{text}");
    }
}

#[test]
fn texts_that_are_no_identities() {
    for (text, error) in [
        ("", "must not be empty"),
        (" \t", "must not be empty"),
        ("a\tb", "U+0009 at character 2"),
        ("\u{e9}\u{85}", "U+0085 at character 2"),
        ("identity-mapper:bridge", "is reserved"),
        ("{{SessionNam}}", "placeholder \"SessionNam\""),
        ("{{ SessionName }}", "placeholder \" SessionName \""),
        (
            "a {{sessionname}}",
            "expected {{AccountID}}, {{SessionName}}",
        ),
        ("{{SessionName", "placeholder \"SessionName\""),
        ("{{SessionName}}{{x}}", "placeholder \"x\""),
        ("{{{{SessionName}}", "placeholder \"{{SessionName\""),
    ] {
        for message in [
            Username::parse(text).unwrap_err().to_string(),
            Group::parse(text).unwrap_err().to_string(),
        ] {
            assert!(message.contains(error), "{text:?}: {message}");
        }
    }
}

fn partitions() -> impl Strategy<Value = Partition> {
    prop::sample::select(Partition::ALL.to_vec())
}

const NAME: &str = "[A-Za-z0-9_+=,.@-]{1,64}";

proptest! {
    #![proptest_config(crate::laws::cases(256))]
    #[test]
    fn arns_round_trip(
        partition in partitions(),
        account in "[0-9]{12}",
        resource in "(role|user)/([!-~]{1,40}/)?[A-Za-z0-9_+=,.@-]{1,64}",
    ) {
        let text = format!("arn:{partition}:iam::{account}:{resource}");
        let arn: Arn = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(arn.to_string(), text.clone());
        let principal = Principal::try_from(arn).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(principal.arn(), text.clone());
        let stripped = Principal::parse(&principal.aws_auth_arn()).expect("what is written for aws-auth is an ARN");
        prop_assert_eq!(stripped.aws_auth_arn(), principal.aws_auth_arn());
        prop_assert_eq!(stripped.key(), principal.key());
        prop_assert_eq!(Key::parse_arn(&text), Some(principal.key()));
        prop_assert_eq!(Key::parse_arn(&text.to_uppercase()), Some(principal.key()));
    }

    #[test]
    fn sessions_become_the_role_that_is_mapped(partition in partitions(), role in NAME, session in NAME) {
        let caller = format!("arn:{partition}:sts::111122223333:assumed-role/{role}/{session}");
        let mapped = Principal::parse(&format!("arn:{partition}:iam::111122223333:role/some/path/{role}"))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(canonical_caller(&caller), Ok(mapped.aws_auth_arn()));
        let arn: Arn = caller.parse().map_err(|error: ArnError| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(arn.to_string(), caller);
    }

    #[test]
    fn any_text_is_judged_without_panic(text in "\\PC{0,40}", arn in "arn:(aws)?:?(iam|sts)?:{0,3}[0-9]{0,13}:?(role|user|assumed-role)?[/:a-z{}]{0,9}") {
        for text in [text, arn] {
            let _ = Principal::parse(&text);
            let _ = Key::parse_arn(&text);
            let _ = canonical_caller(&text);
            let _ = Username::parse(&text);
            let _ = SsoRole::parse_name(&text);
        }
    }

    #[test]
    fn sso_names_round_trip(set in "[A-Za-z0-9_+=,.@-]{1,32}", suffix in "[0-9a-f]{16}") {
        let role = SsoRole { permission_set: set, suffix };
        prop_assert!(role.name().len() <= 64);
        prop_assert_eq!(SsoRole::parse_name(&role.name()), Some(role));
    }
}
