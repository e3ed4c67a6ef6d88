//! Texts that are not manifests: output of `kubectl describe`, the value of one key, and what broke a manifest.

use std::ops::Range;

use super::code::Code;
use super::embedding::Embedding;
use super::finding::LintFinding;
use super::part::{AwsAuthManifest, ManifestPart};
use super::text::{GET, defect_code};
use crate::aws_auth::diagnosis::{
    ManifestDefect, is_describe_line, is_describe_output, unreadable,
};
use crate::aws_auth::{ProblemCause, Section, bare_sections};
use crate::manifest::ManifestFault;
use crate::yaml::FaultKind;

/// What a text holds that is no manifest; `None` where it is one, or none of these.
pub(super) fn parts(text: &str) -> Option<Vec<ManifestPart>> {
    let begins = |start: &str| text.lines().any(|line| line.starts_with(start));
    if begins("apiVersion:") || begins("kind:") || text.trim_start().starts_with('{') {
        return None;
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

/// Why a manifest can't be read: the causes, or else what the reading ran into.
pub(super) fn causes(text: &str, fault: &ManifestFault) -> Vec<LintFinding<Range<usize>>> {
    let wrong = |code, at, title: String, fix: String| LintFinding {
        code,
        at,
        title,
        label: "kubectl can't read the manifest".to_owned(),
        fix,
        edits: Vec::new(),
        proposed: Vec::new(),
    };
    let found = unreadable(text, fault.at, fault.kind);
    if found.is_empty() {
        let fix = "correct the JSON here; `kubectl apply --dry-run=server -f FILE` shows whether it can be read";
        let at = fault.at.min(text.len());
        let title = format!("invalid JSON: {}", fault.message);
        return vec![wrong(Code::NoManifest, at..at, title, fix.to_owned())];
    }
    let finding = |ManifestDefect { cause, span }: ManifestDefect| {
        let fix = cause.fix(Section::Roles);
        match &cause {
            ProblemCause::Defect(kind) => wrong(defect_code(kind), span, cause.what(), fix),
            ProblemCause::Yaml(FaultKind::QuoteNotClosed) => {
                wrong(Code::NotClosed, span, cause.what(), fix)
            }
            _ => {
                let template =
                    text[span.clone()].starts_with("{{") || text[span.clone()].starts_with("{ {");
                let code = if template {
                    Code::UnquotedTemplate
                } else {
                    Code::NoManifest
                };
                wrong(code, span, format!("invalid YAML: {}", cause.what()), fix)
            }
        }
    };
    found.into_iter().map(finding).collect()
}
