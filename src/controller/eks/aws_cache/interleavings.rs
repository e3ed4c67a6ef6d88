//! Tests that, in any order of sending, effect, answer, loss, listing and description, the real state is among the possible ones.

#![allow(clippy::match_same_arms, reason = "one arm for each step")]

use proptest::prelude::*;

use super::tests::{at, create, failure, key, new, principal, reading, view};
use super::*;
use crate::access_entry::simulation::Eks;
use crate::access_entry::{
    AccessEntry, Association, Call, FailureKind, Kind, Output, Possible, Scope,
};
use crate::api::v1alpha1::EntryType;

/// What may happen next to the entry of `Dev`.
#[derive(Clone, Debug)]
enum Step {
    /// A plan's call is sent, where none is awaited.
    Send(usize),
    /// One of the calls that are in flight takes effect.
    Effect(usize),
    /// The call that is awaited is answered.
    EksAnswer,
    /// Its answer is lost.
    Lose,
    /// It is refused for certain, without effect.
    Throttle,
    Describe,
    /// The entries are listed, as they were so many seconds ago.
    List(i64),
    /// Seconds pass.
    Wait(i64),
}

fn calls() -> Vec<Call> {
    let policy_arn = || "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy".to_owned();
    let (principal_arn, groups) = (principal("Dev"), BTreeSet::from(["g".to_owned()]));
    vec![
        create("Dev"),
        Call::Create {
            principal_arn: principal_arn.clone(),
            kind: Kind::Known(EntryType::EC2Linux),
            username: None,
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
        },
        Call::Update {
            principal_arn: principal_arn.clone(),
            username: Some("dev".to_owned()),
            groups,
        },
        Call::Associate {
            principal_arn: principal_arn.clone(),
            policy_arn: policy_arn(),
            scope: Scope::Cluster,
        },
        Call::Disassociate {
            principal_arn: principal_arn.clone(),
            policy_arn: policy_arn(),
        },
        Call::Delete { principal_arn },
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..calls().len()).prop_map(Step::Send),
        2 => (0..4_usize).prop_map(Step::Effect),
        3 => Just(Step::EksAnswer),
        2 => Just(Step::Lose),
        1 => Just(Step::Throttle),
        3 => Just(Step::Describe),
        2 => (0..30_i64).prop_map(Step::List),
        2 => (1..45_i64).prop_map(Step::Wait),
    ]
}

/// EKS as it is, and what the operator knows of it.
struct World {
    now: i64,
    eks: Eks,
    /// Whether the entry existed, from which second on.
    existed: Vec<(i64, bool)>,
    /// Calls that have not taken effect, the given-up ones with the second of that.
    pending: Vec<(Call, Option<i64>)>,
    awaited: Option<Call>,
    /// What it met, where it has taken effect and its answer is in flight.
    met: Option<Result<Output, Failure>>,
    known: AwsCache,
}

impl World {
    /// A process that began with an entry of someone's, or with none.
    fn begin(exists: bool) -> Self {
        let mut known = new();
        known.cluster_read(Ok(reading(Mode::ApiAndConfigMap, "aa", 0)));
        let mut world = Self {
            now: 0,
            eks: Eks::default(),
            existed: vec![(-1000, exists)],
            pending: Vec::new(),
            awaited: None,
            met: None,
            known,
        };
        if exists {
            world.eks.call(&calls()[0]).expect("there is none");
        }
        world.list(0);
        world
    }

    fn exists(&self) -> bool {
        self.eks.entries.contains_key(&principal("Dev"))
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    fn effect(&mut self, call: &Call) -> Result<Output, Failure> {
        self.eks.now = self.time();
        let before = self.exists();
        let answer = self.eks.call(call);
        if self.exists() != before {
            self.existed.push((self.now, self.exists()));
        }
        answer.map_err(|_| {
            failure(match call {
                Call::Create { .. } => FailureKind::InUse,
                Call::Disassociate { .. } if before => FailureKind::Refused,
                Call::Associate { .. } | Call::Update { .. } if before => FailureKind::Refused,
                _ => FailureKind::EntryMissing,
            })
        })
    }

    fn answer(&mut self, call: &Call, answer: Result<Output, Failure>) {
        let now = self.time();
        self.known
            .answered(&key("Dev"), call, answer, true, now, 0.0);
    }

    fn list(&mut self, ago: i64) {
        let then = self.now - ago;
        let existed = self.existed.iter().rev().find(|(since, _)| *since <= then);
        let listed = existed
            .filter(|(_, existed)| *existed)
            .map(|_| principal("Dev"));
        let listed = (listed.into_iter().collect(), BTreeSet::new());
        let now = self.time();
        self.known.entries_listed(Ok(listed), now, now);
    }

    fn step(&mut self, step: &Step) {
        let now = self.time();
        match step {
            Step::Send(number) if self.awaited.is_none() => {
                let call = calls()[*number].clone();
                self.known.sent(&key("Dev"), &call, now);
                self.pending.push((call.clone(), None));
                self.awaited = Some(call);
            }
            Step::Effect(number) if *number < self.pending.len() => {
                let (call, given_up) = self.pending.remove(*number);
                let met = self.effect(&call);
                if given_up.is_none() {
                    self.met = Some(met);
                }
            }
            Step::EksAnswer => {
                if let Some(call) = self.awaited.take() {
                    self.pending.retain(|(_, given_up)| given_up.is_some());
                    let met = self.met.take();
                    let answer = met.unwrap_or_else(|| self.effect(&call));
                    self.answer(&call, answer);
                }
            }
            Step::Throttle if self.met.is_none() => {
                if let Some(call) = self.awaited.take() {
                    self.pending.retain(|(_, given_up)| given_up.is_some());
                    self.answer(&call, Err(failure(FailureKind::Throttled)));
                }
            }
            Step::Lose => {
                if let Some(call) = self.awaited.take() {
                    self.met = None;
                    for (_, given_up) in &mut self.pending {
                        given_up.get_or_insert(self.now);
                    }
                    self.answer(&call, Err(failure(FailureKind::Unavailable)));
                }
            }
            // One call at a time for a principal, descriptions included.
            Step::Describe if self.awaited.is_none() => {
                let principal_arn = principal("Dev");
                let call = Call::Describe {
                    principal_arn: principal_arn.clone(),
                };
                let answer = self.effect(&call);
                self.known.described(&principal_arn, answer, now, now);
            }
            Step::List(ago) => self.list(*ago),
            Step::Wait(seconds) => {
                self.now += seconds;
                let now = self.now;
                self.pending
                    .retain(|(_, given_up)| given_up.is_none_or(|then| then + 30 > now));
            }
            Step::Send(_) | Step::Effect(_) | Step::Throttle | Step::Describe => {}
        }
        self.known.tick(self.time());
    }

    fn possible(&self) -> Possible {
        view(self.known.state(None)).possible_where_named(&principal("Dev"))
    }

    /// What is decided by: not the times, nor EKS's own name of it.
    fn content(entry: &AccessEntry) -> AccessEntry {
        let policies = entry.policies.iter().map(|(policy, association)| {
            let association = Association {
                scope: association.scope.clone(),
                associated: at(0),
                modified: at(0),
            };
            (policy.clone(), association)
        });
        AccessEntry {
            arn: String::new(),
            created: at(0),
            modified: at(0),
            policies: policies.collect(),
            ..entry.clone()
        }
    }

    fn holds(&self) -> bool {
        let possible = self.possible();
        match self.eks.entries.get(&principal("Dev")) {
            None => possible.absent,
            Some(entry) => {
                let mut entries = possible.entries.iter().map(Self::content);
                possible.unseen || entries.any(|it| it == Self::content(entry))
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(256))]
    #[test]
    fn what_is_possible_holds_what_is(
        exists in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = World::begin(exists);
        prop_assert!(world.holds(), "{:?}", world.possible());
        for (number, step) in steps.iter().enumerate() {
            world.step(step);
            prop_assert!(
                world.holds(),
                "after {:?}: {:?} is not in {:?}",
                &steps[..=number], world.eks.entries, world.possible()
            );
        }
        // Once everything is answered or over, a description makes it certain.
        for step in [Step::EksAnswer, Step::Wait(31), Step::Describe] {
            world.step(&step);
        }
        let possible = world.possible();
        if world.exists() {
            prop_assert!(possible.certain().is_some(), "{possible:?}");
        } else {
            prop_assert_eq!(possible, Possible::none());
        }
    }
}
