//! Reads everything that a plan needs once, for commands; the operator has it from its watches.

use std::fmt::Debug;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::mapping::{AnyMapping, SeenMapping};
use super::watch::DEFINITION;
use super::{Cluster, bounded};
use crate::api::IdentityMapping;
use crate::desired::Mapping;
use crate::error::{Category, Error};
use crate::observed::{Binding, BindingSubjects, Bindings, ConfigMapView, HistoryView};

/// Objects on a page, as kubectl asks for them.
const PAGE: u32 = 500;

/// The objects in the cluster at about one moment.
#[derive(Clone, Debug, Default)]
pub struct ClusterSnapshot {
    /// Whether our `CustomResourceDefinition` is there.
    pub installed: bool,
    /// Whether it carries a deletionTimestamp.
    pub crd_deleting: bool,
    /// The mappings that could be decoded, as objects.
    pub objects: Vec<IdentityMapping>,
    /// All mappings, as a plan takes them.
    pub mappings: Vec<Mapping>,
    /// aws-auth; `None` where it does not exist.
    pub config_map: Option<ConfigMapView>,
    /// The history beside it.
    pub history: Option<HistoryView>,
    /// What plans decide by.
    pub bindings: Bindings,
    /// Every binding by name.
    pub rbac: Vec<Binding>,
}

/// What could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} can't be read: {error}")]
pub struct Unreadable {
    /// In words for people.
    pub what: &'static str,
    /// The API server's own words.
    pub error: Error,
}

impl Cluster {
    /// Reads it all, or says what can't be read: nothing is ever taken as empty because a read failed.
    pub async fn read(&self) -> Result<ClusterSnapshot, Unreadable> {
        let of = |what| move |error| Unreadable { what, error };
        let config_map = async { self.read_config_map().await.map_err(of("aws-auth")) };
        let history = async { self.read_history().await.map_err(of("its history")) };
        let definition = async {
            let read = self.read_definition().await;
            read.map_err(of("the CustomResourceDefinition"))
        };
        let role_bindings = async {
            let read = list(Api::<RoleBinding>::all(self.client.clone())).await;
            read.map_err(of("the RoleBindings"))
        };
        let cluster_role_bindings = async {
            let read = list(Api::<ClusterRoleBinding>::all(self.client.clone())).await;
            read.map_err(of("the ClusterRoleBindings"))
        };
        let mappings = async {
            let guards = list(Api::<AnyMapping>::all(self.client.clone()));
            match guards.await {
                // The definition is not there, so there are none.
                Err(error) if error.category == Category::Missing => Ok(Vec::new()),
                read => read.map_err(of("the IdentityMappings")),
            }
        };
        let read = futures::join!(
            config_map,
            history,
            definition,
            role_bindings,
            cluster_role_bindings,
            mappings
        );
        // In this order, so that an API server that can't be reached is always the same error.
        let (config_map, history, definition) = (read.0?, read.1?, read.2?);
        let (roles, cluster_roles, guards) = (read.3?, read.4?, read.5?);
        let subjects = roles.iter().map(BindingSubjects::of_role_binding).chain(
            cluster_roles
                .iter()
                .map(BindingSubjects::of_cluster_role_binding),
        );
        let subjects: Vec<BindingSubjects> = subjects.collect();
        let named = cluster_roles.iter().map(Binding::of_cluster_role_binding);
        let named = named.chain(roles.iter().map(Binding::of_role_binding));
        Ok(ClusterSnapshot {
            installed: definition.is_some(),
            crd_deleting: definition == Some(true),
            mappings: guards
                .iter()
                .map(|guard| *SeenMapping::from_any(guard).mapping)
                .collect(),
            objects: guards
                .into_iter()
                .filter_map(|any| Some(*any.0.ok()?))
                .collect(),
            config_map,
            history,
            bindings: subjects.iter().collect(),
            rbac: named.collect(),
        })
    }

    /// Whether there is a `ClusterRole` of this name.
    pub async fn has_cluster_role(&self, name: &str) -> Result<bool, Error> {
        let roles = Api::<ClusterRole>::all(self.client.clone());
        Ok(bounded(roles.get_metadata_opt(name)).await?.is_some())
    }

    /// Whether our definition is being deleted; `None`: it is not there.
    async fn read_definition(&self) -> Result<Option<bool>, Error> {
        let found = bounded(self.definitions().get_opt(DEFINITION)).await?;
        Ok(found.map(|definition| definition.0.metadata.deletion_timestamp.is_some()))
    }
}

/// All pages of a list.
async fn list<K>(api: Api<K>) -> Result<Vec<K>, Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = bounded(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}
