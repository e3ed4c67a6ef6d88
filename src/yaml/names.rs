//! Names of fields as people mistype them.

/// Whether a name is a slip of another: case, blanks, hyphens and plurals aside, or with one letter added, lost, changed or swapped with
/// the next.
pub(crate) fn almost(name: &str, known: &str) -> bool {
    let plain = |text: &str| -> String {
        let kept = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '_'));
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    strsim::osa_distance(&plain(name), &plain(known)) <= 1
}
