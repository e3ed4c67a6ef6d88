//! An entry of aws-auth that no mapping declares, taken as if it were imported.

use kube::api::ObjectMeta;

use crate::access_entry::{NodeTwin, node_twin};
use crate::api::IdentityMapping;
use crate::api::v1alpha1::{
    Adoption, BackendChoice, Deletion, EntryType, IdentityMappingSpec, PrincipalSpec,
};
use crate::aws_auth::Entry;

/// The mapping that declares exactly what an entry gives its principal.
#[must_use]
pub(crate) fn mapping_from_entry(entry: &Entry, name: &str) -> IdentityMapping {
    let meaning = entry.meaning();
    let (type_, username, groups) = match node_twin(&meaning.username, &meaning.groups) {
        NodeTwin::Type(type_) => (type_, None, Vec::new()),
        NodeTwin::Ambiguous | NodeTwin::MoreGroups(..) | NodeTwin::None => (
            EntryType::Standard,
            Some(meaning.username),
            meaning.groups.into_iter().collect(),
        ),
    };
    let spec = IdentityMappingSpec {
        principal: PrincipalSpec {
            arn: Some(entry.arn.clone()),
            permission_set: None,
        },
        username,
        groups,
        access_policies: Vec::new(),
        type_,
        backend: BackendChoice::default(),
        adoption: Adoption::default(),
        deletion: Deletion::default(),
        valid_until: None,
        suspend: false,
    };
    IdentityMapping {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
