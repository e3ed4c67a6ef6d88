//! Findings as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), which code scanning reads.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::explanation;
use super::place::{FilePlace, message, placed};
use crate::lint::{Code, LintReport};

/// What stays as it is in a path of a URI. A colon in the first part of a relative one would end a scheme.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Serialize)]
pub(super) struct SarifLog {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [SarifRun; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRun {
    tool: SarifTool,
    /// Whether columns count characters or units of UTF-16.
    column_kind: &'static str,
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
struct SarifTool {
    driver: SarifDriver,
}

#[derive(Serialize)]
struct SarifDriver {
    name: &'static str,
    version: &'static str,
    rules: Vec<SarifRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRule {
    id: &'static str,
    short_description: SarifMessage,
    full_description: SarifMessage,
    help: SarifHelp,
    default_configuration: SarifConfiguration,
}

#[derive(Serialize)]
struct SarifMessage {
    text: String,
}

#[derive(Serialize)]
struct SarifHelp {
    text: &'static str,
    markdown: &'static str,
}

#[derive(Serialize)]
struct SarifConfiguration {
    level: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    rule_index: usize,
    level: String,
    message: SarifMessage,
    locations: [SarifLocation; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifLocation {
    physical_location: SarifPhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifPhysicalLocation {
    artifact_location: SarifArtifact,
    region: SarifRegion,
}

#[derive(Serialize)]
struct SarifArtifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRegion {
    start_line: usize,
    start_column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_line: Option<usize>,
    /// Behind the last character.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<usize>,
}

pub(super) fn sarif(report: &LintReport) -> SarifLog {
    let codes: BTreeSet<Code> = report.diagnostics.iter().map(|it| it.code).collect();
    let codes: Vec<Code> = codes.into_iter().collect();
    let results = placed(report).into_iter().map(|(found, place)| {
        let FilePlace {
            file,
            line,
            column,
            end,
        } = place;
        SarifResult {
            rule_id: found.code.id(),
            rule_index: codes.partition_point(|code| *code < found.code),
            level: found.code.severity().to_string(),
            message: SarifMessage {
                text: format!("{}: {}", found.title, message(found)),
            },
            locations: [SarifLocation {
                physical_location: SarifPhysicalLocation {
                    artifact_location: SarifArtifact { uri: uri(file) },
                    region: SarifRegion {
                        start_line: line,
                        start_column: column,
                        end_line: end.map(|(line, _)| line),
                        end_column: end.map(|(_, column)| column),
                    },
                },
            }],
        }
    });
    SarifLog {
        schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
        version: "2.1.0",
        runs: [SarifRun {
            results: results.collect(),
            column_kind: "unicodeCodePoints",
            tool: SarifTool {
                driver: SarifDriver {
                    name: "identity-mapper",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: codes.into_iter().map(rule).collect(),
                },
            },
        }],
    }
}

fn rule(code: Code) -> SarifRule {
    let text = |text: &str| SarifMessage {
        text: text.to_owned(),
    };
    let page = explanation(code);
    SarifRule {
        id: code.id(),
        short_description: text(code.title()),
        full_description: text(code.why()),
        help: SarifHelp {
            text: page,
            markdown: page,
        },
        default_configuration: SarifConfiguration {
            level: code.severity().to_string(),
        },
    }
}

/// A path as a URI: relative to the repository's root, where pipelines run, or whole.
fn uri(file: &str) -> String {
    let scheme = if file.starts_with('/') { "file://" } else { "" };
    format!("{scheme}{}", utf8_percent_encode(file, PATH))
}
