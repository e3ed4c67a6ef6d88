//! `identity-mapper import`: the entries of aws-auth and access entries, as mappings ready to commit.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::diagnostic::{Severity, Shown, render};
use super::output::{self, complain, visible};
use super::rights::ReadingCommand;
use super::{files, input};
use crate::aws_auth::Problem;
use crate::cli::snapshot::{IamExtent, ModeNeed, Observation, ObserveArgs};
use crate::desired::Mapping;
use crate::import::{Import, ImportOptions, Imported, Origin, SkipReason, Skipped, import};
use crate::manifest;
use crate::observed::{Handover, Mode, Settings};
use crate::plan::HANDOVER_ANNOTATION;

/// Print the entries of aws-auth and access entries as `IdentityMapping` manifests
///
/// Applying them changes only the ownership marks. Entries of nodes and entries that AWS created are skipped; skipped entries are listed
/// on standard error with the reason. Exit code 0, also with skipped entries.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// Existing mappings from a file, a directory, or `-` for standard input; can be repeated. Principals that they or the cluster's
    /// mappings declare are not imported
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,

    /// Which entries to import besides those of people and workloads
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub(crate) include: Vec<Included>,

    /// Write one file per mapping to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,

    /// With --output-dir: overwrite existing files with other content
    #[arg(long, requires = "output_dir")]
    pub(crate) force: bool,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ManifestFormat,

    #[command(flatten)]
    pub(crate) observe: ObserveArgs,
}

/// What `--include` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Included {
    /// Entries of nodes
    Nodes,
    /// Access entries that EKS created, by their tags
    AwsMade,
    /// Both
    All,
}

/// Formats of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestFormat {
    /// One YAML document per manifest, with the comments of the entries
    #[default]
    Yaml,
    /// A JSON List of manifests, with the source of each, and what was skipped
    Json,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Value>,
    imported: Vec<ImportedMapping<'a>>,
    not_imported: Vec<SkippedEntry<'a>>,
    declared: Vec<DeclaredEntry<'a>>,
}

#[derive(Serialize)]
struct ImportedMapping<'a> {
    name: &'a str,
    from: ImportedFrom<'a>,
    comments: &'a [String],
    notes: &'a [String],
}

#[derive(Serialize)]
struct SkippedEntry<'a> {
    what: &'a str,
    from: ImportedFrom<'a>,
    reason: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct DeclaredEntry<'a> {
    mapping: &'a str,
    from: ImportedFrom<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportedFrom<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_entry: Option<&'a str>,
}

impl<'a> ImportedFrom<'a> {
    fn of(origin: &'a Origin) -> Self {
        match origin {
            Origin::Text { section, line } => Self {
                key: Some(section.key()),
                line: *line,
                access_entry: None,
            },
            Origin::AccessEntry(arn) => Self {
                key: None,
                line: None,
                access_entry: Some(arn),
            },
        }
    }
}

/// Imports and prints or writes the manifests. The cluster and AWS are only read.
pub(crate) async fn run(args: ImportArgs) -> Result<ExitCode> {
    let declared = match args.filename.as_slice() {
        [] => Vec::new(),
        files => input::declared(files)?.declared,
    };
    let declare = |observation: &mut Observation| {
        let mappings = declared.iter().map(|it| Mapping::from_object(&it.object));
        observation.desired.mappings.extend(mappings);
    };
    let mut observe = args.observe.clone();
    observe.live.reader = ReadingCommand::Import;
    let observation = observe
        .observe_with(IamExtent::EveryoneAndKeepers, ModeNeed::Required, declare)
        .await?;
    let settings = Settings {
        config_map: observation.config_map.clone(),
        ..Settings::default()
    };
    let found = import(
        &observation.desired,
        &observation.observed,
        &settings,
        args.options(),
    );
    refuse_broken(&found.broken, &observation)?;
    let texts = found
        .imported
        .iter()
        .map(manifest_text)
        .collect::<Result<Vec<String>>>()?;
    let written = match &args.output_dir {
        Some(folder) => Some(write_files(folder, &found.imported, &texts, args.force)?),
        None => None,
    };
    let printed = match (args.output, written) {
        (ManifestFormat::Json, _) => output::json(&list(&found)?)?,
        (ManifestFormat::Yaml, Some(paths)) => paths,
        (ManifestFormat::Yaml, None) if texts.is_empty() => String::new(),
        (ManifestFormat::Yaml, None) => {
            format!("# {}\n\n{}", args.source(&observation), texts.join("---\n"))
        }
    };
    output::print(&printed)?;
    if args.output == ManifestFormat::Yaml {
        complain(&summary(&found));
    }
    if hands_over(&observation) && !found.imported.is_empty() {
        complain(
            "note: this cluster's handover setting is Auto, so entries in aws-auth move to access entries once these mappings are \
                applied",
        );
    }
    Ok(ExitCode::SUCCESS)
}

impl ImportArgs {
    fn options(&self) -> ImportOptions {
        let asks = |what| self.include.contains(&what) || self.include.contains(&Included::All);
        ImportOptions {
            nodes: asks(Included::Nodes),
            aws_made: asks(Included::AwsMade),
        }
    }

    /// Where it comes from. No time: the same import gives the same text.
    fn source(&self, observation: &Observation) -> String {
        let mode = observation.observed.aws.mode();
        let entries = mode.is_some_and(|mode| mode != Mode::ConfigMap);
        let Some(live) = &observation.live else {
            let files = self
                .observe
                .aws_auth
                .iter()
                .chain(&self.observe.access_entries);
            let files: Vec<String> = files
                .map(|file| visible(&file.display().to_string()))
                .collect();
            return format!("Imported by identity-mapper from {}", files.join(" and "));
        };
        let what = match mode {
            Some(Mode::Api) => "the access entries".to_owned(),
            Some(Mode::ApiAndConfigMap) => {
                format!("{} and the access entries", observation.config_map)
            }
            Some(Mode::ConfigMap) | None => observation.config_map.to_string(),
        };
        let cluster = live.target.eks.as_ref().filter(|_| entries);
        let cluster = cluster.map_or(&live.target.url, |eks| &eks.cluster.arn);
        format!("Imported by identity-mapper from {what} of {cluster}")
    }
}

/// Nothing is known of a section that the authenticator drops whole, and half an import is not to be taken for all.
fn refuse_broken(broken: &[Problem], observation: &Observation) -> Result<()> {
    let data = observation.observed.config_map.as_ref();
    for problem in broken {
        let key = problem.section.key();
        let source = data.and_then(|view| view.data.get(key));
        complain(&render(&Shown {
            severity: Severity::Error,
            code: "",
            title: &problem.message,
            origin: key,
            source: source.map_or("", String::as_str),
            span: problem.span.clone(),
            label: &format!("all of {key} is dropped"),
            below: Vec::new(),
        }));
    }
    match broken {
        [] => Ok(()),
        [one] => bail!(
            "{} is invalid YAML; fix it first (`identity-mapper lint`)",
            one.section
        ),
        _ => bail!("aws-auth is invalid YAML; fix it first (`identity-mapper lint`)"),
    }
}

/// A mapping as YAML. One with hidden characters is written as JSON, which is YAML too and has escapes for them.
fn manifest_text(imported: &Imported) -> Result<String> {
    let Imported {
        object, comments, ..
    } = imported;
    let text = manifest::write(object, comments)?;
    if !output::hides(&text) {
        return Ok(text);
    }
    let comments = comments.iter().map(|it| format!("# {}\n", visible(it)));
    Ok(comments.collect::<String>() + &output::json(&manifest::to_value(object)?)?)
}

/// Writes a file for each mapping, and gives their paths. Nothing is written where a file that says something else is in the way.
fn write_files(
    folder: &Path,
    imported: &[Imported],
    texts: &[String],
    force: bool,
) -> Result<String> {
    let named = imported.iter().zip(texts);
    let written: Vec<(PathBuf, &str)> = named
        .map(|(it, text)| (folder.join(format!("{}.yaml", name(it))), text.as_str()))
        .collect();
    let mut others = Vec::new();
    for (path, text) in &written {
        if files::regular(path)?.is_some() {
            let bytes = fs::read(path);
            let bytes = bytes.with_context(|| format!("cannot read {}", files::shown(path)))?;
            if bytes != text.as_bytes() {
                others.push(files::shown(path));
            }
        }
    }
    if !others.is_empty() && !force {
        bail!(
            "nothing was written: {} already with other content; add --force to overwrite, or choose another --output-dir",
            match others.as_slice() {
                [one] => format!("{one} exists"),
                _ => format!("these files exist: {},", others.join(", ")),
            }
        );
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", files::shown(folder)))?;
    let written: Vec<(&Path, &str)> = written
        .iter()
        .map(|(path, text)| (path.as_path(), *text))
        .collect();
    files::write_all(&written)?;
    Ok(written.iter().fold(String::new(), |paths, (path, _)| {
        paths + &files::shown(path) + "\n"
    }))
}

fn name(imported: &Imported) -> &str {
    imported.object.metadata.name.as_deref().unwrap_or_default()
}

fn list(found: &Import) -> Result<ImportList<'_>> {
    let items = found.imported.iter();
    let items = items.map(|it| manifest::to_value(&it.object));
    let imported = found.imported.iter().map(|it| ImportedMapping {
        name: name(it),
        from: ImportedFrom::of(&it.origin),
        comments: &it.comments,
        notes: &it.notes,
    });
    let rest = found.left.iter().map(|left| SkippedEntry {
        what: &left.what,
        from: ImportedFrom::of(&left.origin),
        reason: left.why.as_str(),
        message: &left.message,
    });
    let declared = found.declared.iter();
    let declared = declared.map(|(origin, mapping)| DeclaredEntry {
        mapping,
        from: ImportedFrom::of(origin),
    });
    Ok(ImportList {
        api_version: "v1",
        kind: "List",
        items: items.collect::<Result<_, _>>()?,
        imported: imported.collect(),
        not_imported: rest.collect(),
        declared: declared.collect(),
    })
}

/// What was imported and what was not, for people.
fn summary(found: &Import) -> String {
    let count = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let mut text = format!(
        "{} imported",
        count(found.imported.len(), "mapping", "mappings")
    );
    if !found.declared.is_empty() {
        let declared = count(found.declared.len(), "entry is", "entries are");
        let _ = write!(text, "; {declared} already declared");
    }
    text.push('\n');
    for imported in &found.imported {
        for note in &imported.notes {
            let _ = writeln!(
                text,
                "note: {} ({}): {}",
                name(imported),
                imported.origin,
                visible(note)
            );
        }
    }
    let mut first = HashMap::new();
    for (number, left) in found.left.iter().enumerate() {
        first.entry(told(left)).or_insert(number);
    }
    let mut rest: Vec<&Skipped> = found.left.iter().collect();
    rest.sort_by_key(|left| (heading(left.why), first[&told(left)]));
    for same in rest.chunk_by(|one, other| told(one) == told(other)) {
        let (title, message) = told(same[0]);
        let _ = writeln!(text, "{title}: {}", visible(message));
        for left in same {
            let _ = writeln!(text, "  {}: {}", left.origin, visible(&left.what));
        }
    }
    text
}

/// What people read about something that was not imported.
fn told(left: &Skipped) -> (&'static str, &str) {
    (heading(left.why), &left.message)
}

/// What people read first about something that was not imported.
const fn heading(why: SkipReason) -> &'static str {
    match why {
        SkipReason::Node | SkipReason::AwsMade | SkipReason::OtherInstallation => "left out",
        SkipReason::Shadowed | SkipReason::NotRead => "without effect",
        SkipReason::LetsNobodyIn => "no access",
        SkipReason::Ambiguous | SkipReason::Inexpressible => "not importable",
    }
}

/// Whether mappings that stand in aws-auth are handed over at once.
fn hands_over(observation: &Observation) -> bool {
    let history = observation.observed.history.view();
    let handover = history.and_then(|view| view.annotations.get(HANDOVER_ANNOTATION));
    observation.observed.aws.mode() == Some(Mode::ApiAndConfigMap)
        && handover.and_then(|value| value.parse().ok()) == Some(Handover::Auto)
}
