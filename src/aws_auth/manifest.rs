//! A ConfigMap as `kubectl get -o yaml` or `-o json` prints it, read as kubectl would read it back.
//!
//! So the texts in `data` come out as the API server would hold them. What kubectl or EKS would not take as aws-auth is an error.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::diagnosis::{GET, ManifestDefect, is_describe_output, unreadable};
use super::{DefectKind, ProblemCause, Section, ValueType};
use crate::manifest::{Manifest, read};
use crate::yaml::Lines;

/// Why a text is no aws-auth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Neither YAML nor JSON, or not what its author meant.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// 1-based line.
        line: usize,
        /// 1-based column in characters; for JSON as its parser counts.
        column: usize,
        /// What is wrong, and how to fix it.
        message: String,
    },
    /// Something else than a manifest, such as the text of `mapRoles` alone.
    #[error("this is {found}, not a manifest: give a ConfigMap as `{GET}` prints it")]
    NoManifest {
        /// What it is instead.
        found: String,
    },
    /// A manifest of another kind.
    #[error("this is a manifest of kind `{kind}`: give one ConfigMap")]
    OtherKind {
        /// Its kind; empty if it has none.
        kind: String,
    },
    /// A ConfigMap that EKS does not read.
    #[error(
        "this is the ConfigMap {namespace}/{name}, and EKS reads only kube-system/aws-auth: write `name: aws-auth` and `namespace: kube-system`, if it is meant for that one"
    )]
    OtherConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A key that is given twice.
    #[error(
        "`{field}` is given twice, and kubectl drops everything under the first one in line {line}: put everything under one `{field}`"
    )]
    Repeated {
        /// The field.
        field: String,
        /// 1-based line of the one that is dropped.
        line: usize,
    },
    /// A value in `data` that the API server would refuse.
    #[error("`{field}` is {found}: the API server takes text only, for many lines behind `|`")]
    NotText {
        /// The field: `data` or `data.KEY`.
        field: String,
        /// What it is instead.
        found: String,
    },
}

/// Reads the manifest of the ConfigMap that EKS reads, or of the copy that is meant instead, and gives its `data`. A manifest without a
/// namespace is applied where kubectl's context says.
pub fn read_aws_auth(
    text: &str,
    meant: (&str, &str),
) -> Result<BTreeMap<String, String>, ManifestError> {
    let data = read_manifest(text)?;
    let manifest = read(text).into_iter().next().and_then(Result::ok);
    let field = |path: &str| manifest.as_ref().and_then(|it| it.text(path));
    let namespace = field("/metadata/namespace").unwrap_or(meant.0);
    let name = field("/metadata/name").unwrap_or(meant.1);
    if (namespace, name) != meant {
        return Err(ManifestError::OtherConfigMap {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(data)
}

/// Reads a ConfigMap manifest and gives its `data`, empty where there is none.
pub fn read_manifest(text: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    let is_manifest =
        text.lines().any(|line| line.starts_with("kind:")) || text.trim_start().starts_with('{');
    if !is_manifest && is_describe_output(text) {
        return Err(ManifestError::NoManifest {
            found: "output of `kubectl describe`".to_owned(),
        });
    }
    let lines = Lines::new(text);
    let manifest = match read(text).into_iter().next() {
        Some(Ok(manifest)) => manifest,
        Some(Err(fault)) => {
            let causes = unreadable(text, fault.at, fault.kind);
            let cause = causes.into_iter().next();
            return Err(match cause {
                Some(ManifestDefect { cause, span }) => at(&lines, span.start, &cause),
                None => ManifestError::Syntax {
                    line: fault.line,
                    column: fault.column,
                    message: fault.message,
                },
            });
        }
        None => {
            return Err(ManifestError::NoManifest {
                found: "empty".to_owned(),
            });
        }
    };
    check(&manifest, &lines)?;
    match manifest.value.get("data") {
        None | Some(Json::Null) => Ok(BTreeMap::new()),
        Some(Json::Object(data)) => data
            .iter()
            .map(|(key, value)| match value {
                Json::String(text) => Ok((key.clone(), text.clone())),
                Json::Null => Ok((key.clone(), String::new())),
                Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                    Err(ManifestError::NotText {
                        field: format!("data.{key}"),
                        found: value_type(value).to_string(),
                    })
                }
            })
            .collect(),
        Some(other) => Err(ManifestError::NotText {
            field: "data".to_owned(),
            found: value_type(other).to_string(),
        }),
    }
}

/// Whether kubectl and EKS take a manifest for aws-auth.
fn check(manifest: &Manifest, lines: &Lines<'_>) -> Result<(), ManifestError> {
    if !manifest.value.is_object() {
        return Err(ManifestError::NoManifest {
            found: value_type(&manifest.value).to_string(),
        });
    }
    match manifest.text("/kind").unwrap_or_default() {
        "ConfigMap" => {}
        "" => {
            return Err(ManifestError::NoManifest {
                found: "a mapping without `kind`".to_owned(),
            });
        }
        kind => {
            return Err(ManifestError::OtherKind {
                kind: kind.to_owned(),
            });
        }
    }
    let keys = beside(&manifest.value);
    if let Some(key) = keys.first() {
        let start = manifest
            .places
            .get(*key)
            .and_then(|place| place.key.as_ref());
        let start = start.map_or(manifest.span.start, |key| key.start);
        let kind = DefectKind::KeysNotIndented { keys: keys.clone() };
        return Err(at(lines, start, &ProblemCause::Defect(kind)));
    }
    if let Some((field, span)) = manifest.repeated.first() {
        return Err(ManifestError::Repeated {
            field: field.clone(),
            line: lines.position(span.start).0,
        });
    }
    Ok(())
}

/// Fields that stand at the top of a ConfigMap and belong below `metadata` or `data`.
pub(crate) fn beside(value: &Json) -> Vec<&'static str> {
    let sections = Section::ALL.into_iter().map(Section::key);
    ["name", "namespace"]
        .into_iter()
        .chain(sections)
        .filter(|key| value.get(*key).is_some())
        .collect()
}

fn at(lines: &Lines<'_>, start: usize, cause: &ProblemCause) -> ManifestError {
    let (line, column) = lines.position(start);
    ManifestError::Syntax {
        line,
        column,
        message: format!("{}: {}", cause.what(), cause.fix(Section::Roles)),
    }
}

fn value_type(value: &Json) -> ValueType {
    match value {
        Json::Null => ValueType::Null,
        Json::Bool(_) => ValueType::Bool,
        Json::Number(_) => ValueType::Number,
        Json::String(_) => ValueType::Text,
        Json::Array(_) => ValueType::List,
        Json::Object(_) => ValueType::Mapping,
    }
}
