//! Creation, change, precedence, expiry, suspension, refusal.

use serde_json::json;

use super::{FOREIGN, cluster, entry, foreign};
use crate::plan::simulation::Simulation;

#[test]
fn a_mapping_is_written_once_and_unmanaged_bytes_stay() {
    let mut simulation = cluster(&[]);
    simulation.create("dev", "role/team/dev", &json!({"groups": ["b", "a"]}));
    assert_eq!(simulation.settle(), 1);
    assert!(
        simulation.roles().starts_with(FOREIGN),
        "{}",
        simulation.roles()
    );
    assert_eq!(simulation.entries()[2], entry("role/dev", "dev", "a,b"));
    assert_eq!(simulation.ready("dev"), "True InEffect");
    assert_eq!(simulation.condition("dev", "Synced"), "True Synced");
    assert_eq!(simulation.condition("dev", "Stalled"), "");
    assert!(
        simulation.events.is_empty(),
        "no event for plain success: {:?}",
        simulation.events
    );
    let status = simulation.objects["dev"].status.clone().expect("written");
    assert_eq!(
        status.principal_arn.as_deref(),
        Some("arn:aws:iam::111122223333:role/team/dev")
    );
    assert_eq!(status.written[0].arn, "arn:aws:iam::111122223333:role/dev");
}

#[test]
fn a_burst_is_one_write_and_time_alone_changes_nothing() {
    let names: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
    let mut simulation = Simulation::with_roles(FOREIGN);
    for name in &names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    assert_eq!(simulation.settle(), 1);
    let statuses = simulation.status_writes;
    simulation.later(3600);
    simulation.settle();
    assert_eq!((simulation.writes, simulation.status_writes), (1, statuses));
}

#[test]
fn username_unset_is_the_default_of_eks() {
    let mut simulation = cluster(&[]);
    simulation.create("role", "role/a/dev", &json!({"username": null}));
    simulation.create("user", "user/div/bob", &json!({"username": null}));
    simulation.settle();
    let entries = simulation.entries();
    assert_eq!(
        entries[2].1,
        "arn:aws:sts::111122223333:assumed-role/dev/{{SessionName}}"
    );
    assert_eq!(
        entries[3],
        entry(
            "user/div/bob",
            "arn:aws:iam::111122223333:user/div/bob",
            "g"
        )
    );
}

#[test]
fn node_types_stand_in_the_form_of_eks() {
    let mut simulation = cluster(&[]);
    for (name, type_) in [
        ("linux", "EC2Linux"),
        ("windows", "EC2Windows"),
        ("fargate", "FargateLinux"),
        ("auto", "EC2"),
    ] {
        simulation.create(
            name,
            &format!("role/{name}"),
            &json!({"type": type_, "username": null, "groups": null}),
        );
    }
    simulation.settle();
    assert_eq!(
        simulation.entries()[2..],
        [
            entry(
                "role/linux",
                "system:node:{{EC2PrivateDNSName}}",
                "system:bootstrappers,system:nodes"
            ),
            entry(
                "role/windows",
                "system:node:{{EC2PrivateDNSName}}",
                "eks:kube-proxy-windows,system:bootstrappers,system:nodes"
            ),
            entry(
                "role/fargate",
                "system:node:{{SessionName}}",
                "system:bootstrappers,system:node-proxier,system:nodes"
            ),
        ]
    );
    assert_eq!(simulation.ready("auto"), "False BackendUnavailable");
}

#[test]
fn a_changed_spec_changes_the_entry_in_its_place() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.edit("a", |object| object.spec.groups = vec!["h".to_owned()]);
    assert_eq!(simulation.settle(), 1);
    assert_eq!(
        simulation.entries()[2..],
        [entry("role/a", "a", "h"), entry("role/b", "b", "g")]
    );
    assert!(simulation.events.is_empty(), "{:?}", simulation.events);
}

#[test]
fn a_changed_principal_moves_the_entry_in_one_write() {
    let mut simulation = cluster(&["a"]);
    simulation.edit("a", |object| {
        object.spec.principal.arn = Some("arn:aws:iam::111122223333:role/x".to_owned());
    });
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries()[2..], [entry("role/x", "a", "g")]);
}

#[test]
fn the_older_of_two_mappings_holds_the_key_and_the_next_takes_over_in_the_same_write() {
    let mut simulation = cluster(&["old"]);
    simulation.create("young", "role/team/OLD", &json!({}));
    simulation.settle();
    assert_eq!(simulation.ready("young"), "False DuplicatePrincipal");
    assert!(
        simulation
            .message("young", "Ready")
            .contains("the active mapping old"),
        "{}",
        simulation.message("young", "Ready")
    );
    simulation.delete("old");
    assert_eq!(simulation.settle(), 1);
    assert!(!simulation.objects.contains_key("old"));
    assert_eq!(simulation.entries()[2..], [entry("role/OLD", "young", "g")]);
    assert_eq!(simulation.ready("young"), "True InEffect");
}

#[test]
fn a_swap_of_two_principals_ends_right_in_any_order() {
    let mut simulation = cluster(&["a", "b"]);
    let arn = |name: &str| Some(format!("arn:aws:iam::111122223333:role/{name}"));
    simulation.edit("a", |object| object.spec.principal.arn = arn("b"));
    simulation.pass();
    simulation.edit("b", |object| object.spec.principal.arn = arn("a"));
    simulation.settle();
    let mut entries = simulation.entries()[2..].to_vec();
    entries.sort();
    assert_eq!(
        entries,
        [entry("role/a", "b", "g"), entry("role/b", "a", "g")]
    );
}

#[test]
fn an_entry_is_removed_at_valid_until_and_the_object_stays() {
    let mut simulation = cluster(&["a", "b"]);
    let until = simulation.now.plus(jiff::SignedDuration::from_secs(60));
    simulation.edit("a", |object| {
        object.spec.valid_until = Some(until.into());
    });
    let report = simulation.pass();
    assert_eq!(report.wake, Some(until));
    simulation.later(60);
    assert_eq!(simulation.settle(), 1);
    assert_eq!(simulation.entries()[2..], [entry("role/b", "b", "g")]);
    assert_eq!(simulation.ready("a"), "True Expired");
    simulation.delete("a");
    assert_eq!(simulation.settle(), 0);
    assert!(!simulation.objects.contains_key("a"));
}

#[test]
fn an_expired_principal_with_other_access_is_not_reported_as_removed() {
    let mut simulation = cluster(&["a"]);
    simulation.vandalise("mapAccounts", "- \"111122223333\"\n");
    let past = simulation.now;
    simulation.edit("a", |object| {
        object.spec.valid_until = Some(past.into());
    });
    simulation.settle();
    assert_eq!(simulation.entries(), foreign());
    assert_eq!(simulation.ready("a"), "False StillGranted");
}

#[test]
fn a_suspended_mapping_is_neither_created_changed_nor_repaired_but_is_removed_when_deleted() {
    let mut simulation = cluster(&["a"]);
    simulation.edit("a", |object| object.spec.suspend = true);
    simulation.settle();
    assert_eq!(simulation.ready("a"), "True InEffect");
    assert_eq!(simulation.condition("a", "Synced"), "False Suspended");
    simulation.replace_in_roles("\"a\"", "\"changed\"");
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("a"), "False Suspended");
    simulation.delete("a");
    simulation.settle();
    assert_eq!(simulation.entries(), foreign());
}

#[test]
fn a_refused_spec_leaves_the_entry_as_it_is() {
    let mut simulation = cluster(&["a"]);
    simulation.edit("a", |object| {
        object.spec.groups = vec!["{{Nope}}".to_owned()];
    });
    assert_eq!(simulation.settle(), 0);
    assert_eq!(simulation.ready("a"), "False InvalidSpec");
    assert_eq!(simulation.condition("a", "Stalled"), "True InvalidSpec");
    assert_eq!(simulation.entries()[2..], [entry("role/a", "a", "g")]);
    simulation.edit("a", |object| object.spec.groups = vec!["h".to_owned()]);
    simulation.settle();
    assert_eq!(simulation.entries()[2..], [entry("role/a", "a", "h")]);
}

#[test]
fn access_policies_and_permission_sets_say_what_they_need() {
    let mut simulation = cluster(&[]);
    simulation.create(
        "a",
        "role/a",
        &json!({"accessPolicies": [{"policy": "AmazonEKSViewPolicy"}]}),
    );
    simulation.create(
        "b",
        "role/b",
        &json!({"principal": {"permissionSet": {"name": "Admin", "accountId": "111122223333"}}}),
    );
    simulation.create("c", "role/c", &json!({"backend": "AccessEntry"}));
    simulation.settle();
    assert_eq!(simulation.ready("a"), "False AccessPoliciesIneffective");
    assert_eq!(simulation.entries()[2..], [entry("role/a", "a", "g")]);
    assert_eq!(simulation.ready("b"), "False PermissionSetUnresolved");
    assert_eq!(simulation.ready("c"), "False BackendUnavailable");
}

#[test]
fn groups_bound_is_a_warning_of_its_own() {
    let mut simulation = cluster(&["a"]);
    assert_eq!(
        simulation.condition("a", "GroupsBound"),
        "False GroupsUnbound"
    );
    assert_eq!(simulation.ready("a"), "True InEffect");
    simulation.bindings.push(crate::observed::BindingSubjects {
        groups: ["g".to_owned()].into(),
        ..Default::default()
    });
    simulation.settle();
    assert_eq!(simulation.condition("a", "GroupsBound"), "True GroupsBound");
    simulation.edit("a", |object| {
        object.spec.groups = vec!["team:{{SessionName}}".to_owned()];
    });
    simulation.settle();
    assert_eq!(
        simulation.condition("a", "GroupsBound"),
        "Unknown GroupsTemplated"
    );
}
