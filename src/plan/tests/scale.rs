//! Thousands of mappings: what fits, what is refused, and how much is written. Where a limit alone matters, something
//! foreign takes most of the room, since reading a megabyte takes a second where nothing is optimised.

use std::collections::BTreeSet;

use serde_json::json;

use super::{FOREIGN, entry, foreign};
use crate::observed::Mode;
use crate::plan::simulation::Simulation;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What the API server takes, see `realize`.
const DATA: usize = 1_048_576;
const ANNOTATIONS: usize = 262_144;

/// 64 characters, as long as IAM allows.
fn role(number: usize) -> String {
    format!("AWSReservedSSO_PlatformEngineers-{number:05}-ReadOnly_0123456789abcdef")
}

fn name(number: usize) -> String {
    format!("m{number:05}")
}

/// Creates mappings of SSO roles, older ones first, with the default username and two groups.
fn create(simulation: &mut Simulation, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let path = "role/aws-reserved/sso.amazonaws.com/eu-west-1";
        let groups = [
            "platform-engineers".to_owned(),
            format!("team-{:02}", number % 50),
        ];
        simulation.create(
            &name(number),
            &format!("{path}/{}", role(number)),
            &json!({"username": null, "groups": groups}),
        );
    }
}

/// The numbers of the mappings that are in effect.
fn in_effect(simulation: &Simulation) -> BTreeSet<usize> {
    let names = simulation.objects.keys();
    names
        .filter(|name| simulation.ready(name) == "True InEffect")
        .map(|name| name[1..].parse().expect("a number"))
        .collect()
}

/// The foreign entries stand byte for byte, and behind them exactly those that say that they are in effect.
fn assert_stands(simulation: &Simulation) {
    assert!(simulation.roles().starts_with(FOREIGN));
    let mut expected = foreign();
    expected.extend(in_effect(simulation).into_iter().map(|number| {
        let role = role(number);
        entry(
            &format!("role/{role}"),
            &format!("arn:aws:sts::111122223333:assumed-role/{role}/{{{{SessionName}}}}"),
            &format!("platform-engineers,team-{:02}", number % 50),
        )
    }));
    assert_eq!(simulation.entries(), expected);
    let marks = simulation.mark().split_ascii_whitespace().count();
    assert_eq!(marks, expected.len() - foreign().len());
}

fn free_annotations(simulation: &Simulation) -> usize {
    let view = simulation.config_map.as_ref().expect("stands");
    let annotations = view.annotations.iter();
    ANNOTATIONS
        - annotations
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
}

fn free_data(simulation: &Simulation) -> usize {
    let view = simulation.config_map.as_ref().expect("stands");
    DATA - view.data.values().map(String::len).sum::<usize>()
}

fn annotate(simulation: &mut Simulation, bytes: usize) {
    let view = simulation.config_map.as_mut().expect("stands");
    view.annotations
        .insert(LAST_APPLIED.to_owned(), "x".repeat(bytes));
}

#[test]
fn three_thousand_fit_in_one_write() {
    let mut simulation = Simulation::with_roles(FOREIGN);
    create(&mut simulation, 0..3000);
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.status_writes, 3000);
    assert_eq!(in_effect(&simulation).len(), 3000);
    assert_stands(&simulation);
    assert!(simulation.events.is_empty());
}

#[test]
fn beside_a_large_annotation_the_youngest_are_refused_and_take_the_room_that_is_made() {
    let mut simulation = Simulation::with_roles(FOREIGN);
    annotate(&mut simulation, 256_000);
    create(&mut simulation, 0..300);
    assert_eq!(simulation.settle(), 1);
    let fit = in_effect(&simulation);
    assert_eq!(fit, (0..fit.len()).collect(), "the oldest");
    let free = free_annotations(&simulation);
    assert!(free < 26, "{free} bytes are free");
    assert_stands(&simulation);
    assert_eq!(simulation.ready(&name(299)), "False ConfigMapFull");
    assert_eq!(
        simulation.condition(&name(299), "Stalled"),
        "True ConfigMapFull"
    );

    // Removals go through, and those who waited longest take the room in the same write.
    for number in [1, 5, 7] {
        simulation.delete(&name(number));
    }
    assert_eq!(simulation.settle(), 1);
    let mut expected: BTreeSet<usize> = (0..fit.len() + 3).collect();
    expected.retain(|number| ![1, 5, 7].contains(number));
    assert_eq!(in_effect(&simulation), expected);
    assert_stands(&simulation);

    // Another annotation grows until not a byte is free.
    let (standing, free) = (simulation.roles(), free_annotations(&simulation));
    annotate(&mut simulation, 256_000 + free);
    simulation.settle();
    assert_eq!(simulation.roles(), standing);
    simulation.delete(&name(0));
    simulation.settle();
    expected.remove(&0);
    expected.extend([fit.len() + 3]);
    assert_eq!(in_effect(&simulation), expected);
    assert_stands(&simulation);
}

#[test]
fn more_data_than_the_api_server_takes_refuses_the_youngest() {
    let filler = format!("{FOREIGN}# {}\n", "x".repeat(DATA - 60_000));
    let mut simulation = Simulation::with_roles(&filler);
    create(&mut simulation, 0..300);
    assert_eq!(simulation.settle(), 1);
    let fit = in_effect(&simulation);
    assert_eq!(fit, (0..fit.len()).collect(), "the oldest");
    assert!((100..290).contains(&fit.len()), "{}", fit.len());
    let free = free_data(&simulation);
    assert!(free < 400, "{free} bytes are free");
    assert_stands(&simulation);
    let message = simulation.message(&name(299), "Ready");
    assert!(message.contains(&format!("has {free} and")), "{message}");

    for number in 0..10 {
        simulation.delete(&name(number));
    }
    assert_eq!(simulation.settle(), 1);
    assert_eq!(in_effect(&simulation), (10..fit.len() + 10).collect());
    assert_stands(&simulation);
}

/// What EKS chooses as a username is asked and kept for principals that a mapping names or a listing holds, and for no other.
#[test]
fn usernames_that_eks_chooses_are_forgotten_with_their_principals() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    for (name, refused) in [("alice", false), ("bob", true)] {
        simulation.cloud().principals = refused.then(BTreeSet::new);
        simulation.create(name, &format!("role/{name}"), &json!({}));
        simulation.edit(name, |object| object.spec.username = None);
        simulation.settle();
        let principal = format!("arn:aws:iam::111122223333:role/{name}");
        let memory = &simulation.memory;
        assert_eq!(memory.asked.contains_key(&principal), refused);
        assert_eq!(memory.defaults.contains_key(&principal), !refused);
    }
    for name in ["alice", "bob"] {
        simulation.delete(name);
    }
    simulation.settle();
    assert!(simulation.objects.is_empty());
    assert!(simulation.memory.asked.is_empty() && simulation.memory.defaults.is_empty());
}
