//! Files: their content, and the position of findings in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::code::Code;
use super::embedding::Embedding;
use super::entries::unread_keys;
use super::finding::{Diagnostic, Edit, LintFinding, LintReport, SourceText};
use super::ignore::IgnoreComments;
use super::mappings;
use super::part::{AwsAuthManifest, ManifestPart};
use super::pasted;
use super::read::PlacedDocument;
use super::text::{GET, TextSpan, defect_code};
use crate::aws_auth::diagnosis::{DefectKind, TemplateSyntax, template};
use crate::aws_auth::{Document, Entry, Section, beside};
use crate::manifest::{DeclaredMapping, Manifest, ManifestFault, Mappings, Source, read};
use crate::yaml::{Lines, almost};

/// What was found, and in what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) report: LintReport,
    /// How many aws-auth there are, readable or not.
    pub(crate) config_maps: usize,
    pub(crate) aws_auths: Vec<AwsAuthInFile>,
    /// The sources that are the list of one key alone, with the key that they are taken for.
    pub(crate) bare: Vec<(usize, Section)>,
    /// The mappings that the API server would take.
    pub(crate) mappings: Vec<DeclaredMapping>,
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

/// All aws-auth in a file.
pub(super) fn aws_auths(text: &str) -> Vec<AwsAuthManifest> {
    let auths = pieces(text).into_iter().filter_map(|piece| match piece {
        ManifestPart::AwsAuth(auth) if !auth.is_pasted => Some(auth),
        ManifestPart::AwsAuth(_)
        | ManifestPart::Mapping(_)
        | ManifestPart::Other
        | ManifestPart::Wrong(_) => None,
    });
    auths.collect()
}

/// The quotes that words in mappings lack.
pub(super) fn word_edits(source: &Source, ignored: &BTreeSet<Code>) -> Vec<Edit> {
    let comments = IgnoreComments::new(&source.text);
    let mut found = Mappings::default();
    for piece in pieces(&source.text) {
        if let ManifestPart::Mapping(manifest) = piece {
            found.take(0, manifest);
        }
    }
    let findings = mappings::check(&found, std::slice::from_ref(source));
    let wanted = findings.into_iter().filter(|(_, finding)| {
        !ignored.contains(&finding.code) && !comments.ignores(finding.code, finding.at.start)
    });
    wanted.flat_map(|(_, finding)| finding.edits).collect()
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
                checked
                    .bare
                    .extend(auth.bare.map(|section| (number, section)));
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
        if auth.is_pasted {
            finding.edits.clear();
        }
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

fn unread(key: &str, meant: Option<Section>) -> LintFinding<()> {
    let fix = match meant {
        Some(section) => format!("write `{section}`"),
        None if almost(key, "mapGroups") || key.to_ascii_lowercase().contains("group") => {
            "IAM groups can't be mapped, because no one signs in as a group: map a role that the members of the group assume, \
             or each user"
                .to_owned()
        }
        None => "remove it; entries belong in mapRoles and mapUsers".to_owned(),
    };
    LintFinding {
        code: Code::UnreadKey,
        at: (),
        title: format!("unknown key `{key}`"),
        label: "the authenticator ignores it".to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// A text that is no YAML before a tool has rendered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnrenderedTemplate {
    pub(crate) what: String,
    pub(crate) fix: String,
    /// 1-based.
    pub(crate) line: usize,
}

/// Whether a text can't be read because it is a template.
pub(crate) fn unrendered(text: &str) -> Option<UnrenderedTemplate> {
    let TemplateSyntax { engine, span } = template(text)?;
    if read(text).iter().all(Result::is_ok) {
        return None;
    }
    let found = text[span.clone()].to_owned();
    let kind = DefectKind::Template { engine, found };
    Some(UnrenderedTemplate {
        what: kind.what(),
        fix: kind.fix(Section::Roles),
        line: Lines::new(text).position(span.start).0,
    })
}

fn pieces(text: &str) -> Vec<ManifestPart> {
    if let Some(parts) = pasted::parts(text) {
        return parts;
    }
    let piece = |document| match document {
        Ok(manifest) => of_manifest(text, manifest),
        Err(fault) => of_fault(text, &fault),
    };
    let mut pieces: Vec<ManifestPart> = Vec::new();
    for piece in read(text).into_iter().flat_map(piece) {
        // Several documents can fail because of one and the same place.
        if !matches!(&piece, ManifestPart::Wrong(wrong) if is_known(&pieces, wrong)) {
            pieces.push(piece);
        }
    }
    pieces
}

fn is_known(pieces: &[ManifestPart], wrong: &LintFinding<Range<usize>>) -> bool {
    pieces.iter().any(|piece| {
        matches!(piece, ManifestPart::Wrong(known)
            if (known.code, &known.at, &known.title) == (wrong.code, &wrong.at, &wrong.title))
    })
}

/// Texts that can't be read, each with its causes.
fn of_fault(text: &str, fault: &ManifestFault) -> Vec<ManifestPart> {
    // A folder may hold templates and the like, which have nothing to do with us.
    let ours = ["aws-auth", "mapRoles", "mapUsers", "IdentityMapping"];
    if !ours.iter().any(|word| text.contains(word)) {
        return vec![ManifestPart::Other];
    }
    let causes = pasted::causes(text, fault);
    causes.into_iter().map(ManifestPart::Wrong).collect()
}

fn of_manifest(text: &str, manifest: Manifest) -> Vec<ManifestPart> {
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
    let named = manifest.text("/metadata/name") == Some("aws-auth")
        || manifest.text("/name") == Some("aws-auth");
    vec![match kind {
        kind if (named || keys.iter().any(|key| is_section(key)))
            && is_wrong_kind(kind, &manifest) =>
        {
            ManifestPart::Wrong(wrong_kind(kind, &manifest))
        }
        "ConfigMap" if is_mapping_of_sections(&manifest.value) => {
            ManifestPart::AwsAuth(not_nested(text, &manifest))
        }
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
            proposed: Vec::new(),
        }),
        "IdentityMapping" => ManifestPart::Mapping(manifest),
        _ if manifest
            .text("/apiVersion")
            .is_some_and(|version| version.starts_with("identity-mapper.dev/")) =>
        {
            ManifestPart::Mapping(manifest)
        }
        _ => ManifestPart::Other,
    }]
}

/// The version of the API that a ConfigMap is of; kubectl refuses a manifest without one.
fn is_wrong_version(manifest: &Manifest) -> bool {
    let version = manifest.text("/apiVersion");
    version.is_some_and(|version| version != "v1")
}

/// Whether something with the name or the keys of aws-auth is of a kind that EKS does not read.
fn is_wrong_kind(kind: &str, manifest: &Manifest) -> bool {
    let is_ours = kind == "IdentityMapping";
    !kind.is_empty() && !is_ours && (kind != "ConfigMap" || is_wrong_version(manifest))
}

fn wrong_kind(kind: &str, manifest: &Manifest) -> LintFinding<Range<usize>> {
    let (path, found, right) = if kind == "ConfigMap" {
        (
            "apiVersion",
            manifest.text("/apiVersion").unwrap_or_default(),
            "v1",
        )
    } else {
        ("kind", kind, "ConfigMap")
    };
    LintFinding {
        code: Code::NoManifest,
        at: manifest.span_of(path),
        title: format!("{path} `{found}` of aws-auth"),
        label: "EKS reads only a ConfigMap of apiVersion v1: nothing in it takes effect".to_owned(),
        fix: format!("write `{path}: {right}`"),
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// A ConfigMap whose keys stand beside `data:`, because their indentation was lost.
fn not_nested(text: &str, manifest: &Manifest) -> AwsAuthManifest {
    let mut auth = AwsAuthManifest::default();
    let Some(fields) = manifest.value.as_object() else {
        return auth;
    };
    let mut first: Option<Range<usize>> = None;
    for section in Section::ALL {
        let key = section.key();
        let Some(value) = fields.get(key).and_then(Value::as_str) else {
            continue;
        };
        let span = manifest.span_of(key);
        let embedding = Embedding::find(text, &span, value);
        let key_span = manifest.places.get(key).and_then(|place| place.key.clone());
        first = first.or_else(|| key_span.clone());
        auth.places.insert(key.to_owned(), (span, embedding));
        auth.data.insert(key.to_owned(), value.to_owned());
        auth.keys
            .extend(key_span.map(|span| (key.to_owned(), span)));
    }
    let keys = beside(&manifest.value);
    let kind = DefectKind::KeysNotIndented { keys };
    auth.wrong.push(LintFinding {
        code: defect_code(&kind),
        at: first.unwrap_or_else(|| manifest.span.clone()),
        title: kind.what(),
        label: "`kubectl apply` refuses it: nothing in it takes effect".to_owned(),
        fix: kind.fix(Section::Roles),
        edits: Vec::new(),
        proposed: Vec::new(),
    });
    auth.is_pasted = true;
    auth
}

fn is_mapping_of_sections(value: &Value) -> bool {
    let is_section = |key: &String| Section::ALL.iter().any(|section| section.key() == key);
    value
        .as_object()
        .is_some_and(|fields| fields.keys().any(is_section))
}

fn config_map(text: &str, manifest: &Manifest) -> AwsAuthManifest {
    let mut auth = AwsAuthManifest::default();
    auth.wrong.extend(other_config_map(manifest));
    for (path, span) in &manifest.repeated {
        auth.wrong.push(LintFinding {
            code: Code::DuplicateKey,
            at: span.clone(),
            title: format!("duplicate `{path}`"),
            label: "kubectl keeps the last one and drops everything under this one".to_owned(),
            fix: format!(
                "put everything under one `{}:`",
                path.rsplit('.').next().unwrap_or(path)
            ),
            edits: Vec::new(),
            proposed: Vec::new(),
        });
    }
    let wrong = |at: Range<usize>, title: String, fix: String| LintFinding {
        code: Code::NoManifest,
        at,
        title,
        label: "the API server refuses it".to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
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
                if let Some(finding) = folded(text, manifest, key, value) {
                    auth.wrong.push(finding);
                    auth.data.insert(key.clone(), String::new());
                    continue;
                }
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
    auth
}

/// A ConfigMap with the content of aws-auth in another place than where EKS reads it.
fn other_config_map(manifest: &Manifest) -> Option<LintFinding<Range<usize>>> {
    let name = manifest.text("/metadata/name")?;
    let namespace = manifest
        .text("/metadata/namespace")
        .unwrap_or("kube-system");
    if (namespace, name) == ("kube-system", "aws-auth") {
        return None;
    }
    let (path, fix) = if name == "aws-auth" {
        ("metadata.namespace", "write `namespace: kube-system`")
    } else if name.starts_with("aws-auth-") {
        (
            "metadata.name",
            "write `name: aws-auth`; in kustomization.yaml, set `generatorOptions: {disableNameSuffixHash: true}`",
        )
    } else {
        ("metadata.name", "write `name: aws-auth`")
    };
    Some(LintFinding {
        code: Code::OtherConfigMap,
        at: manifest.span_of(path),
        title: format!("ConfigMap {namespace}/{name} with the keys of aws-auth"),
        label: "EKS does not read it: nothing in it takes effect".to_owned(),
        fix: fix.to_owned(),
        edits: Vec::new(),
        proposed: Vec::new(),
    })
}

/// A value behind `>`, which reads differently than behind `|`.
fn folded(
    text: &str,
    manifest: &Manifest,
    key: &str,
    value: &str,
) -> Option<LintFinding<Range<usize>>> {
    let section = Section::ALL
        .into_iter()
        .find(|section| section.key() == key)?;
    let at = manifest.span_of(&format!("data.{key}")).start;
    if text.as_bytes().get(at) != Some(&b'>') {
        return None;
    }
    let mut literal = text[manifest.span.clone()].to_owned();
    let within = at.checked_sub(manifest.span.start)?;
    literal.replace_range(within..=within, "|");
    let literal = read(&literal).into_iter().next()?.ok()?;
    let literal = literal.text(&format!("/data/{key}"))?.to_owned();
    let entries = |value: &str| {
        let data = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let view = Document::parse(&data).section(section).clone();
        let entries: Vec<_> = view.entries.iter().map(Entry::meaning).collect();
        (view.broken.is_some(), entries, view.accounts)
    };
    (entries(value) != entries(&literal)).then(|| LintFinding {
        code: Code::Folded,
        at: at..at + 1,
        title: format!("`>` instead of `|` after {key}"),
        label: format!("the lines of {key} become one: none of its principals has access"),
        fix: format!("write `{key}: |`"),
        edits: Vec::new(),
        proposed: vec![Edit {
            span: at..at + 1,
            text: "|".to_owned(),
        }],
    })
}
