//! A simulated cluster with faults, as a value: everything that can happen between two steps of the operator. For tests.
//!
//! Calls to EKS take effect some time after they were sent and are answered some time after that; answers are lost; listings show
//! what was; the process ends between any two effects and forgets; other people write in between; clocks jump. What the operator
//! does is its own code, effect by effect: [`plan`], and the pure half of the loop's side of EKS ([`AwsCache`], [`CallQueue`]). The
//! [`judge`] looks at what is really there after every step and shares no decision with the code that it judges.
//!
//! A run is a list of [`Step`]s, which can be printed, shortened and run again. [`search`] tries all runs that depart from the kind
//! one at most so often, [`random`] departs at random, [`stories`] are runs that went wrong once.
//!
//! [`plan`]: crate::plan::plan
//! [`AwsCache`]: super::aws_cache::AwsCache
//! [`CallQueue`]: super::call_queue::CallQueue

#![allow(clippy::doc_markdown, reason = "names of a test model")]

mod access;
mod act;
mod calls;
mod declared;
mod judge;
mod ledger;
mod operator;
mod pass;
mod random;
mod scenes;
mod search;
mod small;
mod step;
mod stories;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;

use k8s_openapi::api::core::v1::ConfigMap;

use self::access::Accesses;
use self::act::Act;
use self::calls::{Flight, Past};
use self::declared::{Since, WorldMapping};
use self::ledger::Ledger;
use self::operator::Operator;
use self::step::Step;
use crate::access_entry::simulation::Eks;
use crate::api::IdentityMapping;
use crate::observed::{BindingSubjects, ConfigMapView, Mode, Settings};
use crate::time::Timestamp;

/// A listing may show what was so long ago, and a call that nobody waits for any more may take effect so much later.
const LAG: SignedDuration = SignedDuration::from_secs(30);

/// A call is given up after so long.
const TIME_LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// What is really there, and the operator.
#[derive(Clone, Debug)]
struct World {
    now: Timestamp,
    /// How far the operator's clock is ahead.
    skew: SignedDuration,
    objects: BTreeMap<String, IdentityMapping>,
    created: i64,
    config_map: Option<ConfigMapView>,
    history: Option<ConfigMap>,
    bindings: Vec<BindingSubjects>,
    mode: Mode,
    /// Whether the CustomResourceDefinition is being deleted.
    definition_deleting: bool,
    eks: Eks,
    past: Past,
    flights: VecDeque<Flight>,
    /// Principals whose access entry someone else changed, and which the operator did not read since.
    unseen: BTreeSet<String>,
    /// Those that the operator would find changed if it read them: by someone else, or by a call that it gave up.
    unread: BTreeSet<String>,
    /// What people are still going to do, in this order.
    script: VecDeque<Act>,
    operator: Operator,
    settings: Settings,
    ledger: Ledger,
    /// Who has access now.
    access: Arc<Accesses>,
    /// What the mappings declare now.
    declared: Arc<Vec<WorldMapping>>,
}

impl World {
    /// A cluster with this `mapRoles`, of which the operator knows nothing yet.
    fn new(mode: Mode, roles: &str) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let config_map = ConfigMapView {
            uid: "cm".to_owned(),
            resource_version: "1".to_owned(),
            data: [("mapRoles".to_owned(), roles.to_owned())].into(),
            ..ConfigMapView::default()
        };
        let mut world = Self {
            now,
            skew: SignedDuration::ZERO,
            objects: BTreeMap::new(),
            created: 0,
            config_map: Some(config_map),
            history: None,
            bindings: Vec::new(),
            mode,
            definition_deleting: false,
            eks: Eks::default(),
            past: Past::default(),
            flights: VecDeque::new(),
            unseen: BTreeSet::new(),
            unread: BTreeSet::new(),
            script: VecDeque::new(),
            operator: Operator::new(now),
            settings: Settings {
                soak: SignedDuration::from_secs(60),
                ..Settings::default()
            },
            ledger: Ledger::default(),
            access: Arc::default(),
            declared: Arc::default(),
        };
        world.ledger.text_by_others(world.config_map.as_ref());
        world.access = Arc::new(Accesses::of(&world));
        world
    }

    /// The operator's clock.
    fn clock(&self) -> Timestamp {
        self.now.plus(self.skew)
    }

    /// One step, judged. `Err` says which law it breaks.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let before = judge::Before::of(self);
        let since = self.make(step);
        self.declare();
        self.access = Arc::new(Accesses::of(self));
        judge::judge(self, &before, since.as_ref())
    }

    /// The mappings may have changed: whatever is in flight was decided before that.
    fn declare(&mut self) {
        let now = WorldMapping::all(&self.objects);
        if now == *self.declared {
            return;
        }
        self.declared = Arc::new(now);
        let declared = Arc::clone(&self.declared);
        self.contexts().for_each(|since| since.declared(&declared));
    }

    /// What everything that is in flight was decided by.
    fn contexts(&mut self) -> impl Iterator<Item = &mut Since> {
        let flights = self.flights.iter_mut().map(|flight| &mut flight.since);
        flights.chain(self.operator.contexts())
    }

    /// What is decided now is decided by this.
    fn since(&self) -> Since {
        Since {
            definition_deleting: self.definition_deleting,
            ..Since::new(self.clock(), &self.declared)
        }
    }

    /// An access entry of this principal, by the name of its role.
    fn entry(&self, role: &str) -> Option<&crate::access_entry::AccessEntry> {
        self.eks.entries.get(&act::arn(role))
    }
}
