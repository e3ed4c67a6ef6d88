//! All failures of calls to the outside, in one type.
//!
//! Every failed call ends up as an [`Error`]: a [`Category`] that code decides by, and the other side's own words that
//! people read. Invariants:
//!
//! - the message is never a `Debug` rendering and never repeats the category;
//! - [`Category::as_str`] is the only text of it that becomes a label of a metric.

use std::error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use kube::core::Status;

/// What kind of failure it is, and so what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Unreachable, timed out, or a fault of the server: the same call may succeed later.
    Transient,
    /// The server asks for fewer calls (429).
    Throttled,
    /// Someone else was first (409): read again, and decide again.
    Conflict,
    /// The object or its namespace does not exist (404).
    Missing,
    /// Admission denied it: a webhook, a `ValidatingAdmissionPolicy`, a quota.
    Denied,
    /// The caller has no right to do it, or is not known (401, 403).
    Forbidden,
    /// The server refuses the object or the request itself (400, 413, 422).
    Invalid,
}

impl Category {
    /// The label in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Conflict => "conflict",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub category: Category,
    /// The other side's own words.
    pub message: String,
}

impl Error {
    /// No answer came in time.
    #[must_use]
    pub fn timed_out(limit: Duration) -> Self {
        Self {
            category: Category::Transient,
            message: format!("no answer from the API server within {} s", limit.as_secs()),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self {
                category: categorise(&status),
                message: words(&status),
            },
            // kube's own text of it is the name of the variant.
            kube::Error::Service(other) => Self {
                category: Category::Transient,
                message: causes(other.as_ref()),
            },
            other => Self {
                category: Category::Transient,
                message: causes(&other),
            },
        }
    }
}

impl From<&Status> for Error {
    fn from(status: &Status) -> Self {
        Self {
            category: categorise(status),
            message: words(status),
        }
    }
}

/// An admission webhook answers with any code it likes, so its words are looked at first:
/// `admission webhook "x" denied the request` (apiserver, `admission/plugin/webhook/errors/statuserror.go`) and
/// `ValidatingAdmissionPolicy 'x' with binding 'y' denied request` (`admission/plugin/policy/validating/dispatcher.go`).
fn categorise(status: &Status) -> Category {
    let message = status.message.as_str();
    if message.contains("denied the request") || message.contains("denied request") {
        return Category::Denied;
    }
    match status.code {
        401 => Category::Forbidden,
        // The authorizer's refusal reads `User "x" cannot patch resource …` (apiserver, `responsewriters/errors.go`);
        // every other 403 comes from an admission plugin, such as a quota.
        403 if message.contains(" cannot ") => Category::Forbidden,
        403 => Category::Denied,
        404 => Category::Missing,
        409 => Category::Conflict,
        408 => Category::Transient,
        429 => Category::Throttled,
        400..=499 => Category::Invalid,
        _ => Category::Transient,
    }
}

fn words(status: &Status) -> String {
    match (status.message.is_empty(), status.reason.is_empty()) {
        (false, _) => status.message.clone(),
        (true, false) => format!("{} ({})", status.reason, status.code),
        (true, true) => format!("status {}", status.code),
    }
}

/// An error with its causes, each once: a bare "client error (Connect)" helps nobody. Once a text ends with the cause that a connection
/// met, nothing that is below it says more.
pub(crate) fn causes(error: &(dyn error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let words = match cause
            .downcast_ref::<io::Error>()
            .filter(|it| it.raw_os_error().is_some())
        {
            // Without the number of the error, which is the machine's.
            Some(error) => error.kind().to_string(),
            None => cause.to_string(),
        };
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        next = cause.source();
    }
    text
}

/// What the libraries below us call the steps on the way to a connection. None of them is a reason.
const STEPS: [&str; 8] = [
    "client error (Connect)",
    "client error (SendRequest)",
    "connection error",
    "dispatch failure",
    "dns error",
    "error trying to connect",
    "io error",
    "tcp connect error",
];

/// The same of a connection, without the names of the steps on the way to it.
pub(crate) fn connection_cause(error: &(dyn error::Error + 'static)) -> String {
    let causes = causes(error);
    let is_reason = |part: &&str| !STEPS.contains(part);
    let reasons: Vec<&str> = causes.split(": ").filter(is_reason).collect();
    if reasons.is_empty() {
        causes
    } else {
        reasons.join(": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, reason).with_code(code)))
    }

    #[test]
    fn statuses_by_category() {
        let cases = [
            (
                409,
                "Conflict",
                "Operation cannot be fulfilled on configmaps \"aws-auth\": the object has been modified",
                Category::Conflict,
            ),
            (
                409,
                "AlreadyExists",
                "configmaps \"aws-auth\" already exists",
                Category::Conflict,
            ),
            (
                404,
                "NotFound",
                "configmaps \"aws-auth\" not found",
                Category::Missing,
            ),
            (
                403,
                "Forbidden",
                "configmaps \"aws-auth\" is forbidden: User \"u\" cannot patch resource \"configmaps\" in API group \"\" in the namespace \"kube-system\"",
                Category::Forbidden,
            ),
            (
                403,
                "Forbidden",
                "configmaps \"aws-auth\" is forbidden: exceeded quota: few",
                Category::Denied,
            ),
            (
                400,
                "BadRequest",
                "admission webhook \"eks.amazonaws.com\" denied the request: bad ARN",
                Category::Denied,
            ),
            (
                409,
                "Conflict",
                "admission webhook \"odd\" denied the request without explanation",
                Category::Denied,
            ),
            (
                422,
                "Invalid",
                "configmaps \"aws-auth\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Category::Denied,
            ),
            (
                422,
                "Invalid",
                "ConfigMap \"aws-auth\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
                Category::Invalid,
            ),
            (
                413,
                "RequestEntityTooLarge",
                "limit is 3145728",
                Category::Invalid,
            ),
            (401, "Unauthorized", "Unauthorized", Category::Forbidden),
            (429, "TooManyRequests", "slow down", Category::Throttled),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"w\": connection refused",
                Category::Transient,
            ),
            (
                503,
                "ServiceUnavailable",
                "etcd leader changed",
                Category::Transient,
            ),
        ];
        for (code, reason, message, category) in cases {
            let error = Error::from(status(code, reason, message));
            assert_eq!(
                error,
                Error {
                    category,
                    message: message.to_owned()
                },
                "{code} {reason}"
            );
        }
    }

    #[test]
    fn a_connection_s_cause_is_said_once_and_without_its_steps() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Step(&'static str, #[source] Box<dyn error::Error + Send + Sync>);
        let refused = || Box::new(io::Error::from_raw_os_error(111));
        let chain = Step(
            "client error (Connect)",
            Box::new(Step("tcp connect error", refused())),
        );
        let said = Error::from(kube::Error::Service(Box::new(chain)));
        assert_eq!(
            said.message,
            "client error (Connect): tcp connect error: connection refused"
        );
        let chain = Step("io error", Box::new(Step("dispatch failure", refused())));
        assert_eq!(connection_cause(&chain), "connection refused");
        let certificate = io::Error::other("invalid peer certificate: UnknownIssuer");
        let chain = Step("client error (Connect)", Box::new(certificate));
        assert_eq!(
            connection_cause(&chain),
            "invalid peer certificate: UnknownIssuer"
        );
        let nothing = Step("dispatch failure", Box::new(io::Error::other("io error")));
        assert_eq!(connection_cause(&nothing), "dispatch failure: io error");
    }

    #[test]
    fn a_status_without_message_has_its_reason_or_code() {
        assert_eq!(
            Error::from(status(500, "InternalError", "")).message,
            "InternalError (500)"
        );
        assert_eq!(Error::from(status(502, "", "")).message, "status 502");
    }
}
