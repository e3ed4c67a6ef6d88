//! Manifests as kubectl reads them: a file of YAML documents or JSON objects, each with the place of every field.
//!
//! kubectl takes a text that starts with `{` as JSON and any other as YAML, cuts that at lines of `---`, and reads each document with
//! go-yaml v2 (`k8s.io/apimachinery/pkg/util/yaml`). So a `username: yes` is a truth value here too, as the API server would say.
//! Pure. Reading never panics, whatever the text; what is no document is a [`ManifestFault`] that says where.

mod fix;
mod mapping;
mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value;

use crate::yaml::FaultKind;

pub use mapping::{Complaint, DeclaredMapping, Mappings, mappings};
pub use read::read;
pub use write::{to_value, write};

/// A text and what to call it: a path, or `standard input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What to call it.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Why a document can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ManifestFault {
    /// 1-based line in the file.
    pub line: usize,
    /// 1-based column in characters; for JSON as its parser counts.
    pub column: usize,
    /// The byte in the file.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// The kind of fault, where it is one of YAML.
    pub(crate) kind: Option<FaultKind>,
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

/// Where a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    /// The bytes of its key; `None` for an item of a list.
    pub key: Option<Range<usize>>,
    /// The bytes of its value.
    pub value: Range<usize>,
    /// Whether the value is a scalar without quotes, whose type go-yaml guesses.
    pub plain: bool,
}

/// One document: a value, and where each of its fields is.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// As the API server would get it.
    pub value: Value,
    /// The bytes of the document in its file.
    pub span: Range<usize>,
    /// By the field's path as the API server writes it: `spec.groups[2]`. Empty for JSON that go-yaml can't read.
    pub places: BTreeMap<String, SourcePlace>,
    /// Fields that are given more than once, with the place of the earlier one, which does not count.
    pub repeated: Vec<(String, Range<usize>)>,
}

impl Manifest {
    /// The text of a field, where it is text.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// The bytes of a field's name; the document's where it has none.
    #[must_use]
    pub(crate) fn key_span(&self, path: &str) -> Range<usize> {
        let key = self.places.get(path).and_then(|place| place.key.clone());
        key.unwrap_or_else(|| self.span.clone())
    }

    /// The bytes of a field, or of the nearest field around it that is there; in the end of the document.
    #[must_use]
    pub fn span_of(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.value.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.span.clone(),
            }
        }
    }
}
