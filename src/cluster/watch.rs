//! The watches, reduced to what the state keeps and merged into one stream.
//!
//! A watch that fails is begun again by itself, with a list, after a pause that grows to five seconds; nothing is emptied
//! meanwhile. A list that is complete proves that it works again: a watch alone may bring nothing for hours. The stream is polled by
//! the loop itself, so a list can't begin before the loop knows of it: that is what lets an answer to a write count against a list that
//! was read meanwhile.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{StreamExt, future, stream};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Receiver;
use tracing::{debug, info, warn};

use super::bindings::Interest;
use super::mapping::{AnyMapping, SeenMapping};
use super::slim_binding::SlimBinding;
use super::state::{Definition, WatchChange, Watched};
use super::{Cluster, bounded};
use crate::backoff::Backoff;
use crate::error::{Category, Error};
use crate::observed::{BindingSubjects, ConfigMapView, HistoryView};

/// The name of our `CustomResourceDefinition`.
pub const DEFINITION: &str = "identitymappings.identity-mapper.dev";

/// What the watch of mappings is called.
pub(crate) const MAPPINGS: &str = "IdentityMappings";

/// kube's own default waits up to 30 s, far longer than drift in aws-auth may last.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// A watch ends after this time and is begun again, so a connection that died silently is noticed soon after: it bounds how long drift
/// can go unseen.
pub const WATCH_SECONDS: u32 = 30;

/// A binding takes up to some two megabytes, and a page of them is in memory at once.
const BINDINGS_PAGE: u32 = 10;

/// A mapping takes up to one and a half megabytes, and a page of them is in memory at once.
const MAPPINGS_PAGE: u32 = 50;

/// The shortest interval between two lists of bindings for new groups.
const SEARCH_PAUSE: Duration = Duration::from_secs(2);

/// An event for the loop.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Something has changed.
    Event(Watched),
    /// A watch fails, or works again.
    Health {
        /// What it watches, in words for people.
        watch: &'static str,
        /// Why it fails; `None`: it works again.
        failure: Option<Error>,
    },
}

/// All watches.
pub type Watches = SelectAll<BoxStream<'static, WatchEvent>>;

impl Cluster {
    /// Begins to watch everything that a plan reads; bindings once it is known what they are searched for.
    pub fn watch(&self, interest: Receiver<Option<Arc<Interest>>>) -> Watches {
        let mappings = told(
            Api::<AnyMapping>::all(self.client.clone()),
            Config::default().page_size(MAPPINGS_PAGE),
            MAPPINGS,
            |event| Watched::Mapping(change(event, |any| SeenMapping::from_any(&any))),
        );
        self.watch_with(mappings, interest)
    }

    /// The same where no mappings are stored.
    pub fn watch_without_mappings(&self, interest: Receiver<Option<Arc<Interest>>>) -> Watches {
        let none = [WatchChange::Restart, WatchChange::Complete].map(Watched::Mapping);
        self.watch_with(stream::iter(none.map(WatchEvent::Event)).boxed(), interest)
    }

    fn watch_with(
        &self,
        mappings: BoxStream<'static, WatchEvent>,
        interest: Receiver<Option<Arc<Interest>>>,
    ) -> Watches {
        let client = || self.client.clone();
        let name = &self.config_map().name;
        let history = self.config_map().history().name;
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        select_all([
            told(self.config_maps(), named(name), "the ConfigMap", |event| {
                Watched::ConfigMap(change(event, |object| {
                    ConfigMapView::from_object(&object.0)
                }))
            }),
            mappings,
            told(
                self.config_maps(),
                named(&history),
                "the history ConfigMap",
                |event| {
                    Watched::History(change(event, |object| HistoryView::from_object(&object.0)))
                },
            ),
            search(
                Api::<SlimBinding<RoleBinding>>::all(client()),
                "RoleBindings",
                Watched::RoleBinding,
                interest.clone(),
            ),
            search(
                Api::<SlimBinding<ClusterRoleBinding>>::all(client()),
                "ClusterRoleBindings",
                Watched::ClusterRoleBinding,
                interest,
            ),
            told(
                self.definitions(),
                named(DEFINITION),
                "the CustomResourceDefinition",
                |event| {
                    Watched::Definition(change(event, |definition| Definition {
                        deleting: definition.0.metadata.deletion_timestamp.is_some(),
                    }))
                },
            ),
        ])
    }

    /// Whether our `CustomResourceDefinition` is being deleted or gone, by the API server itself.
    pub async fn definition_goes(&self) -> Result<bool, Error> {
        let found = bounded(self.definitions().get_opt(DEFINITION)).await?;
        Ok(found.is_none_or(|definition| definition.0.metadata.deletion_timestamp.is_some()))
    }
}

/// What can be watched.
trait Watchable:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

impl<K> Watchable for K where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

/// One watch, with its events as the state takes them.
fn told<K: Watchable>(
    api: Api<K>,
    config: Config,
    name: &'static str,
    event: impl Fn(Event<K>) -> Watched + Send + 'static,
) -> BoxStream<'static, WatchEvent> {
    steps(api, config, name)
        .map(move |step| match step {
            WatchStep::Event(seen) => WatchEvent::Event(event(seen)),
            WatchStep::Health(failure) => WatchEvent::Health {
                watch: name,
                failure,
            },
        })
        .boxed()
}

/// What one watch does.
enum WatchStep<K> {
    Event(Event<K>),
    /// It fails, or works again.
    Health(Option<Error>),
}

/// A watch that is begun again when it fails.
struct Attempts<K> {
    api: Api<K>,
    config: Config,
    name: &'static str,
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    /// In a row.
    failures: u32,
    /// Before the next attempt.
    pause: Option<Duration>,
    failing: bool,
    /// What proved that it works again.
    proof: Option<Event<K>>,
}

fn steps<K: Watchable>(
    api: Api<K>,
    config: Config,
    name: &'static str,
) -> BoxStream<'static, WatchStep<K>> {
    let config = config.timeout(WATCH_SECONDS);
    let attempts = Attempts {
        events: watcher(api.clone(), config.clone()).boxed(),
        api,
        config,
        name,
        failures: 0,
        pause: None,
        failing: false,
        proof: None,
    };
    let next = |mut attempts: Attempts<K>| async {
        let step = attempts.next().await?;
        Some((step, attempts))
    };
    stream::unfold(attempts, next).boxed()
}

impl<K: Watchable> Attempts<K> {
    /// `None` never comes: kube's watcher does not end.
    async fn next(&mut self) -> Option<WatchStep<K>> {
        if let Some(event) = self.proof.take() {
            return Some(WatchStep::Event(event));
        }
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
            self.events = watcher(self.api.clone(), self.config.clone()).boxed();
        }
        let error = match self.events.next().await? {
            // A list is tried, or has begun.
            Ok(event @ (Event::Init | Event::InitApply(_))) => {
                return Some(WatchStep::Event(event));
            }
            Ok(event) => {
                self.failures = 0;
                if !std::mem::take(&mut self.failing) {
                    return Some(WatchStep::Event(event));
                }
                info!(watch = self.name, "watch recovered");
                self.proof = Some(event);
                return Some(WatchStep::Health(None));
            }
            Err(error) => cause(error),
        };
        self.log(&error);
        self.failing = true;
        self.pause = Some(RETRY.pause(self.failures, 0.0));
        self.failures = self.failures.saturating_add(1);
        Some(WatchStep::Health(Some(error)))
    }

    /// Warns once for each time that it stops working.
    fn log(&self, error: &Error) {
        let watch = self.name;
        if self.failing || error.message.contains("too old resource version") {
            debug!(watch, error = %error, "watch still failing");
        } else if error.category == Category::Missing && watch == MAPPINGS {
            warn!(
                "the CustomResourceDefinition {DEFINITION} is not installed: nothing is written until it is \
                 (identity-mapper crd | kubectl apply --server-side -f -)"
            );
        } else {
            warn!(watch, error = %error, category = error.category.as_str(), "watch failed, retrying");
        }
    }
}

/// A watch of bindings that is narrowed to what is of interest, and begun anew when that changes.
struct Search<K> {
    api: Api<SlimBinding<K>>,
    name: &'static str,
    event: fn(WatchChange<BindingSubjects>, Arc<Interest>) -> Watched,
    interest: Receiver<Option<Arc<Interest>>>,
    running: Option<Searching<K>>,
}

struct Searching<K> {
    interest: Arc<Interest>,
    steps: BoxStream<'static, WatchStep<SlimBinding<K>>>,
    /// Once the list is complete: from when on another may begin.
    next: Option<Instant>,
}

fn search<K>(
    api: Api<SlimBinding<K>>,
    name: &'static str,
    event: fn(WatchChange<BindingSubjects>, Arc<Interest>) -> Watched,
    interest: Receiver<Option<Arc<Interest>>>,
) -> BoxStream<'static, WatchEvent>
where
    SlimBinding<K>: Watchable,
    K: Send + 'static,
{
    let search = Search {
        api,
        name,
        event,
        interest,
        running: None,
    };
    let next = |mut search: Search<K>| async {
        let told = search.next().await?;
        Some((told, search))
    };
    stream::unfold(search, next).boxed()
}

impl<K> Search<K>
where
    SlimBinding<K>: Watchable,
{
    /// `None` once the sender of the interest is dropped.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            let Some(running) = &mut self.running else {
                let interest = self
                    .interest
                    .wait_for(Option::is_some)
                    .await
                    .ok()?
                    .clone()?;
                let config = Config::default().page_size(BINDINGS_PAGE);
                self.running = Some(Searching {
                    interest,
                    steps: steps(self.api.clone(), config, self.name),
                    next: None,
                });
                continue;
            };
            let Searching {
                interest,
                steps,
                next,
            } = running;
            let newer = newer(&mut self.interest, interest, *next);
            let step = tokio::select! {
                () = newer => {
                    self.running = None;
                    continue;
                }
                step = steps.next() => step?,
            };
            let change = match step {
                WatchStep::Health(failure) => {
                    return Some(WatchEvent::Health {
                        watch: self.name,
                        failure,
                    });
                }
                WatchStep::Event(event) => change(event, SlimBinding::subjects),
            };
            if change == WatchChange::Complete {
                *next = Some(Instant::now() + SEARCH_PAUSE);
            }
            if let Some(change) = narrow(change, interest) {
                return Some(WatchEvent::Event((self.event)(
                    change,
                    Arc::clone(interest),
                )));
            }
        }
    }
}

/// Waits until something else is of interest and a list may begin.
async fn newer(
    latest: &mut Receiver<Option<Arc<Interest>>>,
    current: &Arc<Interest>,
    from: Option<Instant>,
) {
    let Some(from) = from else {
        return future::pending().await;
    };
    let differs = |latest: &Option<Arc<Interest>>| {
        latest
            .as_ref()
            .is_some_and(|latest| !Arc::ptr_eq(latest, current))
    };
    if latest.wait_for(differs).await.is_err() {
        return future::pending().await;
    }
    tokio::time::sleep_until(from.into()).await;
}

/// A binding of which nothing is kept is none.
fn narrow(
    change: WatchChange<BindingSubjects>,
    interest: &Interest,
) -> Option<WatchChange<BindingSubjects>> {
    match change {
        WatchChange::Listed(key, subjects) => {
            Some(WatchChange::Listed(key, interest.narrow(subjects)?))
        }
        WatchChange::Applied(key, subjects) => Some(match interest.narrow(subjects) {
            Some(kept) => WatchChange::Applied(key, kept),
            None => WatchChange::Deleted {
                key,
                resource_version: String::new(),
            },
        }),
        other @ (WatchChange::Restart | WatchChange::Complete | WatchChange::Deleted { .. }) => {
            Some(other)
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

fn change<K: ResourceExt, T>(event: Event<K>, reduce: impl Fn(K) -> T) -> WatchChange<T> {
    let key = |object: &K| match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    };
    match event {
        Event::Init => WatchChange::Restart,
        Event::InitApply(object) => WatchChange::Listed(key(&object), reduce(object)),
        Event::InitDone => WatchChange::Complete,
        Event::Apply(object) => WatchChange::Applied(key(&object), reduce(object)),
        Event::Delete(object) => WatchChange::Deleted {
            key: key(&object),
            resource_version: object.resource_version().unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let milliseconds =
            [0, 1, 2, 3, 4, 5, 6].map(|earlier| RETRY.pause(earlier, 0.0).as_millis());
        assert_eq!(milliseconds, [200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn a_binding_of_which_nothing_is_kept_is_none() {
        let interest = Interest::Groups(["dev".to_owned()].into());
        let subjects = |group: &str| BindingSubjects {
            groups: [group.to_owned()].into(),
            ..BindingSubjects::default()
        };
        let listed = |group| WatchChange::Listed("ns/b".to_owned(), subjects(group));
        let applied = |group| WatchChange::Applied("ns/b".to_owned(), subjects(group));
        assert_eq!(narrow(listed("dev"), &interest), Some(listed("dev")));
        assert_eq!(narrow(listed("x"), &interest), None);
        assert_eq!(narrow(applied("dev"), &interest), Some(applied("dev")));
        let gone = WatchChange::Deleted {
            key: "ns/b".to_owned(),
            resource_version: String::new(),
        };
        assert_eq!(narrow(applied("x"), &interest), Some(gone));
        assert_eq!(
            narrow(WatchChange::Complete, &interest),
            Some(WatchChange::Complete)
        );
    }

    #[test]
    fn keys_have_the_namespace_where_there_is_one() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("aws-auth".to_owned());
        object.metadata.namespace = Some("kube-system".to_owned());
        object.metadata.resource_version = Some("7".to_owned());
        let deleted = WatchChange::<()>::Deleted {
            key: "kube-system/aws-auth".to_owned(),
            resource_version: "7".to_owned(),
        };
        assert_eq!(change(Event::Delete(object), |_| ()), deleted);
    }
}
