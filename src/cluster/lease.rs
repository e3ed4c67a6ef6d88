//! Reads and writes the Lease for leader election.
//!
//! Every write is a replacement with the resourceVersion that was read, or a creation: the API server refuses the second of two. The times
//! in it are for people, and for what else reads Leases; the operator goes by none of them.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::within;
use crate::error::{Category, Error};
use crate::lease::{DURATION, LeaseRecord, LeaseRefusal, LeaseWrite, REQUEST_LIMIT};
use crate::plan::FIELD_MANAGER;
use crate::time::Timestamp;

/// The Lease of one installation.
#[derive(Clone)]
pub struct LeaseClient {
    leases: Api<Lease>,
    name: String,
    /// As it was last read or written, so that a write keeps what others added to it.
    last: Option<Lease>,
}

impl LeaseClient {
    /// The Lease of this name.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            last: None,
        }
    }

    /// It as it is now; `None` where it does not exist.
    pub async fn read(&mut self) -> Result<Option<LeaseRecord>, Error> {
        let found = within(REQUEST_LIMIT, self.leases.get_opt(&self.name)).await?;
        self.last.clone_from(&found);
        Ok(found.as_ref().map(record))
    }

    /// Writes it. The error says what it means for the election, and why.
    pub async fn write(
        &mut self,
        write: &LeaseWrite,
    ) -> Result<LeaseRecord, (LeaseRefusal, Error)> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let object = object(&self.name, self.last.as_ref(), write, Timestamp::now());
        let answer = if write.version.is_some() {
            let call = self.leases.replace(&self.name, &params, &object);
            within(REQUEST_LIMIT, call).await
        } else {
            within(REQUEST_LIMIT, self.leases.create(&params, &object)).await
        };
        match answer {
            Ok(written) => {
                let read = record(&written);
                self.last = Some(written);
                Ok(read)
            }
            Err(error) if matches!(error.category, Category::Conflict | Category::Missing) => {
                Err((LeaseRefusal::Stale, error))
            }
            Err(error) => Err((LeaseRefusal::Failed, error)),
        }
    }
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    LeaseRecord {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

fn object(name: &str, last: Option<&Lease>, write: &LeaseWrite, now: Timestamp) -> Lease {
    let before = last.and_then(|lease| lease.spec.clone());
    let before = before.unwrap_or_default();
    let metadata = match (last, &write.version) {
        (Some(last), Some(version)) => ObjectMeta {
            resource_version: Some(version.clone()),
            managed_fields: None,
            ..last.metadata.clone()
        },
        (_, version) => ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version.clone(),
            ..ObjectMeta::default()
        },
    };
    Lease {
        metadata,
        spec: Some(LeaseSpec {
            // Released, it has an empty holder, as client-go leaves it.
            holder_identity: Some(write.holder.clone().unwrap_or_default()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if write.begins {
                Some(MicroTime::from(now))
            } else {
                before.acquire_time.clone()
            },
            renew_time: Some(MicroTime::from(now)),
            lease_transitions: Some(write.transitions),
            ..before
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn write(version: Option<&str>, holder: Option<&str>, begins: bool) -> LeaseWrite {
        LeaseWrite {
            version: version.map(str::to_owned),
            holder: holder.map(str::to_owned),
            transitions: 2,
            begins,
        }
    }

    #[test]
    fn a_write_carries_the_version_that_was_read_and_keeps_what_others_added() {
        let mut first = object("lease", None, &write(None, Some("a"), true), at(10));
        assert_eq!(first.metadata.name.as_deref(), Some("lease"));
        assert_eq!(first.metadata.resource_version, None);
        first.metadata.resource_version = Some("4".to_owned());
        first.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
        let renewal = object(
            "lease",
            Some(&first),
            &write(Some("4"), Some("a"), false),
            at(20),
        );
        assert_eq!(renewal.metadata.resource_version.as_deref(), Some("4"));
        assert_eq!(renewal.metadata.labels, first.metadata.labels);
        let spec = renewal.spec.clone().expect("it has one");
        assert_eq!(spec.acquire_time, Some(MicroTime::from(at(10))));
        assert_eq!(spec.renew_time, Some(MicroTime::from(at(20))));
        assert_eq!(spec.lease_duration_seconds, Some(8));
        assert_eq!(record(&renewal).holder.as_deref(), Some("a"));
        let released = object(
            "lease",
            Some(&renewal),
            &write(Some("4"), None, false),
            at(30),
        );
        assert_eq!(record(&released).holder, None);
        assert_eq!(record(&Lease::default()).duration, Duration::ZERO);
    }
}
