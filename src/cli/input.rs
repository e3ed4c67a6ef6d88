//! Files, folders and standard input, read whole and as text.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::diagnostic::{Below, Severity, Shown, render};
use super::{files, output};
use crate::aws_auth::diagnosis::GET;
use crate::aws_auth::{AwsAuthText, Section, read_aws_auth};
use crate::lint::{UnrenderedTemplate, unrendered};
use crate::manifest::{Complaint, Mappings, Source, mappings};
use crate::observed::ConfigMapName;
use crate::principal::some_of;

/// What standard input is called.
pub(crate) const STDIN: &str = "standard input";

/// What kubectl takes for manifests in a folder.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

/// The help of `--aws-auth`, wherever it is taken.
pub(crate) const AWS_AUTH_HELP: &str = "aws-auth ConfigMap from a file instead of the cluster, as `kubectl get -o yaml` or `-o json` \
    prints it; `-` for standard input";

/// Characters of the names of files in a message.
const MOST_NAMES: usize = 200;

/// How many templates of a chart a note names.
const NAMED: usize = 5;

/// What was read.
#[derive(Default)]
pub(crate) struct InputTexts {
    /// Each text.
    pub(crate) texts: Vec<Source>,
    /// The file of each text; `None`: standard input.
    pub(crate) paths: Vec<Option<PathBuf>>,
    /// Whether templates were passed over.
    pub(crate) passed_over: bool,
}

/// What becomes of the templates in a folder: those of Helm's charts, and files that are no YAML before a tool has rendered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Templates {
    /// Passed over, with a note that says so.
    PassOver,
    /// Read like other files.
    Read,
}

/// Reads a file, or standard input for `-`.
pub(crate) fn source(path: &Path) -> Result<Source> {
    let stdin = is_stdin(path);
    let name = if stdin {
        STDIN.to_owned()
    } else {
        files::shown(path)
    };
    if path.extension().is_some_and(|it| it == "tf" || it == "hcl") {
        bail!(
            "{name} is Terraform code, and not a manifest: check what it applies, as `{GET}` prints it"
        );
    }
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        fs::read(path).map(|found| bytes = found)
    };
    read.with_context(|| format!("cannot read {name}"))?;
    let text = text_of(bytes, &name)?;
    Ok(Source { name, text })
}

/// What PowerShell and Notepad write by default is not UTF-8, which kubectl needs as we do.
fn text_of(bytes: Vec<u8>, name: &str) -> Result<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        bail!(
            "{name} is UTF-16, which kubectl can't read: save it as UTF-8 (in PowerShell `kubectl … | Out-File -Encoding utf8 FILE`)"
        );
    }
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
}

/// aws-auth from a file or standard input, with its text. A list alone is said to be one, and what it is read as.
pub(crate) fn aws_auth(path: &Path, meant: &ConfigMapName) -> Result<(Source, AwsAuthText)> {
    let source = source(path)?;
    let of_meant = (meant.namespace.as_str(), meant.name.as_str());
    // What kubectl or EKS would not take is never read as an empty aws-auth.
    let read = read_aws_auth(&source.text, of_meant).with_context(|| source.name.clone())?;
    if let Some(section) = read.bare {
        report_bare(&source.name, section, &meant.to_string());
    }
    Ok((source, read))
}

/// Reports which key of which `ConfigMap` a list alone is taken for.
pub(crate) fn report_bare(name: &str, section: Section, config_map: &str) {
    output::complain(&format!(
        "note: {name} is a list without a manifest around it; it is read as {section} of {config_map}"
    ));
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads files, and of folders all manifests in them and in the folders within, by name.
pub(crate) fn sources(paths: &[PathBuf], templates: Templates) -> Result<InputTexts> {
    let mut read = InputTexts::default();
    for path in paths {
        let mut found = FolderWalk::new(templates);
        let is_folder = path.is_dir();
        if is_folder {
            found.folder(path)?;
            if found.files.is_empty() && found.charts.is_empty() {
                bail!(
                    "{} contains no .yaml, .yml or .json file",
                    files::shown(path)
                );
            }
        } else {
            found.files.push(path.clone());
        }
        for chart in &found.charts {
            read.passed_over = true;
            output::complain(&chart.note()?);
        }
        for file in found.files {
            let source = source(&file)?;
            let walked = is_folder && templates == Templates::PassOver;
            if walked && let Some(UnrenderedTemplate { what, fix, line }) = unrendered(&source.text)
            {
                read.passed_over = true;
                output::complain(&format!(
                    "note: {} is not checked, because line {line} has a {what}; {fix}",
                    source.name
                ));
                continue;
            }
            read.texts.push(source);
            read.paths.push(Some(file).filter(|file| !is_stdin(file)));
        }
    }
    Ok(read)
}

/// A Helm chart whose templates were passed over.
struct PassedChart {
    folder: PathBuf,
    templates: PathBuf,
}

impl PassedChart {
    fn note(&self) -> Result<String> {
        let mut walk = FolderWalk::new(Templates::Read);
        walk.folder(&self.templates)?;
        let names = walk.files.iter().take(NAMED);
        let names = names.map(|file| files::shown(file.strip_prefix(&self.folder).unwrap_or(file)));
        let mut names: Vec<String> = names.collect();
        if let Some(rest) = walk.files.len().checked_sub(NAMED).filter(|rest| *rest > 0) {
            names.push(format!("{rest} more"));
        }
        let names = match names.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        let chart = files::shown(&self.folder);
        Ok(format!(
            "note: the Helm templates of {chart} are not checked{names}; check what Helm makes of them: helm template {chart} | \
                identity-mapper lint -"
        ))
    }
}

/// A walk through a folder. Links are followed, each folder and file is read once.
struct FolderWalk {
    templates: Templates,
    files: Vec<PathBuf>,
    charts: Vec<PassedChart>,
    /// Folders and files without links, as they were met.
    seen: HashSet<PathBuf>,
}

impl FolderWalk {
    fn new(templates: Templates) -> Self {
        Self {
            templates,
            files: Vec::new(),
            charts: Vec::new(),
            seen: HashSet::new(),
        }
    }

    fn folder(&mut self, path: &Path) -> Result<()> {
        let cannot = || format!("cannot read {}", files::shown(path));
        if !self.seen.insert(path.canonicalize().with_context(cannot)?) {
            return Ok(());
        }
        let entries = fs::read_dir(path).with_context(cannot)?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths: Vec<PathBuf> = entries.collect::<Result<_, _>>().with_context(cannot)?;
        paths.sort();
        // In Helm's charts, and only there, this folder holds what is not YAML before Helm has rendered it.
        let is_chart = self.templates == Templates::PassOver && path.join("Chart.yaml").is_file();
        for path in paths {
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                if is_chart && path.file_name() == Some("templates".as_ref()) {
                    self.charts.extend(path.parent().map(|folder| PassedChart {
                        folder: folder.to_path_buf(),
                        templates: path.clone(),
                    }));
                } else {
                    self.folder(&path)?;
                }
            } else if extension.is_some_and(|extension| MANIFESTS.contains(&extension)) {
                // A link that leads nowhere is reported when it is read.
                if self
                    .seen
                    .insert(path.canonicalize().unwrap_or_else(|_| path.clone()))
                {
                    self.files.push(path);
                }
            }
        }
        Ok(())
    }
}

/// The names of texts, as many as a message has room for.
pub(crate) fn names(texts: &[Source]) -> String {
    let names: Vec<String> = texts.iter().map(|source| source.name.clone()).collect();
    some_of(&names, MOST_NAMES)
}

/// The mappings in files and folders. What the API server would refuse is shown on standard error, and is an error: a plan without it
/// would promise something else than what happens.
pub(crate) fn declared(paths: &[PathBuf]) -> Result<Mappings> {
    let sources = sources(paths, Templates::Read)?;
    let found = valid(&sources.texts)?;
    name_useless(paths, &sources, &found);
    Ok(found)
}

/// Files that are named, and not found in a folder, are meant to hold something.
fn name_useless(paths: &[PathBuf], sources: &InputTexts, found: &Mappings) {
    for (number, path) in sources.paths.iter().enumerate() {
        let named = path.as_ref().is_none_or(|path| paths.contains(path));
        let mut declared = found.declared.iter();
        if named && !declared.any(|declared| declared.source == number) {
            let name = &sources.texts[number].name;
            output::complain(&format!("note: no IdentityMapping in {name}"));
        }
    }
}

/// The same where there must be one: without any a wrong path would give a plan without changes, or one that prunes everything.
/// `otherwise` ends the error.
pub(crate) fn at_least_one_declared(paths: &[PathBuf], otherwise: &str) -> Result<Mappings> {
    let sources = sources(paths, Templates::Read)?;
    let found = valid(&sources.texts)?;
    if found.declared.is_empty() {
        bail!("no IdentityMapping in {}{otherwise}", names(&sources.texts));
    }
    name_useless(paths, &sources, &found);
    Ok(found)
}

fn valid(sources: &[Source]) -> Result<Mappings> {
    let found = mappings(sources);
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
        below: complaint
            .fix
            .iter()
            .map(|fix| (Below::Help, fix.clone()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The names of what is read, below the folder.
    fn read(folder: &Path, templates: Templates) -> Vec<String> {
        let read = sources(&[folder.to_path_buf()], templates).expect("read");
        let prefix = format!("{}/", folder.display());
        let names = read.texts.iter();
        names.map(|it| it.name.replacen(&prefix, "", 1)).collect()
    }

    #[test]
    fn links_that_lead_back_end_and_each_file_is_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).expect("made");
        fs::write(at("a/b/x.yaml"), "x").expect("written");
        fs::write(at("other.txt"), "x").expect("written");
        symlink(folder.path(), at("a/b/up")).expect("linked");
        symlink(at("a"), at("again")).expect("linked");
        symlink(at("self"), at("self")).expect("linked");
        // As the kubelet mounts a ConfigMap.
        symlink(at("a/b/x.yaml"), at("y.yaml")).expect("linked");
        assert_eq!(read(folder.path(), Templates::Read), ["a/b/x.yaml"]);
        symlink(at("nowhere"), at("z.yaml")).expect("linked");
        let missing = sources(&[folder.path().to_path_buf()], Templates::Read);
        assert!(missing.is_err(), "a link that leads nowhere is reported");
    }

    #[test]
    fn names_of_any_bytes_are_read_and_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = folder.path().join(OsStr::from_bytes(b"od\xffd\x1b.yaml"));
        fs::write(&odd, "x").expect("written");
        let found = sources(&[folder.path().to_path_buf()], Templates::Read).expect("read");
        assert_eq!(found.paths, [Some(odd)]);
        let name = &found.texts[0].name;
        assert!(name.ends_with("od\u{fffd}d\\u{1b}.yaml"), "{name}");
    }

    #[test]
    fn templates_of_charts_are_passed_over_where_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("charts/a/Chart.yaml", "name: a"),
            ("charts/a/values.yaml", "x: 1"),
            ("charts/a/templates/map.yaml", "{{ toYaml . }}"),
            ("templates/map.yaml", "x: 1"),
            (
                "raw/helm.yaml",
                "kind: ConfigMap\n{{- if .Values.x }}\nx: 1\n{{- end }}\n",
            ),
            (
                "raw/jinja.yaml",
                "{% for x in y %}\nx: {{ x }}\n{% endfor %}\n",
            ),
            ("raw/quoted.yaml", "x: \"{{ .Values.x }}\"\n"),
            ("raw/broken.yaml", "x: \"y\n"),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let without = [
            "charts/a/Chart.yaml",
            "charts/a/values.yaml",
            "raw/broken.yaml",
            "raw/quoted.yaml",
            "templates/map.yaml",
        ];
        assert_eq!(read(folder.path(), Templates::PassOver), without);
        assert_eq!(read(folder.path(), Templates::Read).len(), 8);
        // A file that is named is read.
        for named in ["charts/a/templates/map.yaml", "raw/helm.yaml"] {
            let named = sources(&[folder.path().join(named)], Templates::PassOver).expect("read");
            assert_eq!(named.texts.len(), 1);
        }
    }
}
