//! The mappings among manifests, checked by the rules of the `CustomResourceDefinition`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use kube::Resource as _;
use serde_json::Value;

use super::{Manifest, Source, fix, read};
use crate::api::check::{Violation, WRONG_TYPE};
use crate::api::{IdentityMapping, check_json};
use crate::yaml::Lines;

/// A mapping that a file declares.
#[derive(Clone, Debug)]
pub struct DeclaredMapping {
    /// The object, as the API server would hold it.
    pub object: IdentityMapping,
    /// The number of its [`Source`].
    pub source: usize,
    /// The document, with the place of each field.
    pub manifest: Manifest,
}

/// What the API server would refuse, or what can't be read at all; also a name that is given twice, of which only the last would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The number of its [`Source`].
    pub source: usize,
    /// The bytes at fault.
    pub span: Range<usize>,
    /// `kind/name` of the object, where it is one.
    pub object: Option<String>,
    /// The field, as in `spec.groups[2]`; empty for the whole document.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it, where that can be told.
    pub fix: Option<String>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.object.as_deref(), Some(self.field.as_str())] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// What files declare.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// The mappings that the API server would take, in the order of the files.
    pub declared: Vec<DeclaredMapping>,
    /// What it would refuse.
    pub complaints: Vec<Complaint>,
    /// How many manifests of other kinds there are: a folder may hold more than mappings.
    pub others: usize,
}

/// Reads the mappings of all sources.
#[must_use]
pub fn mappings(sources: &[Source]) -> Mappings {
    let mut all = Mappings::default();
    for (number, source) in sources.iter().enumerate() {
        for document in read(&source.text) {
            match document {
                Ok(manifest) => all.take(number, manifest),
                Err(fault) => all.complaints.push(Complaint {
                    source: number,
                    span: fault.at..fault.at,
                    object: None,
                    field: String::new(),
                    message: fault.message,
                    fix: None,
                }),
            }
        }
    }
    all.complain_of_names(sources);
    all
}

impl Mappings {
    pub(crate) fn complain_of_names(&mut self, sources: &[Source]) {
        let mut seen: BTreeMap<&str, &DeclaredMapping> = BTreeMap::new();
        for declared in &self.declared {
            let name = declared.manifest.text("/metadata/name").unwrap_or_default();
            let Some(first) = seen.get(name) else {
                seen.insert(name, declared);
                continue;
            };
            let source = &sources[first.source];
            let at = first.manifest.span_of("metadata.name").start;
            let line = Lines::new(&source.text).position(at).0;
            self.complaints.push(Complaint {
                source: declared.source,
                span: declared.manifest.span_of("metadata.name"),
                object: Some(format!("{} {name}", IdentityMapping::kind(&()))),
                field: "metadata.name".to_owned(),
                message: format!(
                    "the name is already used in {} line {line}, and the last one would win",
                    source.name
                ),
                fix: Some("give each mapping a name of its own".to_owned()),
            });
        }
    }

    pub(crate) fn take(&mut self, source: usize, manifest: Manifest) {
        let api_version = IdentityMapping::api_version(&());
        let (group, _) = api_version.split_once('/').unwrap_or_default();
        let found = manifest.text("/apiVersion").unwrap_or_default();
        let kind = manifest.text("/kind").unwrap_or_default();
        let ours = kind == IdentityMapping::kind(&()) || found.split('/').next() == Some(group);
        if !ours {
            self.others += 1;
            return;
        }
        let name = manifest.text("/metadata/name").map(str::to_owned);
        let object = name.as_ref().map(|name| format!("{kind} {name}"));
        let mut complain = |violation: &Violation| {
            let (what, said) = fix::split(&violation.message);
            let fix = fix::fix(violation, &manifest.value);
            self.complaints.push(Complaint {
                source,
                span: manifest.span_of(&violation.field),
                object: object.clone(),
                field: violation.field.clone(),
                message: what.to_owned(),
                fix: fix.or_else(|| said.map(str::to_owned)),
            });
        };
        let violation = |field: &str, message: String| Violation {
            field: field.to_owned(),
            message,
        };
        if found != api_version {
            let message = format!("{found:?} is unknown: write {api_version}");
            return complain(&violation("apiVersion", message));
        }
        if kind != IdentityMapping::kind(&()) {
            let message = format!("{kind:?} is not a kind of {group}: write IdentityMapping");
            return complain(&violation("kind", message));
        }
        let given = manifest.value.pointer("/metadata/name");
        let wrong_name = match (given, &name) {
            (None | Some(Value::Null), _) => {
                Some("a mapping needs a name: write metadata.name".to_owned())
            }
            (Some(_), None) => Some(format!("{WRONG_TYPE}string")),
            (Some(_), Some(name)) if name.is_empty() => {
                Some("a mapping needs a name: write metadata.name".to_owned())
            }
            (Some(_), Some(name)) if !is_subdomain(name) => Some(format!(
                "{name:?} is not a valid object name: use at most 253 lower-case letters, digits, `-` and `.`, and begin and end with a letter or digit"
            )),
            (Some(_), Some(_)) => None,
        };
        let mut violations = check_json(&manifest.value).err().unwrap_or_default();
        violations.extend(wrong_name.map(|message| violation("metadata.name", message)));
        violations.sort();
        violations.iter().for_each(&mut complain);
        if !violations.is_empty() {
            return;
        }
        match serde_json::from_value(manifest.value.clone()) {
            Ok(object) => self.declared.push(DeclaredMapping {
                object,
                source,
                manifest,
            }),
            Err(error) => complain(&violation("", error.to_string())),
        }
    }
}

/// Whether the API server takes a name: a subdomain of RFC 1123 (Kubernetes documentation, *Object Names and IDs*).
fn is_subdomain(name: &str) -> bool {
    let is_edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(is_edge)
            && bytes.last().is_some_and(is_edge)
            && bytes.iter().all(|b| is_edge(b) || *b == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_api_server_takes() {
        for (name, expected) in [
            ("a", true),
            ("team-a.b2", true),
            ("A_b", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(is_subdomain(name), expected, "{name}");
            let found = of(&GOOD.replace("{name: a}", &format!("{{name: \"{name}\"}}")));
            assert_eq!(found.complaints.is_empty(), expected, "{name}");
        }
    }

    fn of(text: &str) -> Mappings {
        mappings(&[Source {
            name: "it.yaml".to_owned(),
            text: text.to_owned(),
        }])
    }

    const GOOD: &str = "apiVersion: identity-mapper.dev/v1alpha1
kind: IdentityMapping
metadata: {name: a}
spec:
  principal: {arn: arn:aws:iam::111122223333:role/a}
  groups: [team]
";

    #[test]
    fn mappings_among_others() {
        let found = of(&format!(
            "{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n"
        ));
        assert_eq!(
            (found.declared.len(), found.others, found.complaints.len()),
            (1, 1, 0)
        );
        assert_eq!(found.declared[0].object.spec.groups, ["team"]);
    }

    #[test]
    fn what_the_api_server_would_refuse_names_the_place() {
        for (from, to, field, message) in [
            (
                "v1alpha1",
                "v9",
                "apiVersion",
                "write identity-mapper.dev/v1alpha1",
            ),
            ("{name: a}", "{}", "metadata.name", "needs a name"),
            ("{name: a}", "{name: y}", "metadata.name", "string"),
            ("[team]", "[on]", "spec.groups[0]", "string"),
            ("role/a", "group/a", "spec.principal.arn", "group"),
            (
                "kind: IdentityMapping",
                "kind: Mapping",
                "kind",
                "write IdentityMapping",
            ),
        ] {
            let text = GOOD.replace(from, to);
            let found = of(&text);
            let complaint = found.complaints.first().expect("a complaint");
            assert_eq!(complaint.field, field, "{complaint}");
            let whole = format!(
                "{complaint}: {}",
                complaint.fix.as_deref().unwrap_or_default()
            );
            assert!(whole.contains(message), "{whole}");
            assert!(text.get(complaint.span.clone()).is_some());
            assert!(found.declared.is_empty());
        }
        // Whoever fixes one meets no second.
        let several = of(&GOOD
            .replace("{name: a}", "{name: A_b}")
            .replace("role/a", "group/a")
            .replace("[team]", "[on]"));
        assert!(several.complaints.len() >= 2, "{:?}", several.complaints);
        let found = of(&format!("{GOOD}---\n{GOOD}"));
        let complaint = found.complaints.first().expect("a complaint");
        assert!(
            complaint
                .to_string()
                .ends_with("in it.yaml line 3, and the last one would win"),
            "{complaint}"
        );
        let found = of("a: [\n");
        assert_eq!(found.complaints.len(), 1);
    }
}
