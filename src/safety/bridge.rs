//! The temporary `ClusterRoleBinding` of a handover makes administrators of everybody in its group, so it is made only while no
//! unmanaged entry gives that group.

use super::{Clearance, Cleared};
use crate::access_entry::{BRIDGE_GROUP, INSTALLATION_TAG};
use crate::aws_auth::Document;
use crate::observed::Observed;

/// The binding of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeBinding;

/// Clears the making of the bridge. `installation` is the tag of the access entries that are ours.
///
/// # Errors
///
/// Says which entry gives the group.
pub fn clear_bridge(
    observed: &Observed,
    installation: &str,
) -> Result<Cleared<BridgeBinding>, String> {
    let entries = observed.aws.view().map(|view| &view.entries.by_principal);
    let entries = entries.into_iter().flat_map(|entries| entries.values());
    let mut unmanaged = entries
        .filter_map(|state| state.entry.as_ref())
        .filter(|entry| {
            let tag = entry.tags.get(INSTALLATION_TAG).map(String::as_str);
            entry.groups.contains(BRIDGE_GROUP) && tag != Some(installation)
        });
    if let Some(entry) = unmanaged.next() {
        return Err(format!(
            "the unmanaged access entry of {} gives that group; remove the group from it",
            entry.principal_arn
        ));
    }
    let document = observed
        .config_map
        .as_ref()
        .map(|view| Document::parse(&view.data));
    let mut entries = document.iter().flat_map(Document::entries);
    let named = entries.find(|entry| entry.groups.iter().any(|group| group == BRIDGE_GROUP));
    if let Some(entry) = named {
        return Err(format!(
            "{} line {} gives that group to {}; remove it there",
            entry.section, entry.line, entry.arn
        ));
    }
    Ok(Clearance::new().clear(BridgeBinding))
}
