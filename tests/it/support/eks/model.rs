//! The service models: what may be asked, and in which form. Requests are checked by them, and so are our own answers.
//!
//! The JSON files are cut out of botocore's by `model/trim.py`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A service's model.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    metadata: Metadata,
    /// The operations that the stand-in serves, by name.
    pub(crate) operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    xml_namespace: Option<String>,
    api_version: String,
}

/// An operation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) http: Http,
    input: Option<Reference>,
    /// What it answers.
    pub(crate) output: Option<Output>,
    #[serde(default)]
    errors: Vec<Reference>,
}

/// Method and path of an operation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Http {
    /// `GET` and the like.
    pub(crate) method: String,
    /// The path, with labels such as `{name}`.
    pub(crate) request_uri: String,
}

/// The answer's shape.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// The shape's name.
    pub(crate) shape: String,
    /// The element that an answer of the query protocol stands in.
    pub(crate) result_wrapper: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    shape: String,
}

/// A shape.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    /// What it is.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    required: Vec<String>,
    /// The members of a structure, by name.
    #[serde(default)]
    pub(crate) members: BTreeMap<String, Member>,
    /// The members of a list.
    pub(crate) member: Option<Member>,
    /// The keys of a map.
    pub(crate) key: Option<Member>,
    /// The values of a map.
    pub(crate) value: Option<Member>,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    pattern: Option<Pattern>,
    #[serde(rename = "enum")]
    values: Option<Vec<String>>,
    error: Option<ErrorTrait>,
}

/// What a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Double,
    Float,
    Boolean,
    Timestamp,
    Blob,
}

/// A member of a structure, list or map.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    /// Its shape's name.
    pub(crate) shape: String,
    /// Where in the request it stands; `None`: in the body.
    pub(crate) location: Option<String>,
    /// Its name there.
    pub(crate) location_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorTrait {
    code: Option<String>,
    http_status_code: u16,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    regex: Regex,
}

fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Pattern>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let regex = Regex::new(&format!("^(?:{text})$")).map_err(serde::de::Error::custom)?;
    Ok(Some(Pattern { text, regex }))
}

/// Why a value is not of its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is something else altogether, a list for a text.
    Serialization(String),
    /// Constraints that are not met, each in AWS's words.
    Constraints(Vec<String>),
}

macro_rules! models {
    ($($(#[$docs:meta])* $name:ident: $file:literal),* $(,)?) => {$(
        $(#[$docs])*
        pub(crate) static $name: LazyLock<Model> = LazyLock::new(|| {
            serde_json::from_str(include_str!(concat!("model/", $file))).expect("the model is of the known form")
        });
    )*};
}

models! {
    /// Amazon EKS.
    EKS: "eks.json",
    /// AWS IAM.
    IAM: "iam.json",
    /// Amazon SQS.
    SQS: "sqs.json",
    /// AWS STS.
    STS: "sts.json",
}

impl Model {
    /// The shape of the name.
    pub(crate) fn shape(&self, name: &str) -> &Shape {
        &self.shapes[name]
    }

    /// The namespace of XML answers.
    pub(crate) fn xml_namespace(&self) -> &str {
        self.metadata.xml_namespace.as_deref().unwrap_or_default()
    }

    /// The version of the API, which requests of the query protocol name.
    pub(crate) fn api_version(&self) -> &str {
        &self.metadata.api_version
    }

    /// The shape of an operation's input.
    pub(crate) fn input(&self, operation: &Operation) -> Option<&Shape> {
        let reference = operation.input.as_ref()?;
        Some(self.shape(&reference.shape))
    }

    /// Whether the operation's model names the error.
    pub(crate) fn models(&self, operation: &Operation, code: &str) -> bool {
        operation.errors.iter().any(|reference| {
            let error = self.shape(&reference.shape).error.as_ref();
            let named = error.and_then(|error| error.code.as_deref());
            named.unwrap_or(&reference.shape) == code
        })
    }

    /// The HTTP status that the model gives an error.
    pub(crate) fn status(&self, code: &str) -> Option<u16> {
        self.shapes.iter().find_map(|(name, shape)| {
            let error = shape.error.as_ref()?;
            (error.code.as_deref().unwrap_or(name) == code).then_some(error.http_status_code)
        })
    }

    /// Checks the input of an operation.
    pub(crate) fn check_input(
        &self,
        operation: &Operation,
        input: &Map<String, Value>,
    ) -> Result<(), Fault> {
        let Some(reference) = &operation.input else {
            return Ok(());
        };
        self.check(&reference.shape, &Value::Object(input.clone()), |_| true)
    }

    /// Checks what an operation answers. A least length is not asked of it: EKS itself answers with no tags where its model
    /// has at least one.
    pub(crate) fn check_answer(&self, operation: &Operation, answer: &Value) -> Result<(), Fault> {
        let Some(output) = &operation.output else {
            return Ok(());
        };
        self.check(&output.shape, answer, |it| {
            !it.contains("Member must have length greater")
        })
    }

    /// Checks a value against a shape. Members that the shape does not have are passed over, as AWS does.
    fn check(
        &self,
        shape: &str,
        value: &Value,
        counts: impl Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        let mut violations = Vec::new();
        self.visit(self.shape(shape), value, "", &mut violations)?;
        violations.retain(|violation| counts(violation));
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Fault::Constraints(violations))
        }
    }

    fn visit(
        &self,
        shape: &Shape,
        value: &Value,
        path: &str,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let fits = match shape.kind {
            Kind::Structure | Kind::Map => value.is_object(),
            Kind::List => value.is_array(),
            Kind::String | Kind::Blob => value.is_string(),
            Kind::Integer | Kind::Long => value.is_i64(),
            Kind::Double | Kind::Float | Kind::Timestamp => value.is_number(),
            Kind::Boolean => value.is_boolean(),
        };
        if !fits {
            let what = format!("{:?}", shape.kind).to_lowercase();
            return Err(Fault::Serialization(format!(
                "'{path}' must be a {what}, not {value}"
            )));
        }
        shape.constraints(value, path, violations);
        let inner = |name: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        match value {
            Value::Object(members) if shape.kind == Kind::Structure => {
                for name in &shape.required {
                    if members.get(name).is_none_or(Value::is_null) {
                        let path = inner(name);
                        violations.push(format!(
                            "Value at '{path}' failed to satisfy constraint: Member must not be null"
                        ));
                    }
                }
                for (name, member) in &shape.members {
                    if let Some(value) = members.get(name).filter(|value| !value.is_null()) {
                        self.visit(self.shape(&member.shape), value, &inner(name), violations)?;
                    }
                }
            }
            Value::Object(entries) => {
                let (key, of) = (shape.key.as_ref(), shape.value.as_ref());
                for (name, value) in entries {
                    if let Some(key) = key {
                        let name = Value::from(name.as_str());
                        self.visit(self.shape(&key.shape), &name, path, violations)?;
                    }
                    if let Some(of) = of {
                        self.visit(self.shape(&of.shape), value, &inner(name), violations)?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(member) = &shape.member {
                    for (number, item) in items.iter().enumerate() {
                        let path = inner(&format!("{}.member", number + 1));
                        self.visit(self.shape(&member.shape), item, &path, violations)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Shape {
    /// The constraints of this shape alone, in the words of AWS's own validation.
    fn constraints(&self, value: &Value, path: &str, violations: &mut Vec<String>) {
        let shown = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut violated = |constraint: String| {
            violations.push(format!(
                "Value '{shown}' at '{path}' failed to satisfy constraint: Member must {constraint}"
            ));
        };
        let (size, measure) = match value {
            Value::String(text) => (count(text.chars().count()), "have length"),
            Value::Array(items) => (count(items.len()), "have length"),
            Value::Object(members) if self.kind == Kind::Map => {
                (count(members.len()), "have length")
            }
            Value::Number(number) => match number.as_i64() {
                Some(number) => (number, "have value"),
                None => return,
            },
            _ => return,
        };
        if let Some(max) = self.max.filter(|max| size > *max) {
            violated(format!("{measure} less than or equal to {max}"));
        }
        if let Some(min) = self.min.filter(|min| size < *min) {
            violated(format!("{measure} greater than or equal to {min}"));
        }
        let Value::String(text) = value else { return };
        if let Some(pattern) = self.pattern.as_ref().filter(|it| !it.regex.is_match(text)) {
            violated(format!(
                "satisfy regular expression pattern: {}",
                pattern.text
            ));
        }
        if let Some(values) = self.values.as_ref().filter(|values| !values.contains(text)) {
            violated(format!("satisfy enum value set: [{}]", values.join(", ")));
        }
    }
}

fn count(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Fault {
    /// In AWS's words.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Serialization(message) => message.clone(),
            Self::Constraints(violations) => {
                let number = violations.len();
                let plural = if number == 1 { "" } else { "s" };
                format!(
                    "{number} validation error{plural} detected: {}",
                    violations.join("; ")
                )
            }
        }
    }
}
