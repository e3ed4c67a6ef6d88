//! Writing the status of a mapping.
//!
//! Server-side apply of the status subresource, forced, whole, by a manager of its own: fields that the new status does
//! not name go, and another manager's conditions stay. The body carries the uid, so that the API server refuses it for
//! an object made anew under the name.

use kube::Resource as _;
use kube::api::{Patch, PatchParams};
use serde::Serialize;

use super::mapping::AnyMapping;
use super::{Cluster, bounded};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::error::{Category, Error};
use crate::plan::StatusWrite;

/// Apart from the manager of finalizers: an apply takes away what the same manager applied before and does not name.
const STATUS_MANAGER: &str = "identity-mapper-status";

/// What is applied: a spec has no place in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: BodyMetadata<'a>,
    status: &'a IdentityMappingStatus,
}

#[derive(Debug, Serialize)]
struct BodyMetadata<'a> {
    name: &'a str,
    uid: &'a str,
}

impl Cluster {
    /// Writes a status, and returns the resulting mapping; `None` where that very object is no more.
    pub async fn write_status(&self, write: &StatusWrite) -> Result<Option<AnyMapping>, Error> {
        let body = Body {
            api_version: "identity-mapper.dev/v1alpha1",
            kind: "IdentityMapping",
            metadata: BodyMetadata {
                name: &write.name,
                uid: &write.uid,
            },
            status: &write.status,
        };
        let params = PatchParams::apply(STATUS_MANAGER).force();
        match bounded(
            self.any_mappings()
                .patch_status(&write.name, &params, &Patch::Apply(&body)),
        )
        .await
        {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.category == Category::Missing => Ok(None),
            // With force there is no conflict of fields: a 409 means another uid, or that others wrote the object in between more often than
            // the API server tries by itself. Taken for another uid, the status would never be written.
            Err(error) if error.category == Category::Conflict => {
                let found = bounded(self.any_mappings().get_opt(&write.name)).await?;
                let same = |object: &AnyMapping| object.meta().uid.as_deref() == Some(&*write.uid);
                if found.as_ref().is_some_and(same) {
                    Err(error)
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(error),
        }
    }
}
