//! The principal of an entry: whether its ARN can match anyone.

use std::ops::Range;

use super::arn::{self, LikelyArn, canonical_case};
use super::code::Code;
use super::finding::{Edit, LintFinding};
use super::text::TextSpan;
use super::winners::Winners;
use crate::aws_auth::{Entry, Places, Section};
use crate::principal::{NotAPrincipal, Principal, PrincipalError, PrincipalKind, SsoRole};

/// Whether the ARN can match anyone, and what is wrong with it.
pub(super) fn principal(
    entry: &Entry,
    places: &Places,
    text: &str,
    winners: &Winners<'_>,
    line: &dyn Fn(&Entry) -> String,
) -> Vec<LintFinding<TextSpan>> {
    let field = if entry.section == Section::Users {
        "userarn"
    } else {
        "rolearn"
    };
    let span = places.arn.clone().unwrap_or_else(|| entry.span.clone());
    let one = |code, title: String, fix: String, edits: Vec<Edit>| {
        vec![LintFinding {
            code,
            at: (entry.section, span.clone()),
            title,
            label: "never matches: the principal has no access".to_owned(),
            fix,
            edits,
            proposed: Vec::new(),
        }]
    };
    if entry.sso {
        let title = "`sso` instead of `rolearn`".to_owned();
        let fix = "write the role that IAM Identity Center created for the permission set in this account, without path: \
            rolearn: arn:aws:iam::ACCOUNT:role/AWSReservedSSO_NAME_SUFFIX; or declare the permission set in an IdentityMapping";
        let mut found = one(Code::SsoEntry, title, fix.to_owned(), Vec::new());
        found[0].at.1 = entry.span.clone();
        return found;
    }
    let arn = entry.arn.as_str();
    let written = places
        .arn
        .as_ref()
        .and_then(|span| text.get(span.clone()))
        .unwrap_or_default();
    // Only where the ARN is written as it is, in whichever quotes, is it safe to put another in its place.
    let edit_of = |to: &str| -> Vec<Edit> {
        let simple = to
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        let edit = |text: String| {
            vec![Edit {
                span: span.clone(),
                text,
            }]
        };
        let quoted = |quote: char| format!("{quote}{arn}{quote}") == written;
        match (simple, written) {
            (true, written) if written == arn => edit(to.to_owned()),
            (true, _) if quoted('"') => edit(format!("\"{to}\"")),
            (true, _) if quoted('\'') => edit(format!("'{to}'")),
            _ => Vec::new(),
        }
    };
    let edit = |to: &str| -> Vec<Edit> {
        if winners.is_alone(to) {
            edit_of(to)
        } else {
            Vec::new()
        }
    };
    let kind = if entry.section == Section::Users {
        "user"
    } else {
        "role"
    };
    if let Some(variable) = arn::not_filled_in(arn) {
        let title = format!("{variable} in `{field}`, which was not filled in");
        let fix = format!("write the {kind}'s ARN: {}", arn::look_up(kind));
        return one(Code::NotFilledIn, title, fix, Vec::new());
    }
    let trimmed = arn.trim();
    if trimmed != arn
        && let Ok(principal) = Principal::parse(&canonical_case(trimmed))
    {
        let to = principal.aws_auth_arn();
        let title = format!("whitespace around the ARN in `{field}`");
        return one(Code::BlankInArn, title, format!("write {to}"), edit(&to));
    }
    if let Some(LikelyArn {
        code,
        what,
        arn: to,
    }) = arn::likely(arn)
    {
        let mut found = one(
            code,
            format!("{what} in `{field}`"),
            format!("write {to}"),
            Vec::new(),
        );
        if code == Code::SessionArn {
            found[0].fix += ": it then grants access to every session of the role";
        }
        found[0].proposed = edit_of(&to);
        return found;
    }
    if arn.contains(char::is_whitespace) {
        let title = format!("whitespace in the ARN in `{field}`");
        let fix = format!("write the {kind}'s ARN: {}", arn::look_up(kind));
        return one(Code::BlankInArn, title, fix, Vec::new());
    }
    if arn.contains(['*', '?']) {
        let title = format!("wildcard in `{field}`");
        let fix = "write one entry for each intended role or user".to_owned();
        return one(Code::Wildcard, title, fix, Vec::new());
    }
    match Principal::parse(&canonical_case(arn)) {
        Ok(principal) => of_principal(entry, &principal, field, span.clone(), &one, edit, &|to| {
            winners.other(entry, to).map(line)
        }),
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::Root { .. })) => {
            let mut found = one(
                Code::RootUser,
                format!("root user of the account in `{field}`"),
                "list the intended roles and users, one entry each".to_owned(),
                Vec::new(),
            );
            "only the root user has access".clone_into(&mut found[0].label);
            found
        }
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::Session { role_arn, .. })) => one(
            Code::SessionArn,
            format!("session of a role in `{field}`"),
            format!("write {role_arn}: it then grants access to every session of the role"),
            Vec::new(),
        ),
        // The authenticator takes them as they are.
        Err(PrincipalError::NotAPrincipal(NotAPrincipal::FederatedUser { .. })) => Vec::new(),
        Err(PrincipalError::Arn(error)) => {
            let (title, fix) = arn::invalid(arn, field, kind, &error);
            one(Code::NotAPrincipal, title, fix, Vec::new())
        }
    }
}

fn of_principal(
    entry: &Entry,
    principal: &Principal,
    field: &str,
    span: Range<usize>,
    one: &impl Fn(Code, String, String, Vec<Edit>) -> Vec<LintFinding<TextSpan>>,
    edit: impl Fn(&str) -> Vec<Edit>,
    other: &dyn Fn(&str) -> Option<String>,
) -> Vec<LintFinding<TextSpan>> {
    let mut findings = Vec::new();
    if let Some(finding) = sso_suffix(entry, principal, field, &span) {
        findings.push(finding);
    }
    if principal.kind == PrincipalKind::Role && principal.path != "/" {
        let to = principal.aws_auth_arn();
        let title = format!("role path in `{field}`");
        let edits = edit(&to);
        let fix = match other(&to) {
            Some(place) => format!(
                "remove this entry, or its path and the entry in {place}: both are for {to}"
            ),
            None => format!("write {to}"),
        };
        findings.extend(one(Code::RolePath, title, fix, edits));
    }
    let (own, kind) = match principal.kind {
        PrincipalKind::Role => (Section::Roles, "a role"),
        PrincipalKind::User => (Section::Users, "a user"),
    };
    if own != entry.section {
        let name = if own == Section::Roles {
            "rolearn"
        } else {
            "userarn"
        };
        findings.push(LintFinding {
            code: Code::WrongList,
            at: (entry.section, span),
            title: format!("{kind} under {}", entry.section),
            label: "the authenticator finds it here too".to_owned(),
            fix: format!("move the entry to {own}, with `{name}` in place of `{field}`"),
            edits: Vec::new(),
            proposed: Vec::new(),
        });
    }
    findings
}

/// Roles of IAM Identity Center end in an underscore and 16 hexadecimal digits.
fn sso_suffix(
    entry: &Entry,
    principal: &Principal,
    field: &str,
    span: &Range<usize>,
) -> Option<LintFinding<TextSpan>> {
    let prefix = "AWSReservedSSO_";
    let is_sso = principal.kind == PrincipalKind::Role && principal.name.starts_with(prefix);
    if !is_sso || SsoRole::parse_name(&principal.name).is_some() {
        return None;
    }
    Some(LintFinding {
        code: Code::SsoSuffix,
        at: (entry.section, span.clone()),
        title: format!("role of IAM Identity Center without its suffix in `{field}`"),
        label: "no such role can exist: the entry never matches".to_owned(),
        fix: format!(
            "write the role's full name: aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/ --query \
                \"Roles[?starts_with(RoleName, '{}')].RoleName\" --output text",
            principal.name
        ),
        edits: Vec::new(),
        proposed: Vec::new(),
    })
}
