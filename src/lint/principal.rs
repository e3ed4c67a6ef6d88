//! Checks the principal of an entry: whether its ARN can match any caller.

use std::ops::Range;

use super::arn::{self, LikelyArn, canonical_case};
use super::code::Code;
use super::finding::{Edit, LintFinding};
use super::read::ManagedOf;
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
    let is_user = entry.section == Section::Users;
    let written = places.arn.as_ref().and_then(|span| text.get(span.clone()));
    let check = ArnCheck {
        entry,
        field: if is_user { "userarn" } else { "rolearn" },
        kind: if is_user { "user" } else { "role" },
        span: places.arn.clone().unwrap_or_else(|| entry.span.clone()),
        written: written.unwrap_or_default(),
        winners,
    };
    if entry.sso {
        return vec![check.sso()];
    }
    match check.spelling() {
        Some(finding) => vec![finding],
        None => check.parsed(line),
    }
}

struct ArnCheck<'e> {
    entry: &'e Entry,
    field: &'static str,
    kind: &'static str,
    span: Range<usize>,
    /// The ARN as the text has it, with its quotes.
    written: &'e str,
    winners: &'e Winners<'e>,
}

impl ArnCheck<'_> {
    fn finding(&self, code: Code, title: String, fix: String) -> LintFinding<TextSpan> {
        LintFinding {
            code,
            at: (self.entry.section, self.span.clone()),
            title,
            label: "never matches: the principal has no access".to_owned(),
            fix,
            edits: Vec::new(),
            proposed: Vec::new(),
        }
    }

    /// Another ARN in place of this one. Only where it is written as it is, in whichever quotes, is that safe.
    fn edit(&self, to: &str) -> Vec<Edit> {
        let arn = &self.entry.arn;
        let simple = to
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        let edit = |text: String| {
            vec![Edit {
                span: self.span.clone(),
                text,
            }]
        };
        let quoted = |quote: char| format!("{quote}{arn}{quote}") == self.written;
        match (simple, self.written) {
            (true, written) if written == arn => edit(to.to_owned()),
            (true, _) if quoted('"') => edit(format!("\"{to}\"")),
            (true, _) if quoted('\'') => edit(format!("'{to}'")),
            _ => Vec::new(),
        }
    }

    /// The same, where no other entry names the principal.
    fn edit_alone(&self, to: &str) -> Vec<Edit> {
        if self.winners.is_alone(to) {
            self.edit(to)
        } else {
            Vec::new()
        }
    }

    fn sso(&self) -> LintFinding<TextSpan> {
        let fix = "write the role that IAM Identity Center created for the permission set in this account, without path: \
            rolearn: arn:aws:iam::ACCOUNT:role/AWSReservedSSO_NAME_SUFFIX; or declare the permission set in an IdentityMapping";
        let title = "`sso` instead of `rolearn`".to_owned();
        let mut finding = self.finding(Code::SsoEntry, title, fix.to_owned());
        finding.at.1 = self.entry.span.clone();
        finding
    }

    /// What is wrong with the ARN as it is spelled.
    fn spelling(&self) -> Option<LintFinding<TextSpan>> {
        let Self { field, kind, .. } = *self;
        let arn = self.entry.arn.as_str();
        if let Some(variable) = arn::not_filled_in(arn) {
            let title = format!("{variable} in `{field}`, which was not filled in");
            let fix = format!("write the {kind}'s ARN: {}", arn::look_up(kind));
            let mut finding = self.finding(Code::NotFilledIn, title, fix);
            let is_word = variable
                .bytes()
                .skip("placeholder".len())
                .any(|b| b.is_ascii_alphanumeric());
            if is_word && Principal::parse(&canonical_case(arn)).is_ok() {
                finding.code = Code::LooksUnfilled;
                finding.title = format!("{variable} in `{field}`?");
                "never matches, unless IAM has this name".clone_into(&mut finding.label);
            }
            return Some(finding);
        }
        let trimmed = arn.trim();
        if trimmed != arn
            && let Ok(principal) = Principal::parse(&canonical_case(trimmed))
        {
            let to = principal.aws_auth_arn();
            let title = format!("whitespace around the ARN in `{field}`");
            let mut finding = self.finding(Code::BlankInArn, title, format!("write {to}"));
            finding.edits = self.edit_alone(&to);
            return Some(finding);
        }
        if let Some(likely) = arn::likely(arn) {
            let LikelyArn { code, what, arn } = likely;
            let title = format!("{what} in `{field}`");
            let mut finding = self.finding(code, title, format!("write {arn}"));
            if code == Code::SessionArn {
                finding.fix += ": it then grants access to every session of the role";
            }
            finding.proposed = self.edit(&arn);
            return Some(finding);
        }
        if arn.contains(char::is_whitespace) {
            let title = format!("whitespace in the ARN in `{field}`");
            let fix = format!("write the {kind}'s ARN: {}", arn::look_up(kind));
            return Some(self.finding(Code::BlankInArn, title, fix));
        }
        if arn.contains(['*', '?']) {
            let title = format!("wildcard in `{field}`");
            let name = arn.rsplit('/').next().unwrap_or_default();
            let prefix = name.split(['*', '?']).next().unwrap_or_default();
            let fix = if prefix.starts_with("AWSReservedSSO_") {
                format!(
                    "write the role's full name: `{}`",
                    arn::list_sso_roles(prefix, "RoleName")
                )
            } else {
                "write one entry for each intended role or user".to_owned()
            };
            return Some(self.finding(Code::Wildcard, title, fix));
        }
        None
    }

    /// What is wrong with what the ARN names.
    fn parsed(&self, line: &dyn Fn(&Entry) -> String) -> Vec<LintFinding<TextSpan>> {
        let field = self.field;
        let arn = self.entry.arn.as_str();
        match Principal::parse(&canonical_case(arn)) {
            Ok(principal) => self.of_principal(&principal, line),
            Err(PrincipalError::NotAPrincipal(NotAPrincipal::Root { .. })) => {
                let title = format!("root user of the account in `{field}`");
                let fix = "list the intended roles and users, one entry each".to_owned();
                let mut finding = self.finding(Code::RootUser, title, fix);
                "only the root user has access".clone_into(&mut finding.label);
                vec![finding]
            }
            Err(PrincipalError::NotAPrincipal(NotAPrincipal::Session { role_arn, .. })) => {
                let title = format!("session of a role in `{field}`");
                let fix =
                    format!("write {role_arn}: it then grants access to every session of the role");
                vec![self.finding(Code::SessionArn, title, fix)]
            }
            // The authenticator takes them as they are.
            Err(PrincipalError::NotAPrincipal(NotAPrincipal::FederatedUser { .. })) => Vec::new(),
            Err(PrincipalError::Arn(error)) => {
                let (title, fix) = arn::invalid(arn, field, self.kind, &error);
                vec![self.finding(Code::NotAPrincipal, title, fix)]
            }
        }
    }

    fn of_principal(
        &self,
        principal: &Principal,
        line: &dyn Fn(&Entry) -> String,
    ) -> Vec<LintFinding<TextSpan>> {
        let field = self.field;
        let mut findings = Vec::new();
        findings.extend(sso_suffix(self.entry, principal, field, &self.span));
        if principal.kind == PrincipalKind::Role && principal.path != "/" {
            let to = principal.aws_auth_arn();
            let title = format!("role path in `{field}`");
            let other = self.winners.other(self.entry, &to);
            let managed = other.and_then(|other| self.winners.managed_of(self.entry, other));
            let fix = match (other.map(line), managed) {
                (Some(place), Some(ManagedOf::First)) => format!(
                    "remove the entry in {place}: both are for {to}, and this one is managed, so that the operator repairs it"
                ),
                (Some(place), Some(ManagedOf::Second)) => format!(
                    "remove this entry: both this one and {place} are for {to}, and {place} is managed"
                ),
                (Some(place), None) => format!(
                    "remove this entry, or its path and the entry in {place}: both are for {to}"
                ),
                (None, _) => format!("write {to}"),
            };
            let mut finding = self.finding(Code::RolePath, title, fix);
            finding.edits = self.edit_alone(&to);
            findings.push(finding);
        }
        let (own, kind, name) = match principal.kind {
            PrincipalKind::Role => (Section::Roles, "a role", "rolearn"),
            PrincipalKind::User => (Section::Users, "a user", "userarn"),
        };
        if own != self.entry.section {
            let title = format!("{kind} under {}", self.entry.section);
            let fix = format!("move the entry to {own}, with `{name}` instead of `{field}`");
            let mut finding = self.finding(Code::WrongList, title, fix);
            "the authenticator finds it here too".clone_into(&mut finding.label);
            findings.push(finding);
        }
        findings
    }
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
    // The authenticator compares ARNs without regard to case.
    let lower = principal.name.to_ascii_lowercase();
    let lower = lower.replacen("awsreservedsso_", prefix, 1);
    if !is_sso || SsoRole::parse_name(&lower).is_some() {
        return None;
    }
    Some(LintFinding {
        code: Code::SsoSuffix,
        at: (entry.section, span.clone()),
        title: format!("role of IAM Identity Center without its suffix in `{field}`"),
        label: "no such role can exist: the entry never matches".to_owned(),
        fix: format!(
            "write the role's full name: `{}`",
            arn::list_sso_roles(&principal.name, "RoleName")
        ),
        edits: Vec::new(),
        proposed: Vec::new(),
    })
}
