//! Text that the authenticator drops, empties or reads differently; each problem gets the code of its cause.

use std::ops::Range;

use super::code::Code;
use super::finding::{Edit, LintFinding};
pub(super) use crate::aws_auth::diagnosis::GET;
use crate::aws_auth::diagnosis::{DefectKind, PLACEHOLDERS, unfilled};
use crate::aws_auth::{
    Document, Entry, Problem, ProblemCause, ProblemKind, Section, SectionPlaces, ValueType,
};
use crate::yaml::{FaultKind, Lines, almost};

/// A place in the value of a key of aws-auth.
pub(super) type TextSpan = (Section, Range<usize>);

/// So many lines of a repaired text are shown.
const SHOWN: usize = 14;

/// So many groups of an entry are shown: each of its fields can have a finding, and an entry can have thousands of both.
const SEEN_GROUPS: usize = 20;

/// Whether a problem is one of the text's structure, and not of a value in it.
fn is_structural(problem: &Problem) -> bool {
    matches!(problem.detail.cause, ProblemCause::Defect(_))
        || problem.kind == ProblemKind::SectionDropped
}

/// Findings for faults in the structure of a section, each with its cause.
pub(super) fn structure(
    section: Section,
    text: &str,
    document: &Document,
) -> Vec<LintFinding<TextSpan>> {
    let view = document.section(section);
    let lines = Lines::new(text);
    let nobody = nobody(section, text);
    let problems = view.problems.iter().filter(|it| is_structural(it));
    problems
        .map(|problem| {
            let label = match problem.kind {
                ProblemKind::SectionDropped => nobody.clone(),
                ProblemKind::EntryDropped => "the authenticator drops this entry".to_owned(),
                ProblemKind::FieldEmptied | ProblemKind::Misread => {
                    entry_at(&view.entries, problem.span.start).map_or_else(
                        || "the authenticator reads these lines differently".to_owned(),
                        seen,
                    )
                }
            };
            structural(problem, text, &lines, label)
        })
        .collect()
}

/// Findings for values that one section loses.
pub(super) fn lost(
    section: Section,
    text: &str,
    document: &Document,
    places: &SectionPlaces,
) -> Vec<LintFinding<TextSpan>> {
    let view = document.section(section);
    let mut findings = Vec::new();
    for problem in view.problems.iter().filter(|it| !is_structural(it)) {
        findings.push(match problem.kind {
            ProblemKind::EntryDropped => dropped_entry(problem),
            ProblemKind::SectionDropped | ProblemKind::FieldEmptied | ProblemKind::Misread => {
                emptied(problem, &view.entries, text)
            }
        });
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
            proposed: Vec::new(),
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
                proposed: Vec::new(),
            });
        }
        for span in &places.unknown {
            findings.push(unknown_field(section, entry, &text[span.clone()], span));
        }
    }
    findings
}

fn entry_at(entries: &[Entry], at: usize) -> Option<&Entry> {
    let next = entries.partition_point(|entry| entry.span.start <= at);
    next.checked_sub(1).map(|before| &entries[before])
}

/// What the loss of a key means to those who stand in it.
fn nobody(section: Section, text: &str) -> String {
    let nodes = text.contains("system:nodes") || text.contains("system:node:");
    let nodes = if nodes { ", and no node can join" } else { "" };
    format!("all of {section} is dropped: none of its principals has access{nodes}")
}

/// The code of a defect, wherever it is found.
pub(super) fn defect_code(kind: &DefectKind) -> Code {
    match kind {
        DefectKind::MissingGroups | DefectKind::ListInLine => Code::MissingGroups,
        DefectKind::MissingDash { .. }
        | DefectKind::ExtraDash
        | DefectKind::DashWithoutSpace
        | DefectKind::Bullet { .. }
        | DefectKind::GroupAsField { .. } => Code::ListDash,
        DefectKind::Indentation { .. }
        | DefectKind::IndentationLost
        | DefectKind::ListNotIndented
        | DefectKind::KeysNotIndented { .. }
        | DefectKind::BlockNotIndented { .. }
        | DefectKind::BlockEnded { .. } => Code::Indentation,
        DefectKind::TextBehindBar
        | DefectKind::LineBreaksLost
        | DefectKind::UnknownManifestField { .. }
        | DefectKind::BinaryData => Code::NoManifest,
        DefectKind::WildcardValue { .. } => Code::Wildcard,
        DefectKind::Tab => Code::Tab,
        DefectKind::NestedKey { .. } => Code::NestedKey,
        DefectKind::OwnKey { .. } => Code::NoList,
        DefectKind::QuoteNotClosed { .. }
        | DefectKind::QuoteNotOpened { .. }
        | DefectKind::BracketNotClosed { .. }
        | DefectKind::BracketNotOpened { .. }
        | DefectKind::QuotesWithin { .. } => Code::NotClosed,
        DefectKind::MissingColon { .. }
        | DefectKind::MissingSpace { .. }
        | DefectKind::FieldTwice { .. }
        | DefectKind::JoinedFields { .. }
        | DefectKind::QuotedField
        | DefectKind::TrailingSeparator { .. }
        | DefectKind::ArnAsKey { .. }
        | DefectKind::BlockHeader { .. } => Code::FieldColon,
        DefectKind::Lookalike { .. } => Code::Lookalike,
        DefectKind::LiteralNewline { .. }
        | DefectKind::LinePrefix { .. }
        | DefectKind::MergeConflict
        | DefectKind::ShellCommand
        | DefectKind::CodeFence => Code::CopiedAlong,
        DefectKind::DescribeOutput => Code::DescribeOutput,
        DefectKind::UnquotedTemplate { .. } => Code::UnquotedTemplate,
        DefectKind::LostPlaceholder { .. } => Code::NodeUsername,
        DefectKind::UnquotedValue { .. } => Code::BrokenText,
        DefectKind::Template { .. } => Code::NotRendered,
    }
}

fn structural(
    problem: &Problem,
    text: &str,
    lines: &Lines<'_>,
    label: String,
) -> LintFinding<TextSpan> {
    let section = problem.section;
    let what = problem.what();
    let mut finding = LintFinding {
        code: Code::BrokenText,
        at: (section, problem.span.clone()),
        title: format!("invalid YAML in {section}: {what}"),
        label,
        fix: problem.fix(),
        edits: Vec::new(),
        proposed: Vec::new(),
    };
    match &problem.detail.cause {
        ProblemCause::Defect(kind) => {
            finding.code = defect_code(kind);
            finding.title = what;
            of_defect(&mut finding, kind, problem, text, lines);
        }
        ProblemCause::Yaml(FaultKind::Tab) => {
            finding.code = Code::Tab;
            finding.title = format!("tab in the indentation of {section}");
        }
        ProblemCause::Json | ProblemCause::NoList | ProblemCause::NotAnAccount => {
            finding.code = Code::NoList;
            finding.title = format!("{section} without a list of entries");
            finding.fix = list_fix(section, text, finding.fix);
        }
        ProblemCause::Yaml(_)
        | ProblemCause::EmptyItem { .. }
        | ProblemCause::NotAnEntry { .. }
        | ProblemCause::NoArn { .. }
        | ProblemCause::MisspelledArn { .. }
        | ProblemCause::RolearnAndSso
        | ProblemCause::InvalidSsoField { .. }
        | ProblemCause::Mistyped { .. } => {}
    }
    finding
}

/// The edits of a defect, and the lines as they have to be.
fn of_defect(
    finding: &mut LintFinding<TextSpan>,
    kind: &DefectKind,
    problem: &Problem,
    text: &str,
    lines: &Lines<'_>,
) {
    match kind {
        DefectKind::UnquotedTemplate { quoted, .. } => {
            let edit = Edit {
                span: problem.span.clone(),
                text: quoted.clone(),
            };
            let written = &text[problem.span.clone()];
            let is_exact = format!("\"{written}\"") == *quoted && has_only_placeholders(written);
            if is_exact {
                finding.edits = vec![edit];
            } else {
                finding.proposed = vec![edit];
            }
        }
        DefectKind::UnquotedValue { quoted, .. }
        | DefectKind::QuotesWithin { quoted, .. }
        | DefectKind::LostPlaceholder { quoted } => {
            finding.proposed = vec![Edit {
                span: problem.span.clone(),
                text: quoted.clone(),
            }];
        }
        DefectKind::Template { .. }
        | DefectKind::NestedKey { .. }
        | DefectKind::DescribeOutput
        | DefectKind::MergeConflict
        | DefectKind::WildcardValue { .. } => {}
        _ => {
            let first = lines.line(problem.detail.lines.start).start;
            let last = lines.line(problem.detail.lines.end - 1).end;
            let whole = first..last;
            let mut repaired = problem.detail.repaired.join("\n");
            let mut whole_lines = whole.clone();
            if problem.detail.repaired.is_empty() {
                whole_lines.end = text.len().min(whole.end + 1);
            } else if text[whole.clone()].trim().is_empty() {
                repaired.push('\n');
            }
            if text[whole] != repaired {
                finding.proposed = vec![Edit {
                    span: whole_lines,
                    text: repaired,
                }];
            }
            let is_shown = !matches!(
                kind,
                DefectKind::OwnKey { .. }
                    | DefectKind::LinePrefix { .. }
                    | DefectKind::CodeFence
                    | DefectKind::ShellCommand
            );
            if is_shown && !problem.detail.repaired.is_empty() {
                finding.fix += ":\n";
                finding.fix += &shown(&problem.detail.repaired);
            }
        }
    }
}

/// Lines for people to copy, no further indented than they need.
fn shown(lines: &[String]) -> String {
    let content = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = content
        .map(|line| line.len() - line.trim_start().len())
        .min();
    let indent = indent.unwrap_or_default();
    let mut all: Vec<String> = lines
        .iter()
        .take(SHOWN)
        .map(|line| format!("  {}", line.get(indent..).unwrap_or_default()))
        .collect();
    if lines.len() > SHOWN {
        all.push(format!("  … ({} more lines)", lines.len() - SHOWN));
    }
    all.join("\n")
}

/// Whether every `{{` opens a placeholder of the authenticator, exactly as it is spelled.
fn has_only_placeholders(value: &str) -> bool {
    let rest = PLACEHOLDERS.iter().fold(value.to_owned(), |rest, known| {
        rest.replace(&format!("{{{{{known}}}}}"), "")
    });
    !rest.contains(['{', '}', '"', '\\', '\t'])
}

fn list_fix(section: Section, text: &str, fix: String) -> String {
    let inner = text.trim_start();
    if inner.starts_with(['|', '>', '"', '\'']) {
        format!(
            "the list is inside a string: remove the inner `|`, `>` or quotes, so that {section} starts with `- `"
        )
    } else {
        fix
    }
}

fn dropped_entry(problem: &Problem) -> LintFinding<TextSpan> {
    LintFinding {
        code: Code::EntryDropped,
        at: (problem.section, problem.span.clone()),
        title: problem.what(),
        label: "the authenticator drops this entry".to_owned(),
        fix: problem.fix(),
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

fn emptied(problem: &Problem, entries: &[Entry], text: &str) -> LintFinding<TextSpan> {
    let found = match problem.detail.cause {
        ProblemCause::Mistyped { found, .. } => Some(found),
        _ => None,
    };
    let is_word = matches!(found, Some(ValueType::Bool | ValueType::Number));
    let is_list = matches!(
        problem.detail.cause,
        ProblemCause::Mistyped {
            field: "groups",
            is_item: false,
            ..
        }
    );
    let written = &text[problem.span.clone()];
    let plain = !written.is_empty()
        && written
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._:~".contains(&b));
    let quoted = format!("\"{written}\"");
    let edit = |text: String| {
        vec![Edit {
            span: problem.span.clone(),
            text,
        }]
    };
    let mut title = problem.what();
    let several = written.trim_matches(['"', '\'']).split(',').map(str::trim);
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
    };
    let several: Vec<String> = several
        .filter(|name| is_name(name))
        .map(|name| format!("{name:?}"))
        .collect();
    let is_several = several.len() > 1 && several.len() == written.split(',').count();
    if is_list && let Some(variable) = unfilled(written) {
        return LintFinding {
            code: Code::NotFilledIn,
            at: (problem.section, problem.span.clone()),
            title: format!("placeholder `{variable}` in `groups`, which was not filled in"),
            label: entry_at(entries, problem.span.start).map_or_else(String::new, seen),
            fix: "write the groups, each as `- \"group\"`".to_owned(),
            edits: Vec::new(),
            proposed: Vec::new(),
        };
    }
    let (fix, edits, proposed) = match (plain, is_word, is_list) {
        (_, _, true) if is_several => {
            let list = format!("[{}]", several.join(", "));
            (format!("write a list: {list}"), Vec::new(), edit(list))
        }
        (true, true, false) => {
            title = format!(
                "`{written}` is {}, not text, and is ignored",
                found.unwrap_or(ValueType::Null)
            );
            (format!("write {quoted}"), edit(quoted), Vec::new())
        }
        (true, _, true) => (
            format!("write a list: [{quoted}]"),
            Vec::new(),
            edit(format!("[{quoted}]")),
        ),
        _ => (problem.fix(), Vec::new(), Vec::new()),
    };
    LintFinding {
        code: if is_word {
            Code::Yaml11Word
        } else {
            Code::ValueEmptied
        },
        at: (problem.section, problem.span.clone()),
        title,
        label: entry_at(entries, problem.span.start).map_or_else(String::new, seen),
        fix,
        edits,
        proposed,
    }
}

/// What the authenticator sees of an entry.
fn seen(entry: &Entry) -> String {
    let groups = entry.groups.iter().take(SEEN_GROUPS);
    let groups: Vec<String> = groups.map(|group| format!("{group:?}")).collect();
    let more = entry.groups.len() - groups.len();
    let groups = match (groups.as_slice(), more) {
        ([], _) => "no groups".to_owned(),
        (groups, 0) => format!("groups {}", groups.join(", ")),
        (groups, more) => format!("groups {} and {more} more", groups.join(", ")),
    };
    format!(
        "the authenticator sees username {:?} and {groups}",
        entry.username
    )
}

/// The field that an unknown one is a slip of, or that other tools call so.
pub(super) fn meant_field(section: Section, name: &str) -> Option<&'static str> {
    let arn = if section == Section::Users {
        "userarn"
    } else {
        "rolearn"
    };
    let mut known = [arn, "username", "groups"].into_iter();
    known.find(|known| almost(name, known)).or_else(|| {
        let names = ["user", "name", "userid"];
        let is_username = names.iter().any(|other| name.eq_ignore_ascii_case(other));
        is_username.then_some("username")
    })
}

fn unknown_field(
    section: Section,
    entry: &Entry,
    name: &str,
    span: &Range<usize>,
) -> LintFinding<TextSpan> {
    let lacks = |field| match field {
        "username" => entry.username.is_empty(),
        "groups" => entry.groups.is_empty(),
        _ => false,
    };
    let (code, fix) = match meant_field(section, name) {
        Some(meant) if lacks(meant) => (Code::MisspelledField, format!("write `{meant}`")),
        Some(meant) if almost(name, meant) => (Code::UnknownField, format!("write `{meant}`")),
        Some(_) | None if matches!(name.to_ascii_lowercase().as_str(), "rolearn" | "userarn") => {
            let list = if section == Section::Roles {
                Section::Users
            } else {
                Section::Roles
            };
            let fix = format!(
                "an entry is for one principal: give this one an entry of its own in {list}"
            );
            (Code::UnknownField, fix)
        }
        Some(_) | None => (
            Code::UnknownField,
            "remove it; notes belong in comments".to_owned(),
        ),
    };
    let what = if code == Code::MisspelledField {
        "misspelled"
    } else {
        "unknown"
    };
    LintFinding {
        code,
        at: (section, span.clone()),
        title: format!("{what} field `{name}`"),
        label: seen(entry),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    }
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
            ("system:mastres", "system:masters", true),
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
    fn only_exact_placeholders_are_quoted_by_themselves() {
        for (value, expected) in [
            ("{{SessionName}}", true),
            ("{{AccountID}}-{{SessionNameRaw}}", true),
            ("{{ SessionName }}", false),
            ("{{sessionname}}", false),
            ("{{SessionName}}\"", false),
        ] {
            assert_eq!(has_only_placeholders(value), expected, "{value}");
        }
    }
}
