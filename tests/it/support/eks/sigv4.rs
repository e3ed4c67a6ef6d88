//! Who signed a request, and for which service and region. The signature itself is not computed: no secret is known here.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use hyper::HeaderMap;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Service;
use super::refusal::Refusal;
use super::world::{Caller, World};

/// How far a request's date may be from the clock.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What a request says of its signer.
struct Signature<'a> {
    key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    /// The value of `x-amz-date`.
    sent: &'a str,
    token: Option<&'a str>,
}

/// The caller. `clock` is the time of the machine, by which clients sign.
pub(crate) fn caller(
    world: &World,
    service: Service,
    headers: &HeaderMap,
    clock: Timestamp,
) -> Result<Caller, Refusal> {
    let signature = read(headers).map_err(|problem| problem.refusal(service))?;
    check(world, service, &signature, clock).map_err(|problem| problem.refusal(service))?;
    let unknown = || Problem::Unknown.refusal(service);
    let caller = world.caller(signature.key).ok_or_else(unknown)?;
    if caller.token.as_deref() != signature.token {
        return Err(unknown());
    }
    if caller.expires.is_some_and(|expires| expires <= world.now) {
        return Err(Problem::Expired.refusal(service));
    }
    Ok(caller.clone())
}

/// Why a signature is not taken.
enum Problem {
    Missing,
    Incomplete(String),
    Mismatch(String),
    Unknown,
    Expired,
}

impl Problem {
    /// In the service's own words: those of the query protocol have codes of their own.
    fn refusal(self, service: Service) -> Refusal {
        let (json, query, message) = match self {
            Self::Missing => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                "Missing Authentication Token".to_owned(),
            ),
            Self::Incomplete(message) => (
                "IncompleteSignatureException",
                "IncompleteSignature",
                message,
            ),
            Self::Mismatch(message) => (
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                message,
            ),
            Self::Unknown => (
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                "The security token included in the request is invalid.".to_owned(),
            ),
            Self::Expired => (
                "ExpiredTokenException",
                "ExpiredToken",
                "The security token included in the request is expired".to_owned(),
            ),
        };
        Refusal::new(if is_query(service) { query } else { json }, 403, message)
    }
}

const fn is_query(service: Service) -> bool {
    matches!(service, Service::Iam | Service::Sts)
}

/// Whether everything that a signature needs is there.
fn read(headers: &HeaderMap) -> Result<Signature<'_>, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or(Problem::Missing)?;
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or(Problem::Missing)?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        let found = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| {
            Problem::Incomplete(format!("Authorization header requires '{name}' parameter."))
        })
    };
    let credential = field("Credential")?;
    let scope: Vec<&str> = credential.split('/').collect();
    let &[key, date, region, service, "aws4_request"] = scope.as_slice() else {
        let message = format!("Credential must have 5 parts: {credential}");
        return Err(Problem::Incomplete(message));
    };
    let signed: Vec<&str> = field("SignedHeaders")?.split(';').collect();
    for needed in ["host", "x-amz-date"] {
        if !signed.contains(&needed) {
            return Err(Problem::Mismatch(format!(
                "'{needed}' must be a signed header"
            )));
        }
    }
    let signature = field("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = "Signature must be 64 hexadecimal digits".to_owned();
        return Err(Problem::Incomplete(message));
    }
    Ok(Signature {
        key,
        date,
        region,
        service,
        sent: header("x-amz-date").ok_or(Problem::Missing)?,
        token: header("x-amz-security-token"),
    })
}

/// Whether it is for now, for this service and for this region.
fn check(
    world: &World,
    service: Service,
    signature: &Signature<'_>,
    clock: Timestamp,
) -> Result<(), Problem> {
    let Signature {
        date, region, sent, ..
    } = signature;
    let time =
        DateTime::strptime("%Y%m%dT%H%M%SZ", sent).and_then(|time| time.to_zoned(TimeZone::UTC));
    let time = time.map_err(|_| {
        Problem::Incomplete(format!("Date must be in ISO-8601 'basic format': {sent}"))
    })?;
    if !sent.starts_with(date) {
        return Err(Problem::Mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date"
                .to_owned(),
        ));
    }
    if time.timestamp().duration_since(clock).abs() > SKEW {
        return Err(Problem::Mismatch(format!(
            "Signature expired: {sent} is not within 15 minutes of now"
        )));
    }
    let name = service.signing_name();
    if signature.service != name {
        return Err(Problem::Mismatch(format!(
            "Credential should be scoped to correct service: '{name}'."
        )));
    }
    // IAM is signed for its partition's main region; clients with an endpoint of their own keep the configured one.
    let main = is_query(service) && *region == service_region(world.partition());
    if *region != world.cluster.region && !main {
        return Err(Problem::Mismatch(format!(
            "Credential should be scoped to a valid region, not '{region}'."
        )));
    }
    Ok(())
}

/// The region of a partition's IAM.
fn service_region(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}
