//! Back to a copy from the history: what comes back, what stays, and what never comes back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use crate::api::IdentityMapping;
use crate::aws_auth::{Document, Meaning};
use crate::observed::KeptCopy;
use crate::observed::Mode;
use crate::ownership::{KeyHash, Mark, MeaningHash};
use crate::plan::simulation::Simulation;
use crate::plan::tests::laws::{Happening, happen, happening};
use crate::plan::tests::{FOREIGN, cluster, entry, foreign};
use crate::principal::Key;
use crate::rollback::{Loss, Restoration, Unrestorable, WayIn, restore};

fn copies(simulation: &Simulation) -> Vec<KeptCopy> {
    let copies = simulation.copies.iter();
    let mut copies: Vec<KeptCopy> = copies
        .map(|(name, bytes)| KeptCopy::read(name, bytes).expect("it is ours"))
        .collect();
    copies.sort_by(|a, b| (a.time, &a.name).cmp(&(b.time, &b.name)));
    copies
}

fn plan_to_restore(simulation: &Simulation, copy: &KeptCopy) -> Result<Restoration, Unrestorable> {
    let (desired, observed) = (simulation.desired(), simulation.observed());
    restore(
        copy,
        &copies(simulation),
        &desired,
        &observed,
        &simulation.settings,
    )
}

fn apply(simulation: &mut Simulation, restoration: &Restoration) {
    let Some(rewrite) = restoration.rewrite.clone() else {
        return;
    };
    if let Some(history) = rewrite.history {
        simulation.write_history(history);
    }
    simulation.write(rewrite.config_map);
}

type Entries = Vec<(String, String, String)>;

fn entries(data: &BTreeMap<String, String>) -> Entries {
    let mut simulation = Simulation::new();
    for (key, text) in data {
        simulation.vandalise(key, text);
    }
    simulation.entries()
}

/// Entries of mappings have their mapping's name as username.
fn is_ours((_, username, _): &(String, String, String)) -> bool {
    username.starts_with('m')
}

fn owned_roles(entries: &Entries) -> BTreeSet<&String> {
    let ours = entries.iter().filter(|entry| is_ours(entry));
    ours.map(|(role, ..)| role).collect()
}

/// Whether a mark names an entry just so.
fn marks(mark: &str, (role, username, groups): &(String, String, String)) -> bool {
    let arn = format!("arn:aws:iam::111122223333:{role}");
    let hash = Key::parse_arn(&arn).as_ref().map(KeyHash::of);
    let groups = groups.split(',').filter(|group| !group.is_empty());
    let meaning = Meaning {
        arn,
        username: username.clone(),
        groups: groups.map(str::to_owned).collect(),
    };
    Mark::parse(mark).0.get(&hash.expect("a role")) == Some(&MeaningHash::of(&meaning))
}

/// Roles whose entries say something else than the mark.
fn changed_roles<'a>(entries: &'a Entries, mark: &str) -> Vec<&'a String> {
    let owned = owned_roles(entries);
    let roles = entries.iter().map(|(role, ..)| role);
    let changed = roles.filter(|role| !owned.contains(role) && marks_role(mark, role));
    changed.collect()
}

fn marks_role(mark: &str, role: &str) -> bool {
    let key = Key::parse_arn(&format!("arn:aws:iam::111122223333:{role}")).expect("a role");
    Mark::parse(mark).0.contains_key(&KeyHash::of(&key))
}

fn after(happenings: &[Happening]) -> Simulation {
    let mut simulation = Simulation::with_roles(FOREIGN);
    for happening in happenings {
        happen(&mut simulation, happening);
        simulation.later(2);
        simulation.settle();
    }
    simulation
}

/// What holds of restoring a copy, whatever happened before.
fn law(mut simulation: Simulation, copy: &KeptCopy) -> Result<(), TestCaseError> {
    let restoration = match plan_to_restore(&simulation, copy) {
        Ok(restoration) => restoration,
        Err(Unrestorable::Broken(_)) => {
            prop_assert!(copy.data["mapRoles"].contains("{{x}}"));
            return Ok(());
        }
        Err(other) => panic!("{other}"),
    };
    let (then, after) = (entries(&copy.data), entries(&restoration.data));
    let standing = simulation.entries();

    // Nothing of ours comes back that no mapping declares, or keeps: one that is suspended or refused keeps what is still marked.
    for entry in after.iter().filter(|entry| is_ours(entry)) {
        let (role, username, groups) = entry;
        let names = |object: &&IdentityMapping| {
            let arn = object.spec.principal.arn.clone().unwrap_or_default();
            arn.ends_with(role) && object.metadata.deletion_timestamp.is_none()
        };
        let declared = simulation
            .objects
            .get(username)
            .filter(names)
            .is_some_and(|object| object.spec.groups.join(",") == *groups);
        let kept = marks(simulation.mark(), entry)
            && simulation.objects.values().any(|object| names(&object));
        prop_assert!(
            declared || kept || standing.contains(entry),
            "{entry:?} came back"
        );
    }
    // What exists and is managed stays.
    for entry in standing.iter().filter(|entry| is_ours(entry)) {
        prop_assert!(
            !marks_role(simulation.mark(), &entry.0) || after.contains(entry),
            "{entry:?} is gone"
        );
    }
    // Everything else is as in the copy, but for what the operator takes for its own, changed by someone.
    let owned = owned_roles(&after);
    let changed = [(&then, copy.mark.as_str()), (&standing, simulation.mark())];
    let changed = changed
        .iter()
        .flat_map(|(entries, mark)| changed_roles(entries, mark));
    let changed: BTreeSet<&String> = changed.collect();
    let foreign = |entries: &Entries| -> Entries {
        entries
            .iter()
            .filter(|entry| {
                !is_ours(entry) && !owned.contains(&entry.0) && !changed.contains(&entry.0)
            })
            .cloned()
            .collect()
    };
    let stays = |(role, username, _): &(String, String, String)| {
        let mut out = restoration.left_out.iter();
        !out.any(|entry| entry.arn.ends_with(role.as_str()) && entry.username == *username)
    };
    let then = then.iter().filter(|entry| stays(entry)).cloned().collect();
    prop_assert_eq!(foreign(&then), foreign(&after));

    // The operator leaves it so, and to restore it again is nothing.
    apply(&mut simulation, &restoration);
    simulation.later(2);
    simulation.settle();
    prop_assert_eq!(foreign(&simulation.entries()), foreign(&after));
    let again = plan_to_restore(&simulation, copy).expect("it was restored before");
    prop_assert_eq!(again.rewrite, None);
    Ok(())
}

proptest! {
    #![proptest_config(crate::laws::cases(128))]

    #[test]
    fn history_of_any_kind_can_be_read(happenings in prop::collection::vec(happening(), 1..20), pick in any::<prop::sample::Index>()) {
        let simulation = after(&happenings);
        let copies = copies(&simulation);
        prop_assume!(!copies.is_empty());
        law(simulation, pick.get(&copies))?;
    }
}

/// What the law did not hold for once.
#[test]
fn rollback_lists_the_history() {
    let create = |name, role, adoption| Happening::Create {
        name,
        role,
        groups: 0,
        adoption,
    };
    let duplicate = |role| Happening::ForeignDuplicate { role };
    let retarget = |name, role| Happening::Retarget { name, role };
    let suspend = |name| Happening::Suspend {
        name,
        suspend: true,
    };
    let stories = [
        vec![
            create(0, 0, 0),
            duplicate(4),
            create(2, 4, 2),
            create(1, 1, 0),
        ],
        vec![
            create(0, 2, 0),
            Happening::LoseMark,
            duplicate(2),
            retarget(0, 0),
            create(1, 3, 0),
        ],
        vec![
            create(3, 3, 0),
            duplicate(3),
            create(2, 0, 2),
            duplicate(5),
            retarget(2, 5),
        ],
        vec![
            create(0, 1, 0),
            create(0, 0, 0),
            suspend(0),
            Happening::DropEntries,
            duplicate(1),
        ],
        vec![
            create(0, 0, 0),
            duplicate(0),
            suspend(0),
            Happening::DropEntries,
        ],
        vec![
            create(2, 1, 0),
            suspend(2),
            Happening::DropEntries,
            duplicate(1),
            Happening::Delete { name: 2 },
        ],
        vec![
            create(2, 1, 0),
            create(0, 2, 0),
            duplicate(1),
            Happening::Create {
                name: 5,
                role: 1,
                groups: 2,
                adoption: 0,
            },
            Happening::Delete { name: 2 },
            Happening::DropEntries,
            Happening::Delete { name: 5 },
        ],
        vec![
            create(0, 0, 0),
            create(1, 1, 0),
            suspend(0),
            Happening::BreakText,
            Happening::DropEntries,
            retarget(0, 1),
        ],
    ];
    for story in stories {
        let count = copies(&after(&story)).len();
        assert!(count > 0, "{story:?}");
        for number in 0..count {
            let simulation = after(&story);
            let copy = copies(&simulation).remove(number);
            law(simulation, &copy)
                .unwrap_or_else(|error| panic!("{story:?}, {}: {error}", copy.name));
        }
    }
}

/// A cluster with a mapping `a`, and the copy from before our first write.
fn with_first_copy() -> (Simulation, KeptCopy) {
    let simulation = cluster(&["a"]);
    let first = copies(&simulation).remove(0);
    assert!(first.first);
    (simulation, first)
}

#[test]
fn restoring_twice_changes_nothing() {
    let (mut simulation, first) = with_first_copy();
    // What stood in its way goes with the restoration, so `b` comes behind `c`, though it is the earlier mapping.
    let text = format!(
        "{}- rolearn: arn:aws:iam::111122223333:role/b\n  username: foreign\n",
        simulation.roles()
    );
    simulation.vandalise("mapRoles", &text);
    simulation.settle();
    for name in ["b", "c"] {
        simulation.create(name, &format!("role/{name}"), &json!({"adoption": "Never"}));
        simulation.later(2);
        simulation.settle();
    }
    let restoration = plan_to_restore(&simulation, &first).expect("a plan");
    apply(&mut simulation, &restoration);
    simulation.later(2);
    simulation.settle();
    let names: Vec<String> = simulation.entries().into_iter().map(|it| it.1).collect();
    assert!(
        names.ends_with(&["a".to_owned(), "c".to_owned(), "b".to_owned()]),
        "{names:?}"
    );
    let again = plan_to_restore(&simulation, &first).expect("a plan");
    assert_eq!(again.rewrite, None);
}

#[test]
fn rollback_restores_unmanaged_text_and_keeps_managed_entries() {
    let (mut simulation, first) = with_first_copy();
    simulation.vandalise(
        "mapRoles",
        "- {rolearn: \"arn:aws:iam::111122223333:role/a\", username: a, groups: [g]}\n",
    );
    simulation.vandalise(
        "mapUsers",
        "- userarn: arn:aws:iam::111122223333:user/new\n  username: new\n",
    );
    simulation.settle();
    let restoration = plan_to_restore(&simulation, &first).expect("restorable");
    assert!(
        restoration.losses.is_empty(),
        "no node and no administrator stands: {:?}",
        restoration.losses
    );
    apply(&mut simulation, &restoration);
    assert!(simulation.roles().starts_with(FOREIGN), "byte for byte");
    let users = simulation
        .config_map
        .as_ref()
        .expect("it stands")
        .data
        .get("mapUsers");
    assert_eq!(users, None, "the copy has no such key");
    let ours = entry("role/a", "a", "g");
    assert_eq!(simulation.entries(), [foreign(), vec![ours]].concat());
    assert_eq!(restoration.kept, ["arn:aws:iam::111122223333:role/a"]);
    assert_eq!(simulation.settle(), 0, "the operator sees a legal change");
}

#[test]
fn rollback_reports_and_skips_revoked_entries() {
    let mut simulation = cluster(&["a", "b"]);
    simulation.later(1);
    simulation.create("c", "role/c", &json!({}));
    simulation.settle();
    simulation.later(1);
    simulation.delete("a");
    simulation.settle();
    simulation.vandalise(
        "mapRoles",
        &simulation.roles().replace("# made by hand\n", ""),
    );
    let newest = copies(&simulation).pop().expect("a copy");
    assert!(entries(&newest.data).contains(&entry("role/a", "a", "g")));
    let restoration = plan_to_restore(&simulation, &newest).expect("restorable");
    let left_out: Vec<&str> = restoration
        .left_out
        .iter()
        .map(|entry| entry.arn.as_str())
        .collect();
    assert_eq!(left_out, ["arn:aws:iam::111122223333:role/a"]);
    apply(&mut simulation, &restoration);
    assert!(simulation.roles().contains("# made by hand\n"));
    assert!(!simulation.roles().contains("role/a\""));
    assert_eq!(simulation.settle(), 0);
}

/// Also what it gave before a mapping adopted it and gave more.
#[test]
fn what_was_adopted_since_and_revoked_stays_out() {
    let text = "- rolearn: arn:aws:iam::111122223333:role/bob\n  username: bob\n  groups: [dev]\n";
    let mut simulation = Simulation::with_roles(&(FOREIGN.to_owned() + text));
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    simulation.later(1);
    let spec = json!({"groups": ["dev", "on-call"], "adoption": "Always", "username": "bob"});
    simulation.create("bob", "role/bob", &spec);
    simulation.settle();
    simulation.later(1);
    let before = copies(&simulation).pop().expect("a copy");
    assert!(entries(&before.data).contains(&entry("role/bob", "bob", "dev")));
    // Declared, it comes back as declared.
    let declared = plan_to_restore(&simulation, &before).expect("restorable");
    assert!(declared.left_out.is_empty());
    simulation.delete("bob");
    simulation.settle();
    simulation.later(1);
    let restoration = plan_to_restore(&simulation, &before).expect("restorable");
    let left_out: Vec<&str> = restoration
        .left_out
        .iter()
        .map(|entry| entry.arn.as_str())
        .collect();
    assert_eq!(left_out, ["arn:aws:iam::111122223333:role/bob"]);
    apply(&mut simulation, &restoration);
    assert!(!simulation.roles().contains("role/bob"));
    assert!(simulation.roles().contains("role/a"));
}

#[test]
fn what_was_revoked_stays_out_also_where_its_mark_was_lost_and_another_entry_of_the_principal_stands()
 {
    let mut simulation = cluster(&["a"]);
    if let Some(view) = &mut simulation.config_map {
        view.annotations.clear();
    }
    simulation.later(2);
    simulation.settle();
    let text = format!(
        "{}- rolearn: arn:aws:iam::111122223333:role/a\n  username: foreign\n",
        simulation.roles()
    );
    simulation.vandalise("mapRoles", &text);
    simulation.later(2);
    simulation.settle();
    simulation.delete("a");
    simulation.later(2);
    simulation.settle();
    let revoked = entry("role/a", "a", "g");
    assert!(!simulation.entries().contains(&revoked));
    for copy in copies(&simulation) {
        if let Ok(restoration) = plan_to_restore(&simulation, &copy) {
            assert!(
                !entries(&restoration.data).contains(&revoked),
                "{}",
                copy.name
            );
        }
    }
}

#[test]
fn a_deleted_and_a_broken_aws_auth_come_back() {
    for vandalism in ["delete", "break"] {
        let (mut simulation, _) = with_first_copy();
        simulation.later(1);
        simulation.create("b", "role/b", &json!({}));
        simulation.settle();
        let newest = copies(&simulation).pop().expect("a copy");
        // Nobody saw it standing, so nothing is put back by itself.
        if vandalism == "delete" {
            simulation.config_map = None;
        } else {
            simulation.vandalise("mapRoles", "- rolearn: {{x}}\n");
        }
        simulation.restart();
        let restoration = plan_to_restore(&simulation, &newest).expect("restorable");
        apply(&mut simulation, &restoration);
        let mut expected = foreign();
        expected.extend([entry("role/a", "a", "g"), entry("role/b", "b", "g")]);
        assert_eq!(simulation.entries(), expected, "{vandalism}");
        simulation.settle();
        assert_eq!(simulation.entries(), expected, "{vandalism}");
        assert_eq!(simulation.ready("b"), "True InEffect");
    }
}

#[test]
fn losses_are_reported_before_restoring() {
    let (mut simulation, first) = with_first_copy();
    let node = "- {rolearn: \"arn:aws:iam::111122223333:role/new-node\", username: \"system:node:{{EC2PrivateDNSName}}\", groups: [system:nodes]}\n";
    simulation.vandalise("mapRoles", &format!("{}{node}", simulation.roles()));
    let restoration = plan_to_restore(&simulation, &first).expect("restorable");
    let [Loss::NodeEntry { arn, line }] = restoration.losses.as_slice() else {
        panic!("{:?}", restoration.losses);
    };
    assert_eq!(
        (arn.as_str(), line.1),
        ("arn:aws:iam::111122223333:role/new-node", 15)
    );

    let mut simulation = Simulation::with_roles("");
    simulation.create("a", "role/a", &json!({}));
    simulation.settle();
    let before = copies(&simulation).pop().expect("a copy");
    let text = format!("{}{}", FOREIGN, simulation.roles());
    simulation.vandalise("mapRoles", &text);
    let restoration = plan_to_restore(&simulation, &before).expect("restorable");
    assert!(
        restoration.losses.contains(&Loss::LastAdministrator),
        "{:?}",
        restoration.losses
    );

    // The caller's own way in.
    let ops = "arn:aws:iam::111122223333:role/ops";
    let WayIn::Lost { now, then } = restoration.way_in(ops) else {
        panic!("ops is not in the copy");
    };
    assert!(
        now.contains("system:masters") && then.contains("no access"),
        "{now}; {then}"
    );
    assert_eq!(
        restoration.way_in("arn:aws:iam::111122223333:role/a"),
        WayIn::Kept
    );
    assert_eq!(
        restoration.way_in("arn:aws:iam::111122223333:role/other"),
        WayIn::Kept
    );
    let groups = [
        "system:masters".to_owned(),
        "system:authenticated".to_owned(),
    ]
    .into();
    assert_eq!(restoration.entries_for("ops", &groups), [ops]);
    assert!(restoration.entries_for("someone", &groups).is_empty());
    let nodes = ["system:bootstrappers", "system:nodes"]
        .map(str::to_owned)
        .into();
    let node = "system:node:ip-10-0-0-1.eu-west-1.compute.internal";
    assert_eq!(restoration.entries_for(node, &nodes).len(), 1);
}

#[test]
fn what_cannot_be_restored_says_why() {
    let (mut simulation, first) = with_first_copy();
    let broken = KeptCopy {
        data: [("mapRoles".to_owned(), "- {{x}}: 1".to_owned())].into(),
        ..first.clone()
    };
    assert!(matches!(
        plan_to_restore(&simulation, &broken),
        Err(Unrestorable::Broken(_))
    ));
    simulation.config_map.as_mut().expect("it stands").immutable = true;
    assert!(matches!(
        plan_to_restore(&simulation, &first),
        Err(Unrestorable::Immutable)
    ));
    let simulation = Simulation::in_eks(Mode::Api, FOREIGN);
    assert!(matches!(
        plan_to_restore(&simulation, &first),
        Err(Unrestorable::NotRead)
    ));
    assert!(Document::parse(&first.data).entries().count() > 0);
}

#[test]
fn an_entry_that_was_handed_over_since_stays_out() {
    let mut simulation = Simulation::in_eks(Mode::ApiAndConfigMap, FOREIGN);
    simulation.create("a", "role/a", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    simulation.later(1);
    simulation.create("b", "role/b", &json!({"backend": "ConfigMap"}));
    simulation.settle();
    let with_a = copies(&simulation).pop().expect("a copy");
    assert!(entries(&with_a.data).contains(&entry("role/a", "a", "g")));
    simulation.edit("a", |object| {
        object.spec.backend = crate::api::v1alpha1::BackendChoice::AccessEntry;
    });
    simulation.settle();
    simulation.later(24 * 3600 + 1);
    simulation.settle();
    simulation.look();
    simulation.settle();
    assert!(
        !simulation.roles().contains("role/a\""),
        "{}",
        simulation.roles()
    );
    let restoration = plan_to_restore(&simulation, &with_a).expect("restorable");
    assert!(!entries(&restoration.data).contains(&entry("role/a", "a", "g")));
    assert_eq!(restoration.left_out.len(), 1);
}
