//! What somebody can do who may only tag access entries.

use serde_json::json;

use crate::access_entry::{ADMIN_POLICY, AWS_POLICIES_TAG, Call, PRINCIPAL_ID_TAG, policy_arn};
use crate::observed::Mode;
use crate::ownership::aws_managed::tag_of;
use crate::plan::simulation::Simulation;
use crate::principal::Partition;

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn admin() -> serde_json::Value {
    json!({"accessPolicies": [{"policy": ADMIN_POLICY}]})
}

fn scene() -> Simulation {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    for name in ["keep-1", "keep-2", "keep-3"] {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation
}

fn tag(simulation: &mut Simulation, role: &str, tags: &[(&str, &str)]) {
    let entry_arn = simulation.cloud().eks.entries[&arn(role)].arn.clone();
    let tags = tags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    simulation.by_hand(&Call::Tag {
        principal_arn: arn(role),
        entry_arn,
        tags: tags.collect(),
    });
    simulation.settle();
}

fn is_administrator(simulation: &Simulation, role: &str) -> bool {
    let entry = simulation.access_entry(&format!("role/{role}"));
    entry.is_some_and(|(_, _, policies)| policies.iter().any(|it| it.starts_with(ADMIN_POLICY)))
}

/// IAM lists these roles, a minute after the entries were made too.
fn listed(simulation: &mut Simulation, roles: &[&str]) {
    for _ in 0..2 {
        let all = roles.iter().chain(&["keep-1", "keep-2", "keep-3"]);
        let all: Vec<(String, String)> =
            all.map(|role| (arn(role), format!("AROA{role}"))).collect();
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(arn, id)| (arn.as_str(), id.as_str()))
            .collect();
        let now = simulation.now;
        simulation.cloud().iam_lists(&all, now);
        simulation.settle();
        simulation.later(60);
    }
}

#[test]
fn the_tag_of_aws_policies_keeps_no_policy_that_we_associated() {
    let digits = tag_of(&[policy_arn(Partition::Aws, ADMIN_POLICY)].into());
    for deleted in [false, true] {
        let mut simulation = scene();
        simulation.create("root", "role/root", &admin());
        simulation.create("m", "role/p", &admin());
        simulation.settle();
        tag(&mut simulation, "p", &[(AWS_POLICIES_TAG, &digits)]);
        assert!(is_administrator(&simulation, "p"), "declared");
        if deleted {
            simulation.delete("m");
        } else {
            simulation.edit("m", |object| object.spec.access_policies.clear());
        }
        for _ in 0..3 {
            simulation.settle();
            simulation.later(600);
            simulation.look();
        }
        assert!(!is_administrator(&simulation, "p"), "deleted {deleted}");
        assert!(!(deleted && simulation.objects.contains_key("m")));
    }
}

/// An entry with another id in its tag may be one that lets nobody in, and may as well let somebody in.
#[test]
fn another_id_lifts_no_guard() {
    for forged in [false, true] {
        let mut simulation = scene();
        let node = json!({"type": "EC2Linux", "username": null, "groups": null});
        simulation.create("root", "role/root", &admin());
        simulation.create("n", "role/n", &node);
        listed(&mut simulation, &["root", "n"]);
        if forged {
            tag(&mut simulation, "root", &[(PRINCIPAL_ID_TAG, "AROAFORGED")]);
            tag(&mut simulation, "n", &[(PRINCIPAL_ID_TAG, "AROAFORGED")]);
        }
        simulation.delete("root");
        simulation.delete("n");
        simulation.settle();
        assert!(is_administrator(&simulation, "root"), "forged {forged}");
        assert!(
            simulation.access_entry("role/n").is_some(),
            "forged {forged}"
        );
    }
}

#[test]
fn another_id_keeps_nothing_that_the_spec_drops() {
    let mut simulation = scene();
    simulation.create("root", "role/root", &admin());
    let mut spec = admin();
    spec["groups"] = json!(["dev"]);
    simulation.create("m", "role/p", &spec);
    listed(&mut simulation, &["root", "p"]);
    tag(&mut simulation, "p", &[(PRINCIPAL_ID_TAG, "AROAFORGED")]);
    assert_eq!(simulation.ready("m"), "False PrincipalRecreated");
    simulation.edit("m", |object| {
        object.spec.access_policies.clear();
        object.spec.groups.clear();
    });
    simulation.settle();
    let (_, groups, policies) = simulation.access_entry("role/p").expect("stays");
    assert_eq!((groups, policies), (Vec::new(), Vec::new()));
    assert_eq!(simulation.ready("m"), "False PrincipalRecreated");
}
