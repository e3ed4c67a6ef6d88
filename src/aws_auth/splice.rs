//! Where bytes are inserted and removed: the plan of an edit of one section's text.
//!
//! A block item is whole lines, from the line of its dash to the line of its last token; comments on lines between
//! items belong to nobody and stay. A flow item is its own bytes and one comma; the last of an emptied line takes the line along.

use std::ops::Range;

use super::NewEntry;
use super::render::{self, Layout};
use crate::yaml::{Node, NodeId, NodeKind, Style, Tree};

/// What becomes of an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate<'c> {
    Keep,
    Remove,
    Replace(&'c NewEntry),
}

/// Bytes to take out and text to put in their place.
#[derive(Debug)]
struct Splice {
    range: Range<usize>,
    text: String,
}

/// A text that is being edited.
pub(super) struct Editor<'t> {
    text: &'t str,
    tree: &'t Tree,
    splices: Vec<Splice>,
    /// Where each line but the first starts, as YAML 1.1 has lines.
    lines: Vec<usize>,
}

/// Why a text can't be edited: the byte that prevents it, and what it is.
pub(super) struct SpliceObstacle {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

impl<'t> Editor<'t> {
    pub(super) fn new(text: &'t str, tree: &'t Tree) -> Editor<'t> {
        let bytes = text.as_bytes();
        let lines = text
            .char_indices()
            .filter(|(i, c)| is_break(*c) && !(*c == '\r' && bytes.get(i + 1) == Some(&b'\n')))
            .map(|(i, c)| i + c.len_utf8())
            .collect();
        Editor {
            text,
            tree,
            splices: Vec::new(),
            lines,
        }
    }

    /// The edited text.
    pub(super) fn apply(mut self) -> String {
        self.splices.sort_by_key(|s| (s.range.start, s.range.end));
        let mut out = String::with_capacity(self.text.len());
        let mut at = 0;
        for splice in &self.splices {
            let start = splice.range.start.max(at);
            out.push_str(&self.text[at..start]);
            out.push_str(&splice.text);
            at = splice.range.end.max(start);
        }
        out.push_str(&self.text[at..]);
        out
    }

    fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.splices.push(Splice {
            range,
            text: text.into(),
        });
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Entries where no list is yet.
    pub(super) fn fill(&mut self, appends: &[&NewEntry]) {
        let root = self.tree.root.map(|root| self.tree.node(root));
        match root {
            // A null that is written out gives way to a list in its place.
            Some(node) if !node.span.is_empty() => {
                let items: Vec<String> = appends.iter().map(|e| render::flow(e)).collect();
                self.replace(node.span.clone(), format!("[{}]", items.join(", ")));
            }
            _ => {
                let layout = Layout {
                    indent: String::new(),
                    eol: line_ending(self.text),
                };
                // `---` and the comments behind it stay before the list, `...` and what follows behind it.
                let end = if self.tree.root.is_some() {
                    self.tree.end
                } else {
                    self.text.len()
                };
                self.insert_lines(end, appends, &layout, end == self.text.len());
            }
        }
    }

    /// Puts entries on lines of their own at `at`, which is the start of a line or the end of the text.
    fn insert_lines(&mut self, at: usize, appends: &[&NewEntry], layout: &Layout, ends_text: bool) {
        let starts_line = self.is_line_start(at);
        let mut out = String::new();
        for entry in appends {
            if !starts_line {
                out.push_str(layout.eol);
            }
            out.push_str(&layout.indent);
            out.push_str(&render::block(entry, layout));
            if starts_line {
                out.push_str(layout.eol);
            }
        }
        // A text that ends without a line ending goes on doing so.
        if starts_line && ends_text && !self.text.is_empty() && !ends_with_break(self.text) {
            out.truncate(out.len() - layout.eol.len());
        }
        self.insert(at, out);
    }

    /// Whether a line starts here; a byte order mark before it doesn't count.
    fn is_line_start(&self, at: usize) -> bool {
        let before = &self.text[..at];
        before.is_empty() || before == "\u{feff}" || ends_with_break(before)
    }

    /// Edits a block list.
    pub(super) fn block_list(
        &mut self,
        items: &[NodeId],
        fates: &[Fate<'_>],
        appends: &[&NewEntry],
    ) -> Result<(), SpliceObstacle> {
        let regions: Vec<Region> = items
            .iter()
            .map(|item| self.region(self.tree.node(*item)))
            .collect();
        let Some((first, last)) = regions.first().zip(regions.last()) else {
            return Ok(());
        };
        let layout = Layout {
            indent: self.text[first.start..first.dash].to_owned(),
            eol: line_ending(self.text),
        };
        if !layout.indent.bytes().all(|b| b == b' ') {
            let what = "the line of the first item starts with something other than blanks";
            return Err(SpliceObstacle {
                at: first.start,
                what,
            });
        }
        for (index, (region, fate)) in regions.iter().zip(fates).enumerate() {
            match fate {
                Fate::Keep => {}
                Fate::Remove => {
                    let mut end = region.end;
                    // Empty lines behind a block scalar can be part of it: they must not come to stand behind one.
                    if index
                        .checked_sub(1)
                        .is_some_and(|before| regions[before].ends_in_block)
                    {
                        end = self.skip_empty_lines(end);
                    }
                    self.replace(region.start..end, "");
                }
                Fate::Replace(entry) => {
                    let mut text = render::block(entry, &layout);
                    if ends_with_break(&self.text[region.start..region.end]) {
                        text.push_str(layout.eol);
                    }
                    self.replace(region.dash..region.end, text);
                }
            }
        }
        let emptied = fates.iter().all(|f| matches!(f, Fate::Remove));
        if appends.is_empty() {
            if emptied && self.needs_brackets() {
                self.insert(first.start, format!("{}[]{}", layout.indent, layout.eol));
            }
            return Ok(());
        }
        let end = last.end;
        let removed = matches!(fates.last(), Some(Fate::Remove));
        if removed {
            // Its lines are gone: the new ones take their place.
            let mut lines: Vec<String> = Vec::new();
            for entry in appends {
                lines.push(format!(
                    "{}{}",
                    layout.indent,
                    render::block(entry, &layout)
                ));
            }
            let mut text = lines.join(layout.eol);
            if ends_with_break(&self.text[last.start..end]) {
                text.push_str(layout.eol);
            }
            self.insert(last.start, text);
            return Ok(());
        }
        let kept = matches!(fates.last(), Some(Fate::Keep));
        if kept && last.ends_in_block && !self.is_line_start(end) {
            let what = "the last entry ends in a block scalar without a line ending, and a line ending would become part of it";
            return Err(SpliceObstacle {
                at: last.start,
                what,
            });
        }
        self.insert_lines(end, appends, &layout, end == self.text.len());
        Ok(())
    }

    /// Whether the text, left without items, would be read as something other than an empty list.
    fn needs_brackets(&self) -> bool {
        let root = self.tree.root.map(|root| self.tree.node(root));
        let first_dash = root.and_then(|root| match &root.kind {
            NodeKind::Sequence { items, .. } => {
                items.first().and_then(|item| self.tree.node(*item).dash)
            }
            NodeKind::Scalar { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. } => None,
        });
        // An anchor or a tag before the list, or another document behind it.
        root.is_some_and(|root| Some(root.span.start) != first_dash)
            || self.tree.end < self.text.len()
    }

    fn region(&self, item: &Node) -> Region {
        let dash = item.dash.unwrap_or(item.span.start);
        let content_end = item.span.end.max(dash + 1);
        let start = self.line_start(dash);
        let ends_in_block = self.is_line_start(content_end) || self.ends_in_block(item);
        let end = if self.is_line_start(content_end) {
            content_end
        } else {
            self.line_end(content_end)
        };
        Region {
            start,
            dash,
            end,
            ends_in_block,
        }
    }

    /// Whether the last scalar in a node is a block scalar.
    fn ends_in_block(&self, node: &Node) -> bool {
        let mut node = node;
        loop {
            let last = match &node.kind {
                NodeKind::Sequence { items, .. } => items.last(),
                NodeKind::Mapping { pairs, .. } => pairs.last(),
                NodeKind::Scalar { style, .. } => return *style == Style::Block,
                NodeKind::Alias { .. } => return false,
            };
            match last {
                Some(last) => node = self.tree.node(*last),
                None => return false,
            }
        }
    }

    /// The start of the line of `at`, behind a byte order mark.
    fn line_start(&self, at: usize) -> usize {
        let next = self.lines.partition_point(|start| *start <= at);
        next.checked_sub(1)
            .map_or(self.text_start(), |line| self.lines[line])
    }

    fn text_start(&self) -> usize {
        if self.text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        }
    }

    /// The end of the line of `at`, behind its line ending.
    fn line_end(&self, at: usize) -> usize {
        let next = self.lines.partition_point(|start| *start <= at);
        self.lines.get(next).copied().unwrap_or(self.text.len())
    }

    fn skip_empty_lines(&self, at: usize) -> usize {
        let mut at = at;
        while at < self.text.len() {
            let end = self.line_end(at);
            let line = &self.text[at..end];
            // Blanks without a line ending are part of no scalar, and not ours.
            if !line.chars().all(|c| c == ' ' || is_break(c)) || !ends_with_break(line) {
                break;
            }
            at = end;
        }
        at
    }

    /// Edits a flow list.
    pub(super) fn flow_list(
        &mut self,
        list: &Node,
        items: &[NodeId],
        fates: &[Fate<'_>],
        appends: &[&NewEntry],
    ) {
        let spans: Vec<Range<usize>> = items
            .iter()
            .map(|item| self.tree.node(*item).span.clone())
            .collect();
        let close = list.span.end - 1;
        // The comma behind each item; there may be none behind the last.
        let commas: Vec<Option<usize>> = (0..spans.len())
            .map(|i| {
                self.find_comma(
                    spans[i].end,
                    spans.get(i + 1).map_or(close, |next| next.start),
                )
            })
            .collect();
        let new: Vec<String> = appends.iter().map(|e| render::flow(e)).collect();
        // New entries take the place of a last one that goes, comma and all.
        let succeeded = !new.is_empty() && matches!(fates.last(), Some(Fate::Remove));
        let last_kept = fates
            .iter()
            .rposition(|f| !matches!(f, Fate::Remove))
            .max(succeeded.then(|| fates.len() - 1));
        let trailing = commas.last().copied().flatten();
        for (i, fate) in fates.iter().enumerate() {
            match fate {
                Fate::Keep => {}
                Fate::Replace(entry) => self.replace(spans[i].clone(), render::flow(entry)),
                Fate::Remove if succeeded && i + 1 == fates.len() => {
                    self.replace(spans[i].clone(), new.join(", "));
                }
                Fate::Remove => {
                    // A list that ends with a comma goes on doing so.
                    let comma = if trailing.is_some() || last_kept.is_none_or(|last| i < last) {
                        commas[i]
                    } else {
                        commas[i - 1]
                    };
                    self.remove_flow_item(&spans[i], comma);
                }
            }
        }
        if new.is_empty() || succeeded {
            return;
        }
        let Some(tail) = last_kept else {
            // Behind the opening bracket.
            let open = self.open_bracket(list, spans.first().map_or(close, |first| first.start));
            self.insert(open + 1, new.join(", "));
            return;
        };
        let own_line = self.text[self.line_start(spans[tail].start)..spans[tail].start]
            .bytes()
            .all(|b| b == b' ');
        let line_end = self.line_end(spans[tail].end);
        if own_line && line_end <= close && spans.len() == tail + 1 {
            let indent = &self.text[self.line_start(spans[tail].start)..spans[tail].start];
            let eol = line_ending(self.text);
            let before_break = line_end - break_len(&self.text[..line_end]);
            let lines: Vec<String> = new
                .iter()
                .map(|item| format!("{eol}{indent}{item}"))
                .collect();
            if trailing.is_none() {
                self.insert(spans[tail].end, ",");
            }
            // The comma of a list that ends with one goes behind the new last item.
            let end = if trailing.is_some_and(|comma| comma < before_break) {
                ","
            } else {
                ""
            };
            self.insert(before_break, format!("{}{end}", lines.join(",")));
            return;
        }
        match trailing {
            // Behind the comma that is there already, and with one of its own.
            Some(comma) => self.insert(comma + 1, format!(" {},", new.join(", "))),
            None => self.insert(spans[tail].end, format!(", {}", new.join(", "))),
        }
    }

    fn remove_flow_item(&mut self, item: &Range<usize>, comma: Option<usize>) {
        let is_blank = |b: Option<u8>| matches!(b, Some(b' ' | b'\t'));
        let (mut start, mut end) = (item.start, item.end);
        match comma {
            Some(comma) if comma >= item.end => {
                if self.text[item.end..comma]
                    .bytes()
                    .all(|b| b == b' ' || b == b'\t')
                {
                    end = comma + 1;
                } else {
                    self.replace(comma..comma + 1, "");
                }
            }
            Some(comma) => {
                if self.text[comma + 1..item.start]
                    .bytes()
                    .all(|b| b == b' ' || b == b'\t')
                {
                    start = comma;
                } else {
                    self.replace(comma..comma + 1, "");
                }
            }
            None => {}
        }
        let line = self.line_start(start);
        let mut after = end;
        while is_blank(self.byte(after)) {
            after += 1;
        }
        let alone = self.text[line..start]
            .bytes()
            .all(|b| b == b' ' || b == b'\t')
            && line > 0;
        let line_end = self.line_end(end);
        if alone && after + break_len(&self.text[..line_end]) == line_end {
            (start, end) = (line, line_end);
        } else if comma.is_some_and(|comma| comma >= item.end) {
            end = after;
        }
        self.replace(start..end, "");
    }

    /// The comma between two places that hold nothing else but blanks, line breaks and comments.
    fn find_comma(&self, from: usize, to: usize) -> Option<usize> {
        let mut at = from;
        while at < to {
            match self.byte(at)? {
                b',' => return Some(at),
                b'#' => at = self.line_end(at),
                _ => at += 1,
            }
        }
        None
    }

    /// The opening bracket of a flow list, behind its anchor and tag.
    fn open_bracket(&self, list: &Node, before: usize) -> usize {
        let mut at = list.span.start;
        while at < before {
            match self.byte(at) {
                Some(b'[') if at == list.span.start || self.byte(at - 1) != Some(b'!') => {
                    return at;
                }
                Some(b'#') => at = self.line_end(at),
                // A tag can hold brackets, and ends with a blank.
                Some(b'!' | b'&') => {
                    while self.text[at..]
                        .chars()
                        .next()
                        .is_some_and(|c| c != ' ' && c != '\t' && !is_break(c))
                    {
                        at += 1;
                        while !self.text.is_char_boundary(at) {
                            at += 1;
                        }
                    }
                }
                _ => at += 1,
            }
        }
        before
    }
}

/// The lines of a block item.
struct Region {
    /// Start of the line of the dash.
    start: usize,
    dash: usize,
    /// End of the last line, behind its line ending.
    end: usize,
    ends_in_block: bool,
}

/// What ends a line in YAML 1.1.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn ends_with_break(text: &str) -> bool {
    text.ends_with(is_break)
}

/// Bytes of the line ending at the end of a text; 0 where there is none.
fn break_len(text: &str) -> usize {
    if text.ends_with("\r\n") {
        2
    } else {
        text.chars()
            .next_back()
            .filter(|c| is_break(*c))
            .map_or(0, char::len_utf8)
    }
}

/// The line ending of a text: that of its first line.
fn line_ending(text: &str) -> &'static str {
    match text.find(['\n', '\r']) {
        Some(at) if text[at..].starts_with("\r\n") => "\r\n",
        Some(at) if text[at..].starts_with('\r') => "\r",
        _ => "\n",
    }
}
