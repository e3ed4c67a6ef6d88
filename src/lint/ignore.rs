//! Leaves findings out: by comments in the text, by code and by severity.
//!
//! A comment holds for its own line, or, where nothing else is on it, for the next line that is not a comment:
//!
//! ```yaml
//! # identity-mapper: ignore IM040
//! - rolearn: arn:aws:iam::111122223333:role/viewer
//! ```
//!
//! Comments are found by line and not by YAML, so that they work in aws-auth's texts, in manifests and where a text is broken.

use std::collections::BTreeSet;
use std::ops::Range;

use super::code::{Code, Severity};
use super::finding::{Diagnostic, LintReport};
use crate::yaml::Lines;

const MARK: &str = "identity-mapper:";
const WORD: &str = "ignore";

/// Which findings are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FindingFilter {
    pub(crate) ignored: BTreeSet<Code>,
    pub(crate) least: Severity,
}

/// What a filter took out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    /// How many findings.
    pub(crate) hidden: usize,
    /// The ignored codes that no finding has.
    pub(crate) unused: Vec<Code>,
}

/// The ignore comments of a text.
pub(super) struct IgnoreComments<'t> {
    lines: Option<Lines<'t>>,
    comments: Vec<IgnoreComment>,
}

struct IgnoreComment {
    /// The bytes of the code, or of the comment that has none.
    span: Range<usize>,
    /// The line that it is for, counted from 0.
    target: usize,
    /// The code; else what is there instead.
    code: Result<Code, String>,
    used: bool,
}

impl<'t> IgnoreComments<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        // JSON has no comments: what looks so is in a value, whose lines are all on one.
        if !text.contains(MARK) || text.trim_start().starts_with('{') {
            return Self {
                lines: None,
                comments: Vec::new(),
            };
        }
        let lines = Lines::new(text);
        let mut comments = Vec::new();
        for line in 0..lines.count() {
            let span = lines.line(line);
            if let Some(comment) = Comment::find(&text[span.clone()]) {
                let target = if comment.alone {
                    target(text, &lines, line)
                } else {
                    line
                };
                comments.extend(
                    comment
                        .codes
                        .into_iter()
                        .map(|(within, code)| IgnoreComment {
                            span: span.start + within.start..span.start + within.end,
                            target,
                            code,
                            used: false,
                        }),
                );
            }
        }
        Self {
            lines: Some(lines),
            comments,
        }
    }

    /// Whether a finding is to be ignored.
    pub(super) fn ignores(&self, code: Code, at: usize) -> bool {
        let line = self.lines.as_ref().map(|lines| lines.number(at));
        let mut comments = self.comments.iter();
        comments.any(|it| Some(it.target) == line && it.code == Ok(code))
    }

    /// The same, noted for [`IgnoreComments::findings`].
    fn takes(&mut self, code: Code, at: usize) -> bool {
        let line = self.lines.as_ref().map(|lines| lines.number(at));
        let mut taken = false;
        for comment in &mut self.comments {
            if Some(comment.target) == line && comment.code == Ok(code) {
                comment.used = true;
                taken = true;
            }
        }
        taken
    }

    /// What is wrong with the comments themselves.
    fn findings(self, source: usize) -> impl Iterator<Item = Diagnostic> {
        let unused = self.comments.into_iter().filter(|comment| !comment.used);
        unused.map(move |comment| comment.finding(source))
    }
}

impl IgnoreComment {
    fn finding(self, source: usize) -> Diagnostic {
        let (code, title, label, fix) = match self.code {
            Ok(code) => (
                Code::NothingIgnored,
                format!("ignore comment for {code} that matches no finding"),
                format!("line {} has no finding {code}", self.target + 1),
                "remove it, or move it to the line that the finding names, or to the line above"
                    .to_owned(),
            ),
            Err(text) if text.is_empty() => (
                Code::UnknownIgnored,
                "ignore comment without a code".to_owned(),
                "a code follows here".to_owned(),
                "write the code of the finding: `# identity-mapper: ignore IM040`".to_owned(),
            ),
            Err(text) => (
                Code::UnknownIgnored,
                format!("ignore comment with the unknown code {text:?}"),
                "lint has no such code".to_owned(),
                "write the code in the brackets of the finding, such as IM040 of note[IM040]"
                    .to_owned(),
            ),
        };
        Diagnostic {
            code,
            source,
            span: self.span,
            title,
            label,
            fix,
            fixable: false,
        }
    }
}

/// The line that a comment alone on its line is for.
fn target(text: &str, lines: &Lines<'_>, line: usize) -> usize {
    let mut below = line + 1..lines.count();
    let is_comment = |line: usize| text[lines.line(line)].trim_start().starts_with('#');
    below.find(|line| !is_comment(*line)).unwrap_or(line)
}

/// A comment on one line.
struct Comment {
    /// Whether nothing else is on the line.
    alone: bool,
    codes: Vec<(Range<usize>, Result<Code, String>)>,
}

impl Comment {
    fn find(line: &str) -> Option<Self> {
        let mut hashes = line.match_indices('#').map(|(at, _)| at);
        hashes.find_map(|at| {
            let before = &line[..at];
            if !(before.is_empty() || before.ends_with([' ', '\t'])) {
                return None;
            }
            let rest = line[at + 1..].trim_start().strip_prefix(MARK)?;
            let rest = rest.trim_start().strip_prefix(WORD)?;
            let ends = rest.chars().next().is_none_or(|c| !c.is_alphanumeric());
            ends.then(|| Self {
                alone: before.trim().is_empty(),
                codes: codes(line, line.len() - rest.len(), at),
            })
        })
    }
}

/// The codes of a comment from `at` on: between commas or spaces, up to the first word that is none. `start` is where the comment begins.
fn codes(line: &str, mut at: usize, start: usize) -> Vec<(Range<usize>, Result<Code, String>)> {
    let mut codes = Vec::new();
    let mut wanted = true;
    loop {
        let rest = &line[at..];
        let gap = rest.len() - rest.trim_start_matches([' ', '\t', ',']).len();
        wanted |= rest[..gap].contains(',');
        at += gap;
        let word = &line[at..];
        let end = word.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
        let word = &word[..end.unwrap_or(word.len())];
        let looks_so = word.len() > 2
            && word.as_bytes()[..2].eq_ignore_ascii_case(b"IM")
            && word[2..].bytes().all(|b| b.is_ascii_digit());
        if word.is_empty() || !(wanted || looks_so) {
            break;
        }
        codes.push((
            at..at + word.len(),
            Code::parse(word).ok_or_else(|| word.to_owned()),
        ));
        at += word.len();
        wanted = false;
    }
    if codes.is_empty() {
        codes.push((start..line.trim_end().len(), Err(String::new())));
    }
    codes
}

impl LintReport {
    /// Takes out the findings that comments and the filter do not want. Comments that are wrong become findings.
    pub(crate) fn narrow(&mut self, filter: &FindingFilter) -> Narrowed {
        let before = self.diagnostics.len();
        let added = self.apply_comments();
        let mut seen = BTreeSet::new();
        self.diagnostics.retain(|found| {
            seen.insert(found.code);
            found.code.severity() >= filter.least && !filter.ignored.contains(&found.code)
        });
        let unused = filter.ignored.iter().filter(|code| !seen.contains(code));
        Narrowed {
            hidden: before + added - self.diagnostics.len(),
            unused: unused.copied().collect(),
        }
    }

    /// Takes out what comments ignore; gives how many findings the comments themselves became.
    fn apply_comments(&mut self) -> usize {
        let Self {
            sources,
            diagnostics,
        } = self;
        let texts = sources.iter();
        let mut comments: Vec<IgnoreComments<'_>> = texts
            .map(|text| IgnoreComments::new(&text.source.text))
            .collect();
        diagnostics.retain(|found| !comments[found.source].takes(found.code, found.span.start));
        let all = comments.into_iter().enumerate();
        let found: Vec<Diagnostic> = all
            .flat_map(|(source, comments)| comments.findings(source))
            .collect();
        let added = found.len();
        diagnostics.extend(found);
        self.sort();
        added
    }
}

#[cfg(test)]
mod tests {
    use super::super::{check, fix};
    use super::*;
    use crate::manifest::Source;

    fn source(text: &str) -> Source {
        Source {
            name: "it.yaml".to_owned(),
            text: text.to_owned(),
        }
    }

    const ALL: FindingFilter = FindingFilter {
        ignored: BTreeSet::new(),
        least: Severity::Note,
    };

    /// The codes with their lines, and how many were hidden.
    fn narrowed(text: &str, filter: &FindingFilter) -> (Vec<(&'static str, usize)>, usize) {
        let mut report = check(&[source(text)]).report;
        let hidden = report.narrow(filter).hidden;
        let found = report.diagnostics.iter().map(|found| {
            let lines = Lines::new(&report.sources[found.source].source.text);
            (found.code.id(), lines.position(found.span.start).0)
        });
        (found.collect(), hidden)
    }

    fn text(role: &str, group: &str) -> String {
        format!(
            "kind: ConfigMap\nmetadata: {{name: aws-auth}}\ndata:\n  mapRoles: |\n    {role}- rolearn: arn:aws:iam::111122223333:role/team/a\n      username: a\n      groups: [system:master]{group}\n"
        )
    }

    #[test]
    fn comments_hold_for_their_line_or_the_next() {
        let (path, group) = (("IM020", 5), ("IM041", 7));
        assert_eq!(narrowed(&text("", ""), &ALL), (vec![path, group], 0));
        let behind = text("", "  # identity-mapper: ignore IM041");
        assert_eq!(narrowed(&behind, &ALL), (vec![path], 1));
        let above = text(
            "# identity-mapper: ignore IM020\n    # of history\n    ",
            "",
        );
        assert_eq!(narrowed(&above, &ALL), (vec![("IM041", 9)], 1));
        // One behind other text is not for the line below.
        let other = text("[] # identity-mapper: ignore IM020\n    ", "");
        assert!(narrowed(&other, &ALL).0.contains(&("IM091", 5)));
    }

    #[test]
    fn several_codes_and_a_reason() {
        let list = |codes: &str| {
            narrowed(
                &text(&format!("# identity-mapper: ignore {codes}\n    "), ""),
                &ALL,
            )
        };
        let left = vec![("IM041", 8)];
        for codes in [
            "IM020",
            "im020 until May",
            "IM020: IM 1",
            "IM020 - agreed, see INC-12",
        ] {
            assert_eq!(list(codes), (left.clone(), 1), "{codes}");
        }
        let unused = vec![("IM091", 5), ("IM041", 8)];
        for codes in ["IM020,IM040", "IM020, IM040", "IM040 IM020"] {
            assert_eq!(list(codes), (unused.clone(), 1), "{codes}");
        }
    }

    #[test]
    fn what_is_no_code_and_what_hides_nothing_is_reported() {
        let found = |codes: &str| {
            narrowed(
                &text(&format!("# identity-mapper: ignore{codes}\n    "), ""),
                &ALL,
            )
            .0
        };
        let (path, group) = (("IM020", 6), ("IM041", 8));
        assert_eq!(found(" IM999"), [("IM090", 5), path, group]);
        assert_eq!(found(""), [("IM090", 5), path, group]);
        assert_eq!(found(" all"), [("IM090", 5), path, group]);
        assert_eq!(found(" IM040"), [("IM091", 5), path, group]);
        // Another word, and what is no comment.
        assert_eq!(found("d IM020"), [path, group]);
        let name = text("", "").replace("username: a", "username: a#identity-mapper: ignore IM999");
        assert!(
            !narrowed(&name, &ALL)
                .0
                .iter()
                .any(|(code, _)| *code == "IM090")
        );
    }

    #[test]
    fn json_has_no_comments() {
        let yaml = "#\n  # identity-mapper: ignore IM020\n- rolearn: arn:aws:iam::111122223333:role/team/a\n  username: a\n  groups: [g]\n";
        let json = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": "aws-auth"}, "data": {"mapRoles": yaml}});
        assert_eq!(narrowed(&json.to_string(), &ALL), (vec![("IM020", 1)], 0));
        assert_eq!(narrowed(yaml, &ALL), (vec![], 1));
    }

    #[test]
    fn codes_and_severity_narrow_the_report() {
        let filter = FindingFilter {
            ignored: [Code::RolePath, Code::Tab].into(),
            ..ALL
        };
        assert_eq!(narrowed(&text("", ""), &filter), (vec![("IM041", 7)], 1));
        let mut report = check(&[source(&text("", ""))]).report;
        assert_eq!(report.narrow(&filter).unused, [Code::Tab]);
        let note = text("", "").replace("      groups: [system:master]\n", "");
        let note = note.replace("role/team/a", "role/a");
        let least = |least| narrowed(&note, &FindingFilter { least, ..ALL });
        assert_eq!(least(Severity::Note), (vec![("IM040", 5)], 0));
        assert_eq!(least(Severity::Warning), (vec![], 1));
    }

    #[test]
    fn what_is_ignored_is_not_fixed() {
        let none = BTreeSet::new();
        assert!(fix(&source(&text("", "")), &none).is_some());
        assert!(fix(&source(&text("", "")), &[Code::RolePath].into()).is_none());
        let commented = text("# identity-mapper: ignore IM020\n    ", "");
        assert!(fix(&source(&commented), &none).is_none());
        let mapping = "apiVersion: identity-mapper.dev/v1alpha1\nkind: IdentityMapping\nmetadata: {name: team}\nspec:\n  principal: {arn: arn:aws:iam::111122223333:role/team}\n  groups: [on]";
        assert!(fix(&source(mapping), &none).is_some());
        let commented = format!("{mapping} # identity-mapper: ignore IM009\n");
        assert!(fix(&source(&commented), &none).is_none());
    }
}
