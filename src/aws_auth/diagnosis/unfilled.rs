//! Variables and placeholders that a person or a script should have replaced.

use std::ops::Range;

use super::template::is_placeholder;

/// A variable or placeholder in a value that was to be replaced by hand or by a script, as it is written.
pub(crate) fn unfilled(value: &str) -> Option<&str> {
    let delimited = [
        ("${", "}"),
        ("$(", ")"),
        ("<", ">"),
        ("((", "))"),
        ("[[", "]]"),
        ("#{", "}"),
    ];
    let of = |(open, close): &(&str, &str)| {
        let at = value.find(open)?;
        let inner = &value[at + open.len()..];
        let end = inner.find(close)?;
        (end > 0).then(|| at..at + open.len() + end + close.len())
    };
    let delimited = delimited
        .iter()
        .filter_map(of)
        .min_by_key(|span| span.start);
    delimited
        .or_else(|| single_braces(value))
        .or_else(|| dollar(value))
        .or_else(|| surrounded(value))
        .or_else(|| spelled_out(value))
        .map(|span| &value[span])
}

/// `$NAME`.
fn dollar(value: &str) -> Option<Range<usize>> {
    let at = value.find('$')?;
    let name = &value[at + 1..];
    let length = name
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    (length > 0).then(|| at..at + 1 + length)
}

/// `@NAME@`, `%NAME%` and `__name__`, which sed and installers replace: whole words, for names of IAM can hold these characters.
fn surrounded(value: &str) -> Option<Range<usize>> {
    ["%%", "##", "@@", "@", "%", "~", "__"]
        .into_iter()
        .find_map(|mark| {
            let at = value.find(mark)?;
            let inner = &value[at + mark.len()..];
            let end = inner.find(mark)?;
            let (name, rest) = (&inner[..end], &inner[end + mark.len()..]);
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_whole = !value[..at].ends_with(is_word) && !rest.starts_with(is_word);
            let is_asked = name.bytes().any(|b| b.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
                && (mark.len() == 2 || !name.bytes().any(|b| b.is_ascii_lowercase()))
                || is_placeholder(name);
            (is_whole && is_asked).then(|| at..at + end + 2 * mark.len())
        })
}

/// `{name}` with one brace on each side.
fn single_braces(value: &str) -> Option<Range<usize>> {
    let at = value
        .match_indices('{')
        .map(|(at, _)| at)
        .find(|at| !value[..*at].ends_with(['{', '$', '#']) && !value[at + 1..].starts_with('{'))?;
    let inner = &value[at + 1..];
    let end = inner.find('}')?;
    let name = &inner[..end];
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-. ".contains(&b));
    (is_name && !inner[end + 1..].starts_with('}')).then(|| at..at + end + 2)
}

/// Words that ask to be replaced, alone or at the start of a name.
const ASKING: [&str; 5] = ["YOUR_", "YOUR-", "REPLACE_WITH", "INSERT_", "ENTER_"];

/// Words that ask to be replaced wherever they are whole parts of a name.
const PARTS: [&str; 6] = [
    "REPLACE_ME",
    "REPLACE-ME",
    "REPLACEME",
    "CHANGE_ME",
    "CHANGE-ME",
    "CHANGEME",
];

/// What manuals write in place of a name. As a part of a longer one they are ordinary words.
const WHOLE: [&str; 18] = [
    "FIXME",
    "TODO",
    "ACCOUNT",
    "ACCOUNT_ID",
    "ACCOUNT-ID",
    "ACCOUNTID",
    "AWS_ACCOUNT",
    "AWS_ACCOUNT_ID",
    "ROLE_NAME",
    "ROLE-NAME",
    "ROLENAME",
    "USER_NAME",
    "ROLE_ARN",
    "ROLEARN",
    "USER_ARN",
    "USERARN",
    "INSTANCE_ROLE",
    "NODE_ROLE",
];

/// Words that ask to be replaced.
fn spelled_out(value: &str) -> Option<Range<usize>> {
    let asks = |word: &str| {
        let has_part = |part: &&str| {
            word.match_indices(part).any(|(at, _)| {
                let is_edge = |text: &str, at_end: bool| {
                    let next = if at_end {
                        text.chars().next_back()
                    } else {
                        text.chars().next()
                    };
                    next.is_none_or(|c| !c.is_ascii_alphanumeric())
                };
                is_edge(&word[..at], true) && is_edge(&word[at + part.len()..], false)
            })
        };
        WHOLE.contains(&word)
            || ASKING.iter().any(|start| word.starts_with(start))
            || PARTS.iter().any(has_part)
    };
    let mut at = 0;
    for piece in value.split_inclusive([':', '/', ' ']) {
        let bare = piece.trim_end_matches([':', '/', ' ']);
        let is_left_out = bare.len() >= 2 && bare.bytes().all(|b| b == b'.');
        // XXXXXXXXXXXX in place of an account.
        let is_x = bare.len() >= 4 && bare.bytes().all(|b| matches!(b, b'x' | b'X'));
        if asks(bare) || is_left_out || bare.contains('…') || is_x {
            return Some(at..at + bare.len());
        }
        at += piece.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named() {
        for (value, found) in [
            ("$instance_role", Some("$instance_role")),
            (
                "arn:aws:iam::${AWS_ACCOUNT_ID}:role/a",
                Some("${AWS_ACCOUNT_ID}"),
            ),
            ("arn:aws:iam::$(ACCOUNT):role/a", Some("$(ACCOUNT)")),
            ("<ARN of instance role>", Some("<ARN of instance role>")),
            ("arn:aws:iam::@ACCOUNT@:role/a", Some("@ACCOUNT@")),
            ("__ROLE__", Some("__ROLE__")),
            ("%ROLE%", Some("%ROLE%")),
            ("((role))", Some("((role))")),
            ("arn:aws:iam::ACCOUNT_ID:role/a", Some("ACCOUNT_ID")),
            ("arn:aws:iam::XXXXXXXXXXXX:role/a", Some("XXXXXXXXXXXX")),
            ("arn:aws:iam::111122223333:role/...", Some("...")),
            ("arn:aws:iam::111122223333:role/a…", Some("a…")),
            ("arn:aws:iam::%%ACCOUNT%%:role/a", Some("%%ACCOUNT%%")),
            ("arn:aws:iam::##ACCOUNT##:role/a", Some("##ACCOUNT##")),
            ("arn:aws:iam::~ACCOUNT~:role/a", Some("~ACCOUNT~")),
            ("arn:aws:iam::__account_id__:role/a", Some("__account_id__")),
            ("arn:aws:iam::{account}:role/a", Some("{account}")),
            ("dev:{SessionName}", Some("{SessionName}")),
            ("dev:%SessionName%", Some("%SessionName%")),
            ("YOUR_ROLE", Some("YOUR_ROLE")),
            ("role-CHANGEME", Some("role-CHANGEME")),
            ("EKS_NODE_ROLE", None),
            ("AWS_ACCOUNT_ADMINS", None),
            ("acme__PROD__deploy", None),
            ("EKS-INSTANCE_ROLE", None),
            ("PREFIXMEDIA", None),
            ("GET_ROLE_ARN_LAMBDA", None),
            ("IT_USER_NAME_SYNC", None),
            ("{{UserID}}", None),
            ("a@B@c", None),
            ("arn:aws:iam::111122223333:user/a.b", None),
            ("arn:aws:iam::111122223333:user/jane@example.com", None),
            ("arn:aws:iam::111122223333:role/a_b-c", None),
            ("system:node:{{EC2PrivateDNSName}}", None),
        ] {
            assert_eq!(unfilled(value), found, "{value}");
        }
    }
}
