//! What is told ahead is what then happens: told by `ahead`, and played on the simulated cluster as the controller does it.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use crate::api::finalizer::Finalizers;
use crate::diff::{PlanDiff, TextStepKind, forecast};
use crate::observed::{AwsState, Handover, Iam, IamAccount, IamPrincipal, Listing, Mode};
use crate::plan::plan;
use crate::plan::simulation::Simulation;
use crate::plan::tests::FOREIGN;
use crate::plan::tests::laws::{happen, happening};
use crate::time::Timestamp;

/// A change in short: when, what becomes of which entries of aws-auth, and which calls are made about whom.
type Step = (Timestamp, Vec<(TextStepKind, String)>, Vec<String>);

fn in_short(at: Timestamp, diff: &PlanDiff) -> Step {
    let steps = diff.config_map.iter().flat_map(|text| &text.steps);
    let steps = steps.map(|step| (step.kind, step.arn.clone().unwrap_or_default()));
    let calls = diff.entries.iter().flat_map(|entry| &entry.calls);
    let calls = calls.map(|call| format!("{} {}", call.operation(), call.principal_arn()));
    (at, steps.collect(), calls.collect())
}

fn told(simulation: &Simulation) -> Vec<Step> {
    let (desired, observed) = (simulation.desired(), simulation.observed());
    let course = forecast(&desired, &observed, &simulation.settings);
    let first = in_short(observed.now, &course.first);
    let then = course
        .then
        .iter()
        .map(|later| in_short(later.at, &later.diff));
    std::iter::once(first).chain(then).collect()
}

/// What the controller does until nothing is due any more before the horizon, and nobody does anything else.
fn played(simulation: &mut Simulation, horizon: Timestamp) -> Vec<Step> {
    simulation.restart();
    let mut steps = Vec::new();
    for number in 0..60 {
        let (mut desired, observed) = (simulation.desired(), simulation.observed());
        for mapping in &mut desired.mappings {
            mapping.finalizers = Finalizers::BOTH;
        }
        let diff = plan(
            &desired,
            &observed,
            &simulation.settings,
            &simulation.memory,
        )
        .diff();
        let report = simulation.pass();
        if number == 0 || !diff.is_empty() {
            steps.push(in_short(observed.now, &diff));
        }
        let due = report.wake.filter(|wake| *wake <= horizon);
        match due {
            _ if !diff.is_empty() => {}
            Some(wake) => {
                simulation.now =
                    wake.max(simulation.now.plus(jiff::SignedDuration::from_millis(1)));
                if simulation.cloud.is_some() {
                    simulation.look();
                }
            }
            None => break,
        }
    }
    steps
}

#[test]
fn forecast_shows_bridge_soak_and_end_of_a_handover() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, FOREIGN);
    simulation.settings.handover = Handover::Auto;
    simulation.bridge();
    simulation.create(
        "admin",
        "role/admin",
        &json!({"groups": ["system:masters"], "backend": "ConfigMap"}),
    );
    simulation.create("dev", "role/dev", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    for name in ["admin", "dev"] {
        simulation.edit(name, |object| {
            object.spec.backend = crate::api::v1alpha1::BackendChoice::Auto;
        });
    }
    simulation.create("back", "role/back", &json!({"backend": "AccessEntry"}));
    let start = simulation.now;
    let told = told(&simulation);
    let horizon = start.plus(simulation.settings.soak);
    let played = played(&mut simulation, horizon);
    assert_eq!(told, played);
    let after: Vec<i64> = told
        .iter()
        .map(|(at, ..)| at.duration_since(start).as_secs())
        .collect();
    assert_eq!(
        after,
        [0, 30, 24 * 3600],
        "now, the bridge, the twins: {told:#?}"
    );
    let (_, gone, _) = told.last().expect("the last");
    assert_eq!(gone.len(), 2);
    assert!(gone.iter().all(|(kind, _)| *kind == TextStepKind::Removed));
}

proptest! {
    #![proptest_config(crate::laws::cases(64))]

    #[test]
    fn the_first_plan_is_what_an_operator_does_that_starts_now(happenings in prop::collection::vec(happening(), 1..15)) {
        let mut simulation = Simulation::with_roles(FOREIGN);
        for (number, happening) in happenings.iter().enumerate() {
            happen(&mut simulation, happening);
            simulation.later(2);
            // The last ones are still to be dealt with.
            if number % 3 != 0 {
                simulation.settle();
            }
        }
        let told = told(&simulation).swap_remove(0);
        let played = played(&mut simulation, Timestamp::MIN).swap_remove(0);
        prop_assert_eq!(told, played);
    }
}

#[test]
fn an_entry_that_eks_would_refuse_by_iams_word_is_no_change() {
    let listing = |arns: &[&str]| {
        let principals = arns.iter().map(|arn| {
            let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
            let principal = IamPrincipal {
                arn: (*arn).to_owned(),
                id: format!("AROA{name}"),
                created: None,
            };
            (name, principal)
        });
        Listing {
            read: Timestamp::UNIX_EPOCH,
            principals: Arc::new(principals.collect()),
        }
    };
    for (in_iam, created, reason) in [
        (None, true, "InEffect"),
        (
            Some(&["arn:aws:iam::111122223333:role/dev"][..]),
            true,
            "InEffect",
        ),
        (Some(&[]), false, "PrincipalInvalid"),
    ] {
        let mut simulation = Simulation::in_eks(Mode::Api, FOREIGN);
        simulation.create("dev", "role/dev", &json!({}));
        let (desired, mut observed) = (simulation.desired(), simulation.observed());
        let AwsState::Known(view) = &mut observed.aws else {
            panic!("EKS is known");
        };
        let account = IamAccount {
            roles: in_iam.map(listing),
            ..IamAccount::default()
        };
        let own = "111122223333".parse().expect("an account");
        view.iam = Arc::new(Iam {
            accounts: [(own, account)].into(),
        });
        let course = forecast(&desired, &observed, &simulation.settings);
        assert_eq!(
            !course.first.is_empty(),
            created,
            "{in_iam:?}: {:?}",
            course.first
        );
        let (_, status) = &course.at_end[0];
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
        assert_eq!(
            ready.expect("Ready").reason,
            reason,
            "{in_iam:?}: {ready:?}"
        );
    }
}
