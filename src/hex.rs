//! Hexadecimal digits of hashes.

/// The lower-case digits of `bytes`, cut to `digits`.
pub(crate) fn hex(bytes: &[u8], digits: usize) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles
        .take(digits)
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

/// Whether a text is so many lower-case digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
