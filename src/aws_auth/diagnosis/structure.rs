//! The intended role of each line: which entry it belongs to, and as which field.

use std::collections::BTreeSet;

use super::content::{LineContent, ParsedLine, parse};
use super::defect::{Defect, DefectKind};
use super::normal::DraftLine;
use super::{field_name, is_arn_field};
use crate::aws_auth::Section;

/// An entry has four fields. So many are looked at, and taken apart where they are in one line: what has more is no entry, and the time
/// must not grow with the square of their number.
const MOST_FIELDS: usize = 32;

/// What a line is to its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineRole {
    /// The line with the dash.
    Start,
    Field,
    /// An item of the list that a field holds.
    Item,
    /// The rest of the value above, moved with it.
    Continuation,
    /// A comment, a blank line, or what can't be placed.
    Outside,
}

/// A line with its place in the structure.
#[derive(Clone, Debug)]
pub(super) struct PlacedLine {
    pub(super) origin: usize,
    pub(super) entry: usize,
    pub(super) role: LineRole,
    /// The column of its first dash, or of its content.
    pub(super) column: usize,
    /// Columns from there to the content; 0 without a dash.
    pub(super) lead: usize,
    /// Whether the dash was in the text.
    pub(super) dashed: bool,
    /// Without indentation and dash.
    pub(super) text: String,
    pub(super) inserted: bool,
}

/// The structure of a section.
#[derive(Default)]
pub(super) struct Structure {
    pub(super) lines: Vec<PlacedLine>,
    pub(super) defects: Vec<Defect>,
    /// Something that this reading does not understand: nothing is sure then.
    pub(super) exotic: bool,
}

pub(super) struct StructureReader<'l> {
    section: Section,
    pub(super) drafts: &'l [DraftLine],
    pub(super) parsed: Vec<ParsedLine>,
    pub(super) out: Structure,
    entry: Option<usize>,
    /// The column of the dash of the entry.
    start: usize,
    seen: BTreeSet<String>,
    /// The field that holds the list or value that the next lines belong to.
    open: Option<OpenField>,
}

struct OpenField {
    name: String,
    has_value: bool,
    items: usize,
    column: usize,
}

/// Reads the structure from lines whose characters are in order.
pub(super) fn structure(section: Section, drafts: &[DraftLine]) -> Structure {
    let mut builder = StructureReader {
        section,
        drafts,
        parsed: Vec::new(),
        out: Structure::default(),
        entry: None,
        start: 0,
        seen: BTreeSet::new(),
        open: None,
    };
    let mut in_list = section == Section::Accounts;
    for (at, draft) in drafts.iter().enumerate() {
        let parsed = parse(draft.content(), in_list && !heads_list(drafts, at));
        if let LineContent::Field { name, has_value } = &parsed.content {
            in_list = !has_value && name == "groups";
        }
        builder.parsed.push(parsed);
    }
    let mut at = 0;
    while at < drafts.len() {
        at = builder.line(at);
    }
    builder.out
}

/// Whether a line with a dash has list items below it, further to the right: it is a field then, and no item itself.
fn heads_list(drafts: &[DraftLine], at: usize) -> bool {
    let line = &drafts[at];
    // Asked first: behind a thousand blank lines nothing is looked for a thousand times.
    if !line.content().starts_with('-') {
        return false;
    }
    let next = drafts[at + 1..].iter().find(|next| !next.is_blank());
    next.is_some_and(|next| next.content().starts_with("- ") && next.indent() > line.indent())
}

impl StructureReader<'_> {
    fn line(&mut self, at: usize) -> usize {
        let draft = &self.drafts[at];
        if draft.is_blank() || is_document_mark(&draft.text) {
            self.push(at, LineRole::Outside, None);
            return at + 1;
        }
        if self.section == Section::Accounts {
            return self.account(at);
        }
        let parsed = self.parsed[at].clone();
        if let LineContent::Field { name, has_value } = &parsed.content {
            if is_section_key(name) {
                return self.nested(at, name);
            }
            return self.field(at, &parsed, name, *has_value);
        }
        if parsed.dashes > 0 {
            return self.item(at, &parsed);
        }
        self.text(at, &parsed);
        at + 1
    }

    fn report(&mut self, kind: DefectKind, at: usize, text: &str) {
        self.out
            .defects
            .push(Defect::new(kind, self.drafts[at].origin, text));
    }

    /// Takes a line into the structure, with the faults that it has within.
    pub(super) fn push(&mut self, at: usize, role: LineRole, parsed: Option<&ParsedLine>) {
        let draft = &self.drafts[at];
        let column = draft.indent();
        if role == LineRole::Start {
            self.start = column;
        }
        let mut placed = PlacedLine {
            origin: draft.origin,
            entry: self.entry.unwrap_or_default(),
            role,
            column,
            lead: 0,
            dashed: false,
            text: draft.content().trim_end().to_owned(),
            inserted: false,
        };
        if let Some(parsed) = parsed {
            placed.text.clone_from(&parsed.text);
            placed.dashed = parsed.dashes > 0;
            placed.lead = parsed.lead;
            for (kind, text) in &parsed.defects {
                self.out
                    .defects
                    .push(Defect::new(kind.clone(), draft.origin, text.clone()));
            }
            if draft.text[..column].contains('\t') {
                self.out.defects.push(Defect::new(
                    DefectKind::Tab,
                    draft.origin,
                    draft.text.clone(),
                ));
            }
        }
        self.out.lines.push(placed);
    }

    /// Another key within this one: what follows belongs elsewhere.
    fn nested(&mut self, at: usize, name: &str) -> usize {
        let key = self.parsed[at].text.split(':').next().unwrap_or_default();
        let key = key.trim_matches(['"', '\'']).to_owned();
        if field_name(self.section.key()) == name && self.entry.is_none() {
            self.report(
                DefectKind::OwnKey {
                    key: self.section.key(),
                },
                at,
                "",
            );
            return at + 1;
        }
        self.report(DefectKind::NestedKey { key }, at, "");
        if let Some(defect) = self.out.defects.last_mut() {
            let last = self.drafts.last().map_or(0, |last| last.origin);
            defect.through = last.max(defect.line);
        }
        self.drafts.len()
    }

    fn field(&mut self, at: usize, parsed: &ParsedLine, name: &str, has_value: bool) -> usize {
        if let Some(group) = self.group_as_field(at, parsed, name) {
            let kind = DefectKind::GroupAsField {
                group: group.clone(),
            };
            self.report(kind, at, "");
            self.push(
                at,
                LineRole::Item,
                Some(&ParsedLine {
                    dashes: 1,
                    lead: parsed.lead.max(2),
                    text: group,
                    ..parsed.clone()
                }),
            );
            return at + 1;
        }
        if name == "sso" {
            self.out.exotic = true;
        }
        let mut role = LineRole::Field;
        let mut dashes = parsed.dashes;
        if dashes > 1 {
            self.report(DefectKind::ExtraDash, at, "");
            dashes = 1;
        }
        if dashes == 1 && self.entry.is_some() && self.continues(at) {
            self.report(DefectKind::ExtraDash, at, "");
        } else if dashes == 1 {
            role = LineRole::Start;
        } else if self.entry.is_none() || self.begins(at, name) {
            self.report(DefectKind::MissingDash { what: "the entry" }, at, "");
            role = LineRole::Start;
        }
        if role == LineRole::Start {
            self.entry = Some(self.entry.map_or(0, |entry| entry + 1));
            self.seen.clear();
        }
        self.seen.insert(name.to_owned());
        self.push(at, role, Some(parsed));
        let column = self.drafts[at].indent() + if parsed.dashes > 0 { parsed.lead } else { 0 };
        if let Some(placed) = self.out.lines.last_mut()
            && parsed.dashes > 0
            && role == LineRole::Field
        {
            placed.column = column;
            placed.lead = 0;
            placed.dashed = false;
        }
        self.open = Some(OpenField {
            name: name.to_owned(),
            has_value,
            items: 0,
            column,
        });
        if let Some(rest) = &parsed.rest {
            self.rest(at, rest);
        }
        self.value_lines(at, parsed, column)
    }

    /// The group that a line in a list of groups names, although it is written as a field: `dev: true`, `- name: dev`.
    fn group_as_field(&self, at: usize, parsed: &ParsedLine, name: &str) -> Option<String> {
        let open = self.open.as_ref()?;
        let column = self.drafts[at].indent();
        let is_within = if parsed.dashes == 0 {
            column > open.column
        } else {
            parsed.dashes == 1 && column > self.start && column >= open.column
        };
        if open.name != "groups" || open.has_value || super::is_field(name) || !is_within {
            return None;
        }
        let (key, value) = parsed.text.split_once(':')?;
        let value = value.trim();
        let is_label = matches!(name, "name" | "group" | "groupname");
        let is_flag = matches!(value, "" | "true" | "{}" | "~" | "null");
        let group = match (is_label, is_flag) {
            (true, false) => value,
            (false, true) => key,
            (_, _) => return None,
        };
        let is_name = group
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"[]{}&*!|>".contains(&b));
        is_name.then(|| group.to_owned())
    }

    /// What of a line goes into a line of its own: further fields, or the first item of a list.
    fn rest(&mut self, at: usize, rest: &str) {
        let origin = self.drafts[at].origin;
        let entry = self.entry.unwrap_or_default();
        let mut rest = rest.to_owned();
        for number in 1.. {
            let mut parsed = parse(&rest, true);
            if number == MOST_FIELDS {
                (parsed.text, parsed.rest) = (rest.clone(), None);
            }
            let is_item = parsed.dashes > 0;
            let column = self.open.as_ref().map_or(0, |open| open.column);
            if let LineContent::Field { name, has_value } = &parsed.content {
                self.seen.insert(name.clone());
                self.open = Some(OpenField {
                    name: name.clone(),
                    has_value: *has_value,
                    items: 0,
                    column,
                });
            }
            self.out.lines.push(PlacedLine {
                origin,
                entry,
                role: if is_item {
                    LineRole::Item
                } else {
                    LineRole::Field
                },
                column,
                lead: parsed.lead,
                dashed: is_item,
                text: parsed.text.clone(),
                inserted: true,
            });
            for (kind, text) in parsed.defects {
                if !matches!(kind, DefectKind::JoinedFields { .. }) {
                    self.out.defects.push(Defect::new(kind, origin, text));
                }
            }
            match parsed.rest {
                Some(more) => rest = more,
                None => return,
            }
        }
    }

    /// Lines that belong to a value which does not end in its own: block scalars, brackets and quotes over several lines.
    fn value_lines(&mut self, at: usize, parsed: &ParsedLine, column: usize) -> usize {
        let value = parsed
            .text
            .split_once(": ")
            .map_or("", |(_, value)| value.trim());
        if value.starts_with(['|', '>']) {
            let mut next = at + 1;
            while next < self.drafts.len()
                && (self.drafts[next].text.trim().is_empty() || self.drafts[next].indent() > column)
            {
                self.push(next, LineRole::Continuation, None);
                next += 1;
            }
            return next;
        }
        if value.starts_with(['&', '*', '!']) {
            self.out.exotic = true;
        }
        self.brackets(at, value)
    }

    /// The names of the fields from a line on to the next one with a dash before a field, or to the end.
    fn segment(&self, at: usize) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for parsed in self.parsed[at..].iter().enumerate() {
            let (number, parsed) = parsed;
            if let LineContent::Field { name, .. } = &parsed.content {
                if number > 0 && (parsed.dashes > 0 || names.contains(name)) || is_section_key(name)
                {
                    break;
                }
                names.insert(name.clone());
            }
            if names.len() >= MOST_FIELDS {
                break;
            }
        }
        names
    }

    /// Whether a line with a dash continues the entry above: together they are one, and alone neither is whole.
    fn continues(&self, at: usize) -> bool {
        let segment = self.segment(at);
        let has_arn = |names: &BTreeSet<String>| names.iter().any(|name| is_arn_field(name));
        let whole = has_arn(&self.seen) && has_arn(&segment);
        let known = segment.iter().all(|name| super::is_field(name));
        known
            && !whole
            && (has_arn(&self.seen) || has_arn(&segment) || segment.len() == 1)
            && self.seen.is_disjoint(&segment)
    }

    /// Whether a line without a dash begins an entry: the field is there already, and an ARN of its own follows.
    fn begins(&self, at: usize, name: &str) -> bool {
        let has_arn = self.seen.iter().any(|name| is_arn_field(name));
        if is_arn_field(name) {
            // An ARN alone behind whole fields is given twice.
            let others = self.seen.iter().any(|name| !is_arn_field(name));
            return has_arn && others && self.segment(at).len() > 1;
        }
        self.seen.contains(name) && self.segment(at).iter().any(|name| is_arn_field(name))
    }

    /// Whether a line begins an entry although its field is not recognised: fields without a dash follow it that the entry above has
    /// already. Never a group of the entry above: it would lose its fields to this one.
    fn heads_entry(&self, at: usize, parsed: &ParsedLine, is_at_start: bool) -> bool {
        if !is_at_start && !parsed.text.contains("arn:") {
            return false;
        }
        let next = (at + 1..self.drafts.len()).find(|next| !self.drafts[*next].is_blank());
        next.is_some_and(|next| {
            let next = &self.parsed[next];
            let LineContent::Field { name, .. } = &next.content else {
                return false;
            };
            next.dashes == 0 && self.seen.contains(name)
        })
    }

    fn begin_unknown(&mut self, at: usize, parsed: &ParsedLine) {
        self.entry = Some(self.entry.map_or(0, |entry| entry + 1));
        self.seen.clear();
        self.open = None;
        self.out.exotic = true;
        self.push(at, LineRole::Start, Some(parsed));
    }

    fn item(&mut self, at: usize, parsed: &ParsedLine) -> usize {
        let is_open = self.open.as_ref().is_some_and(|open| !open.has_value);
        let lacks_groups = self.open.as_ref().is_some_and(|open| {
            open.has_value && (open.name == "username" || is_arn_field(&open.name))
        }) && !self.seen.contains("groups");
        let is_arn = parsed.text.starts_with("arn:");
        let is_flow =
            parsed.text.starts_with(['{', '[', '&', '*', '!']) && !parsed.text.starts_with("{{");
        let is_at_start = self.entry.is_some() && self.drafts[at].indent() <= self.start;
        let is_entry = if parsed.text.is_empty() || is_flow {
            // An entry in one line, or one whose fields start in the next.
            is_flow || !is_open || is_at_start
        } else {
            is_open && self.heads_entry(at, parsed, is_at_start)
        };
        if is_entry {
            self.entry = Some(self.entry.map_or(0, |entry| entry + 1));
            self.seen.clear();
            if parsed.text.starts_with('{') {
                // Whole by itself, so that nothing behind it belongs to it.
                self.seen.extend(super::FIELDS.map(str::to_owned));
            }
            self.open = None;
            self.out.exotic |= !parsed.text.starts_with('{');
            self.push(at, LineRole::Start, Some(parsed));
            return self.brackets(at, &parsed.text);
        }
        if self.entry.is_none() || (is_arn && !is_open) || !(is_open || lacks_groups) {
            self.push(at, LineRole::Outside, Some(parsed));
            return at + 1;
        }
        if !is_open {
            let origin = self.drafts[at].origin;
            let column = self
                .out
                .lines
                .last()
                .map_or(0, |line| line.column + line.lead);
            self.out
                .defects
                .push(Defect::new(DefectKind::MissingGroups, origin, ""));
            self.out.lines.push(PlacedLine {
                origin,
                entry: self.entry.unwrap_or_default(),
                role: LineRole::Field,
                column,
                lead: 0,
                dashed: false,
                text: "groups:".to_owned(),
                inserted: true,
            });
            self.seen.insert("groups".to_owned());
            self.open = Some(OpenField {
                name: "groups".to_owned(),
                has_value: false,
                items: 0,
                column,
            });
        }
        if parsed.dashes > 1 {
            self.report(DefectKind::ExtraDash, at, "");
        }
        if let Some(open) = &mut self.open {
            open.items += 1;
        }
        self.push(at, LineRole::Item, Some(parsed));
        let origin = self.drafts[at].origin;
        let last = self.out.defects.iter_mut().rev();
        if let Some(defect) = last.take(4).find(|it| it.kind == DefectKind::MissingGroups) {
            defect.through = origin;
        }
        at + 1
    }

    fn text(&mut self, at: usize, parsed: &ParsedLine) {
        let is_object = parsed.text.starts_with('{') && !parsed.text.starts_with("{{");
        if is_object && self.entry.is_some() {
            self.report(DefectKind::MissingDash { what: "the entry" }, at, "");
            self.entry = Some(self.entry.map_or(0, |entry| entry + 1));
            self.seen.clear();
            self.open = None;
            let mut parsed = parsed.clone();
            parsed.text = parsed.text.trim_end_matches(',').to_owned();
            self.push(at, LineRole::Start, Some(&parsed));
            return;
        }
        if self.entry.is_none() {
            self.out.exotic |= parsed
                .text
                .starts_with(['[', '{', '&', '!', '|', '>', '"', '\'']);
            self.push(at, LineRole::Outside, Some(parsed));
            return;
        }
        let is_group = self
            .open
            .as_ref()
            .is_some_and(|open| open.name == "groups" && !open.has_value);
        let is_at_start = self.drafts[at].indent() <= self.start;
        if is_group && self.heads_entry(at, parsed, is_at_start) {
            self.begin_unknown(at, parsed);
            return;
        }
        if is_group && !parsed.text.starts_with(['[', '&', '*', '!']) {
            self.report(DefectKind::MissingDash { what: "the group" }, at, "");
            if let Some(open) = &mut self.open {
                open.items += 1;
            }
            self.push(at, LineRole::Item, Some(parsed));
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.name == "groups") {
            self.out.exotic = true;
        }
        self.push(at, LineRole::Continuation, None);
    }

    fn account(&mut self, at: usize) -> usize {
        let parsed = self.parsed[at].clone();
        if let LineContent::Field { name, .. } = &parsed.content
            && is_section_key(name)
        {
            return self.nested(at, name);
        }
        if parsed.text.starts_with(['[', '&', '*', '!']) {
            self.out.exotic = true;
        }
        if parsed.dashes > 1 {
            self.report(DefectKind::ExtraDash, at, "");
        }
        if parsed.dashes == 0 && !parsed.text.starts_with(['[', ']', '{']) {
            self.report(
                DefectKind::MissingDash {
                    what: "the account",
                },
                at,
                "",
            );
        }
        self.entry = Some(self.entry.map_or(0, |entry| entry + 1));
        self.push(at, LineRole::Start, Some(&parsed));
        at + 1
    }
}

fn is_document_mark(line: &str) -> bool {
    let line = line.trim_end();
    line == "---" || line == "..." || line.starts_with("--- ") || line.starts_with('%')
}

/// Keys of the manifest, which do not belong into a value.
fn is_section_key(name: &str) -> bool {
    let is_section = Section::ALL
        .iter()
        .any(|section| field_name(section.key()) == name);
    is_section || matches!(name, "apiversion" | "kind" | "metadata" | "data")
}
