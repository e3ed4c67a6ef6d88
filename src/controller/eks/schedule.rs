//! When to read which data of EKS and IAM. Pure: it gets the time as an argument.
//!
//! Each reading has a period of its own, is made once at a time, and is made sooner where something asks for it. One that fails is
//! tried again after a pause that doubles up to its period, shortened by chance so that many installations don't all ask at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::aws::ASKED_FEATURES;
use crate::backoff::Backoff;
use crate::observed::{Feature, IamWants, Mode};
use crate::principal::AccountId;

/// The interval of reading the authentication mode.
const MODE_PERIOD: Duration = Duration::from_mins(1);
/// The same while it is being changed, or after it was found to be different.
const MODE_WHILE_CHANGING: Duration = Duration::from_secs(5);
/// EKS offers a new access policy a few times a year.
const POLICIES_PERIOD: Duration = Duration::from_hours(6);
/// What is known of the roles that parts of EKS use stays young enough to be relied upon.
const USED_BY_PERIOD: Duration = Duration::from_mins(4);
/// The shortest interval of what is requested out of turn.
const SOONEST: Duration = Duration::from_secs(10);
/// The same for the mode.
const SOONEST_MODE: Duration = Duration::from_secs(2);
/// The shortest interval of what messages of the queue cause: anyone who may send to it can send any.
const SOONEST_BY_MESSAGE: Duration = Duration::from_mins(1);
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Intervals of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// The interval of listing access entries, roles and users.
    pub listing: Duration,
    /// The interval of describing each managed access entry.
    pub refresh: Duration,
    /// The interval of listing the roles of permission sets.
    pub sso_sweep: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            listing: Duration::from_mins(5),
            refresh: Duration::from_hours(1),
            sso_sweep: Duration::from_mins(1),
        }
    }
}

/// Something to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::controller) enum Task {
    /// The cluster, and with it its mode.
    Cluster,
    /// The access entries, by name.
    Entries,
    /// The access policies that EKS offers.
    Policies,
    /// The roles of permission sets of an account.
    Sso(AccountId),
    /// All roles of an account.
    Roles(AccountId),
    /// All users of an account.
    Users(AccountId),
    /// The roles that a part of EKS uses.
    UsedBy(Feature),
}

#[derive(Clone, Debug)]
struct Timer {
    due: Instant,
    running: bool,
    /// From when on it is to be read anew: asked for while it was being read, so that the answer may be older than what was asked for.
    again: Option<Instant>,
    /// From when on it is or was to be read because of a message.
    by_message: Option<Instant>,
    failures: u32,
    ended: Option<Instant>,
}

impl Timer {
    fn new(now: Instant) -> Self {
        Self {
            due: now,
            running: false,
            again: None,
            by_message: None,
            failures: 0,
            ended: None,
        }
    }

    fn soon(&mut self, task: &Task, from: Instant, now: Instant) {
        if self.running {
            self.again = Some(self.again.map_or(from, |again| again.min(from)));
        } else if self.failures == 0 {
            self.due = self.due.min(from.max(earliest(task, self.ended, now)));
        }
    }
}

/// All readings with their times.
#[derive(Debug)]
pub(super) struct Schedule {
    periods: Periods,
    timers: BTreeMap<Task, Timer>,
    /// Until when the mode is expected to change.
    changing: Option<Instant>,
}

impl Schedule {
    /// The cluster is read at once, the rest when the mode and the mappings ask for it.
    pub(super) fn new(periods: Periods, now: Instant) -> Self {
        Self {
            periods,
            timers: [(Task::Cluster, Timer::new(now))].into(),
            changing: None,
        }
    }

    /// The mode that was read; `None`: it is not this cluster's.
    pub(super) fn mode(&mut self, mode: Option<Mode>, now: Instant) {
        let entries = matches!(mode, Some(Mode::ApiAndConfigMap | Mode::Api));
        self.want(
            |task| matches!(task, Task::Entries | Task::Policies),
            if entries {
                vec![Task::Entries, Task::Policies]
            } else {
                Vec::new()
            },
            now,
        );
    }

    /// The mode is likely to change until then.
    pub(super) fn changing_until(&mut self, until: Instant) {
        self.changing = self.changing.max(Some(until));
    }

    /// What plans want to know of IAM.
    pub(super) fn iam(&mut self, wants: &IamWants, now: Instant) {
        let of = |accounts: &std::collections::BTreeSet<AccountId>, task: fn(AccountId) -> Task| {
            accounts.iter().cloned().map(task).collect::<Vec<_>>()
        };
        let mut wanted = of(&wants.sso, Task::Sso);
        wanted.extend(of(&wants.roles, Task::Roles));
        wanted.extend(of(&wants.users, Task::Users));
        self.want(
            |task| matches!(task, Task::Sso(_) | Task::Roles(_) | Task::Users(_)),
            wanted,
            now,
        );
        for account in &wants.soon {
            for task in [Task::Sso, Task::Roles, Task::Users] {
                self.soon(&task(account.clone()), now);
            }
        }
    }

    /// Whether plans want to know which principals EKS itself makes access entries for.
    pub(super) fn managed(&mut self, wanted: bool, now: Instant) {
        let features: &[Feature] = if wanted { &ASKED_FEATURES } else { &[] };
        let tasks = features.iter().copied().map(Task::UsedBy).collect();
        self.want(|task| matches!(task, Task::UsedBy(_)), tasks, now);
    }

    fn want(&mut self, kind: impl Fn(&Task) -> bool, wanted: Vec<Task>, now: Instant) {
        self.timers
            .retain(|task, _| !kind(task) || wanted.contains(task));
        for task in wanted {
            self.timers.entry(task).or_insert_with(|| Timer::new(now));
        }
    }

    /// Whether it is read at all.
    pub(super) fn reads(&self, task: &Task) -> bool {
        self.timers.contains_key(task)
    }

    /// Whether it has been read, or failed to be, since it was first wanted. What nobody wants has.
    pub(super) fn tried(&self, task: &Task) -> bool {
        self.timers
            .get(task)
            .is_none_or(|timer| timer.ended.is_some())
    }

    /// All readings of IAM have been tried.
    pub(super) fn tried_iam(&self) -> bool {
        self.timers.iter().all(|(task, timer)| {
            !matches!(task, Task::Sso(_) | Task::Roles(_) | Task::Users(_)) || timer.ended.is_some()
        })
    }

    /// Is to be read sooner than its turn, but not again and again.
    pub(super) fn soon(&mut self, task: &Task, now: Instant) {
        if let Some(timer) = self.timers.get_mut(task) {
            timer.soon(task, now, now);
        }
    }

    /// The same by word of the queue: the first message counts at once, those that follow within a minute count once, at the end of it.
    pub(super) fn soon_by_message(&mut self, task: &Task, now: Instant) {
        let Some(timer) = self.timers.get_mut(task) else {
            return;
        };
        if timer.by_message.is_some_and(|from| from > now) {
            return;
        }
        let last = timer.by_message;
        let from = last.map_or(now, |last| now.max(last + SOONEST_BY_MESSAGE));
        timer.by_message = Some(from);
        timer.soon(task, from, now);
    }

    /// The next that is due, which counts as being read from here.
    pub(super) fn start(&mut self, now: Instant) -> Option<Task> {
        let (task, timer) = self
            .timers
            .iter_mut()
            .find(|(_, timer)| !timer.running && timer.due <= now)?;
        timer.running = true;
        timer.again = None;
        Some(task.clone())
    }

    /// It was read, or failed to be.
    pub(super) fn ended(&mut self, task: &Task, ok: bool, now: Instant, jitter: f64) {
        if self.changing.is_some_and(|until| until <= now) {
            self.changing = None;
        }
        let period = match task {
            Task::Cluster if self.changing.is_some() => MODE_WHILE_CHANGING,
            Task::Cluster => MODE_PERIOD,
            Task::Entries | Task::Roles(_) | Task::Users(_) => self.periods.listing,
            Task::Policies => POLICIES_PERIOD,
            Task::Sso(_) => self.periods.sso_sweep,
            Task::UsedBy(_) => USED_BY_PERIOD,
        };
        let Some(timer) = self.timers.get_mut(task) else {
            return;
        };
        timer.running = false;
        timer.ended = Some(now);
        if ok {
            timer.failures = 0;
            timer.due = now + period;
        } else {
            let backoff = Backoff::new(FIRST_PAUSE, period.max(FIRST_PAUSE));
            timer.due = now + backoff.pause(timer.failures, jitter);
            timer.failures = timer.failures.saturating_add(1);
        }
        let waits = timer.by_message.filter(|from| *from >= now);
        for from in timer.again.take().into_iter().chain(waits) {
            timer.due = timer.due.min(from.max(earliest(task, timer.ended, now)));
        }
    }

    /// When something is due next; `None` while everything is being read.
    pub(super) fn due(&self) -> Option<Instant> {
        let idle = self.timers.values().filter(|timer| !timer.running);
        idle.map(|timer| timer.due).min()
    }
}

fn earliest(task: &Task, ended: Option<Instant>, now: Instant) -> Instant {
    let pause = match task {
        Task::Cluster => SOONEST_MODE,
        _ => SOONEST,
    };
    ended.map_or(now, |ended| now.max(ended + pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn account() -> AccountId {
        "111122223333".parse().expect("an account")
    }

    /// A clock, and readings that take a second each.
    struct Run {
        origin: Instant,
        now: u64,
        schedule: Schedule,
        fails: bool,
        running: Vec<(u64, Task)>,
        log: Vec<(u64, Task)>,
    }

    impl Run {
        fn new() -> Self {
            let origin = Instant::now();
            Self {
                origin,
                now: 0,
                schedule: Schedule::new(Periods::default(), origin),
                fails: false,
                running: Vec::new(),
                log: Vec::new(),
            }
        }

        fn instant(&self) -> Instant {
            self.origin + seconds(self.now)
        }

        fn until(&mut self, end: u64) {
            while self.now < end {
                let instant = self.instant();
                let (ended, running) = std::mem::take(&mut self.running)
                    .into_iter()
                    .partition(|(since, _)| *since < self.now);
                self.running = running;
                for (_, task) in ended {
                    self.schedule.ended(&task, !self.fails, instant, 0.0);
                }
                let due = self.schedule.due().is_some_and(|due| due <= instant);
                let mut started = false;
                while let Some(task) = self.schedule.start(instant) {
                    started = true;
                    self.log.push((self.now, task.clone()));
                    self.running.push((self.now, task));
                }
                assert_eq!(due, started, "due says when something starts");
                self.now += 1;
            }
        }

        fn times(&self, task: &Task) -> Vec<u64> {
            let of_task = self.log.iter().filter(|(_, started)| started == task);
            of_task.map(|(at, _)| *at).collect()
        }
    }

    #[test]
    fn each_has_its_period() {
        let mut run = Run::new();
        run.until(1);
        assert_eq!(run.log, [(0, Task::Cluster)], "the mode comes first");
        run.until(5);
        run.schedule
            .mode(Some(Mode::ApiAndConfigMap), run.instant());
        let wants = IamWants {
            sso: [account()].into(),
            users: [account()].into(),
            ..IamWants::default()
        };
        run.schedule.iam(&wants, run.instant());
        assert!(!run.schedule.tried(&Task::Entries) && !run.schedule.tried_iam());
        run.until(1000);
        assert!(run.schedule.tried(&Task::Entries) && run.schedule.tried_iam());
        assert_eq!(run.times(&Task::Cluster)[..4], [0, 61, 122, 183]);
        assert_eq!(run.times(&Task::Entries), [5, 306, 607, 908]);
        assert_eq!(run.times(&Task::Policies), [5]);
        assert_eq!(run.times(&Task::Sso(account()))[..3], [5, 66, 127]);
        assert_eq!(run.times(&Task::Users(account())), [5, 306, 607, 908]);
        assert_eq!(run.times(&Task::Roles(account())), [0; 0], "nobody asked");
    }

    #[test]
    fn entries_are_listed_only_where_the_mode_has_them() {
        for mode in [None, Some(Mode::ConfigMap)] {
            let mut run = Run::new();
            run.schedule.mode(Some(Mode::Api), run.instant());
            run.schedule.mode(mode, run.instant());
            run.until(100);
            assert_eq!(run.times(&Task::Entries), [0; 0]);
            assert!(!run.schedule.reads(&Task::Entries));
            assert!(run.schedule.tried(&Task::Entries), "nobody wants it");
        }
    }

    #[test]
    fn a_mode_that_changes_is_read_every_five_seconds() {
        let mut run = Run::new();
        run.until(10);
        let until = run.instant() + seconds(20);
        run.schedule.changing_until(until);
        run.schedule.soon(&Task::Cluster, run.instant());
        run.until(100);
        assert_eq!(run.times(&Task::Cluster), [0, 10, 16, 22, 28, 34, 95]);
    }

    #[test]
    fn failures_back_off_up_to_the_period() {
        let mut run = Run::new();
        run.fails = true;
        run.until(300);
        assert_eq!(run.times(&Task::Cluster), [0, 6, 17, 38, 79, 140, 201, 262]);
        run.schedule.soon(&Task::Cluster, run.instant());
        run.until(320);
        assert_eq!(
            run.times(&Task::Cluster).len(),
            8,
            "nobody hurries a failure"
        );
        run.fails = false;
        run.until(450);
        assert_eq!(run.times(&Task::Cluster)[8..], [323, 384, 445]);
        let jittered = {
            let now = run.instant();
            run.schedule.ended(&Task::Cluster, false, now, 1.0);
            run.schedule.timers[&Task::Cluster].due - now
        };
        assert_eq!(jittered, FIRST_PAUSE / 2);
    }

    #[test]
    fn what_is_asked_for_soon_is_read_at_most_every_ten_seconds() {
        let mut run = Run::new();
        let wants = IamWants {
            roles: [account()].into(),
            soon: [account()].into(),
            ..IamWants::default()
        };
        for _ in 0..60 {
            run.schedule.iam(&wants, run.instant());
            run.until(run.now + 1);
        }
        assert_eq!(run.times(&Task::Roles(account())), [0, 11, 22, 33, 44, 55]);
        assert_eq!(run.times(&Task::Sso(account())), [0; 0]);
    }

    #[test]
    fn messages_cause_one_reading_a_minute_the_first_at_once() {
        let mut run = Run::new();
        run.until(1);
        let wants = IamWants {
            roles: [account()].into(),
            ..IamWants::default()
        };
        run.schedule.iam(&wants, run.instant());
        let roles = Task::Roles(account());
        for second in 100..280 {
            run.until(second);
            run.schedule.soon_by_message(&roles, run.instant());
            run.schedule.soon_by_message(&roles, run.instant());
        }
        assert_eq!(run.times(&roles), [1, 100, 160, 220]);
        run.schedule.soon(&roles, run.instant());
        run.until(300);
        assert_eq!(
            run.times(&roles)[4..],
            [279, 290],
            "a mapping waits for no message, and the last message counts"
        );
    }

    #[test]
    fn asked_for_while_it_is_read_it_is_read_again() {
        let mut run = Run::new();
        run.until(1);
        run.schedule.soon(&Task::Cluster, run.instant());
        run.until(20);
        assert_eq!(run.times(&Task::Cluster), [0, 3]);
    }

    #[test]
    fn which_roles_eks_uses_is_asked_only_while_a_plan_wants_to_know() {
        let mut run = Run::new();
        run.until(2);
        assert!(!run.schedule.reads(&Task::UsedBy(Feature::Capabilities)));
        run.schedule.managed(true, run.instant());
        run.until(500);
        for feature in ASKED_FEATURES {
            assert_eq!(run.times(&Task::UsedBy(feature)), [2, 243, 484]);
        }
        run.schedule.managed(false, run.instant());
        run.until(900);
        run.schedule.managed(true, run.instant());
        run.until(901);
        let times = run.times(&Task::UsedBy(Feature::NodeGroups));
        assert_eq!(times, [2, 243, 484, 900], "and then at once");
    }

    #[test]
    fn what_is_wanted_no_more_is_read_no_more() {
        let mut run = Run::new();
        let wants = IamWants {
            sso: [account()].into(),
            ..IamWants::default()
        };
        run.schedule.iam(&wants, run.instant());
        run.until(1);
        run.schedule.iam(&IamWants::default(), run.instant());
        run.until(200);
        assert_eq!(run.times(&Task::Sso(account())), [0]);
        assert!(run.schedule.reads(&Task::Cluster));
    }
}
