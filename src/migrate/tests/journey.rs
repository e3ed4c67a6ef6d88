//! The whole way as `migrate apply` goes it without the operator, on a simulated cluster: interrupted anywhere, it comes to the same
//! end, and nobody is without the power that they had.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use crate::access_entry::{BRIDGE_GROUP, Call, FailureKind, Kind};
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{EntryType, IdentityMappingStatus};
use crate::migrate::way::MigrationState;
use crate::migrate::{
    Bridge, MigrationGoal, ModeChange, NextStep, Rounds, Stage, Way, ends, implied, next,
    next_back, situation, verdicts,
};
use crate::observed::{Handover, Mode};
use crate::ownership::MARK_ANNOTATION;
use crate::plan::HANDOVER_ANNOTATION;
use crate::plan::simulation::{Power, Simulation};

const INSTALLATION: &str = "kube-system/aws-auth";

/// A cluster, and a command that is run on it.
struct Run {
    simulation: Simulation,
    way: Way,
    bridge: Bridge,
    closed: bool,
    /// Whether everything was read anew for the next step.
    whole: bool,
    steps: Vec<NextStep>,
}

impl Run {
    fn new(roles: &str) -> Self {
        let mut simulation = Simulation::in_eks(Mode::ConfigMap, roles);
        simulation.settings.handover = Handover::Auto;
        simulation.watched = Some(Vec::new());
        Self {
            simulation,
            way: Way::Forth,
            bridge: Bridge::Absent,
            closed: false,
            whole: false,
            steps: Vec::new(),
        }
    }

    /// The process dies, and another one starts.
    fn kill(&mut self) {
        self.closed = false;
        let now = self.simulation.now;
        let simulation = &mut self.simulation;
        simulation.restart();
        simulation.objects.clear();
        simulation.cloud().attempts.clear();
        simulation.cloud().failures.clear();
        if simulation.cloud().mode != Mode::ConfigMap {
            simulation.cloud().list(now);
        }
    }

    /// Takes what exists as mappings, as the loop does before each plan.
    fn imply(&mut self) {
        let simulation = &mut self.simulation;
        let now = simulation.now;
        let mut before = std::mem::take(&mut simulation.objects);
        let objects = implied(&simulation.observed(), INSTALLATION, self.way, self.closed);
        for mut object in objects {
            let name = object.metadata.name.clone().expect("it has one");
            object.metadata.uid = Some(name.clone());
            object.metadata.generation = Some(1);
            object.metadata.finalizers = Some(
                Finalizers::BOTH
                    .iter()
                    .map(|ours| ours.as_str().to_owned())
                    .collect(),
            );
            let status = before.remove(&name).and_then(|before| before.status);
            object.status = status.or(Some(IdentityMappingStatus {
                last_synced: Some(now.into()),
                ..IdentityMappingStatus::default()
            }));
            let again = simulation.objects.insert(name, object);
            assert!(again.is_none(), "two of one name");
        }
    }

    fn work(&mut self, seconds: i64) {
        self.simulation.later(seconds);
        if seconds > 60 && self.simulation.cloud().mode != Mode::ConfigMap {
            self.simulation.look();
        }
        self.imply();
        self.simulation.pass();
        self.imply();
    }

    fn standing(&mut self) -> (MigrationState, Vec<(String, Stage)>) {
        self.imply();
        let (desired, observed) = (self.simulation.desired(), self.simulation.observed());
        let settings = &self.simulation.settings;
        let migration = verdicts(&desired, &observed, settings).expect("the cluster is known");
        let found = situation(
            &migration,
            &desired,
            &observed,
            INSTALLATION,
            self.bridge,
            self.way,
        );
        let stages = found.principals.iter();
        let stages = stages.map(|it| (it.verdict.who.to_string(), it.stage.clone()));
        (found.standing, stages.collect())
    }

    /// Takes the next step; `false`: there is none.
    fn step(&mut self, asked: MigrationGoal) -> bool {
        let (standing, _) = self.standing();
        let step = match self.way {
            Way::Forth => next(&standing, asked),
            Way::Back => next_back(&standing),
        };
        // What is decided for good is decided by what was read anew.
        if step == NextStep::End && !std::mem::replace(&mut self.whole, true) {
            self.work(1);
            return true;
        }
        self.whole = false;
        if self.steps.last() != Some(&step) {
            self.steps.push(step);
        }
        let simulation = &mut self.simulation;
        match step {
            NextStep::ChangeMode(mode) => {
                simulation.cloud().mode = mode;
                simulation.look();
            }
            NextStep::Set(handover) => {
                let last = ends(self.way, step);
                let history = simulation.history.get_or_insert_default();
                let word = handover.to_string();
                history
                    .annotations
                    .insert(HANDOVER_ANNOTATION.to_owned(), word);
                if last {
                    return false;
                }
            }
            NextStep::MakeBridge => {
                simulation.bridge();
                self.bridge = Bridge::Stands;
            }
            NextStep::RemoveBridge => {
                self.closed = true;
                self.work(1);
                if !self.standing().0.needs_bridge {
                    self.simulation
                        .bindings
                        .retain(|binding| !binding.groups.contains(BRIDGE_GROUP));
                    self.bridge = Bridge::Absent;
                }
                self.closed = false;
            }
            NextStep::Work => self.work(11),
            NextStep::Soak => self.work(3601),
            NextStep::AwaitMode(_)
            | NextStep::StopForMode(_)
            | NextStep::StopForLosers
            | NextStep::Import
            | NextStep::End => return false,
        }
        true
    }

    /// Steps to the end, and dies before those of these numbers, every other time with calls that fail half-way.
    fn go(&mut self, asked: MigrationGoal, deaths: &BTreeSet<usize>) {
        self.kill();
        for number in 0..400 {
            if deaths.contains(&number) {
                if number % 2 == 0 && self.simulation.cloud().mode != Mode::ConfigMap {
                    let failure = ("AssociateAccessPolicy", FailureKind::Unavailable);
                    self.simulation.cloud().failures.push(failure);
                    self.work(1);
                }
                self.kill();
            }
            if !self.step(asked) {
                return;
            }
        }
        panic!("no end after 400 steps: {:?}", self.steps);
    }

    /// What exists in the end, without times.
    fn end(&mut self) -> (String, Vec<String>, Option<String>) {
        let text = self.simulation.roles();
        let entries = self.simulation.cloud().eks.entries.values();
        let entries = entries.map(|entry| {
            let policies: Vec<&String> = entry.policies.keys().collect();
            format!(
                "{} {} {} {:?} {policies:?} {:?}",
                entry.principal_arn, entry.kind, entry.username, entry.groups, entry.tags
            )
        });
        let entries = entries.collect();
        let view = self.simulation.config_map.as_ref();
        let mark = view.and_then(|view| view.annotations.get(MARK_ANNOTATION).cloned());
        (text, entries, mark)
    }

    /// Nobody had less than this in any state since the start.
    fn acquit(&self, floor: &BTreeMap<String, Power>) {
        for powers in self.simulation.watched.iter().flatten() {
            for (who, (administrator, groups)) in floor {
                let Some((now, given)) = powers.get(who) else {
                    panic!("{who} is not let in: {powers:?}");
                };
                assert!(
                    now >= administrator,
                    "{who} is no administrator: {powers:?}"
                );
                let lost = groups
                    .iter()
                    .find(|group| *group != "system:masters" && !given.contains(*group));
                // EKS leaves it out of the entries of nodes.
                let lost = lost.filter(|group| *group != "system:bootstrappers");
                assert_eq!(lost, None, "{who} has {given:?}");
            }
        }
    }
}

fn asked(to: Mode) -> MigrationGoal {
    MigrationGoal {
        to,
        changes: ModeChange::Confirmed,
        waits: true,
        imports: false,
    }
}

fn role(name: &str, groups: &[&str]) -> String {
    let arn = format!("arn:aws:iam::111122223333:role/{name}");
    let entry = json!({"rolearn": arn, "username": name, "groups": groups});
    format!("- {entry}\n")
}

fn node(name: &str) -> String {
    let arn = format!("arn:aws:iam::111122223333:role/{name}");
    let groups = ["system:bootstrappers", "system:nodes"];
    let entry =
        json!({"rolearn": arn, "username": "system:node:{{EC2PrivateDNSName}}", "groups": groups});
    format!("- {entry}\n")
}

#[test]
fn the_steps_in_their_order() {
    let roles = [role("alice", &["team"]), role("root", &["system:masters"])].concat();
    let mut run = Run::new(&roles);
    run.go(asked(Mode::Api), &BTreeSet::new());
    assert_eq!(
        run.steps,
        [
            NextStep::ChangeMode(Mode::ApiAndConfigMap),
            NextStep::Set(Handover::Auto),
            NextStep::MakeBridge,
            NextStep::Work,
            NextStep::RemoveBridge,
            NextStep::Soak,
            NextStep::ChangeMode(Mode::Api),
            NextStep::End,
        ]
    );
    assert!(run.simulation.entries().is_empty(), "all have moved");
}

#[test]
fn shadowed_entry_is_never_taken_for_the_declared_one() {
    // The later of two wins; the earlier is left, and gives nobody anything.
    let roles = [
        role("alice", &["loser"]),
        role("bob", &["team"]),
        role("alice", &["team"]),
    ];
    let mut run = Run::new(&roles.concat());
    run.go(asked(Mode::ApiAndConfigMap), &BTreeSet::new());
    assert!(run.simulation.roles().contains("loser"));
    for _ in 0..3 {
        run.kill();
        run.go(asked(Mode::ApiAndConfigMap), &BTreeSet::new());
        let entry = run.simulation.access_entry("role/alice").expect("it moved");
        assert_eq!(entry.1, ["team"]);
    }
}

#[test]
fn duplicate_entry_migrates_once_despite_crashes() {
    let people = [
        role("r5", &["team", "more"]),
        role("admin0", &["system:masters", "team"]),
        role("r5", &["team", "more"]),
    ];
    let ends = [BTreeSet::new(), BTreeSet::from([9, 34])].map(|deaths| {
        let mut run = Run::new(&people.concat());
        run.go(asked(Mode::Api), &deaths);
        let (text, entries, mark) = run.end();
        (without_repeated(&text, &people), entries, mark)
    });
    let [alive, killed] = ends;
    assert_eq!(alive, killed);
    assert_eq!(alive.0, [""; 0]);
}

#[test]
fn what_is_changed_in_aws_auth_on_the_way_counts() {
    let mut run = Run::new(&role("alice", &["team"]));
    let soaking = |run: &mut Run| run.standing().0.soaking == 1;
    run.kill();
    for _ in 0..20 {
        if !soaking(&mut run) {
            run.step(asked(Mode::ApiAndConfigMap));
        }
    }
    assert!(soaking(&mut run), "{:?}", run.standing());
    run.simulation.replace_in_roles("team", "other");
    run.kill();
    run.work(1);
    let entry = run
        .simulation
        .access_entry("role/alice")
        .expect("it stands");
    assert_eq!(entry.1, ["other"]);
    assert!(run.simulation.roles().contains("other"));
}

#[test]
fn bridge_is_refused_when_its_group_is_used_elsewhere() {
    let mut run = Run::new(&role("root", &["system:masters"]));
    run.step(asked(Mode::ApiAndConfigMap));
    let call = Call::Create {
        principal_arn: "arn:aws:iam::111122223333:role/mallory".to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: None,
        groups: [BRIDGE_GROUP.to_owned()].into(),
        tags: [].into(),
    };
    run.simulation.by_hand(&call);
    run.go(asked(Mode::Api), &BTreeSet::new());
    assert!(
        !run.steps.contains(&NextStep::MakeBridge),
        "{:?}",
        run.steps
    );
    assert_eq!(run.steps.last(), Some(&NextStep::StopForLosers));
    let (_, stages) = run.standing();
    let Some((_, Stage::Blocked(why))) = stages.iter().find(|(who, _)| who.ends_with("root"))
    else {
        panic!("{stages:?}");
    };
    assert!(why.contains("role/mallory gives that group"), "{why}");
}

#[test]
fn mode_change_is_requested_only_from_whom_the_goal_names() {
    let mut run = Run::new(&role("alice", &["team"]));
    for (changes, step) in [
        (
            ModeChange::NotAsked,
            NextStep::StopForMode(Mode::ApiAndConfigMap),
        ),
        (
            ModeChange::Awaited,
            NextStep::AwaitMode(Mode::ApiAndConfigMap),
        ),
    ] {
        let asked = MigrationGoal {
            changes,
            ..asked(Mode::ApiAndConfigMap)
        };
        let (standing, _) = run.standing();
        assert_eq!(next(&standing, asked), step);
    }
}

#[test]
fn what_no_mapping_declares_is_imported_where_that_was_asked_for() {
    let mut run = Run::new(&role("alice", &["team"]));
    let (standing, _) = run.standing();
    assert_eq!(standing.undeclared, 1, "nothing is implied in CONFIG_MAP");
    let imports = MigrationGoal {
        imports: true,
        ..asked(Mode::Api)
    };
    assert_eq!(next(&standing, imports), NextStep::Import);
    assert_eq!(
        next(&standing, asked(Mode::Api)),
        NextStep::ChangeMode(Mode::ApiAndConfigMap)
    );
}

/// Who stands in aws-auth: names, each with a kind.
fn people() -> impl Strategy<Value = Vec<String>> {
    let one = (0..6_usize, 0..5_usize);
    prop::collection::vec(one, 1..8).prop_map(|people| {
        let entry = |(name, kind): (usize, usize)| match kind {
            0 => role(&format!("admin{name}"), &["system:masters", "team"]),
            1 => node(&format!("node{name}")),
            // Duplicates of one name with other groups, of which the last wins.
            2 => role(&format!("r{name}"), &["other"]),
            _ => role(&format!("r{name}"), &["team", "more"]),
        };
        people.into_iter().map(entry).collect()
    })
}

/// What is left in aws-auth but for repeated entries. The one that is unmanaged is nobody's while a process remembers it beside ours;
/// one that starts later takes it along where it says the same. Either way nobody gets more by it than by the access entry.
fn without_repeated(text: &str, people: &[String]) -> Vec<String> {
    let given = |line: &str| people.iter().filter(|it| it.trim_end() == line).count();
    for line in text.lines() {
        let left = text.lines().filter(|other| *other == line).count();
        assert!(left <= given(line).max(1), "{line} is there {left} times");
    }
    let lines = text.lines().filter(|line| given(line) < 2);
    lines.map(str::to_owned).collect()
}

/// Whether entries of one principal differ.
fn has_rivals(people: &[String], arn: &str) -> bool {
    let named = format!("{arn:?}");
    let of: BTreeSet<&String> = people.iter().filter(|it| it.contains(&named)).collect();
    of.len() > 1
}

proptest! {
    #![proptest_config(crate::laws::cases(16))]

    #[test]
    fn a_crash_at_any_point_leads_to_the_same_result(
        people in people(),
        deaths in prop::collection::btree_set(0..40_usize, 0..12),
        to in prop_oneof![Just(Mode::ApiAndConfigMap), Just(Mode::Api)],
    ) {
        let text = people.concat();
        let mut alive = Run::new(&text);
        let floor = alive.simulation.powers();
        alive.go(asked(to), &BTreeSet::new());
        alive.acquit(&floor);
        let mut killed = Run::new(&text);
        killed.go(asked(to), &deaths);
        killed.acquit(&floor);
        let (standing, stages) = killed.standing();
        let ends = [killed.end(), alive.end()];
        let [killed_end, alive_end] = ends.map(|(text, entries, mark)| (without_repeated(&text, &people), entries, mark));
        prop_assert_eq!(killed_end, alive_end);
        prop_assert_eq!(standing.mode, to);
        prop_assert_eq!(standing.bridge, Bridge::Absent);
        prop_assert!(stages.iter().all(|(_, stage)| *stage == Stage::There), "{stages:?}");
    }

    #[test]
    fn revert_returns_everyone_despite_crashes(
        people in people(),
        turn in 0..30_usize,
        deaths in prop::collection::btree_set(0..30_usize, 0..8),
    ) {
        let mut run = Run::new(&people.concat());
        let floor = run.simulation.powers();
        run.kill();
        for _ in 0..turn {
            run.step(asked(Mode::ApiAndConfigMap));
        }
        if run.simulation.cloud().mode == Mode::ConfigMap {
            return Ok(());
        }
        run.way = Way::Back;
        run.simulation.settings.handover = Handover::Revert;
        run.go(asked(Mode::ApiAndConfigMap), &deaths);
        run.acquit(&floor);
        let (standing, stages) = run.standing();
        // A duplicate that had lost stands in the way now, and which is meant is for a person to say. Nobody else stays.
        for entry in run.simulation.cloud().eks.entries.values() {
            let who = &entry.principal_arn;
            let mut blocked = stages.iter().filter(|(of, stage)| of == who && matches!(stage, Stage::Blocked(_)));
            prop_assert!(has_rivals(&people, who) && blocked.next().is_some(), "{who}: {stages:?}");
        }
        prop_assert_eq!(standing.bridge, Bridge::Absent);
        prop_assert!(matches!(standing.handover, None | Some(Handover::Manual)));
        // And once more to access entries.
        run.way = Way::Forth;
        run.simulation.settings.handover = Handover::Auto;
        run.go(asked(Mode::Api), &deaths);
        run.acquit(&floor);
        let (_, stages) = run.standing();
        prop_assert!(stages.iter().all(|(_, stage)| *stage == Stage::There), "{stages:?}");
    }
}

/// `kubectl replace`, or deletion and `rollback restore`: the entries are as they were, and the mark is gone.
fn lose_mark(run: &mut Run) {
    let view = run.simulation.config_map.as_mut().expect("it exists");
    view.annotations.remove(MARK_ANNOTATION);
    view.resource_version = format!("{}0", view.resource_version);
}

/// Applied until somebody soaks, and killed there.
fn soaking() -> Run {
    let roles = [role("alice", &["team"]), role("root", &["system:masters"])].concat();
    let mut run = Run::new(&roles);
    run.kill();
    for _ in 0..40 {
        if run.standing().0.soaking < 2 {
            run.step(asked(Mode::ApiAndConfigMap));
        }
    }
    assert_eq!(run.standing().0.soaking, 2, "{:?}", run.standing());
    run.kill();
    run
}

#[test]
fn lost_mark_is_restored_during_the_soak() {
    let mut run = soaking();
    let floor = run.simulation.powers();
    lose_mark(&mut run);
    run.steps.clear();
    run.go(asked(Mode::ApiAndConfigMap), &BTreeSet::new());
    run.acquit(&floor);
    assert!(run.steps.contains(&NextStep::Soak), "{:?}", run.steps);
    assert!(
        run.simulation.entries().is_empty(),
        "the copies are removed"
    );
    let (_, stages) = run.standing();
    assert!(
        stages.iter().all(|(_, stage)| *stage == Stage::There),
        "{stages:?}"
    );
}

#[test]
fn revert_ends_when_the_mark_was_lost() {
    for edited in [false, true] {
        let mut run = soaking();
        let floor = run.simulation.powers();
        lose_mark(&mut run);
        if edited {
            // Without a mark it is nobody's now, and says something else: only a person knows which is right.
            run.simulation.replace_in_roles("team", "other");
        }
        run.way = Way::Back;
        run.simulation.settings.handover = Handover::Revert;
        run.steps.clear();
        run.go(asked(Mode::ApiAndConfigMap), &BTreeSet::new());
        run.acquit(&floor);
        assert_eq!(run.steps.last(), Some(&NextStep::Set(Handover::Manual)));
        let sets = run
            .steps
            .iter()
            .filter(|step| matches!(step, NextStep::Set(_)));
        assert_eq!(sets.count(), 2, "{:?}", run.steps);
        let left: Vec<&String> = run.simulation.cloud().eks.entries.keys().collect();
        let expected: &[&str] = if edited {
            &["arn:aws:iam::111122223333:role/alice"]
        } else {
            &[]
        };
        assert_eq!(left, expected);
        assert_eq!(run.simulation.entries().len(), 2);
    }
}

#[test]
fn repeated_steps_without_change_are_detected() {
    let mut run = soaking();
    let (desired, observed) = (run.simulation.desired(), run.simulation.observed());
    let migration = verdicts(&desired, &observed, &run.simulation.settings).expect("it is known");
    let bridge = run.bridge;
    let found = situation(
        &migration,
        &desired,
        &observed,
        INSTALLATION,
        bridge,
        run.way,
    );
    let mut rounds = Rounds::default();
    let (there, back) = (
        NextStep::Set(Handover::Revert),
        NextStep::Set(Handover::Manual),
    );
    for step in [there, back, there, back] {
        assert!(rounds.begin(step, &found, &observed), "{step:?}");
    }
    assert!(!rounds.begin(there, &found, &observed));
    for _ in 0..9 {
        assert!(
            rounds.begin(NextStep::Work, &found, &observed),
            "waiting is no round"
        );
    }
    run.simulation.replace_in_roles("team", "other");
    let observed = run.simulation.observed();
    assert!(rounds.begin(there, &found, &observed), "something changed");
}
