//! People who keep logging in on the way, by the real authenticator: each second, with a new token, and more often while the
//! mode is switched.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::MissedTickBehavior;

use super::cast::{self, Cast, Course};
use crate::logins::enters;
use crate::support::eks::{Caller, Eks, Mode};
use crate::support::power::{Grant, Place, Power};
use crate::support::{Cluster, Logins, eventually};

/// How many they are.
const COUNT: usize = 20;
/// How long the authenticator may know nobody: when the mode changes it builds its chain of backends anew, and each of them is empty
/// until it has read what it reads. That is no doing of the operator.
const RELOAD: Duration = Duration::from_secs(2);
/// How often they come while the mode is switched.
const OFTEN: Duration = Duration::from_millis(200);
/// For what takes milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(30);

/// Those who come.
pub(super) struct Visitors {
    logins: Logins,
    people: Vec<Visitor>,
    /// They come often.
    often: AtomicBool,
    visits: AtomicUsize,
    refusals: Mutex<Vec<Refusal>>,
    /// From when to when the authenticator was reading a new mode.
    reloads: Mutex<Vec<(Instant, Instant)>>,
}

/// Somebody was refused, or was weaker than before.
struct Refusal {
    began: Instant,
    ended: Instant,
    story: String,
}

struct Visitor {
    name: String,
    caller: Caller,
    /// Whether it is a node, whose rights are none of RBAC's.
    node: bool,
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
                node: part.course == Course::Doubles,
                rights: OnceCell::new(),
                username: OnceCell::new(),
            });
        Self {
            people: people.collect(),
            logins: Logins::start(cluster, eks).await,
            often: AtomicBool::new(false),
            visits: AtomicUsize::new(0),
            refusals: Mutex::default(),
            reloads: Mutex::default(),
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

    /// They come each second, and often where asked for, for ever.
    pub(super) async fn come(&self, eks: &Eks) {
        let mut beat = tokio::time::interval(OFTEN);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Instant> = None;
        loop {
            beat.tick().await;
            let due = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
            if !due && !self.often.load(Ordering::Relaxed) {
                continue;
            }
            last = Some(Instant::now());
            let expected = self.people.iter().filter(|it| it.rights.initialized());
            futures::future::join_all(expected.map(|visitor| async {
                let began = Instant::now();
                let result = self.visit(eks, visitor).await;
                self.visits.fetch_add(1, Ordering::Relaxed);
                if let Err(what) = result {
                    self.refusals.lock().unwrap().push(Refusal {
                        began,
                        ended: Instant::now(),
                        story: format!("{} {}: {what}", jiff::Timestamp::now(), visitor.name),
                    });
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

    /// Does what switches the mode to this one, while they keep coming. They may be refused from the moment at which the authenticator
    /// is given the mode until it has read all that counts in it, and not later: that takes at most [`RELOAD`].
    pub(super) async fn through(&self, eks: &Eks, mode: Mode, switch: impl Future<Output = ()>) {
        let before = self.logins.mode_written();
        self.often.store(true, Ordering::Relaxed);
        switch.await;
        eventually("the authenticator is given the mode", SOON, async || {
            self.logins.mode_written() > before
        })
        .await;
        let written = self.logins.mode_written();
        // The first comes in by an access entry alone, the second by aws-auth alone.
        let [creator, ops] =
            ["Creator", "Ops"].map(|name| eks.world().session(cast::ACCOUNT, name, "x"));
        let left = RELOAD.saturating_sub(written.elapsed());
        eventually("the authenticator follows the mode", left, async || {
            // Whichever of the two tells the new chain from the old one, the other is asked after it: of the new chain.
            let first_by_map = enters(&self.logins, eks, &ops).await.is_some();
            let by_entry = enters(&self.logins, eks, &creator).await.is_some();
            let by_map = enters(&self.logins, eks, &ops).await.is_some();
            let seen = (first_by_map, by_entry, by_map);
            let reads_map = mode != Mode::Api;
            let wanted = (reads_map, mode != Mode::ConfigMap, reads_map);
            if seen == wanted {
                Ok(())
            } else {
                Err((seen, wanted))
            }
        })
        .await;
        let reload = (written, Instant::now());
        self.reloads.lock().unwrap().push(reload);
        // What the operator does right after the switch shows while they come often.
        let seen = self.visits.load(Ordering::Relaxed);
        eventually("all have come several times since", SOON, async || {
            self.visits.load(Ordering::Relaxed) >= seen + 10 * COUNT
        })
        .await;
        self.often.store(false, Ordering::Relaxed);
    }

    /// Nobody was refused, or weaker than before, but for what an authenticator that reads a new mode does.
    pub(super) fn acquit(&self) {
        let reloads = self.reloads.lock().unwrap();
        assert_eq!(reloads.len(), 2, "both switches were watched");
        let refusals = self.refusals.lock().unwrap();
        let by_reload = |refusal: &&Refusal| {
            let mut reloads = reloads.iter();
            reloads.any(|(from, to)| refusal.ended >= *from && refusal.began <= *to)
        };
        let others = refusals.iter().filter(|it| !by_reload(it));
        let others: Vec<_> = others.map(|it| it.story.as_str()).collect();
        assert!(others.is_empty(), "{}", others.join("\n"));
        let visits = self.visits.load(Ordering::Relaxed);
        assert!(visits >= 60 * COUNT, "only {visits} visits");
        for visitor in &self.people {
            let rights = visitor.rights.get().map(Vec::len);
            assert!(
                visitor.node || rights > Some(0),
                "{} is asked for {rights:?} rights",
                visitor.name
            );
        }
        let people = self.people.iter().filter(|it| !it.node).count();
        assert!(people > COUNT / 2, "{people} people");
    }
}
