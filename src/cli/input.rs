//! Files, folders and standard input, read whole and as text.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::diagnostic::{Severity, Shown, render};
use super::output;
use crate::manifest::{Complaint, Mappings, Source, mappings};

/// What standard input is called.
pub(crate) const STDIN: &str = "standard input";

/// What kubectl takes for manifests in a folder.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads a file, or standard input for `-`.
pub(crate) fn source(path: &Path) -> Result<Source> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin {
        STDIN.to_owned()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        fs::read(path).map(|found| bytes = found)
    };
    read.with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
    Ok(Source { name, text })
}

/// Reads files, and of folders all manifests in them and in the folders within, by name.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = all.len();
            folder(path, &mut all)?;
            if all.len() == before {
                bail!("{} contains no .yaml, .yml or .json file", path.display());
            }
        } else {
            all.push(source(path)?);
        }
    }
    Ok(all)
}

fn folder(path: &Path, all: &mut Vec<Source>) -> Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    let entries = fs::read_dir(path).with_context(cannot)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<Result<_, _>>().with_context(cannot)?;
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            folder(&path, all)?;
        } else if extension.is_some_and(|extension| MANIFESTS.contains(&extension)) {
            all.push(source(&path)?);
        }
    }
    Ok(())
}

/// The mappings in files and folders. What the API server would refuse is shown on standard error, and is an error: a plan without it
/// would promise something else than what happens.
pub(crate) fn declared(paths: &[PathBuf]) -> Result<Mappings> {
    let sources = sources(paths)?;
    let found = mappings(&sources);
    for complaint in &found.complaints {
        output::complain(&shown(complaint, &sources[complaint.source]));
    }
    match found.complaints.len() {
        0 => Ok(found),
        1 => bail!("a manifest is invalid: the API server would refuse it"),
        many => bail!("{many} errors in manifests: the API server would refuse them"),
    }
}

fn shown(complaint: &Complaint, source: &Source) -> String {
    render(&Shown {
        severity: Severity::Error,
        code: "",
        title: &complaint.to_string(),
        origin: &source.name,
        source: &source.text,
        span: complaint.span.clone(),
        label: "",
        below: Vec::new(),
    })
}
