//! Names for columns: as much of an ARN or username as tells one from another.

use super::{AccountId, Principal};

/// In place of the part that was left out.
const CUT: char = '…';
/// So many of the last digits tell an account where the number does not fit.
const ACCOUNT_END: usize = 4;

/// A principal without what all of a cluster's principals share: `role/Dev`, `sso/Admin` for a permission set's role, and the account
/// where it is not `own`; in `width` characters. Names of one team begin alike, so of a longer one most of the end stays.
#[must_use]
pub fn short_principal(principal: &Principal, own: Option<&AccountId>, width: usize) -> String {
    match principal.sso() {
        Some(role) => labelled("sso/", &role.permission_set, &principal.account, own, width),
        None => labelled(
            &format!("{}/", principal.kind),
            &principal.name,
            &principal.account,
            own,
            width,
        ),
    }
}

/// The role of a permission set that is not known yet, named as [`short_principal`] names it when it is.
#[must_use]
pub fn short_permission_set(
    name: &str,
    account: &AccountId,
    own: Option<&AccountId>,
    width: usize,
) -> String {
    labelled("sso/", name, account, own, width)
}

/// `KIND/NAME`, and the account where it is not `own`, in `width` characters.
pub(super) fn labelled(
    kind: &str,
    name: &str,
    account: &AccountId,
    own: Option<&AccountId>,
    width: usize,
) -> String {
    let count = kind.len() + name.chars().count();
    let number = account.as_str();
    let suffix = if own == Some(account) {
        String::new()
    } else if count + number.len() + " ()".len() <= width {
        format!(" ({number})")
    } else {
        // The name tells more than the first digits of the account.
        format!(" ({CUT}{})", &number[number.len() - ACCOUNT_END..])
    };
    let rest = width.saturating_sub(kind.len() + suffix.chars().count());
    kind.to_owned() + &shortened(name, rest, |kept| kept / 3) + &suffix
}

/// A username of at most `width` characters: of one that is longer, placeholders are shown by their braces alone, because which one it is
/// matters less than the text around it.
#[must_use]
pub fn short_username(username: &str, width: usize) -> String {
    if username.chars().count() <= width {
        return username.to_owned();
    }
    middle(&without_placeholders(username), width)
}

/// A username whose placeholders have lost their names.
#[must_use]
pub fn without_placeholders(username: &str) -> String {
    let mut shown = String::new();
    let mut rest = username;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((_, after)) = after.split_once("}}") else {
            break;
        };
        shown += before;
        shown += "{{…}}";
        rest = after;
    }
    shown + rest
}

/// A text of at most `width` characters: one that is longer loses its middle, because names differ at both ends.
#[must_use]
pub fn middle(text: &str, width: usize) -> String {
    shortened(text, width, |kept| kept.div_ceil(2))
}

/// A text of at most `width` characters; of those that are kept of a longer one, `head` are of its beginning.
fn shortened(text: &str, width: usize, head: impl Fn(usize) -> usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = head(kept);
    let start = text.chars().take(head);
    let end = text.chars().skip(count - (kept - head));
    start.chain([CUT]).chain(end).collect()
}

/// As many words as fit into `width` characters, and how many more there are: `dev, ops +3`. At least the first is there.
#[must_use]
pub fn some_of(words: &[String], width: usize) -> String {
    let Some((first, _)) = words.split_first() else {
        return String::new();
    };
    let all = words.join(", ");
    if all.chars().count() <= width {
        return all;
    }
    let shown = |count: usize| match words.len() - count {
        0 => words[..count].join(", "),
        more => format!("{} +{more}", words[..count].join(", ")),
    };
    let fits = |count: &usize| shown(*count).chars().count() <= width;
    if let Some(count) = (1..words.len()).rev().find(fits) {
        return shown(count);
    }
    let more = match words.len() - 1 {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    middle(first, width.saturating_sub(more.len())) + &more
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn principals_are_named_by_what_differs() {
        let own: AccountId = "111122223333".parse().expect("an account");
        for (arn, expected) in [
            ("arn:aws:iam::111122223333:role/Dev", "role/Dev"),
            ("arn:aws:iam::111122223333:role/team/a/Dev", "role/Dev"),
            ("arn:aws-cn:iam::111122223333:user/people/ann", "user/ann"),
            (
                "arn:aws:iam::444455556666:role/Dev",
                "role/Dev (444455556666)",
            ),
            (
                "arn:aws:iam::444455556666:role/data-platform-readers",
                "role/data…m-readers (…6666)",
            ),
            (
                "arn:aws:iam::444455556666:role/data-readers",
                "role/data-readers (…6666)",
            ),
            (
                "arn:aws:iam::444455556666:role/AWSReservedSSO_DataPlatformReaders_0123456789abcdef",
                "sso/Data…ormReaders (…6666)",
            ),
            (
                "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef",
                "sso/Admin",
            ),
            (
                "arn:aws:iam::111122223333:role/data-platform-production-readers",
                "role/data-pl…uction-readers",
            ),
        ] {
            let principal = Principal::parse(arn).expect("a principal");
            assert_eq!(short_principal(&principal, Some(&own), 27), expected);
        }
    }

    #[test]
    fn words_that_do_not_fit_are_counted() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, expected) in [
            ("dev", "dev"),
            ("dev ops", "dev, ops"),
            ("dev ops readers auditors", "dev, ops +2"),
            ("system:masters dev", "syst…ers +1"),
            ("system:authenticated", "syste…cated"),
        ] {
            assert_eq!(some_of(&words(text), 11), expected, "{text}");
        }
        assert_eq!(some_of(&[], 11), "");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_it_may_be(words in prop::collection::vec("\\PC{1,30}", 0..8), width in 8_usize..40) {
            prop_assert!(some_of(&words, width).chars().count() <= width);
            for word in words {
                prop_assert!(middle(&word, width).chars().count() <= width);
            }
        }
    }
}
