//! The moment at which a process dies, chosen by what it has done: nothing of it gets through from then on.
//!
//! The stand-in for AWS and the proxy before the API server count the effects that pass them. At the one that is chosen both fall silent: before it, the request goes no further; after it, no answer goes back. The test then kills the
//! process, which for everyone else has ended at exactly that point, and opens the gate for the next one. Connections of the one
//! before stay shut, so nothing that it left in a buffer takes effect later.

use std::sync::Arc;

use tokio::sync::watch;

/// Before or after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The request was sent and has no effect.
    Before,
    /// It had its effect, and the answer is lost.
    After,
}

/// Where a process is to die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The effect, by its name.
    pub(crate) effect: String,
    /// The first of that name is 1.
    pub(crate) nth: usize,
    /// On which side of it.
    pub(crate) side: Side,
}

/// What all requests of a process pass. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many processes there were before.
    process: u64,
    closed: bool,
    /// Whether it has closed since it was armed.
    struck: bool,
    armed: Option<Point>,
    effects: Vec<String>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Gate {
    /// What a connection that is made now passes by.
    pub(crate) fn connection(&self) -> Connection {
        Connection {
            gate: self.clone(),
            process: self.0.borrow().process,
        }
    }

    /// Counts from here on, and closes at this point.
    pub(crate) fn arm(&self, point: Option<Point>) {
        self.0.send_modify(|state| {
            state.effects.clear();
            state.struck = false;
            state.armed = point;
        });
    }

    /// The effects that were counted, in order.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.0.borrow().effects.clone()
    }

    /// Whether it has closed since it was armed.
    pub(crate) fn struck(&self) -> bool {
        self.0.borrow().struck
    }

    /// Waits until it closes.
    pub(crate) async fn closed(&self) {
        let mut state = self.0.subscribe();
        let closed = state.wait_for(|state| state.closed).await;
        drop(closed.expect("the sender is held here"));
    }

    /// Opens it for the next process. Counting goes on.
    pub(crate) fn open(&self) {
        self.0.send_modify(|state| {
            state.process += 1;
            state.closed = false;
            state.armed = None;
        });
    }
}

/// One connection of a process.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    gate: Gate,
    process: u64,
}

impl Connection {
    /// Whether a request may go on, which asks for this effect, or for none.
    #[must_use]
    pub(crate) fn admits(&self, effect: Option<&str>) -> bool {
        self.passes(|state| {
            let Some(effect) = effect else {
                return;
            };
            let next = 1 + count(state, effect);
            state.closed = is_at(state, effect, next, Side::Before);
        })
    }

    /// Counts an effect that a request had. Whether its answer may go back.
    #[must_use]
    pub(crate) fn had(&self, effect: &str) -> bool {
        self.passes(|state| {
            state.effects.push(effect.to_owned());
            let nth = count(state, effect);
            state.closed = is_at(state, effect, nth, Side::After);
        })
    }

    /// What happens at a gate that is open for this connection, and whether it is open afterwards.
    fn passes(&self, happens: impl FnOnce(&mut State)) -> bool {
        let mut open = false;
        self.gate.0.send_modify(|state| {
            if state.process == self.process && !state.closed {
                happens(state);
                state.struck |= state.closed;
                open = !state.closed;
            }
        });
        open
    }
}

fn count(state: &State, effect: &str) -> usize {
    state.effects.iter().filter(|it| *it == effect).count()
}

fn is_at(state: &State, effect: &str, nth: usize, side: Side) -> bool {
    let armed = state.armed.as_ref();
    armed.is_some_and(|point| point.effect == effect && point.nth == nth && point.side == side)
}
