//! The moment at which a process dies, chosen by what it has done: nothing of it gets through from then on.
//!
//! The stand-in for AWS and the proxy before the API server count the effects that pass them. At the one that is chosen both fall silent: before it, the request goes no further; after it, no answer goes back. The test then kills the
//! process, which for everyone else has ended at exactly that point, and opens the gate for the next one. Connections of the one
//! before stay shut, so nothing that it left in a buffer takes effect later. A standby passes [beside](Gate::beside) it: what it does
//! is counted, and it does not die.

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
pub(crate) struct Gate {
    state: Arc<watch::Sender<State>>,
    /// Whether those who pass here live on.
    beside: bool,
}

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
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            beside: false,
        }
    }
}

impl Gate {
    /// The same gate for processes that never die at it.
    pub(crate) fn beside(&self) -> Self {
        Self {
            beside: true,
            ..self.clone()
        }
    }

    /// What a connection that is made now passes by.
    pub(crate) fn connection(&self) -> Connection {
        Connection {
            gate: self.clone(),
            process: self.state.borrow().process,
        }
    }

    /// Counts from here on, and closes at this point.
    pub(crate) fn arm(&self, point: Option<Point>) {
        self.state.send_modify(|state| {
            state.effects.clear();
            state.struck = false;
            state.armed = point;
        });
    }

    /// The effects that were counted, in order.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.state.borrow().effects.clone()
    }

    /// Whether it has closed since it was armed.
    pub(crate) fn struck(&self) -> bool {
        self.state.borrow().struck
    }

    /// Waits until it closes for the process that passes it now. Whoever is late finds it open for the next one.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut state = self.state.subscribe();
        let process = state.borrow().process;
        let sender = self.state.clone();
        async move {
            let closed = state.wait_for(|state| state.closed || state.process != process);
            drop(closed.await.expect("the sender is held here"));
            drop(sender);
        }
    }

    /// Opens it for the next process. Counting goes on.
    pub(crate) fn open(&self) {
        self.state.send_modify(|state| {
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
        self.gate.state.send_modify(|state| {
            if self.gate.beside {
                let closed = state.closed;
                happens(state);
                state.closed = closed;
                open = true;
            } else if state.process == self.process && !state.closed {
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
