//! Who signed a request, and for which service and region. The signature itself is not computed: no secret is known here.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use hyper::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::Service;
use super::refusal::Refusal;
use super::world::{Caller, World};

/// How far a request's date may be from the clock.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The caller. `clock` is the time of the machine, by which clients sign.
pub(crate) fn caller(
    world: &World,
    service: Service,
    headers: &HeaderMap,
    clock: Timestamp,
) -> Result<Caller, Refusal> {
    let query = matches!(service, Service::Iam | Service::Sts);
    let refused = |json: &str, xml: &str, message: &str| {
        Refusal::new(if query { xml } else { json }, 403, message)
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let missing = || {
        refused(
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            "Missing Authentication Token",
        )
    };
    let incomplete = |message: &str| {
        refused(
            "IncompleteSignatureException",
            "IncompleteSignature",
            message,
        )
    };
    let mismatch = |message: &str| {
        refused(
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            message,
        )
    };

    let authorization = header("authorization").ok_or_else(missing)?;
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(missing)?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| {
                incomplete(&format!(
                    "Authorization header requires '{name}' parameter."
                ))
            })
    };
    let (credential, signed, signature) = (
        field("Credential")?,
        field("SignedHeaders")?,
        field("Signature")?,
    );
    let scope: Vec<&str> = credential.split('/').collect();
    let &[key, date, region, name, "aws4_request"] = scope.as_slice() else {
        return Err(incomplete(&format!(
            "Credential must have 5 parts: {credential}"
        )));
    };
    let signed: Vec<&str> = signed.split(';').collect();
    for needed in ["host", "x-amz-date"] {
        if !signed.contains(&needed) {
            return Err(mismatch(&format!("'{needed}' must be a signed header")));
        }
    }
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(incomplete("Signature must be 64 hexadecimal digits"));
    }

    let sent = header("x-amz-date").ok_or_else(missing)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", sent)
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
    let time =
        time.map_err(|_| incomplete(&format!("Date must be in ISO-8601 'basic format': {sent}")))?;
    if !sent.starts_with(date) {
        return Err(mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date",
        ));
    }
    if time.timestamp().duration_since(clock).abs() > SKEW {
        return Err(mismatch(&format!(
            "Signature expired: {sent} is not within 15 minutes of now"
        )));
    }
    if name != service.signing_name() {
        return Err(mismatch(&format!(
            "Credential should be scoped to correct service: '{}'.",
            service.signing_name()
        )));
    }
    let own = world.cluster.region.as_str();
    // IAM is signed for its partition's main region; clients with an endpoint of their own keep the configured one.
    let fits = region == own || (query && region == service_region(world.partition()));
    if !fits {
        return Err(mismatch(&format!(
            "Credential should be scoped to a valid region, not '{region}'."
        )));
    }

    let unknown = || {
        refused(
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        )
    };
    let caller = world.caller(key).ok_or_else(unknown)?;
    if caller.token.as_deref() != header("x-amz-security-token") {
        return Err(unknown());
    }
    if caller.expires.is_some_and(|expires| expires <= world.now) {
        return Err(refused(
            "ExpiredTokenException",
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    Ok(caller.clone())
}

/// The region of a partition's IAM.
fn service_region(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}
