//! Watches everyone whom it is told of, and tells who was ever without the power that they had.
//!
//! What counts at the door of EKS is asked of the stand-in, aws-auth and RBAC are watched. So that no gap between two steps
//! escapes it, however short, the stand-in lets it look at two moments of each call that changes something: before the effect
//! ([`Witness::before_call`]), when all that the caller did before is done, and after it ([`Witness::changed`]), when the
//! caller still waits for the answer. Both read the API server anew where that matters; between them, watches see each version
//! of aws-auth and of every binding.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use identity_mapper::aws_auth::{Document, Index};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{Caller, Door, Identity, Objects, Power, Rbac, Refused, Scene};

/// So many of the last happenings, and of the things that somebody lacks, are told.
const TOLD: usize = 12;

/// Watches for as long as it lives.
pub(crate) struct Witness {
    shared: Arc<Shared>,
    _watches: JoinSet<()>,
}

/// What is seen from the calls of the stand-in too.
#[derive(Clone)]
pub(crate) struct Eye(Arc<Shared>);

struct Shared {
    client: Client,
    door: Box<dyn Fn() -> Door + Send + Sync>,
    calls: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// When the last whole reading of the API server began.
    reading: tokio::sync::Mutex<Option<Instant>>,
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
    losses: Vec<String>,
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
    /// aws-auth in this version, where the object is that.
    fn aws_auth(&self) -> Option<Document> {
        None
    }
}

impl Watched for ConfigMap {
    fn aws_auth(&self) -> Option<Document> {
        Some(Document::parse(&self.data.clone().unwrap_or_default()))
    }
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
    /// Reads everything, and watches it from then on. `door` tells what counts at the door of EKS at the moment, `calls` the
    /// last calls of EKS's API.
    pub(crate) async fn start(
        client: Client,
        instances: BTreeMap<String, String>,
        door: impl Fn() -> Door + Send + Sync + 'static,
        calls: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        let scene = Scene {
            door: Arc::new(door()),
            aws_auth: Arc::new(nothing()),
            rbac: Arc::default(),
            instances: Arc::new(instances),
        };
        let state = State {
            config_maps: Kept::default(),
            cluster_roles: Kept::default(),
            cluster_role_bindings: Kept::default(),
            roles: Kept::default(),
            role_bindings: Kept::default(),
            scene,
            people: BTreeMap::new(),
            happenings: VecDeque::new(),
            losses: Vec::new(),
            evaluations: 0,
        };
        let shared = Arc::new(Shared {
            client,
            door: Box::new(door),
            calls: Box::new(calls),
            reading: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        });
        shared.list::<ClusterRole>().await;
        shared.list::<Role>().await;
        shared.read_anew().await;
        let mut watches = JoinSet::new();
        watches.spawn(Arc::clone(&shared).watch::<ConfigMap>());
        watches.spawn(Arc::clone(&shared).watch::<ClusterRole>());
        watches.spawn(Arc::clone(&shared).watch::<ClusterRoleBinding>());
        watches.spawn(Arc::clone(&shared).watch::<Role>());
        watches.spawn(Arc::clone(&shared).watch::<RoleBinding>());
        Self {
            shared,
            _watches: watches,
        }
    }

    /// What the stand-in calls.
    pub(crate) fn eye(&self) -> Eye {
        Eye(Arc::clone(&self.shared))
    }

    /// Watches somebody from now on: they must never fall below what they may do now, which is given back.
    pub(crate) async fn keep(&self, name: &str, caller: Caller) -> Power {
        self.shared.read_anew().await;
        let door = Arc::new((self.shared.door)());
        let mut state = self.shared.state();
        state.scene.door = door;
        let seen = see(
            &state.scene,
            &Index::new(&state.scene.aws_auth),
            &caller,
            None,
        );
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
        self.shared.look("asked").await;
        let state = self.shared.state();
        let seen = state.people[name].seen.clone();
        (seen.login, seen.power)
    }

    /// How often everyone was looked at.
    pub(crate) fn evaluations(&self) -> u64 {
        self.shared.state().evaluations
    }

    /// The story of each loss, in order.
    pub(crate) async fn losses(&self) -> Vec<String> {
        self.shared.look("the end").await;
        self.shared.state().losses.clone()
    }

    /// Panics with the stories where anyone was ever without the power that they had.
    pub(crate) async fn acquit(&self) {
        let losses = self.losses().await;
        assert!(
            losses.is_empty(),
            "{} losses of power:\n\n{}",
            losses.len(),
            losses.join("\n\n")
        );
    }
}

impl Eye {
    /// A call that changes something has come, and has done nothing yet.
    pub(crate) async fn before_call(&self) {
        self.0.look("a call came").await;
    }

    /// Something changed at the door of EKS; the caller, if any, has no answer yet.
    pub(crate) async fn changed(&self, what: &str) {
        let door = Arc::new((self.0.door)());
        let falls = {
            let mut state = self.0.state();
            state.scene.door = Arc::clone(&door);
            state.happened(what);
            state.falls(&state.scene)
        };
        if falls {
            // The watches may be behind: what was written before this call has been, but may not have been told.
            self.0.read_anew().await;
        }
        let mut state = self.0.state();
        let scene = Scene {
            door,
            ..state.scene.clone()
        };
        state.judge(&scene, &self.0.calls);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A failed assertion elsewhere leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the API server and the door anew, and judges.
    async fn look(&self, why: &str) {
        self.read_anew().await;
        let door = Arc::new((self.door)());
        let mut state = self.state();
        state.scene.door = door;
        state.happened(why);
        state.judge_now(&self.calls);
    }

    /// Reads aws-auth and the bindings as they stand, unless a reading began after this was asked for.
    async fn read_anew(&self) {
        let asked = Instant::now();
        let mut last = self.reading.lock().await;
        if last.is_some_and(|began| began > asked) {
            return;
        }
        let began = Instant::now();
        self.list::<ConfigMap>().await;
        self.list::<ClusterRoleBinding>().await;
        self.list::<RoleBinding>().await;
        *last = Some(began);
    }

    async fn list<K: Watched>(&self) {
        let door = Arc::new((self.door)());
        let list = K::api(&self.client).list(&K::params()).await;
        let list = list.expect("the API server answers its administrator");
        let version = number(list.metadata.resource_version.as_deref());
        let mut state = self.state();
        let kept = K::kept(&mut state);
        if version > kept.version {
            kept.passed.push((kept.version, version, door));
            kept.version = version;
            kept.objects = list.items.into_iter().map(|it| (key(&it), it)).collect();
            state.kept_changed::<K>();
        }
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
                        WatchEvent::Error(_) => break,
                    }
                }
            }
            // Watches end by themselves after some minutes, and with the API server.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn seen<K: Watched>(&self, object: K, stands: bool) {
        let version = number(object.meta().resource_version.as_deref());
        let door = Arc::new((self.door)());
        let mut state = self.state();
        let verb = if stands { "written" } else { "deleted" };
        let what = format!(
            "{} {} {verb} (version {version})",
            K::kind(&()),
            object.name_any()
        );
        let kept = K::kept(&mut state);
        if version <= kept.version {
            // A listing has what came later, perhaps not this.
            let between = |(from, to, _): &&(u64, u64, Arc<Door>)| *from < version && version < *to;
            let door = kept
                .passed
                .iter()
                .find(between)
                .map(|(.., door)| Arc::clone(door));
            let aws_auth = object.aws_auth().filter(|_| stands).unwrap_or_else(nothing);
            if let Some(door) = door
                && K::kind(&()) == ConfigMap::kind(&())
            {
                let scene = Scene {
                    door,
                    aws_auth: Arc::new(aws_auth),
                    ..state.scene.clone()
                };
                state.happened(&what);
                state.judge(&scene, &self.calls);
                state.judge_now(&self.calls);
            }
            return;
        }
        kept.version = version;
        kept.passed.clear();
        if stands {
            kept.objects.insert(key(&object), object);
        } else {
            kept.objects.remove(&key(&object));
        }
        state.kept_changed::<K>();
        state.scene.door = door;
        state.happened(&what);
        state.judge_now(&self.calls);
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
            let document = standing.and_then(Watched::aws_auth);
            self.scene.aws_auth = Arc::new(document.unwrap_or_else(nothing));
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

    /// Whether anyone would fall below what they had in this scene.
    fn falls(&self, scene: &Scene) -> bool {
        let index = Index::new(&scene.aws_auth);
        self.people.values().any(|person| {
            let seen = see(scene, &index, &person.caller, Some(&person.seen));
            person.lacks(&seen.power)
        })
    }

    fn judge_now(&mut self, calls: &dyn Fn() -> Vec<String>) {
        self.judge(&self.scene.clone(), calls);
    }

    /// Looks at everyone in a scene that was, and tells the story of each new loss.
    fn judge(&mut self, scene: &Scene, calls: &dyn Fn() -> Vec<String>) {
        self.evaluations += 1;
        let index = Index::new(&scene.aws_auth);
        for (name, person) in &mut self.people {
            let seen = see(scene, &index, &person.caller, Some(&person.seen));
            let before = std::mem::replace(&mut person.seen, seen);
            let fallen = person.lacks(&person.seen.power);
            if fallen && !person.fallen {
                let told = story(name, person, &before, &self.happenings, &calls());
                self.losses.push(told);
            }
            person.fallen = fallen;
        }
    }
}

impl Person {
    fn lacks(&self, power: &Power) -> bool {
        self.floor
            .as_ref()
            .is_some_and(|floor| !power.covers(floor))
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

fn story(
    name: &str,
    person: &Person,
    before: &Seen,
    happenings: &VecDeque<String>,
    calls: &[String],
) -> String {
    let lacking = person
        .floor
        .as_ref()
        .map(|floor| person.seen.power.lacks(floor));
    let lacking = lacking.unwrap_or_default();
    let mut story = format!(
        "{}: {name} ({}) lost power\n  before: {}\n  now:    {}\n  lacking {}:",
        Timestamp::now(),
        person.caller.arn,
        told(&before.login),
        told(&person.seen.login),
        lacking.len()
    );
    for grant in lacking.iter().take(TOLD) {
        let _ = write!(story, "\n    {grant}");
    }
    for (title, lines) in [
        (
            "what happened last",
            happenings.iter().cloned().collect::<Vec<_>>(),
        ),
        ("the last calls", calls.to_vec()),
    ] {
        let _ = write!(story, "\n  {title}:");
        for line in &lines[lines.len().saturating_sub(TOLD)..] {
            let _ = write!(story, "\n    {line}");
        }
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

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn number(version: Option<&str>) -> u64 {
    let version = version.expect("an API server gives versions");
    version.parse().expect("an API server counts versions")
}
