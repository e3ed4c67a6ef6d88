//! Files: their content, and the position of findings in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::code::Code;
use super::config_map::of_manifest;
use super::entries::unread_keys;
use super::finding::{Diagnostic, Edit, LintFinding, LintReport, SourceText};
use super::ignore::IgnoreComments;
use super::mappings;
use super::part::{AwsAuthManifest, ManifestPart};
use super::pasted;
use super::read::PlacedDocument;
use super::text::TextSpan;
use crate::aws_auth::diagnosis::{DefectKind, TemplateSyntax, template};
use crate::aws_auth::{Entry, Section};
use crate::manifest::{DeclaredMapping, ManifestFault, Mappings, Source, read};
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
    /// A manifest of the ConfigMap that EKS reads.
    is_read: bool,
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
    repeated_config_maps(&mut checked);
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

/// Reports an aws-auth that another one in the same file replaces.
fn repeated_config_maps(checked: &mut Checked) {
    let mut last: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for auth in checked.aws_auths.iter().filter(|auth| auth.is_read).rev() {
        let Some(later) = last.get(&auth.source) else {
            last.insert(auth.source, auth.at.clone());
            continue;
        };
        let text = &checked.report.sources[auth.source].source.text;
        let line = Lines::new(text).position(later.start).0;
        let finding = LintFinding {
            code: Code::RepeatedConfigMap,
            at: auth.at.clone(),
            title: "the ConfigMap kube-system/aws-auth twice in one file".to_owned(),
            label: format!("replaced by the one whose entries begin in line {line}"),
            fix: "put all entries into one of them, and remove the other".to_owned(),
            edits: Vec::new(),
            proposed: Vec::new(),
        };
        found.push((auth.source, finding));
    }
    for (source, finding) in found {
        checked.report.take(source, finding.at.clone(), finding);
    }
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
        let value = auth.data.get(key).map_or("", String::as_str);
        checked
            .report
            .take(number, span, unread(key, section, value));
    }
    let is_other = auth.wrong.iter().any(|it| it.code == Code::OtherConfigMap);
    let is_read = !is_other && !auth.is_pasted && auth.bare.is_none();
    for finding in auth.wrong {
        checked.report.take(number, finding.at.clone(), finding);
    }
    let at = auth.keys.get(Section::Roles.key()).cloned();
    checked.aws_auths.push(AwsAuthInFile {
        source: number,
        at: at.unwrap_or_default(),
        data: auth.data,
        is_read,
    });
}

fn unread(key: &str, meant: Option<Section>, value: &str) -> LintFinding<()> {
    let is_lost = meant.is_some() && !matches!(value.trim(), "" | "[]");
    let shown: String = key
        .chars()
        .map(|c| match c {
            c if c.is_ascii_graphic() || c == ' ' => c.to_string(),
            c => format!("<U+{:04X}>", u32::from(c)),
        })
        .collect();
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
        code: if is_lost {
            Code::MisspelledKey
        } else {
            Code::UnreadKey
        },
        at: (),
        title: if is_lost {
            format!("misspelled key `{shown}`")
        } else {
            format!("unknown key `{shown}`")
        },
        label: if is_lost {
            "the authenticator ignores it: none of its principals has access".to_owned()
        } else {
            "the authenticator ignores it".to_owned()
        },
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
    // A folder may hold templates and the like, which have nothing to do with us.
    let ours = ["aws-auth", "mapRoles", "mapUsers", "IdentityMapping"];
    let is_ours = ours.iter().any(|word| text.contains(word));
    let mut faults = 0;
    let piece = |document| match document {
        Ok(manifest) => of_manifest(text, manifest),
        Err(_) if !is_ours => vec![ManifestPart::Other],
        Err(fault) => {
            faults += 1;
            of_fault(text, fault, faults <= SEARCHED_WHOLE)
        }
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

/// For the causes of so many faults the whole file is searched: for each of thousands it would take time with the square of the file.
const SEARCHED_WHOLE: usize = 20;

/// Texts that can't be read, each with its causes: in the whole file, or in the document alone.
fn of_fault(text: &str, mut fault: ManifestFault, in_file: bool) -> Vec<ManifestPart> {
    let at = fault.at.min(text.len());
    let document = if in_file {
        0..text.len()
    } else {
        let start = text[..at].rfind("\n---").map_or(0, |before| before + 1);
        let end = text[at..]
            .find("\n---")
            .map_or(text.len(), |after| at + after);
        start..end
    };
    fault.at = at - document.start;
    let causes = pasted::causes(&text[document.clone()], &fault);
    let placed = causes.into_iter().map(|mut cause| {
        cause.at = cause.at.start + document.start..cause.at.end + document.start;
        ManifestPart::Wrong(cause)
    });
    placed.collect()
}
