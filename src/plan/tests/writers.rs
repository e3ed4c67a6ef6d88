//! aws-auth while three write it: every interleaving of the operator's protocol (read, plan, write the history, write aws-auth, report)
//! with two others who read and write the whole text, where the operator dies at any point, or another replica takes over and a write of
//! the first comes later, and answers are lost.
//!
//! The planner is the real one. The API server is a value with the one rule that the protocol rests on: a write that carries a
//! resourceVersion is refused once that is not the current one. A state is entered once, whichever way led to it.

use std::collections::BTreeSet;

use serde_json::json;

use super::FOREIGN;
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::desired::Desired;
use crate::observed::{HistoryState, Observed};
use crate::plan::simulation::Simulation;
use crate::plan::{FinalizerChange, Memory, Outcome, WriteFailure, plan};

/// The environment variable that says how often a run departs from the one in which nothing fails, as for the simulated cluster: once by a
/// death or a lost answer, or with 2 by both.
const DEPARTURES: &str = "IDENTITY_MAPPER_DEPARTURES";

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerFate {
    Done,
    /// It has its effect, and its answer is lost.
    Unanswered,
    /// It never arrives, and no answer comes.
    Unsent,
}

/// How another writer edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// EKS for a node group: an entry at the end, the rest as it was read, by resourceVersion.
    NodeGroup,
    /// eksctl: all entries written anew in another form without comments, one more, by resourceVersion.
    Eksctl,
    /// `kubectl replace` of a manifest that knows of no annotation, with one entry more, by resourceVersion.
    Replace,
    /// `kubectl edit`: a comment and an entry. The patch carries no resourceVersion, and overwrites what came in between.
    Person,
    /// Terraform: the text of its own, whatever is present.
    Terraform,
}

impl Habit {
    /// The role of its entry.
    const fn role(self) -> &'static str {
        match self {
            Self::NodeGroup => "node-group",
            Self::Eksctl => "eksctl",
            Self::Replace => "replace",
            Self::Person => "person",
            Self::Terraform => "terraform",
        }
    }

    /// Whether it can overwrite what it has not read.
    const fn is_blind(self) -> bool {
        matches!(self, Self::Person | Self::Terraform)
    }

    fn entry(self) -> String {
        let role = self.role();
        format!(
            "- groups:\n  - {role}\n  rolearn: arn:aws:iam::111122223333:role/{role}\n  username: {role}\n"
        )
    }

    /// The text that it makes of what it has read.
    fn edit(self, read: &Simulation) -> String {
        let entry = self.entry();
        match self {
            Self::NodeGroup | Self::Replace => read.roles() + &entry,
            Self::Person => format!("# by {}\n{entry}{}", self.role(), read.roles()),
            Self::Terraform => format!("{FOREIGN}{entry}"),
            Self::Eksctl => {
                let entries = read.entries().into_iter().map(|(arn, username, groups)| {
                    let groups = groups.replace(',', "\n  - ");
                    format!(
                        "- groups:\n  - {groups}\n  rolearn: arn:aws:iam::111122223333:{arn}\n  username: '{username}'\n"
                    )
                });
                entries.collect::<String>() + &entry
            }
        }
    }
}

/// Another writer.
#[derive(Clone, Debug)]
struct OtherWriter {
    habit: Habit,
    done: bool,
    /// What it has read.
    read: Option<Box<Simulation>>,
}

/// How far the operator's pass is.
#[derive(Clone, Debug)]
enum PassPhase {
    Idle,
    /// It has read this, and plans from it.
    Read {
        desired: Desired,
        observed: Box<Observed>,
        finalizers_added: bool,
    },
    /// aws-auth is written or not, and this waits to be.
    Outbox {
        statuses: Vec<(String, IdentityMappingStatus)>,
        changes: Vec<FinalizerChange>,
    },
}

#[derive(Clone, Debug)]
struct Interleaving {
    /// What the API server holds, and the operator's memory.
    server: Simulation,
    phase: PassPhase,
    /// The operator has something to look at.
    dirty: bool,
    others: Vec<OtherWriter>,
    /// The pass and the memory of a leader that another one followed, while its next write is on its way.
    late: Option<Box<(PassPhase, Memory)>>,
    crashes: usize,
    lost: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterStep {
    Operator(AnswerFate),
    Crash,
    TakeOver,
    Late,
    Other(usize, AnswerFate),
}

/// What is declared in the end, by mapping.
type DeclaredGroups = [(&'static str, Option<&'static str>); 2];

impl Interleaving {
    fn version(&self) -> Option<&str> {
        let view = self.server.config_map.as_ref();
        view.map(|view| view.resource_version.as_str())
    }

    fn steps(&self) -> Vec<WriterStep> {
        let mut fates = vec![AnswerFate::Done];
        if self.lost > 0 {
            fates.extend([AnswerFate::Unanswered, AnswerFate::Unsent]);
        }
        let mut steps = Vec::new();
        match self.phase {
            PassPhase::Idle if self.dirty => steps.push(WriterStep::Operator(AnswerFate::Done)),
            PassPhase::Idle => {}
            PassPhase::Read { .. } | PassPhase::Outbox { .. } => {
                steps.extend(fates.iter().map(|fate| WriterStep::Operator(*fate)));
            }
        }
        if self.crashes > 0 && !matches!(self.phase, PassPhase::Idle) {
            steps.extend([WriterStep::Crash, WriterStep::TakeOver]);
        }
        if self.late.is_some() {
            steps.push(WriterStep::Late);
        }
        for (number, other) in self.others.iter().enumerate().filter(|(_, it)| !it.done) {
            if other.read.is_none() {
                steps.push(WriterStep::Other(number, AnswerFate::Done));
            } else {
                steps.extend(fates.iter().map(|fate| WriterStep::Other(number, *fate)));
            }
        }
        steps
    }

    fn make(&mut self, step: WriterStep) {
        if let WriterStep::Operator(fate) | WriterStep::Other(_, fate) = step
            && fate != AnswerFate::Done
        {
            self.lost -= 1;
        }
        match step {
            WriterStep::Crash => {
                self.crashes -= 1;
                self.server.memory = Memory::default();
                self.phase = PassPhase::Idle;
                self.dirty = true;
            }
            WriterStep::TakeOver => {
                self.crashes -= 1;
                let phase = std::mem::replace(&mut self.phase, PassPhase::Idle);
                self.late = Some(Box::new((phase, std::mem::take(&mut self.server.memory))));
                self.dirty = true;
            }
            WriterStep::Late => {
                let (phase, memory) = *self.late.take().expect("on its way");
                let phase = std::mem::replace(&mut self.phase, phase);
                let memory = std::mem::replace(&mut self.server.memory, memory);
                self.operator(AnswerFate::Done);
                (self.phase, self.server.memory) = (phase, memory);
                // The watch tells of it.
                self.dirty = true;
            }
            WriterStep::Other(number, fate) => self.other(number, fate),
            WriterStep::Operator(fate) => self.operator(fate),
        }
    }

    fn other(&mut self, number: usize, fate: AnswerFate) {
        let habit = self.others[number].habit;
        let Some(read) = self.others[number].read.take() else {
            // One whose answer was lost finds its entry.
            let arn = format!("role/{}", habit.role());
            self.others[number].done = self.server.entries().iter().any(|(it, ..)| *it == arn);
            if !self.others[number].done {
                self.others[number].read = Some(Box::new(self.server.clone()));
            }
            return;
        };
        let version =
            |it: &Simulation| it.config_map.as_ref().map(|it| it.resource_version.clone());
        if fate == AnswerFate::Unsent
            || (!habit.is_blind() && version(&read) != version(&self.server))
        {
            // It reads again.
            return;
        }
        self.server.vandalise("mapRoles", &habit.edit(&read));
        if habit == Habit::Replace
            && let Some(view) = &mut self.server.config_map
        {
            view.annotations.clear();
        }
        self.others[number].done = fate == AnswerFate::Done;
        self.dirty = true;
    }

    fn operator(&mut self, fate: AnswerFate) {
        match std::mem::replace(&mut self.phase, PassPhase::Idle) {
            PassPhase::Idle => {
                self.dirty = false;
                self.phase = PassPhase::Read {
                    desired: self.server.desired(),
                    observed: Box::new(self.server.observed()),
                    finalizers_added: false,
                };
            }
            PassPhase::Read {
                desired,
                observed,
                finalizers_added,
            } => self.go_on(desired, observed, finalizers_added, fate),
            PassPhase::Outbox { statuses, changes } => {
                if fate != AnswerFate::Unsent {
                    for (name, status) in &statuses {
                        if let Some(object) = self.server.objects.get_mut(name) {
                            object.status = Some(status.clone());
                        }
                    }
                    for change in &changes {
                        self.change(change);
                    }
                }
                if fate != AnswerFate::Done {
                    self.phase = PassPhase::Outbox { statuses, changes };
                }
            }
        }
    }

    /// One that is gone is left out, as the uid in the patch does it.
    fn change(&mut self, change: &FinalizerChange) {
        if self.server.objects.contains_key(&change.name) {
            self.server.change_finalizers(change);
        }
    }

    /// The next write of a pass.
    fn go_on(
        &mut self,
        mut desired: Desired,
        mut observed: Box<Observed>,
        finalizers_added: bool,
        fate: AnswerFate,
    ) {
        let (settings, memory) = (self.server.settings.clone(), self.server.memory.clone());
        let mut planned = plan(&desired, &observed, &settings, &memory);
        if !finalizers_added && !planned.add_finalizers.is_empty() {
            let changes = std::mem::take(&mut planned.add_finalizers);
            drop(planned);
            if fate != AnswerFate::Unsent {
                for change in &changes {
                    self.change(change);
                }
            }
            // Where no answer came the mapping waits.
            self.dirty |= fate != AnswerFate::Done;
            if fate == AnswerFate::Done {
                desired = self.server.desired();
            }
            self.phase = PassPhase::Read {
                desired,
                observed,
                finalizers_added: true,
            };
            return;
        }
        if let Some(write) = planned.history.take() {
            drop(planned);
            let current = self.server.history.as_ref();
            if current.map(|it| &it.resource_version) != write.resource_version.as_ref() {
                self.dirty = true;
                return;
            }
            if fate != AnswerFate::Unsent {
                self.server.write_history(write);
            }
            observed.history = match (fate, self.server.history.clone()) {
                (AnswerFate::Done, Some(view)) => HistoryState::Present(view),
                (_, _) => HistoryState::Unwritable {
                    view: observed.history.view().cloned(),
                    error: "no answer".to_owned(),
                },
            };
            self.dirty |= fate != AnswerFate::Done;
            self.phase = PassPhase::Read {
                desired,
                observed,
                finalizers_added,
            };
            return;
        }
        let outcome = match planned.config_map.as_deref().cloned() {
            None => Outcome::NothingToWrite,
            Some(write) => {
                let read = observed.config_map.as_ref();
                if read.map(|it| it.resource_version.as_str()) != self.version() {
                    self.dirty = true;
                    return;
                }
                let failed = || Outcome::Failed(WriteFailure::Unavailable("no answer".to_owned()));
                match fate {
                    AnswerFate::Done => self.server.write(write),
                    AnswerFate::Unanswered => {
                        self.server.write(write);
                        failed()
                    }
                    AnswerFate::Unsent => failed(),
                }
            }
        };
        // The watch tells of it.
        self.dirty |= fate != AnswerFate::Done || outcome != Outcome::NothingToWrite;
        let report = planned.report(&outcome);
        let statuses = report.statuses.iter();
        let statuses = statuses.map(|it| (it.name.clone(), it.status.clone()));
        self.phase = PassPhase::Outbox {
            statuses: statuses.collect(),
            changes: report
                .change_finalizers
                .iter()
                .map(|it| (**it).clone())
                .collect(),
        };
        self.server.memory = report.memory;
    }

    /// All that matters for what may follow.
    fn key(&self) -> String {
        let server = &self.server;
        format!(
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{}{}{}",
            server.config_map,
            server.history,
            server.objects,
            server.memory,
            self.phase,
            self.late,
            self.others
                .iter()
                .map(|it| (it.done, it.read.as_ref().map(|read| &read.config_map)))
                .collect::<Vec<_>>(),
            self.dirty,
            self.crashes,
            self.lost,
        )
    }
}

/// The text without the entries of these roles, in whatever form they stand.
fn without(text: &str, roles: &[&str]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if line.starts_with(' ') => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    let ours = |part: &String| {
        roles
            .iter()
            .any(|role| part.contains(&format!("role/{role}")))
    };
    parts.into_iter().filter(|part| !ours(part)).collect()
}

/// What a write of the operator must leave as it is, and what there may never be.
fn judge(before: &Interleaving, step: WriterStep, after: &Interleaving) -> Result<(), String> {
    let (old, new) = (before.server.roles(), after.server.roles());
    let names = ["m", "n"];
    let operators = matches!(step, WriterStep::Operator(_) | WriterStep::Late);
    if operators && without(&old, &names) != without(&new, &names) {
        return Err(format!("an unmanaged byte changed:\n{old}\nto\n{new}"));
    }
    let entries = after.server.entries();
    for name in names {
        let arn = format!("role/{name}");
        let count = entries.iter().filter(|(it, ..)| *it == arn).count();
        if count > 1 {
            return Err(format!("{name} is present {count} times in\n{new}"));
        }
    }
    Ok(())
}

/// What must be so once everyone is done.
fn judge_end(world: &Interleaving, blind: bool, declared: &DeclaredGroups) -> Result<(), String> {
    let entries = world.server.entries();
    let text = world.server.roles();
    for (name, groups) in declared {
        let arn = format!("role/{name}");
        let found = entries.iter().find(|(it, ..)| *it == arn);
        // Who overwrites without looking may bring back what was revoked since they read: as an entry of their own.
        if blind && groups.is_none() {
            continue;
        }
        if found.map(|(_, _, groups)| groups.as_str()) != *groups {
            return Err(format!("{name} is not {groups:?} in\n{text}"));
        }
    }
    for other in world.others.iter().filter(|_| !blind) {
        let arn = format!("role/{}", other.habit.role());
        if entries.iter().filter(|(it, ..)| *it == arn).count() != 1 {
            return Err(format!("{:?} lost its entry:\n{text}", other.habit));
        }
    }
    for (name, groups) in declared {
        if groups.is_none() && world.server.objects.contains_key(*name) {
            return Err(format!("{name} is still there"));
        }
    }
    let marks = world.server.mark().split_whitespace().count();
    let ours = declared
        .iter()
        .filter(|(_, groups)| groups.is_some())
        .count();
    if marks != ours {
        return Err(format!("{marks} marks of {ours}: {}", world.server.mark()));
    }
    Ok(())
}

/// Tries every run from here. How many states there were.
fn every_run(start: Interleaving, declared: &DeclaredGroups) -> usize {
    let blind = start.others.iter().any(|it| it.habit.is_blind());
    let mut met = BTreeSet::new();
    let mut waiting = vec![(start, Vec::new())];
    let mut ends = 0;
    while let Some((world, path)) = waiting.pop() {
        let steps = world.steps();
        if steps.is_empty() {
            ends += 1;
            judge_end(&world, blind, declared)
                .unwrap_or_else(|broken| panic!("{broken}\nafter {path:#?}"));
        }
        for step in steps {
            let mut next = world.clone();
            next.make(step);
            let mut path = path.clone();
            path.push(step);
            judge(&world, step, &next).unwrap_or_else(|broken| panic!("{broken}\nafter {path:#?}"));
            if met.insert(next.key()) {
                waiting.push((next, path));
            }
        }
    }
    assert!(ends > 0);
    met.len()
}

/// What people do with the mappings before all begins.
#[derive(Clone, Copy, Debug)]
enum PendingTask {
    Grant,
    Change,
    Revoke,
}

fn world(
    task: PendingTask,
    habits: [Habit; 2],
    (crashes, lost): (usize, usize),
) -> (Interleaving, DeclaredGroups) {
    let mut server = Simulation::with_roles(FOREIGN);
    server.create("n", "role/n", &json!({}));
    if !matches!(task, PendingTask::Grant) {
        server.create("m", "role/m", &json!({}));
    }
    server.settle();
    let m = match task {
        PendingTask::Grant => {
            server.create("m", "role/m", &json!({}));
            Some("g")
        }
        PendingTask::Change => {
            server.edit("m", |object| object.spec.groups = vec!["h".to_owned()]);
            Some("h")
        }
        PendingTask::Revoke => {
            server.delete("m");
            None
        }
    };
    let others = habits.map(|habit| OtherWriter {
        habit,
        done: false,
        read: None,
    });
    let world = Interleaving {
        server,
        phase: PassPhase::Idle,
        dirty: true,
        others: others.into(),
        late: None,
        crashes,
        lost,
    };
    (world, [("m", m), ("n", Some("g"))])
}

fn try_all(habits: [Habit; 2]) {
    let both = std::env::var(DEPARTURES).is_ok_and(|it| !["0", "1"].contains(&it.as_str()));
    let (crash, lost) = ((1, 0), (0, 1));
    let mut states = 0;
    for (task, one_at_a_time) in [
        (PendingTask::Grant, &[crash, lost][..]),
        (PendingTask::Change, &[crash]),
        (PendingTask::Revoke, &[lost]),
    ] {
        let departures = if both { &[(1, 1)] } else { one_at_a_time };
        for departures in departures {
            let (world, declared) = world(task, habits, *departures);
            states += every_run(world, &declared);
        }
    }
    assert!(states > 1000, "{states}");
    report_line(&format!("{habits:?}: {states} states"));
}

/// Shown where tests are run with --nocapture.
#[allow(clippy::print_stdout, reason = "the output of a test")]
fn report_line(words: &str) {
    println!("{words}");
}

#[test]
fn no_update_is_lost_beside_a_node_group_and_eksctl() {
    try_all([Habit::NodeGroup, Habit::Eksctl]);
}

#[test]
fn no_update_is_lost_where_another_takes_the_mark() {
    try_all([Habit::NodeGroup, Habit::Replace]);
}

#[test]
fn a_person_loses_nothing_to_the_operator() {
    try_all([Habit::Eksctl, Habit::Person]);
}

#[test]
fn what_terraform_overwrites_of_ours_comes_back() {
    try_all([Habit::NodeGroup, Habit::Terraform]);
}
