//! Every schedule of two replicas, an API server and a network that departs so often from the one in which all is quick and nothing is
//! lost.

use std::collections::HashMap;
use std::mem;

use super::*;
use crate::error::Category;

/// What happens between two ticks happens at the later one.
const TICK: Duration = Duration::from_millis(500);
/// Longer than a Lease lasts.
const TICKS: u32 = LAST_DEPARTURE + 20 + 20;
/// No schedule departs after that: the replica that was stopped last goes on, and then a leader has the time that is promised.
const LAST_DEPARTURE: u32 = 16;

/// The environment variable that `make laws` raises.
const DEPARTURES: &str = "IDENTITY_MAPPER_DEPARTURES";

/// Ticks that a request or an answer may be on its way beside none at all: less than a request may take, longer than that, and longer than
/// a Lease.
const DELAYS: [u32; 3] = [1, 5, 18];
/// Ticks that a process may be stopped: shorter and longer than a Lease.
const STOPS: [u32; 2] = [8, 20];

#[derive(Clone, Debug)]
struct Request {
    replica: usize,
    process: u32,
    began: u32,
    step: LeaseStep,
    arrives: u32,
    /// Ticks of the answer; `None`: it is lost.
    way_back: Option<u32>,
}

#[derive(Clone, Debug)]
struct Answer {
    replica: usize,
    process: u32,
    began: u32,
    arrives: u32,
    found: Result<Option<LeaseRecord>, LeaseRefusal>,
}

#[derive(Clone, Debug)]
struct Process {
    /// How many ran before it in its place.
    number: u32,
    election: Election,
    waits: Option<(u32, LeaseStep)>,
    stopped_until: u32,
}

/// At one tick.
#[derive(Clone, Debug)]
struct Schedule {
    replicas: [Process; 2],
    requests: Vec<Request>,
    answers: Vec<Answer>,
    lease: Option<LeaseRecord>,
    writes: u64,
}

/// The way of one request.
#[derive(Clone, Copy, Debug)]
enum Way {
    Quick,
    There(u32),
    Back(u32),
    AnswerLost,
    Lost,
}

/// What a replica does at a tick.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "a failure shows them")]
enum Fate {
    GoesOn(Way),
    Stops(u32),
    Dies,
    /// It ends in order, and its last request takes this way.
    Ends(Way),
}

fn ways() -> impl Iterator<Item = Way> {
    let slow = DELAYS.into_iter();
    let slow = slow.flat_map(|ticks| [Way::There(ticks), Way::Back(ticks)]);
    slow.chain([Way::AnswerLost, Way::Lost])
}

/// A second of real time is a second of every clock here: that clocks differ is the matter of `two_replicas_never_both_lead`.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn at(self, tick: u32) -> Instant {
        self.0 + TICK * tick
    }
}

impl Process {
    fn new(place: usize, number: u32, now: Instant) -> Self {
        Self {
            number,
            election: Election::new(format!("{place}-{number}"), now),
            waits: None,
            stopped_until: 0,
        }
    }

    /// Its request is answered, or given up.
    fn take_in(
        &mut self,
        found: Result<Option<LeaseRecord>, LeaseRefusal>,
        now: u32,
        clock: Clock,
    ) {
        let Some((began, step)) = self.waits.take() else {
            return;
        };
        let (began, now) = (clock.at(began), clock.at(now));
        match (&step, found) {
            (LeaseStep::Write(write), Ok(Some(lease))) => {
                self.election.written(write, Ok(lease), began, now);
            }
            (LeaseStep::Write(write), Err(refusal)) => {
                self.election.written(write, Err(refusal), began, now);
            }
            (_, Ok(found)) => self.election.read(Ok(found), now, true),
            (_, Err(_)) => {
                let error = Error {
                    category: Category::Transient,
                    message: "no answer".to_owned(),
                };
                self.election.read(Err(error), now, true);
            }
        }
    }
}

impl Schedule {
    /// All that may come of a tick.
    fn after(&self, now: u32, clock: Clock, path: &Path, most: usize) -> Vec<(Path, Self)> {
        let mut states = vec![(path.clone(), self.clone())];
        for place in 0..self.replicas.len() {
            let mut next = Vec::new();
            for (path, state) in states {
                let departs = now <= LAST_DEPARTURE && path.len() < most;
                for (fate, state) in state.turns(place, now, clock, departs) {
                    let mut path = path.clone();
                    if !matches!(fate, Fate::GoesOn(Way::Quick)) {
                        path.push((now, place, fate));
                    }
                    next.push((path, state));
                }
            }
            states = next;
        }
        states
    }

    fn new(clock: Clock) -> Self {
        Self {
            replicas: [0, 1].map(|place| Process::new(place, 0, clock.at(0))),
            requests: Vec::new(),
            answers: Vec::new(),
            lease: None,
            writes: 0,
        }
    }

    fn leading(&self, now: Instant) -> Vec<&str> {
        let all = self.replicas.iter().map(|it| &it.election);
        let leads = |it: &&Election| it.until().is_some_and(|until| until > now);
        all.filter(leads).map(|it| it.identity.as_str()).collect()
    }

    fn serve(&mut self, step: &LeaseStep) -> Result<Option<LeaseRecord>, LeaseRefusal> {
        let LeaseStep::Write(write) = step else {
            return Ok(self.lease.clone());
        };
        let version = self.lease.as_ref().map(|lease| lease.version.clone());
        if version != write.version {
            return Err(LeaseRefusal::Stale);
        }
        self.writes += 1;
        self.lease = Some(LeaseRecord {
            version: self.writes.to_string(),
            holder: write.holder.clone(),
            duration: DURATION,
            transitions: write.transitions,
        });
        Ok(self.lease.clone())
    }

    fn send(&mut self, replica: usize, step: LeaseStep, now: u32, way: Way) {
        let (there, back) = match way {
            Way::Quick => (0, Some(0)),
            Way::There(ticks) => (ticks, Some(0)),
            Way::Back(ticks) => (0, Some(ticks)),
            Way::AnswerLost => (0, None),
            Way::Lost => return,
        };
        self.requests.push(Request {
            replica,
            process: self.replicas[replica].number,
            began: now,
            step,
            arrives: now + there,
            way_back: back,
        });
    }

    /// What has arrived by now takes effect; answers wait for who is stopped.
    fn deliver(&mut self, now: u32, clock: Clock) {
        let requests = mem::take(&mut self.requests).into_iter();
        let (arrived, later) = requests.partition(|it| it.arrives <= now);
        self.requests = later;
        for request in arrived {
            let found = self.serve(&request.step);
            if let Some(ticks) = request.way_back {
                self.answers.push(Answer {
                    replica: request.replica,
                    process: request.process,
                    began: request.began,
                    arrives: now + ticks,
                    found,
                });
            }
        }
        let replicas = &self.replicas;
        let runs = |place: usize| replicas[place].stopped_until <= now;
        let answers = mem::take(&mut self.answers).into_iter();
        let (arrived, later) = answers.partition(|it| it.arrives <= now && runs(it.replica));
        self.answers = later;
        for answer in arrived {
            let process = &mut self.replicas[answer.replica];
            let awaited = process
                .waits
                .as_ref()
                .is_some_and(|it| it.0 == answer.began);
            if awaited && process.number == answer.process {
                process.take_in(answer.found, now, clock);
            }
        }
    }

    /// All that may come of one replica's turn.
    fn turns(&self, place: usize, now: u32, clock: Clock, departs: bool) -> Vec<(Fate, Self)> {
        let goes_on = |way| {
            let mut state = self.clone();
            state.goes_on(place, now, clock, way);
            (Fate::GoesOn(way), state)
        };
        let mut all = vec![goes_on(Way::Quick)];
        let process = &self.replicas[place];
        if !departs || process.stopped_until > now {
            return all;
        }
        let step = process.election.step(clock.at(now), true);
        if process.waits.is_none() && !matches!(step, LeaseStep::Wait(_)) {
            all.extend(ways().map(goes_on));
        }
        for ticks in STOPS {
            let mut state = self.clone();
            state.replicas[place].stopped_until = now + ticks;
            all.push((Fate::Stops(ticks), state));
        }
        let next = Process::new(place, process.number + 1, clock.at(now));
        let mut died = self.clone();
        died.replicas[place] = next.clone();
        all.push((Fate::Dies, died));
        if let Some(write) = process.election.clone().release() {
            for way in ways().chain([Way::Quick]) {
                let mut state = self.clone();
                state.send(place, LeaseStep::Write(write.clone()), now, way);
                state.replicas[place] = next.clone();
                all.push((Fate::Ends(way), state));
            }
        }
        all
    }

    fn goes_on(&mut self, place: usize, now: u32, clock: Clock, way: Way) {
        let process = &mut self.replicas[place];
        if process.stopped_until > now {
            return;
        }
        if let Some((began, _)) = process.waits {
            if clock.at(now) - clock.at(began) > REQUEST_LIMIT {
                process.take_in(Err(LeaseRefusal::Failed), now, clock);
            }
            return;
        }
        let step = process.election.step(clock.at(now), true);
        if !matches!(step, LeaseStep::Wait(_)) {
            process.waits = Some((now, step.clone()));
            self.send(place, step, now, way);
        }
    }
}

/// How a state came about.
type Path = Vec<(u32, usize, Fate)>;

#[test]
fn never_two_lead_and_in_the_end_one_does() {
    let most = std::env::var(DEPARTURES)
        .ok()
        .and_then(|it| it.parse().ok());
    let most: usize = most.unwrap_or(1);
    let clock = Clock(Instant::now());
    let mut states = vec![(Path::new(), Schedule::new(clock))];
    let mut seen = 0;
    for now in 0..TICKS {
        let mut next: HashMap<String, (Path, Schedule)> = HashMap::new();
        for (path, state) in states {
            for (path, mut state) in state.after(now, clock, &path, most) {
                state.deliver(now, clock);
                let leading = state.leading(clock.at(now));
                assert!(
                    leading.len() <= 1,
                    "{leading:?} lead at {now} after {path:?}"
                );
                let known = next.entry(format!("{state:?}"));
                let kept = known.or_insert_with(|| (path.clone(), state));
                if path.len() < kept.0.len() {
                    kept.0 = path;
                }
            }
        }
        states = next.into_values().collect();
        seen += states.len();
    }
    assert!(seen > 1_000, "only {seen} states");
    for (path, state) in states {
        let leading = state.leading(clock.at(TICKS));
        assert_eq!(leading.len(), 1, "{leading:?} lead after {path:?}");
    }
}
