//! What the pure core costs: reading, editing and planning, without any cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use identity_mapper::api::IdentityMapping;
use identity_mapper::api::finalizer::Finalizers;
use identity_mapper::aws_auth::{Document, EntryEdit, NewEntry, Section, edit};
use identity_mapper::desired::{Desired, Mapping};
use identity_mapper::observed::{
    Bindings, ConfigMapView, HistoryState, HistoryView, Observed, Settings,
};
use identity_mapper::plan::{ConfigMapWrite, Memory, Outcome, plan};
use identity_mapper::time::Timestamp;

use crate::entries;
use crate::support::fleet;
use crate::table::{Human, Table, cost};

/// A cluster as a value.
struct World {
    objects: Vec<IdentityMapping>,
    desired: Desired,
    observed: Observed,
    settings: Settings,
    memory: Memory,
}

impl World {
    /// Foreign entries and these mappings, none of which is written yet.
    fn new(count: usize) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let objects: Vec<_> = (0..count).map(object).collect();
        Self {
            desired: desired(&objects),
            objects,
            observed: Observed {
                now,
                config_map: Some(ConfigMapView {
                    uid: "u".to_owned(),
                    resource_version: "1".to_owned(),
                    ..ConfigMapView::from_object(&fleet::aws_auth(BTreeMap::new()))
                }),
                history: HistoryState::Present(HistoryView::default()),
                bindings: Bindings::default(),
                aws: identity_mapper::observed::AwsState::Off,
                crd_deleting: false,
            },
            settings: Settings::default(),
            memory: Memory::default(),
        }
    }

    fn pass(&mut self) -> bool {
        let planned = plan(&self.desired, &self.observed, &self.settings, &self.memory);
        let outcome = planned
            .config_map
            .as_ref()
            .map_or(Outcome::NothingToWrite, |_| written());
        let report = planned.report(&outcome);
        let write = planned.config_map.as_deref().cloned();
        let works = planned.entries.clone();
        let progress = write.is_some() || !report.statuses.is_empty() || !works.is_empty();
        if let (
            Some(ConfigMapWrite::Patch {
                data, annotations, ..
            }),
            Some(view),
        ) = (write, &mut self.observed.config_map)
        {
            let texts = data.into_iter();
            view.data
                .extend(texts.filter_map(|(key, text)| Some((key, text?))));
            let set = annotations
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)));
            view.annotations.extend(set);
        }
        let mut statuses: BTreeMap<_, _> = report
            .statuses
            .into_iter()
            .map(|write| (write.name, write.status))
            .collect();
        for object in &mut self.objects {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            if let Some(status) = statuses.remove(name) {
                object.status = Some(status);
            }
        }
        entries::execute(&mut self.observed.aws, &works, self.observed.now);
        self.desired = desired(&self.objects);
        self.memory = report.memory;
        progress
    }

    fn settled(mut self) -> Self {
        while self.pass() {}
        self
    }

    /// This cluster after a change.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self {
            objects: self.objects.clone(),
            desired: self.desired.clone(),
            observed: self.observed.clone(),
            settings: self.settings.clone(),
            memory: self.memory.clone(),
        };
        change(&mut world);
        world.desired = desired(&world.objects);
        world
    }

    fn data(&self) -> &BTreeMap<String, String> {
        let view = self.observed.config_map.as_ref();
        &view.expect("aws-auth stands").data
    }

    /// The same cluster in `API_AND_CONFIG_MAP` mode, where new mappings become access entries.
    fn in_eks(count: usize) -> Self {
        let mut world = Self::new(count);
        world.observed.aws = entries::known(count, world.observed.now);
        world
    }

    /// One pass, with what came of it.
    fn plan_and_report(&self) {
        let planned = plan(&self.desired, &self.observed, &self.settings, &self.memory);
        let outcome = planned
            .config_map
            .as_ref()
            .map_or(Outcome::NothingToWrite, |_| written());
        std::hint::black_box(planned.report(&outcome));
    }
}

fn object(number: usize) -> IdentityMapping {
    let mut object = fleet::mapping(number);
    let metadata = &mut object.metadata;
    metadata.uid = Some(format!("uid-{number}"));
    metadata.generation = Some(1);
    metadata.finalizers = Some(
        Finalizers::BOTH
            .iter()
            .map(|ours| ours.as_str().to_owned())
            .collect(),
    );
    object
}

fn desired(objects: &[IdentityMapping]) -> Desired {
    Desired {
        mappings: objects.iter().map(Mapping::from_object).collect(),
    }
}

fn written() -> Outcome {
    Outcome::Written {
        resource_version: "2".to_owned(),
        uid: "u".to_owned(),
    }
}

fn new_entry(number: usize) -> NewEntry {
    NewEntry {
        section: Section::Roles,
        arn: format!("arn:aws:iam::111122223333:role/{}", fleet::role(number)),
        username: "someone".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
    }
}

/// What one size costs, by what is done.
fn costs(count: usize) -> Vec<(&'static str, Duration)> {
    let settled = World::new(count).settled();
    let fresh = World::new(count);
    let one_more = settled.with(|world| world.objects.push(object(count)));
    let one_changed = settled.with(|world| {
        let view = world.observed.config_map.as_mut().expect("stands");
        let text = view.data.get_mut("mapRoles").expect("stands");
        *text = text.replacen("team-01", "vandals", 1);
    });
    // Every second one names the principal of the one before it.
    let duplicates = settled.with(|world| {
        for number in 0..count / 2 {
            world.objects[2 * number + 1].spec = world.objects[2 * number].spec.clone();
        }
    });
    let full = settled.with(|world| {
        let view = world.observed.config_map.as_mut().expect("stands");
        let annotation = "kubectl.kubernetes.io/last-applied-configuration".to_owned();
        let mark = 26 * count;
        view.annotations
            .insert(annotation, "x".repeat(262_144 - mark - 1000));
        world
            .objects
            .extend((count..count + count / 10).map(object));
    });
    let data = settled.data();
    let one = [EntryEdit::Append(new_entry(count))];
    vec![
        ("read the text", cost(|| Document::parse(data))),
        (
            "add one entry to the text, and verify it",
            cost(|| edit(data, &one)),
        ),
        (
            "copy the mappings for a pass",
            cost(|| settled.desired.clone()),
        ),
        (
            "a pass that finds nothing to do",
            cost(|| settled.plan_and_report()),
        ),
        (
            "a pass for one new mapping",
            cost(|| one_more.plan_and_report()),
        ),
        (
            "a pass that repairs one entry",
            cost(|| one_changed.plan_and_report()),
        ),
        (
            "a pass for all of them, new",
            cost(|| fresh.plan_and_report()),
        ),
        (
            "a pass where every second one is a duplicate",
            cost(|| duplicates.plan_and_report()),
        ),
        (
            "a pass where a tenth does not fit",
            cost(|| full.plan_and_report()),
        ),
    ]
}

/// What one size costs where the mappings are access entries.
fn entry_costs(count: usize) -> Vec<(&'static str, Duration)> {
    let settled = World::in_eks(count).settled();
    let fresh = World::in_eks(count);
    let one_more = settled.with(|world| world.objects.push(object(count)));
    let one_changed = settled.with(|world| entries::vandalise(&mut world.observed.aws));
    vec![
        (
            "access entries: a pass that finds nothing to do",
            cost(|| settled.plan_and_report()),
        ),
        (
            "access entries: a pass for one new mapping",
            cost(|| one_more.plan_and_report()),
        ),
        (
            "access entries: a pass that repairs one",
            cost(|| one_changed.plan_and_report()),
        ),
        (
            "access entries: a pass for all of them, new",
            cost(|| fresh.plan_and_report()),
        ),
    ]
}

/// Measures and prints.
pub(crate) fn run() {
    let all = |count| [costs(count), entry_costs(count)].concat();
    let (small, large) = (all(1000), all(3000));
    let mut table = Table::default();
    for ((what, small), (_, large)) in small.into_iter().zip(large) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        let value = format!("{}, {} ({ratio:.1} times)", Human(small), Human(large));
        table.row(what, value);
    }
    let bytes = World::new(3000)
        .settled()
        .data()
        .values()
        .map(String::len)
        .sum::<usize>();
    table.row("bytes of data with 3,000 mappings", bytes);
    table.print("The pure core, with 1,000 and with 3,000 mappings");
}
