//! The watches, reduced to what the state keeps and merged into one stream.
//!
//! A watch that fails is begun again by itself, after a pause that grows to five seconds; nothing is emptied
//! meanwhile. The stream is polled by the loop itself, so a list can't begin before the loop knows of it: that is what
//! lets an answer to a write count against a list that was read meanwhile.

use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{StreamExt, future, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

use super::any_mapping::AnyMapping;
use super::mapping::SeenMapping;
use super::state::{Change, Definition, Watched};
use super::{Cluster, bounded};
use crate::error::{Category, Error};
use crate::observed::{BindingSubjects, ConfigMapView, HistoryView};

/// The name of our `CustomResourceDefinition`.
pub const DEFINITION: &str = "identitymappings.identity-mapper.dev";

const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// kube's own default waits up to 30 s, far longer than drift in aws-auth may stand.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A watch whose connection died silently is noticed after this time: it bounds how long drift can go unseen.
const CONFIG_MAP_TIMEOUT_SECONDS: u32 = 60;

/// All watches.
pub type Watches = SelectAll<BoxStream<'static, Watched>>;

impl Cluster {
    /// Begins to watch everything that a plan looks at.
    pub fn watch(&self) -> Watches {
        let mappings = events(
            Api::<AnyMapping>::all(self.client.clone()),
            Config::default(),
            "IdentityMappings",
        )
        .map(|event| Watched::Mapping(change(event, |any| SeenMapping::from_any(&any))));
        self.watch_with(mappings.boxed())
    }

    /// The same where no mappings are stored.
    pub fn watch_without_mappings(&self) -> Watches {
        let none = [Change::Restart, Change::Complete].map(Watched::Mapping);
        self.watch_with(stream::iter(none).boxed())
    }

    fn watch_with(&self, mappings: BoxStream<'static, Watched>) -> Watches {
        let client = || self.client.clone();
        let name = &self.config_map().name;
        let history = self.config_map().history().name;
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        select_all([
            events(
                Api::<ConfigMap>::namespaced(client(), &self.config_map().namespace),
                named(name).timeout(CONFIG_MAP_TIMEOUT_SECONDS),
                "the ConfigMap",
            )
            .map(|event| {
                Watched::ConfigMap(change(event, |object| ConfigMapView::from_object(&object)))
            })
            .boxed(),
            mappings,
            events(self.config_maps(), named(&history), "the history ConfigMap")
                .map(|event| {
                    Watched::History(change(event, |object| HistoryView::from_object(&object)))
                })
                .boxed(),
            events(
                Api::<RoleBinding>::all(client()),
                Config::default(),
                "RoleBindings",
            )
            .map(|event| {
                Watched::RoleBinding(change(event, |binding| {
                    BindingSubjects::of_role_binding(&binding)
                }))
            })
            .boxed(),
            events(
                Api::<ClusterRoleBinding>::all(client()),
                Config::default(),
                "ClusterRoleBindings",
            )
            .map(|event| {
                Watched::ClusterRoleBinding(change(event, |binding| {
                    BindingSubjects::of_cluster_role_binding(&binding)
                }))
            })
            .boxed(),
            events(
                Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client()),
                named(DEFINITION),
                "the CustomResourceDefinition",
            )
            .map(|event| {
                Watched::Definition(change(event, |definition| Definition {
                    deleting: definition.metadata.deletion_timestamp.is_some(),
                }))
            })
            .boxed(),
        ])
    }
}

impl Cluster {
    /// Whether our `CustomResourceDefinition` is being deleted or gone, by the API server itself.
    pub async fn definition_goes(&self) -> Result<bool, Error> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let found = bounded(definitions.get_metadata_opt(DEFINITION)).await?;
        Ok(found.is_none_or(|definition| definition.metadata.deletion_timestamp.is_some()))
    }
}

/// The events of one watch; failures are logged, once for each time that it stops working.
fn events<K>(api: Api<K>, config: Config, what: &'static str) -> BoxStream<'static, Event<K>>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let mut failing = false;
    watcher(api, config)
        .backoff(Pauses::default())
        .filter_map(move |event| {
            future::ready(match event {
                Ok(event) => {
                    // `Init` only says that a list is tried.
                    if failing && !matches!(event, Event::Init) {
                        failing = false;
                        info!(watch = what, "watching again");
                    }
                    Some(event)
                }
                Err(error) => {
                    let error = cause(error);
                    if failing || error.message.contains("too old resource version") {
                        debug!(watch = what, error = %error, "the watch still fails");
                    } else if error.category == Category::Missing && what == "IdentityMappings" {
                        warn!(
                            "the CustomResourceDefinition {DEFINITION} is not installed: nothing is written until it is \
                             (identity-mapper crd | kubectl apply --server-side -f -)"
                        );
                    } else {
                        warn!(watch = what, error = %error, category = error.category.as_str(), "the watch fails; trying again");
                    }
                    failing = true;
                    None
                }
            })
        })
        .boxed()
}

/// Pauses between attempts, begun anew once events get through.
struct Pauses {
    next: Duration,
    /// Events since the last failure. Each attempt at a list begins with one (`Event::Init`), whatever comes of it.
    events: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            next: SHORTEST_PAUSE,
            events: 0,
        }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        self.events = 0;
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.events = self.events.saturating_add(1);
        if self.events > 1 {
            self.next = SHORTEST_PAUSE;
        }
    }
}

fn cause(error: watcher::Error) -> Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.into(),
        watcher::Error::WatchError(status) => Error::from(&*status),
        watcher::Error::NoResourceVersion => Error {
            category: Category::Transient,
            message: "the list has no resourceVersion".to_owned(),
        },
    }
}

fn change<K: ResourceExt, T>(event: Event<K>, reduce: impl Fn(K) -> T) -> Change<T> {
    let key = |object: &K| match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    };
    match event {
        Event::Init => Change::Restart,
        Event::InitApply(object) => Change::Listed(key(&object), reduce(object)),
        Event::InitDone => Change::Complete,
        Event::Apply(object) => Change::Applied(key(&object), reduce(object)),
        Event::Delete(object) => Change::Deleted {
            key: key(&object),
            resource_version: object.resource_version().unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut pauses = Pauses::default();
        let failed_lists = std::iter::repeat_with(|| {
            pauses.reset();
            pauses.next().map(|pause| pause.as_millis())
        });
        let milliseconds: Vec<u128> = failed_lists.take(7).flatten().collect();
        assert_eq!(milliseconds, [200, 400, 800, 1600, 3200, 5000, 5000]);
        pauses.reset();
        pauses.reset();
        assert_eq!(pauses.next(), Some(SHORTEST_PAUSE));
    }

    #[test]
    fn keys_have_the_namespace_where_there_is_one() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("aws-auth".to_owned());
        object.metadata.namespace = Some("kube-system".to_owned());
        object.metadata.resource_version = Some("7".to_owned());
        let deleted = Change::<()>::Deleted {
            key: "kube-system/aws-auth".to_owned(),
            resource_version: "7".to_owned(),
        };
        assert_eq!(change(Event::Delete(object), |_| ()), deleted);
    }
}
