//! `make demo`: the operator at work on a real API server, step by step.
//!
//! Each step does one thing with kubectl, waits for what should come of it, checks that it did, and shows it. The demo
//! ends by itself, with exit code 0 only if every step came out as expected. With `KEEP=1` everything runs on until
//! Ctrl-C. With `NODE=1` the operator is the chart's Pod on a real node: see [`place`]. Times are the API server's own, from
//! its audit log: from its answer to whoever changed something to its answer to the operator.

#[path = "../it/support/mod.rs"]
mod support;

mod amazon;
mod entries;
mod place;
mod screen;
mod stage;
mod steps;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    // Paths on the screen are those of the repository, wherever the demo was started.
    env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository is there");
    if place::is_to_enter() {
        return place::enter().await;
    }
    let started = Instant::now();
    screen::headline(
        "identity-mapper: aws-auth and access entries as declared by IdentityMapping resources",
    );
    screen::text(
        "Everything below happens on a real Kubernetes API server, started for this demo. No AWS account is involved.",
    );
    let mut stage = Stage::set().await;

    let total = steps::STEPS.len() + entries::STEPS.len();
    for (number, step) in (1..).zip(steps::STEPS.iter().chain(entries::STEPS)) {
        stage.breathe().await;
        screen::step(number, step.title, step.what);
        if let Err(error) = (step.act)(&mut stage).await {
            stage.show_log();
            screen::failed(&format!("{error:#}"));
            screen::failed(&format!("step {number} of {total} failed"));
            keep(&stage).await;
            return ExitCode::FAILURE;
        }
    }
    screen::done(&format!(
        "all {total} steps succeeded, in {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    keep(&stage).await;
    ExitCode::SUCCESS
}

/// With `KEEP=1`, leaves everything running until Ctrl-C.
async fn keep(stage: &Stage) {
    if !place::is_set("KEEP") {
        return;
    }
    stage.invite().await;
    // Without a handler for the signal there is nothing to wait for.
    let _ = tokio::signal::ctrl_c().await;
}
