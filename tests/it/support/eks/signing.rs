//! Signatures of version 4 as AWS computes them, for URLs that carry theirs in the query.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::page::hex;

/// The secret of every access key here.
pub(crate) const SECRET: &str = "no-real-secret";

/// The field of the query that the signature stands in, and does not cover.
const SIGNATURE: &str = "X-Amz-Signature";
/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// A request that is signed in its query.
pub(crate) struct Presigned<'a> {
    /// `GET` and the like.
    pub(crate) method: &'a str,
    /// The path.
    pub(crate) path: &'a str,
    /// The query, decoded.
    pub(crate) query: &'a [(String, String)],
    /// Names and values of the headers that are signed, by name.
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

/// What a signature holds for.
pub(crate) struct Scope<'a> {
    /// The day, as `20261129`.
    pub(crate) date: &'a str,
    /// The region.
    pub(crate) region: &'a str,
    /// The service's signing name.
    pub(crate) service: &'a str,
}

impl Presigned<'_> {
    /// Its signature, sent at this time (`20261129T101500Z`).
    pub(crate) fn signature(&self, scope: &Scope<'_>, sent: &str) -> String {
        let Scope {
            date,
            region,
            service,
        } = scope;
        let request = hex(&Sha256::digest(self.canonical()));
        let text =
            format!("AWS4-HMAC-SHA256\n{sent}\n{date}/{region}/{service}/aws4_request\n{request}");
        let secret = format!("AWS4{SECRET}").into_bytes();
        let parts = [date, region, service, "aws4_request"];
        let key = parts
            .iter()
            .fold(secret, |key, part| hmac(&key, part).to_vec());
        hex(&hmac(&key, &text))
    }

    fn canonical(&self) -> String {
        let query = self.query.iter().filter(|(name, _)| name != SIGNATURE);
        let mut query: Vec<String> = query
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        query.sort();
        let headers = self.headers.iter();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let headers = headers.concat();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let empty = hex(&Sha256::digest(""));
        let (method, path) = (self.method, self.path);
        format!(
            "{method}\n{path}\n{}\n{headers}\n{}\n{empty}",
            query.join("&"),
            names.join(";")
        )
    }
}

/// The URL that a token for a cluster holds: `GetCallerIdentity`, signed for the host and for the cluster's name, as
/// `aws eks get-token` signs it. `key` and `session` are those of the caller.
pub(crate) fn caller_identity_url(
    host: &str,
    region: &str,
    cluster: &str,
    (key, session): (&str, Option<&str>),
    time: Timestamp,
) -> String {
    let (sent, date) = (
        time.strftime("%Y%m%dT%H%M%SZ").to_string(),
        time.strftime("%Y%m%d").to_string(),
    );
    let scope = Scope {
        date: &date,
        region,
        service: "sts",
    };
    let credential = format!("{key}/{date}/{region}/sts/aws4_request");
    let mut query = vec![
        ("Action", "GetCallerIdentity"),
        ("Version", "2011-06-15"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &sent),
        ("X-Amz-Expires", "60"),
        ("X-Amz-SignedHeaders", "host;x-k8s-aws-id"),
    ];
    query.extend(session.map(|session| ("X-Amz-Security-Token", session)));
    let mut query: Vec<(String, String)> = query
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let request = Presigned {
        method: "GET",
        path: "/",
        query: &query,
        headers: &[("host", host), ("x-k8s-aws-id", cluster)],
    };
    let signature = request.signature(&scope, &sent);
    query.push((SIGNATURE.to_owned(), signature));
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    format!("https://{host}/?{}", query.join("&"))
}

fn encoded(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text);
    let outer = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner.finalize());
    outer.finalize().into()
}
