//! The protocol of IAM and STS: a form in, XML out; by STS also JSON.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::model::{Kind, Member, Model, Operation, Shape};
use super::refusal::Refusal;
use super::rest_json::scalar;

/// The operation that the form names.
pub(crate) fn route<'m>(
    model: &'m Model,
    form: &[(String, String)],
) -> Result<&'m Operation, Refusal> {
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let (action, version) = (field("Action"), field("Version"));
    let known = model
        .operations
        .get(action)
        .filter(|_| version == model.api_version());
    known.ok_or_else(|| {
        let message = format!("Could not find operation {action} for version {version}");
        Refusal::new("InvalidAction", 400, message)
    })
}

/// The input that stands in the form.
pub(crate) fn input(
    model: &Model,
    operation: &Operation,
    form: &[(String, String)],
) -> Result<Map<String, Value>, Refusal> {
    let Some(shape) = model.input(operation) else {
        return Ok(Map::new());
    };
    let value = read(model, shape, form, "");
    let value = value.map_err(|message| Refusal::new("MalformedInput", 400, message))?;
    Ok(value.as_object().cloned().unwrap_or_default())
}

/// The value that stands at `prefix`, which ends with a dot or is empty.
fn read(
    model: &Model,
    shape: &Shape,
    form: &[(String, String)],
    prefix: &str,
) -> Result<Value, String> {
    let mut members = Map::new();
    for (name, member) in &shape.members {
        let of = model.shape(&member.shape);
        let path = format!("{prefix}{name}");
        if let Some(value) = read_member(model, of, form, &path)? {
            members.insert(name.clone(), value);
        }
    }
    Ok(Value::Object(members))
}

fn read_member(
    model: &Model,
    shape: &Shape,
    form: &[(String, String)],
    path: &str,
) -> Result<Option<Value>, String> {
    let below = |prefix: &str| form.iter().any(|(key, _)| key.starts_with(prefix));
    match shape.kind {
        Kind::Structure => {
            let prefix = format!("{path}.");
            let there = below(&prefix);
            there.then(|| read(model, shape, form, &prefix)).transpose()
        }
        Kind::List => {
            let of = shape
                .member
                .as_ref()
                .map(|member| model.shape(&member.shape));
            let mut items = Vec::new();
            while let Some(of) = of {
                let path = format!("{path}.member.{}", items.len() + 1);
                match read_member(model, of, form, &path)? {
                    Some(item) => items.push(item),
                    None => break,
                }
            }
            Ok((!items.is_empty()).then_some(Value::Array(items)))
        }
        kind => {
            let found = form.iter().find(|(key, _)| key == path);
            let value = found.map(|(_, value)| scalar(kind, value));
            value.transpose().map_err(|what| format!("{path}: {what}"))
        }
    }
}

/// An answer as XML.
pub(crate) fn answer(model: &Model, operation: &Operation, value: &Value, request: &str) -> String {
    let mut xml = format!(
        "<{}Response xmlns=\"{}\">",
        operation.name,
        model.xml_namespace()
    );
    if let Some(output) = &operation.output {
        let wrapper = output.result_wrapper.as_deref().unwrap_or("Result");
        element(&mut xml, wrapper, |xml| {
            content(model, model.shape(&output.shape), value, xml);
        });
    }
    element(&mut xml, "ResponseMetadata", |xml| {
        element(xml, "RequestId", |xml| xml.push_str(request));
    });
    write(&mut xml, format_args!("</{}Response>", operation.name));
    xml
}

/// An answer as JSON, which STS gives whoever asks for it.
pub(crate) fn json_answer(operation: &Operation, value: &Value, request: &str) -> Value {
    let name = &operation.name;
    json!({(format!("{name}Response")): {
        (format!("{name}Result")): value,
        "ResponseMetadata": {"RequestId": request},
    }})
}

/// An error as JSON.
pub(crate) fn json_error(refusal: &Refusal, request: &str) -> Value {
    json!({
        "Error": {"Code": refusal.code, "Message": refusal.message, "Type": sender(refusal)},
        "RequestId": request,
    })
}

fn sender(refusal: &Refusal) -> &'static str {
    if refusal.status < 500 {
        "Sender"
    } else {
        "Receiver"
    }
}

fn content(model: &Model, shape: &Shape, value: &Value, xml: &mut String) {
    match (shape.kind, value) {
        (Kind::Structure, Value::Object(members)) => {
            for (name, member) in &shape.members {
                if let Some(value) = members.get(name).filter(|value| !value.is_null()) {
                    let name = name_of(member, name);
                    let of = model.shape(&member.shape);
                    element(xml, name, |xml| content(model, of, value, xml));
                }
            }
        }
        (Kind::List, Value::Array(items)) => {
            let member = shape.member.as_ref().expect("a list has members");
            let of = model.shape(&member.shape);
            for item in items {
                element(xml, name_of(member, "member"), |xml| {
                    content(model, of, item, xml);
                });
            }
        }
        (Kind::Timestamp, Value::Number(seconds)) => {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "whole seconds of a time that is within the calendar"
            )]
            let seconds = seconds.as_f64().unwrap_or_default() as i64;
            xml.push_str(
                &Timestamp::from_second(seconds)
                    .unwrap_or_default()
                    .to_string(),
            );
        }
        (_, Value::String(text)) => escape(text, xml),
        (_, other) => xml.push_str(&other.to_string()),
    }
}

fn name_of<'a>(member: &'a Member, default: &'a str) -> &'a str {
    member.location_name.as_deref().unwrap_or(default)
}

fn element(xml: &mut String, name: &str, inner: impl FnOnce(&mut String)) {
    write(xml, format_args!("<{name}>"));
    inner(xml);
    write(xml, format_args!("</{name}>"));
}

/// Writing to a text does not fail.
fn write(xml: &mut String, what: fmt::Arguments<'_>) {
    let _ = xml.write_fmt(what);
}

fn escape(text: &str, xml: &mut String) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            // Control characters would not survive otherwise.
            '\r' | '\n' | '\t' => write(xml, format_args!("&#{};", u32::from(character))),
            other => xml.push(other),
        }
    }
}

/// The body of an error.
pub(crate) fn error_body(model: &Model, refusal: &Refusal, request: &str) -> String {
    let mut xml = format!("<ErrorResponse xmlns=\"{}\">", model.xml_namespace());
    element(&mut xml, "Error", |xml| {
        element(xml, "Type", |xml| xml.push_str(sender(refusal)));
        element(xml, "Code", |xml| escape(&refusal.code, xml));
        element(xml, "Message", |xml| escape(&refusal.message, xml));
    });
    element(&mut xml, "RequestId", |xml| xml.push_str(request));
    xml.push_str("</ErrorResponse>");
    xml
}
