//! People who keep logging in on the way, by the real authenticator: each second, with a new token.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock};

use super::cast::{self, Cast, Course};
use crate::logins::enters;
use crate::support::eks::{Caller, Eks, Mode};
use crate::support::power::{Grant, Place, Power};
use crate::support::{Cluster, Logins, eventually};

/// How many they are.
const COUNT: usize = 20;
/// For an authenticator that builds its chain of backends anew.
const SOON: Duration = Duration::from_secs(30);

/// Those who come.
pub(super) struct Visitors {
    logins: Logins,
    people: Vec<Visitor>,
    /// Held by those who are at the door, and closed while the mode is switched: the authenticator forgets everyone for some
    /// milliseconds then, which is no doing of the operator.
    door: RwLock<()>,
    visits: AtomicUsize,
    refusals: Mutex<Vec<String>>,
}

struct Visitor {
    name: String,
    caller: Caller,
    /// What they could do, and are to be able to do all the time, as attributes of access reviews.
    rights: OnceCell<Vec<Value>>,
    /// Who they were at first.
    username: OnceCell<String>,
}

fn of_cast(caller: &crate::support::power::Caller) -> Caller {
    Caller {
        arn: caller.arn.clone(),
        account: caller.arn.split(':').nth(4).unwrap_or_default().to_owned(),
        user_id: caller.user_id.clone(),
        token: None,
        expires: None,
    }
}

impl Visitors {
    /// Some of each sort of those who are to lose nothing at any time.
    pub(super) async fn of(cast: &Cast, cluster: &Cluster, eks: &Eks) -> Self {
        let keeping = |course| matches!(course, Course::Moves | Course::Doubles);
        let parts: Vec<_> = cast
            .parts
            .iter()
            .filter(|part| keeping(part.course))
            .collect();
        let step = parts.len() / COUNT;
        let people = parts
            .into_iter()
            .step_by(step)
            .take(COUNT)
            .map(|part| Visitor {
                name: part.name.clone(),
                caller: of_cast(&part.caller),
                rights: OnceCell::new(),
                username: OnceCell::new(),
            });
        Self {
            people: people.collect(),
            logins: Logins::start(cluster, eks).await,
            door: RwLock::new(()),
            visits: AtomicUsize::new(0),
            refusals: Mutex::default(),
        }
    }

    /// Has somebody come from now on, if they are among the visitors: with this power, which they must not fall below.
    pub(super) fn expect(&self, name: &str, power: &Power) {
        let Some(visitor) = self.people.iter().find(|it| it.name == name) else {
            return;
        };
        let rights = if power.is_everything() {
            vec![
                json!({"resourceAttributes": {"verb": "delete", "resource": "nodes"}}),
                json!({"resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "kube-system"}}),
                json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}),
            ]
        } else {
            let rights = power.grants().filter_map(|grant| match grant {
                Grant::Resource {
                    place: Place::Cluster,
                    verb,
                    group,
                    resource,
                    name: None,
                } if verb != "*" && group.is_empty() => {
                    Some(json!({"resourceAttributes": {"verb": verb, "resource": resource}}))
                }
                _ => None,
            });
            rights.take(2).collect()
        };
        visitor
            .rights
            .set(rights)
            .expect("nobody is expected twice");
    }

    /// They come each second, for ever.
    pub(super) async fn come(&self, eks: &Eks) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            let _at_the_door = self.door.read().await;
            let expected = self.people.iter().filter(|it| it.rights.initialized());
            futures::future::join_all(expected.map(|visitor| async {
                self.visits.fetch_add(1, Ordering::Relaxed);
                if let Err(what) = self.visit(eks, visitor).await {
                    let story = format!("{} {}: {what}", jiff::Timestamp::now(), visitor.name);
                    self.refusals.lock().unwrap().push(story);
                }
            }))
            .await;
        }
    }

    async fn visit(&self, eks: &Eks, visitor: &Visitor) -> Result<(), String> {
        let token = eks.token(&visitor.caller);
        let user = self.logins.who(&token).await;
        let user = user.map_err(|denied| format!("{denied:?}"))?;
        let username = user.username.unwrap_or_default();
        let first = visitor
            .username
            .get_or_init(|| async { username.clone() })
            .await;
        if *first != username {
            return Err(format!("{username} was {first}"));
        }
        for right in visitor.rights.get().into_iter().flatten() {
            let allowed = self.logins.may(&token, right).await;
            if allowed != Ok(true) {
                return Err(format!("{right}: {allowed:?}"));
            }
        }
        Ok(())
    }

    /// Does what switches the mode to this one while nobody is at the door, and waits until the authenticator reads what counts then.
    pub(super) async fn while_closed(
        &self,
        eks: &Eks,
        mode: Mode,
        switch: impl Future<Output = ()>,
    ) {
        let _closed = self.door.write().await;
        switch.await;
        // The first comes in by an access entry alone, the second by aws-auth alone.
        let [creator, ops] =
            ["Creator", "Ops"].map(|name| eks.world().session(cast::ACCOUNT, name, "x"));
        eventually("the authenticator follows the mode", SOON, async || {
            let by_entry = enters(&self.logins, eks, &creator).await.is_some();
            let by_map = enters(&self.logins, eks, &ops).await.is_some();
            let seen = (by_entry, by_map);
            let wanted = (mode != Mode::ConfigMap, mode != Mode::Api);
            if seen == wanted {
                Ok(())
            } else {
                Err((seen, wanted))
            }
        })
        .await;
        for visitor in &self.people {
            eventually("it knows them too", SOON, async || {
                enters(&self.logins, eks, &visitor.caller).await.is_some()
            })
            .await;
        }
    }

    /// Nobody was refused, or weaker than before.
    pub(super) fn acquit(&self) {
        let refusals = self.refusals.lock().unwrap();
        assert!(refusals.is_empty(), "{}", refusals.join("\n"));
        let visits = self.visits.load(Ordering::Relaxed);
        assert!(visits >= 60 * COUNT, "only {visits} visits");
        let rights = self.people.iter().filter_map(|it| it.rights.get());
        let asked: usize = rights.map(Vec::len).sum();
        assert!(asked > COUNT, "only {asked} rights are asked for");
    }
}
