//! Whatever a process is at, it may die: before each of its effects, and after it without knowing. Started again, it comes to the same
//! end as one that lived, and nobody who is declared throughout is without access at any moment.
//!
//! Each [`Scenario`] is first played without a crash: its effects are counted by the [gate](crate::support::eks::Gate) and compared with
//! the [list](effects), and the end is kept. Then it is played again for each effect and each side of it, and the process dies there.

mod effects;
mod scenarios;
mod site;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use self::scenarios::{Scenario, Subject};
use self::site::{Site, Stage, VERY_QUIET};
use crate::support::eks::{Point, Side};

/// The environment variable that has processes die at every effect, however often it occurs, and not only at the first of each name in
/// the first scenario that has it.
const ALL: &str = "IDENTITY_MAPPER_CRASHES";

/// Longer than any effect that follows an end: an event that tells of it.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Plays a scenario, with a death at this point: `None` where it does not come to it. The effects and the end.
async fn play(
    site: &Site,
    scenario: Scenario,
    death: Option<(&Point, &str)>,
) -> Option<(Vec<String>, String)> {
    let roles = scenario.roles();
    let stage = Stage::set(site, scenario.mode(), roles.as_deref()).await;
    if scenario.is_operated() {
        stage.start().await;
    }
    scenario.prepare(&stage).await;
    stage.keep(scenario.keeps()).await;
    site.gate.arm(death.map(|(point, _)| point.clone()));
    let starts = async {
        if scenario.subject() == Subject::Start {
            stage.start().await;
        }
    };
    let Some((_, expected)) = death else {
        futures::join!(starts, scenario.act(&stage));
        stage.quiet(VERY_QUIET).await;
        stage.acquit().await;
        return Some((site.gate.effects(), stage.state().await));
    };
    if scenario.subject() == Subject::Command {
        scenario.act(&stage).await;
    } else {
        let crash = async {
            site.gate.closed().await;
            stage.kill();
            site.gate.open();
            stage.start().await;
        };
        let acted = Cell::new(false);
        let act = async {
            futures::join!(starts, scenario.act(&stage));
            acted.set(true);
            stage.comes_to(expected).await;
        };
        let (mut crash, mut act) = (pin!(crash), pin!(act));
        tokio::select! {
            () = &mut crash => act.await,
            () = &mut act => {
                let late = tokio::time::timeout(AFTERWARDS, site.gate.closed()).await.is_ok();
                if late || site.gate.struck() {
                    crash.await;
                }
            }
        }
    }
    stage.comes_to(expected).await;
    stage.acquit().await;
    let struck = site.gate.struck();
    struck.then(|| (site.gate.effects(), expected.to_owned()))
}

/// The points at which processes die in a scenario, of these effects.
fn points(scenario: Scenario, effects: &[String], all: bool) -> Vec<Point> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for effect in effects {
        let nth = counts.entry(effect).or_default();
        *nth += 1;
        if all || (*nth == 1 && effects::home(effect) == Some(scenario)) {
            points.extend([Side::Before, Side::After].map(|side| Point {
                effect: effect.clone(),
                nth: *nth,
                side,
            }));
        }
    }
    points
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
async fn die_in(scenarios: &[Scenario], installed: bool) {
    let all = std::env::var(ALL).is_ok_and(|it| it == "all");
    let site = Site::new(installed).await;
    for &scenario in scenarios {
        let begun = Instant::now();
        let lived = play(&site, scenario, None).await;
        let (effects, end) = lived.expect("nothing dies");
        let listed = effects::of(scenario);
        let names: BTreeSet<&str> = effects.iter().map(String::as_str).collect();
        let unknown: Vec<_> = names
            .iter()
            .filter(|it| !effects::ANYWHERE.contains(*it) && !listed.contains(*it))
            .collect();
        assert!(
            unknown.is_empty(),
            "{scenario:?} has effects that are not listed in effects.rs: {unknown:?}; without a crash: {effects:?}"
        );
        for effect in listed {
            let is_home = effects::home(effect) == Some(scenario);
            assert!(
                names.contains(effect) || !is_home,
                "{scenario:?} no longer has the effect {effect}"
            );
        }
        let points = points(scenario, &effects, all);
        let mut missed = Vec::new();
        for point in &points {
            if play(&site, scenario, Some((point, &end))).await.is_none() {
                // How often statuses and events are written depends on what comes together.
                assert!(point.nth > 1, "{scenario:?} did not come to {point:?}");
                missed.push(point);
            }
        }
        println!(
            "{scenario:?}: {} effects, {} deaths, {} not come to, {:.0?}",
            effects.len(),
            points.len() - missed.len(),
            missed.len(),
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn at_aws_auth() {
    die_in(&Scenario::IN_AWS_AUTH, true).await;
}

#[tokio::test]
async fn at_access_entries() {
    die_in(&Scenario::IN_ACCESS_ENTRIES, true).await;
}

#[tokio::test]
async fn between_the_two() {
    die_in(&Scenario::BETWEEN, true).await;
}

#[tokio::test]
async fn in_commands() {
    die_in(&Scenario::OF_COMMANDS, true).await;
}

#[tokio::test]
async fn in_migrations() {
    die_in(&Scenario::OF_MIGRATIONS, false).await;
}
