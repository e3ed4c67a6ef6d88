//! What usernames and groups with placeholders can become at a login.

use std::collections::BTreeSet;
use std::ops::Bound;

/// What a placeholder can be replaced with.
struct Fill {
    placeholder: &'static str,
    least: usize,
    most: usize,
    byte: fn(u8) -> bool,
}

/// The authenticator's placeholders (`pkg/server/server.go`, `renderTemplate`). A session's name has at most 64 characters (STS API
/// reference, `AssumeRole`); users and federated users have none. Access keys are as in the IAM API reference. A name of an instance
/// is a DNS name.
static FILLS: [Fill; 5] = [
    Fill {
        placeholder: "{{AccountID}}",
        least: 12,
        most: 12,
        byte: |byte| byte.is_ascii_digit(),
    },
    Fill {
        placeholder: "{{SessionName}}",
        least: 0,
        most: 64,
        byte: |byte| byte.is_ascii_alphanumeric() || b"_+=,.-".contains(&byte),
    },
    Fill {
        placeholder: "{{SessionNameRaw}}",
        least: 0,
        most: 64,
        byte: |byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte),
    },
    Fill {
        placeholder: "{{AccessKeyID}}",
        least: 1,
        most: 128,
        byte: |byte| byte.is_ascii_alphanumeric() || byte == b'_',
    },
    Fill {
        placeholder: "{{EC2PrivateDNSName}}",
        least: 1,
        most: 253,
        byte: |byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte),
    },
];

/// The first placeholder of a text, with its place.
fn first(text: &str) -> Option<(usize, &'static Fill)> {
    let found = FILLS
        .iter()
        .filter_map(|fill| Some((text.find(fill.placeholder)?, fill)));
    found.min_by_key(|(at, _)| *at)
}

/// Whether a login fills something in.
#[must_use]
pub fn is_templated(text: &str) -> bool {
    first(text).is_some()
}

/// The first of these names that a login can turn a template into; a text without placeholders becomes itself alone.
pub(crate) fn becomes<'n>(template: &str, names: &'n BTreeSet<String>) -> Option<&'n str> {
    let Some((at, _)) = first(template) else {
        return names.get(template).map(String::as_str);
    };
    let literal = &template[..at];
    let alike = names.range::<str, _>((Bound::Included(literal), Bound::Unbounded));
    alike
        .take_while(|name| name.starts_with(literal))
        .find(|name| can_become(template, name))
        .map(String::as_str)
}

/// Whether a login can turn a template into a text.
pub(super) fn can_become(template: &str, text: &str) -> bool {
    let bytes = text.as_bytes();
    // Where in the text what was read of the template so far can end.
    let mut ends = BTreeSet::from([0]);
    let mut rest = template;
    while let Some((at, fill)) = first(rest) {
        let reached = after_literal(&ends, &rest[..at], text);
        ends = after_fill(&reached, fill, bytes);
        rest = &rest[at + fill.placeholder.len()..];
    }
    after_literal(&ends, rest, text).contains(&bytes.len())
}

fn after_literal(ends: &BTreeSet<usize>, literal: &str, text: &str) -> BTreeSet<usize> {
    let bytes = text.as_bytes();
    let follows = |end: &&usize| bytes[**end..].starts_with(literal.as_bytes());
    ends.iter()
        .filter(follows)
        .map(|end| end + literal.len())
        .collect()
}

fn after_fill(ends: &BTreeSet<usize>, fill: &Fill, bytes: &[u8]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    for end in ends {
        let run = bytes[*end..].iter().take(fill.most);
        let run = run.take_while(|byte| (fill.byte)(**byte)).count();
        reached.extend((fill.least..=run).map(|length| end + length));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_can_become() {
        let long = "x".repeat(65);
        for (template, text, expected) in [
            ("alice", "alice", true),
            ("alice", "alice2", false),
            ("sso:{{SessionName}}", "sso:alice", true),
            ("sso:{{SessionName}}", "sso:alice-example.com", true),
            // `@` is replaced in the one and kept in the other.
            ("sso:{{SessionName}}", "sso:alice@example.com", false),
            ("sso:{{SessionNameRaw}}", "sso:alice@example.com", true),
            ("sso:{{SessionName}}", "alice", false),
            ("sso:{{SessionName}}", "sso:a:b", false),
            ("sso:{{SessionName}}", "sso:a/b", false),
            ("sso:{{SessionName}}", "SSO:alice", false),
            // A user has no session.
            ("sso:{{SessionName}}", "sso:", true),
            ("{{SessionName}}", &long, false),
            ("system:{{SessionName}}", "system:masters", true),
            ("{{SessionName}}", "system:masters", false),
            ("{{AccountID}}-admins", "111122223333-admins", true),
            ("{{AccountID}}-admins", "1111-admins", false),
            ("{{SessionName}}-{{AccountID}}", "a-b-111122223333", true),
            ("{{SessionName}}-{{AccountID}}", "a-b-11112222333", false),
            ("{{SessionName}}{{SessionName}}x", "aaax", true),
            ("key:{{AccessKeyID}}", "key:AKIAIOSFODNN7EXAMPLE", true),
            (
                "system:node:{{EC2PrivateDNSName}}",
                "system:node:ip-10-0-0-1.internal",
                true,
            ),
            ("system:node:{{EC2PrivateDNSName}}", "system:node:", false),
            // What the authenticator does not know stays as it is written.
            ("{{Foo}}", "{{Foo}}", true),
            ("{{Foo}}", "alice", false),
        ] {
            assert_eq!(can_become(template, text), expected, "{template} {text}");
            let names = BTreeSet::from([text.to_owned()]);
            assert_eq!(
                becomes(template, &names).is_some(),
                expected,
                "{template} {text}"
            );
        }
    }

    #[test]
    fn a_hostile_name_takes_no_longer_than_its_length_asks() {
        let text = "a".repeat(100_000);
        assert!(!can_become(&"{{SessionName}}".repeat(8), &text));
    }
}
