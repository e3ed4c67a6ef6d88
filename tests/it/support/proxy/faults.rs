//! What goes wrong between a client and the API server, and with which requests.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::api_request::ApiRequest;
use super::body::{self, Body, Dropped};
use super::forward::Stored;
use crate::support::eks::Random;

/// How long a slow body takes: longer than a call waits for its answer.
const SLOW: Duration = Duration::from_secs(7);
/// How long a watch works before it ends.
const WATCHED: Duration = Duration::from_secs(3);

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The connection ends, no effect.
    ResetBefore,
    /// The connection ends after the effect.
    ResetAfter,
    /// 409, no effect.
    Conflict,
    /// 429 with `Retry-After`, no effect.
    TooManyRequests,
    /// 500, no effect.
    InternalError,
    /// 500 after the effect.
    InternalErrorAfter,
    /// 503, no effect.
    Unavailable,
    /// No answer and no effect, and the connection stays. A watch begins and brings nothing.
    HalfOpen,
    /// No answer after the effect, and the connection stays.
    HalfOpenAfter,
    /// The answer comes a little at a time.
    SlowBody,
    /// The watch ends in the middle.
    WatchDrop,
    /// The watch's version is too old: 410.
    Gone,
    /// The watch brings 410 in the middle.
    GoneLater,
    /// A list as it was answered before.
    StaleList,
}

/// The requests that a fault may befall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Those that it can befall at all.
    Any,
    /// Those that write.
    Writes,
    /// Those of this effect.
    Effect(String),
    /// Watches of this resource.
    Watches(&'static str),
}

/// The faults of a proxy. As made, nothing goes wrong.
#[derive(Debug)]
pub(crate) struct Faults {
    random: Random,
    /// The longest that a request waits before it goes on.
    pub(crate) latency: Duration,
    rules: Vec<(On, Fault, f64)>,
    met: BTreeMap<Fault, usize>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            random: Random::new(1),
            latency: Duration::ZERO,
            rules: Vec::new(),
            met: BTreeMap::new(),
        }
    }
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Conflict,
        Self::TooManyRequests,
        Self::InternalError,
        Self::InternalErrorAfter,
        Self::Unavailable,
        Self::HalfOpen,
        Self::HalfOpenAfter,
        Self::SlowBody,
        Self::WatchDrop,
        Self::Gone,
        Self::GoneLater,
        Self::StaleList,
    ];

    /// Whether it can befall this request.
    fn fits(self, asked: &ApiRequest) -> bool {
        let (writes, watches) = (asked.writes(), asked.verb == "watch");
        match self {
            Self::WatchDrop | Self::Gone | Self::GoneLater => watches,
            Self::StaleList => asked.verb == "list",
            // A read has no effect, and no version that it could conflict with.
            Self::Conflict | Self::ResetAfter | Self::InternalErrorAfter | Self::HalfOpenAfter => {
                writes
            }
            Self::SlowBody => !watches,
            _ => true,
        }
    }
}

impl Faults {
    /// What is drawn follows from the seed and the order of requests alone.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Has this share, 0 to 1, of these requests go wrong in this way.
    pub(crate) fn put(&mut self, on: On, fault: Fault, share: f64) {
        self.rules.push((on, fault, share));
    }

    /// Has nothing go wrong any more, but for answers that have begun.
    pub(crate) fn calm(&mut self) {
        self.rules.clear();
        self.latency = Duration::ZERO;
    }

    /// How often each fault befell a request.
    pub(crate) fn met(&self) -> &BTreeMap<Fault, usize> {
        &self.met
    }

    /// What befalls a request, and how long it waits.
    pub(super) fn draw(&mut self, asked: &ApiRequest) -> (Option<Fault>, Duration) {
        let latency = self.latency.mul_f64(self.random.draw());
        let mut drawn = self.random.draw();
        for (on, fault, share) in &self.rules {
            let meant = match on {
                On::Any => true,
                On::Writes => asked.writes(),
                On::Effect(effect) => asked.effect().as_deref() == Some(effect),
                On::Watches(resource) => asked.verb == "watch" && asked.resource == *resource,
            };
            if !meant || !fault.fits(asked) {
                continue;
            }
            if drawn < *share {
                *self.met.entry(*fault).or_default() += 1;
                return (Some(*fault), latency);
            }
            drawn -= share;
        }
        (None, latency)
    }
}

/// Whether the API server is asked.
pub(super) fn reaches(fault: Option<Fault>, asked: &ApiRequest) -> bool {
    match fault {
        None
        | Some(
            Fault::ResetAfter
            | Fault::InternalErrorAfter
            | Fault::HalfOpenAfter
            | Fault::SlowBody
            | Fault::WatchDrop
            | Fault::GoneLater
            | Fault::StaleList,
        ) => true,
        Some(Fault::HalfOpen) => asked.verb == "watch",
        Some(_) => false,
    }
}

/// What the client gets of the API server's `answer`, where that was asked.
pub(super) async fn answer(
    fault: Fault,
    asked: &ApiRequest,
    answer: Option<Response<Body>>,
    stored: &Stored,
) -> Result<Response<Body>, Dropped> {
    let refused = match fault {
        Fault::Conflict => Some((409, "Conflict", "the object has been modified")),
        Fault::TooManyRequests => Some((429, "TooManyRequests", "too many requests")),
        Fault::InternalError | Fault::InternalErrorAfter => {
            Some((500, "InternalError", "etcdserver: request timed out"))
        }
        Fault::Unavailable => Some((503, "ServiceUnavailable", "apiserver is shutting down")),
        Fault::Gone => Some((410, "Expired", "too old resource version")),
        _ => None,
    };
    if let Some((code, reason, message)) = refused {
        return Ok(refusal(code, reason, message));
    }
    let Some(answer) = answer else {
        return match fault {
            Fault::HalfOpen => std::future::pending().await,
            _ => Err(Dropped),
        };
    };
    let (head, body) = answer.into_parts();
    let body = match fault {
        Fault::HalfOpenAfter => return std::future::pending().await,
        Fault::HalfOpen => body::silent(),
        Fault::SlowBody => body::slow(&body::collected(body).await?, SLOW),
        Fault::WatchDrop => body::for_a_while(body, WATCHED, None),
        Fault::GoneLater => body::for_a_while(body, WATCHED, Some(expired())),
        Fault::StaleList => {
            let fresh = Response::from_parts(head, body);
            return Ok(stored.stale(asked).unwrap_or(fresh));
        }
        _ => return Err(Dropped),
    };
    Ok(Response::from_parts(head, body))
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn refusal(code: u16, reason: &str, message: &str) -> Response<Body> {
    let text = status(code, reason, message).to_string();
    let mut response = Response::new(body::full(text.into()));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status code");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The event that ends a watch whose version is too old.
fn expired() -> hyper::body::Bytes {
    let object = status(410, "Expired", "too old resource version: 1 (2)");
    let mut line = json!({"type": "ERROR", "object": object}).to_string();
    line.push('\n');
    line.into()
}
