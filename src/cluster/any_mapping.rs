//! A mapping that may not be decodable: one object that can't be read must not keep all others from being read.

use std::borrow::Cow;

use kube::Resource;
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

impl Resource for AnyMapping {
    type DynamicType = ();
    type Scope = <IdentityMapping as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        IdentityMapping::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        IdentityMapping::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        IdentityMapping::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        IdentityMapping::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(undecoded) => &undecoded.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(undecoded) => &mut undecoded.metadata,
        }
    }
}
