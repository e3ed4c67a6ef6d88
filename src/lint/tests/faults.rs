//! Faults of many kinds, put into right documents at random places: each has to be named, in its line, and each concrete fix has to work.

use std::collections::BTreeMap;

use super::super::Severity;
use super::super::check;
use super::super::code::Code::{self, *};
use super::super::finding::Edit;
use super::super::read::PlacedDocument;
use super::{config_map, source};
use crate::aws_auth::Section;
use crate::yaml::Lines;

/// Documents for each kind of fault.
const ROUNDS: u64 = 40;
/// The line of the manifest in which the value begins.
const FIRST: usize = 8;

/// A small generator of numbers (Knuth's MMIX constants).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Arn,
    Username,
    Groups,
    Item,
}

#[derive(Clone, Debug)]
pub(super) struct DocLine {
    entry: usize,
    part: Part,
    /// The line begins an entry.
    starts: bool,
    column: usize,
    text: String,
}

impl DocLine {
    fn written(&self) -> String {
        let dash = if self.starts || self.part == Part::Item {
            "- "
        } else {
            ""
        };
        format!("{}{dash}{}", " ".repeat(self.column), self.text)
    }
}

/// A right document of three or four entries, each with an ARN, a username and two or three groups.
pub(super) fn document(dice: &mut Dice) -> Vec<DocLine> {
    let dash = *dice.pick(&[0, 0, 2]);
    let item = *dice.pick(&[0, 2]);
    let mut lines = Vec::new();
    for entry in 0..3 + dice.roll(2) {
        let node = entry == 0;
        let mut order = [Part::Arn, Part::Username, Part::Groups];
        let swap = dice.roll(3);
        order.swap(swap, dice.roll(3));
        for (number, part) in order.into_iter().enumerate() {
            let text = match part {
                Part::Arn => format!("rolearn: arn:aws:iam::111122223333:role/team-{entry}"),
                Part::Username if node => "username: system:node:{{EC2PrivateDNSName}}".to_owned(),
                Part::Username => format!("username: dev{entry}:{{{{SessionName}}}}"),
                Part::Groups | Part::Item => "groups:".to_owned(),
            };
            let starts = number == 0;
            lines.push(DocLine {
                entry,
                part,
                starts,
                column: if starts { dash } else { dash + 2 },
                text,
            });
            if part == Part::Groups {
                let names: &[&str] = if node {
                    &["system:bootstrappers", "system:nodes"]
                } else {
                    &["developers", "viewers", "deployers"]
                };
                for name in names {
                    lines.push(DocLine {
                        entry,
                        part: Part::Item,
                        starts: false,
                        column: dash + 2 + item,
                        text: (*name).to_owned(),
                    });
                }
            }
        }
    }
    lines
}

/// A line of this part, of an entry for people where it matters.
fn line_of(doc: &[DocLine], dice: &mut Dice, part: Part) -> usize {
    let found: Vec<usize> = (0..doc.len())
        .filter(|at| doc[*at].part == part && doc[*at].entry > 0)
        .collect();
    *dice.pick(&found)
}

/// A text with a fault, and the line of it, counted from 0.
pub(super) type Faulty = Option<(Vec<String>, usize)>;

pub(super) fn written(doc: &[DocLine]) -> Vec<String> {
    doc.iter().map(DocLine::written).collect()
}

/// Writes a line of this part anew, without its indentation and dash.
#[allow(clippy::unnecessary_wraps, reason = "as each fault gives its result")]
fn rewrite(doc: &[DocLine], dice: &mut Dice, part: Part, to: &dyn Fn(&str) -> String) -> Faulty {
    let at = line_of(doc, dice, part);
    let mut doc = doc.to_vec();
    doc[at].text = to(&doc[at].text);
    Some((written(&doc), at))
}

/// Writes a whole line anew.
#[allow(clippy::unnecessary_wraps, reason = "as each fault gives its result")]
fn relay(doc: &[DocLine], at: usize, to: &dyn Fn(&str) -> String) -> Faulty {
    let mut lines = written(doc);
    lines[at] = to(&lines[at]);
    Some((lines, at))
}

fn moved(doc: &[DocLine], at: usize, by: isize) -> Faulty {
    let mut doc = doc.to_vec();
    doc[at].column = doc[at].column.checked_add_signed(by)?;
    Some((written(&doc), at))
}

fn start_of(doc: &[DocLine], dice: &mut Dice) -> usize {
    let starts: Vec<usize> = (1..doc.len()).filter(|at| doc[*at].starts).collect();
    *dice.pick(&starts)
}

fn field_of(doc: &[DocLine], dice: &mut Dice) -> usize {
    let is_field = |line: &DocLine| !line.starts && line.part != Part::Item;
    let fields: Vec<usize> = (0..doc.len()).filter(|at| is_field(&doc[*at])).collect();
    *dice.pick(&fields)
}

#[allow(clippy::unnecessary_wraps, reason = "as each fault gives its result")]
fn all(doc: &[DocLine], to: &dyn Fn(usize, &str) -> String, line: usize) -> Faulty {
    let lines = written(doc);
    let lines = lines
        .iter()
        .enumerate()
        .map(|(number, line)| to(number, line));
    Some((lines.collect(), line))
}

pub(super) struct InjectedFault {
    pub(super) name: &'static str,
    pub(super) code: Code,
    pub(super) inject: fn(&[DocLine], &mut Dice) -> Faulty,
}

macro_rules! faults {
    ($($name:literal, $code:ident, |$doc:ident, $dice:ident| $body:expr;)*) => {
        &[$(InjectedFault { name: $name, code: $code, inject: |$doc, $dice| $body },)*]
    };
}

pub(super) static FAULTS: &[InjectedFault] = faults! {
    "no groups:", MissingGroups, |doc, dice| {
        let at = line_of(doc, dice, Part::Groups);
        let mut lines = written(doc);
        (!doc[at].starts).then(|| { lines.remove(at); (lines, at) })
    };
    "groups: and item in one line", MissingGroups, |doc, dice| {
        let at = line_of(doc, dice, Part::Groups);
        let mut lines = written(doc);
        let item = lines.remove(at + 1);
        lines[at] += " ";
        lines[at] += item.trim_start();
        Some((lines, at))
    };
    "no dash before an entry", ListDash, |doc, dice| { let at = start_of(doc, dice); relay(doc, at, &|line| line.replacen("- ", "  ", 1)) };
    "no dash and no space before an entry", ListDash, |doc, dice| { let at = start_of(doc, dice); relay(doc, at, &|line| line.replacen("- ", "", 1)) };
    "no dash before a group", ListDash, |doc, dice| { let at = line_of(doc, dice, Part::Item); relay(doc, at, &|line| line.replacen("- ", "  ", 1)) };
    "dash before a field", ListDash, |doc, dice| {
        let at = field_of(doc, dice);
        relay(doc, at, &|line| { let column = line.len() - line.trim_start().len(); format!("{}- {}", &line[..column - 2], line.trim_start()) })
    };
    "two dashes before an entry", ListDash, |doc, dice| { let at = start_of(doc, dice); relay(doc, at, &|line| line.replacen("- ", "- - ", 1)) };
    "two dashes before a group", ListDash, |doc, dice| { let at = line_of(doc, dice, Part::Item); relay(doc, at, &|line| line.replacen("- ", "- - ", 1)) };
    "dash without space before an entry", ListDash, |doc, dice| { let at = start_of(doc, dice); relay(doc, at, &|line| line.replacen("- ", "-", 1)) };
    "dash without space before a group", ListDash, |doc, dice| { let at = line_of(doc, dice, Part::Item); relay(doc, at, &|line| line.replacen("- ", "-", 1)) };
    "field one column to the right", Indentation, |doc, dice| { let at = field_of(doc, dice); moved(doc, at, 1) };
    "field two columns to the right", Indentation, |doc, dice| { let at = field_of(doc, dice); moved(doc, at, 2) };
    "field one column to the left", Indentation, |doc, dice| { let at = field_of(doc, dice); moved(doc, at, -1) };
    "entry one column to the right", Indentation, |doc, dice| {
        let at = start_of(doc, dice);
        let mut doc = doc.to_vec();
        let entry = doc[at].entry;
        for line in doc.iter_mut().filter(|line| line.entry == entry) { line.column += 1; }
        Some((written(&doc), at))
    };
    "group one column to the right", Indentation, |doc, dice| {
        let at = line_of(doc, dice, Part::Item);
        let is_second = doc[at - 1].part == Part::Item;
        if is_second { moved(doc, at, 1) } else { None }
    };
    "all indentation lost", Indentation, |doc, _dice| {
        let first = doc.iter().position(|line| !line.starts)?;
        all(doc, &|_, line| line.trim_start().to_owned(), first)
    };
    "indentation of one entry lost", Indentation, |doc, dice| {
        let start = start_of(doc, dice);
        let mut doc = doc.to_vec();
        let (entry, dash) = (doc[start].entry, doc[start].column);
        for line in doc.iter_mut().filter(|line| line.entry == entry) { line.column = dash; }
        Some((written(&doc), start + 1))
    };
    "tab before a field", Tab, |doc, dice| { let at = field_of(doc, dice); relay(doc, at, &|line| format!("\t{}", line.trim_start())) };
    "tab before a group", Tab, |doc, dice| { let at = line_of(doc, dice, Part::Item); relay(doc, at, &|line| format!("\t{}", line.trim_start())) };
    "double quote not closed in a username", NotClosed, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", ": \"", 1));
    "single quote not closed in a username", NotClosed, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", ": '", 1));
    "double quote not closed in an ARN", NotClosed, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(": ", ": \"", 1));
    "double quote not closed in a group", NotClosed, |doc, dice| rewrite(doc, dice, Part::Item, &|text| format!("\"{text}"));
    "double quote not opened", NotClosed, |doc, dice| rewrite(doc, dice, Part::Username, &|text| format!("{text}\""));
    "quotes of two kinds", NotClosed, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| format!("{}'", text.replacen(": ", ": \"", 1)));
    "bracket not closed", NotClosed, |doc, dice| {
        let at = line_of(doc, dice, Part::Groups);
        let mut lines = written(doc);
        while doc.get(at + 1).is_some_and(|_| lines.get(at + 1).is_some_and(|line| !line.contains(": ") && !line.ends_with(':'))) { lines.remove(at + 1); }
        lines[at] += " [developers, viewers";
        Some((lines, at))
    };
    "no colon behind username", FieldColon, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", " ", 1));
    "no colon behind rolearn", FieldColon, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(": ", " ", 1));
    "no colon behind groups", FieldColon, |doc, dice| rewrite(doc, dice, Part::Groups, &|_| "groups".to_owned());
    "equals sign for colon", FieldColon, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", " = ", 1));
    "no space behind username:", FieldColon, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", ":", 1));
    "no space behind rolearn:", FieldColon, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(": ", ":", 1));
    "rolearn twice", FieldColon, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| format!("rolearn: {text}"));
    "two fields in one line", FieldColon, |doc, dice| {
        let at = line_of(doc, dice, Part::Arn);
        let next = at + 1;
        let joined = doc.get(next).is_some_and(|line| line.part == Part::Username && !line.starts);
        let mut lines = written(doc);
        joined.then(|| { let more = lines.remove(next); lines[at] += " "; lines[at] += more.trim_start(); (lines, at) })
    };
    "non-breaking spaces before a field", Lookalike, |doc, dice| { let at = field_of(doc, dice); relay(doc, at, &|line| line.replacen("  ", "\u{a0}\u{a0}", 1)) };
    "non-breaking space behind a colon", Lookalike, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", ":\u{a0}", 1));
    "zero-width space in an ARN", Lookalike, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("role/", "role/\u{200b}", 1));
    "zero-width space in a group", Lookalike, |doc, dice| rewrite(doc, dice, Part::Item, &|text| format!("{text}\u{200b}"));
    "byte order mark in a username", Lookalike, |doc, dice| rewrite(doc, dice, Part::Username, &|text| text.replacen(": ", ": \u{feff}", 1));
    "typographic quotes", Lookalike, |doc, dice| rewrite(doc, dice, Part::Username, &|text| format!("{}\u{201d}", text.replacen(": ", ": \u{201c}", 1)));
    "typographic dash", Lookalike, |doc, dice| { let at = line_of(doc, dice, Part::Item); relay(doc, at, &|line| line.replacen('-', "\u{2013}", 1)) };
    "typographic dash in an ARN", Lookalike, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("team-", "team\u{2013}", 1));
    "backslash and n", CopiedAlong, |doc, dice| rewrite(doc, dice, Part::Username, &|text| format!("{text}\\n"));
    "line numbers with colons", CopiedAlong, |doc, _dice| all(doc, &|number, line| format!("{}: {line}", number + 1), 0);
    "line numbers with tabs", CopiedAlong, |doc, _dice| all(doc, &|number, line| format!("{:>6}\t{line}", number + 1), 0);
    "line numbers with bars", CopiedAlong, |doc, _dice| all(doc, &|number, line| format!("{:>3} | {line}", number + 1), 0);
    "marks of a quotation", CopiedAlong, |doc, _dice| all(doc, &|_, line| format!("> {line}"), 0);
    "marks of a diff", CopiedAlong, |doc, _dice| all(doc, &|_, line| format!("+{line}"), 0);
    "code fence", CopiedAlong, |doc, _dice| {
        let mut lines = written(doc);
        lines.insert(0, "```yaml".to_owned());
        lines.push("```".to_owned());
        Some((lines, 0))
    };
    "unquoted template", UnquotedTemplate, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: {{SessionName}}".to_owned());
    "unquoted template as a group", UnquotedTemplate, |doc, dice| rewrite(doc, dice, Part::Item, &|_| "{{AccountID}}-admins".to_owned());
    "at sign", BrokenText, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: @jane".to_owned());
    "colon in a value", BrokenText, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: team: jane".to_owned());
    "loop of Helm", NotRendered, |doc, _dice| { let mut lines = written(doc); lines.insert(0, "{{- range .Values.roles }}".to_owned()); Some((lines, 0)) };
    "value of Helm", NotRendered, |doc, dice| rewrite(doc, dice, Part::Arn, &|_| "rolearn: {{ .Values.role }}".to_owned());
    "quoted value of Helm", NotRendered, |doc, dice| rewrite(doc, dice, Part::Arn, &|_| "rolearn: \"{{ .Values.role }}\"".to_owned());
    "loop of Jinja", NotRendered, |doc, dice| { let at = start_of(doc, dice); let mut lines = written(doc); lines.insert(at, "{% for role in roles %}".to_owned()); Some((lines, at)) };
    "value of Jinja", NotRendered, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: {{ user.name }}".to_owned());
    "directive of Terraform", NotRendered, |doc, _dice| { let mut lines = written(doc); lines.push("%{ endfor ~}".to_owned()); let at = lines.len() - 1; Some((lines, at)) };
    "section of Mustache", NotRendered, |doc, dice| { let at = start_of(doc, dice); let mut lines = written(doc); lines.insert(at, "{{#roles}}".to_owned()); Some((lines, at)) };
    "function of CloudFormation", NotRendered, |doc, dice| rewrite(doc, dice, Part::Arn, &|_| "rolearn: !GetAtt NodeRole.Arn".to_owned());
    "variable of a shell", NotFilledIn, |doc, dice| rewrite(doc, dice, Part::Arn, &|_| "rolearn: $ROLE_ARN".to_owned());
    "variable of Terraform", NotFilledIn, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("111122223333", "${account}", 1));
    "variable of sed", NotFilledIn, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("111122223333", "@ACCOUNT@", 1));
    "placeholder of a manual", NotFilledIn, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("111122223333", "ACCOUNT_ID", 1));
    "placeholder in angle brackets", NotFilledIn, |doc, dice| rewrite(doc, dice, Part::Arn, &|_| "rolearn: <ARN of the role>".to_owned());
    "username in angle brackets", AngleBrackets, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: <jane>".to_owned());
    "group in angle brackets", AngleBrackets, |doc, dice| rewrite(doc, dice, Part::Item, &|text| format!("<{text}>"));
    "mapUsers within", NestedKey, |doc, _dice| {
        let mut lines = written(doc);
        let at = lines.len();
        let indent = " ".repeat(doc[0].column);
        lines.push(format!("{indent}mapUsers: |"));
        lines.push(format!("{indent}  - userarn: arn:aws:iam::111122223333:user/jane"));
        lines.push(format!("{indent}    username: jane"));
        Some((lines, at))
    };
    "mapRoles within itself", NoList, |doc, _dice| { let mut lines = written(doc); lines.insert(0, "mapRoles:".to_owned()); Some((lines, 0)) };
    "role_arn", EntryDropped, |doc, dice| {
        let at = line_of(doc, dice, Part::Arn);
        let (lines, _) = relay(doc, at, &|line| line.replacen("rolearn", "role_arn", 1))?;
        let start = (0..=at).rev().find(|line| doc[*line].starts)?;
        Some((lines, start))
    };
    "username of a node, changed", NodeUsername, |doc, _dice| {
        let at = doc.iter().position(|line| line.part == Part::Username)?;
        relay(doc, at, &|line| line.replacen("system:node:", "system:node:a-", 1))
    };
    "username of a node without its placeholder", NodeUsername, |doc, _dice| {
        let at = doc.iter().position(|line| line.part == Part::Username)?;
        relay(doc, at, &|line| line.replacen("{{EC2PrivateDNSName}}", "", 1))
    };
    "two colons in an ARN", NotAPrincipal, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(":role", "::role", 1));
    "sts in an ARN", NotAPrincipal, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(":iam:", ":sts:", 1));
    "session", SessionArn, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen(":iam:", ":sts:", 1).replacen("role/", "assumed-role/", 1) + "/*");
    "path", RolePath, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("role/", "role/x/", 1));
    "space in an ARN", BlankInArn, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| text.replacen("role/", "role/ ", 1));
    "wildcard", Wildcard, |doc, dice| rewrite(doc, dice, Part::Arn, &|text| format!("{text}*"));
    "output of describe", DescribeOutput, |doc, _dice| { let mut lines = written(doc); lines.insert(0, "----".to_owned()); Some((lines, 0)) };
    "misspelled group", AlmostWellKnown, |doc, dice| rewrite(doc, dice, Part::Item, &|_| "system:master".to_owned());
    "word of YAML 1.1", Yaml11Word, |doc, dice| rewrite(doc, dice, Part::Username, &|_| "username: yes".to_owned());
};

/// Each finding in a value, with its line counted from 0.
fn errors(value: &str) -> Vec<(Code, usize, Vec<Edit>)> {
    let data = BTreeMap::from([(Section::Roles.key().to_owned(), value.to_owned())]);
    let read = PlacedDocument::new(&data);
    let lines = Lines::new(value);
    let found = read.check(None, &|_| String::new()).into_iter();
    found
        .filter(|found| found.code.severity() == Severity::Error)
        .map(|found| {
            let line = lines.number(found.at.1.start);
            let edits = if found.edits.is_empty() {
                found.proposed
            } else {
                found.edits
            };
            (found.code, line, edits)
        })
        .collect()
}

#[test]
fn faults_are_named_in_their_line_and_concrete_fixes_end_them() {
    assert!(FAULTS.len() >= 40);
    let (mut total, mut misses, mut fixes) = (0, Vec::new(), 0);
    let mut wrong: Vec<String> = Vec::new();
    for (number, fault) in (0..).zip(FAULTS) {
        for round in 0..ROUNDS {
            let mut dice = Dice(number * 1_000 + round);
            let doc = document(&mut dice);
            assert_eq!(errors(&written(&doc).join("\n")), [], "{doc:?}");
            let Some((lines, line)) = (fault.inject)(&doc, &mut dice) else {
                continue;
            };
            let value = lines.join("\n") + "\n";
            let text = config_map(&[("mapRoles", &value)]);
            let report = check(&[source(&text)]).report;
            let places: Vec<(Code, usize)> = report
                .diagnostics
                .iter()
                .map(|found| {
                    let text = &report.sources[found.source].source.text;
                    (found.code, Lines::new(text).position(found.span.start).0)
                })
                .collect();
            if places.is_empty() {
                wrong.push(format!("{}: nothing is found in\n{text}", fault.name));
            }
            total += 1;
            if !places.contains(&(fault.code, FIRST + line)) {
                misses.push(format!(
                    "{} in line {}: {places:?}\n{text}",
                    fault.name,
                    FIRST + line
                ));
                continue;
            }
            match concrete_fix(&value, fault.name) {
                Ok(applied) => fixes += applied,
                Err(why) => wrong.push(why),
            }
        }
    }
    for miss in misses.iter().take(20) {
        println!("{miss}");
    }
    let named = total - misses.len();
    println!(
        "{named} of {total} faults of {} kinds are named in their line; {fixes} concrete fixes",
        FAULTS.len()
    );
    wrong.truncate(8);
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
    assert!(named * 100 >= total * 95, "{named} of {total}");
    assert!(fixes > 1_000, "{fixes}");
}

/// Applies the only fix of a text that has one error: no error is left then. How many fixes that were.
fn concrete_fix(value: &str, name: &str) -> Result<usize, String> {
    let before = errors(value);
    let [(code, line, edits)] = before.as_slice() else {
        return Ok(0);
    };
    let [edit] = edits.as_slice() else {
        return Ok(0);
    };
    let mut fixed = value.to_owned();
    fixed.replace_range(edit.span.clone(), &edit.text);
    let after = errors(&fixed);
    if after.is_empty() {
        return Ok(1);
    }
    Err(format!(
        "{name}: {code} in line {line} of\n{value}is fixed to\n{fixed}with {after:?}"
    ))
}
