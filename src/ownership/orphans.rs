//! Managed keys that no mapping names. A person confirms the removal of one set of them by its name.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::KeyHash;

/// The name of a set of keys: 32 digits, the same for the same keys only. Who can write marks and tags chooses both the set that a person
/// sees and one that has another entry in it: of 128 bits they find no two of one name.
pub(crate) fn set_name(keys: &BTreeSet<KeyHash>) -> String {
    let mut hash = Sha256::new();
    // All are of one length, so that no two sets run into the same bytes.
    for key in keys {
        hash.update(key.as_str());
    }
    format!("{:.32x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_set_has_another_name() {
        let key = |digit: &str| KeyHash::parse(&digit.repeat(16)).expect("16 digits");
        let name = |digits: &[&str]| set_name(&digits.iter().map(|digit| key(digit)).collect());
        assert_eq!(name(&["a", "b"]), name(&["b", "a"]));
        assert_ne!(name(&["a", "b"]), name(&["a"]));
        assert_ne!(name(&["a", "b"]), name(&["a", "c"]));
        assert_eq!(
            name(&["a"]).len(),
            32,
            "two sets of one name are not to be found"
        );
    }
}
