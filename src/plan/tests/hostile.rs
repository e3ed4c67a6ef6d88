//! Sequences that a hostile reader found.

use std::collections::BTreeSet;

use serde_json::json;

use super::{cluster, entry};
use crate::access_entry::{
    ADMIN_POLICY, BRIDGE_GROUP, CREATED_TAG, Call, INSTALLATION_TAG, Kind, Scope,
};
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, EntryType, WrittenEntry};
use crate::aws_auth::Document;
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::observed::{Bindings, Mode};
use crate::plan::plan;
use crate::plan::simulation::Simulation;
use crate::safety::{clear_bridge, clear_call, clear_mode_change};

const CONFIG_MAP: &str = "kube-system/aws-auth";

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

fn forge(simulation: &mut Simulation, name: &str, role: &str) {
    let written = WrittenEntry {
        config_map: Some(CONFIG_MAP.to_owned()),
        arn: arn(role),
        username: role.to_owned(),
        groups: vec!["g".to_owned()],
        ..WrittenEntry::default()
    };
    simulation.edit(name, |object| {
        object.status.get_or_insert_default().written.push(written);
    });
}

fn has(simulation: &Simulation, role: &str) -> bool {
    let role = format!("role/{role}");
    simulation.entries().iter().any(|(arn, ..)| *arn == role)
}

#[test]
fn h01_a_mapping_that_can_not_be_placed_keeps_no_deleted_ones_entry() {
    let mut simulation = cluster(&["a"]);
    simulation.create(
        "b",
        "role/a",
        &json!({"username": "b", "backend": "AccessEntry"}),
    );
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    simulation.delete("a");
    simulation.settle();
    let gone = !simulation.objects.contains_key("a");
    assert!(
        !has(&simulation, "a"),
        "a is gone: {gone}; b {}",
        simulation.ready("b")
    );
}

#[test]
fn h02_the_same_where_it_expires() {
    let mut simulation = cluster(&[]);
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2027-01-15T08:20:00Z"}),
    );
    simulation.create(
        "b",
        "role/a",
        &json!({"username": "b", "backend": "AccessEntry"}),
    );
    simulation.settle();
    assert!(has(&simulation, "a"));
    simulation.later(3600);
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "a {} {}: {}",
        simulation.ready("a"),
        simulation.condition("a", "Synced"),
        simulation.message("a", "Ready")
    );
}

#[test]
fn h03_in_the_mode_api() {
    for spec in [
        json!({"backend": "ConfigMap"}),
        json!({"groups": ["system:foo"]}),
    ] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        simulation.create("a", "role/a", &json!({}));
        simulation.create("b", "role/a", &spec);
        simulation.settle();
        assert!(simulation.access_entry("role/a").is_some());
        simulation.delete("a");
        for _ in 0..20 {
            simulation.settle();
            simulation.later(60);
            simulation.look();
        }
        simulation.settle();
        let gone = !simulation.objects.contains_key("a");
        assert!(
            simulation.access_entry("role/a").is_none(),
            "{spec}: a is gone: {gone}; b {}; a: {}",
            simulation.ready("b"),
            if gone {
                String::new()
            } else {
                simulation.message("a", "Ready")
            }
        );
    }
}

#[test]
fn h04_what_aws_auth_still_says_in_the_mode_api_lifts_no_limit() {
    let text = (0..8).fold(String::new(), |text, n| {
        let arn = arn(&format!("r{n}"));
        text + &format!("- rolearn: {arn}\n  username: old{n}\n  groups: [g]\n")
    });
    for text in ["", &text] {
        let mut simulation = Simulation::in_eks(Mode::Api, text);
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        let left = (0..8)
            .filter(|n| simulation.access_entry(&format!("role/r{n}")).is_some())
            .count();
        assert_eq!(left, 8, "text {text:?}");
    }
}

#[test]
fn h05_an_administrator_that_iam_does_not_have_is_none() {
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
fn h06_what_is_confirmed_for_orphans_is_so_when_the_call_is_sent() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create("x", "role/x", &json!({}));
    simulation.settle();
    simulation.by_hand(&Call::Create {
        principal_arn: arn("lost"),
        kind: Kind::Known(EntryType::Standard),
        username: Some("lost".to_owned()),
        groups: BTreeSet::new(),
        tags: [(INSTALLATION_TAG, CONFIG_MAP), (CREATED_TAG, "true")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    });
    simulation.by_hand(&Call::Associate {
        principal_arn: arn("lost"),
        policy_arn: format!("arn:aws:eks::aws:cluster-access-policy/{ADMIN_POLICY}"),
        scope: Scope::Cluster,
    });
    simulation.look();
    simulation.settle();
    let word = simulation.orphan_word();
    simulation.annotate_history(CONFIRM_ANNOTATION, &format!("{word},last-administrator"));
    let (desired, observed) = (simulation.desired(), simulation.observed());
    let planned = plan(
        &desired,
        &observed,
        &simulation.settings,
        &simulation.memory,
    );
    let calls = planned.entries.iter().flat_map(|work| &work.calls);
    let call = calls
        .into_iter()
        .find(|call| matches!(call, Call::Delete { .. }));
    let call = call.expect("the plan deletes it");
    assert_eq!(clear_call(&observed, &desired, CONFIG_MAP, call), Ok(()));
}

#[test]
fn h07_a_forged_expiry_frees_nobody_elses_removal() {
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for forged in [false, true] {
        let mut simulation = cluster(&names);
        simulation.create(
            "x",
            "role/x",
            &json!({"validUntil": "2026-01-01T00:00:00Z"}),
        );
        simulation.settle();
        if forged {
            for name in &names {
                forge(&mut simulation, "x", name);
            }
            simulation.edit("x", |object| {
                let until = object.spec.valid_until.clone();
                object.status.get_or_insert_default().seen_valid_until = until;
            });
        }
        for name in &names {
            simulation.delete(name);
        }
        simulation.settle();
        let left = names.iter().filter(|name| has(&simulation, name)).count();
        assert_eq!(left, 8, "forged: {forged}");
    }
}

#[test]
fn h08_a_forged_status_of_a_suspended_mapping_keeps_an_entry_and_the_moved_one_says_so() {
    let mut simulation = cluster(&["a"]);
    simulation.create("s", "role/s", &json!({"suspend": true}));
    simulation.settle();
    forge(&mut simulation, "s", "a");
    simulation.edit("a", |object| object.spec.principal.arn = Some(arn("b")));
    simulation.settle();
    // Nobody can tell whose status is right, so the entry stays, and the moved mapping says so.
    assert!(has(&simulation, "a"));
    assert_eq!(simulation.condition("a", "Synced"), "False EntryKept");
}

#[test]
fn h09_nothing_is_said_to_be_removed_before_the_first_listing() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.by_hand(&Call::Create {
        principal_arn: arn("a"),
        kind: Kind::Known(EntryType::Standard),
        username: Some("a".to_owned()),
        groups: ["g".to_owned()].into(),
        tags: [].into(),
    });
    simulation.cloud().known = crate::access_entry::Entries::default();
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2026-01-01T00:00:00Z"}),
    );
    simulation.pass();
    assert!(
        !simulation.ready("a").starts_with("True"),
        "{}: {}",
        simulation.ready("a"),
        simulation.message("a", "Ready")
    );
}

#[test]
fn h10_a_change_of_mode_takes_no_last_administrator_of_map_accounts() {
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
fn h11_no_bridge_before_every_entry_is_described() {
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

#[test]
fn h12_a_mapping_that_never_held_the_principal_confirms_nothing_for_it() {
    for confirms in [false, true] {
        let mut simulation = Simulation::with_roles("");
        simulation.create("a", "role/a", &json!({"groups": ["system:masters"]}));
        simulation.settle();
        simulation.create(
            "b",
            "role/a",
            &json!({"validUntil": "2026-01-01T00:00:00Z"}),
        );
        if confirms {
            simulation.confirm("b", "last-administrator");
        }
        simulation.settle();
        simulation.delete("a");
        simulation.settle();
        assert_eq!(
            simulation.entries(),
            [entry("role/a", "a", "system:masters")],
            "confirmed by b: {confirms}"
        );
    }
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
fn h13_a_status_that_is_lost_for_good_ends_no_way_back() {
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
fn h14_an_entry_goes_only_once_aws_auth_is_in_force_also_where_the_status_was_not_stored() {
    let mut simulation = going_back(|before| before);
    simulation.pass();
    assert!(
        simulation.access_entry("role/a").is_some(),
        "aws-auth has it since no second"
    );
}

#[test]
fn h15_a_last_synced_that_lies_ahead_holds_up_nothing_for_ever() {
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
fn h16_a_mapping_that_wrote_nothing_keeps_nothing_of_a_deleted_one() {
    for spec in [json!({"suspend": true}), json!({"groups": ["{{Nope}}"]})] {
        for mode in [Mode::ConfigMap, Mode::Api] {
            let mut simulation = Simulation::in_eks(mode, "");
            simulation.create("a", "role/a", &json!({}));
            simulation.settle();
            simulation.create("b", "role/a", &spec);
            simulation.settle();
            simulation.delete("a");
            for _ in 0..20 {
                simulation.settle();
                simulation.later(60);
                simulation.look();
            }
            let stands = has(&simulation, "a") || simulation.access_entry("role/a").is_some();
            let gone = !simulation.objects.contains_key("a");
            assert!(
                !stands && gone,
                "{spec} {mode}: stands {stands}, gone {gone}: {}",
                if gone {
                    String::new()
                } else {
                    simulation.message("a", "Ready")
                }
            );
        }
    }
}

#[test]
fn h17_one_that_never_held_it_retains_nothing_of_a_revoked_one() {
    let mut simulation = cluster(&["a", "d"]);
    simulation.edit("d", |object| {
        object.spec.principal.arn = Some(arn("a"));
        object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
    });
    simulation.settle();
    assert!(simulation.ready("d").contains("DuplicatePrincipal"));
    simulation.delete("a");
    simulation.delete("d");
    simulation.settle();
    assert!(!simulation.objects.contains_key("a"));
    assert!(!has(&simulation, "a"), "a said Revoke, and wrote it");
}

#[test]
fn h18_the_same_beside_one_that_expired() {
    let mut simulation = cluster(&["d"]);
    simulation.create(
        "a",
        "role/a",
        &json!({"validUntil": "2027-01-15T08:20:00Z"}),
    );
    simulation.settle();
    simulation.edit("d", |object| {
        object.spec.principal.arn = Some(arn("a"));
        object.spec.deletion = crate::api::v1alpha1::Deletion::Retain;
        object.spec.suspend = false;
    });
    simulation.edit("d", |object| {
        object.metadata.deletion_timestamp = Some(simulation_time());
    });
    simulation.later(3600);
    simulation.settle();
    assert!(
        !has(&simulation, "a"),
        "{}",
        simulation.message("a", "Ready")
    );
}

fn simulation_time() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    crate::time::Timestamp::from_second(1_800_000_000)
        .expect("in range")
        .into()
}

#[test]
fn h19_a_creation_is_judged_when_it_is_sent_too() {
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
        clear_call(&observed, &desired, CONFIG_MAP, &call).is_err(),
        "safety knows"
    );
    assert!(
        crate::safety::may_take(&observed.aws, &observed.bindings, &call),
        "and the controller asks it"
    );
}

#[test]
fn h20_forged_tags_lift_no_limit() {
    for forged in [false, true] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        for n in 0..40 {
            let tags = [(INSTALLATION_TAG.to_owned(), CONFIG_MAP.to_owned())];
            simulation.by_hand(&Call::Create {
                principal_arn: arn(&format!("stranger{n}")),
                kind: Kind::Known(EntryType::Standard),
                username: Some("s".to_owned()),
                groups: BTreeSet::new(),
                tags: tags.into_iter().filter(|_| forged).collect(),
            });
        }
        simulation.look();
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        let left = (0..8)
            .filter(|n| simulation.access_entry(&format!("role/r{n}")).is_some())
            .count();
        assert_eq!(left, 8, "forged: {forged}");
    }
}

#[test]
fn h21_a_forged_mark_lifts_no_limit() {
    use crate::ownership::{KeyHash, MARK_ANNOTATION, Mark, MeaningHash};
    let text = (0..40).fold(String::new(), |text, n| {
        let arn = arn(&format!("s{n}"));
        text + &format!("- rolearn: {arn}\n  username: s{n}\n  groups: [g]\n")
    });
    for forged in [false, true] {
        let mut simulation = Simulation::with_roles(&text);
        for n in 0..8 {
            simulation.create(&format!("r{n}"), &format!("role/r{n}"), &json!({}));
        }
        simulation.settle();
        if forged {
            let view = simulation.config_map.as_mut().expect("exists");
            let document = Document::parse(&view.data);
            let all = document.entries().filter_map(|entry| {
                Some((
                    KeyHash::of(&entry.key()?),
                    MeaningHash::of(&entry.meaning()),
                ))
            });
            let mark = Mark(all.collect()).render();
            view.annotations.insert(MARK_ANNOTATION.to_owned(), mark);
        }
        for n in 0..8 {
            simulation.delete(&format!("r{n}"));
        }
        simulation.settle();
        let left = (0..8)
            .filter(|n| has(&simulation, &format!("r{n}")))
            .count();
        assert_eq!(left, 8, "forged: {forged}");
    }
}

#[test]
fn h22_no_entry_makes_way_for_a_text_in_which_another_entry_wins() {
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
fn h23_a_trial_on_a_copy_changes_no_access_entry() {
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
fn h24_while_aws_auth_does_not_parse_no_access_entry_is_made_over_what_it_may_say() {
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
fn h25_control_the_same_where_it_parses() {
    for name in ["node", "ops"] {
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, super::FOREIGN);
        simulation.create(name, &format!("role/{name}"), &json!({}));
        simulation.settle();
        assert_eq!(simulation.access_entry(&format!("role/{name}")), None);
    }
}

#[test]
fn h26_a_remembered_role_of_a_permission_set_makes_no_entry() {
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
fn h27_what_was_held_stays_held_though_its_statuses_are_lost() {
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut simulation = cluster(&names);
    for name in &names {
        simulation.delete(name);
    }
    simulation.settle();
    assert_eq!(
        names.iter().filter(|name| has(&simulation, name)).count(),
        8
    );
    for name in &names[..5] {
        simulation.edit(name, |object| object.status = None);
    }
    simulation.restart();
    simulation.settle();
    assert_eq!(
        names.iter().filter(|name| has(&simulation, name)).count(),
        8
    );
}
