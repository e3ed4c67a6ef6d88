//! All access entries of the cluster, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Entry, Output};
use crate::time::Timestamp;

/// All access entries of the cluster, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// When they were last listed whole; `None`: never, so that an entry that is not known may well stand.
    pub listed: Option<Timestamp>,
    /// By the principal's ARN.
    pub by_principal: BTreeMap<String, EntryState>,
}

/// What is known of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryState {
    /// As last described, answers to our own calls included; `None`: listed only.
    pub entry: Option<Entry>,
    /// When it was last described whole.
    pub described: Option<Timestamp>,
    /// Something may have changed since: it must be described again before anything is decided by it.
    pub doubtful: bool,
    /// By the last listing, `AmazonEKSClusterAdminPolicy` is associated with it, in whatever scope.
    pub listed_as_admin: bool,
    /// When a call of ours last changed it.
    pub written: Option<Timestamp>,
    /// Who changed it last by word of `CloudTrail`: the caller's ARN.
    pub changed_by: Option<String>,
}

impl EntryState {
    /// The entry, where it can be relied upon.
    #[must_use]
    pub fn known(&self) -> Option<&Entry> {
        self.entry.as_ref().filter(|_| !self.doubtful)
    }
}

impl Entries {
    /// Takes in a whole listing: what it does not hold is gone, what is new is known by name only. An entry that is said to
    /// be an administrator's and is not known as one, or the reverse, is doubtful. Entries written after `started` are kept
    /// whatever the listing says: it may be older than they are.
    pub fn take_listing(
        &mut self,
        principals: &BTreeSet<String>,
        administrators: &BTreeSet<String>,
        admin_policy: &str,
        started: Timestamp,
        finished: Timestamp,
    ) {
        let newer = |state: &EntryState| state.written.is_some_and(|written| written >= started);
        self.by_principal
            .retain(|principal, state| principals.contains(principal) || newer(state));
        for principal in principals {
            let state = self.by_principal.entry(principal.clone()).or_default();
            let listed = administrators.contains(principal);
            let known = state
                .entry
                .as_ref()
                .map(|entry| entry.policies.contains_key(admin_policy));
            if known.is_some_and(|known| known != listed) && !newer(state) {
                state.doubtful = true;
            }
            state.listed_as_admin = listed;
        }
        self.listed = Some(finished);
    }

    /// Takes in the answer to a call of ours.
    pub fn apply(&mut self, call: &Call, output: Output, now: Timestamp) {
        let principal = call.principal_arn();
        match (call, output) {
            (Call::Delete { .. }, _) => {
                self.by_principal.remove(principal);
                return;
            }
            (_, Output::Described(entry)) => {
                let state = self.by_principal.entry(principal.to_owned()).or_default();
                state.entry = Some(*entry);
                state.described = Some(now);
                state.doubtful = false;
                return;
            }
            (_, Output::Entry(entry)) => {
                let state = self.by_principal.entry(principal.to_owned()).or_default();
                let policies = match call {
                    // A new entry has none, whatever an older one of the name had.
                    Call::Create { .. } => Some(BTreeMap::new()),
                    _ => state.entry.take().map(|before| before.policies),
                };
                // Without its policies, an entry that was listed only is still not known.
                state.entry = policies.map(|policies| Entry { policies, ..*entry });
                if matches!(call, Call::Create { .. }) {
                    state.described = Some(now);
                    state.doubtful = false;
                }
            }
            (Call::Associate { policy_arn, .. }, Output::Associated(association)) => {
                if let Some(entry) = self.entry_mut(principal) {
                    entry.policies.insert(policy_arn.clone(), association);
                }
            }
            (Call::Disassociate { policy_arn, .. }, _) => {
                if let Some(entry) = self.entry_mut(principal) {
                    entry.policies.remove(policy_arn);
                }
            }
            (Call::Tag { tags, .. }, _) => {
                if let Some(entry) = self.entry_mut(principal) {
                    entry.tags.extend(tags.clone());
                }
            }
            (Call::Untag { keys, .. }, _) => {
                if let Some(entry) = self.entry_mut(principal) {
                    entry.tags.retain(|key, _| !keys.contains(key));
                }
            }
            (_, Output::Associated(_) | Output::Done) => {}
        }
        if let Some(state) = self.by_principal.get_mut(principal) {
            state.written = Some(now);
        }
    }

    fn entry_mut(&mut self, principal: &str) -> Option<&mut Entry> {
        self.by_principal.get_mut(principal)?.entry.as_mut()
    }

    /// Someone else changed the entry, by word of `CloudTrail` or of EKS itself.
    pub fn doubt(&mut self, principal: &str, by: Option<&str>) {
        let state = self.by_principal.entry(principal.to_owned()).or_default();
        state.doubtful = true;
        if by.is_some() {
            state.changed_by = by.map(str::to_owned);
        }
    }

    /// EKS says that there is no such entry.
    pub fn gone(&mut self, principal: &str) {
        self.by_principal.remove(principal);
    }
}
