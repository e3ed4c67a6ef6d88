//! Who signed a request, and for which service and region. The signature itself is computed of presigned URLs alone: their signed
//! headers say which cluster a token is for. Whoever signs a request by its headers may have any secret.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use hyper::HeaderMap;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Service;
use super::refusal::Refusal;
use super::signing::{Presigned, Scope};
use super::world::{Caller, World};

/// How far a request's date may be from the clock.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What of a request is signed.
pub(crate) struct Signed<'a> {
    /// `GET` and the like.
    pub(crate) method: &'a str,
    /// The path.
    pub(crate) path: &'a str,
    /// The query, decoded.
    pub(crate) query: &'a [(String, String)],
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
}

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
    request: &Signed<'_>,
    clock: Timestamp,
) -> Result<Caller, Refusal> {
    let signature = read(request).map_err(|problem| problem.refusal(service))?;
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

/// Whether everything that a signature needs is there: in the headers, or in the query of a presigned URL.
fn read<'a>(request: &Signed<'a>) -> Result<Signature<'a>, Problem> {
    let Signed { query, headers, .. } = *request;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parameter = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    if header("authorization").is_none() && parameter("X-Amz-Algorithm").is_some() {
        return presigned(request, parameter);
    }
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
    let [key, date, region, service] = scope(field("Credential")?)?;
    let signed: Vec<&str> = field("SignedHeaders")?.split(';').collect();
    for needed in ["host", "x-amz-date"] {
        if !signed.contains(&needed) {
            return Err(Problem::Mismatch(format!(
                "'{needed}' must be a signed header"
            )));
        }
    }
    hexadecimal(field("Signature")?)?;
    Ok(Signature {
        key,
        date,
        region,
        service,
        sent: header("x-amz-date").ok_or(Problem::Missing)?,
        token: header("x-amz-security-token"),
    })
}

/// The signature of a presigned URL
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-signed-request-steps>). STS takes
/// one for as long as any other, whatever `X-Amz-Expires` says.
fn presigned<'a>(
    request: &Signed<'a>,
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<Signature<'a>, Problem> {
    let needed = |name: &str| {
        parameter(name).ok_or_else(|| {
            Problem::Incomplete(format!(
                "AWS query-string parameters must include '{name}'."
            ))
        })
    };
    if needed("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(Problem::Missing);
    }
    let [key, date, region, service] = scope(needed("X-Amz-Credential")?)?;
    let signed = needed("X-Amz-SignedHeaders")?.split(';');
    let mut headers = Vec::new();
    for name in signed {
        // What was signed and is not sent makes another signature.
        let sent = request.headers.get(name).and_then(|it| it.to_str().ok());
        headers.push((name, sent.ok_or_else(mismatch)?));
    }
    if !headers.iter().any(|(name, _)| *name == "host") {
        return Err(Problem::Mismatch(
            "'host' must be a signed header".to_owned(),
        ));
    }
    let signature = needed("X-Amz-Signature")?;
    hexadecimal(signature)?;
    let computed = Presigned {
        method: request.method,
        path: request.path,
        query: request.query,
        headers: &headers,
    };
    let scope = Scope {
        date,
        region,
        service,
    };
    if computed.signature(&scope, needed("X-Amz-Date")?) != signature {
        return Err(mismatch());
    }
    Ok(Signature {
        key,
        date,
        region,
        service,
        sent: needed("X-Amz-Date")?,
        token: parameter("X-Amz-Security-Token"),
    })
}

fn mismatch() -> Problem {
    Problem::Mismatch(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.".to_owned(),
    )
}

/// Key, date, region and service of a credential's scope.
fn scope(credential: &str) -> Result<[&str; 4], Problem> {
    let parts: Vec<&str> = credential.split('/').collect();
    match parts.as_slice() {
        &[key, date, region, service, "aws4_request"] => Ok([key, date, region, service]),
        _ => Err(Problem::Incomplete(format!(
            "Credential must have 5 parts: {credential}"
        ))),
    }
}

fn hexadecimal(signature: &str) -> Result<(), Problem> {
    if signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let message = "Signature must be 64 hexadecimal digits".to_owned();
    Err(Problem::Incomplete(message))
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
    let written = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (now, age) = (written(clock), clock.duration_since(time.timestamp()));
    if age > SKEW {
        let limit = written(clock - SKEW);
        return Err(Problem::Mismatch(format!(
            "Signature expired: {sent} is now earlier than {limit} ({now} - 15 min.)"
        )));
    }
    if -age > SKEW {
        let limit = written(clock + SKEW);
        return Err(Problem::Mismatch(format!(
            "Signature not yet current: {sent} is still later than {limit} ({now} + 15 min.)"
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
