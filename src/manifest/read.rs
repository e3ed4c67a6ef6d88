//! From the text to documents.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Number, Value};

use super::{Manifest, ManifestFault, SourcePlace};
use crate::yaml::{self, FaultKind, Lines, NodeId, NodeKind, Scalar, Style, Tree};

/// Deeper than any manifest; go-yaml itself stops at 10,000.
const MAX_DEPTH: usize = 100;

/// More values than any manifest has: aliases of aliases can make a short text a large one.
const MAX_VALUES: usize = 1_000_000;

/// Reads all documents of a file. One that can't be read does not keep the others from being read; empty ones are passed over, and the
/// items of a `List` stand in its place.
#[must_use]
pub fn read(text: &str) -> Vec<Result<Manifest, ManifestFault>> {
    let documents = if text.trim_start().starts_with('{') {
        read_json(text)
    } else {
        let lines = OnceCell::new();
        let read = |span: Range<usize>| read_document(text, &lines, span).transpose();
        documents(text).into_iter().filter_map(read).collect()
    };
    documents.into_iter().flat_map(items).collect()
}

/// kubectl cuts at lines that begin with `---` and hold nothing else but a comment.
fn documents(text: &str) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        let rest = line.strip_prefix("---").map(str::trim_start);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#')) {
            documents.push(start..at);
            start = next;
        }
        at = next;
    }
    documents.push(start..text.len());
    documents
}

fn read_json(text: &str) -> Vec<Result<Manifest, ManifestFault>> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut all = Vec::new();
    let mut start = 0;
    let lines = OnceCell::new();
    while let Some(document) = documents.next() {
        let end = documents.byte_offset();
        match document {
            Ok(value) => {
                let blank = text[start..end].len() - text[start..end].trim_start().len();
                let span = start + blank..end;
                // JSON is YAML but for tabs and a few escapes; where go-yaml can't read it, the document itself is the place.
                let placed = read_document(text, &lines, span.clone()).ok().flatten();
                let placed = placed.filter(|placed| placed.value == value);
                all.push(Ok(placed.unwrap_or(Manifest {
                    value,
                    span,
                    places: BTreeMap::new(),
                    repeated: Vec::new(),
                })));
                start = end;
            }
            Err(error) => {
                let message = error.to_string();
                let message = message.rsplit_once(" at line ");
                let at = offset(text, error.line(), error.column());
                all.push(Err(ManifestFault {
                    line: error.line(),
                    column: error.column(),
                    at,
                    message: message.map_or_else(|| error.to_string(), |(what, _)| what.to_owned()),
                    kind: None,
                }));
                break;
            }
        }
    }
    all
}

/// The byte of a line and column as `serde_json` counts them: columns in bytes, from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The lines are those of the whole file, counted once a document has a fault: a file can have thousands of both.
fn read_document<'t>(
    text: &'t str,
    lines: &OnceCell<Lines<'t>>,
    span: Range<usize>,
) -> Result<Option<Manifest>, ManifestFault> {
    let document = &text[span.clone()];
    let fault = |fault: yaml::Fault| {
        let at = (span.start + fault.at).min(text.len());
        let (line, column) = lines.get_or_init(|| Lines::new(text)).position(at);
        ManifestFault {
            line,
            column,
            at,
            message: fault.kind.to_string(),
            kind: Some(fault.kind),
        }
    };
    let tree = yaml::compose(document).map_err(fault)?;
    let Some(root) = tree.root else {
        return Ok(None);
    };
    let mut builder = Builder {
        tree: &tree,
        offset: span.start,
        places: BTreeMap::new(),
        repeated: Vec::new(),
        values: 0,
    };
    let value = builder.value(root, Some(""), 0).map_err(fault)?;
    if value.is_null() {
        return Ok(None);
    }
    let node = &tree.node(root).span;
    Ok(Some(Manifest {
        value,
        span: span.start + node.start..span.start + node.end,
        places: builder.places,
        repeated: builder.repeated,
    }))
}

/// In bytes. No field of an object that the API server takes has a longer one: its keys have at most 317. Each field has its own, so one
/// long key would take memory once for each field below it.
const LONGEST_PATH: usize = 1_024;

struct Builder<'t> {
    tree: &'t Tree,
    offset: usize,
    places: BTreeMap<String, SourcePlace>,
    repeated: Vec<(String, Range<usize>)>,
    values: usize,
}

impl Builder<'_> {
    fn span(&self, id: NodeId) -> Range<usize> {
        let span = &self.tree.node(id).span;
        self.offset + span.start..self.offset + span.end
    }

    /// Below a field whose path is longer than [`LONGEST_PATH`] there are no paths.
    fn value(
        &mut self,
        id: NodeId,
        path: Option<&str>,
        depth: usize,
    ) -> Result<Value, yaml::Fault> {
        let node = self.tree.node(id);
        let at = node.span.start;
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(yaml::Fault {
                at,
                kind: FaultKind::TooLarge,
            });
        }
        match &node.kind {
            NodeKind::Scalar {
                value,
                tag,
                implicit,
                ..
            } => scalar(yaml::resolve(value, tag, *implicit, at)?, at),
            NodeKind::Alias { target } => self.value(*target, path, depth + 1),
            NodeKind::Sequence { items, .. } => {
                let mut values = Vec::with_capacity(items.len());
                for (number, item) in items.iter().enumerate() {
                    let path = below(path, || format!("[{number}]"));
                    self.place(path.as_deref(), None, *item);
                    values.push(self.value(*item, path.as_deref(), depth + 1)?);
                }
                Ok(Value::Array(values))
            }
            NodeKind::Mapping { pairs, .. } => self.mapping(pairs, path, depth),
        }
    }

    fn mapping(
        &mut self,
        pairs: &[NodeId],
        path: Option<&str>,
        depth: usize,
    ) -> Result<Value, yaml::Fault> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        for pair in pairs.chunks_exact(2) {
            let (key_node, value_node) = (pair[0], pair[1]);
            if self.is_merge(key_node) {
                merged.push(value_node);
                continue;
            }
            let key = match self.value(key_node, path, depth + 1)? {
                Value::String(key) => key,
                // YAMLToJSON makes text of them.
                Value::Null => "null".to_owned(),
                other @ (Value::Bool(_) | Value::Number(_)) => other.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(yaml::Fault {
                        at: self.tree.node(key_node).span.start,
                        kind: FaultKind::CollectionAsKey,
                    });
                }
            };
            let path = match path {
                Some("") => below(path, || key.clone()),
                _ => below(path, || format!(".{key}")),
            };
            if let Some(path) = &path
                && let Some(earlier) = self.places.get(path).and_then(|place| place.key.clone())
            {
                self.repeated.push((path.clone(), earlier));
            }
            self.place(path.as_deref(), Some(key_node), value_node);
            map.insert(key, self.value(value_node, path.as_deref(), depth + 1)?);
        }
        for node in merged {
            self.merge(node, path, depth + 1, &mut map)?;
        }
        Ok(Value::Object(map))
    }

    fn is_merge(&self, key: NodeId) -> bool {
        matches!(
            &self.tree.node(key).kind,
            NodeKind::Scalar { value, style: Style::Plain, implicit: true, .. } if value == "<<"
        )
    }

    /// What a mapping, or each of a list of them, says of fields that are not given otherwise.
    fn merge(
        &mut self,
        node: NodeId,
        path: Option<&str>,
        depth: usize,
        map: &mut Map<String, Value>,
    ) -> Result<(), yaml::Fault> {
        // What is merged stands elsewhere, so its places are not those of the fields here.
        let of_merged = below(path, || ".<<".to_owned());
        let values = match self.value(node, of_merged.as_deref(), depth)? {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let Value::Object(fields) = value else {
                return Err(yaml::Fault {
                    at: self.tree.node(node).span.start,
                    kind: FaultKind::MergeOfNoMapping,
                });
            };
            for (key, value) in fields {
                map.entry(key).or_insert(value);
            }
        }
        Ok(())
    }

    fn place(&mut self, path: Option<&str>, key: Option<NodeId>, value: NodeId) {
        let Some(path) = path else {
            return;
        };
        let plain = matches!(
            self.tree.node(value).kind,
            NodeKind::Scalar {
                style: Style::Plain,
                ..
            }
        );
        let place = SourcePlace {
            key: key.map(|key| self.span(key)),
            value: self.span(value),
            plain,
        };
        self.places.insert(path.to_owned(), place);
    }
}

fn below(path: Option<&str>, step: impl FnOnce() -> String) -> Option<String> {
    let path = path?;
    let step = step();
    (path.len() + step.len() <= LONGEST_PATH).then(|| format!("{path}{step}"))
}

fn scalar(scalar: Scalar, at: usize) -> Result<Value, yaml::Fault> {
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::Number(value.into()),
        Scalar::Uint(value) => Value::Number(value.into()),
        Scalar::Float(value) => {
            let Some(number) = Number::from_f64(value) else {
                return Err(yaml::Fault {
                    at,
                    kind: FaultKind::NoJsonNumber,
                });
            };
            Value::Number(number)
        }
        Scalar::Str(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// The items of a `List`, as `kubectl get -o yaml` prints several objects; any other document is itself.
fn items(document: Result<Manifest, ManifestFault>) -> Vec<Result<Manifest, ManifestFault>> {
    let Ok(mut manifest) = document else {
        return vec![document];
    };
    let is_list = manifest
        .text("/kind")
        .is_some_and(|kind| kind.ends_with("List"));
    let items = manifest.value.get_mut("items").map(Value::take);
    let (true, Some(Value::Array(items))) = (is_list, items) else {
        return vec![Ok(manifest)];
    };
    // Each item looks at its own fields only: there can be thousands of items.
    let mut repeated: BTreeMap<&str, Vec<(String, Range<usize>)>> = BTreeMap::new();
    for (path, span) in &manifest.repeated {
        if let Some((item, rest)) = path.split_once('.') {
            let of_item = repeated.entry(item).or_default();
            of_item.push((rest.to_owned(), span.clone()));
        }
    }
    let item = |(number, value)| {
        let path = format!("items[{number}]");
        let within = format!("{path}.");
        let places = manifest.places.range(within.clone()..);
        let places = places.map_while(|(path, place)| {
            let rest = path.strip_prefix(&within)?;
            Some((rest.to_owned(), place.clone()))
        });
        Ok(Manifest {
            value,
            span: manifest.span_of(&path),
            places: places.collect(),
            repeated: repeated.get(path.as_str()).cloned().unwrap_or_default(),
        })
    };
    items.into_iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Manifest {
        let mut all = read(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0).expect("a document")
    }

    #[test]
    fn scalars_are_what_kubectl_makes_of_them() {
        let read = one("a: yes\nb: \"yes\"\nc: 012\nd: 1.5\ne: ~\nf: x # y\ng: 2026-01-01\n");
        let expected = json!({"a": true, "b": "yes", "c": 10, "d": 1.5, "e": null, "f": "x", "g": "2026-01-01"});
        assert_eq!(read.value, expected);
        assert!(read.places["a"].plain && !read.places["b"].plain);
    }

    #[test]
    fn fields_have_places() {
        let text = "# é\n---\nspec:\n  groups: [a, \"b\"]\n  list:\n  - name: x\n";
        let read = one(text);
        let at = |path: &str| &text[read.places[path].value.clone()];
        assert_eq!(
            (at("spec.groups[1]"), at("spec.list[0].name")),
            ("\"b\"", "x")
        );
        assert_eq!(
            read.places["spec.groups"].key.clone().map(|key| &text[key]),
            Some("groups")
        );
        assert_eq!(&text[read.span_of("spec.groups[7].what")], "[a, \"b\"]");
        assert!(read.span_of("nothing").start >= text.find("spec").expect("there"));
    }

    #[test]
    fn documents_are_cut_where_kubectl_cuts_them() {
        let count = |text: &str| read(text).len();
        assert_eq!(
            count("---\na: 1\n--- # two\nb: 2\n---\n---\n# nothing\n"),
            2
        );
        assert_eq!(count("a: |\n  ---\n  text\n"), 1);
        assert_eq!(count(""), 0);
        let faulty = read("a: 1\n---\nb: [\n---\nc: 3\n");
        assert_eq!(faulty.len(), 3);
        let fault = faulty[1].as_ref().expect_err("an open list");
        assert!((3..=4).contains(&fault.line), "{fault}");
    }

    #[test]
    fn json_comes_as_a_stream_and_lists_come_apart() {
        let text =
            "{\"kind\": \"List\", \"items\": [{\"a\": 1}, {\"a\": {\"b\": 2}}]}\n{\"c\":\t3}";
        let all: Vec<Manifest> = read(text).into_iter().map(|it| it.expect("read")).collect();
        let values: Vec<&Value> = all.iter().map(|it| &it.value).collect();
        assert_eq!(
            values,
            [&json!({"a": 1}), &json!({"a": {"b": 2}}), &json!({"c": 3})]
        );
        assert_eq!(&text[all[1].places["a.b"].value.clone()], "2");
        let fault = read("{\"a\": 1").remove(0).expect_err("not whole");
        assert!(fault.message.contains("EOF"), "{fault}");
    }

    #[test]
    fn merges_and_repetitions() {
        let read = one("base: &b {x: 1, z: 2}\nmine:\n  <<: *b\n  x: 3\n  x: 4\n");
        assert_eq!(read.value["mine"], json!({"x": 4, "z": 2}));
        assert_eq!(read.repeated.len(), 1);
        assert_eq!(read.repeated[0].0, "mine.x");
    }

    #[test]
    fn aliases_of_aliases_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let ten = [before.as_str(); 10].join(", ");
            let _ = writeln!(text, "a{level}: &a{level} [{ten}]");
        }
        let fault = read(&text).remove(0).expect_err("too large");
        assert!(fault.message.contains("too large"), "{fault}");
    }

    #[test]
    fn items_of_a_list_keep_their_places_and_repetitions() {
        let text = "kind: List\nitems:\n- {a: 1}\n- {a: 2, a: 3}\n- {b.c: 4, b.c: 5}\n";
        let all: Vec<Manifest> = read(text).into_iter().map(|it| it.expect("read")).collect();
        let repeated: Vec<Vec<&str>> = all
            .iter()
            .map(|it| it.repeated.iter().map(|(path, _)| path.as_str()).collect())
            .collect();
        assert_eq!(repeated, [vec![], vec!["a"], vec!["b.c"]]);
        let places: Vec<&str> = all
            .iter()
            .flat_map(|it| it.places.values().map(|place| &text[place.value.clone()]))
            .collect();
        assert_eq!(places, ["1", "3", "5"]);
    }

    #[test]
    fn what_is_below_a_path_that_is_too_long_has_the_place_of_what_is_above() {
        let text = format!("a:\n  {}:\n    b: 1\n", "k".repeat(LONGEST_PATH));
        let all = read(&text);
        let read = all[0].as_ref().expect("it can be read");
        let places: Vec<&String> = read.places.keys().collect();
        assert_eq!(places, ["a"]);
        let path = format!("a.{}.b", "k".repeat(LONGEST_PATH));
        assert_eq!(read.span_of(&path), read.places["a"].value);
    }

    #[test]
    fn the_time_grows_with_the_documents_and_not_with_their_square() {
        type Grown = fn(usize) -> String;
        let texts: [(&str, Grown); 4] = [
            ("documents with a fault", |size| {
                "a: [\n---\n".repeat(size / 9)
            }),
            ("items", |size| {
                format!("kind: List\nitems:\n{}", "- {a: 1}\n".repeat(size / 9))
            }),
            ("items with a field given twice", |size| {
                format!(
                    "kind: List\nitems:\n{}",
                    "- {a: 1, a: 1}\n".repeat(size / 15)
                )
            }),
            ("items below a long key", |size| {
                format!(
                    "a:\n  {}:\n{}",
                    "k".repeat(size / 2),
                    "  - 1\n".repeat(size / 12)
                )
            }),
        ];
        for (name, text) in texts {
            crate::fuzzing::assert_linear_in_size(name, text, |text| drop(read(text)));
        }
    }

    proptest! {
        #![proptest_config(crate::laws::cases(256))]
        #[test]
        fn no_text_panics_and_places_lie_within(text in "[\\PC\\n\\t:{}\\[\\]&*\"'|>-]{0,80}") {
            for manifest in read(&text).into_iter().flatten() {
                for place in manifest.places.values() {
                    prop_assert!(text.get(place.value.clone()).is_some());
                }
            }
        }
    }
}
