//! Whatever a process is at, it may die: before each of its effects, and after it without knowing. Started again, or with a standby that
//! takes over, it comes to the same end as one that lived, and nobody who is declared throughout is without access at any moment.
//!
//! Each [`Scenario`] is first played without a crash: its effects are counted by the [gate](crate::support::eks::Gate) and compared with
//! the [list](effects), and the end is kept. Then it is played again for each effect and each side of it, and the process dies there.

mod effects;
mod scenarios;
mod site;
mod sources;
mod state;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use self::scenarios::{Scenario, Subject};
use self::site::{Replicas, Site, Stage, VERY_QUIET};
use crate::support::eks::{Point, Side};

/// The environment variable that has processes die at every effect, however often it occurs, and not only at the first of each name in
/// the scenarios that are its homes: `all`, or the name of one scenario.
const ALL: &str = "IDENTITY_MAPPER_CRASHES";

/// Longer than any effect that follows an end: an event that tells of it.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Of the points of a scenario at most one in so many may not be come to: how often statuses and events are written depends on what
/// comes together.
const SHARE: usize = 5;

/// A death, and the end that is to be come to nevertheless.
struct Death<'a> {
    point: &'a Point,
    expected: &'a str,
    /// Whether a standby takes over.
    failover: bool,
}

/// Plays a scenario, with this death: `None` where it does not come to it. The effects and the end.
async fn play(
    site: &Site,
    scenario: Scenario,
    death: Option<Death<'_>>,
) -> Option<(Vec<String>, String)> {
    let roles = scenario.roles();
    let replicas = match &death {
        Some(death) if death.failover => Replicas::Two,
        _ if scenario == Scenario::Elected => Replicas::Elected,
        _ => Replicas::One,
    };
    let stage = Stage::set(site, scenario.mode(), roles.as_deref(), replicas).await;
    if scenario.is_operated() {
        stage.start().await;
    }
    scenario.prepare(&stage).await;
    stage.keep(scenario.keeps()).await;
    site.gate
        .arm(death.as_ref().map(|death| death.point.clone()));
    let starts = async {
        if scenario.subject() == Subject::Start {
            stage.start().await;
        }
    };
    let Some(Death { expected, .. }) = death else {
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
            stage.succeed().await;
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

/// All points of these effects at which a process can die.
fn points(effects: &[String]) -> Vec<Point> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for effect in effects {
        let nth = counts.entry(effect).or_default();
        *nth += 1;
        // The Lease is renewed for ever.
        if *nth == 1 || effect != effects::RENEWAL {
            points.extend([Side::Before, Side::After].map(|side| Point {
                effect: effect.clone(),
                nth: *nth,
                side,
            }));
        }
    }
    points
}

/// Those at which processes die in a scenario, and whether a standby takes over.
fn deaths(scenario: Scenario, effects: &[String], all: bool) -> Vec<(Point, bool)> {
    let among = |table: &[(Scenario, &str, Side)], point: &Point| {
        let wanted = (scenario, point.effect.as_str(), point.side);
        point.nth == 1 && table.contains(&wanted)
    };
    let points = points(effects);
    let alone = points.iter().filter(|point| {
        let home = point.nth == 1 && effects::home(&point.effect) == Some(scenario);
        all || home || among(&effects::FURTHER, point)
    });
    let alone = alone.map(|point| (point.clone(), false));
    // Commands have no standby, and what comes after the only one is what the Lease is about.
    let alone_always = scenario.subject() == Subject::Command || scenario == Scenario::Elected;
    let failovers = points
        .iter()
        .filter(|point| !alone_always && (all || among(&effects::FAILOVERS, point)));
    alone
        .chain(failovers.map(|point| (point.clone(), true)))
        .collect()
}

/// Has the scenario have these effects, and no others.
fn compare(scenario: Scenario, effects: &[String]) {
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
    for (_, effect, _) in (effects::FURTHER.iter().chain(&effects::FAILOVERS))
        .filter(|(wanted, ..)| *wanted == scenario)
    {
        assert!(
            names.contains(effect),
            "{scenario:?} no longer has the effect {effect}"
        );
    }
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
async fn die_in(scenarios: &[Scenario], installed: bool) {
    let wanted = std::env::var(ALL).unwrap_or_default();
    let site = Site::new(installed).await;
    for &scenario in scenarios {
        let begun = Instant::now();
        let all = wanted == "all" || wanted == format!("{scenario:?}");
        let lived = Box::pin(play(&site, scenario, None)).await;
        let (effects, end) = lived.expect("nothing dies");
        compare(scenario, &effects);
        let deaths = deaths(scenario, &effects, all);
        let mut missed = Vec::new();
        for (point, failover) in &deaths {
            let death = Death {
                point,
                expected: &end,
                failover: *failover,
            };
            let lived = Box::pin(play(&site, scenario, Some(death))).await;
            if lived.is_none() {
                assert!(point.nth > 1, "{scenario:?} did not come to {point:?}");
                missed.push(point);
            }
        }
        println!(
            "{scenario:?}: {} effects, {} deaths, {} with a standby, {} not come to, {:.0?}",
            effects.len(),
            deaths.len() - missed.len(),
            deaths.iter().filter(|(_, failover)| *failover).count(),
            missed.len(),
            begun.elapsed()
        );
        assert!(
            missed.len() * SHARE <= deaths.len(),
            "{scenario:?} did not come to {missed:?}"
        );
    }
}

#[tokio::test]
async fn at_aws_auth() {
    die_in(&Scenario::IN_AWS_AUTH, true).await;
}

#[tokio::test]
async fn at_the_lease() {
    die_in(&Scenario::IN_THE_LEASE, true).await;
}

#[tokio::test]
async fn at_access_entries() {
    die_in(&Scenario::IN_ACCESS_ENTRIES, true).await;
}

#[tokio::test]
async fn on_the_way_to_access_entries() {
    die_in(&Scenario::FORTH, true).await;
}

#[tokio::test]
async fn on_the_way_back() {
    die_in(&Scenario::BACK, true).await;
}

#[tokio::test]
async fn in_commands() {
    die_in(&Scenario::OF_COMMANDS, true).await;
}

#[tokio::test]
async fn in_migrations() {
    die_in(&Scenario::OF_MIGRATIONS, false).await;
}

#[tokio::test]
async fn in_migrations_beside_the_operator() {
    die_in(&Scenario::OF_BOTH, true).await;
}
