//! The comments of an entry: above it, inside it, and at the end of its lines.

use std::cell::OnceCell;
use std::ops::Range;

use super::{Entry, SectionView};
use crate::yaml::{Lines, NodeKind, Tree, compose};

/// The comments by each kept entry of a section, in the order of [`SectionView::entries`], without their hash signs.
///
/// A comment above an entry is in lines right above it, one below the other; one that is indented like the fields of the entry
/// before belongs to that one. What a blank line parts from every entry belongs to none. Of several entries in one line the first has
/// the comment above it, and the last the one at its end.
#[must_use]
pub fn comments(text: &str, view: &SectionView) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); view.entries.len()];
    if !text.contains('#') {
        return all;
    }
    let reading = CommentReader::new(text, view);
    for (number, entry) in view.entries.iter().enumerate() {
        let next = view.entries.get(number + 1);
        let next = next.map_or(text.len(), |next| next.span.start);
        let (above, below) = reading.around(entry);
        let found = above
            .into_iter()
            .chain(reading.within(entry, next))
            .chain(below);
        all[number] = found
            .map(|comment| words(&text[comment]))
            .filter(|comment| !comment.is_empty())
            .collect();
    }
    all
}

struct CommentReader<'t> {
    text: &'t str,
    view: &'t SectionView,
    lines: Lines<'t>,
    /// Every item of the list was kept, so that between two of them there is nothing but comments.
    whole: bool,
    /// Read only where a hash sign is within an entry: most texts have none there.
    tree: OnceCell<Nodes>,
}

/// What is asked of the tree of a text.
#[derive(Default)]
struct Nodes {
    /// The bytes of all scalars, in order: a hash sign in one of them begins no comment.
    scalars: Vec<Range<usize>>,
    /// Where the dash of each item of the list is.
    dashes: Vec<Option<usize>>,
}

impl<'t> CommentReader<'t> {
    fn new(text: &'t str, view: &'t SectionView) -> Self {
        let last = view.entries.last();
        Self {
            text,
            view,
            lines: Lines::new(text),
            whole: last.is_none_or(|last| last.item + 1 == view.entries.len()),
            tree: OnceCell::new(),
        }
    }

    fn nodes(&self) -> &Nodes {
        self.tree.get_or_init(|| {
            // The entries were read from it, so it can be read.
            let tree = compose(self.text).ok();
            tree.map(|tree| Nodes {
                scalars: scalars(&tree),
                dashes: dashes(&tree),
            })
            .unwrap_or_default()
        })
    }

    /// The comments right above an entry, and those below it that are indented like its fields.
    fn around(&self, entry: &Entry) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let start = self.start(entry);
        let first = self.lines.number(start);
        let line_start = self.lines.line(first).start;
        let indent = start - line_start;
        let leads = |c: char| c.is_whitespace() || matches!(c, '[' | '{');
        let mut above = Vec::new();
        if self.text[line_start..start].chars().all(leads) {
            let comments = (0..first).rev().map_while(|line| self.comment_line(line));
            above = comments
                .take_while(|(column, _)| *column <= indent)
                .map(|(_, comment)| comment)
                .collect();
            above.reverse();
        }
        let last = self.last_line(entry);
        let below = (last + 1..self.lines.count())
            .map_while(|line| self.comment_line(line))
            .take_while(|(column, _)| *column > indent)
            .map(|(_, comment)| comment)
            .collect();
        (above, below)
    }

    /// The comments in the lines of an entry, up to the next one.
    fn within(&self, entry: &Entry, next: usize) -> Vec<Range<usize>> {
        let line_end = self.lines.line(self.last_line(entry)).end;
        let start = self.start(entry);
        let end = line_end.min(next).max(start);
        let hashes = self.text[start..end].match_indices('#');
        let mut found: Vec<Range<usize>> = Vec::new();
        for at in hashes.map(|(at, _)| start + at) {
            let begins = self.text[..at].ends_with([' ', '\t', '\n', '\r']);
            let inside = found.last().is_some_and(|comment| comment.end > at);
            if begins && !inside && !self.in_scalar(at) {
                found.push(at..self.line_of(at).end);
            }
        }
        found
    }

    /// The last line of an entry: one that ends with a block scalar ends where the next line begins.
    fn last_line(&self, entry: &Entry) -> usize {
        let content = self.text[entry.span.clone()].trim_end();
        self.lines.number(entry.span.start + content.len())
    }

    fn line_of(&self, at: usize) -> Range<usize> {
        self.lines.line(self.lines.number(at))
    }

    fn in_scalar(&self, at: usize) -> bool {
        let entries = &self.view.entries;
        let next = entries.partition_point(|entry| entry.span.end < at);
        let between = entries.get(next).is_none_or(|entry| at < entry.span.start);
        // Behind the last entry that was kept there may be items that were not.
        if self.whole && between && next < entries.len() {
            return false;
        }
        let alone = entries.get(next).filter(|_| !between);
        if let Some(within) = alone.and_then(|entry| self.in_scalar_of(entry, at)) {
            return within;
        }
        holds(&self.nodes().scalars, at)
    }

    /// The same from the entry's own lines; `None` where they can't be read alone, for an alias or for what is before it.
    fn in_scalar_of(&self, entry: &Entry, at: usize) -> Option<bool> {
        let start = self.line_of(entry.span.start).start;
        let tree = compose(self.text.get(start..entry.span.end)?).ok()?;
        Some(holds(&scalars(&tree), at - start))
    }

    /// Where an entry begins, its dash included.
    fn start(&self, entry: &Entry) -> usize {
        let node = entry.span.start;
        let before = self.text[..node].trim_end_matches([' ', '\t']);
        if before.ends_with('-') {
            return before.len() - 1;
        }
        if before.ends_with(['[', ',', '{']) || before.is_empty() {
            return node;
        }
        let dash = self.nodes().dashes.get(entry.item).copied().flatten();
        dash.unwrap_or(node)
    }

    /// The column and the bytes of the comment that a line holds and nothing else.
    fn comment_line(&self, number: usize) -> Option<(usize, Range<usize>)> {
        let line = self.lines.line(number);
        let text = self.text[line.clone()].trim_start_matches([' ', '\t']);
        let start = line.end - text.len();
        let comment = text.starts_with('#') && !self.in_scalar(start);
        comment.then_some((start - line.start, start..line.end))
    }
}

fn holds(scalars: &[Range<usize>], at: usize) -> bool {
    let next = scalars.partition_point(|scalar| scalar.end <= at);
    let next = scalars.get(next);
    next.is_some_and(|scalar| scalar.contains(&at))
}

fn scalars(tree: &Tree) -> Vec<Range<usize>> {
    let nodes = (0..tree.len()).map(|node| tree.node(node));
    nodes
        .filter(|node| matches!(node.kind, NodeKind::Scalar { .. }))
        .map(|node| node.span.clone())
        .collect()
}

fn dashes(tree: &Tree) -> Vec<Option<usize>> {
    match tree.root.map(|root| &tree.node(root).kind) {
        Some(NodeKind::Sequence { items, .. }) => {
            items.iter().map(|item| tree.node(*item).dash).collect()
        }
        Some(NodeKind::Scalar { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. })
        | None => Vec::new(),
    }
}

/// What a comment says, on one line of any YAML.
fn words(comment: &str) -> String {
    let text = comment.trim_start_matches('#').trim();
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars()
        .map(|c| if breaks(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::aws_auth::{Document, Section};

    fn of(text: &str) -> Vec<String> {
        let data = BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]);
        let document = Document::parse(&data);
        let all = comments(text, document.section(Section::Roles));
        all.iter().map(|comments| comments.join("|")).collect()
    }

    // No line ends with a plain scalar: a quote in the next one would open nothing, and ` # z` be a comment.
    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn no_text_panics_and_scalars_hold_no_comments(
            lines in prop::collection::vec("(# above|(- rolearn: |  username: |  groups: |    |- )('a # z'|\"# z\"|\\||>|\\[é#g, '# z'\\]|\"é\"|)( #y|#|))(\r|)", 0..8),
        ) {
            let all = of(&lines.join("\n"));
            prop_assert!(!all.concat().contains('z'), "{:?}", all);
        }
    }

    #[test]
    fn comments_stand_by_entries() {
        for (text, expected) in [
            (
                "# one\n#two\n- rolearn: a # three\n  username: b\n",
                vec!["one|two|three"],
            ),
            ("# of the whole\n\n# one\n- rolearn: a\n", vec!["one"]),
            (
                "- rolearn: a\n  # of a\n# of b\n- rolearn: b\n",
                vec!["of a", "of b"],
            ),
            (
                "- rolearn: a\n  groups:\n  # within\n  - g # g\n- rolearn: b\n# after\n",
                vec!["within|g", ""],
            ),
            (
                "-\n  rolearn: a\n# of b\n-\n  # first\n  rolearn: b\n",
                vec!["", "of b|first"],
            ),
            (
                "- rolearn: 'a # no'\n  username: b#no\n  groups: [\"# no\"] # yes # still\n",
                vec!["yes # still"],
            ),
            (
                "- rolearn: | #y\r\n    'a # z' #y\r\n- 'a # z' #y\r",
                vec![""],
            ),
            (
                "- rolearn: a\n  username: |\n    # no\n  # yes\n- rolearn: b\n",
                vec!["yes", ""],
            ),
            (
                "# both\n- rolearn: x\n  sso: [] # mistyped\n# of b\n- rolearn: b\n",
                vec!["of b"],
            ),
            ("[{rolearn: a}, {rolearn: b}] # end\n", vec!["", "end"]),
            (
                "# first\r\n- rolearn: a # a\r\n\r\n# second\r\n- rolearn: b\r\n",
                vec!["first|a", "second"],
            ),
            ("- rolearn: a #tab\there\n", vec!["tab here"]),
            ("- rolearn: a\n#\n- rolearn: b\n", vec!["", ""]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
