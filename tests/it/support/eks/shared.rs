//! What the server, its clock and the test share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, broadcast};

use super::Service;
use super::gate::Gate;
use super::knobs::{Knobs, signed};
use super::log::Log;
use super::world::{Change, World};

type Observer = Box<dyn FnMut(&World, &Change) + Send>;

/// Everything, behind locks that are taken in the order of the fields.
pub(super) struct Shared {
    world: Mutex<World>,
    knobs: Mutex<Knobs>,
    log: Mutex<Log>,
    observers: Mutex<Vec<Observer>>,
    gate: Mutex<Gate>,
    /// How far time was advanced.
    ahead: Mutex<SignedDuration>,
    /// Told of every change.
    pub(super) changes: broadcast::Sender<Change>,
    /// Woken when a message arrives in a queue.
    pub(super) woken: Notify,
    /// Woken when something may be due.
    due: Notify,
    /// Where the services listen.
    pub(super) addresses: BTreeMap<Service, SocketAddr>,
}

/// The world, locked. What became due before is in force.
pub(crate) struct WorldGuard<'a> {
    world: MutexGuard<'a, World>,
    shared: &'a Shared,
    touched: bool,
    arrived: u64,
}

/// A test that failed while it held a lock has failed already; the others want to say why, too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            knobs: Mutex::default(),
            log: Mutex::default(),
            observers: Mutex::default(),
            gate: Mutex::default(),
            ahead: Mutex::default(),
            changes: broadcast::channel(4096).0,
            woken: Notify::new(),
            due: Notify::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// The stand-in's time, which is the machine's unless it was advanced.
    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(*lock(&self.ahead)).unwrap_or(now)
    }

    pub(super) fn world(&self) -> WorldGuard<'_> {
        let mut world = lock(&self.world);
        // Two calls in one instant would be told apart by nobody, and time does not go back.
        let now = self.now().max(world.now);
        while let Some(due) = world.next_due().filter(|due| *due <= now) {
            world.now = due.max(world.now);
            self.settle(&mut world);
        }
        world.now = now;
        WorldGuard {
            arrived: world.arrived,
            world,
            shared: self,
            touched: false,
        }
    }

    pub(super) fn knobs(&self) -> MutexGuard<'_, Knobs> {
        lock(&self.knobs)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }

    pub(super) fn observe(&self, observer: Observer) {
        lock(&self.observers).push(observer);
    }

    pub(super) fn advance(&self, time: Duration) {
        *lock(&self.ahead) += signed(time);
        drop(self.world());
        self.woken.notify_waiters();
        self.due.notify_one();
    }

    pub(super) fn queue_url(&self, account: &str, name: &str) -> String {
        format!("http://{}/{account}/{name}", self.addresses[&Service::Sqs])
    }

    /// Tells of what changed, and lets what is due come into force.
    fn settle(&self, world: &mut World) {
        while let Some(change) = world.take_change().or_else(|| world.settle()) {
            for observer in lock(&self.observers).iter_mut() {
                observer(world, &change);
            }
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
    }
}

impl Deref for WorldGuard<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for WorldGuard<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.touched = true;
        &mut self.world
    }
}

impl Drop for WorldGuard<'_> {
    fn drop(&mut self) {
        if self.touched {
            self.shared.settle(&mut self.world);
            // Whoever waits looks at the world too, and must not wake itself.
            if self.world.arrived != self.arrived {
                self.shared.woken.notify_waiters();
            }
            self.shared.due.notify_one();
        }
    }
}

/// Lets what is due come into force in time, also while nobody calls.
pub(super) async fn tick(shared: Arc<Shared>) {
    loop {
        let next = shared.world().next_due();
        let left = next.map(|due| due.duration_since(shared.now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        let pause = left.unwrap_or(Duration::from_hours(1));
        // Whichever comes first: either way the loop looks again.
        let _ = tokio::time::timeout(pause, shared.due.notified()).await;
    }
}
