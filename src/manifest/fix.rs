//! How to fix what the rules of the `CustomResourceDefinition` refuse.

use serde_json::Value;

use crate::api::check::{REQUIRED_VALUE, UNKNOWN_FIELD, Violation, fields_near};
use crate::yaml::almost;

/// A message of a rule ends with what to do, after one of these.
const IMPERATIVES: [&str; 7] = [
    ": write ",
    ": choose ",
    ": remove ",
    ": use ",
    ": map ",
    ": leave ",
    ": bind ",
];

/// What people call a field, and the field.
const OTHER_NAMES: [(&str, &str); 10] = [
    ("user", "spec.username"),
    ("expires", "spec.validUntil"),
    ("expiry", "spec.validUntil"),
    ("expiration", "spec.validUntil"),
    ("expiresat", "spec.validUntil"),
    ("until", "spec.validUntil"),
    ("notafter", "spec.validUntil"),
    ("role", "spec.principal.arn"),
    ("kubernetesgroups", "spec.groups"),
    ("suspended", "spec.suspend"),
];

/// A message without its fix, and the fix.
pub(super) fn split(message: &str) -> (&str, Option<&str>) {
    let ends = IMPERATIVES.iter().filter_map(|it| message.find(it));
    ends.min().map_or((message, None), |end| {
        (&message[..end], Some(&message[end + 2..]))
    })
}

/// What to write so that the API server takes it; `None` where that can't be told.
pub(super) fn fix(violation: &Violation, object: &Value) -> Option<String> {
    let Violation { field, message } = violation;
    let at = |field: &str| at(object, field);
    if message == UNKNOWN_FIELD {
        let (parent, _) = field.rsplit_once('.')?;
        let names_it = parent == "spec.principal" && at("spec.principal.arn").is_some();
        return match meant(field) {
            Some(path) if names_it && path.starts_with("spec.principal.") => {
                Some("remove it: `spec.principal.arn` names the principal".to_owned())
            }
            Some(path) => Some(format!("write `{path}` instead")),
            None => None,
        };
    }
    if message == REQUIRED_VALUE {
        return Some(format!("write `{field}`"));
    }
    if let Some(kind) = message.strip_prefix(crate::api::check::WRONG_TYPE) {
        return of_type(kind, field, at(field)?);
    }
    if let Some((_, allowed)) = message.split_once(": supported values: ") {
        let given = at(field).and_then(Value::as_str).unwrap_or_default();
        let mut allowed_names = allowed.split(", ");
        let meant = allowed_names.find(|name| almost(name.trim_matches('"'), given));
        return Some(match meant {
            Some(meant) => format!("write {}", meant.trim_matches('"')),
            None => format!("write one of {}", allowed.replace('"', "")),
        });
    }
    if message.starts_with("duplicate value") {
        return Some("remove it".to_owned());
    }
    let limit = message.split_once("not be more than ");
    limit.map(|(_, most)| format!("shorten it to {most}"))
}

fn of_type(kind: &str, field: &str, value: &Value) -> Option<String> {
    let name = field.rsplit('.').next()?;
    let text = value.as_str();
    match (kind, text) {
        ("array", Some(text)) => Some(format!("write a list: `{name}: [{}]`", scalar(text))),
        ("array", None) => Some("write a list, each item after a dash".to_owned()),
        ("object", Some(text)) if field == "spec.principal" => {
            Some(format!("write `principal: {{arn: {}}}`", scalar(text)))
        }
        ("object", Some(text)) if field.starts_with("spec.accessPolicies[") => {
            Some(format!("write `policy: {}`", scalar(text)))
        }
        ("object", _) => {
            let fields: Vec<String> = fields_near(&format!("{field}.x"));
            let own: Vec<&str> = fields
                .iter()
                .filter_map(|path| path.strip_prefix(field)?.strip_prefix('.'))
                .filter(|name| !name.contains('.'))
                .collect();
            (!own.is_empty()).then(|| format!("write its fields: {}", own.join(", ")))
        }
        ("string", _) if !value.is_object() && !value.is_array() => {
            Some("put the value in quotes".to_owned())
        }
        ("string", _) => Some("write text".to_owned()),
        ("boolean", _) => Some("write true or false, without quotes".to_owned()),
        _ => None,
    }
}

/// A text as YAML takes it within brackets.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if letter && text.len() > 3 && text.chars().all(plain) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// The value of a path such as `spec.accessPolicies[0].policy`.
fn at<'v>(object: &'v Value, field: &str) -> Option<&'v Value> {
    let pointer = field.replace('[', ".").replace(']', "").replace('.', "/");
    object.pointer(&format!("/{pointer}"))
}

/// The end of a name that is longer tells which field it is of; `id` would be the end of many.
const SHORT_NAME: usize = 3;

/// The path that is meant by an unknown field: of a field of almost the same name, or of a longer or shorter one with the same end.
fn meant(field: &str) -> Option<String> {
    let name = field.rsplit('.').next()?.to_lowercase();
    let mut near = fields_near(field);
    // What holds the field is not what is meant.
    let holds = |path: &str| {
        let rest = field.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    near.retain(|path| !holds(path));
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_lowercase();
    let ends_alike = |path: &&String| {
        let other = last(path);
        name.ends_with(&other) || (name.len() > SHORT_NAME && other.ends_with(&name))
    };
    let found = near.iter().find(|path| almost(&name, &last(path)));
    let called = || {
        let called = OTHER_NAMES.iter().find(|(other, _)| almost(other, &name));
        called.map(|(_, path)| (*path).to_owned())
    };
    found
        .cloned()
        .or_else(called)
        .or_else(|| near.iter().find(ends_alike).cloned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::check_json;
    use crate::api::crd;

    /// Every rule of the definition says what to do, so that no refusal leaves anyone alone.
    #[test]
    fn every_rule_of_the_definition_has_a_fix() {
        fn rules(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for rule in fields
                        .get("x-kubernetes-validations")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        found.extend(rule["message"].as_str().map(str::to_owned));
                    }
                    fields.values().for_each(|value| rules(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| rules(item, found)),
                _ => {}
            }
        }
        let mut messages = Vec::new();
        rules(&serde_json::to_value(crd()).expect("JSON"), &mut messages);
        assert!(messages.len() >= 8, "{messages:?}");
        for message in messages {
            let (what, fix) = split(&message);
            assert!(fix.is_some(), "{message}");
            assert!(!what.is_empty(), "{message}");
        }
    }

    fn fixes(spec: &Value) -> Vec<String> {
        let object = json!({
            "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping", "metadata": {"name": "a"}, "spec": spec
        });
        let violations = check_json(&object).expect_err("it is refused");
        violations
            .iter()
            .map(|violation| {
                let (what, split) = split(&violation.message);
                let fix = fix(violation, &object).or_else(|| split.map(str::to_owned));
                format!("{}: {what}: {}", violation.field, fix.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn what_is_refused_has_a_fix_by_its_kind() {
        let arn = "arn:aws:iam::111122223333:role/a";
        let with = |fields: &Value| {
            let mut spec = json!({"principal": {"arn": arn}});
            let object = spec.as_object_mut().expect("an object");
            object.extend(fields.as_object().expect("an object").clone());
            fixes(&spec)
        };
        for (found, expected) in [
            (
                fixes(&json!({"principal": arn})),
                "spec.principal: invalid value: must be of type object: write `principal: {arn: \"arn:aws:iam::111122223333:role/a\"}`",
            ),
            (
                with(&json!({"groups": "devs"})),
                "spec.groups: invalid value: must be of type array: write a list: `groups: [devs]`",
            ),
            (
                with(&json!({"groups": "no"})),
                "spec.groups: invalid value: must be of type array: write a list: `groups: [\"no\"]`",
            ),
            (
                with(&json!({"groups": {"a": 1}})),
                "spec.groups: invalid value: must be of type array: write a list, each item after a dash",
            ),
            (
                with(&json!({"accessPolicies": ["AmazonEKSViewPolicy"]})),
                "spec.accessPolicies[0]: invalid value: must be of type object: write `policy: AmazonEKSViewPolicy`",
            ),
            (
                with(&json!({"accessPolicies": [{"policy": "a", "scope": true}]})),
                "spec.accessPolicies[0].scope: invalid value: must be of type object: write its fields: namespaces, type",
            ),
            (
                with(&json!({"suspend": "yes"})),
                "spec.suspend: invalid value: must be of type boolean: write true or false, without quotes",
            ),
            (
                with(&json!({"username": 5})),
                "spec.username: invalid value: must be of type string: put the value in quotes",
            ),
            (
                with(&json!({"username": ["a"]})),
                "spec.username: invalid value: must be of type string: write text",
            ),
            (
                with(&json!({"user": "a"})),
                "spec.user: unknown field: write `spec.username` instead",
            ),
            (
                with(&json!({"expires": "a"})),
                "spec.expires: unknown field: write `spec.validUntil` instead",
            ),
            (with(&json!({"id": "a"})), "spec.id: unknown field: "),
            (
                with(&json!({"backend": "configmap"})),
                "spec.backend: unsupported value \"configmap\": supported values: \"Auto\", \"ConfigMap\", \"AccessEntry\": write ConfigMap",
            ),
            (
                with(&json!({"deletion": "Keep"})),
                "spec.deletion: unsupported value \"Keep\": supported values: \"Revoke\", \"Retain\": write one of Revoke, Retain",
            ),
            (
                with(&json!({"groups": ["a", "a"]})),
                "spec.groups[1]: duplicate value: \"a\": remove it",
            ),
            (
                fixes(&json!({"principal": {"arn": arn, "name": "x"}})),
                "spec.principal.name: unknown field: remove it: `spec.principal.arn` names the principal",
            ),
            (
                fixes(&json!({"principal": {"name": "x"}})),
                "spec.principal.name: unknown field: write `spec.principal.permissionSet.name` instead",
            ),
            (
                fixes(&json!({"principal": {"permissionSet": {"name": "x"}}})),
                "spec.principal.permissionSet.accountId: required value: write `spec.principal.permissionSet.accountId`",
            ),
            (
                fixes(&json!({"principal": {}})),
                "spec.principal: has no principal: write arn, the ARN of an IAM role or user, or permissionSet",
            ),
        ] {
            let expected = expected.to_owned();
            assert!(found.contains(&expected), "{expected}\nnot in {found:#?}");
        }
    }
}
