//! The one form in which entries are written: every value in double quotes, groups sorted and unique.
//!
//! The escapes are JSON's, so that what is written reads the same as YAML 1.1, YAML 1.2 and JSON.

use std::fmt::Write;

use super::{NewEntry, Section};

/// How the text around an entry is laid out.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Indentation of the dash.
    pub(super) indent: String,
    /// Line ending.
    pub(super) eol: &'static str,
}

impl NewEntry {
    fn arn_field(&self) -> &'static str {
        match self.section {
            Section::Users => "userarn",
            Section::Roles | Section::Accounts => "rolearn",
        }
    }

    /// The entry as an item of a list, as it is written where nothing around it says how; without a line ending.
    #[must_use]
    pub fn item(&self) -> String {
        let layout = Layout {
            indent: String::new(),
            eol: "\n",
        };
        block(self, &layout)
    }

    /// The groups as they are written.
    pub(super) fn sorted_groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// An item of a block list, from its dash to the end of its last line, without the line's ending.
pub(super) fn block(entry: &NewEntry, layout: &Layout) -> String {
    let Layout { indent, eol } = layout;
    let mut out = format!("- {}: {}", entry.arn_field(), quoted(&entry.arn));
    let _ = write!(
        out,
        "{eol}{indent}  username: {}{eol}{indent}  groups:",
        quoted(&entry.username)
    );
    let groups = entry.sorted_groups();
    if groups.is_empty() {
        out.push_str(" []");
    }
    for group in groups {
        let _ = write!(out, "{eol}{indent}  - {}", quoted(group));
    }
    out
}

/// An item of a flow list, on one line.
pub(super) fn flow(entry: &NewEntry) -> String {
    let groups: Vec<String> = entry.sorted_groups().into_iter().map(quoted).collect();
    format!(
        "{{\"{}\": {}, \"username\": {}, \"groups\": [{}]}}",
        entry.arn_field(),
        quoted(&entry.arn),
        quoted(&entry.username),
        groups.join(", ")
    )
}

/// A value in double quotes.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Control characters, line breaks of YAML 1.1, the byte order mark and what is no character.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
