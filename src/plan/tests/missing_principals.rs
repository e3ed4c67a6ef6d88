//! Principals that IAM does not list, and entries that EKS does not list: who counts as an administrator then, and whose entry as dead.

use std::collections::BTreeSet;

use serde_json::json;

use crate::access_entry::{ADMIN_POLICY, Call, InFlight};
use crate::api::v1alpha1::BackendChoice;
use crate::observed::{BindingSubjects, IamProblem, Mode};
use crate::plan::simulation::Simulation;

fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// A group of administrators by RBAC.
fn bind_admins(simulation: &mut Simulation) {
    simulation.bindings.push(BindingSubjects {
        groups: ["admins".to_owned()].into(),
        cluster_admin: true,
        ..BindingSubjects::default()
    });
}

/// The only administrator, by an access entry.
fn alice(simulation: &mut Simulation) {
    let spec = json!({"backend": "AccessEntry", "groups": [], "accessPolicies": [{"policy": ADMIN_POLICY}]});
    simulation.create("alice", "role/alice", &spec);
}

/// IAM is read so many seconds later, and has these.
fn iam_lists(simulation: &mut Simulation, later: i64, listed: &[(&str, &str)]) {
    simulation.later(later);
    let now = simulation.now;
    simulation.cloud().iam_lists(listed, now);
    passes(simulation);
}

fn passes(simulation: &mut Simulation) {
    for _ in 0..6 {
        simulation.pass();
        simulation.later(1);
    }
}

/// ghost's mapping is being handed over: its access entry soaks beside its copy in aws-auth. The role ghost is deleted in IAM.
/// IAM, read successfully, lists it no more, so nobody can sign in as ghost. Then the mapping of the only real administrator is
/// deleted.
#[test]
fn the_copy_of_a_role_that_iam_no_longer_has_is_no_administrator() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    bind_admins(&mut simulation);
    let admins = json!({"backend": "ConfigMap", "groups": ["admins"]});
    simulation.create("ghost", "role/ghost", &admins);
    alice(&mut simulation);
    simulation.settle();
    simulation.edit("ghost", |object| {
        object.spec.backend = BackendChoice::AccessEntry;
    });
    simulation.settle();
    assert!(simulation.access_entry("role/ghost").is_some(), "it soaks");
    assert!(simulation.roles().contains("role/ghost"), "beside its copy");
    iam_lists(&mut simulation, 3600, &[(&arn("alice"), "AROA1")]);
    assert_eq!(
        simulation.condition("ghost", "Synced"),
        "False PrincipalNotFound"
    );
    simulation.delete("alice");
    passes(&mut simulation);
    assert!(
        simulation.access_entry("role/alice").is_some(),
        "the last administrator was removed without a confirmation"
    );
}

/// The same with an unmanaged copy and an unmanaged access entry, and without the access entry, where it is held.
#[test]
fn a_dead_access_entry_makes_no_administrator_of_a_role_that_is_gone() {
    for dead_entry in [false, true] {
        let text = "- rolearn: arn:aws:iam::111122223333:role/ghost\n  username: ghost\n  groups: [system:masters]\n";
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, text);
        if dead_entry {
            simulation.by_hand(&Call::Create {
                principal_arn: arn("ghost"),
                kind: crate::access_entry::Kind::parse("STANDARD"),
                username: Some("ghost".to_owned()),
                groups: BTreeSet::new(),
                tags: [].into(),
            });
        }
        alice(&mut simulation);
        simulation.settle();
        simulation.later(3600);
        let now = simulation.now;
        simulation
            .cloud()
            .iam_lists(&[(&arn("alice"), "AROA1")], now);
        passes(&mut simulation);
        simulation.delete("alice");
        passes(&mut simulation);
        assert!(
            simulation.access_entry("role/alice").is_some(),
            "dead entry {dead_entry}: the last administrator was removed without a confirmation"
        );
    }
}

/// Who can write statuses names an access entry of a role that IAM no longer has, and that aws-auth still makes an administrator. Of
/// such a status docs/security.md says that it can't demote the last administrator.
#[test]
fn a_forged_status_makes_no_administrator_of_a_role_that_is_gone() {
    for forged in [false, true] {
        let text = "- rolearn: arn:aws:iam::111122223333:role/ghost\n  username: ghost\n  groups: [system:masters]\n";
        let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, text);
        alice(&mut simulation);
        simulation.create("dev", "role/dev", &json!({"backend": "AccessEntry"}));
        simulation.settle();
        simulation.later(3600);
        let now = simulation.now;
        let listed = [(&*arn("alice"), "AROA1"), (&*arn("dev"), "AROA2")];
        simulation.cloud().iam_lists(&listed, now);
        passes(&mut simulation);
        if forged {
            simulation.edit("dev", |object| {
                let status = object.status.as_mut().expect("a status");
                let mut ghost = status.written[0].clone();
                ghost.arn = arn("ghost");
                status.written.push(ghost);
            });
        }
        simulation.delete("alice");
        passes(&mut simulation);
        assert!(
            simulation.access_entry("role/alice").is_some(),
            "forged {forged}: the last administrator was removed without a confirmation"
        );
    }
}

/// aws-auth names a user without the path that it has in IAM. The authenticator keeps a user's path, so that entry never matches.
#[test]
fn an_entry_of_a_user_without_its_path_is_no_administrator() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let bob = "- userarn: arn:aws:iam::111122223333:user/bob\n  username: bob\n  groups: [system:masters]\n";
    simulation.vandalise("mapUsers", bob);
    alice(&mut simulation);
    simulation.settle();
    let listed = [
        (&*arn("alice"), "AROA1"),
        ("arn:aws:iam::111122223333:user/dev/bob", "AIDA1"),
    ];
    iam_lists(&mut simulation, 3600, &listed);
    simulation.delete("alice");
    passes(&mut simulation);
    assert!(
        simulation.access_entry("role/alice").is_some(),
        "the last administrator was removed without a confirmation"
    );
}

/// A role is made, and a moment later its access entry, for which EKS looked the role up. A listing of IAM that begins some seconds
/// after that may still lack the role.
#[test]
fn a_listing_of_iam_that_may_lag_proves_no_death() {
    // The last administrator.
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    alice(&mut simulation);
    simulation.settle();
    iam_lists(&mut simulation, 5, &[]);
    let ready = simulation.ready("alice");
    simulation.delete("alice");
    passes(&mut simulation);
    assert!(
        simulation.access_entry("role/alice").is_some(),
        "the last administrator was removed without a confirmation; before, it was {ready}"
    );
    // It is also said that alice's entry does not work.
    assert_ne!(ready, "False PrincipalNotFound");
}

#[test]
fn a_listing_of_iam_that_may_lag_lifts_no_guard_of_nodes() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let nodes = json!({"type": "EC2Linux", "username": null, "groups": null});
    simulation.create("nodes", "role/nodes", &nodes);
    simulation.settle();
    assert!(simulation.access_entry("role/nodes").is_some());
    iam_lists(&mut simulation, 5, &[]);
    simulation.delete("nodes");
    passes(&mut simulation);
    assert!(
        simulation.access_entry("role/nodes").is_some(),
        "the nodes' entry was removed without a confirmation"
    );
}

#[test]
fn a_listing_of_iam_that_may_lag_keeps_no_dropped_group() {
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    simulation.create("dev", "role/dev", &json!({"groups": ["a", "b"]}));
    simulation.settle();
    iam_lists(&mut simulation, 5, &[]);
    simulation.edit("dev", |object| object.spec.groups = vec!["a".to_owned()]);
    passes(&mut simulation);
    let (_, groups, _) = simulation.access_entry("role/dev").expect("it stands");
    assert_eq!(groups, ["a"], "what the spec dropped stays in force");
}

/// Roles of permission sets that are younger than the last listing of IAM: it never held them, so it does not show that they are gone.
#[test]
fn a_role_that_is_younger_than_the_listing_is_not_gone_from_iam() {
    const SSO: &str = "aws-reserved/sso.amazonaws.com/AWSReservedSSO_";
    let mut simulation = Simulation::in_eks(Mode::Api, "");
    let set = json!({"principal": {"permissionSet": {"name": "old", "accountId": "111122223333"}}, "username": "u"});
    simulation.create("set", "role/x", &set);
    let old = arn(&format!("{SSO}old_0123456789abcdef"));
    let now = simulation.now;
    simulation.cloud().iam_lists(&[(&old, "AROA1")], now);
    simulation.settle();
    // IAM can't be read any more.
    let account = "111122223333".parse().expect("an account");
    let iam = &mut simulation.cloud().iam;
    let account = iam.accounts.get_mut(&account).expect("listed");
    account.problems.sso = Some(IamProblem::Unreachable("no route".to_owned()));
    simulation.later(3600);
    let names: Vec<String> = (0..12).map(|number| format!("n{number:x}")).collect();
    for name in &names {
        let role = format!("role/{SSO}{name}_0123456789abcdef");
        simulation.create(name, &role, &json!({}));
    }
    simulation.settle();
    let left = |simulation: &Simulation| {
        let standing = |name: &&String| {
            let role = format!("role/{SSO}{name}_0123456789abcdef");
            simulation.access_entry(&role).is_some()
        };
        names.iter().filter(standing).count()
    };
    assert_eq!(left(&simulation), 12);
    for name in &names {
        simulation.delete(name);
    }
    passes(&mut simulation);
    assert!(
        left(&simulation) >= 7,
        "{} of 12 are left",
        left(&simulation)
    );
}

/// A process dies, and the next one's listing lags: it lacks an entry that a status names. aws-auth makes an administrator of the same
/// role, without effect while the entry stands.
#[test]
fn a_listing_that_lacks_an_entry_which_a_status_names_makes_no_administrator() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, "");
    let now = simulation.now;
    simulation.cloud().in_flight = InFlight::since(now);
    simulation.later(300);
    simulation.create("viewer", "role/viewer", &json!({"backend": "AccessEntry"}));
    alice(&mut simulation);
    simulation.settle();
    let text = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n  groups: [system:masters]\n";
    simulation.vandalise("mapRoles", text);
    simulation.settle();
    assert_eq!(simulation.ready("viewer"), "True InEffect");
    simulation.restart();
    let now = simulation.now;
    let cloud = simulation.cloud();
    cloud.in_flight = InFlight::since(now);
    cloud.known.by_principal.remove(&arn("viewer"));
    simulation.delete("alice");
    // All calls of a plan are sent side by side, that which describes viewer's entry too.
    simulation.cloud().slow = true;
    simulation.cloud().calls.clear();
    simulation.pass();
    let sent = simulation.calls();
    assert!(
        !sent.contains(&"DeleteAccessEntry alice".to_owned()),
        "the last administrator is removed without a confirmation: {sent:?}"
    );
}
