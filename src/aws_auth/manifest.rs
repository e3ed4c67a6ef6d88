//! A ConfigMap as `kubectl get -o yaml` or `-o json` prints it, read as kubectl would read it back.
//!
//! So the texts in `data` come out as the API server would hold them. What kubectl or EKS would not take as aws-auth is an error.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::diagnosis::{
    GET, ManifestDefect, copied_along, is_describe_output, unknown_fields, unreadable,
};
use super::{DefectKind, ProblemCause, Section, ValueType};
use crate::manifest::{Manifest, ManifestFault, read};
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
    #[error("this is {found}, not a manifest: pass a ConfigMap as `{GET}` prints it")]
    NoManifest {
        /// What it is instead.
        found: String,
    },
    /// Entries of roles and of users in one list.
    #[error(
        "this is a list with both `rolearn` and `userarn`, and no manifest around it: put the entries with `rolearn` under `data.mapRoles` and those with `userarn` under `data.mapUsers` of a ConfigMap, as `{GET}` prints it"
    )]
    BareLists,
    /// Several manifests, none of which is the ConfigMap that is meant.
    #[error(
        "none of these {count} manifests is the ConfigMap {config_map}: add it, as `{GET}` prints it"
    )]
    NotAmong {
        /// Namespace and name.
        config_map: String,
        /// How many there are.
        count: usize,
    },
    /// The ConfigMap that is meant more than once.
    #[error(
        "the ConfigMap {config_map} is given twice, in line {first} and in line {second}, and kubectl would keep the last one: remove one of them"
    )]
    Several {
        /// Namespace and name.
        config_map: String,
        /// 1-based line of the first.
        first: usize,
        /// 1-based line of the second.
        second: usize,
    },
    /// A manifest of another kind.
    #[error("this is a manifest of kind `{kind}`: pass one ConfigMap")]
    OtherKind {
        /// Its kind; empty if it has none.
        kind: String,
    },
    /// A ConfigMap of a version that Kubernetes does not have.
    #[error(
        "this is a ConfigMap of apiVersion `{version}`, which Kubernetes does not have: write `apiVersion: v1`"
    )]
    OtherVersion {
        /// What is written.
        version: String,
    },
    /// A ConfigMap that EKS does not read.
    #[error(
        "this is the ConfigMap {namespace}/{name}, and EKS reads only kube-system/aws-auth: if it is intended for EKS, write `name: aws-auth` and `namespace: kube-system`"
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

/// What a text holds of aws-auth.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsAuthText {
    /// Its `data`, empty where there is none.
    pub data: BTreeMap<String, String>,
    /// The ConfigMap as the API server would get it; `None` where the text has no manifest.
    pub object: Option<Json>,
    /// The key whose value the text is, where it has no manifest.
    pub bare: Option<Section>,
}

/// Reads the ConfigMap that EKS reads, or the copy that is meant instead: a manifest alone, one of several, an item of a `List`, or the
/// value of one key. A manifest without a namespace is applied where kubectl's context says.
pub fn read_aws_auth(text: &str, meant: (&str, &str)) -> Result<AwsAuthText, ManifestError> {
    let lines = Lines::new(text);
    if holds_manifest(text)
        && let Some(ManifestDefect { cause, span }) = copied_along(text).into_iter().next()
    {
        return Err(at(&lines, span.start, &cause));
    }
    let documents = read(text);
    let has_kind = |manifest: &Manifest| manifest.text("/kind").is_some();
    let is_manifest = text.lines().any(|line| line.starts_with("kind:"))
        || text.trim_start().starts_with('{')
        || documents.iter().flatten().any(has_kind);
    if !is_manifest {
        if is_describe_output(text) {
            return Err(ManifestError::NoManifest {
                found: "output of `kubectl describe`".to_owned(),
            });
        }
        match bare_sections(text).as_slice() {
            [] => {}
            [section] => {
                return Ok(AwsAuthText {
                    data: BTreeMap::from([(section.key().to_owned(), text.to_owned())]),
                    object: None,
                    bare: Some(*section),
                });
            }
            _ => return Err(ManifestError::BareLists),
        }
    }
    let manifest = match documents.as_slice() {
        [] if text.trim().is_empty() => Err(ManifestError::NoManifest {
            found: "empty".to_owned(),
        }),
        [] => Err(ManifestError::NoManifest {
            found: "a list without items".to_owned(),
        }),
        [one] => one.as_ref().map_err(|fault| syntax(text, &lines, fault)),
        several => among(text, &lines, several, meant),
    }?;
    check(manifest, &lines)?;
    let data = data_of(manifest)?;
    let (namespace, name) = identity(manifest, meant);
    if (namespace, name) != meant {
        return Err(ManifestError::OtherConfigMap {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(AwsAuthText {
        data,
        object: Some(manifest.value.clone()),
        bare: None,
    })
}

/// Namespace and name, those that are meant where they are not written.
fn identity<'a>(manifest: &'a Manifest, meant: (&'a str, &'a str)) -> (&'a str, &'a str) {
    let field = |path: &str| manifest.text(path);
    (
        field("/metadata/namespace").unwrap_or(meant.0),
        field("/metadata/name").unwrap_or(meant.1),
    )
}

/// The ConfigMap that is meant among several manifests.
fn among<'m>(
    text: &str,
    lines: &Lines<'_>,
    documents: &'m [Result<Manifest, ManifestFault>],
    meant: (&str, &str),
) -> Result<&'m Manifest, ManifestError> {
    let readable = || documents.iter().filter_map(|it| it.as_ref().ok());
    let mut found = readable().filter(|manifest| {
        manifest.text("/kind") == Some("ConfigMap") && identity(manifest, meant) == meant
    });
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => {
            let line = |manifest: &Manifest| lines.position(manifest.span.start).0;
            Err(ManifestError::Several {
                config_map: format!("{}/{}", meant.0, meant.1),
                first: line(first),
                second: line(second),
            })
        }
        (Some(manifest), None) => Ok(manifest),
        (None, _) => match documents.iter().find_map(|it| it.as_ref().err()) {
            Some(fault) => Err(syntax(text, lines, fault)),
            None => Err(ManifestError::NotAmong {
                config_map: format!("{}/{}", meant.0, meant.1),
                count: documents.len(),
            }),
        },
    }
}

/// Why a manifest can't be read: the first of its causes, or what the reading ran into.
fn syntax(text: &str, lines: &Lines<'_>, fault: &ManifestFault) -> ManifestError {
    let causes = unreadable(text, fault.at, fault.kind);
    match causes.into_iter().next() {
        Some(ManifestDefect { cause, span }) => at(lines, span.start, &cause),
        None => ManifestError::Syntax {
            line: fault.line,
            column: fault.column,
            message: fault.message.clone(),
        },
    }
}

fn data_of(manifest: &Manifest) -> Result<BTreeMap<String, String>, ManifestError> {
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

/// The keys that a text can be the value of, where it is a list and has no manifest around it: more than one where it has entries of both
/// roles and users.
pub(crate) fn bare_sections(text: &str) -> Vec<Section> {
    let is_key = |line: &str| {
        let key = line.trim_start().split(':').next().unwrap_or_default();
        Section::ALL.iter().any(|section| section.key() == key)
    };
    if holds_manifest(text) {
        return Vec::new();
    }
    let lower = text.to_ascii_lowercase();
    let has_field = |field: &str| {
        lower.lines().any(|line| {
            let content = line.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            content.starts_with(field)
        }) || lower.trim_start().starts_with('[') && lower.contains(field)
    };
    let content = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#') && *line != "---")
    };
    if content().next().is_none_or(is_key) {
        return Vec::new();
    }
    let is_account = |line: &str| {
        let account = line.strip_prefix("- ").map(str::trim);
        let account = account.map(|it| it.trim_matches(['"', '\'']));
        account.is_some_and(|it| it.len() == 12 && it.bytes().all(|b| b.is_ascii_digit()))
    };
    if content().all(is_account) {
        return vec![Section::Accounts];
    }
    let fields = [(Section::Roles, "rolearn"), (Section::Users, "userarn")];
    let found = fields.into_iter().filter(|(_, field)| has_field(field));
    found.map(|(section, _)| section).collect()
}

/// Whether a text holds the first lines of a manifest, also behind what was copied along.
pub(crate) fn holds_manifest(text: &str) -> bool {
    text.lines().any(|line| {
        let content = line.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let is_start = |start: &str| {
            content
                .get(..start.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(start))
        };
        !line.trim_start().starts_with('#')
            && (is_start("apiVersion:") || is_start("kind: ConfigMap"))
    })
}

/// Whether kubectl and EKS take a manifest for aws-auth.
fn check(manifest: &Manifest, lines: &Lines<'_>) -> Result<(), ManifestError> {
    if !manifest.value.is_object() {
        return Err(ManifestError::NoManifest {
            found: value_type(&manifest.value).to_string(),
        });
    }
    match manifest.text("/kind").unwrap_or_default() {
        "ConfigMap" => match manifest.text("/apiVersion") {
            None | Some("v1") => {}
            Some(version) => {
                return Err(ManifestError::OtherVersion {
                    version: version.to_owned(),
                });
            }
        },
        "" if misspelled_kind(&manifest.value) => {
            let found = unknown_fields(&manifest.value).into_iter().next();
            let (field, kind) = found.expect("a misspelled field is unknown");
            let start = manifest.key_span(&field).start;
            return Err(at(lines, start, &ProblemCause::Defect(kind)));
        }
        "" => {
            let mut sections = Section::ALL.iter();
            let found = if sections.any(|it| manifest.value.get(it.key()).is_some()) {
                "keys of aws-auth without a manifest around them"
            } else {
                "a mapping without `kind`"
            };
            return Err(ManifestError::NoManifest {
                found: found.to_owned(),
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
        let start = manifest.key_span(key).start;
        let kind = DefectKind::KeysNotIndented { keys: keys.clone() };
        return Err(at(lines, start, &ProblemCause::Defect(kind)));
    }
    if let Some((field, kind)) = unknown_fields(&manifest.value).into_iter().next() {
        let start = manifest.key_span(&field).start;
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

/// Whether a manifest has no kind because that is misspelled: Kubernetes compares names of fields with regard to case.
pub(crate) fn misspelled_kind(value: &Json) -> bool {
    let fields = value.as_object();
    fields.is_some_and(|fields| {
        let is_slip = |key: &String| key != "kind" && key.eq_ignore_ascii_case("kind");
        !fields.contains_key("kind") && fields.keys().any(is_slip)
    })
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
