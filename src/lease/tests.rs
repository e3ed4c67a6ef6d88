use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::error::Category;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn record(version: u64, holder: Option<&str>) -> LeaseRecord {
    LeaseRecord {
        version: version.to_string(),
        holder: holder.map(str::to_owned),
        duration: DURATION,
        transitions: 3,
    }
}

fn no_answer() -> Error {
    Error {
        category: Category::Transient,
        message: "no answer".to_owned(),
    }
}

/// A replica that has read this at its start.
fn having_read(now: Instant, found: Option<LeaseRecord>) -> Election {
    let mut election = Election::new("a".to_owned(), now);
    assert_eq!(election.step(now, true), LeaseStep::Read);
    election.read(Ok(found), now, true);
    election
}

fn claim(version: Option<u64>, transitions: i32) -> LeaseStep {
    LeaseStep::Write(LeaseWrite {
        version: version.map(|version| version.to_string()),
        holder: Some("a".to_owned()),
        transitions,
        begins: true,
    })
}

/// The replica writes what is due, and is answered at once.
fn write(election: &mut Election, now: Instant, version: u64) -> LeaseWrite {
    let LeaseStep::Write(write) = election.step(now, true) else {
        panic!("{:?}", election.step(now, true));
    };
    election.written(
        &write,
        Ok(record(version, write.holder.as_deref())),
        now,
        now,
    );
    write
}

#[test]
fn what_is_free_is_claimed_at_once() {
    let now = Instant::now();
    assert_eq!(having_read(now, None).step(now, true), claim(None, 0));
    let released = having_read(now, Some(record(7, None)));
    assert_eq!(released.step(now, true), claim(Some(7), 4));
}

/// No other process has the name, but a restored etcd may: others have gone on from there.
#[test]
fn a_replica_name_alone_does_not_give_the_lease() {
    let now = Instant::now();
    let mut restored = having_read(now, Some(record(7, Some("a"))));
    assert_eq!(restored.step(now, true), LeaseStep::Wait(now + POLL));
    restored.read(Ok(Some(record(7, Some("a")))), now + POLL, true);
    assert_eq!(restored.until(), None);
}

/// Every write takes effect, and no answer comes in time.
#[test]
fn a_write_without_an_answer_counts_once_it_is_seen() {
    let mut now = Instant::now();
    let mut election = having_read(now, None);
    for version in 8..20 {
        let LeaseStep::Write(write) = election.step(now, true) else {
            panic!("{:?}", election.step(now, true));
        };
        let began = now;
        now += REQUEST_LIMIT;
        election.written(&write, Err(LeaseRefusal::Failed), began, now);
        now += RETRY;
        election.read(Ok(Some(record(version, Some("a")))), now, true);
        assert_eq!(election.until(), Some(began + HELD));
        assert_eq!(election.gaps(), 0);
    }
    // Of several, the first may be the one that took effect; and what another one wrote is not ours.
    for (holder, until) in [("a", Some(now + HELD)), ("b", None)] {
        let mut election = election.clone();
        let (began, mut later) = (now, now);
        for _ in 0..2 {
            let LeaseStep::Write(write) = election.step(later, true) else {
                panic!("{:?}", election.step(later, true));
            };
            election.written(&write, Err(LeaseRefusal::Failed), later, later + ms(100));
            later += RETRY + ms(100);
            election.read(Ok(Some(record(19, Some("a")))), later, true);
        }
        election.read(Ok(Some(record(20, Some(holder)))), later, true);
        assert_eq!(election.until(), until, "{began:?}");
    }
}

#[test]
fn who_cannot_work_claims_nothing_and_asks_at_intervals() {
    let now = Instant::now();
    let mut election = Election::new("a".to_owned(), now);
    election.read(Ok(Some(record(7, None))), now, false);
    assert_eq!(election.step(now, false), LeaseStep::Wait(now + POLL));
    assert_eq!(election.step(now + POLL, false), LeaseStep::Read);
}

#[test]
fn another_ones_is_claimed_once_it_was_not_renewed_for_its_duration() {
    let begin = Instant::now();
    let mut election = having_read(begin, Some(record(7, Some("b"))));
    let mut now = begin;
    let mut read = 0;
    loop {
        match election.step(now, true) {
            LeaseStep::Wait(until) => now = until,
            LeaseStep::Read => {
                read += 1;
                // It is renewed once.
                let version = if read < 4 { 7 } else { 8 };
                election.read(Ok(Some(record(version, Some("b")))), now, true);
            }
            LeaseStep::Write(write) => {
                assert_eq!(write.version.as_deref(), Some("8"));
                break;
            }
        }
    }
    assert_eq!(now - begin, POLL * 4 + DURATION);
}

#[test]
fn the_time_in_which_it_was_not_read_does_not_count() {
    let begin = Instant::now();
    let mut election = having_read(begin, Some(record(7, Some("b"))));
    // It was stopped, and wakes up long after.
    let now = begin + DURATION * 9;
    assert_eq!(election.step(now, true), LeaseStep::Read, "not to claim it");
    election.read(Ok(Some(record(7, Some("b")))), now, true);
    assert_eq!(election.gaps(), 1);
    assert_eq!(election.step(now, true), LeaseStep::Wait(now + POLL));
    // The same where there was no answer.
    election.read(Err(no_answer()), now + LONGEST_GAP, true);
    election.read(
        Ok(Some(record(7, Some("b")))),
        now + LONGEST_GAP + ms(1),
        true,
    );
    assert_eq!(election.gaps(), 2);
    // One that is released meanwhile is claimed at once, and the gap is known.
    let now = now + DURATION * 20;
    election.read(Ok(Some(record(8, None))), now, true);
    assert_eq!(
        (election.gaps(), election.step(now, true)),
        (3, claim(Some(8), 4))
    );
}

#[test]
fn a_duration_that_someone_wrote_has_bounds() {
    for (duration, patience) in [(ms(1), DURATION), (DURATION * 3600, LONGEST_DURATION)] {
        let record = LeaseRecord {
            duration,
            ..record(7, Some("b"))
        };
        assert_eq!(record.patience(), patience);
    }
}

#[test]
fn a_leader_renews_and_counts_from_before_its_request() {
    let now = Instant::now();
    let mut election = having_read(now, None);
    let LeaseStep::Write(first) = election.step(now, true) else {
        panic!("it claims it");
    };
    let answered = now + ms(700);
    election.written(&first, Ok(record(1, Some("a"))), now, answered);
    assert_eq!(election.until(), Some(now + HELD));
    assert_eq!(
        election.step(answered, true),
        LeaseStep::Wait(now + RENEWAL)
    );
    let renewal = write(&mut election, now + RENEWAL, 2);
    assert_eq!(
        (renewal.version.as_deref(), renewal.begins),
        (Some("1"), false)
    );
    assert_eq!(election.until(), Some(now + RENEWAL + HELD));
}

#[test]
fn a_renewal_that_changed_nothing_does_not_count() {
    let now = Instant::now();
    let mut election = having_read(now, None);
    write(&mut election, now, 1);
    let until = election.until();
    // The clock that it writes was set back to the very time of the last renewal.
    write(&mut election, now + RENEWAL, 1);
    assert_eq!(election.until(), until);
    assert_eq!(election.step(now + RENEWAL * 2, true), LeaseStep::Read);
}

#[test]
fn a_leader_that_could_not_renew_goes_on_where_nobody_took_it() {
    let now = Instant::now();
    let mut election = having_read(now, None);
    write(&mut election, now, 1);
    let later = now + DURATION * 4;
    assert!(
        election.until() < Some(later),
        "it writes nothing meanwhile"
    );
    assert_eq!(election.step(later, true), LeaseStep::Read);
    election.read(Ok(Some(record(1, Some("a")))), later, true);
    assert!(!write(&mut election, later, 2).begins, "the same term");
    assert_eq!(election.gaps(), 0, "nobody else wrote anything");
}

#[test]
fn a_leader_whose_lease_was_taken_is_none_any_more() {
    let now = Instant::now();
    for (found, lost) in [
        (Some(record(2, Some("b"))), true),
        (Some(record(2, None)), true),
        (Some(record(2, Some("a"))), false),
        (None, false),
    ] {
        let mut election = having_read(now, None);
        write(&mut election, now, 1);
        let LeaseStep::Write(renewal) = election.step(now + RENEWAL, true) else {
            panic!("it renews");
        };
        let refused = now + RENEWAL + ms(10);
        election.written(&renewal, Err(LeaseRefusal::Stale), now + RENEWAL, refused);
        assert_eq!(election.step(refused, true), LeaseStep::Read);
        election.read(Ok(found.clone()), refused, true);
        assert_eq!(election.until().is_none(), lost, "{found:?}");
    }
}

#[test]
fn a_deleted_lease_is_made_again_by_its_holder_first() {
    let now = Instant::now();
    let mut leader = having_read(now, None);
    write(&mut leader, now, 1);
    leader.read(Ok(None), now + RENEWAL, true);
    assert!(matches!(
        leader.step(now + RENEWAL, true),
        LeaseStep::Write(_)
    ));
    let mut other = having_read(now, Some(record(1, Some("b"))));
    other.read(Ok(None), now + POLL, true);
    let waits = LeaseStep::Wait(now + POLL * 2);
    assert_eq!(other.step(now + POLL, true), waits);
    assert!(matches!(
        other.step(now + POLL + LONGEST_GAP, true),
        LeaseStep::Read
    ));
}

#[test]
fn what_is_released_names_no_holder() {
    let now = Instant::now();
    let mut election = having_read(now, None);
    write(&mut election, now, 1);
    let released = election.release().expect("it holds it");
    assert_eq!(
        (released.version.as_deref(), released.holder),
        (Some("1"), None)
    );
    assert_eq!(election.until(), None);
    assert_eq!(election.release(), None);
    assert_eq!(having_read(now, Some(record(1, Some("b")))).release(), None);
}

/// A request of a replica, or its answer, that arrives at this real time.
struct Message {
    at: u64,
    replica: usize,
    /// The real time at which it was sent: which request it is.
    began: u64,
    step: LeaseStep,
    answer: Option<Result<Option<LeaseRecord>, LeaseRefusal>>,
}

struct Replica {
    election: Election,
    /// Its clock's milliseconds for a thousand real ones.
    rate: u64,
    /// The request that it waits for.
    request: Option<(u64, LeaseStep)>,
    stalled_until: u64,
}

/// The Lease in the API server, replicas with clocks of their own, and a network in which anything takes any time. Times are real
/// milliseconds.
struct Replicas {
    origin: Instant,
    now: u64,
    all: Vec<Replica>,
    messages: Vec<Message>,
    lease: Option<LeaseRecord>,
    versions: u64,
    random: fastrand::Rng,
    /// Whether requests are slow or lost, and replicas are stopped.
    faults: bool,
    leaders: BTreeSet<String>,
}

impl Replicas {
    fn new(seed: u64, count: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let origin = Instant::now();
        let replicas = (0..count).map(|number| Replica {
            election: Election::new(number.to_string(), origin),
            rate: random.u64(970..=1030),
            request: None,
            stalled_until: 0,
        });
        Self {
            origin,
            now: 0,
            all: replicas.collect(),
            messages: Vec::new(),
            lease: None,
            versions: 0,
            random,
            faults: true,
            leaders: BTreeSet::new(),
        }
    }

    /// What a replica's clock shows.
    fn clock(&self, replica: usize) -> Instant {
        self.origin + ms(self.now * self.all[replica].rate / 1000)
    }

    fn leading(&self) -> Vec<usize> {
        let leads = |number: &usize| {
            let until = self.all[*number].election.until();
            until.is_some_and(|until| until > self.clock(*number))
        };
        (0..self.all.len()).filter(leads).collect()
    }

    /// What the API server answers.
    fn serve(&mut self, step: &LeaseStep) -> Result<Option<LeaseRecord>, LeaseRefusal> {
        let LeaseStep::Write(write) = step else {
            return Ok(self.lease.clone());
        };
        let version = self.lease.as_ref().map(|lease| lease.version.clone());
        if version != write.version {
            return Err(LeaseRefusal::Stale);
        }
        self.versions += 1;
        let mut lease = record(self.versions, write.holder.as_deref());
        lease.transitions = write.transitions;
        self.lease = Some(lease.clone());
        Ok(Some(lease))
    }

    fn delay(&mut self) -> u64 {
        match self.random.u8(..) {
            _ if !self.faults => self.random.u64(1..20),
            0..=200 => self.random.u64(1..20),
            201..=240 => self.random.u64(1..1500),
            _ => self.random.u64(1..6000),
        }
    }

    fn deliver(&mut self, message: Message) {
        let Message {
            replica,
            began,
            step,
            answer,
            ..
        } = message;
        let Some(answer) = answer else {
            let answer = self.serve(&step);
            let at = self.now + self.delay();
            self.messages.push(Message {
                at,
                replica,
                began,
                step,
                answer: Some(answer),
            });
            return;
        };
        let asked = self.all[replica].request.as_ref();
        if asked.is_none_or(|(sent, _)| *sent != began) {
            // It was given up.
            return;
        }
        self.end(replica, answer);
    }

    /// The request of a replica is answered, or given up.
    fn end(&mut self, replica: usize, answer: Result<Option<LeaseRecord>, LeaseRefusal>) {
        let now = self.clock(replica);
        let Replica {
            election,
            rate,
            request,
            ..
        } = &mut self.all[replica];
        let Some((began, step)) = request.take() else {
            return;
        };
        let began = self.origin + ms(began * *rate / 1000);
        match (&step, answer) {
            (LeaseStep::Write(write), Ok(Some(lease))) => {
                election.written(write, Ok(lease), began, now);
            }
            (LeaseStep::Write(write), Err(refusal)) => {
                election.written(write, Err(refusal), began, now);
            }
            (_, Ok(found)) => election.read(Ok(found), now, true),
            (_, Err(_)) => election.read(Err(no_answer()), now, true),
        }
    }

    /// A step of ten milliseconds.
    fn turn(&mut self) {
        self.now += 10;
        for replica in 0..self.all.len() {
            if self.all[replica].stalled_until > self.now {
                continue;
            }
            if self.faults && self.random.u32(..2000) == 0 {
                self.all[replica].stalled_until = self.now + self.random.u64(..20_000);
                continue;
            }
            let clock = self.clock(replica);
            if let Some((began, _)) = self.all[replica].request {
                let began = self.origin + ms(began * self.all[replica].rate / 1000);
                // After a stop both an answer and the limit may be there; either comes first.
                if clock - began > REQUEST_LIMIT && self.random.bool() {
                    self.end(replica, Err(LeaseRefusal::Failed));
                }
                continue;
            }
            let one = &mut self.all[replica];
            if self.faults && self.random.u32(..3000) == 0 {
                // It ends in order, and another one starts in its place.
                let write = one.election.release();
                let name = format!("{replica}-{}", self.now);
                one.election = Election::new(name, clock);
                if let Some(write) = write {
                    let _ = self.serve(&LeaseStep::Write(write));
                }
                continue;
            }
            let step = one.election.step(clock, true);
            if matches!(step, LeaseStep::Wait(_)) {
                continue;
            }
            one.request = Some((self.now, step.clone()));
            let at = self.now + self.delay();
            self.messages.push(Message {
                at,
                replica,
                began: self.now,
                step,
                answer: None,
            });
        }
        // Answers wait for who is stopped.
        let due = |message: &Message, replicas: &[Replica]| {
            message.at <= self.now
                && (message.answer.is_none() || replicas[message.replica].stalled_until <= self.now)
        };
        let all = std::mem::take(&mut self.messages);
        let (now, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| due(it, &self.all));
        self.messages = later;
        for message in now {
            self.deliver(message);
            let leading = self.leading();
            assert!(leading.len() <= 1, "{leading:?} lead at {} ms", self.now);
        }
        let leading = self.leading();
        self.leaders.extend(
            leading
                .iter()
                .map(|it| self.all[*it].election.identity.clone()),
        );
    }
}

#[test]
fn a_crash_is_over_within_ten_seconds() {
    for seed in 0..50 {
        let mut replicas = Replicas::new(seed, 2);
        replicas.faults = false;
        let start = replicas.random.u64(1000..3000);
        for _ in 0..start {
            replicas.turn();
        }
        let [leader] = replicas.leading()[..] else {
            panic!("one leads after ten seconds");
        };
        let crash = replicas.now;
        replicas.all[leader].stalled_until = u64::MAX;
        while replicas.leading() != [1 - leader] {
            replicas.turn();
            assert!(replicas.now - crash < 9_500, "{leader} of {seed}");
        }
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(64))]
    /// Clocks that differ by six percent, requests that take any time or are lost, replicas that are stopped for any time.
    #[test]
    fn two_replicas_never_both_lead(seed in any::<u64>(), count in 2_usize..4) {
        let mut replicas = Replicas::new(seed, count);
        for _ in 0..12_000 {
            replicas.turn();
        }
        prop_assert!(!replicas.leaders.is_empty(), "one leads at some time");
    }
}
