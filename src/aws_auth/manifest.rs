//! A ConfigMap as `kubectl get -o yaml` or `-o json` prints it, read as kubectl would read it back.
//!
//! kubectl takes a text that starts with `{` as JSON and any other as YAML, which it reads with go-yaml v2
//! (`k8s.io/apimachinery/pkg/util/yaml`). So the texts in `data` come out as the API server would hold them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::decode::{self, Data, Value};
use super::read::is_json;
use crate::yaml::{self, Fault, Lines};

/// Why a text is no ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Neither YAML nor JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// 1-based line.
        line: usize,
        /// 1-based column in characters; for JSON as its parser counts.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Something else than a manifest, such as the text of `mapRoles` alone.
    #[error(
        "this is {found}, not a manifest: give a ConfigMap as `kubectl get configmap -n kube-system aws-auth -o yaml` prints it"
    )]
    NoManifest {
        /// What it is instead.
        found: &'static str,
    },
    /// A manifest of another kind.
    #[error("this is a manifest of kind `{kind}`: give one ConfigMap")]
    OtherKind {
        /// Its kind; empty if it has none.
        kind: String,
    },
    /// A value in `data` that the API server would refuse.
    #[error("`{field}` is {found}: the API server takes text only, for many lines behind `|`")]
    NotText {
        /// The field: `data` or `data.KEY`.
        field: String,
        /// What it is instead.
        found: &'static str,
    },
}

/// Reads a ConfigMap manifest and gives its `data`, empty where there is none.
pub fn read_manifest(text: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    if is_json(text) {
        read_json(text)
    } else {
        read_yaml(text)
    }
}

fn read_json(text: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    let manifest: Json = serde_json::from_str(text.trim()).map_err(|error| {
        let blank = &text[..text.len() - text.trim_start().len()];
        let line = error.line() + blank.matches('\n').count();
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what);
        ManifestError::Syntax {
            line,
            column: error.column(),
            message: message.to_owned(),
        }
    })?;
    check_kind(
        manifest
            .get("kind")
            .and_then(Json::as_str)
            .unwrap_or_default(),
    )?;
    let describe = |value: &Json| match value {
        Json::Null => "empty",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a mapping",
    };
    match manifest.get("data") {
        None | Some(Json::Null) => Ok(BTreeMap::new()),
        Some(Json::Object(data)) => data
            .iter()
            .map(|(key, value)| match value {
                Json::String(text) => Ok((key.clone(), text.clone())),
                Json::Null => Ok((key.clone(), String::new())),
                Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                    Err(ManifestError::NotText {
                        field: format!("data.{key}"),
                        found: describe(value),
                    })
                }
            })
            .collect(),
        Some(other) => Err(ManifestError::NotText {
            field: "data".to_owned(),
            found: describe(other),
        }),
    }
}

fn read_yaml(text: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    let syntax = |fault: Fault| {
        let (line, column) = Lines::new(text).position(fault.at.min(text.len()));
        ManifestError::Syntax {
            line,
            column,
            message: fault.message.to_owned(),
        }
    };
    let tree = yaml::compose(text).map_err(syntax)?;
    let manifest = decode::decode(&tree).map_err(syntax)?;
    let fields = match manifest.map(|value| value.data) {
        Some(Data::Map(fields)) => fields,
        Some(other) => {
            return Err(ManifestError::NoManifest {
                found: other.describe(),
            });
        }
        None => return Err(ManifestError::NoManifest { found: "empty" }),
    };
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _, _)| key == name.as_bytes())
            .map(|(_, _, value)| &value.data)
    };
    let kind = match field("kind") {
        Some(Data::Str(kind)) => decode::text(kind),
        Some(Data::Null | Data::Bool | Data::Number | Data::Seq(_) | Data::Map(_)) | None => {
            String::new()
        }
    };
    check_kind(&kind)?;
    let entry = |(key, _, value): &(Vec<u8>, yaml::NodeId, Value)| {
        let key = decode::text(key);
        match &value.data {
            Data::Str(text) => Ok((key, decode::text(text))),
            Data::Null => Ok((key, String::new())),
            other @ (Data::Bool | Data::Number | Data::Seq(_) | Data::Map(_)) => {
                Err(ManifestError::NotText {
                    field: format!("data.{key}"),
                    found: other.describe(),
                })
            }
        }
    };
    match field("data") {
        None | Some(Data::Null) => Ok(BTreeMap::new()),
        Some(Data::Map(data)) => data.iter().map(entry).collect(),
        Some(other @ (Data::Bool | Data::Number | Data::Str(_) | Data::Seq(_))) => {
            Err(ManifestError::NotText {
                field: "data".to_owned(),
                found: other.describe(),
            })
        }
    }
}

fn check_kind(kind: &str) -> Result<(), ManifestError> {
    match kind {
        "ConfigMap" => Ok(()),
        "" => Err(ManifestError::NoManifest {
            found: "a mapping without `kind`",
        }),
        kind => Err(ManifestError::OtherKind {
            kind: kind.to_owned(),
        }),
    }
}
