//! What the authenticator drops or empties, and why: each of its problems gets the code of its cause.

use std::ops::Range;

use super::code::Code;
use super::finding::{Edit, LintFinding};
use crate::aws_auth::{Document, Entry, Problem, ProblemKind, Section, SectionPlaces};

/// A place in the value of a key of aws-auth.
pub(super) type TextSpan = (Section, Range<usize>);

/// The command that prints aws-auth as YAML.
pub(super) const GET: &str = "kubectl get configmap -n kube-system aws-auth -o yaml";

/// Findings for everything that one section loses.
pub(super) fn lost(
    section: Section,
    text: &str,
    document: &Document,
    places: &SectionPlaces,
) -> Vec<LintFinding<TextSpan>> {
    let view = document.section(section);
    let mut findings = Vec::new();
    for problem in &view.problems {
        findings.push(match problem.kind {
            ProblemKind::SectionDropped => dropped_section(problem, text),
            ProblemKind::EntryDropped => dropped_entry(problem),
            ProblemKind::FieldEmptied => emptied(problem, &view.entries, text),
        });
    }
    if view.broken.is_some() && !is_describe_output(text) {
        let label = nobody(section, text);
        let known: Vec<Range<usize>> = findings.iter().map(|found| found.at.1.clone()).collect();
        let lines = template_lines(text);
        let others = lines.filter(|edit| !known.iter().any(|span| touches(span, &edit.span)));
        findings.extend(others.map(|edit| unquoted(section, text, edit, label.clone())));
    }
    if let Some(ignored) = &places.ignored {
        findings.push(LintFinding {
            code: Code::SecondDocument,
            at: (section, ignored.clone()),
            title: format!("text after the first YAML document in {section}"),
            label: "the authenticator stops reading here".to_owned(),
            fix: "remove the line with `---` or `...` before it, so that there is one list"
                .to_owned(),
            edits: Vec::new(),
        });
    }
    for (entry, places) in view.entries.iter().zip(&places.entries) {
        for span in &places.repeated {
            findings.push(LintFinding {
                code: Code::RepeatedField,
                at: (section, span.clone()),
                title: format!("duplicate field `{}` in an entry", &text[span.clone()]),
                label: "the authenticator uses the last one".to_owned(),
                fix: "keep the intended one".to_owned(),
                edits: Vec::new(),
            });
        }
        for span in &places.unknown {
            findings.push(unknown_field(section, entry, &text[span.clone()], span));
        }
    }
    findings
}

fn touches(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end.max(b.start + 1) && b.start < a.end.max(a.start + 1)
}

/// The message in two: what is wrong, and how to fix it.
fn parts(message: &str) -> (&str, &str) {
    let mut in_code = false;
    for (at, c) in message.char_indices() {
        match c {
            '`' => in_code = !in_code,
            ':' if !in_code && message[at + 1..].starts_with(' ') => {
                return (&message[..at], &message[at + 2..]);
            }
            _ => {}
        }
    }
    (message, "")
}

/// What the loss of a key means to those who stand in it.
fn nobody(section: Section, text: &str) -> String {
    let nodes = text.contains("system:nodes") || text.contains("system:node:");
    let nodes = if nodes { ", and no node can join" } else { "" };
    format!("all of {section} is dropped: nobody in it has access{nodes}")
}

fn dropped_section(problem: &Problem, text: &str) -> LintFinding<TextSpan> {
    let section = problem.section;
    let (what, fix) = parts(&problem.message);
    let (code, title, fix) = if is_describe_output(text) {
        (
            Code::DescribeOutput,
            format!("output of `kubectl describe` in {section}"),
            format!(
                "keep only the lines of the list, from the first `- ` to the next heading; describe added the rest. `{GET}` \
                    prints YAML"
            ),
        )
    } else if let Some(edit) = template_at(text, problem.span.start) {
        return unquoted(section, text, edit, nobody(section, text));
    } else if indentation(text, problem.span.start).contains('\t') {
        (
            Code::Tab,
            format!("tab in the indentation of {section}"),
            tab_fix(text, problem.span.start),
        )
    } else if what.contains("list is")
        || what.contains("list of entries is")
        || what.contains("only a list")
    {
        (
            Code::NoList,
            format!("{section} without a list of entries"),
            list_fix(section, text, fix),
        )
    } else if let Some(column) = expected_column(text, problem.span.start) {
        (
            Code::Indentation,
            format!("inconsistent indentation in {section}"),
            format!(
                "start this line in column {} of the value, like the field before it",
                column + 1
            ),
        )
    } else {
        (
            Code::BrokenText,
            format!("invalid YAML in {section}: {what}"),
            or(
                fix,
                "correct the YAML here; lint shows only the first error of each key",
            ),
        )
    };
    LintFinding {
        code,
        at: (section, problem.span.clone()),
        title,
        label: nobody(section, text),
        fix,
        edits: Vec::new(),
    }
}

fn tab_fix(text: &str, at: usize) -> String {
    let before = &text[..line_of(text, at).start];
    let mut fields = before
        .lines()
        .rev()
        .filter(|line| content_column(line).is_some());
    let field = fields.next().and_then(|line| {
        let (name, _) = line[field_column(line)?..].split_once(':')?;
        Some(format!("`{name}`, the field before it"))
    });
    let field = field.unwrap_or_else(|| "the line before it".to_owned());
    format!("replace the tab with spaces, so that the line starts below {field}")
}

fn list_fix(section: Section, text: &str, fix: &str) -> String {
    let inner = text.trim_start();
    if inner.starts_with(['|', '>', '"', '\'']) {
        format!(
            "the list is inside a string: remove the inner `|`, `>` or quotes, so that {section} starts with `- `"
        )
    } else if inner.starts_with(section.key()) {
        format!(
            "{section} contains its own key: remove its first line, so that it starts with `- `"
        )
    } else {
        or(fix, "start each entry with `- `")
    }
}

/// A fix is never empty.
fn or(fix: &str, otherwise: &str) -> String {
    if fix.is_empty() { otherwise } else { fix }.to_owned()
}

fn unquoted(section: Section, text: &str, edit: Edit, label: String) -> LintFinding<TextSpan> {
    LintFinding {
        code: Code::UnquotedTemplate,
        at: (section, edit.span.clone()),
        title: match field_of(text, edit.span.start) {
            Some(field) => format!("unquoted template in {field}"),
            None => "unquoted template".to_owned(),
        },
        label,
        fix: format!("write {}", edit.text),
        edits: vec![edit],
    }
}

/// The name of the field whose value starts here.
fn field_of(text: &str, at: usize) -> Option<&str> {
    let before = text[line_of(text, at).start..at].trim();
    let name = before
        .trim_start_matches('-')
        .trim_start()
        .strip_suffix(':')?;
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(name)
}

fn dropped_entry(problem: &Problem) -> LintFinding<TextSpan> {
    let (what, fix) = parts(&problem.message);
    LintFinding {
        code: Code::EntryDropped,
        at: (problem.section, problem.span.clone()),
        title: what.to_owned(),
        label: "the authenticator drops this entry".to_owned(),
        fix: or(fix, "correct the entry, or remove it"),
        edits: Vec::new(),
    }
}

fn emptied(problem: &Problem, entries: &[Entry], text: &str) -> LintFinding<TextSpan> {
    let (what, fix) = parts(&problem.message);
    let is_word = what.contains("a truth value") || what.contains("a number");
    let written = &text[problem.span.clone()];
    let plain = !written.is_empty()
        && written
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._:~".contains(&b));
    let quoted = format!("\"{written}\"");
    let (fix, edits) = match (plain, is_word) {
        (true, true) => {
            let edit = Edit {
                span: problem.span.clone(),
                text: quoted.clone(),
            };
            (format!("write {quoted}"), vec![edit])
        }
        (true, false) if what.starts_with("`groups` is text") => {
            (format!("write a list: [{quoted}]"), Vec::new())
        }
        (true | false, _) => (
            or(fix, "write the intended value in double quotes"),
            Vec::new(),
        ),
    };
    let next = entries.partition_point(|entry| entry.span.start <= problem.span.start);
    let entry = next.checked_sub(1).map(|before| &entries[before]);
    LintFinding {
        code: if is_word {
            Code::Yaml11Word
        } else {
            Code::ValueEmptied
        },
        at: (problem.section, problem.span.clone()),
        title: what.to_owned(),
        label: entry.map_or_else(String::new, seen),
        fix,
        edits,
    }
}

/// What the authenticator sees of an entry.
fn seen(entry: &Entry) -> String {
    let groups: Vec<String> = entry
        .groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    let groups = match groups.as_slice() {
        [] => "no groups".to_owned(),
        groups => format!("groups {}", groups.join(", ")),
    };
    format!(
        "the authenticator sees username {:?} and {groups}",
        entry.username
    )
}

fn unknown_field(
    section: Section,
    entry: &Entry,
    name: &str,
    span: &Range<usize>,
) -> LintFinding<TextSpan> {
    let known: &[&str] = if section == Section::Users {
        &["userarn", "username", "groups"]
    } else {
        &["rolearn", "username", "groups"]
    };
    let meant = known.iter().find(|known| almost(name, known));
    let fix = match meant {
        Some(meant) => format!("write `{meant}`"),
        None => "remove it; notes belong in comments".to_owned(),
    };
    LintFinding {
        code: Code::UnknownField,
        at: (section, span.clone()),
        title: format!("unknown field `{name}`"),
        label: seen(entry),
        fix,
        edits: Vec::new(),
    }
}

/// Whether a name is a slip of another: case, blanks, hyphens and plurals aside, or with one letter added, lost or changed.
pub(super) fn almost(name: &str, known: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        let kept = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '_'));
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (plain(name), plain(known));
    if a == b {
        return true;
    }
    let (short, long) = if a.len() <= b.len() {
        (&a, &b)
    } else {
        (&b, &a)
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short
        .iter()
        .zip(long.iter())
        .take_while(|(a, b)| a == b)
        .count();
    let skip = usize::from(short.len() == long.len());
    short[(same + skip).min(short.len())..] == long[same + 1..]
}

/// `kubectl describe configmap` rules off its keys with lines of `====` and `----`.
pub(super) fn is_describe_output(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        line.len() >= 4 && (line.bytes().all(|b| b == b'=') || line.bytes().all(|b| b == b'-'))
    })
}

fn line_of(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

fn indentation(text: &str, at: usize) -> &str {
    let line = &text[line_of(text, at)];
    &line[..line.len() - line.trim_start().len()]
}

/// The column in which the line of this place was to begin: that of the fields before it, where it is deeper than they do although
/// the one before it has its value, or where it lines up with none.
fn expected_column(text: &str, at: usize) -> Option<usize> {
    let line = line_of(text, at);
    let column = content_column(&text[line.clone()])?;
    let mut before = text[..line.start]
        .lines()
        .rev()
        .filter(|line| content_column(line).is_some());
    let previous = before.next()?;
    let expected = field_column(previous)?;
    let (_, value) = previous.split_once(": ").unwrap_or((previous, ""));
    let value = value.trim();
    let complete = !value.is_empty() && !value.starts_with(['|', '>', '#', '&']);
    let deeper = complete && column > expected;
    let between = column < expected
        && std::iter::once(previous)
            .chain(before.take(20))
            .all(|line| content_column(line) != Some(column) && field_column(line) != Some(column));
    (deeper || between).then_some(expected)
}

/// Where a line that is neither blank nor a comment begins.
fn content_column(line: &str) -> Option<usize> {
    let content = line.trim_start();
    let is_content = !content.is_empty() && !content.starts_with('#');
    is_content.then(|| line.len() - content.len())
}

/// Where the field on a line begins, behind the dashes of lists.
fn field_column(line: &str) -> Option<usize> {
    let mut column = content_column(line)?;
    while let Some(rest) = line[column..].strip_prefix('-') {
        let blank = rest.len() - rest.trim_start().len();
        if blank == 0 {
            break;
        }
        column += 1 + blank;
    }
    Some(column)
}

/// The quotes that a value lacks which begins with `{{`.
fn template_at(text: &str, at: usize) -> Option<Edit> {
    let line = line_of(text, at);
    template(&text[line.clone()], line.start)
}

/// All lines with such a value.
fn template_lines(text: &str) -> impl Iterator<Item = Edit> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let at = start;
        start += line.len();
        template(line, at)
    })
}

fn template(line: &str, offset: usize) -> Option<Edit> {
    let mut at = field_column(line)?;
    if !line[at..].starts_with("{{") {
        let (key, value) = line[at..].split_once(':')?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
        let blank = value.len() - value.trim_start_matches(' ').len();
        if !is_key || blank == 0 {
            return None;
        }
        at += key.len() + 1 + blank;
    }
    let value = &line[at..];
    let value = value
        .split_once(" #")
        .map_or(value, |(value, _)| value)
        .trim_end();
    let simple =
        value.starts_with("{{") && value.contains("}}") && !value.contains(['"', '\\', '\t']);
    simple.then(|| Edit {
        span: offset + at..offset + at + value.len(),
        text: format!("\"{value}\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        for (name, known, expected) in [
            ("system:bootstrapper", "system:bootstrappers", true),
            ("system:node", "system:nodes", true),
            ("System:Masters", "system:masters", true),
            ("system:mastres", "system:masters", false),
            ("system:naster", "system:masters", false),
            ("group", "groups", true),
            ("role_arn", "rolearn", true),
            ("rolarn", "rolearn", true),
            ("rolexrn", "rolearn", true),
            ("team", "rolearn", false),
            ("", "x", true),
        ] {
            assert_eq!(almost(name, known), expected, "{name}");
        }
    }

    #[test]
    fn templates_without_quotes() {
        for (line, quoted) in [
            ("  username: {{SessionName}}\n", Some("\"{{SessionName}}\"")),
            ("- username: {{A}}-x  # note\r\n", Some("\"{{A}}-x\"")),
            ("  - {{SessionName}}", Some("\"{{SessionName}}\"")),
            ("  username: a:{{SessionName}}", None),
            ("  username: \"{{SessionName}}\"", None),
            ("  username: {{SessionName", None),
            ("  # username: {{SessionName}}", None),
            ("  - {rolearn: x, username: {{A}}}", None),
        ] {
            assert_eq!(
                template(line, 0).map(|edit| edit.text).as_deref(),
                quoted,
                "{line}"
            );
        }
    }
}
