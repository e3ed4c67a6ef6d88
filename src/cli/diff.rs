//! Unified diffs for people.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::output::{Colour, is_hidden, paint};

/// The lines around a change that are shown with it, as `diff -u` does.
const CONTEXT: usize = 3;

/// The text of a key of aws-auth before and after; `null`: the key does not exist.
#[derive(Serialize)]
pub(crate) struct KeyText {
    pub(crate) key: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl KeyText {
    /// The difference, with `/dev/null` for a key that does not exist, as `diff -u` names it.
    pub(crate) fn unified(&self, before: &str, after: &str) -> String {
        let name = |text: &Option<String>, state: &str| match text {
            Some(_) => format!("aws-auth {} {state}", self.key),
            None => "/dev/null".to_owned(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        unified(
            &text(&self.before),
            &text(&self.after),
            &name(&self.before, before),
            &name(&self.after, after),
        )
    }
}

/// What leads from one text to the other, with the line numbers of both; empty where they are the same.
pub(crate) fn unified(before: &str, after: &str, before_name: &str, after_name: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT);
    let mut shown = String::new();
    for hunk in unified.iter_hunks() {
        if shown.is_empty() {
            let names = format!("--- {before_name}\n+++ {after_name}");
            shown += &paint(Colour::Bold, &names);
            shown.push('\n');
        }
        shown += &paint(Colour::Cyan, &hunk.header().to_string());
        shown.push('\n');
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Equal => (' ', None),
                ChangeTag::Delete => ('-', Some(Colour::Red)),
                ChangeTag::Insert => ('+', Some(Colour::Green)),
            };
            let line = format!("{sign}{}", harmless(change.value()));
            shown += &colour.map_or_else(|| line.clone(), |colour| paint(colour, &line));
            shown.push('\n');
            if change.missing_newline() {
                shown += "\\ No newline at end of file\n";
            }
        }
    }
    shown
}

/// A line without its end, and with nothing that would move the cursor but tabs: someone else wrote it.
fn harmless(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.chars()
        .map(|c| match c {
            '\t' => c.to_string(),
            c if is_hidden(c) => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn plain(before: &str, after: &str) -> String {
        anstream::adapter::strip_str(&unified(before, after, "a", "b")).to_string()
    }

    #[test]
    fn lines_have_their_numbers() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        assert_snapshot!(plain(before, "1\n2\n3\n4\nfive\n6\n7\n8\n9"), @r"
        --- a
        +++ b
        @@ -2,7 +2,8 @@
         2
         3
         4
        -5
        +five
         6
         7
         8
        +9
        \ No newline at end of file
        ");
        assert_eq!(plain(before, before), "");
        assert_eq!(plain("", ""), "");
    }

    #[test]
    fn what_would_move_the_cursor_is_escaped() {
        assert_snapshot!(plain("a\r\n", "\tb\u{1b}[2J\u{202e}\n"), @r"
        --- a
        +++ b
        @@ -1 +1 @@
        -a\r
        +	b\u{1b}[2J\u{202e}
        ");
    }
}
