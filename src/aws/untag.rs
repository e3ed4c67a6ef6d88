//! Letting go of access entries: the tags that say that an entry is ours go, the entries stay.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::Aws;
use super::pace::{Priority, SIDE_BY_SIDE};
use crate::access_entry::EksCluster;
use crate::access_entry::{Failure, FailureKind, release};

/// How often entries are looked at at most.
const ROUNDS: usize = 5;

/// How far it has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untagged {
    /// Access entries by the last listing.
    pub listed: usize,
    /// Those of them that carry no tags of ours any more.
    pub settled: usize,
    /// Entries that our tags were taken off.
    pub untagged: usize,
}

impl Aws {
    /// Takes our tags off every access entry that carries those of `installation`, and tells how far it has got after each.
    ///
    /// Every entry is described, for no listing of EKS shows tags. What was untagged and what came meanwhile is looked at again
    /// until nothing of ours is found: calls of a running operator may have been on their way.
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
                    // The next look shows whether the tags went.
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
                "access entries carried tags of {installation} again each of the {ROUNDS} times that they were looked at: stop whatever \
                 sets them, and run it again"
            ),
        }))
    }

    /// Takes our tags off an entry. Whether it had any; one that is gone has none.
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
