//! What a request writes of an object whose parts mean different things: a death beside one of them says nothing about the others.

use std::collections::BTreeSet;

use serde_json::Value;

const FINALIZERS: &str = "/metadata/finalizers";
/// What our annotations begin with.
const OURS: &str = "identity-mapper.dev/";

/// The part, where this kind of request has parts.
pub(super) fn part(verb: &str, resource: &str, name: Option<&str>, body: &[u8]) -> Option<String> {
    let body = || serde_json::from_slice::<Value>(body).ok();
    match (verb, resource, name?) {
        ("patch", "identitymappings", _) => finalizers(&body()?),
        ("patch", "configmaps", "aws-auth-history") => Some(history(&body()?)),
        ("update", "leases", _) => Some(lease(&body()?)),
        _ => None,
    }
}

/// Whether finalizers come or go, of a JSON patch that tests what was seen of them.
fn finalizers(patch: &Value) -> Option<String> {
    let operations = patch.as_array()?;
    let list = |wanted: &[&str]| {
        let mut found = operations.iter().filter(|it| {
            let op = it["op"].as_str().unwrap_or_default();
            it["path"] == FINALIZERS && wanted.contains(&op)
        });
        let names = found.next()?["value"].as_array().cloned();
        let names = names.unwrap_or_default().into_iter();
        Some(names.map(|it| it.to_string()).collect::<BTreeSet<_>>())
    };
    let before = list(&["test"]).unwrap_or_default();
    let after = list(&["add", "replace", "remove"])?;
    let comes = after.difference(&before).next().is_some();
    let goes = before.difference(&after).next().is_some();
    let part = match (comes, goes) {
        (true, false) => "finalizer added",
        (false, true) => "finalizer removed",
        (true, true) => "finalizer exchanged",
        (false, false) => return None,
    };
    Some(part.to_owned())
}

/// What a merge patch of the history sets, and what it takes away.
fn history(patch: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(copies) = patch["binaryData"].as_object() {
        let added = copies.values().any(|copy| !copy.is_null());
        parts.push(if added { "copy" } else { "no copy" }.to_owned());
    }
    for (name, value) in patch["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let name = name.trim_start_matches(OURS);
        let none = if value.is_null() { "no " } else { "" };
        parts.push(format!("{none}{name}"));
    }
    parts.join(", ")
}

/// What becomes of a Lease.
fn lease(object: &Value) -> String {
    let spec = &object["spec"];
    let held = spec["holderIdentity"]
        .as_str()
        .is_some_and(|it| !it.is_empty());
    let part = if !held {
        "released"
    } else if spec["acquireTime"] == spec["renewTime"] {
        "taken"
    } else {
        "renewed"
    };
    part.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(verb: &str, resource: &str, name: &str, body: &Value) -> Option<String> {
        part(verb, resource, Some(name), body.to_string().as_bytes())
    }

    #[test]
    fn parts_have_names() {
        let test = |value: Value| json!({"op": "test", "path": FINALIZERS, "value": value});
        let change = |op: &str, value: Value| json!({"op": op, "path": FINALIZERS, "value": value});
        for (operations, expected) in [
            (
                json!([test(Value::Null), change("add", json!(["a"]))]),
                Some("finalizer added"),
            ),
            (
                json!([test(json!(["a"])), change("remove", Value::Null)]),
                Some("finalizer removed"),
            ),
            (
                json!([test(json!(["a", "x"])), change("replace", json!(["x"]))]),
                Some("finalizer removed"),
            ),
            (
                json!([test(json!(["a"])), change("add", json!(["b"]))]),
                Some("finalizer exchanged"),
            ),
            (json!({"metadata": {"labels": {}}}), None),
        ] {
            let found = of("patch", "identitymappings", "dev", &operations);
            assert_eq!(found.as_deref(), expected, "{operations}");
        }
        for (patch, expected) in [
            (json!({"binaryData": {"1": "eA==", "0": null}}), "copy"),
            (
                json!({"binaryData": {"1": "eA=="}, "metadata": {"annotations": {
                    "identity-mapper.dev/removals": "{}", "identity-mapper.dev/released": null,
                }}}),
                "copy, no released, removals",
            ),
        ] {
            let found = of("patch", "configmaps", "aws-auth-history", &patch);
            assert_eq!(found.as_deref(), Some(expected), "{patch}");
            assert_eq!(of("patch", "configmaps", "aws-auth", &patch), None);
        }
        for (holder, acquired, expected) in
            [("a", 1, "taken"), ("a", 0, "renewed"), ("", 0, "released")]
        {
            let lease = json!({"spec": {"holderIdentity": holder, "acquireTime": acquired, "renewTime": 1}});
            assert_eq!(
                of("update", "leases", "x", &lease).as_deref(),
                Some(expected)
            );
            assert_eq!(of("create", "leases", "x", &lease), None);
        }
    }
}
