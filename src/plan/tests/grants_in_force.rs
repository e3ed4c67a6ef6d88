//! What is granted is declared and in force: texts that do not parse, trials, remembered roles, ways back, calls that waited.

use std::collections::BTreeSet;

use serde_json::json;

use crate::access_entry::{ADMIN_POLICY, BRIDGE_GROUP, Call, Kind};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::Document;
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::observed::{Bindings, Mode};
use crate::plan::simulation::Simulation;
use crate::safety::{Removals, clear_bridge, clear_call, clear_mode_change};

const CONFIG_MAP: &str = "kube-system/aws-auth";

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn has(simulation: &Simulation, role: &str) -> bool {
    let role = format!("role/{role}");
    simulation.entries().iter().any(|(arn, ..)| *arn == role)
}

#[test]
fn an_administrator_that_iam_does_not_have_is_none() {
    let ops = format!(
        "- rolearn: {}\n  username: ops\n  groups: [system:masters]\n",
        arn("ops")
    );
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, &ops);
    simulation.create("a", "role/a", &json!({"groups": ["system:masters"]}));
    simulation.settle();
    simulation.later(600);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&arn("a"), "AROAA")], now);
    simulation.look();
    simulation.settle();
    simulation.delete("a");
    simulation.settle();
    assert!(
        simulation.access_entry("role/a").is_some(),
        "nobody is left"
    );
}

#[test]
fn a_change_of_mode_takes_no_last_administrator_of_map_accounts() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.vandalise("mapAccounts", "- \"111122223333\"\n");
    let observed = simulation.observed();
    let mut bindings = Bindings::default();
    bindings
        .admin_users
        .insert("arn:aws:iam::111122223333:user/alice".to_owned());
    let data = observed.config_map.as_ref().expect("exists").data.clone();
    let document = Document::parse(&data);
    let access = EffectiveAccess::new(Sources {
        aws_auth: &document,
        reading: Reading::AsAwsAuth,
        aws: &observed.aws,
        bindings: &bindings,
    });
    assert!(access.administrator_of_account("111122223333").is_some());
    assert!(clear_mode_change(&access, Mode::Api, |_| true, None).is_err());
}

#[test]
fn no_bridge_before_every_entry_is_described() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let (now, all) = (simulation.now, BTreeSet::from([arn("stranger")]));
    let cloud = simulation.cloud();
    cloud
        .eks
        .call(&Call::Create {
            principal_arn: arn("stranger"),
            kind: Kind::Known(EntryType::Standard),
            username: Some("s".to_owned()),
            groups: [BRIDGE_GROUP.to_owned()].into(),
            tags: [].into(),
        })
        .expect("made");
    let policy = format!("arn:aws:eks::aws:cluster-access-policy/{ADMIN_POLICY}");
    cloud
        .known
        .take_listing(&all, &BTreeSet::new(), &policy, now, now);
    assert!(clear_bridge(&simulation.observed(), CONFIG_MAP).is_err());
}

/// A mapping that is moved from its access entry back to aws-auth, which has just taken it in; what its status says then is this.
fn going_back(
    status: impl FnOnce(
        Option<crate::api::v1alpha1::IdentityMappingStatus>,
    ) -> Option<crate::api::v1alpha1::IdentityMappingStatus>,
) -> Simulation {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    simulation.later(3600);
    simulation.look();
    simulation.settle();
    assert!(simulation.access_entry("role/a").is_some());
    let before = simulation.objects["a"].status.clone();
    simulation.edit("a", |object| {
        object.spec.backend = crate::api::v1alpha1::BackendChoice::ConfigMap;
    });
    simulation.pass();
    assert!(has(&simulation, "a") && simulation.access_entry("role/a").is_some());
    simulation.edit("a", |object| object.status = status(before));
    simulation.restart();
    simulation.cloud().known = crate::access_entry::Entries::default();
    simulation.look();
    simulation
}

#[test]
fn a_status_that_is_lost_for_good_ends_no_way_back() {
    let mut simulation = going_back(|_| None);
    for _ in 0..30 {
        simulation.settle();
        simulation.later(60);
        simulation.look();
    }
    simulation.settle();
    assert!(
        simulation.access_entry("role/a").is_none(),
        "{}: {}",
        simulation.ready("a"),
        simulation.message("a", "Synced")
    );
}

#[test]
fn an_entry_is_removed_only_once_aws_auth_is_in_effect_even_without_a_stored_status() {
    let mut simulation = going_back(|before| before);
    simulation.pass();
    assert!(
        simulation.access_entry("role/a").is_some(),
        "aws-auth has it since no second"
    );
}

#[test]
fn a_last_synced_that_lies_ahead_holds_up_nothing_for_ever() {
    let mut simulation = going_back(|before| {
        let mut status = before.expect("a status");
        status.last_synced = serde_json::from_value(json!("9999-01-01T00:00:00Z")).expect("a time");
        Some(status)
    });
    for _ in 0..30 {
        simulation.settle();
        simulation.later(60);
        simulation.look();
    }
    simulation.settle();
    assert!(
        simulation.access_entry("role/a").is_none(),
        "{}",
        simulation.message("a", "Synced")
    );
}

#[test]
fn a_creation_is_judged_when_it_is_sent_too() {
    // It waited; meanwhile someone made the role one of nodes in aws-auth.
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, super::FOREIGN);
    simulation.create("node", "role/node", &json!({}));
    let call = Call::Create {
        principal_arn: arn("node"),
        kind: Kind::Known(EntryType::Standard),
        username: Some("node".to_owned()),
        groups: ["g".to_owned()].into(),
        tags: [].into(),
    };
    let (desired, observed) = (simulation.desired(), simulation.observed());
    assert!(
        clear_call(
            &observed,
            &desired,
            CONFIG_MAP,
            &Removals::default(),
            std::slice::from_ref(&call)
        )
        .is_err(),
        "safety knows"
    );
    assert!(
        crate::safety::may_take(&observed.aws, &observed.bindings, &call),
        "and the controller asks it"
    );
}

#[test]
fn no_entry_makes_way_for_a_text_in_which_another_entry_wins() {
    let node = format!(
        "- rolearn: {}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups: [system:bootstrappers, system:nodes]\n",
        arn("a")
    );
    for node in ["", &node] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
        simulation.create("a", "role/a", &json!({"backend": "ConfigMap"}));
        simulation.settle();
        simulation.later(3600);
        simulation.look();
        simulation.edit("a", |object| {
            object.spec.backend = crate::api::v1alpha1::BackendChoice::AccessEntry;
        });
        simulation.settle();
        assert!(has(&simulation, "a") && simulation.access_entry("role/a").is_some());
        let roles = simulation.roles();
        simulation.vandalise("mapRoles", &format!("{roles}{node}"));
        simulation.settle();
        assert_eq!(
            simulation.access_entry("role/a").map(|it| it.0).as_deref(),
            Some("a")
        );
        simulation.edit("a", |object| {
            object.spec.backend = crate::api::v1alpha1::BackendChoice::ConfigMap;
        });
        for _ in 0..5 {
            simulation.settle();
            simulation.later(600);
            simulation.look();
        }
        let entry = simulation.access_entry("role/a").is_some();
        assert_eq!(
            entry,
            !node.is_empty(),
            "{} {}",
            simulation.ready("a"),
            simulation.message("a", "Ready")
        );
    }
}

#[test]
fn a_trial_on_a_copy_changes_no_access_entry() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    simulation.settings.config_map = crate::observed::ConfigMapName {
        namespace: "trial".to_owned(),
        name: "aws-auth-copy".to_owned(),
    };
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    let changes: Vec<String> = simulation.calls();
    let changes: Vec<&String> = changes
        .iter()
        .filter(|call| !call.contains("Describe"))
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn while_aws_auth_does_not_parse_no_access_entry_is_created_over_what_it_may_grant() {
    for name in ["node", "ops"] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, super::FOREIGN);
        simulation.create("x", "role/x", &json!({}));
        simulation.settle();
        let good = simulation.roles();
        simulation.vandalise("mapRoles", &format!("{good}- rolearn: [\n"));
        simulation.settle();
        simulation.create(name, &format!("role/{name}"), &json!({}));
        simulation.settle();
        simulation.vandalise("mapRoles", &good);
        simulation.settle();
        assert_eq!(
            simulation.access_entry(&format!("role/{name}")),
            None,
            "{}",
            simulation.ready(name)
        );
    }
}

#[test]
fn over_an_unmanaged_entry_of_aws_auth_no_access_entry_is_made() {
    for name in ["node", "ops"] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, super::FOREIGN);
        simulation.create(name, &format!("role/{name}"), &json!({}));
        simulation.settle();
        assert_eq!(simulation.access_entry(&format!("role/{name}")), None);
    }
}

#[test]
fn a_remembered_role_of_a_permission_set_makes_no_entry() {
    for mode in [Mode::ConfigMap, Mode::Api] {
        let mut simulation = Simulation::in_eks(mode, "");
        let set = json!({"permissionSet": {"name": "Admin", "accountId": "111122223333"}});
        simulation.create("a", "role/a", &json!({"principal": set}));
        simulation.edit("a", |object| {
            let status = object.status.get_or_insert_default();
            status.principal_arn = Some(arn(
                "aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef",
            ));
        });
        simulation.settle();
        let entries = &simulation.cloud().eks.entries;
        assert!(entries.is_empty(), "{mode}: {:?}", entries.keys());
        assert_eq!(simulation.entries(), [], "{mode}");
    }
}

#[test]
fn a_remembered_role_of_a_permission_set_adopts_no_entry() {
    let name = "AWSReservedSSO_Admin_0123456789abcdef";
    for adoption in ["IfIdentical", "Always"] {
        for mode in [Mode::ConfigMap, Mode::Api] {
            let text = format!("- {{rolearn: '{}', username: a, groups: [g]}}\n", arn(name));
            let text = if mode == Mode::ConfigMap { &text } else { "" };
            let path = format!("aws-reserved/sso.amazonaws.com/eu-west-1/{name}");
            let mut simulation = Simulation::in_eks(mode, text);
            if mode == Mode::Api {
                simulation.by_hand(&Call::Create {
                    principal_arn: arn(&path),
                    kind: Kind::Known(EntryType::Standard),
                    username: Some("a".to_owned()),
                    groups: ["g".to_owned()].into(),
                    tags: [].into(),
                });
                simulation.look();
            }
            let set = json!({"permissionSet": {"name": "Admin", "accountId": "111122223333"}});
            let spec = json!({"principal": set, "adoption": adoption});
            simulation.create("a", "role/a", &spec);
            simulation.edit("a", |object| {
                let status = object.status.get_or_insert_default();
                status.principal_arn = Some(arn(&path));
            });
            simulation.settle();
            assert!(
                !simulation.mark().contains(':'),
                "{adoption}: {}",
                simulation.mark()
            );
            let tagged = |entry: &crate::access_entry::AccessEntry| !entry.tags.is_empty();
            assert!(
                !simulation.cloud().eks.entries.values().any(tagged),
                "{adoption}"
            );
        }
    }
}
