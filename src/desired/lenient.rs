//! What can be read of an object that can't be decoded as a whole: enough to know what its deletion means.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::remembered;
use crate::api::v1alpha1::{Deletion, IdentityMappingStatus, PermissionSet, PrincipalSpec};
use crate::principal::Principal;
use crate::time::Timestamp;

/// What could be read.
pub(super) struct Read {
    pub(super) principal: Option<Principal>,
    pub(super) permission_set: Option<PermissionSet>,
    pub(super) deletion: Deletion,
    /// Access ends by it also where another field can't be read.
    pub(super) valid_until: Option<Timestamp>,
    pub(super) status: IdentityMappingStatus,
    /// The first field without which nobody can tell what a deletion is to remove, or whether.
    pub(super) unreadable: Option<String>,
}

pub(super) fn read(raw: &Value) -> Read {
    let (spec, status) = (&raw["spec"], &raw["status"]);
    let mut unreadable = Vec::new();
    let status = read_status(status).unwrap_or_else(|field| {
        unreadable.push(field);
        IdentityMappingStatus::default()
    });
    let (principal, permission_set) =
        read_principal(&spec["principal"], &status).unwrap_or_else(|()| {
            unreadable.push("spec.principal");
            (None, None)
        });
    let deletion = field(spec, "deletion").unwrap_or_else(|()| {
        unreadable.push("spec.deletion");
        None
    });
    Read {
        principal,
        permission_set,
        deletion: deletion.unwrap_or_default(),
        valid_until: field::<Time>(spec, "validUntil")
            .ok()
            .flatten()
            .as_ref()
            .map(Into::into),
        status,
        unreadable: unreadable.first().map(|field| (*field).to_owned()),
    }
}

/// A field of an object; `None` where there is none.
fn field<T: DeserializeOwned>(object: &Value, name: &str) -> Result<Option<T>, ()> {
    match &object[name] {
        Value::Null => Ok(None),
        value => T::deserialize(value).map(Some).map_err(|_| ()),
    }
}

fn read_principal(
    principal: &Value,
    status: &IdentityMappingStatus,
) -> Result<(Option<Principal>, Option<PermissionSet>), ()> {
    let spec = PrincipalSpec::deserialize(principal).map_err(|_| ())?;
    match (&spec.arn, spec.permission_set) {
        (Some(arn), None) => {
            let principal = Principal::parse(arn).map_err(|_| ())?;
            Ok((Some(principal), None))
        }
        (None, Some(set)) => Ok((remembered(&set, status), Some(set))),
        (None, None) | (Some(_), Some(_)) => Err(()),
    }
}

/// A status, whole, or else what it remembers of entries; otherwise the field that can't be read.
pub(crate) fn read_status(status: &Value) -> Result<IdentityMappingStatus, &'static str> {
    if status.is_null() {
        return Ok(IdentityMappingStatus::default());
    }
    if let Ok(whole) = IdentityMappingStatus::deserialize(status) {
        return Ok(whole);
    }
    Ok(IdentityMappingStatus {
        written: field(status, "written")
            .map_err(|()| "status.written")?
            .unwrap_or_default(),
        principal_arn: field(status, "principalArn").map_err(|()| "status.principalArn")?,
        backend: field(status, "backend").unwrap_or_default(),
        access_entry_arn: field(status, "accessEntryArn").unwrap_or_default(),
        ..IdentityMappingStatus::default()
    })
}
