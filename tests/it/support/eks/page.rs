//! Pages, with tokens that say nothing to whoever holds them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    /// What is on it.
    pub(crate) items: Vec<T>,
    /// Where the next one begins; `None`: this is the last.
    pub(crate) next: Option<String>,
}

/// The page that `token` begins, of at most `most` items. The items are in the order of their keys, each of which is there
/// once; what comes or goes between two pages hides nothing else. `None`: the token was not made for this `scope`.
pub(crate) fn page<T>(
    scope: &str,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    most: usize,
) -> Option<Page<T>> {
    let after = match token {
        Some(token) => Some(opened(scope, token)?),
        None => None,
    };
    let mut items: Vec<T> = items
        .into_iter()
        .skip_while(|item| after.as_ref().is_some_and(|after| key(item) <= *after))
        .take(most + 1)
        .collect();
    let more = items.len() > most;
    items.truncate(most);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| sealed(scope, &key(last)));
    Some(Page { items, next })
}

fn seal(scope: &str, key: &str) -> String {
    let digest = Sha256::digest(format!("{scope}\n{key}"));
    hex(&digest[..6])
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn sealed(scope: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{key}", seal(scope, key)))
}

fn opened(scope: &str, token: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (mark, key) = text.split_at_checked(12)?;
    (mark == seal(scope, key)).then(|| key.to_owned())
}
