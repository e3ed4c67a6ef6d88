//! Release of access entries: removes the tags that mark them as managed, and keeps the entries.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::Aws;
use super::pace::{Priority, SIDE_BY_SIDE};
use crate::access_entry::EksCluster;
use crate::access_entry::{Failure, FailureKind, release};

/// The most rounds of reading all entries.
const ROUNDS: usize = 5;

/// Progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untagged {
    /// Access entries by the last listing.
    pub listed: usize,
    /// Those without our tags.
    pub settled: usize,
    /// Entries whose tags were removed.
    pub untagged: usize,
}

impl Aws {
    /// Removes our tags from every access entry that has those of `installation`, and reports the progress after each.
    ///
    /// Every entry is described, for no listing of EKS shows tags. What was untagged and what came meanwhile is read again
    /// until no tags are found: calls of a running operator may have been in flight.
    pub async fn untag_entries(
        &self,
        cluster: &EksCluster,
        installation: &str,
        mut progress: impl FnMut(Untagged),
    ) -> Result<Untagged, Failure> {
        let mut settled = BTreeSet::new();
        let mut untagged = BTreeSet::new();
        let mut last = None;
        for _ in 0..ROUNDS {
            let listed = self.list_entries(cluster, None).await?;
            settled.retain(|principal| listed.contains(principal));
            let open: Vec<String> = listed.difference(&settled).cloned().collect();
            let far = |settled: &BTreeSet<String>, untagged: &BTreeSet<String>| Untagged {
                listed: listed.len(),
                settled: settled.len(),
                untagged: untagged.len(),
            };
            if open.is_empty() {
                return Ok(far(&settled, &untagged));
            }
            let looks = stream::iter(open).map(async |principal| {
                let had = self.untag_entry(cluster, installation, &principal).await;
                (principal, had)
            });
            let mut looks = looks.buffer_unordered(SIDE_BY_SIDE);
            while let Some((principal, had)) = looks.next().await {
                match had {
                    Ok(true) => {
                        untagged.insert(principal);
                    }
                    Ok(false) => {
                        settled.insert(principal);
                    }
                    // The next round shows whether the tags were removed.
                    Err(failure) if failure.kind == FailureKind::Unavailable => {
                        last = Some(failure);
                    }
                    Err(failure) => return Err(failure),
                }
                progress(far(&settled, &untagged));
            }
        }
        Err(last.unwrap_or_else(|| Failure {
            kind: FailureKind::InUse,
            message: format!(
                "access entries had tags of {installation} again after each of {ROUNDS} rounds; stop what sets them and run the command again"
            ),
        }))
    }

    /// Removes our tags from an entry. Whether it had any; a deleted entry has none.
    async fn untag_entry(
        &self,
        cluster: &EksCluster,
        installation: &str,
        principal_arn: &str,
    ) -> Result<bool, Failure> {
        let had = async {
            let entry = self.describe_alone(cluster, principal_arn, Priority::Urgent);
            let Some(call) = release(&entry.await?, installation) else {
                return Ok(false);
            };
            self.call(cluster, &call, Priority::Urgent).await?;
            Ok(true)
        };
        match had.await {
            Err(Failure {
                kind: FailureKind::EntryMissing,
                ..
            }) => Ok(false),
            other => other,
        }
    }
}
