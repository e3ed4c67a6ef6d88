//! Permission sets: found by IAM, followed when their role changes, never dropped by themselves.

use serde_json::json;

use crate::observed::{Iam, IamProblem, Mode};
use crate::plan::simulation::Simulation;

const SSO: &str = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com";
const OLD: &str = "0123456789abcdef";
const NEW: &str = "fedcba9876543210";

fn role(region: &str, set: &str, suffix: &str) -> String {
    format!("{SSO}{region}/AWSReservedSSO_{set}_{suffix}")
}

fn lists(simulation: &mut Simulation, roles: &[String]) {
    let now = simulation.now;
    let roles: Vec<(&str, &str)> = roles
        .iter()
        .map(|role| (role.as_str(), role.as_str()))
        .collect();
    simulation.cloud().iam_lists(&roles, now);
}

fn set(simulation: &mut Simulation, name: &str) {
    simulation.create(
        name,
        "role/x",
        &json!({"principal": {"permissionSet": {"name": name, "accountId": "111122223333"}}, "username": "u"}),
    );
}

fn principal(simulation: &Simulation, name: &str) -> Option<String> {
    simulation.objects[name].status.clone()?.principal_arn
}

#[test]
fn a_set_is_its_role_by_the_exact_name() {
    let cases = [
        ("View", "/eu-west-1", "View"),
        ("View", "", "View"),
        ("a+b=c,d.e@f-g", "/eu-west-1", "a+b=c,d.e@f-g"),
    ];
    for (name, region, found) in cases {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        let right = role(region, found, OLD);
        lists(
            &mut simulation,
            &[
                role(region, "View_Extra", OLD),
                role(region, "Viewer", OLD),
                right.clone(),
            ],
        );
        set(&mut simulation, name);
        simulation.settle();
        assert_eq!(principal(&simulation, name), Some(right.clone()));
        assert!(
            simulation.cloud().eks.entries.contains_key(&right),
            "{name}"
        );
        assert_eq!(simulation.ready(name), "True InEffect");
    }
}

#[test]
fn in_aws_auth_its_path_is_removed() {
    let mut simulation = Simulation::in_eks(Mode::ConfigMap, "");
    lists(&mut simulation, &[role("/eu-west-1", "View", OLD)]);
    set(&mut simulation, "View");
    simulation.settle();
    assert_eq!(
        simulation.entries()[0].0,
        format!("role/AWSReservedSSO_View_{OLD}")
    );
    assert_eq!(simulation.ready("View"), "True InEffect");
}

#[test]
fn a_changed_suffix_moves_the_mapping_grant_first() {
    for mode in [Mode::Api, Mode::ConfigMap] {
        let mut simulation = Simulation::in_eks(mode, "");
        lists(&mut simulation, &[role("", "View", OLD)]);
        set(&mut simulation, "View");
        simulation.settle();
        simulation.calls();
        simulation.later(60);
        lists(&mut simulation, &[role("", "View", NEW)]);
        simulation.settle();
        assert_eq!(principal(&simulation, "View"), Some(role("", "View", NEW)));
        if mode == Mode::Api {
            assert_eq!(
                simulation.calls(),
                [
                    format!("CreateAccessEntry AWSReservedSSO_View_{NEW}"),
                    format!("DeleteAccessEntry AWSReservedSSO_View_{OLD}")
                ]
            );
        } else {
            assert_eq!(simulation.entries().len(), 1);
        }
        assert_eq!(simulation.ready("View"), "True InEffect");
    }
}

/// In aws-auth alone too, and where users of the account can't be listed: nothing is asked of them here.
#[test]
fn many_changed_suffixes_are_no_mass_removal_in_aws_auth_either() {
    let mut simulation = Simulation::in_eks(Mode::ConfigMap, "");
    let sets: Vec<String> = (0..12).map(|number| format!("Set{number}")).collect();
    let roles = |suffix: &str| -> Vec<String> {
        let of_set = |set: &String| role("", set, suffix);
        sets.iter().map(of_set).collect()
    };
    lists(&mut simulation, &roles(OLD));
    for name in &sets {
        set(&mut simulation, name);
    }
    simulation.settle();
    assert_eq!(simulation.roles().matches(OLD).count(), 12);
    simulation.later(60);
    lists(&mut simulation, &roles(NEW));
    let account = "111122223333".parse().expect("an account");
    let known = simulation.cloud().iam.accounts.get_mut(&account);
    known.expect("listed").problems.users = Some(IamProblem::Denied {
        message: "no".to_owned(),
        statement: "{}".to_owned(),
    });
    simulation.settle();
    let text = simulation.roles();
    assert_eq!(
        (text.matches(OLD).count(), text.matches(NEW).count()),
        (0, 12),
        "{text}"
    );
}

/// IAM was read without the role of a set, so nobody can sign in by its entry, and nobody else is an administrator afterwards.
#[test]
fn the_role_of_a_set_that_iam_no_longer_lists_is_no_administrator() {
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap] {
        let mut simulation = Simulation::in_eks(mode, "");
        lists(&mut simulation, &[role("", "X", OLD), role("", "Y", OLD)]);
        for name in ["X", "Y"] {
            simulation.create(
                name,
                "role/x",
                &json!({
                    "principal": {"permissionSet": {"name": name, "accountId": "111122223333"}},
                    "username": "u", "groups": ["system:masters"], "backend": "ConfigMap",
                }),
            );
        }
        simulation.settle();
        simulation.later(3600);
        lists(&mut simulation, &[role("", "Y", OLD)]);
        simulation.settle();
        simulation.delete("Y");
        simulation.settle();
        assert!(
            simulation.roles().contains("AWSReservedSSO_Y"),
            "{mode}: the last administrator was removed without a confirmation"
        );
    }
}

#[test]
fn many_changed_suffixes_are_no_mass_removal() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let sets: Vec<String> = (0..12).map(|number| format!("Set{number}")).collect();
    let roles = |suffix: &str| {
        sets.iter()
            .map(|set| role("", set, suffix))
            .collect::<Vec<_>>()
    };
    lists(&mut simulation, &roles(OLD));
    for name in &sets {
        set(&mut simulation, name);
    }
    simulation.settle();
    simulation.later(60);
    lists(&mut simulation, &roles(NEW));
    simulation.settle();
    assert_eq!(simulation.cloud().eks.entries.len(), 12);
    assert!(
        simulation
            .cloud()
            .eks
            .entries
            .keys()
            .all(|arn| arn.ends_with(NEW))
    );
}

#[test]
fn a_missing_set_keeps_its_last_role_and_reports_it() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    lists(&mut simulation, &[role("", "View", OLD)]);
    set(&mut simulation, "View");
    simulation.settle();
    simulation.calls();
    simulation.later(60);
    lists(&mut simulation, &[]);
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(principal(&simulation, "View"), Some(role("", "View", OLD)));
    assert_eq!(
        simulation.condition("View", "Accepted"),
        "True PermissionSetUnresolved"
    );
    assert!(
        simulation
            .message("View", "Accepted")
            .contains("no longer has")
    );
}

#[test]
fn a_set_that_was_never_found_is_refused() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    set(&mut simulation, "View");
    simulation.settle();
    assert_eq!(
        simulation.condition("View", "Reconciling"),
        "True PermissionSetUnresolved"
    );
    lists(&mut simulation, &[]);
    simulation.settle();
    assert_eq!(
        simulation.condition("View", "Stalled"),
        "True PermissionSetUnresolved"
    );
    assert!(
        simulation
            .message("View", "Ready")
            .contains("assign the set")
    );
}

#[test]
fn of_two_roles_the_one_in_force_stays_and_otherwise_none_is_taken() {
    let both = [role("", "View", OLD), role("/eu-west-1", "View", NEW)];
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    lists(&mut simulation, &both);
    set(&mut simulation, "View");
    simulation.settle();
    assert_eq!(simulation.ready("View"), "False PermissionSetUnresolved");
    let message = simulation.message("View", "Ready");
    assert!(both.iter().all(|role| message.contains(role)), "{message}");
    assert!(simulation.calls().is_empty());

    lists(&mut simulation, &both[..1]);
    simulation.settle();
    assert_eq!(simulation.ready("View"), "True InEffect");
    lists(&mut simulation, &both);
    simulation.settle();
    assert_eq!(principal(&simulation, "View").as_ref(), Some(&both[0]));
    assert_eq!(simulation.ready("View"), "True InEffect");
}

#[test]
fn where_iam_cannot_be_read_the_last_role_stays() {
    let problems = [
        (IamProblem::NoRole, "--iam-role"),
        (
            IamProblem::Denied {
                message: "not authorized".to_owned(),
                statement: "{\"Action\": \"iam:ListRoles\"}".to_owned(),
            },
            "iam:ListRoles",
        ),
        (IamProblem::Unreachable("no route".to_owned()), "no route"),
    ];
    for (problem, word) in problems {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        lists(&mut simulation, &[role("", "View", OLD)]);
        set(&mut simulation, "View");
        simulation.settle();
        simulation.calls();
        simulation.restart();
        simulation.cloud().iam = Iam::default();
        let account = "111122223333".parse().expect("an account");
        simulation
            .cloud()
            .iam
            .accounts
            .entry(account)
            .or_default()
            .problems
            .sso = Some(problem.clone());
        simulation.settle();
        assert!(simulation.calls().is_empty());
        assert_eq!(simulation.ready("View"), "True InEffect");
        assert!(simulation.message("View", "Accepted").contains(word));
        // A new one has no last role.
        set(&mut simulation, "Edit");
        simulation.settle();
        assert_eq!(simulation.ready("Edit"), "False PermissionSetUnresolved");
        assert!(simulation.message("Edit", "Ready").contains(word));
    }
}

#[test]
fn a_renamed_mapping_finds_its_role_by_the_owned_entry() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    lists(&mut simulation, &[role("", "View", OLD)]);
    set(&mut simulation, "View");
    simulation.settle();
    simulation.calls();
    simulation.cloud().iam = Iam::default();
    let object = simulation.objects.remove("View").expect("exists");
    simulation.create(
        "renamed",
        "role/x",
        &serde_json::to_value(&object.spec).expect("JSON"),
    );
    simulation.settle();
    assert_eq!(
        principal(&simulation, "renamed"),
        Some(role("", "View", OLD))
    );
    assert_eq!(simulation.ready("renamed"), "True InEffect");
    assert_eq!(
        simulation.calls(),
        [format!("TagResource AWSReservedSSO_View_{OLD}")]
    );
}

#[test]
fn a_remembered_role_of_another_set_is_not_believed() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    set(&mut simulation, "View");
    simulation.edit("View", |object| {
        object.status.get_or_insert_default().principal_arn = Some(role("", "Admin", OLD));
    });
    simulation.settle();
    assert!(simulation.calls().is_empty());
    assert_eq!(simulation.ready("View"), "False PermissionSetUnresolved");
}

#[test]
fn a_recreated_role_of_a_set_is_renewed() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let arn = role("", "View", OLD);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&arn, "AROAONE")], now);
    set(&mut simulation, "View");
    simulation.settle();
    simulation.calls();
    simulation.later(60);
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&arn, "AROATWO")], now);
    simulation.settle();
    assert_eq!(simulation.calls().len(), 2, "deleted and recreated");
    assert_eq!(simulation.ready("View"), "True InEffect");
}

#[test]
fn kubectl_gets_short_values_of_a_set_without_a_role() {
    for (account, expected) in [
        ("111122223333", "sso/AdministratorAccess"),
        ("444455556666", "sso/Adm…rAccess (…6666)"),
    ] {
        let mut simulation = Simulation::in_eks(Mode::Api, "");
        lists(&mut simulation, &[]);
        simulation.create(
            "a",
            "role/x",
            &json!({
                "principal": {"permissionSet": {"name": "AdministratorAccess", "accountId": account}},
                "username": "admin:{{SessionName}}",
                "groups": ["admins"],
            }),
        );
        simulation.settle();
        let status = simulation.objects["a"].status.clone().expect("written");
        assert_eq!(status.principal_arn, None, "it has no role");
        let short = status.summary.expect("written");
        assert_eq!(
            [&short.principal, &short.username, &short.groups],
            [expected, "admin:{{…}}", "admins"]
        );
    }
}
