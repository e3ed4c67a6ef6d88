//! The audit trail: each change of someone's access once, in either backend, and nothing else.

use insta::assert_snapshot;
use serde_json::json;

use super::cluster;
use super::entries::foreign;
use crate::observed::Mode;
use crate::plan::simulation::Simulation;
use crate::plan::{AccessChange, AccessIdentity, Regarding};

const MINUTE: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
const UNTIL: &str = "2020-01-01T00:00:00Z";

impl Simulation {
    /// What the audit trail says since it was asked last, a line each.
    fn trail(&mut self) -> String {
        let line = |change: AccessChange| {
            let AccessChange {
                action,
                backend,
                principal,
                now,
                before,
                regarding,
                generation,
                cause,
                detail,
            } = change;
            let identity = |identity: Option<AccessIdentity>| {
                identity.map_or_else(|| "-".to_owned(), |it| it.to_string())
            };
            let mapping = match regarding {
                Regarding::Mapping { name, .. } => name,
                Regarding::ConfigMap => "-".to_owned(),
            };
            let generation = generation.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let role = principal.rsplit(':').next().unwrap_or_default();
            let detail = detail.map_or_else(String::new, |it| format!("; {it}"));
            format!(
                "{} {role} by {mapping}@{generation} in {}: {} => {} ({cause}{detail})\n",
                action.as_str(),
                backend.as_str(),
                identity(before),
                identity(now)
            )
        };
        std::mem::take(&mut self.changes)
            .into_iter()
            .map(line)
            .collect()
    }
}

#[test]
fn a_mapping_in_aws_auth_from_its_grant_to_its_end() {
    let mut simulation = cluster(&["a"]);
    assert_snapshot!(simulation.trail(), @r#"granted role/a by a@1 in ConfigMap: - => username "a", groups g (MappingCreated)"#);
    simulation.settle();
    assert_eq!(simulation.trail(), "", "nothing changed");
    simulation.edit("a", |object| object.spec.groups = vec!["h".to_owned()]);
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"changed role/a by a@2 in ConfigMap: username "a", groups g => username "a", groups h (SpecChanged)"#);
    simulation.replace_in_roles("username: \"a\"", "username: eve");
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"repaired role/a by a@2 in ConfigMap: username "eve", groups h => username "a", groups h (Drift; vandal gave the entry username "eve" and group h)"#);
    simulation.edit("a", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/b".to_owned());
    });
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"
    granted role/b by a@3 in ConfigMap: - => username "a", groups h (SpecChanged)
    revoked role/a by a@3 in ConfigMap: username "a", groups h => - (SpecChanged)
    "#);
    simulation.delete("a");
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"revoked role/b by a@3 in ConfigMap: username "a", groups h => - (MappingDeleted)"#);
}

#[test]
fn an_access_entry_from_its_grant_to_its_end() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let view = json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]});
    simulation.create("a", "role/a", &view);
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"granted role/a by a@1 in AccessEntry: - => username "a", groups g, access policies AmazonEKSViewPolicy (MappingCreated)"#);
    simulation.edit("a", |object| {
        object.spec.access_policies[0].policy = "AmazonEKSEditPolicy".to_owned();
    });
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"changed role/a by a@2 in AccessEntry: username "a", groups g, access policies AmazonEKSViewPolicy => username "a", groups g, access policies AmazonEKSEditPolicy (SpecChanged)"#);
    simulation.edit("a", |object| {
        object.spec.valid_until = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            UNTIL.parse().expect("a time"),
        ));
    });
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"revoked role/a by a@3 in AccessEntry: username "a", groups g, access policies AmazonEKSEditPolicy => - (Expired)"#);
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.trail(), "", "it had no access any more");
}

#[test]
fn what_was_there_is_adopted_and_what_is_retained_is_released() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    foreign(&mut simulation, "role/a", "a", &["g"]);
    simulation.create("a", "role/a", &json!({"deletion": "Retain"}));
    let metadata = &mut simulation.objects.get_mut("a").expect("exists").metadata;
    metadata.creation_timestamp = Some(simulation.now.plus(MINUTE).into());
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"adopted role/a by a@1 in AccessEntry: - => username "a", groups g (MappingCreated)"#);
    simulation.delete("a");
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"released role/a by a@1 in AccessEntry: username "a", groups g => - (MappingDeleted)"#);

    let by_hand = "- {rolearn: arn:aws:iam::111122223333:role/b, username: b, groups: [viewers]}\n";
    let mut simulation = Simulation::with_roles(by_hand);
    let retain = json!({"adoption": "Always", "deletion": "Retain"});
    simulation.create("b", "role/b", &retain);
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"adopted role/b by b@1 in ConfigMap: username "b", groups viewers => username "b", groups g (MappingCreated)"#);
    simulation.delete("b");
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"released role/b by b@1 in ConfigMap: username "b", groups g => - (MappingDeleted)"#);
}

#[test]
fn what_moves_to_the_other_backend_is_neither_granted_nor_revoked() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.create("a", "role/a", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"granted role/a by a@1 in ConfigMap: - => username "a", groups g (MappingCreated)"#);
    simulation.edit("a", |object| {
        object.spec.backend = crate::api::v1alpha1::BackendChoice::AccessEntry;
    });
    simulation.settle();
    assert_snapshot!(simulation.trail(), @r#"moved role/a by a@2 in AccessEntry: - => username "a", groups g (Handover)"#);
}

#[test]
fn a_lost_status_is_reported_once_and_is_no_grant() {
    for mode in [None, Some(Mode::Api)] {
        let mut simulation = match mode {
            None => cluster(&[]),
            Some(mode) => Simulation::in_eks(mode, ""),
        };
        simulation.create("a", "role/a", &json!({}));
        simulation.settle();
        simulation.restart();
        if let Some(cloud) = &mut simulation.cloud {
            let states = cloud.known.by_principal.values_mut();
            states.for_each(|state| state.written = None);
        }
        simulation.objects.get_mut("a").expect("exists").status = None;
        simulation.trail();
        simulation.settle();
        let backend = mode.map_or("ConfigMap", |_| "AccessEntry");
        let expected = format!(
            "found role/a by a@1 in {backend}: - => username \"a\", groups g (StatusLost)\n"
        );
        assert_eq!(simulation.trail(), expected, "{mode:?}");
        simulation.settle();
        assert_eq!(simulation.trail(), "", "{mode:?}");
    }
}
