//! IO with Kubernetes: watches, the write of aws-auth, history, finalizers, statuses, events, the Lease.
//!
//! Nothing here decides what is written: it executes what a plan asks for and reports the result.
//! Invariants:
//!
//! - every call ends within [`CALL_TIMEOUT`], those of [`Cluster::patient`] within [`PATIENT_TIMEOUT`], however the API server behaves
//!   (watches have kube's idle timeout);
//! - everything that a leader writes passes one gate, `fenced`;
//! - every write of aws-auth and of the history carries the resourceVersion that was read;
//! - what could not be read is an error or a missing answer, never an empty one.

/// Makes a type that is read in place of a kind a `Resource` of that kind.
macro_rules! read_as {
    ($type:ty, $kind:ty $(, any $parameter:ident)?; $object:ident => ($meta:expr, $meta_mut:expr)) => {
        impl $(<$parameter: kube::Resource<DynamicType = ()>>)? kube::Resource for $type {
            type DynamicType = ();
            type Scope = <$kind as kube::Resource>::Scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::kind(&())
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::group(&())
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::version(&())
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &kube::api::ObjectMeta {
                let $object = self;
                $meta
            }

            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                let $object = self;
                $meta_mut
            }
        }
    };
}

mod any_managers;
pub mod api_server;
pub mod bindings;
pub mod config_map;
pub mod event;
mod fenced;
pub mod finalizer;
pub mod history;
#[cfg(test)]
mod hostile_values;
pub(crate) mod kubeconfig;
pub mod lease;
pub mod mapping;
pub mod migration;
pub mod operator;
pub mod read;
pub mod release;
pub mod review;
mod slim_binding;
pub mod state;
pub mod status;
mod tls;
mod versioned;
pub mod watch;

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PartialObjectMeta;
use kube::{Api, Client};

use self::any_managers::AnyManagers;
use crate::api::IdentityMapping;
use crate::error::Error;
use crate::lease::Permit;
use crate::observed::ConfigMapName;
use crate::plan::FIELD_MANAGER;

/// How long one call may take. The API server itself gives up on most requests after a minute, far too long here.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The same where nothing waits but a person, and an answer is worth more than time.
pub const PATIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How many calls for single mappings run side by side.
pub const CONCURRENCY: usize = 16;

/// One cluster, and the `ConfigMap` in it that is kept.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    config_map: ConfigMapName,
    /// The reporter of events: the Pod's name, or the host's.
    instance: String,
    call_timeout: Duration,
}

impl Cluster {
    /// A cluster as `client` reaches it. `instance` is the reporter of events, at most 128 characters of which are sent.
    #[must_use]
    pub fn new(client: Client, config_map: ConfigMapName, instance: &str) -> Self {
        let instance = if instance.is_empty() {
            FIELD_MANAGER
        } else {
            instance
        };
        Self {
            client,
            config_map,
            instance: instance.chars().take(128).collect(),
            call_timeout: CALL_TIMEOUT,
        }
    }

    /// The same cluster, with more time for calls to aws-auth, its history and the mappings as a whole.
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            call_timeout: PATIENT_TIMEOUT,
            ..self
        }
    }

    /// The same cluster for one term of a leader, which bounds what may be written.
    #[must_use]
    pub fn fenced(self, permit: Permit) -> Self {
        Self {
            client: fenced::fenced(self.client, permit),
            ..self
        }
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        within(self.call_timeout, call).await
    }

    /// The `ConfigMap` that is kept.
    #[must_use]
    pub fn config_map(&self) -> &ConfigMapName {
        &self.config_map
    }

    fn mappings(&self) -> Api<IdentityMapping> {
        Api::all(self.client.clone())
    }

    /// Also those that can't be decoded.
    fn any_mappings(&self) -> Api<mapping::AnyMapping> {
        Api::all(self.client.clone())
    }

    fn definitions(&self) -> Api<AnyManagers<PartialObjectMeta<CustomResourceDefinition>>> {
        Api::all(self.client.clone())
    }

    fn config_maps(&self) -> Api<AnyManagers<ConfigMap>> {
        Api::namespaced(self.client.clone(), &self.config_map.namespace)
    }
}

/// Bounds the time of a call.
async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    within(CALL_TIMEOUT, call).await
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::timed_out(limit)),
    }
}
