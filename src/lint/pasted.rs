//! Texts that are not manifests: output of `kubectl describe`, the value of one key, and what broke a manifest.

use std::ops::Range;

use super::code::Code;
use super::embedding::Embedding;
use super::finding::LintFinding;
use super::part::{AwsAuthManifest, ManifestPart};
use super::text::{GET, defect_code};
use crate::aws_auth::diagnosis::{
    ManifestDefect, copied_along, is_describe_line, is_describe_output, unreadable,
};
use crate::aws_auth::{ProblemCause, Section, bare_sections, holds_manifest};
use crate::manifest::ManifestFault;
use crate::yaml::FaultKind;

/// What a text holds that is no manifest; `None` where it is one, or none of these.
pub(super) fn parts(text: &str) -> Option<Vec<ManifestPart>> {
    let begins = |start: &str| text.lines().any(|line| line.starts_with(start));
    if begins("apiVersion:") || begins("kind:") || text.trim_start().starts_with('{') {
        return None;
    }
    if holds_manifest(text) {
        let copied = copied_along(text).into_iter();
        let parts: Vec<ManifestPart> = copied
            .map(|found| ManifestPart::Wrong(cause_of(text, found)))
            .collect();
        return (!parts.is_empty()).then_some(parts);
    }
    let describes = ["Name:", "Data", "mapRoles:", "mapUsers:"];
    if is_describe_output(text) && describes.into_iter().any(begins) {
        let line = text.lines().find(|line| is_describe_line(line))?;
        let at = text.find(line)?;
        let wrong = LintFinding {
            code: Code::DescribeOutput,
            at: at..at + line.trim_end().len(),
            title: "output of `kubectl describe`".to_owned(),
            label: "the API server can't read it".to_owned(),
            fix: format!("use the output of `{GET}`"),
            edits: Vec::new(),
            proposed: Vec::new(),
        };
        let mut parts = vec![ManifestPart::Wrong(wrong)];
        parts.extend(described(text).map(ManifestPart::AwsAuth));
        return Some(parts);
    }
    let section = *bare_sections(text).first()?;
    let auth = AwsAuthManifest {
        bare: Some(section),
        ..bare(text, vec![(section, 0..text.len())])
    };
    Some(vec![ManifestPart::AwsAuth(auth)])
}

fn bare(text: &str, sections: Vec<(Section, Range<usize>)>) -> AwsAuthManifest {
    let mut auth = AwsAuthManifest::default();
    for (section, span) in sections {
        let key = section.key().to_owned();
        let embedding = Embedding::part(span.clone());
        auth.data.insert(key.clone(), text[span.clone()].to_owned());
        auth.places.insert(key, (span, Some(embedding)));
    }
    auth
}

/// The values that `kubectl describe` printed.
fn described(text: &str) -> Option<AwsAuthManifest> {
    let mut sections: Vec<(Section, Range<usize>)> = Vec::new();
    let mut heading = None;
    let mut open: Option<Range<usize>> = None;
    let mut close = |open: &mut Option<Range<usize>>, heading: Option<Section>| {
        if let Some(span) = open.take() {
            let section = heading.or_else(|| bare_sections(&text[span.clone()]).first().copied());
            sections.extend(section.map(|section| (section, span)));
        }
    };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let key = line.trim_end().strip_suffix(':');
        let section = Section::ALL
            .into_iter()
            .find(|section| key == Some(section.key()));
        if section.is_some() || is_describe_line(line) {
            close(&mut open, heading);
            heading = section.or(heading);
        } else if let Some(span) = &mut open {
            span.end = at;
        } else if !line.trim().is_empty() {
            open = Some(start..at);
        }
    }
    close(&mut open, heading);
    if sections.is_empty() {
        return None;
    }
    let mut auth = bare(text, sections);
    auth.is_pasted = true;
    Some(auth)
}

fn wrong(code: Code, at: Range<usize>, title: String, fix: String) -> LintFinding<Range<usize>> {
    LintFinding {
        code,
        at,
        title,
        label: "kubectl can't read the manifest".to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    }
}

/// Why a manifest can't be read: the causes, or else what the reading ran into.
pub(super) fn causes(text: &str, fault: &ManifestFault) -> Vec<LintFinding<Range<usize>>> {
    let found = unreadable(text, fault.at, fault.kind);
    if found.is_empty() {
        let fix = "correct the JSON here; `kubectl apply --dry-run=server -f FILE` shows whether it can be read";
        let at = fault.at.min(text.len());
        let title = format!("invalid JSON: {}", fault.message);
        return vec![wrong(Code::NoManifest, at..at, title, fix.to_owned())];
    }
    found
        .into_iter()
        .map(|found| cause_of(text, found))
        .collect()
}

fn cause_of(text: &str, found: ManifestDefect) -> LintFinding<Range<usize>> {
    let ManifestDefect { cause, span } = found;
    let fix = cause.fix(Section::Roles);
    match &cause {
        ProblemCause::Defect(kind) => wrong(defect_code(kind), span, cause.what(), fix),
        ProblemCause::Yaml(FaultKind::QuoteNotClosed) => {
            wrong(Code::NotClosed, span, cause.what(), fix)
        }
        _ => {
            // The fault can be at the second brace.
            let start = span.start - usize::from(text[..span.start].ends_with('{'));
            let written = text[start..span.end].trim_end();
            if written.starts_with("{{") || written.starts_with("{ {") {
                let title = "unquoted template".to_owned();
                let is_simple = !written.contains(['"', '\\', '#']);
                let fix = if is_simple {
                    format!("write \"{written}\"")
                } else {
                    fix
                };
                return wrong(Code::UnquotedTemplate, start..span.end, title, fix);
            }
            let title = format!("invalid YAML: {}", cause.what());
            wrong(Code::NoManifest, span, title, fix)
        }
    }
}
