//! The mark: the annotation on aws-auth that names the managed entries.
//!
//! For each owned key it holds 16 hex digits of the key's SHA-256 and 8 of its meaning's, as `k:m` words separated by spaces
//! and sorted. The mark is written in the same request as the text, so that the two can't disagree by a crash. It is
//! short because all annotations of an object together may take 256 KiB
//! (`TotalAnnotationSizeLimitB` in k8s.io/apimachinery/pkg/api/validation): 3,000 entries take 78 kB.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::aws_auth::Meaning;
use crate::observed::{ConfigMapView, is_hex};
use crate::principal::Key;

/// The annotation on aws-auth that carries the mark.
pub const MARK_ANNOTATION: &str = "identity-mapper.dev/managed";

/// 16 hex digits of a key's SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(String);

/// 8 hex digits of a meaning's SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MeaningHash(String);

impl KeyHash {
    /// The hash of a key.
    pub(crate) fn of(key: &Key) -> Self {
        Self(format!("{:.16x}", Sha256::digest(key.to_string())))
    }

    /// The hash that a mark or a record of ours holds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        is_hex(text, 16).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl MeaningHash {
    /// The hash of a meaning.
    pub(crate) fn of(meaning: &Meaning) -> Self {
        let mut hash = Sha256::new();
        // Lengths keep two different meanings from running into the same bytes.
        for part in [&meaning.arn, &meaning.username]
            .into_iter()
            .chain(&meaning.groups)
        {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(format!("{:.8x}", hash.finalize()))
    }
}

/// The owned keys, each with what we last wrote for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) BTreeMap<KeyHash, MeaningHash>);

impl Mark {
    /// The mark of aws-auth.
    pub(crate) fn of(view: &ConfigMapView) -> Self {
        let value = view.annotations.get(MARK_ANNOTATION);
        value.map(|value| Self::parse(value)).unwrap_or_default()
    }

    /// Reads the annotation's value. Words that are not ours are passed over: losing a mark is not losing ownership.
    pub(crate) fn parse(value: &str) -> Self {
        Self(
            value
                .split_ascii_whitespace()
                .filter_map(|word| {
                    let (key, meaning) = word.split_once(':')?;
                    Some((
                        KeyHash::parse(key)?,
                        is_hex(meaning, 8).then(|| MeaningHash(meaning.to_owned()))?,
                    ))
                })
                .collect(),
        )
    }

    /// The size of the annotation's value for so many keys.
    pub(crate) const fn rendered_bytes(keys: usize) -> usize {
        // 16 digits, a colon, 8 digits, and a space between two.
        (26 * keys).saturating_sub(1)
    }

    /// The annotation's value.
    pub(crate) fn render(&self) -> String {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|(key, meaning)| format!("{}:{}", key.0, meaning.0))
            .collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_unknown_words_are_ignored() {
        let key = Key::parse_arn("arn:aws:iam::111122223333:role/Admin").expect("a role");
        let meaning = Meaning {
            arn: "arn:aws:iam::111122223333:role/admin".into(),
            username: "a".into(),
            groups: ["g".into()].into(),
        };
        let mark = Mark([(KeyHash::of(&key), MeaningHash::of(&meaning))].into());
        let text = mark.render();
        assert_eq!(text.len(), Mark::rendered_bytes(1));
        assert_eq!(
            Mark::parse(&format!("{text} nonsense 12:34 {}", "z".repeat(25))),
            mark
        );
    }

    #[test]
    fn meanings_that_differ_only_in_where_a_group_ends_have_different_hashes() {
        let meaning = |groups: &[&str]| {
            MeaningHash::of(&Meaning {
                arn: "a".into(),
                username: "u".into(),
                groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            })
        };
        assert_ne!(meaning(&["ab", "c"]), meaning(&["a", "bc"]));
        assert_eq!(meaning(&["b", "a"]), meaning(&["a", "b", "a"]));
    }
}
