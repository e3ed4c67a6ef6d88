//! A mapping that may not be decodable: one object that can't be read must not keep all others from being read.

use kube::api::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::IdentityMapping;
use crate::desired::read_status;

/// A mapping, or what is there in its place.
#[derive(Clone, Debug)]
pub struct AnyMapping(pub Result<Box<IdentityMapping>, Box<Undecoded>>);

/// An object that can't be decoded.
#[derive(Clone, Debug)]
pub struct Undecoded {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Why it can't be decoded.
    pub error: String,
    /// All of it.
    pub raw: Value,
}

impl<'de> Deserialize<'de> for AnyMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        // Nothing reads them, and their times are the clients' to choose.
        if let Some(metadata) = raw["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let error = match IdentityMapping::deserialize(&raw) {
            Ok(object) => return Ok(Self(Ok(Box::new(object)))),
            Err(error) => error.to_string(),
        };
        if let Some(object) = without_status(&raw) {
            return Ok(Self(Ok(Box::new(object))));
        }
        let metadata = ObjectMeta::deserialize(&raw["metadata"]).map_err(D::Error::custom)?;
        Ok(Self(Err(Box::new(Undecoded {
            metadata,
            error,
            raw,
        }))))
    }
}

/// The object, where only its status can't be decoded: nobody declares anything by that.
fn without_status(raw: &Value) -> Option<IdentityMapping> {
    let mut rest = raw.clone();
    let status = rest.as_object_mut()?.remove("status")?;
    let mut object = IdentityMapping::deserialize(rest).ok()?;
    object.status = Some(read_status(&status).ok()?);
    Some(object)
}

read_as!(AnyMapping, IdentityMapping; mapping => (
    match &mapping.0 {
        Ok(object) => object.meta(),
        Err(undecoded) => &undecoded.metadata,
    },
    match &mut mapping.0 {
        Ok(object) => object.meta_mut(),
        Err(undecoded) => &mut undecoded.metadata,
    }
));
