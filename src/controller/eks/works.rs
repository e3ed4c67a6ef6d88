//! The calls that the last plan asks for: which are on their way, and which wait. Pure.
//!
//! A plan is about the whole set, so each one replaces what waited of the one before: a mapping that is deleted while its entry
//! waits to be made in a burst of thousands is never made. What has begun goes on to its end or its first failure. For one
//! principal there is one work at a time, and its calls go in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::access_entry::Call;
use crate::aws::Priority;
use crate::plan::EntryWork;
use crate::principal::Key;

/// A plan that asks for no more new works than these makes a change; one that asks for more, a burst, which lets changes go first.
const BURST: usize = 20;

/// So many works of a burst are on their way at once, and so many with those of changes. The gate of all calls bounds them again.
const OF_BURST: usize = 8;
const ALL: usize = 24;

#[derive(Debug)]
struct Waiting {
    calls: VecDeque<Call>,
    priority: Priority,
}

/// All works.
#[derive(Debug, Default)]
pub(super) struct Works {
    waiting: BTreeMap<Key, Waiting>,
    /// The order in which they wait, by priority.
    urgent: VecDeque<Key>,
    burst: VecDeque<Key>,
    /// What is left of those that have begun; the first call is on its way.
    running: BTreeMap<Key, Waiting>,
    busy: Arc<BTreeSet<Key>>,
}

impl Works {
    /// Takes the works of a new plan in place of those that wait. One that waited already and asks for the same keeps its place.
    pub(super) fn replace(&mut self, works: Vec<EntryWork>) {
        let mut before = std::mem::take(&mut self.waiting);
        let mut new = Vec::new();
        for EntryWork { key, calls } in works {
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

    /// The first call of the next work that may begin; principals that are `taken` wait.
    pub(super) fn start(&mut self, taken: impl Fn(&Call) -> bool) -> Option<(Key, Call, Priority)> {
        let of_burst = self
            .running
            .values()
            .filter(|work| work.priority == Priority::Background);
        let room_in_burst = of_burst.count() < OF_BURST;
        if self.running.len() >= ALL {
            return None;
        }
        let waiting = &self.waiting;
        let first = |key: &Key| waiting.get(key)?.calls.front();
        let free = |key: &Key| first(key).is_some_and(|call| !taken(call));
        let key = if let Some(place) = self.urgent.iter().position(free) {
            self.urgent.remove(place)
        } else if room_in_burst {
            let place = self.burst.iter().position(free)?;
            self.burst.remove(place)
        } else {
            None
        }?;
        let work = self.waiting.remove(&key)?;
        let (call, priority) = (work.calls.front()?.clone(), work.priority);
        Arc::make_mut(&mut self.busy).insert(key.clone());
        self.running.insert(key.clone(), work);
        Some((key, call, priority))
    }

    /// The call that was on its way stands. Gives the next one; `None`: the work is done.
    pub(super) fn succeeded(&mut self, key: &Key) -> Option<(Call, Priority)> {
        if let Some(work) = self.running.get_mut(key) {
            work.calls.pop_front();
            if let Some(call) = work.calls.front() {
                return Some((call.clone(), work.priority));
            }
        }
        self.failed(key);
        None
    }

    /// The call that was on its way failed, which ends its work.
    pub(super) fn failed(&mut self, key: &Key) {
        if self.running.remove(key).is_some() {
            Arc::make_mut(&mut self.busy).remove(key);
        }
    }

    /// Whether calls for this principal are on their way.
    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.running.contains_key(key)
    }

    /// Whether the first thing that waits for this principal is to describe its entry.
    pub(super) fn will_describe(&self, key: &Key) -> bool {
        let first = self.waiting.get(key).and_then(|work| work.calls.front());
        matches!(first, Some(Call::Describe { .. }))
    }

    /// Principals whose calls are on their way.
    pub(super) fn busy(&self) -> &Arc<BTreeSet<Key>> {
        &self.busy
    }

    /// How many wait, and how many are on their way.
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
        }
    }

    fn burst(numbers: std::ops::Range<usize>) -> Vec<EntryWork> {
        numbers
            .map(|number| work(number, vec![delete(number)]))
            .collect()
    }

    fn started(works: &mut Works) -> Vec<(Key, Priority)> {
        std::iter::from_fn(|| works.start(|_| false))
            .map(|(key, _, priority)| (key, priority))
            .collect()
    }

    #[test]
    fn calls_of_one_principal_go_in_order_and_the_first_failure_ends_them() {
        let mut works = Works::default();
        works.replace(vec![work(1, vec![describe(1), delete(1)])]);
        let first = works.start(|_| false);
        assert_eq!(first, Some((key(1), describe(1), Priority::Urgent)));
        assert!(works.busy().contains(&key(1)) && works.is_busy(&key(1)));
        assert_eq!(works.start(|_| false), None, "one at a time");
        assert_eq!(
            works.succeeded(&key(1)),
            Some((delete(1), Priority::Urgent))
        );
        assert_eq!(works.succeeded(&key(1)), None);
        assert_eq!((works.count(), works.busy().len()), ((0, 0), 0));

        works.replace(vec![work(1, vec![describe(1), delete(1)])]);
        assert!(works.start(|_| false).is_some());
        works.failed(&key(1));
        assert_eq!((works.count(), works.busy().len()), ((0, 0), 0));
    }

    #[test]
    fn a_new_plan_replaces_what_waits_and_leaves_what_has_begun() {
        let mut works = Works::default();
        works.replace(burst(0..100));
        assert_eq!(started(&mut works).len(), OF_BURST);
        let begun = works.busy().clone();
        works.replace(vec![work(0, vec![describe(0)]), work(50, vec![delete(50)])]);
        assert_eq!(works.count(), (1, OF_BURST), "the other plan's are dropped");
        assert_eq!(*works.busy(), begun);
        works.replace(Vec::new());
        assert_eq!(works.count(), (0, OF_BURST));
        for key in begun.iter() {
            assert_eq!(works.succeeded(key), None, "to its end");
        }
        assert_eq!(started(&mut works), []);
    }

    #[test]
    fn a_lone_change_goes_before_a_burst() {
        let mut works = Works::default();
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
        let mut works = Works::default();
        works.replace(burst(0..2));
        let taken = |call: &Call| call.principal_arn() == arn(0);
        let (first, ..) = works.start(taken).expect("the other");
        assert_eq!(first, key(1));
        assert_eq!(works.start(taken), None);
        assert!(works.start(|_| false).is_some());
        works.replace(vec![work(5, vec![describe(5)])]);
        assert!(works.will_describe(&key(5)) && !works.will_describe(&key(0)));
    }

    #[test]
    fn no_more_than_the_bound_are_on_their_way() {
        let mut works = Works::default();
        let mut plan = Vec::new();
        for round in 0..5 {
            plan.extend(burst(round * BURST..(round + 1) * BURST));
            works.replace(plan.clone());
        }
        assert_eq!(started(&mut works).len(), ALL);
        assert_eq!(works.count(), (4 * BURST + BURST - ALL, ALL));
    }
}
