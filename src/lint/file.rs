//! Files: what each holds, and where in it a finding is.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::code::Code;
use super::embedding::Embedding;
use super::entries::unread_keys;
use super::finding::{Diagnostic, Edit, LintFinding, LintReport, SourceText};
use super::mappings;
use super::read::PlacedDocument;
use super::text::{GET, TextSpan, almost, is_describe_output};
use crate::aws_auth::{Entry, Section};
use crate::manifest::{Declared, Fault, Manifest, Mappings, Source, read};
use crate::yaml::Lines;

/// What was found, and in what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) report: LintReport,
    /// How many aws-auth there are, readable or not.
    pub(crate) config_maps: usize,
    pub(crate) aws_auths: Vec<AwsAuthInFile>,
    /// The mappings that the API server would take.
    pub(crate) mappings: Vec<Declared>,
    /// How many manifests are of other kinds, and were passed over.
    pub(crate) others: usize,
}

/// An aws-auth that a file holds.
#[derive(Clone, Debug)]
pub(crate) struct AwsAuthInFile {
    /// The number of its source.
    pub(crate) source: usize,
    /// The bytes of its key `mapRoles` there, or where it begins.
    pub(crate) at: Range<usize>,
    pub(crate) data: BTreeMap<String, String>,
}

impl Checked {
    /// Whether there was nothing to look at.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.config_maps == 0 && self.mappings.is_empty() && self.report.diagnostics.is_empty()
    }
}

/// Checks files; what each holds decides how.
#[must_use]
pub(crate) fn check(sources: &[Source]) -> Checked {
    let mut checked = Checked::default();
    let texts = sources.iter().map(|source| SourceText {
        source: source.clone(),
        within: None,
    });
    checked.report.sources.extend(texts);
    let mut found = Mappings::default();
    for (number, source) in sources.iter().enumerate() {
        file(&mut checked, &mut found, number, source);
    }
    found.complain_of_names(sources);
    checked.others += found.others;
    let mut findings = mappings::check(&found, sources);
    for auth in &checked.aws_auths {
        findings.extend(mappings::foreign(&found.declared, &auth.data));
    }
    for (source, finding) in findings {
        let span = finding.at.clone();
        checked.report.take(source, span, finding);
    }
    checked.mappings = found.declared;
    checked.report.sort();
    checked
}

impl LintReport {
    pub(super) fn take<P>(&mut self, source: usize, span: Range<usize>, finding: LintFinding<P>) {
        self.diagnostics.push(Diagnostic {
            code: finding.code,
            source,
            span,
            title: finding.title,
            label: finding.label,
            fix: finding.fix,
            fixable: !finding.edits.is_empty(),
        });
    }
}

/// What a file holds, besides mappings.
enum ManifestPart {
    /// An aws-auth: its values, and where they are.
    AwsAuth(AwsAuthManifest),
    Mapping(Manifest),
    Other,
    /// Something that is wrong with the file itself.
    Wrong(LintFinding<Range<usize>>),
}

/// The `data` of an aws-auth in a file.
pub(super) struct AwsAuthManifest {
    pub(super) data: BTreeMap<String, String>,
    /// By key: the bytes of the value in the file, and the places within it where they can be determined.
    pub(super) places: BTreeMap<String, (Range<usize>, Option<Embedding>)>,
    keys: BTreeMap<String, Range<usize>>,
    /// What is wrong beside the texts.
    wrong: Vec<LintFinding<Range<usize>>>,
}

/// All aws-auth in a file.
pub(super) fn aws_auths(text: &str) -> Vec<AwsAuthManifest> {
    let auths = pieces(text).into_iter().filter_map(|piece| match piece {
        ManifestPart::AwsAuth(auth) => Some(auth),
        ManifestPart::Mapping(_) | ManifestPart::Other | ManifestPart::Wrong(_) => None,
    });
    auths.collect()
}

/// The quotes that words in mappings lack.
pub(super) fn word_edits(source: &Source) -> Vec<Edit> {
    let mut found = Mappings::default();
    for piece in pieces(&source.text) {
        if let ManifestPart::Mapping(manifest) = piece {
            found.take(0, manifest);
        }
    }
    let findings = mappings::check(&found, std::slice::from_ref(source));
    findings
        .into_iter()
        .flat_map(|(_, finding)| finding.edits)
        .collect()
}

fn file(checked: &mut Checked, found: &mut Mappings, number: usize, source: &Source) {
    for piece in pieces(&source.text) {
        match piece {
            ManifestPart::Other => checked.others += 1,
            ManifestPart::Mapping(manifest) => found.take(number, manifest),
            ManifestPart::Wrong(finding) => {
                checked.config_maps += 1;
                checked.report.take(number, finding.at.clone(), finding);
            }
            ManifestPart::AwsAuth(auth) => {
                checked.config_maps += 1;
                aws_auth(checked, number, source, auth);
            }
        }
    }
}

fn aws_auth(checked: &mut Checked, number: usize, source: &Source, auth: AwsAuthManifest) {
    let Source { name, text } = source;
    let lines = Lines::new(text);
    let line = |entry: &Entry| match auth.places.get(entry.section.key()) {
        Some((_, Some(embedding))) => {
            let at = embedding.span(&entry.span).start;
            format!("line {}", lines.position(at).0)
        }
        _ => format!("line {} of {}", entry.line, entry.section),
    };
    let findings = PlacedDocument::new(&auth.data).check(None, &line);
    // Values whose places can't be determined become texts of their own.
    let mut texts: BTreeMap<Section, usize> = BTreeMap::new();
    for mut finding in findings {
        let (section, span): TextSpan = finding.at.clone();
        let (source, span) = match auth.places.get(section.key()) {
            Some((_, Some(embedding))) => (number, embedding.span(&span)),
            place => {
                finding.edits.clear();
                let at = place.map_or(0, |(span, _)| span.start);
                let source = *texts.entry(section).or_insert_with(|| {
                    checked.report.sources.push(SourceText {
                        source: Source {
                            name: format!("{section} in {name}"),
                            text: auth.data.get(section.key()).cloned().unwrap_or_default(),
                        },
                        within: Some((number, at)),
                    });
                    checked.report.sources.len() - 1
                });
                (source, span)
            }
        };
        checked.report.take(source, span, finding);
    }
    for (key, section) in unread_keys(auth.data.keys().map(String::as_str)) {
        let span = auth.keys.get(key).cloned().unwrap_or_default();
        checked.report.take(number, span, unread(key, section));
    }
    for finding in auth.wrong {
        checked.report.take(number, finding.at.clone(), finding);
    }
    let at = auth.keys.get(Section::Roles.key()).cloned();
    checked.aws_auths.push(AwsAuthInFile {
        source: number,
        at: at.unwrap_or_default(),
        data: auth.data,
    });
}

fn unread(key: &str, section: Section) -> LintFinding<()> {
    LintFinding {
        code: Code::UnreadKey,
        at: (),
        title: format!("unknown key `{key}`"),
        label: "the authenticator ignores it".to_owned(),
        fix: format!("write `{section}`"),
        edits: Vec::new(),
    }
}

fn pieces(text: &str) -> Vec<ManifestPart> {
    if let Some(whole) = no_manifest(text) {
        return vec![whole];
    }
    let piece = |document| match document {
        Ok(manifest) => of_manifest(text, manifest),
        Err(fault) => of_fault(text, &fault),
    };
    read(text).into_iter().map(piece).collect()
}

/// Texts that people take for manifests: what `kubectl describe` prints, and the value of one key alone.
fn no_manifest(text: &str) -> Option<ManifestPart> {
    let begins = |start: &str| text.lines().find(|line| line.starts_with(start));
    let is_manifest =
        begins("apiVersion:").or(begins("kind:")).is_some() || text.trim_start().starts_with('{');
    if is_manifest {
        return None;
    }
    if is_describe_output(text) && begins("Name:").or(begins("Data")).is_some() {
        let ruler = text
            .lines()
            .find(|line| is_describe_output(line))
            .unwrap_or_default();
        let at = text.find(ruler).unwrap_or_default();
        return Some(ManifestPart::Wrong(LintFinding {
            code: Code::DescribeOutput,
            at: at..at + ruler.len(),
            title: "output of `kubectl describe`".to_owned(),
            label: "the API server can't read it".to_owned(),
            fix: format!("use the output of `{GET}`"),
            edits: Vec::new(),
        }));
    }
    let section = bare_section(text)?;
    Some(ManifestPart::AwsAuth(AwsAuthManifest {
        data: [(section.key().to_owned(), text.to_owned())].into(),
        places: [(
            section.key().to_owned(),
            (0..text.len(), Some(Embedding::whole(text))),
        )]
        .into(),
        keys: BTreeMap::new(),
        wrong: Vec::new(),
    }))
}

/// The section that a text is the value of, where it is a list of entries without a manifest around it.
fn bare_section(text: &str) -> Option<Section> {
    let mut lines = text.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#') && *line != "---")?;
    let has = |field: &str| text.to_ascii_lowercase().contains(field);
    let is_list = first.starts_with("- ") || first.starts_with('[');
    if is_list && has("rolearn") {
        Some(Section::Roles)
    } else if is_list && has("userarn") {
        Some(Section::Users)
    } else {
        None
    }
}

fn of_fault(text: &str, fault: &Fault) -> ManifestPart {
    // A folder may hold templates and the like, which are nobody's business here.
    let ours = ["aws-auth", "mapRoles", "mapUsers", "IdentityMapping"];
    if !ours.iter().any(|word| text.contains(word)) {
        return ManifestPart::Other;
    }
    let line = text[fault.at.min(text.len())..]
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end();
    let is_tab = line.starts_with('\t');
    let template = line.starts_with("{{") || line.starts_with("{ {");
    let code = if is_tab {
        Code::Tab
    } else if template {
        Code::UnquotedTemplate
    } else {
        Code::NoManifest
    };
    ManifestPart::Wrong(LintFinding {
        code,
        at: fault.at..fault.at + line.len(),
        title: format!("invalid YAML: {}", fault.message),
        label: "kubectl can't read the manifest".to_owned(),
        fix:
            "correct it here; `kubectl apply --dry-run=server -f FILE` shows whether it can be read"
                .to_owned(),
        edits: Vec::new(),
    })
}

fn of_manifest(text: &str, manifest: Manifest) -> ManifestPart {
    let kind = manifest.text("/kind").unwrap_or_default();
    let keys: Vec<&String> = match manifest.value.pointer("/data") {
        Some(Value::Object(data)) => data.keys().collect(),
        _ => Vec::new(),
    };
    let is_section = |key: &str| {
        Section::ALL
            .iter()
            .any(|section| almost(key, section.key()))
    };
    let named = manifest.text("/metadata/name") == Some("aws-auth");
    match kind {
        "ConfigMap" if named || keys.iter().any(|key| is_section(key)) => {
            ManifestPart::AwsAuth(config_map(text, &manifest))
        }
        "" if is_mapping_of_sections(&manifest.value) => ManifestPart::Wrong(LintFinding {
            code: Code::NoManifest,
            at: manifest.span.clone(),
            title: "keys of aws-auth without a manifest around them".to_owned(),
            label: "kubectl can't apply it".to_owned(),
            fix: format!("put them under `data:` of a ConfigMap, as `{GET}` prints it"),
            edits: Vec::new(),
        }),
        "IdentityMapping" => ManifestPart::Mapping(manifest),
        _ if manifest
            .text("/apiVersion")
            .is_some_and(|version| version.starts_with("identity-mapper.dev/")) =>
        {
            ManifestPart::Mapping(manifest)
        }
        _ => ManifestPart::Other,
    }
}

fn is_mapping_of_sections(value: &Value) -> bool {
    let is_section = |key: &String| Section::ALL.iter().any(|section| section.key() == key);
    value
        .as_object()
        .is_some_and(|fields| fields.keys().any(is_section))
}

fn config_map(text: &str, manifest: &Manifest) -> AwsAuthManifest {
    let mut auth = AwsAuthManifest {
        data: BTreeMap::new(),
        places: BTreeMap::new(),
        keys: BTreeMap::new(),
        wrong: Vec::new(),
    };
    let wrong = |at: Range<usize>, title: String, fix: String| LintFinding {
        code: Code::NoManifest,
        at,
        title,
        label: "the API server refuses it".to_owned(),
        fix,
        edits: Vec::new(),
    };
    let data = match manifest.value.pointer("/data") {
        None | Some(Value::Null) => return auth,
        Some(Value::Object(data)) => data,
        Some(_) => {
            let title = "`data` that does not map keys to strings".to_owned();
            let fix = format!("write mapRoles under it, as `{GET}` prints it");
            auth.wrong.push(wrong(manifest.span_of("data"), title, fix));
            return auth;
        }
    };
    for (key, value) in data {
        let path = format!("data.{key}");
        let span = manifest.span_of(&path);
        if let Some(key_span) = manifest
            .places
            .get(&path)
            .and_then(|place| place.key.clone())
        {
            auth.keys.insert(key.clone(), key_span);
        }
        match value {
            Value::String(value) => {
                let embedding = Embedding::find(text, &span, value);
                auth.places.insert(key.clone(), (span, embedding));
                auth.data.insert(key.clone(), value.clone());
            }
            Value::Null => {
                auth.data.insert(key.clone(), String::new());
            }
            Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_) => {
                let title = format!("`{path}` that is not a string");
                let fix = format!("write `{key}: |`, so that the lines below it are one string");
                auth.wrong.push(wrong(span, title, fix));
            }
        }
    }
    for (path, span) in &manifest.repeated {
        auth.wrong.push(LintFinding {
            code: Code::RepeatedField,
            at: span.clone(),
            title: format!("duplicate `{path}`"),
            label: "this one has no effect".to_owned(),
            fix: "put everything under one key".to_owned(),
            edits: Vec::new(),
        });
    }
    auth
}
