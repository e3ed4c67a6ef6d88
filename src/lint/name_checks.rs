//! What is wrong with a username or group by itself.

use super::code::Code;
use crate::aws_auth::diagnosis::{PLACEHOLDERS, unfilled};
use crate::principal::{IdentityError, RESERVED_PREFIX, Username};
use crate::yaml::almost;

/// Whether a username is meant to be a node's, however it is spelled.
pub(super) fn is_meant_for_nodes(username: &str) -> bool {
    let plain = username.to_ascii_lowercase();
    let plain: String = plain
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '<')
        .collect();
    plain.starts_with("system:node") || plain.contains("ec2privatedns")
}

/// Whether a name ends or begins where a placeholder belongs, as it does once a tool has taken `{{…}}` for its own.
fn is_cut(name: &str) -> bool {
    // An ARN of IAM has no region.
    let is_arn = name.starts_with("arn:");
    name.ends_with(':')
        || (!is_arn && name.contains("::"))
        || (name.starts_with('@') && name.contains('.'))
}

/// What is within angle brackets, where they are around all of it.
pub(super) fn in_angle_brackets(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix('<')?.strip_suffix('>')?;
    (!inner.contains(['<', '>'])).then_some(inner.trim())
}

/// Reports a name that lost a part of itself.
pub(super) fn cut<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    if !is_cut(text) || is_meant_for_nodes(text) {
        return;
    }
    let whole = if text.starts_with('@') {
        format!("{{{{SessionName}}}}{text}")
    } else if text.ends_with(':') {
        format!("{text}{{{{SessionName}}}}")
    } else {
        text.replacen("::", ":{{SessionName}}:", 1)
    };
    find(
        Code::LostPlaceholder,
        at,
        format!("{what} {text:?}, from which a part is missing"),
        format!("every session gets this {what}"),
        format!(
            "if a placeholder was here, such as in {whole:?}, write it again, and protect it from the tool that removed it; else write a \
                name without the colon or @"
        ),
    );
}

/// Reports brackets around a name, and variables in it that nothing replaces.
pub(super) fn not_filled_in<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) -> bool {
    let seen = format!("the authenticator sees the {what} {text:?}");
    if let Some(inner) = in_angle_brackets(text) {
        let is_known = inner.starts_with("system:") || inner.contains("{{");
        let is_name = !inner.is_empty() && !inner.contains(' ') && unfilled(inner).is_none();
        let fix = if is_known {
            format!("write {inner:?}")
        } else if is_name {
            format!("write the real {what} without brackets: {inner:?} only if that is its name")
        } else {
            format!("write the {what} itself")
        };
        let title = format!("angle brackets around the {what} {text:?}");
        find(Code::AngleBrackets, at, title, seen, fix);
        return true;
    }
    let without = PLACEHOLDERS.iter().fold((*text).to_owned(), |rest, known| {
        rest.replace(&format!("{{{{{known}}}}}"), "")
    });
    if text.contains("{{{") && without != *text {
        let title = format!("three braces around a placeholder in the {what} {text:?}");
        let two = text.replace("{{{", "{{").replace("}}}", "}}");
        find(Code::NotFilledIn, at, title, seen, format!("write {two:?}"));
        return true;
    }
    let Some(variable) = unfilled(&without).filter(|found| text.contains(found)) else {
        return false;
    };
    let title = format!("placeholder `{variable}` in the {what} {text:?}, which was not filled in");
    let name = variable.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let fix = match PLACEHOLDERS.iter().find(|known| almost(name, known)) {
        Some(known) => {
            let meant = text.replace(variable, &format!("{{{{{known}}}}}"));
            format!("write {meant:?}")
        }
        None => format!("write the {what} itself"),
    };
    find(Code::NotFilledIn, at, title, seen, fix);
    true
}

pub(super) fn blanks<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    if text.trim() != text && !text.trim().is_empty() {
        find(
            Code::BlankInName,
            at,
            format!("whitespace around the {what} {text:?}"),
            format!("the authenticator sees the {what} {text:?}"),
            format!("write {:?}", text.trim()),
        );
    }
}

pub(super) fn placeholders<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    if let Err(IdentityError::UnknownPlaceholder { placeholder, .. }) = Username::parse(text) {
        let known = [
            "AccountID",
            "SessionName",
            "SessionNameRaw",
            "AccessKeyID",
            "EC2PrivateDNSName",
        ];
        let meant = known.iter().find(|known| almost(&placeholder, known));
        let fix = match meant {
            Some(meant) => format!("write {{{{{meant}}}}}"),
            None => "write the name itself, or one of {{AccountID}}, {{SessionName}}, {{SessionNameRaw}} and \
                {{EC2PrivateDNSName}}"
                .to_owned(),
        };
        find(
            Code::UnknownPlaceholder,
            at,
            format!("unknown placeholder {placeholder:?} in the {what} {text:?}"),
            format!("the authenticator sees the {what} {text:?}, braces included"),
            fix,
        );
    }
}

pub(super) fn reserved<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    let prefix = text.split_inclusive(':').next().unwrap_or(text);
    find(
        Code::ReservedName,
        at,
        format!("reserved prefix {prefix:?} in the {what} {text:?}"),
        if text.starts_with(RESERVED_PREFIX) {
            "the name is reserved for handovers, and the operator refuses a mapping with it"
                .to_owned()
        } else {
            "it takes effect in aws-auth, but an access entry can't have it".to_owned()
        },
        format!("choose a {what} without this prefix, and bind that one"),
    );
}
