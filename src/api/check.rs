//! The CRD's own schema and rules, applied without an API server.
//!
//! The API server refuses a wrong object before anyone sees it; this is the second line, for objects that an older CRD
//! admitted, and for files that no server has seen. It reads the very schema that is served, so the two can't disagree
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
    /// What is wrong with it and how to fix it.
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
/// Costs about a millisecond, because the patterns of the rules are compiled anew each time: ask once per change of an
/// object, not once per pass.
pub fn check(mapping: &IdentityMapping) -> Result<(), Vec<Violation>> {
    match serde_json::to_value(mapping) {
        Ok(value) => check_json(&value),
        Err(error) => Err(vec![Violation {
            field: String::new(),
            message: error.to_string(),
        }]),
    }
}

/// [`check()`] for an object that may not even have the right fields, as a file gives it.
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

/// What is said of a field that the schema does not have.
pub(crate) const UNKNOWN_FIELD: &str = "unknown field";
/// What is said of a field that must be there.
pub(crate) const REQUIRED_VALUE: &str = "required value";
/// What is said of a value of another type, before the type that it must have.
pub(crate) const WRONG_TYPE: &str = "invalid value: must be of type ";

/// The fields of the schema that an unknown one may mean: those beside it, one level down and one level up.
pub(crate) fn fields_near(field: &str) -> Vec<String> {
    let Some((parent, _)) = field.rsplit_once('.') else {
        return Vec::new();
    };
    RULES.with(|rules| {
        let beside = fields_at(&rules.schema, parent);
        let below = beside
            .iter()
            .flat_map(|path| fields_at(&rules.schema, path));
        let below: Vec<String> = below.collect();
        let above = parent.rsplit_once('.');
        let above = above.map(|(above, _)| fields_at(&rules.schema, above));
        [beside, below, above.unwrap_or_default()].concat()
    })
}

/// The paths of the fields below a path such as `spec.accessPolicies[0]`.
fn fields_at(schema: &Value, path: &str) -> Vec<String> {
    let mut at = schema;
    for step in path.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, _)) => (name, true),
            None => (step, false),
        };
        at = &at["properties"][name];
        if index {
            at = &at["items"];
        }
    }
    let fields = at["properties"].as_object();
    let names = fields.into_iter().flat_map(serde_json::Map::keys);
    names.map(|name| format!("{path}.{name}")).collect()
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
        });
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
        violation(format!("{WRONG_TYPE}{kind}"));
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
                message: REQUIRED_VALUE.to_owned(),
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
                message: UNKNOWN_FIELD.to_owned(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::principal::{Group, Principal, Username};

    fn mapping(fields: &Value) -> Value {
        let mut spec = json!({"principal": {"arn": "arn:aws:iam::111122223333:role/Admin"}});
        if let (Some(spec), Some(fields)) = (spec.as_object_mut(), fields.as_object()) {
            spec.extend(fields.clone());
        }
        json!({"apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": {"name": "m"}, "spec": spec})
    }

    fn accepted(fields: &Value) -> bool {
        check_json(&mapping(fields)).is_ok()
    }

    #[test]
    fn every_keyword_of_the_schema_is_known_here() {
        fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                found.insert(keyword.clone());
                match keyword.as_str() {
                    "properties" => value
                        .as_object()
                        .into_iter()
                        .flatten()
                        .for_each(|(_, schema)| keywords(schema, found)),
                    "items" => keywords(value, found),
                    _ => {}
                }
            }
        }
        let mut found = BTreeSet::new();
        keywords(&schema(), &mut found);
        let known = [
            "default",
            "description",
            "enum",
            "items",
            "maxItems",
            "maxLength",
            "properties",
            "required",
            "title",
            "type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
            "x-kubernetes-validations",
        ];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), known);
    }

    #[test]
    fn every_rule_compiles() {
        RULES.with(|rules| {
            let errors = rules.compiled.compilation_errors();
            assert!(errors.is_empty(), "{errors:?}");
        });
    }

    #[test]
    fn a_mapping_as_a_value_is_checked_like_its_json() {
        let parse = |fields| {
            serde_json::from_value::<IdentityMapping>(mapping(&fields))
                .expect("it has the right fields")
        };
        assert_eq!(check(&parse(json!({"groups": ["a"]}))), Ok(()));
        let violations = check(&parse(json!({"groups": ["a", ""]}))).expect_err("an empty group");
        assert_eq!(violations.len(), 1);
        assert_eq!(
            violations[0].to_string(),
            "spec.groups: contains an empty group: write its name, or remove the item"
        );
    }

    #[test]
    fn text_of_the_status_is_no_concern_of_the_rules() {
        let mut object = mapping(&json!({}));
        object["status"] = json!({"anything": null});
        assert_eq!(check_json(&object), Ok(()));
    }

    /// ARNs, most of them right but for a part or two.
    fn arns() -> impl Strategy<Value = String> {
        let part = |right: &'static str, wrong: &'static str| prop_oneof![6 => right, 1 => wrong];
        (
            part("arn", "[a-z:]{0,4}"),
            part(
                "(aws|aws-cn|aws-us-gov|aws-iso-f|aws-eusc)",
                "(aws-xx|AWS|)",
            ),
            part("iam", "(sts|s3|)"),
            part("", "[a-z]{1,3}"),
            part("[0-9]{12}", "[0-9a]{0,14}"),
            part(
                "(role|user)/([!-~]{1,9}/)?[A-Za-z0-9_+=,.@-]{1,9}",
                "(role|user|group|root|assumed-role)?[/a-z *\u{e9}\n]{0,9}",
            ),
            part("", "[n/]{50,70}"),
        )
            .prop_map(|(a, b, c, d, e, f, g)| format!("{a}:{b}:{c}:{d}:{e}:{f}{g}"))
    }

    /// Names with every kind of brace, blank and control character.
    fn names() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![
                "[a-z:]{1,3}",
                Just("{".to_owned()),
                Just("}".to_owned()),
                Just("{{SessionName}}".to_owned()),
                Just("{{AccountID}}".to_owned()),
                Just("{{x}}".to_owned()),
                Just(" ".to_owned()),
                Just("identity-mapper:".to_owned()),
                "[\u{0}-\u{a0}]",
                Just("\u{3000}".to_owned()),
            ],
            0..5,
        )
        .prop_map(|parts| parts.concat())
    }

    /// Times, most of them right but for a part or two.
    fn times() -> impl Strategy<Value = String> {
        let part = |right: &'static str, wrong: &'static str| prop_oneof![9 => right, 1 => wrong];
        (
            part("2[0-9]{3}", "([013-9][0-9]{3}|[+-][0-9]{4,6}|2[0-9]{0,5})"),
            part("(0[1-9]|1[0-2])-[0-2][0-9]", "[0-9]{1,2}-[0-9]{1,2}"),
            part("T", "[t ]?"),
            part(
                "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]",
                "[0-9]{2}:[0-9]{2}(:[0-9]{2})?",
            ),
            part("([.][0-9]{1,9})?", "[.,]?[0-9]{0,12}"),
            part(
                "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
                "(z|[+-][0-9]{2}:?[0-9]{2}|[+-]99:99|\\[UTC\\])?",
            ),
        )
            .prop_map(|(year, day, t, time, fraction, zone)| {
                format!("{year}-{day}{t}{time}{fraction}{zone}")
            })
    }

    #[test]
    fn every_day_of_every_year_is_an_end_or_none() {
        for year in [2000, 2023, 2024, 2100, 2400, 2900, 2996, 2999, 1999, 3000] {
            for month in 0..=13 {
                for day in [0, 1, 28, 29, 30, 31, 32] {
                    let time = format!("{year:04}-{month:02}-{day:02}T23:59:59Z");
                    let is_time = time.parse::<crate::time::Timestamp>().is_ok();
                    let expected = is_time && (2000..3000).contains(&year);
                    assert_eq!(accepted(&json!({ "validUntil": time })), expected, "{time}");
                }
            }
        }
    }

    proptest! {
        // Each case compiles a few patterns, which takes milliseconds without optimisation.
        #![proptest_config(crate::laws::cases(96))]

        #[test]
        fn the_rules_accept_exactly_the_arns_that_parse(arn in arns()) {
            let fields = json!({"principal": {"arn": arn}});
            prop_assert_eq!(accepted(&fields), Principal::parse(&arn).is_ok());
        }

        #[test]
        fn the_rules_accept_exactly_the_names_that_parse(name in names()) {
            prop_assert_eq!(accepted(&json!({"username": name})), Username::parse(&name).is_ok());
            prop_assert_eq!(accepted(&json!({"groups": [name]})), Group::parse(&name).is_ok());
        }

        #[test]
        fn the_rules_accept_only_ends_that_parse(time in times()) {
            if accepted(&json!({"validUntil": time})) {
                let parsed = time.parse::<crate::time::Timestamp>();
                prop_assert!(parsed.is_ok(), "{time}: {parsed:?}");
            }
        }

        #[test]
        fn the_rules_accept_every_end_that_is_written_as_kubernetes_does(second in 946_684_800_i64..32_503_680_000) {
            let time = crate::time::Timestamp::from_second(second).expect("in range");
            let taken = accepted(&json!({"validUntil": time}));
            prop_assert!(taken, "{time}");
        }
    }
}
