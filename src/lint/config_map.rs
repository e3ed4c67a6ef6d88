//! ConfigMaps in files: whether they are an aws-auth that EKS reads, and the places of their values.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::code::Code;
use super::embedding::Embedding;
use super::finding::{Edit, LintFinding};
use super::part::{AwsAuthManifest, ManifestPart};
use super::text::{GET, defect_code};
use crate::aws_auth::diagnosis::{DefectKind, is_entry_field, unknown_fields};
use crate::aws_auth::{Document, Entry, Section, beside, misspelled_kind};
use crate::manifest::{Manifest, read};
use crate::yaml::almost;

/// A document by what it holds.
pub(super) fn of_manifest(text: &str, manifest: Manifest) -> Vec<ManifestPart> {
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
    let words = ["aws-auth", "mapRoles", "mapUsers", "mapAccounts"];
    let is_ours = named
        || words
            .iter()
            .any(|word| text[manifest.span.clone()].contains(word));
    let unknown = || unknown(&manifest);
    if kind.is_empty() && misspelled_kind(&manifest.value) && is_ours {
        return unknown().into_iter().map(ManifestPart::Wrong).collect();
    }
    if kind == "ConfigMap"
        && is_ours
        && !(named || keys.iter().any(|key| is_section(key)))
        && !is_mapping_of_sections(&manifest.value)
    {
        let wrong = unknown();
        if !wrong.is_empty() {
            return wrong.into_iter().map(ManifestPart::Wrong).collect();
        }
    }
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
    auth.wrong.extend(unknown(manifest));
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
                if let Some(finding) = folded(text, manifest, key, value)
                    .or_else(|| quoted_lines(text, manifest, key, value))
                {
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
                let (title, fix) = if is_entry_field(key) {
                    (
                        format!("`{key}` beside the keys of aws-auth, not within one"),
                        "indent it and its lines as far as the fields of its entry".to_owned(),
                    )
                } else {
                    (
                        format!("`{path}` that is not a string"),
                        format!("write `{key}: |`, so that the lines below it are one string"),
                    )
                };
                let at = auth.keys.get(key).filter(|_| is_entry_field(key));
                let at = at.cloned().unwrap_or(span);
                auth.wrong.push(wrong(at, title, fix));
            }
        }
    }
    auth
}

/// Fields at the top of a ConfigMap that belong elsewhere or nowhere.
fn unknown(manifest: &Manifest) -> Vec<LintFinding<Range<usize>>> {
    let keys = beside(&manifest.value);
    let moved = keys.first().map(|first| {
        let field = (*first).to_owned();
        (field, DefectKind::KeysNotIndented { keys: keys.clone() })
    });
    let found = moved.into_iter().chain(unknown_fields(&manifest.value));
    found
        .map(|(field, kind)| LintFinding {
            code: defect_code(&kind),
            at: manifest.key_span(&field),
            title: kind.what(),
            label: if kind == DefectKind::BinaryData {
                "EKS does not read it".to_owned()
            } else {
                "`kubectl apply` refuses it: nothing in it takes effect".to_owned()
            },
            fix: kind.fix(Section::Roles),
            edits: Vec::new(),
            proposed: Vec::new(),
        })
        .collect()
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

/// Lines in quotes, which join them with spaces as `>` does.
fn quoted_lines(
    text: &str,
    manifest: &Manifest,
    key: &str,
    value: &str,
) -> Option<LintFinding<Range<usize>>> {
    let section = Section::ALL
        .into_iter()
        .find(|section| section.key() == key)?;
    let at = manifest.span_of(&format!("data.{key}"));
    let written = &text[at.clone()];
    let is_joined =
        written.starts_with(['"', '\'']) && written.contains('\n') && !value.contains('\n');
    let data = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let is_broken = Document::parse(&data).section(section).broken.is_some();
    (is_joined && is_broken).then(|| LintFinding {
        code: Code::Folded,
        at: at.start..at.start + 1,
        title: format!("quotes instead of `|` after {key}"),
        label: format!("the lines of {key} become one: none of its principals has access"),
        fix: format!("write `{key}: |`, and remove the quotes before and after the lines"),
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
