//! The CRD's own schema and rules, applied without an API server.
//!
//! The API server refuses a wrong object before anyone sees it; this is the second line, for objects that an older CRD
//! let in, and for files that no server has seen. It reads the very schema that is served, so the two can't disagree
//! about a bound or a rule. As in the API server, nulls go and defaults come first, and rules are asked only of objects
//! that fit the schema.
//!
//! Only what the CRD's schema uses is known here; a test holds the list of keywords against the schema.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;

use kube::core::cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::Value;

use super::{IdentityMapping, crd};

/// What is wrong with an object, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The field, as in `spec.groups[2]`; empty for the whole object.
    pub field: String,
    /// What is wrong with it and how to mend it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Says everything that is wrong with a mapping, in the API server's order of fields.
///
/// Costs some tenths of a millisecond: ask once per change of an object, not once per pass.
pub fn check(mapping: &IdentityMapping) -> Result<(), Vec<Violation>> {
    match serde_json::to_value(mapping) {
        Ok(value) => check_json(&value),
        Err(error) => Err(vec![Violation {
            field: String::new(),
            message: error.to_string(),
        }]),
    }
}

/// [`check`] for an object that may not even have the right fields, as a file gives it.
pub fn check_json(object: &Value) -> Result<(), Vec<Violation>> {
    RULES.with(|rules| {
        let mut object = object.clone();
        without_nulls(&mut object);
        let object = apply_defaults(&rules.schema, &object);
        let mut violations = Vec::new();
        bounds(&rules.schema, &object, "", &mut violations);
        if violations.is_empty()
            && let Err(errors) = rules
                .validator
                .validate_compiled(&rules.compiled, &object, None)
        {
            violations.extend(errors.into_iter().map(|error| Violation {
                field: error.field_path,
                message: error.message,
            }));
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    })
}

struct Rules {
    schema: Value,
    compiled: CompiledSchema,
    validator: Validator,
}

thread_local! {
    static RULES: LazyCell<Rules> = LazyCell::new(|| {
        let schema = schema();
        Rules { compiled: compile_schema(&schema), schema, validator: Validator::new() }
    });
}

/// The schema as served, without the status: that is the operator's own.
fn schema() -> Value {
    let mut schema = serde_json::to_value(crd())
        .ok()
        .and_then(|mut crd| {
            crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
                .map(Value::take)
        })
        .unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("status");
    }
    schema
}

/// Drops fields that are `null`, as the API server does where a field is not nullable: none is here.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema's own bounds. The sentences follow the API server's.
fn bounds(schema: &Value, value: &Value, field: &str, violations: &mut Vec<Violation>) {
    let mut violation = |message: String| {
        violations.push(Violation {
            field: field.to_owned(),
            message,
        })
    };
    let limit = |keyword: &str| {
        schema
            .get(keyword)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let fits = match value {
        Value::Null => false,
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => kind == "number" || (kind == "integer" && !number.is_f64()),
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    };
    if !fits {
        violation(format!("invalid value: must be of type {kind}"));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        violation(format!(
            "unsupported value {value}: supported values: {}",
            allowed.join(", ")
        ));
    }
    match value {
        Value::String(text) => {
            if let Some(most) = limit("maxLength").filter(|most| text.chars().count() > *most) {
                violation(format!("too long: may not be more than {most} characters"));
            }
            if schema.get("format").and_then(Value::as_str) == Some("date-time")
                && text.parse::<jiff::Timestamp>().is_err()
            {
                violation(format!(
                    "invalid value {text:?}: must be of type date-time, as in 2026-12-24T18:00:00Z"
                ));
            }
        }
        Value::Array(items) => {
            if let Some(most) = limit("maxItems").filter(|most| items.len() > *most) {
                violation(format!(
                    "too many: {}: must have at most {most} items",
                    items.len()
                ));
            }
            for index in duplicates(schema, items) {
                violations.push(Violation {
                    field: format!("{field}[{index}]"),
                    message: format!("duplicate value: {}", items[index]),
                });
            }
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    bounds(schema, item, &format!("{field}[{index}]"), violations);
                }
            }
        }
        Value::Object(object) => members(schema, object, field, violations),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn members(
    schema: &Value,
    object: &serde_json::Map<String, Value>,
    field: &str,
    violations: &mut Vec<Violation>,
) {
    let member = |name: &str| {
        if field.is_empty() {
            name.to_owned()
        } else {
            format!("{field}.{name}")
        }
    };
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !object.contains_key(name) {
            violations.push(Violation {
                field: member(name),
                message: "required value".to_owned(),
            });
        }
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, value) in object {
        match properties.get(name) {
            Some(schema) => bounds(schema, value, &member(name), violations),
            // The root's own fields are Kubernetes' business.
            None if field.is_empty() => {}
            None => violations.push(Violation {
                field: member(name),
                message: "unknown field".to_owned(),
            }),
        }
    }
}

/// The places of items that repeat an earlier one, in a list that is a set or a map.
fn duplicates(schema: &Value, items: &[Value]) -> Vec<usize> {
    let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Vec::new(),
        Some("map") => schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
        _ => return Vec::new(),
    };
    let identity = |item: &Value| {
        if keys.is_empty() {
            item.to_string()
        } else {
            keys.iter()
                .map(|key| item.get(key).map(Value::to_string).unwrap_or_default())
                .collect()
        }
    };
    let mut seen = BTreeSet::new();
    items
        .iter()
        .enumerate()
        .filter(|(_, item)| !seen.insert(identity(item)))
        .map(|(index, _)| index)
        .collect()
}
