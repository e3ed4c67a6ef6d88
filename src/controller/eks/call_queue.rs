//! The calls that the last plan requests: in flight or waiting. Pure.
//!
//! A plan is about the whole set, so each one replaces what waited of the one before: a mapping that is deleted while its entry
//! waits to be made in a burst of thousands is never made. For one principal there is one work at a time, and its calls go in order.
//! A call may wait for minutes, so each is judged once more when it is sent. One that is refused ends its work, and so does the
//! first failure.

use std::collections::{BTreeMap, VecDeque};

use crate::access_entry::Call;
use crate::aws::Priority;
use crate::plan::EntryWork;
use crate::principal::Key;

/// A plan that asks for no more new works than these makes a change; one that asks for more, a burst, which lets changes go first.
const BURST: usize = 20;

/// So many works of a burst are in flight at once, and so many with those of changes. The gate of all calls bounds them again.
const OF_BURST: usize = 8;
const ALL: usize = 24;

#[derive(Clone, Debug)]
struct Waiting {
    calls: VecDeque<Call>,
    priority: Priority,
}

/// A work that has begun: its first call is in flight, or is the next to be sent.
#[derive(Clone, Debug)]
struct StartedWork {
    work: Waiting,
    sent: bool,
}

/// What may be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextCall {
    /// This call, which counts as sent from here.
    Send(Key, Call, Priority),
    /// Nothing of the rest of this work, and why.
    Refused(Key, Call, String),
}

/// All works.
#[derive(Clone, Debug, Default)]
pub(super) struct CallQueue {
    waiting: BTreeMap<Key, Waiting>,
    /// The order in which they wait, by priority.
    urgent: VecDeque<Key>,
    burst: VecDeque<Key>,
    /// What is left of those that have begun.
    running: BTreeMap<Key, StartedWork>,
}

impl CallQueue {
    /// Takes the works of a new plan in place of those that wait. One that waited already and asks for the same keeps its place.
    pub(super) fn replace(&mut self, works: Vec<EntryWork>) {
        let mut before = std::mem::take(&mut self.waiting);
        let mut new = Vec::new();
        for EntryWork { key, calls, .. } in works {
            if self.running.contains_key(&key) || calls.is_empty() {
                continue;
            }
            let calls = VecDeque::from(calls);
            match before.remove(&key) {
                Some(same) if same.calls == calls => {
                    self.waiting.insert(key, same);
                }
                Some(_) | None => new.push((key, calls)),
            }
        }
        let priority = if new.len() <= BURST {
            Priority::Urgent
        } else {
            Priority::Background
        };
        self.urgent.retain(|key| self.waiting.contains_key(key));
        self.burst.retain(|key| self.waiting.contains_key(key));
        for (key, calls) in new {
            match priority {
                Priority::Urgent => self.urgent.push_back(key.clone()),
                Priority::Background => self.burst.push_back(key.clone()),
            }
            self.waiting.insert(key, Waiting { calls, priority });
        }
    }

    /// The next call that may be sent, or that may not any more, as `judge` has it now by the call and those of its work that follow it;
    /// a work whose next call `waits` is passed over. `None`: all that may begin has.
    pub(super) fn next(
        &mut self,
        waits: impl Fn(&Call) -> bool,
        judge: impl FnOnce(&Key, &[Call]) -> Result<(), String>,
    ) -> Option<NextCall> {
        let key = match self.to_go_on(&waits) {
            Some(key) => key,
            None => self.begin(&waits)?,
        };
        let running = self.running.get_mut(&key)?;
        let calls = &*running.work.calls.make_contiguous();
        let call = calls.first()?.clone();
        match judge(&key, calls) {
            Ok(()) => {
                running.sent = true;
                Some(NextCall::Send(key, call, running.work.priority))
            }
            Err(why) => {
                self.running.remove(&key);
                Some(NextCall::Refused(key, call, why))
            }
        }
    }

    /// A work that has begun and whose next call may be sent.
    fn to_go_on(&self, waits: impl Fn(&Call) -> bool) -> Option<Key> {
        let goes_on = |running: &StartedWork| {
            let next = running.work.calls.front();
            !running.sent && next.is_some_and(|call| !waits(call))
        };
        let mut running = self.running.iter();
        running
            .find(|(_, running)| goes_on(running))
            .map(|(key, _)| key.clone())
    }

    /// Begins the next work that may.
    fn begin(&mut self, waits: impl Fn(&Call) -> bool) -> Option<Key> {
        let of_burst = self
            .running
            .values()
            .filter(|running| running.work.priority == Priority::Background);
        let room_in_burst = of_burst.count() < OF_BURST;
        if self.running.len() >= ALL {
            return None;
        }
        let waiting = &self.waiting;
        let first = |key: &Key| waiting.get(key)?.calls.front();
        let free = |key: &Key| first(key).is_some_and(|call| !waits(call));
        let key = if let Some(place) = self.urgent.iter().position(free) {
            self.urgent.remove(place)
        } else if room_in_burst {
            let place = self.burst.iter().position(free)?;
            self.burst.remove(place)
        } else {
            None
        }?;
        let work = self.waiting.remove(&key)?;
        self.running
            .insert(key.clone(), StartedWork { work, sent: false });
        Some(key)
    }

    /// The call in flight succeeded. Whether more of its work follows.
    pub(super) fn succeeded(&mut self, key: &Key) -> bool {
        let Some(running) = self.running.get_mut(key) else {
            return false;
        };
        running.work.calls.pop_front();
        running.sent = false;
        let more = !running.work.calls.is_empty();
        if !more {
            self.running.remove(key);
        }
        more
    }

    /// The call that was in flight failed, which ends its work.
    pub(super) fn failed(&mut self, key: &Key) {
        self.running.remove(key);
    }

    /// Sends nothing more of the works that have begun for these principals.
    pub(super) fn cut(&mut self, is_cut: impl Fn(&Key) -> bool) {
        self.running.retain(|key, running| {
            let cut = is_cut(key);
            if cut {
                running.work.calls.truncate(1);
            }
            running.sent || !cut
        });
    }

    /// Sends nothing more of all this. Whether something would have been.
    pub(super) fn drop_unsent(&mut self) -> bool {
        let before = self.count();
        self.replace(Vec::new());
        self.cut(|_| true);
        self.count() != before
    }

    /// Whether calls for this principal are in flight.
    pub(super) fn has_in_flight(&self, key: &Key) -> bool {
        self.running.contains_key(key)
    }

    /// Whether the first thing that waits for this principal is to describe its entry.
    pub(super) fn will_describe(&self, key: &Key) -> bool {
        let first = self.waiting.get(key).and_then(|work| work.calls.front());
        matches!(first, Some(Call::Describe { .. }))
    }

    /// How many wait, and how many are in flight.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(number: usize) -> String {
        format!("arn:aws:iam::111122223333:role/R{number:04}")
    }

    fn key(number: usize) -> Key {
        Key::parse_arn(&arn(number)).expect("an ARN")
    }

    fn describe(number: usize) -> Call {
        Call::Describe {
            principal_arn: arn(number),
        }
    }

    fn delete(number: usize) -> Call {
        Call::Delete {
            principal_arn: arn(number),
        }
    }

    fn work(number: usize, calls: Vec<Call>) -> EntryWork {
        EntryWork {
            key: key(number),
            calls,
            needs_text: false,
        }
    }

    fn burst(numbers: std::ops::Range<usize>) -> Vec<EntryWork> {
        numbers
            .map(|number| work(number, vec![delete(number)]))
            .collect()
    }

    fn started(works: &mut CallQueue) -> Vec<(Key, Priority)> {
        std::iter::from_fn(|| start(works))
            .map(|(key, _, priority)| (key, priority))
            .collect()
    }

    /// The next call, where everything may be sent.
    fn start(works: &mut CallQueue) -> Option<(Key, Call, Priority)> {
        start_unless(works, |_| false)
    }

    fn start_unless(
        works: &mut CallQueue,
        taken: impl Fn(&Call) -> bool,
    ) -> Option<(Key, Call, Priority)> {
        match works.next(taken, |_, _| Ok(()))? {
            NextCall::Send(key, call, priority) => Some((key, call, priority)),
            refused @ NextCall::Refused(..) => panic!("{refused:?}"),
        }
    }

    #[test]
    fn calls_of_one_principal_go_in_order_and_the_first_failure_ends_them() {
        let mut works = CallQueue::default();
        works.replace(vec![work(1, vec![describe(1), delete(1)])]);
        let first = start(&mut works);
        assert_eq!(first, Some((key(1), describe(1), Priority::Urgent)));
        assert!(works.has_in_flight(&key(1)));
        assert_eq!(start(&mut works), None, "one at a time");
        assert!(works.succeeded(&key(1)));
        assert_eq!(
            start(&mut works),
            Some((key(1), delete(1), Priority::Urgent))
        );
        assert!(!works.succeeded(&key(1)));
        assert_eq!(works.count(), (0, 0));

        works.replace(vec![work(1, vec![describe(1), delete(1)])]);
        assert!(start(&mut works).is_some());
        works.failed(&key(1));
        assert_eq!(works.count(), (0, 0));
        assert_eq!(start(&mut works), None);
    }

    /// The rest of a work that has begun waits too, and others go on.
    #[test]
    fn a_work_whose_next_call_waits_is_passed_over() {
        let mut works = CallQueue::default();
        works.replace(vec![work(1, vec![describe(1), delete(1)])]);
        assert!(start(&mut works).is_some());
        assert!(works.succeeded(&key(1)));
        works.replace(vec![work(2, vec![describe(2)])]);
        let deletes = |call: &Call| matches!(call, Call::Delete { .. });
        let next = start_unless(&mut works, deletes);
        assert_eq!(next, Some((key(2), describe(2), Priority::Urgent)));
        assert_eq!(start_unless(&mut works, deletes), None);
        let next = start(&mut works);
        assert_eq!(next, Some((key(1), delete(1), Priority::Urgent)));
    }

    #[test]
    fn each_call_is_judged_when_it_is_sent_and_a_refusal_ends_its_work() {
        let mut works = CallQueue::default();
        works.replace(vec![
            work(1, vec![delete(1)]),
            work(2, vec![describe(2), delete(2)]),
        ]);
        let mut asked = Vec::new();
        let mut next = |works: &mut CallQueue, refused: usize| {
            works.next(
                |_| false,
                |_, calls| {
                    let call = &calls[0];
                    asked.push(call.clone());
                    if *call == delete(refused) {
                        return Err("its mapping has changed".to_owned());
                    }
                    Ok(())
                },
            )
        };
        let why = || "its mapping has changed".to_owned();
        let first = next(&mut works, 1);
        assert_eq!(first, Some(NextCall::Refused(key(1), delete(1), why())));
        assert!(!works.has_in_flight(&key(1)), "it is not sent later either");
        let second = next(&mut works, 1);
        let sent = NextCall::Send(key(2), describe(2), Priority::Urgent);
        assert_eq!(second, Some(sent));
        assert!(works.succeeded(&key(2)));
        let third = next(&mut works, 2);
        assert_eq!(third, Some(NextCall::Refused(key(2), delete(2), why())));
        assert_eq!(next(&mut works, 0), None);
        assert_eq!(asked, [delete(1), describe(2), delete(2)], "each once");
    }

    #[test]
    fn what_has_not_been_sent_can_be_dropped() {
        let mut works = CallQueue::default();
        works.replace(vec![
            work(1, vec![describe(1), delete(1)]),
            work(2, vec![describe(2), delete(2)]),
        ]);
        assert!(start(&mut works).is_some() && start(&mut works).is_some());
        assert!(works.succeeded(&key(1)));
        works.replace(vec![work(3, vec![delete(3)])]);
        assert!(works.drop_unsent());
        assert_eq!(works.count(), (0, 1), "one is in flight");
        assert!(!works.succeeded(&key(2)), "and nothing follows it");
        assert!(!works.drop_unsent());
    }

    #[test]
    fn a_new_plan_replaces_what_waits_and_leaves_what_has_begun() {
        let mut works = CallQueue::default();
        works.replace(burst(0..100));
        let begun = started(&mut works);
        assert_eq!(begun.len(), OF_BURST);
        works.replace(vec![work(0, vec![describe(0)]), work(50, vec![delete(50)])]);
        assert_eq!(works.count(), (1, OF_BURST), "the other plan's are dropped");
        assert!(begun.iter().all(|(key, _)| works.has_in_flight(key)));
        works.replace(Vec::new());
        assert_eq!(works.count(), (0, OF_BURST));
        for (key, _) in &begun {
            assert!(!works.succeeded(key), "to its end");
        }
        assert_eq!(started(&mut works), []);
    }

    #[test]
    fn a_single_change_has_priority_over_a_burst() {
        let mut works = CallQueue::default();
        works.replace(burst(0..100));
        assert!(
            started(&mut works)
                .iter()
                .all(|(_, priority)| *priority == Priority::Background)
        );
        // The next plan asks for the same, for one more, and for something else of one that waits.
        let mut plan = burst(OF_BURST..101);
        plan[60].calls.insert(0, describe(OF_BURST + 60));
        works.replace(plan);
        assert_eq!(
            started(&mut works),
            [
                (key(OF_BURST + 60), Priority::Urgent),
                (key(100), Priority::Urgent)
            ]
        );
        works.failed(&key(0));
        assert_eq!(
            started(&mut works),
            [(key(OF_BURST), Priority::Background)],
            "in the order of the first plan"
        );
    }

    #[test]
    fn a_principal_that_is_taken_waits() {
        let mut works = CallQueue::default();
        works.replace(burst(0..2));
        let taken = |call: &Call| call.principal_arn() == arn(0);
        let (first, ..) = start_unless(&mut works, taken).expect("the other");
        assert_eq!(first, key(1));
        assert_eq!(start_unless(&mut works, taken), None);
        assert!(start(&mut works).is_some());
        works.replace(vec![work(5, vec![describe(5)])]);
        assert!(works.will_describe(&key(5)) && !works.will_describe(&key(0)));
    }

    #[test]
    fn no_more_than_the_bound_are_on_their_way() {
        let mut works = CallQueue::default();
        let mut plan = Vec::new();
        for round in 0..5 {
            plan.extend(burst(round * BURST..(round + 1) * BURST));
            works.replace(plan.clone());
        }
        assert_eq!(started(&mut works).len(), ALL);
        assert_eq!(works.count(), (4 * BURST + BURST - ALL, ALL));
    }
}
