//! `identity-mapper lint`: everything that is wrong with an aws-auth or with mapping manifests.

mod live;
mod text;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::text::{gained, print};
use super::diff::unified;
use super::{input, output, quietly};
use crate::access_entry::EksCluster;
use crate::access_entry::Entries;
use crate::cli::snapshot::{LiveArgs, cluster_arn};
use crate::lint::{Fixed, Report, check, fix};
use crate::manifest::Source;
use crate::observed::{AwsState, AwsView, Iam, Mode};
use crate::time::Timestamp;

/// Find everything that is wrong with an aws-auth or with mappings: where, why it matters, and the mend
///
/// Exit code 0: no finding is an error; 1: one is.
#[derive(Args, Clone, Debug)]
pub struct LintArgs {
    /// Files or folders in place of a cluster: an aws-auth ConfigMap, mappings, or both; `-` for standard input
    #[arg(value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,

    /// Rewrite what is safe, and show the difference: files in place, standard input to standard output, a cluster's aws-auth after asking
    #[arg(long)]
    pub fix: bool,

    /// With --fix and a cluster: do it without asking
    #[arg(long, requires = "fix")]
    pub yes: bool,

    /// How to print the findings
    #[arg(short, long, value_enum, default_value_t)]
    pub output: LintFormat,

    /// The authentication mode: with files, also what would not take effect in it; with a cluster only `CONFIG_MAP`, which asks nothing of
    /// AWS
    #[arg(long, value_name = "MODE", env = "IDENTITY_MAPPER_AUTHENTICATION_MODE")]
    pub mode: Option<Mode>,

    /// With files and a mode other than `CONFIG_MAP`: the cluster's ARN
    #[arg(long, value_name = "ARN", value_parser = cluster_arn, requires = "files")]
    pub cluster_arn: Option<EksCluster>,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub live: LiveArgs,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// Workflow commands of GitHub Actions, which mark the lines in a pull request
    Github,
}

impl LintArgs {
    /// Lints. The exit code is 1 where a finding is an error.
    pub(super) fn run(self, verbose: u8) -> Result<ExitCode> {
        if self.files.is_empty() {
            return quietly(verbose, Box::pin(self.cluster()));
        }
        let aws = self.aws()?;
        let mut sources = input::sources(&self.files)?;
        let mended = if self.fix {
            mend(&mut sources)?
        } else {
            Mended::default()
        };
        let mut checked = check(&sources);
        if checked.is_empty() {
            bail!(
                "there is neither an aws-auth ConfigMap nor an IdentityMapping in what was given"
            );
        }
        if let Some(aws) = aws {
            checked.in_mode(aws, Timestamp::now());
        }
        self.tell(mended, &checked.report)
    }

    /// What the mode says of AWS; `None` where none is given.
    fn aws(&self) -> Result<Option<AwsState>> {
        Ok(match (self.mode, &self.cluster_arn) {
            (None, None) => None,
            (None, Some(_)) => bail!("--cluster-arn goes with --mode"),
            (Some(Mode::ConfigMap), _) => Some(AwsState::Off),
            (Some(mode), None) => bail!(
                "in the mode {mode} the cluster counts, for its partition and account: give --cluster-arn \
                 arn:aws:eks:REGION:ACCOUNT:cluster/NAME"
            ),
            (Some(mode), Some(cluster)) => {
                let view = AwsView::new(cluster.clone(), mode, Entries::default(), Iam::default());
                Some(AwsState::Known(Box::new(view)))
            }
        })
    }

    /// Prints what was mended and what is left to be.
    fn tell(&self, mended: Mended, report: &Report) -> Result<ExitCode> {
        let Mended { shown, piped } = mended;
        let found = print(self.output, report)?;
        match piped {
            Some(text) => {
                output::complain(&(shown + &found));
                output::print(&text)?;
            }
            None if self.output == LintFormat::Text => output::print(&(shown + &found))?,
            None => {
                if !shown.is_empty() {
                    output::complain(&shown);
                }
                output::print(&found)?;
            }
        }
        Ok(if report.has_errors() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// What was mended.
#[derive(Default)]
struct Mended {
    /// The differences, and who gets in by them.
    shown: String,
    /// Standard input as it is now, which is then the result.
    piped: Option<String>,
}

/// Mends files in place.
fn mend(sources: &mut [Source]) -> Result<Mended> {
    let mut mended = Mended::default();
    for source in sources {
        let is_piped = source.name == input::STDIN;
        if let Some(Fixed { text, gains }) = fix(source) {
            let name = &source.name;
            mended.shown += &unified(&source.text, &text, name, name);
            mended.shown += &gained(&gains);
            mended.shown.push('\n');
            if !is_piped {
                fs::write(name, &text).with_context(|| format!("cannot write {name}"))?;
            }
            source.text = text;
        }
        if is_piped {
            mended.piped = Some(source.text.clone());
        }
    }
    Ok(mended)
}
