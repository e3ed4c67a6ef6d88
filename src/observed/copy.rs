//! Copies of aws-auth in the history `ConfigMap`: a gzipped JSON object with `data` and `mark`, named by the time at which it was made
//! and the hash of what it holds.
//!
//! The hash finds a copy that was damaged or renamed. It does not tell who wrote the copy: anyone who may write the history can make a
//! copy with a right hash. So a copy grants nothing by itself.
//!
//! A copy also says who last wrote each key, and the resourceVersion. That is no part of the hash: the same texts by another writer are the same copy.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Manager;
use crate::time::Timestamp;

/// The name of the copy before the first write begins so.
const FIRST: &str = "first-";
const SUFFIX: &str = ".json.gz";
/// How the time is written in a name.
const TIME: &str = "%Y%m%dT%H%M%S%3fZ";
/// So many digits of the hash end a name: 64 bits, which nobody hits by chance.
const HASH: usize = 16;
/// So many digits of the hash name a copy for people.
const SHORT: usize = 8;
/// A `ConfigMap` holds a megabyte, and JSON makes of a byte six at most. A copy that unpacks to more is none of ours.
const MOST_UNPACKED: u64 = 8 * 1024 * 1024;

/// What the hash is of.
#[derive(Serialize)]
struct HashedContent<'a> {
    data: &'a BTreeMap<String, String>,
    mark: &'a str,
}

/// All of a copy.
#[derive(Serialize, Deserialize)]
struct Unpacked {
    data: BTreeMap<String, String>,
    mark: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    managers: BTreeMap<String, Manager>,
    #[serde(
        default,
        rename = "resourceVersion",
        skip_serializing_if = "Option::is_none"
    )]
    resource_version: Option<String>,
}

/// A copy as it is in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedCopy {
    /// Its name in the history.
    pub name: String,
    /// Its bytes, gzipped.
    pub bytes: Arc<[u8]>,
}

/// A copy, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// Its name in the history.
    pub name: String,
    /// When it was made: just before a write of ours.
    pub time: Timestamp,
    /// Whether it is the one before our very first write, which is never evicted.
    pub first: bool,
    /// The bytes that it takes.
    pub bytes: usize,
    /// The texts.
    pub data: BTreeMap<String, String>,
    /// The mark that stood with them.
    pub mark: String,
    /// Which field manager had last written each key, where Kubernetes knew it.
    pub managers: BTreeMap<String, Manager>,
    /// The resourceVersion of the aws-auth that was copied first; older copies don't say it.
    pub resource_version: Option<String>,
}

/// A copy that can't be read: someone else wrote it, or a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("copy {name} can't be read: {why}")]
pub struct UnreadableCopy {
    /// Its name in the history.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What the name of a copy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyName<'a> {
    /// When it was made.
    pub time: Timestamp,
    /// Whether it is the one before our very first write.
    pub first: bool,
    /// The hash of what it holds.
    pub hash: &'a str,
}

impl<'a> CopyName<'a> {
    /// Reads a name; `None` where we don't give such names.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let stem = name.strip_suffix(SUFFIX)?;
        let (time, hash) = stem.strip_prefix(FIRST).unwrap_or(stem).split_once('-')?;
        let parsed = DateTime::strptime(TIME, time).ok()?;
        let parsed: Timestamp = TimeZone::UTC.to_timestamp(parsed).ok()?.into();
        // More and fewer digits of a fraction are parsed too.
        Some(Self {
            time: Some(parsed).filter(|parsed| parsed.format(TIME) == time)?,
            first: stem.starts_with(FIRST),
            hash: Some(hash).filter(|hash| is_hex(hash, HASH))?,
        })
    }
}

impl KeptCopy {
    /// Reads a copy as it is in the history.
    ///
    /// # Errors
    ///
    /// Says what of it is not as we write it.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, UnreadableCopy> {
        let unreadable = |why: String| UnreadableCopy {
            name: name.to_owned(),
            why,
        };
        let said = CopyName::parse(name)
            .ok_or_else(|| unreadable("its name holds no time and hash".to_owned()))?;
        // One byte more than is allowed tells that there is more.
        let mut json = Vec::new();
        let mut unpacked = GzDecoder::new(bytes).take(MOST_UNPACKED + 1);
        unpacked
            .read_to_end(&mut json)
            .map_err(|error| unreadable(error.to_string()))?;
        if json.len() as u64 > MOST_UNPACKED {
            return Err(unreadable(format!(
                "it unpacks to more than {MOST_UNPACKED} bytes"
            )));
        }
        let Unpacked {
            data,
            mark,
            managers,
            resource_version,
        } = serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
        if hash_of(&data, &mark) != said.hash {
            return Err(unreadable(
                "its content does not have the hash that its name gives".to_owned(),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            time: said.time,
            // A history that was deleted begins anew with a text that holds entries of ours already.
            first: said.first && mark.is_empty(),
            bytes: bytes.len(),
            data,
            mark,
            managers,
            resource_version,
        })
    }

    /// The short name: the first digits of the hash of what it holds.
    #[must_use]
    pub fn short(&self) -> &str {
        CopyName::parse(&self.name)
            .and_then(|said| said.hash.get(..SHORT))
            .unwrap_or(&self.name)
    }
}

/// What a copy of some texts and their mark holds, with the hash that its name ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewCopy {
    json: Vec<u8>,
    pub(crate) hash: String,
}

impl NewCopy {
    pub(crate) fn of(
        data: &BTreeMap<String, String>,
        mark: &str,
        managers: &BTreeMap<String, Manager>,
        resource_version: Option<&str>,
    ) -> Self {
        let content = Unpacked {
            data: data.clone(),
            mark: mark.to_owned(),
            managers: managers.clone(),
            resource_version: resource_version.map(str::to_owned),
        };
        Self {
            hash: hash_of(data, mark),
            json: serde_json::json!(content).to_string().into_bytes(),
        }
    }

    /// Whether a copy of this name holds the same.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        CopyName::parse(name).is_some_and(|said| said.hash == self.hash)
    }

    /// The name under which it is kept.
    pub(crate) fn name(&self, now: Timestamp, first: bool) -> String {
        let first = if first { FIRST } else { "" };
        format!("{first}{}-{}{SUFFIX}", now.format(TIME), self.hash)
    }

    /// Its bytes as they are kept.
    pub(crate) fn pack(&self) -> std::io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.json)?;
        encoder.finish()
    }
}

/// Whether a text is so many lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash_of(data: &BTreeMap<String, String>, mark: &str) -> String {
    let json = serde_json::json!(HashedContent { data, mark }).to_string();
    format!("{:.HASH$x}", Sha256::digest(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy that holds this, under the name of one with `- x`.
    fn packed(json: &[u8]) -> (String, Vec<u8>) {
        let data = [("mapRoles".to_owned(), "- x".to_owned())].into();
        let copy = NewCopy {
            hash: hash_of(&data, ""),
            json: json.to_vec(),
        };
        (
            copy.name(now(), false),
            copy.pack().expect("memory takes it"),
        )
    }

    fn now() -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_123).expect("in range")
    }

    #[test]
    fn a_copy_is_read_back() {
        let data = [("mapRoles".to_owned(), "- x".to_owned())].into();
        let manager = |name: &str| Manager {
            name: name.to_owned(),
            time: Some(now()),
        };
        let managers = [("mapRoles".to_owned(), manager("kubectl-edit"))].into();
        let new = NewCopy::of(&data, "a:b", &managers, Some("42"));
        let name = new.name(now(), true);
        let copy =
            KeptCopy::read(&name, &new.pack().expect("memory takes it")).expect("it is ours");
        assert_eq!(
            (copy.time, copy.first, copy.mark.as_str()),
            (now(), false, "a:b"),
            "a history that was deleted begins with a text that is managed already"
        );
        assert_eq!(copy.resource_version.as_deref(), Some("42"));
        let unmanaged = NewCopy::of(&data, "", &managers, None);
        let bytes = unmanaged.pack().expect("memory takes it");
        let first = |first| {
            let copy = KeptCopy::read(&unmanaged.name(now(), first), &bytes);
            copy.expect("it is ours").first
        };
        assert!(first(true) && !first(false));
        assert_eq!((&copy.data, &copy.managers), (&data, &managers));
        // The same texts by another writer are the same copy.
        assert!(NewCopy::of(&data, "a:b", &BTreeMap::new(), None).has_name(&name));
        assert!(name.contains(copy.short()) && copy.short().len() == SHORT);
    }

    #[test]
    fn only_names_as_we_give_them_are_names_of_copies() {
        let hash = "0123456789abcdef";
        for (time, expected) in [
            ("20270115T080000123Z", true),
            ("20270115T0800001Z", false),
            ("20270115T0800001234Z", false),
            ("20270115T080000Z", false),
            ("20270115T80000123Z", false),
            ("20270115T080060123Z", false),
            ("+20270115T080000123Z", false),
            (" 20270115T080000123Z", false),
        ] {
            for first in ["", FIRST] {
                let name = format!("{first}{time}-{hash}{SUFFIX}");
                assert_eq!(CopyName::parse(&name).is_some(), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_copy_that_is_not_what_its_name_says_is_not_read() {
        let (name, bytes) = packed(br#"{"data":{"mapRoles":"- x"},"mark":""}"#);
        assert!(KeptCopy::read(&name, &bytes).is_ok());
        let (_, other) = packed(br#"{"data":{"mapRoles":"- y"},"mark":""}"#);
        let (no_copy, of_nothing) = packed(b"{}");
        let (not_utf8, of_bytes) = packed(b"{\"data\":{\"mapRoles\":\"\xff\"},\"mark\":\"\"}");
        let bomb = vec![b' '; usize::try_from(MOST_UNPACKED).expect("small") + 1];
        let (large, of_spaces) = packed(&bomb);
        let cases: [(&str, &[u8], &str); 7] = [
            ("x.json.gz", &bytes, "name"),
            (&name.replace(SUFFIX, ""), &bytes, "name"),
            (&name, b"not gzipped", "gzip"),
            (&name, &other, "hash"),
            (&no_copy, &of_nothing, "missing field"),
            (&not_utf8, &of_bytes, "unicode"),
            (&large, &of_spaces, "more than"),
        ];
        for (name, bytes, why) in cases {
            let error = KeptCopy::read(name, bytes).expect_err(name);
            assert!(error.why.contains(why), "{name}: {error}");
        }
    }
}
