//! Values in brackets, which may go over several lines.

use super::content::LineContent;
use super::defect::{Defect, DefectKind};
use super::structure::{LineRole, StructureReader};

/// How many brackets a text opens and does not close.
pub(super) fn nesting(text: &str) -> isize {
    let mut depth = 0;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (_, _) => {}
        }
    }
    depth
}

impl StructureReader<'_> {
    /// Takes the lines up to the end of brackets that open in line `at`, and reports those that never close. The line that follows.
    pub(super) fn brackets(&mut self, at: usize, value: &str) -> usize {
        let mut next = at + 1;
        let Some(bracket) = value.chars().next().filter(|c| matches!(c, '[' | '{')) else {
            return next;
        };
        if value.starts_with("{{") {
            return next;
        }
        let mut depth = nesting(value);
        while depth > 0 && next < self.drafts.len() {
            let line = &self.parsed[next];
            let is_field =
                matches!(&line.content, LineContent::Field { name, .. } if super::is_field(name));
            // Within braces, fields are in lines of their own.
            if (is_field && bracket == '[') || line.dashes > 0 {
                break;
            }
            depth += nesting(&line.text);
            self.push(next, LineRole::Continuation, None);
            next += 1;
        }
        if depth > 0 {
            self.close(at, next, value, bracket, depth);
        }
        next
    }

    fn close(&mut self, at: usize, next: usize, value: &str, bracket: char, depth: isize) {
        let close = if bracket == '[' { ']' } else { '}' };
        let kind = DefectKind::BracketNotClosed { bracket };
        self.out.defects.push(
            Defect::new(kind, self.drafts[at].origin, value).through(self.drafts[next - 1].origin),
        );
        if let Some(last) = self.out.lines.last_mut() {
            let (bare, comment) = match last.text.find(" #") {
                Some(at) => (last.text[..at].to_owned(), last.text[at..].to_owned()),
                None => (last.text.clone(), String::new()),
            };
            let bare = bare.trim_end().trim_end_matches(',').to_owned();
            let closing: String = std::iter::repeat_n(close, depth.unsigned_abs()).collect();
            last.text = format!("{bare}{closing}{comment}");
        }
    }
}
