//! Every run of the small worlds with a bounded number of departures, and whether a run notices that a rule is switched off.

use std::process::Command;

use super::random::cases;
use super::search::{Broken, search};
use super::{World, scenes};
use crate::observed::misread::{MUTATION, Misread, misreading};
use crate::safety::Rule;
use crate::safety::switch::without;

/// The environment variable that says how many departures are tried.
const DEPARTURES: &str = "IDENTITY_MAPPER_DEPARTURES";

/// What no run of this module notices. The planner never proposes what these rules refuse, and reads what is in flight as gone only where it
/// asks once more; the tests beside `safety` and `plan` notice each of them.
const SURVIVORS: [Mutation; 5] = [
    Mutation::Off(Rule::Unmanaged),
    Mutation::Off(Rule::Grant),
    Mutation::Off(Rule::Removal),
    Mutation::Off(Rule::Read),
    Mutation::InFlight(Misread::AsGone),
];

/// The tests that are run with each mutation, until some of them fail.
const SUITES: [&str; 3] = ["safety::", "access_entry::", "plan::"];

fn every_run(worlds: &[World], departures: usize) -> Result<(), Broken> {
    worlds.iter().try_for_each(|world| {
        let states = search(world, departures)?;
        report_line(&format!("{states} states"));
        Ok(())
    })
}

fn departures() -> usize {
    let departures = std::env::var(DEPARTURES).ok();
    departures.and_then(|it| it.parse().ok()).unwrap_or(1)
}

macro_rules! scenes {
    ($($name:ident),* $(,)?) => {
        const SCENES: &[fn() -> Vec<World>] = &[$(scenes::$name),*];

        $(
            #[test]
            fn $name() {
                if let Err(broken) = every_run(&scenes::$name(), departures()) {
                    panic!("{}", broken.tell());
                }
            }
        )*
    };
}

scenes!(
    applied_and_deleted,
    applied_changed_and_applied_anew,
    two_administrators_deleted,
    an_administrator_demoted_while_another_is_deleted,
    three_mappings_deleted,
    handed_over_and_back,
    an_administrator_handed_over_with_the_mode_after_it,
    moved_to_another_principal,
    marks_and_statuses_lost,
    another_writer_of_aws_auth,
    another_writer_of_access_entries,
    another_mapping_takes_the_principal_over,
    a_status_that_names_another_entry,
    the_definition_is_deleted,
    an_administrator_confirmed_and_one_that_expires,
    a_node_type_deleted_and_changed,
    let_go_of_and_kept,
);

/// The first law that is found broken.
fn first_broken() -> Option<Broken> {
    let scenes = SCENES.iter().map(|scene| scene());
    let mut small = scenes.filter_map(|worlds| every_run(&worlds, 1).err());
    small
        .next()
        .or_else(|| cases(0..3000).err().map(|(_, broken)| broken))
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutation {
    Off(Rule),
    InFlight(Misread),
}

impl Mutation {
    fn all() -> impl Iterator<Item = Self> {
        let misread = [Misread::AsGone, Misread::AsStaying].map(Self::InFlight);
        Rule::ALL.map(Self::Off).into_iter().chain(misread)
    }

    fn name(self) -> String {
        match self {
            Self::Off(rule) => format!("{rule:?}"),
            Self::InFlight(how) => format!("{how:?}"),
        }
    }

    /// The tests that fail with it, of the first suite in which some do.
    fn failing_tests(self) -> Vec<String> {
        let program = std::env::current_exe().expect("the path of this executable");
        let failing = SUITES.iter().map(|suite| {
            let output = Command::new(&program)
                .arg(suite)
                .env(MUTATION, self.name())
                .output()
                .expect("this executable runs");
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            let failed = output.lines().filter_map(|line| {
                let name = line.strip_prefix("test ")?;
                name.strip_suffix(" ... FAILED").map(str::to_owned)
            });
            failed.collect::<Vec<_>>()
        });
        failing
            .into_iter()
            .find(|all| !all.is_empty())
            .unwrap_or_default()
    }

    fn is_noticed(self) -> Option<Broken> {
        match self {
            Self::Off(rule) => without(rule, first_broken),
            Self::InFlight(how) => misreading(how, first_broken),
        }
    }
}

#[test]
#[ignore = "minutes: make mutants"]
fn whatever_is_broken_on_purpose_makes_a_test_fail() {
    let mut survivors = Vec::new();
    for mutation in Mutation::all() {
        let failing = mutation.failing_tests();
        match failing.first() {
            Some(first) => report_line(&format!(
                "{mutation:?}: {} tests fail, {first} first",
                failing.len()
            )),
            None => survivors.push(mutation),
        }
    }
    assert!(survivors.is_empty(), "{survivors:?}");
}

#[test]
#[ignore = "minutes: make mutants"]
fn whatever_is_broken_on_purpose_is_noticed() {
    let mut survivors = Vec::new();
    for mutation in Mutation::all() {
        match mutation.is_noticed() {
            Some(broken) => {
                assert_ne!(broken.name(), "panic", "{}", broken.tell());
                report_line(&format!("{mutation:?} is noticed: {}", broken.tell()));
            }
            None => survivors.push(mutation),
        }
    }
    assert_eq!(survivors, SURVIVORS);
}

/// Shown where tests are run with --nocapture.
#[allow(clippy::print_stdout, reason = "the output of a test")]
fn report_line(words: &str) {
    println!("{words}");
}
