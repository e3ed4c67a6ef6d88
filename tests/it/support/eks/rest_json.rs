//! The protocol of EKS: a path with labels, a query, a body of JSON.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::model::{Kind, Model, Operation};
use super::refusal::Refusal;

/// The operation of a request, and the labels of its path. The path is split while it is encoded: `%2F` in a label is no
/// separator.
pub(crate) fn route<'m>(
    model: &'m Model,
    method: &str,
    path: &str,
) -> Option<(&'m Operation, Vec<(String, String)>)> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    model.operations.values().find_map(|operation| {
        if operation.http.method != method {
            return None;
        }
        let pattern = operation.http.request_uri.trim_start_matches('/');
        let pattern: Vec<&str> = pattern.split('/').collect();
        if pattern.len() != segments.len() {
            return None;
        }
        let mut labels = Vec::new();
        for (expected, found) in pattern.iter().zip(&segments) {
            match expected
                .strip_prefix('{')
                .and_then(|it| it.strip_suffix('}'))
            {
                Some(label) if !found.is_empty() => {
                    let value = percent_decode_str(found).decode_utf8().ok()?;
                    labels.push((label.to_owned(), value.into_owned()));
                }
                None if expected == found => {}
                _ => return None,
            }
        }
        Some((operation, labels))
    })
}

/// The input that stands in labels, query and body.
pub(crate) fn input(
    model: &Model,
    operation: &Operation,
    labels: &[(String, String)],
    query: &str,
    body: &[u8],
) -> Result<Map<String, Value>, Refusal> {
    let malformed = |message: String| Refusal::new("SerializationException", 400, message);
    let mut input = if body.is_empty() {
        Map::new()
    } else {
        let parsed: Value =
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        match parsed {
            Value::Object(members) => members,
            other => {
                return Err(malformed(format!(
                    "the body must be an object, not {other}"
                )));
            }
        }
    };
    let Some(shape) = model.input(operation) else {
        return Ok(input);
    };
    let pairs = pairs(query);
    for (name, member) in &shape.members {
        let found: Vec<&str> = match member.location.as_deref() {
            None => continue,
            Some("uri") => named(labels, member.location_name.as_deref()),
            Some("querystring") => named(&pairs, member.location_name.as_deref()),
            Some(other) => unreachable!("no member of our operations stands in the {other}"),
        };
        // What the model puts elsewhere is not taken from the body.
        input.remove(name);
        if found.is_empty() {
            continue;
        }
        let value = match model.shape(&member.shape).kind {
            Kind::List => found.into(),
            kind => scalar(kind, found[0]).map_err(|what| malformed(format!("{name}: {what}")))?,
        };
        input.insert(name.clone(), value);
    }
    Ok(input)
}

fn named<'a>(pairs: &'a [(String, String)], name: Option<&str>) -> Vec<&'a str> {
    let fitting = pairs.iter().filter(|(key, _)| Some(key.as_str()) == name);
    fitting.map(|(_, value)| value.as_str()).collect()
}

/// A value that stands in a path, query or form.
pub(crate) fn scalar(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Integer | Kind::Long => {
            let number: Result<i64, _> = text.parse();
            number
                .map(Value::from)
                .map_err(|_| format!("{text:?} is no whole number"))
        }
        Kind::Boolean => {
            let parsed: Result<bool, _> = text.parse();
            parsed
                .map(Value::from)
                .map_err(|_| format!("{text:?} is neither true nor false"))
        }
        _ => Ok(text.into()),
    }
}

/// The pairs of a query or form.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// The body of an error.
pub(crate) fn error_body(refusal: &Refusal) -> String {
    let mut members = refusal.members.clone();
    members.insert("message".to_owned(), json!(refusal.message));
    Value::Object(members).to_string()
}
