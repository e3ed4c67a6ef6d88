//! Watches everyone whom it is told of, and tells who was ever without the power that they had.
//!
//! So that no gap between two steps escapes it, however short, the stand-in waits at each change of what counts at the door
//! of EKS, before it answers the caller, until aws-auth and the bindings have been read anew and everyone has been looked at:
//! with what counted before the change, and with what counts since. Whoever made the call can have done nothing more
//! meanwhile. Between such changes every version of aws-auth, of a role and of a binding is seen by a watch; one that such a
//! reading passed over is judged by what counted at the door then.
//!
//! It runs on a thread of its own: a test that waits for the stand-in must not keep it from looking.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use identity_mapper::aws_auth::{Document, Index};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use super::{Caller, Door, Identity, Objects, Power, Rbac, Refused, Scene};
use crate::support::cluster::Cluster;
use crate::support::eks::{Eks, Outcome};

/// So many of the last happenings, of the last calls, and of the things that somebody lacks, are told.
const TOLD: usize = 12;
/// The longest that the stand-in waits for a look; the API server of a busy machine takes its time.
const PATIENCE: Duration = Duration::from_mins(1);

/// Watches for as long as it lives.
pub(crate) struct Witness {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// Somebody was without power that they had.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// When, by the stand-in's clock.
    pub(crate) time: Timestamp,
    /// Who.
    pub(crate) name: String,
    /// What was, what is, what lacks, and what happened.
    pub(crate) story: String,
}

struct Shared {
    client: Client,
    state: Mutex<State>,
}

struct State {
    config_maps: Kept<ConfigMap>,
    cluster_roles: Kept<ClusterRole>,
    cluster_role_bindings: Kept<ClusterRoleBinding>,
    roles: Kept<Role>,
    role_bindings: Kept<RoleBinding>,
    scene: Scene,
    people: BTreeMap<String, Person>,
    happenings: VecDeque<String>,
    losses: Vec<Loss>,
    /// Why it could not look at a change.
    blind: Vec<String>,
    evaluations: u64,
}

/// The objects of one kind, by namespace and name, as of a version.
struct Kept<K> {
    version: u64,
    objects: BTreeMap<(String, String), K>,
    /// Versions that a listing passed over, from and to, and what counted at the door meanwhile.
    passed: Vec<(u64, u64, Arc<Door>)>,
}

/// Somebody who is watched.
struct Person {
    caller: Caller,
    /// What they must not fall below; `None`: they may lose what they have.
    floor: Option<Power>,
    seen: Seen,
    /// They lack something now, which was told when it began.
    fallen: bool,
}

/// What somebody may do, and why.
#[derive(Clone)]
struct Seen {
    login: Result<Vec<Identity>, Refused>,
    power: Power,
    rbac: Arc<Rbac>,
}

/// What the watch of a kind does with its objects.
trait Watched: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static {
    fn api(client: &Client) -> Api<Self>;
    fn kept(state: &mut State) -> &mut Kept<Self>;
    fn params() -> ListParams {
        ListParams::default()
    }
}

impl Watched for ConfigMap {
    fn api(client: &Client) -> Api<Self> {
        Api::namespaced(client.clone(), "kube-system")
    }
    fn kept(state: &mut State) -> &mut Kept<Self> {
        &mut state.config_maps
    }
    fn params() -> ListParams {
        ListParams::default().fields("metadata.name=aws-auth")
    }
}

macro_rules! watched {
    ($($kind:ty: $field:ident),+) => {
        $(impl Watched for $kind {
            fn api(client: &Client) -> Api<Self> {
                Api::all(client.clone())
            }
            fn kept(state: &mut State) -> &mut Kept<Self> {
                &mut state.$field
            }
        })+
    };
}
watched!(
    ClusterRole: cluster_roles,
    ClusterRoleBinding: cluster_role_bindings,
    Role: roles,
    RoleBinding: role_bindings
);

impl Witness {
    /// Reads everything, and watches it from then on. `instances` are the private DNS names of nodes, by the instance ids that
    /// their sessions are named after.
    pub(crate) async fn start(
        cluster: &Cluster,
        eks: &Eks,
        instances: BTreeMap<String, String>,
    ) -> Self {
        let door = Arc::new(Door::of(&eks.world()));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("witness")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let kubeconfig = cluster.admin_kubeconfig().to_owned();
        let started = runtime.spawn(async move {
            let state = State {
                config_maps: Kept::default(),
                cluster_roles: Kept::default(),
                cluster_role_bindings: Kept::default(),
                roles: Kept::default(),
                role_bindings: Kept::default(),
                scene: Scene {
                    door,
                    aws_auth: Arc::new(nothing()),
                    rbac: Arc::default(),
                    instances: Arc::new(instances),
                },
                people: BTreeMap::new(),
                happenings: VecDeque::new(),
                losses: Vec::new(),
                blind: Vec::new(),
                evaluations: 0,
            };
            let shared = Arc::new(Shared {
                client: client(&kubeconfig).await,
                state: Mutex::new(state),
            });
            shared.list::<ClusterRole>().await?;
            shared.list::<Role>().await?;
            shared.read_anew().await?;
            tokio::spawn(shared.clone().watch::<ConfigMap>());
            tokio::spawn(shared.clone().watch::<ClusterRole>());
            tokio::spawn(shared.clone().watch::<ClusterRoleBinding>());
            tokio::spawn(shared.clone().watch::<Role>());
            tokio::spawn(shared.clone().watch::<RoleBinding>());
            Ok::<_, kube::Error>(shared)
        });
        let shared = started.await.expect("it does not panic");
        let shared = shared.expect("the API server answers its administrator");
        let (handle, observing) = (runtime.handle().clone(), shared.clone());
        eks.observe(move |world, change| {
            let door = Door::of(world);
            if observing.state().scene.door.same_as(&door) {
                return;
            }
            let (done, wait) = mpsc::sync_channel(1);
            let (shared, what) = (observing.clone(), format!("{change:?}"));
            handle.spawn(async move {
                let looked = shared.door_changed(door, &what).await;
                // Whoever waited may have lost patience.
                let _ = done.send(looked);
            });
            let blind = match wait.recv_timeout(PATIENCE) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                // Nobody asks a witness that is gone.
                Err(error) => error.to_string(),
            };
            observing.state().blind.push(format!("{change:?}: {blind}"));
        });
        Self {
            shared,
            runtime: Some(runtime),
        }
    }

    /// Watches somebody from now on: they must never fall below what they may do now, which is given back.
    pub(crate) async fn keep(&self, name: &str, caller: Caller) -> Power {
        self.look().await;
        let mut state = self.shared.state();
        let index = Index::new(&state.scene.aws_auth);
        let seen = see(&state.scene, &index, &caller, None);
        let power = seen.power.clone();
        let person = Person {
            caller,
            floor: Some(power.clone()),
            seen,
            fallen: false,
        };
        state.people.insert(name.to_owned(), person);
        power
    }

    /// Lets somebody lose what they have, as it was asked for.
    pub(crate) fn allow_loss(&self, name: &str) {
        let mut state = self.shared.state();
        let person = state.people.get_mut(name);
        person
            .unwrap_or_else(|| panic!("nobody watches {name}"))
            .floor = None;
    }

    /// What somebody who is watched may do now, and as whom.
    pub(crate) async fn now(&self, name: &str) -> (Result<Vec<Identity>, Refused>, Power) {
        self.look().await;
        let state = self.shared.state();
        let seen = state.people[name].seen.clone();
        (seen.login, seen.power)
    }

    /// How often everyone was looked at.
    pub(crate) fn evaluations(&self) -> u64 {
        self.shared.state().evaluations
    }

    /// Each loss, in order.
    pub(crate) async fn losses(&self) -> Vec<Loss> {
        self.look().await;
        self.shared.state().losses.clone()
    }

    /// Panics with the stories where anyone was ever without the power that they had, and where a change was not looked at.
    pub(crate) async fn acquit(&self, eks: &Eks) {
        let losses = self.losses().await;
        let blind = self.shared.state().blind.clone();
        assert!(blind.is_empty(), "not everything was seen: {blind:?}");
        let stories: Vec<String> = losses
            .iter()
            .map(|loss| format!("{}{}", loss.story, last_calls(eks, loss.time)))
            .collect();
        assert!(
            stories.is_empty(),
            "{} losses of power:\n\n{}",
            stories.len(),
            stories.join("\n\n")
        );
    }

    /// Reads the API server anew, and judges.
    async fn look(&self) {
        let shared = self.shared.clone();
        let runtime = self
            .runtime
            .as_ref()
            .expect("it is there until it is dropped");
        let looked = runtime.spawn(async move {
            shared.read_anew().await?;
            shared.state().judge_now();
            Ok::<_, kube::Error>(())
        });
        let looked = looked.await.expect("it does not panic");
        looked.expect("the API server answers its administrator");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A look that is under way would block whoever drops us.
            runtime.shutdown_background();
        }
    }
}

/// The last calls of EKS until then.
fn last_calls(eks: &Eks, until: Timestamp) -> String {
    let log = eks.log();
    let calls: Vec<String> = log
        .all()
        .iter()
        .filter(|call| call.time <= until)
        .map(|call| {
            let outcome = match &call.outcome {
                Outcome::Done => "done".to_owned(),
                Outcome::Refused(code, _) => format!("refused, {code}"),
                Outcome::Lost { effect: true, .. } => "done, answer lost".to_owned(),
                Outcome::Lost { effect: false, .. } => "lost".to_owned(),
            };
            let principal = call.principal.as_deref().unwrap_or_default();
            format!(
                "\n    {} {} {principal} {outcome}",
                call.time, call.operation
            )
        })
        .collect();
    let last = &calls[calls.len().saturating_sub(TOLD)..];
    format!("\n  the last calls:{}", last.concat())
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the test bed's own kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("our own kubeconfig is whole")).expect("and makes a client")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A failed assertion elsewhere leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts at the door of EKS has changed, and whoever changed it waits.
    async fn door_changed(&self, door: Door, what: &str) -> kube::Result<()> {
        self.read_anew().await?;
        let mut state = self.state();
        // What was done at the API server before, was done while the old door counted.
        state.judge_now();
        state.scene.door = Arc::new(door);
        state.happened(what);
        state.judge_now();
        Ok(())
    }

    /// Reads aws-auth and the bindings as they stand.
    async fn read_anew(&self) -> kube::Result<()> {
        tokio::try_join!(
            self.list::<ConfigMap>(),
            self.list::<ClusterRoleBinding>(),
            self.list::<RoleBinding>()
        )?;
        Ok(())
    }

    async fn list<K: Watched>(&self) -> kube::Result<()> {
        let list = K::api(&self.client).list(&K::params()).await?;
        let version = number(list.metadata.resource_version.as_deref());
        let mut state = self.state();
        let door = Arc::clone(&state.scene.door);
        let kept = K::kept(&mut state);
        if version <= kept.version {
            return Ok(());
        }
        kept.passed.push((kept.version, version, door));
        kept.version = version;
        let objects = list.items.into_iter().map(|it| (key(&it), it)).collect();
        if versions(&objects) != versions(&kept.objects) {
            kept.objects = objects;
            state.kept_changed::<K>();
        }
        Ok(())
    }

    /// Takes in every version of every object of a kind, and judges after each.
    async fn watch<K: Watched>(self: Arc<Self>) {
        loop {
            let version = K::kept(&mut self.state()).version.to_string();
            let params = WatchParams {
                field_selector: K::params().field_selector,
                ..WatchParams::default()
            };
            if let Ok(events) = K::api(&self.client).watch(&params, &version).await {
                let mut events = events.boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    match event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                            self.seen(object, true);
                        }
                        WatchEvent::Deleted(object) => self.seen(object, false),
                        WatchEvent::Bookmark(_) => {}
                        // Too old a version: from the present one on, then.
                        WatchEvent::Error(_) => {
                            let _ = self.list::<K>().await;
                            break;
                        }
                    }
                }
            }
            // Watches end by themselves after some minutes, and with the API server, which is not to be pestered.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn seen<K: Watched>(&self, object: K, stands: bool) {
        let version = number(object.meta().resource_version.as_deref());
        let verb = if stands { "written" } else { "deleted" };
        let (kind, name) = (K::kind(&()), object.name_any());
        let what = format!("{kind} {name} {verb} (version {version})");
        let mut state = self.state();
        let now = state.scene.clone();
        let kept = K::kept(&mut state);
        let standing = kept.objects.clone();
        // A listing has what came later, perhaps not this.
        let passed = if version <= kept.version {
            let within = |(from, to, _): &&(u64, u64, Arc<Door>)| *from < version && version < *to;
            let Some((.., door)) = kept.passed.iter().find(within) else {
                return;
            };
            Some(Arc::clone(door))
        } else {
            kept.version = version;
            kept.passed.clear();
            None
        };
        if stands {
            kept.objects.insert(key(&object), object);
        } else {
            kept.objects.remove(&key(&object));
        }
        state.kept_changed::<K>();
        state.happened(&what);
        if let Some(door) = passed {
            state.scene.door = door;
            state.judge_now();
            K::kept(&mut state).objects = standing;
            state.scene = now;
        }
        state.judge_now();
    }
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self {
            version: 0,
            objects: BTreeMap::new(),
            passed: Vec::new(),
        }
    }
}

impl<K: Clone> Kept<K> {
    fn all(&self) -> Vec<K> {
        self.objects.values().cloned().collect()
    }
}

impl State {
    fn kept_changed<K: Watched>(&mut self) {
        if K::kind(&()) == ConfigMap::kind(&()) {
            let standing = self.config_maps.objects.values().next();
            let data = standing.and_then(|it| it.data.clone());
            self.scene.aws_auth = Arc::new(Document::parse(&data.unwrap_or_default()));
        } else {
            let objects = Objects {
                cluster_roles: self.cluster_roles.all(),
                cluster_role_bindings: self.cluster_role_bindings.all(),
                roles: self.roles.all(),
                role_bindings: self.role_bindings.all(),
            };
            self.scene.rbac = Arc::new(Rbac::new(&objects));
        }
    }

    fn happened(&mut self, what: &str) {
        self.happenings
            .push_back(format!("{} {what}", Timestamp::now()));
        if self.happenings.len() > TOLD {
            self.happenings.pop_front();
        }
    }

    /// Looks at everyone, and tells the story of each new loss.
    fn judge_now(&mut self) {
        self.evaluations += 1;
        let index = Index::new(&self.scene.aws_auth);
        for (name, person) in &mut self.people {
            let seen = see(&self.scene, &index, &person.caller, Some(&person.seen));
            let before = std::mem::replace(&mut person.seen, seen);
            let fallen = person.lacks();
            if fallen && !person.fallen {
                self.losses.push(Loss {
                    time: self.scene.door.time,
                    name: name.clone(),
                    story: story(name, person, &before, &self.happenings),
                });
            }
            person.fallen = fallen;
        }
    }
}

impl Person {
    fn lacks(&self) -> bool {
        let floor = self.floor.as_ref();
        floor.is_some_and(|floor| !self.seen.power.covers(floor))
    }
}

/// What somebody may do in a scene. The last look is good for as long as they are the same to the same roles and bindings.
fn see(scene: &Scene, aws_auth: &Index<'_>, caller: &Caller, last: Option<&Seen>) -> Seen {
    let login = scene.login_by(aws_auth, caller);
    let last = last.filter(|last| last.login == login && Arc::ptr_eq(&last.rbac, &scene.rbac));
    Seen {
        power: last.map_or_else(
            || scene.power_by(login.as_deref()),
            |last| last.power.clone(),
        ),
        login,
        rbac: Arc::clone(&scene.rbac),
    }
}

fn nothing() -> Document {
    Document::parse(&BTreeMap::new())
}

fn story(name: &str, person: &Person, before: &Seen, happenings: &VecDeque<String>) -> String {
    let lacking = person
        .floor
        .as_ref()
        .map(|floor| person.seen.power.lacks(floor))
        .unwrap_or_default();
    let mut story = format!(
        "{}: {name} ({}) is without power that they had\n  before: {}\n  now:    {}\n  lacking {}:",
        Timestamp::now(),
        person.caller.arn,
        told(&before.login),
        told(&person.seen.login),
        lacking.len()
    );
    for grant in lacking.iter().take(TOLD) {
        let _ = write!(story, "\n    {grant}");
    }
    story.push_str("\n  what happened last:");
    for happening in happenings {
        let _ = write!(story, "\n    {happening}");
    }
    story
}

fn told(login: &Result<Vec<Identity>, Refused>) -> String {
    match login {
        Ok(identities) => {
            let identities: Vec<String> = identities.iter().map(Identity::to_string).collect();
            identities.join(", or by chance ")
        }
        Err(Refused(why)) => format!("not let in: {why}"),
    }
}

fn versions<K: Resource>(objects: &BTreeMap<(String, String), K>) -> Vec<Option<&String>> {
    let versions = objects
        .values()
        .map(|it| it.meta().resource_version.as_ref());
    versions.collect()
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn number(version: Option<&str>) -> u64 {
    let version = version.expect("an API server gives versions");
    version.parse().expect("an API server counts versions")
}
