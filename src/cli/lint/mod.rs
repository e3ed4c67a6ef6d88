//! `identity-mapper lint`: errors in an aws-auth or in mapping manifests.

mod github;
mod junit;
mod live;
mod place;
mod sarif;
mod text;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::text::gained;
use super::choices;
use super::diff::unified;
use super::fleet::FleetArgs;
use super::input::{self, InputTexts, Templates};
use super::table::terminal_width;
use super::wrap::wrapped;
use super::{files, output, quietly};
use crate::access_entry::EksCluster;
use crate::access_entry::Entries;
use crate::api::condition::Reason;
use crate::cli::snapshot::{LiveArgs, cluster_arn};
use crate::lint::{Code, FindingFilter, Fixed, LintReport, Severity, check, fix};
use crate::observed::{AwsState, AwsView, Iam, Mode};
use crate::time::Timestamp;

/// Check an aws-auth ConfigMap or mappings for errors and suggest fixes
///
/// Exit code 0: no errors found; 1: at least one error. With --dry-run 2: the safe fixes would change something.
#[derive(Args, Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct LintArgs {
    /// Files or directories with an aws-auth ConfigMap, mappings, or both; `-` for standard input [default: the cluster]. Templates in
    /// directories are passed over
    #[arg(value_name = "FILE|DIR")]
    pub(crate) files: Vec<PathBuf>,

    #[arg(
        long,
        value_name = "FILE",
        help = input::AWS_AUTH_HELP,
        help_heading = "Files instead of a cluster"
    )]
    pub(crate) aws_auth: Option<PathBuf>,

    /// Apply the safe fixes and show the diff: files in place, standard input to standard output, a cluster's aws-auth after confirmation
    #[arg(long)]
    pub(crate) fix: bool,

    /// With --fix and a cluster: skip the confirmation
    #[arg(long, requires = "fix")]
    pub(crate) yes: bool,

    /// With --fix: show the diff, and write nothing
    #[arg(long, requires = "fix")]
    pub(crate) dry_run: bool,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LintFormat,

    /// Leave out findings below this severity; they do not affect the exit code
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t)]
    pub(crate) min_severity: MinSeverity,

    /// Leave out findings of these codes; can be repeated. In a file, the comment `# identity-mapper: ignore CODE` on the line of a finding
    /// or on the line above does the same
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    pub(crate) ignore: Vec<Code>,

    /// With files: do not fail if they contain neither an aws-auth ConfigMap nor a mapping
    #[arg(long, requires = "files")]
    pub(crate) allow_empty: bool,

    /// Explain a code, such as IM060, or the reason of a condition, such as `InvalidSpec`, instead of checking
    #[arg(long, value_name = "CODE|REASON", conflicts_with_all = ["files", "aws_auth", "fix"])]
    pub(crate) explain: Option<String>,

    /// Authentication mode. With files: also report what would not take effect in it. With a cluster: only `CONFIG_MAP`, which makes no AWS
    /// API calls
    #[arg(long, value_name = "MODE", env = "IDENTITY_MAPPER_AUTHENTICATION_MODE", value_parser = choices::mode(), ignore_case = true)]
    pub(crate) mode: Option<Mode>,

    /// ARN of the cluster, with files and a mode other than `CONFIG_MAP`
    #[arg(
        long,
        value_name = "ARN",
        value_parser = cluster_arn,
        help_heading = "Files instead of a cluster"
    )]
    pub(crate) cluster_arn: Option<EksCluster>,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,

    #[command(flatten)]
    pub(crate) live: LiveArgs,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    /// Human-readable
    #[default]
    Text,
    /// One JSON document
    Json,
    /// GitHub Actions workflow commands, which annotate pull requests
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports: errors are failures, warnings and notes are not
    Junit,
}

/// From which severity on findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinSeverity {
    /// Everything
    #[default]
    Note,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
}

impl From<MinSeverity> for Severity {
    fn from(least: MinSeverity) -> Self {
        match least {
            MinSeverity::Note => Self::Note,
            MinSeverity::Warning => Self::Warning,
            MinSeverity::Error => Self::Error,
        }
    }
}

/// The code of a finding, or what to write instead.
fn code(text: &str) -> Result<Code, String> {
    Code::parse(text.trim()).ok_or_else(|| {
        "no such code; write the one in the brackets of the finding, such as IM040 of note[IM040]"
            .to_owned()
    })
}

impl LintArgs {
    /// The exit code is 1 where a finding is an error.
    pub(super) fn run(self, verbose: u8) -> Result<ExitCode> {
        if let Some(code) = &self.explain {
            return explain(code);
        }
        let files: Vec<PathBuf> = self.files.iter().chain(&self.aws_auth).cloned().collect();
        if let Some(clusters) = self.fleet.clusters(&self.live, !files.is_empty())? {
            return quietly(verbose, Box::pin(self.clusters(clusters)));
        }
        if files.is_empty() {
            if let Some(cluster) = &self.cluster_arn {
                bail!(
                    "--cluster-arn {} needs files; name a live cluster with --cluster-name",
                    cluster.arn
                );
            }
            return quietly(verbose, Box::pin(self.cluster()));
        }
        let aws = self.aws()?;
        let mut read = input::sources(&files, Templates::PassOver)?;
        let fixed = if self.fix {
            fix_files(&mut read, &self.filter().ignored, self.dry_run)?
        } else {
            FixOutcome::default()
        };
        let mut checked = check(&read.texts);
        if checked.is_empty() && !self.allow_empty {
            let rendered_first = "templates, which have to be rendered first";
            bail!(
                "{}; --allow-empty accepts that",
                match (input::names(&read.texts), read.passed_over) {
                    (names, true) if names.is_empty() =>
                        format!("nothing was checked: the input has only {rendered_first}"),
                    (names, true) => format!(
                        "neither an aws-auth ConfigMap nor an IdentityMapping in {names}; the rest of the input are {rendered_first}"
                    ),
                    (names, false) =>
                        format!("neither an aws-auth ConfigMap nor an IdentityMapping in {names}"),
                }
            );
        }
        for (source, section) in &checked.bare {
            input::report_bare(&read.texts[*source].name, *section, "aws-auth");
        }
        if let Some(aws) = aws {
            checked.in_mode(aws, Timestamp::now());
        }
        self.print(fixed, checked.report)
    }

    /// What the mode says of AWS; `None` where none is given.
    fn aws(&self) -> Result<Option<AwsState>> {
        Ok(match (self.mode, &self.cluster_arn) {
            (None, None) => None,
            (None, Some(_)) => bail!("--cluster-arn needs --mode"),
            (Some(Mode::ConfigMap), _) => Some(AwsState::Off),
            (Some(mode), None) => bail!(
                "mode {mode} needs the partition and account of the cluster: add --cluster-arn \
                 arn:aws:eks:REGION:ACCOUNT:cluster/NAME"
            ),
            (Some(mode), Some(cluster)) => {
                // Which exist is not asked: each mapping is checked as if it made the first.
                let none = Entries {
                    listed: Some(Timestamp::now()),
                    ..Entries::default()
                };
                let view = AwsView::new(cluster.clone(), mode, none, Iam::default());
                Some(AwsState::Known(Box::new(view)))
            }
        })
    }

    fn filter(&self) -> FindingFilter {
        FindingFilter {
            ignored: self.ignore.iter().copied().collect(),
            least: self.min_severity.into(),
        }
    }

    /// Prints what was fixed and the remaining findings.
    fn print(&self, fixed: FixOutcome, mut report: LintReport) -> Result<ExitCode> {
        let FixOutcome {
            shown,
            piped,
            changes,
        } = fixed;
        let narrowed = report.narrow(&self.filter());
        for code in narrowed.unused {
            output::complain(&format!("note: --ignore {code} matched no finding"));
        }
        let found = self.printed(&report, narrowed.hidden)?;
        match piped {
            Some(text) => {
                output::complain(&(shown + &found));
                output::print_exactly(&text)?;
            }
            None if self.output == LintFormat::Text => output::print(&(shown + &found))?,
            None => {
                if !shown.is_empty() {
                    output::complain(&shown);
                }
                output::print(&found)?;
            }
        }
        Ok(if self.dry_run && changes {
            ExitCode::from(CHANGES)
        } else if report.has_errors() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// The exit code of a dry run that would change something, as of `plan --fail-on changes`.
const CHANGES: u8 = 2;
/// What a dry run ends with, before what the fixes leave.
const DRY_RUN: &str = "Dry run: nothing was written. After these fixes:\n\n";
impl LintArgs {
    fn printed(&self, report: &LintReport, hidden: usize) -> Result<String> {
        Ok(match self.output {
            LintFormat::Text => text::text(report, hidden),
            LintFormat::Json => output::json(&text::document(report))?,
            LintFormat::Github => github::github(report),
            LintFormat::Sarif => output::json(&sarif::sarif(report))?,
            LintFormat::Junit => junit::junit(report),
        })
    }
}

/// The page that explains the codes.
const CODES: &str = include_str!("../../../docs/lint.md");
/// The page that explains the reasons of conditions.
const REASONS: &str = include_str!("../../../docs/troubleshooting.md");

/// Prints what the pages say of a code or a reason.
fn explain(word: &str) -> Result<ExitCode> {
    let found = match Code::parse(word) {
        Some(code) => Some(explanation(code)),
        None => reason(word).and_then(|reason| section(REASONS, &format!("{reason}\n"))),
    };
    let Some(found) = found else {
        bail!(
            "--explain {word}: no such code or reason; findings have one, such as error[IM060], and conditions, such as InvalidSpec"
        )
    };
    output::print(&plain(found, terminal_width()))?;
    Ok(ExitCode::SUCCESS)
}

/// The reason of this name, however its case is written.
fn reason(word: &str) -> Option<&'static str> {
    let mut all = Reason::ALL.iter().map(|reason| reason.as_str());
    all.find(|reason| reason.eq_ignore_ascii_case(word))
}

/// A part of the page as a terminal shows it: paragraphs are broken at its width, and examples are indented.
fn plain(page: &str, width: Option<usize>) -> String {
    let mut out: Vec<String> = Vec::new();
    let (mut in_example, mut in_paragraph) = (false, false);
    for line in page.lines() {
        if line.starts_with("```") {
            in_example = !in_example;
            in_paragraph = false;
            continue;
        }
        let is_item = line.starts_with("- ");
        match out.last_mut() {
            Some(last) if in_paragraph && !in_example && !is_item && !line.is_empty() => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ if in_example => out.push(format!("    {line}")),
            _ => out.push(line.replacen("*Fix:*", "Fix:", 1)),
        }
        in_paragraph = !in_example && !line.is_empty();
    }
    let lines = out.iter().map(|line| match line.strip_prefix("- ") {
        _ if line.starts_with("    ") => format!("{line}\n"),
        Some(item) => wrapped(item, "- ", "  ", width),
        None => wrapped(line, "", "", width),
    });
    lines.collect()
}

/// What the page says of a code, with its heading.
fn explanation(code: Code) -> &'static str {
    section(CODES, &format!("{}:", code.id())).unwrap_or_default()
}

/// A section of a page, with the heading that starts so.
fn section(page: &'static str, heading: &str) -> Option<&'static str> {
    let mut sections = page.split("\n### ").skip(1);
    let section = sections.find(|section| section.starts_with(heading))?;
    Some(section.split("\n## ").next()?.trim_end())
}

#[derive(Default)]
struct FixOutcome {
    /// The diffs, and the access that they grant.
    shown: String,
    /// Standard input as it is now, which is then the result.
    piped: Option<String>,
    /// Whether something was fixed, or would be.
    changes: bool,
}

fn fix_files(read: &mut InputTexts, ignored: &BTreeSet<Code>, dry_run: bool) -> Result<FixOutcome> {
    let mut outcome = FixOutcome::default();
    let mut written: Vec<(&Path, &str)> = Vec::new();
    for (source, path) in read.texts.iter_mut().zip(&read.paths) {
        let fixed = fix(source, ignored);
        if let Some(Fixed { text, gains }) = fixed {
            let name = &source.name;
            outcome.shown += &unified(&source.text, &text, name, name);
            outcome.shown += &gained(&gains);
            outcome.shown.push('\n');
            outcome.changes = true;
            source.text = text;
            written.extend(path.as_deref().map(|path| (path, source.text.as_str())));
        }
        if path.is_none() && !dry_run {
            outcome.piped = Some(source.text.clone());
        }
    }
    if dry_run {
        outcome.shown += if outcome.changes {
            DRY_RUN
        } else {
            "Dry run: nothing can be fixed automatically.\n\n"
        };
    } else {
        files::write_all(&written)?;
        if !written.is_empty() {
            let names = written.iter().map(|(path, _)| files::shown(path));
            let names: Vec<String> = names.collect();
            let _ = write!(outcome.shown, "Written: {}\n\n", names.join(", "));
        }
    }
    Ok(outcome)
}
