//! The keys that an etcd holds, by its JSON gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http;

/// The revision of each key under `/registry/` at which it was last written.
pub(super) async fn revisions(etcd: SocketAddr) -> Result<BTreeMap<String, String>, String> {
    let range = json!({
        "key": STANDARD.encode("/registry/"), "range_end": STANDARD.encode("/registry0"), "keys_only": true,
    });
    let answer = ask(etcd, "/v3/kv/range", &range).await?;
    let keys = answer["kvs"].as_array().into_iter().flatten();
    let read = keys.map(|found| {
        let key = STANDARD.decode(found["key"].as_str()?).ok()?;
        let revision = found["mod_revision"].as_str()?;
        Some((String::from_utf8(key).ok()?, revision.to_owned()))
    });
    let read: Option<_> = read.collect();
    read.ok_or_else(|| answer.to_string())
}

/// Deletes these keys, each at a revision of its own: the API server takes a revision for one change, and learns of others at the same
/// one late.
pub(super) async fn delete(etcd: SocketAddr, keys: &[&str]) -> Result<(), String> {
    for key in keys {
        let key = json!({ "key": STANDARD.encode(key) });
        ask(etcd, "/v3/kv/deleterange", &key).await?;
    }
    Ok(())
}

async fn ask(etcd: SocketAddr, path: &str, question: &Value) -> Result<Value, String> {
    let answer = http::post(etcd, path, &question.to_string()).await;
    match answer.map_err(|error| error.to_string())? {
        (200, body) => serde_json::from_str(&body).map_err(|error| error.to_string()),
        other => Err(format!("etcd: {other:?}")),
    }
}
