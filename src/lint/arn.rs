//! ARNs that match no caller, with a guess at the intended one.

use super::code::Code;
use crate::aws_auth::diagnosis::unfilled;
use crate::principal::{ArnError, Principal};

/// The command that prints the ARN of a role or user.
pub(super) fn look_up(kind: &str) -> String {
    format!(
        "`aws iam get-{kind} --{kind}-name NAME --query {}.Arn --output text`",
        title_of(kind)
    )
}

/// The command that prints the roles of IAM Identity Center whose names begin so.
pub(super) fn list_sso_roles(prefix: &str, printed: &str) -> String {
    format!(
        "aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/ --query \
            \"Roles[?starts_with(RoleName, '{prefix}')].{printed}\" --output text"
    )
}

fn title_of(kind: &str) -> &'static str {
    if kind == "user" { "User" } else { "Role" }
}

/// What of an ARN some tool or person was to replace. An ARN in angle brackets is whole.
pub(super) fn not_filled_in(arn: &str) -> Option<String> {
    let inner = arn
        .trim()
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    if inner.is_some_and(|inner| is_principal(inner.trim())) {
        return None;
    }
    if let Some(open) = arn.find("{{") {
        let end = arn[open..]
            .find("}}")
            .map_or(arn.len(), |end| open + end + 2);
        return Some(format!("placeholder `{}`", &arn[open..end]));
    }
    let in_brackets = || {
        let at = arn.find('[')?;
        let end = arn[at..].find(']')?;
        (end > 1).then(|| &arn[at..=at + end])
    };
    let found = unfilled(arn).or_else(in_brackets);
    found.map(|found| format!("placeholder `{found}`"))
}

/// What an ARN probably was meant to be.
pub(super) struct LikelyArn {
    pub(super) code: Code,
    /// What is wrong with it.
    pub(super) what: &'static str,
    /// A valid ARN of a role or user, as it is written in aws-auth.
    pub(super) arn: String,
}

fn is_principal(arn: &str) -> bool {
    Principal::parse(&canonical_case(arn)).is_ok()
}

/// The ARN of a role or user that differs from this text in one slip. Nothing is proposed that is no valid ARN.
pub(super) fn likely(arn: &str) -> Option<LikelyArn> {
    if is_principal(arn) {
        return None;
    }
    let parts: Vec<&str> = arn.split(':').collect();
    let joined = |parts: &[&str]| parts.join(":");
    let bare = arn.trim_matches(|c: char| c.is_whitespace() || "<>\"'`()[]{},;.".contains(c));
    let session = |resource: &str| {
        let role = resource.strip_prefix("assumed-role/")?;
        let role = role.split('/').next()?;
        Some(format!("arn:{}:iam::{}:role/{role}", parts[1], parts[4]))
    };
    let mut candidates: Vec<ArnGuess> = Vec::new();
    let mut add = |code, what, arn: String| candidates.push((code, what, arn));
    if bare != arn {
        add(Code::NotAPrincipal, bracket(arn), bare.to_owned());
    }
    if arn.contains(char::is_whitespace) {
        add(
            Code::BlankInArn,
            "whitespace in the ARN",
            arn.split_whitespace().collect(),
        );
    }
    if let [_, _, "iam", "", _, resource] = parts.as_slice()
        && let Some(role) = session(resource)
    {
        add(Code::SessionArn, "session of a role", role);
    }
    if let [_, _, "sts", "", _, resource] = parts.as_slice() {
        if let Some(role) = session(resource) {
            add(Code::SessionArn, "session of a role", role);
        }
        add(
            Code::NotAPrincipal,
            "`sts` instead of `iam`",
            arn.replacen(":sts:", ":iam:", 1),
        );
    }
    if let [head @ .., account, resource] = parts.as_slice()
        && !account.is_empty()
    {
        let digits: String = account.chars().filter(char::is_ascii_digit).collect();
        if digits != *account {
            let mut all = head.to_vec();
            all.extend([digits.as_str(), resource]);
            add(
                Code::NotAPrincipal,
                "account ID with separators",
                joined(&all),
            );
        }
    }
    candidates.extend(in_parts(&parts));
    let mut add = |code, what, arn: String| candidates.push((code, what, arn));
    if let Some(at) = arn.find("arn:").filter(|at| *at > 0) {
        add(
            Code::NotAPrincipal,
            "text before the ARN",
            arn[at..].to_owned(),
        );
    }
    if arn.starts_with("aws:") {
        add(Code::NotAPrincipal, "missing `arn:`", format!("arn:{arn}"));
    }
    candidates.into_iter().find_map(|(code, what, candidate)| {
        let principal = Principal::parse(&canonical_case(&candidate)).ok()?;
        Some(LikelyArn {
            code,
            what,
            arn: principal.aws_auth_arn(),
        })
    })
}

/// A code, what is wrong, and what may be meant.
type ArnGuess = (Code, &'static str, String);

/// What may be meant by parts that are too many, too few or misspelled.
fn in_parts(parts: &[&str]) -> Vec<ArnGuess> {
    let joined = |parts: &[&str]| parts.join(":");
    let mut candidates = Vec::new();
    let mut add = |what, arn: String| candidates.push((Code::NotAPrincipal, what, arn));
    if parts.len() == 7 {
        for empty in (1..parts.len()).filter(|at| parts[*at].is_empty()) {
            let mut fewer = parts.to_vec();
            fewer.remove(empty);
            add("one colon too many", joined(&fewer));
        }
        // arn:aws:iam::111122223333:role:a
        let resource = joined(&parts[5..]).replacen(':', "/", 1);
        add(
            "colon instead of a slash",
            format!("{}:{resource}", joined(&parts[..5])),
        );
    }
    if let [arn, partition, service, account, resource] = parts {
        let more = [*arn, *partition, *service, "", *account, *resource];
        add("a missing colon", joined(&more));
    }
    if let [arn, partition, "iam", region, account, resource] = parts
        && !region.is_empty()
    {
        let without = [*arn, *partition, "iam", "", *account, *resource];
        add("region in an ARN of IAM", joined(&without));
    }
    if let Some(resource) = parts.last().filter(|_| parts.len() == 6) {
        for (wrong, right) in [
            ("roles/", "role/"),
            ("users/", "user/"),
            ("role//", "role/"),
            ("user//", "user/"),
            ("/role/", "role/"),
            ("/user/", "user/"),
        ] {
            if let Some(name) = resource.strip_prefix(wrong) {
                let mut all = parts[..5].to_vec();
                let resource = format!("{right}{name}");
                all.push(&resource);
                add("misspelled resource", joined(&all));
            }
        }
    }
    candidates
}

fn bracket(arn: &str) -> &'static str {
    if arn.trim().starts_with('<') {
        "angle brackets around the ARN"
    } else if arn.trim() == arn {
        "characters around the ARN"
    } else {
        "whitespace around the ARN"
    }
}

/// Title and fix for an ARN that nothing can be made of.
pub(super) fn invalid(arn: &str, field: &str, kind: &str, error: &ArnError) -> (String, String) {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    if let (true, Some((what, path))) = (resource.ends_with('/'), resource.split_once('/')) {
        let title = format!("path without the name of a {what} in `{field}`");
        let list = format!(
            "aws iam list-{what}s --path-prefix /{path} --query '{}s[].Arn' --output text",
            title_of(what)
        );
        return (
            title,
            format!("write the {what}'s ARN, without its path: `{list}` prints those under it"),
        );
    }
    if resource.starts_with("group/") {
        let title = format!("ARN of an IAM group in `{field}`");
        let fix = "map a role that the members of the group assume, or each user: no one signs in as a group";
        return (title, fix.to_owned());
    }
    if resource.starts_with("permissionSet/") {
        let title = format!("ARN of a permission set in `{field}`");
        let fix = format!(
            "write the ARN of its role in this account, without its path: `{}`; or declare the permission set in an IdentityMapping",
            list_sso_roles("", "Arn")
        );
        return (title, fix);
    }
    if resource.starts_with("instance-profile/") {
        let title = format!("ARN of an instance profile in `{field}`");
        let name = resource.rsplit('/').next().unwrap_or_default();
        let fix = format!(
            "write the ARN of its role: `aws iam get-instance-profile --instance-profile-name {name} --query \
             'InstanceProfile.Roles[].Arn' --output text`"
        );
        return (title, fix);
    }
    (
        format!("invalid principal in `{field}`: {error}"),
        format!(
            "write the {kind}'s ARN{}: {}",
            if kind == "role" {
                ", without its path"
            } else {
                ""
            },
            look_up(kind)
        ),
    )
}

/// An ARN with everything but its names in lower case, for the authenticator compares without regard to case.
pub(super) fn canonical_case(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
        return arn.to_owned();
    };
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    let head = [prefix, partition, service, region, account].map(|part| part.to_ascii_lowercase());
    let slash = if rest.is_empty() { "" } else { "/" };
    format!(
        "{}:{}{slash}{rest}",
        head.join(":"),
        kind.to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_undone_where_the_result_is_an_arn() {
        let role = "arn:aws:iam::111122223333:role/a";
        for (arn, expected) in [
            (role, None),
            ("arn:aws:iam::111122223333::role/a", Some(role)),
            ("arn:aws:iam:::111122223333:role/a", Some(role)),
            ("arn:aws:iam:111122223333:role/a", Some(role)),
            ("arn:aws:iam:eu-west-1:111122223333:role/a", Some(role)),
            ("arn:aws:sts::111122223333:role/a", Some(role)),
            ("arn:aws:sts::111122223333:assumed-role/a", Some(role)),
            ("arn:aws:sts::111122223333:assumed-role/a/*", Some(role)),
            ("arn:aws:iam::111122223333:assumed-role/a/*", Some(role)),
            ("arn:aws:iam::1111-2222-3333:role/a", Some(role)),
            ("arn:aws:iam::111122223333:role:a", Some(role)),
            ("arn:aws:iam::111122223333:roles/a", Some(role)),
            ("<arn:aws:iam::111122223333:role/x/a>", Some(role)),
            ("arn:aws:iam::111122223333:role/a;", Some(role)),
            ("arn:aws:iam::111122223333:role/ a", Some(role)),
            ("aws:iam::111122223333:role/a", Some(role)),
            ("arn:aws:iam::1111:role/a", None),
            ("arn:aws:iam::111122223333:role/a*", None),
            ("arn:aws:iam::111122223333:role/aws-reserved/", None),
            ("just text", None),
            ("", None),
        ] {
            let likely = likely(arn).map(|it| it.arn);
            assert_eq!(likely.as_deref(), expected, "{arn}");
        }
    }
}
