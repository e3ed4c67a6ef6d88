//! The steps of a run, and which of them are without faults.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};

use jiff::SignedDuration;

use super::World;
use super::act::Act;
use super::declared::Since;
use super::operator::Fate;

/// Nobody waits longer for a pass that is due by itself.
const HORIZON: SignedDuration = SignedDuration::from_hours(2);

/// One step. Calls are counted from the one that was sent first.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Act(Act),
    ReadCluster,
    /// Whether the listing shows what was half a minute ago.
    List {
        behind: bool,
    },
    Listed,
    Describe(String),
    Pass,
    Write(Fate),
    Post,
    Send,
    Effect {
        call: usize,
        twice: bool,
    },
    Answer(usize),
    GiveUp(usize),
    /// A call is held up until nothing else happens.
    Slow(usize),
    SlowPosts,
    /// What was held up is not any longer.
    GoOn,
    Die,
    /// Seconds pass.
    Later(i64),
    /// The operator's clock is set by so many seconds.
    Clock(i64),
}

impl World {
    /// Makes a step. What the operator does to a backend or a finalizer comes with what it was decided by.
    pub(super) fn make(&mut self, step: &Step) -> Option<Since> {
        self.turn();
        match step {
            Step::Act(act) => {
                if let Some(place) = self.script.iter().position(|it| it == act) {
                    self.script.remove(place);
                }
                // Two things that people do never happen at the same instant.
                self.pass_time(SignedDuration::from_millis(20));
                self.act(act);
            }
            Step::ReadCluster => self.read_cluster(),
            Step::List { behind } => self.list(*behind),
            Step::Listed => self.listed(),
            Step::Describe(principal) => self.describe(principal),
            Step::Pass => self.begin_pass(),
            Step::Write(fate) => return self.write(*fate),
            Step::Post => return self.post(),
            Step::Send => self.send_next(),
            Step::Effect { call, twice } => return self.effect(*call, *twice),
            Step::Answer(call) => self.answer(*call),
            Step::GiveUp(call) => self.give_up(*call),
            Step::Slow(call) => {
                if let Some(flight) = self.flights.get_mut(*call) {
                    flight.slow = true;
                }
            }
            Step::SlowPosts => self.operator.slow = true,
            Step::GoOn => {
                self.operator.slow = false;
                self.flights
                    .iter_mut()
                    .for_each(|flight| flight.slow = false);
            }
            Step::Die => self.die(),
            Step::Later(seconds) => {
                self.pass_time(SignedDuration::from_secs(*seconds));
                self.turn();
            }
            Step::Clock(seconds) => {
                self.skew = self
                    .skew
                    .saturating_add(SignedDuration::from_secs(*seconds));
                self.ledger.clock_set = true;
                self.turn();
            }
        }
        None
    }

    /// Whether a step can be made now.
    pub(super) fn can(&self, step: &Step) -> bool {
        let flight = |call: usize| self.flights.get(call);
        match step {
            Step::Act(_) | Step::ReadCluster | Step::Die | Step::Clock(_) => true,
            // The writes of a pass take seconds.
            Step::Later(seconds) => *seconds < 60 || !self.operator.passing(),
            Step::List { .. } => self.operator.reads_entries() && !self.operator.lists(),
            Step::Listed => self.operator.lists(),
            Step::Describe(principal) => self.to_describe().contains(principal),
            Step::Pass => self.may_pass(),
            Step::Write(_) => self.operator.passing(),
            Step::Post => self.operator.posts(),
            Step::Send => self.may_send(),
            Step::Effect { call, .. } => flight(*call).is_some_and(|it| it.answer.is_none()),
            Step::Answer(call) => {
                flight(*call).is_some_and(|it| it.answer.is_some() && it.abandoned.is_none())
            }
            Step::GiveUp(call) => flight(*call).is_some_and(|it| it.abandoned.is_none()),
            Step::Slow(call) => flight(*call).is_some_and(|it| !it.slow && it.abandoned.is_none()),
            Step::SlowPosts => self.operator.posts() && !self.operator.slow,
            Step::GoOn => self.operator.slow || self.flights.iter().any(|flight| flight.slow),
        }
    }

    /// What happens next where everything is quick and nothing is lost; `None` where nothing is left to happen.
    pub(super) fn kind(&self) -> Option<Step> {
        let operator = &self.operator;
        if operator.mode_unread {
            return Some(Step::ReadCluster);
        }
        if operator.lists() {
            return Some(Step::Listed);
        }
        let reads = operator.reads_entries();
        if reads && operator.never_listed() {
            return Some(Step::List { behind: false });
        }
        for (call, flight) in self.flights.iter().enumerate() {
            if flight.slow || flight.abandoned.is_some() {
                continue;
            }
            return Some(match flight.answer {
                Some(_) => Step::Answer(call),
                None => Step::Effect { call, twice: false },
            });
        }
        if operator.passing() {
            return Some(Step::Write(Fate::Done));
        }
        if self.may_send() {
            return Some(Step::Send);
        }
        if let Some(principal) = self.to_describe().into_iter().next().filter(|_| reads) {
            return Some(Step::Describe(principal));
        }
        if operator.posts() && !operator.slow {
            return Some(Step::Post);
        }
        if self.pass_is_due() {
            return Some(Step::Pass);
        }
        if reads && operator.news {
            return Some(Step::List { behind: false });
        }
        if let Some(act) = self.script.front() {
            return Some(Step::Act(act.clone()));
        }
        if self.can(&Step::GoOn) {
            return Some(Step::GoOn);
        }
        if let Some(call) = self
            .flights
            .iter()
            .position(|flight| flight.abandoned.is_some())
        {
            return Some(Step::Effect { call, twice: false });
        }
        let wake = self.next_wake()?;
        let ahead = wake.duration_since(self.clock());
        (ahead <= HORIZON).then(|| Step::Later(ahead.as_secs() + 1))
    }

    /// Every other step that is worth trying now.
    pub(super) fn unkind(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let kind = self.kind();
        if let Some(act) = self.script.front() {
            steps.push(Step::Act(act.clone()));
        }
        for (call, flight) in self.flights.iter().enumerate() {
            if flight.abandoned.is_some() {
                steps.push(Step::Effect { call, twice: false });
                continue;
            }
            steps.push(Step::Slow(call));
            steps.push(Step::GiveUp(call));
            if !flight.reads() {
                steps.push(Step::Effect { call, twice: true });
            }
        }
        if self.operator.passing() {
            steps.extend([Step::Write(Fate::Lost), Step::Write(Fate::Refused)]);
        }
        steps.extend([
            Step::SlowPosts,
            Step::List { behind: true },
            Step::Die,
            Step::Later(31),
            Step::Later(601),
            Step::Clock(-3600),
            Step::Clock(3600),
        ]);
        if self.operator.reads_entries() && !self.may_be_behind() {
            steps.retain(|step| *step != Step::List { behind: true });
        }
        steps.extend(self.to_describe().into_iter().map(Step::Describe));
        steps.retain(|step| Some(step) != kind.as_ref() && self.can(step));
        steps
    }

    /// Two worlds with one print have one future.
    pub(super) fn print(&self) -> u64 {
        let mut print = Print(DefaultHasher::new());
        // Writing to a hash does not fail.
        _ = write!(print, "{self:?}");
        print.0.finish()
    }
}

struct Print(DefaultHasher);

impl std::fmt::Write for Print {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
