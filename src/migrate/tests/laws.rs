//! Laws of verdicts, held against what a simulated cluster does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::migration;
use crate::access_entry::{Call, Kind};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::fold_arn;
use crate::import::{ImportOptions, import};
use crate::migrate::{Migration, PlannedOutcome, PrincipalPlan, Who};
use crate::observed::Mode;
use crate::plan::HANDOVER_ANNOTATION;
use crate::plan::simulation::{Power, Simulation};
use crate::principal::Principal;

const ROLE: &str = "arn:aws:iam::111122223333:role";
const IDENTITIES: [(&str, &[&str]); 10] = [
    ("person:{{SessionName}}", &["team"]),
    ("admin", &["system:masters", "team"]),
    ("viewer", &["system:viewers"]),
    ("no-colon-{{SessionName}}", &["team"]),
    ("aws:reader", &[]),
    ("", &["team"]),
    (
        "system:node:{{EC2PrivateDNSName}}",
        &["system:bootstrappers", "system:nodes"],
    ),
    (
        "system:node:{{SessionName}}",
        &["system:bootstrappers", "system:nodes"],
    ),
    (
        "system:node:{{SessionName}}",
        &[
            "system:bootstrappers",
            "system:node-proxier",
            "system:nodes",
        ],
    ),
    (
        "system:node:{{EC2PrivateDNSName}}",
        &["system:nodes", "more"],
    ),
];

#[derive(Clone, Debug)]
struct World {
    mode: Mode,
    /// Role, spelling of its ARN, identity.
    entries: Vec<(usize, usize, usize)>,
    /// Roles with a mapping: role, identity.
    mappings: Vec<(usize, usize)>,
    /// Access entries that someone else made: role, whether of nodes.
    foreign: Vec<(usize, bool)>,
}

fn world() -> impl Strategy<Value = World> {
    (
        prop_oneof![Just(Mode::ConfigMap), Just(Mode::ApiAndConfigMap)],
        prop::collection::vec((0..6_usize, 0..4_usize, 0..IDENTITIES.len()), 0..8),
        prop::collection::vec((0..6_usize, 0..3_usize), 0..3),
        prop::collection::vec((0..7_usize, any::<bool>()), 0..3),
    )
        .prop_map(|(mode, entries, mappings, foreign)| World {
            mode,
            entries,
            mappings,
            foreign,
        })
}

fn arn(role: usize, spelling: usize) -> String {
    match spelling {
        2 => format!("{ROLE}/R{role}"),
        3 => format!("{ROLE}/path/r{role}"),
        _ => format!("{ROLE}/r{role}"),
    }
}

fn build(world: &World) -> Simulation {
    let entries = world.entries.iter().map(|(role, spelling, identity)| {
        let (username, groups) = IDENTITIES[*identity];
        let entry =
            json!({"rolearn": arn(*role, *spelling), "username": username, "groups": groups});
        format!("- {entry}\n")
    });
    let text: String = entries.collect();
    let mut simulation = Simulation::in_eks(world.mode, &text);
    simulation.bridge();
    if world.mode != Mode::ConfigMap {
        for (role, node) in &world.foreign {
            let (type_, username) = if *node {
                (EntryType::EC2Linux, None)
            } else {
                (EntryType::Standard, Some("somebody".to_owned()))
            };
            let call = Call::Create {
                principal_arn: arn(*role, 0),
                kind: Kind::Known(type_),
                username,
                groups: [].into(),
                tags: [].into(),
            };
            // Of two of one role EKS refuses the second.
            let _ = simulation.cloud().eks.call(&call);
        }
        simulation.look();
    }
    let mut mapped = BTreeSet::new();
    for (role, identity) in world
        .mappings
        .iter()
        .filter(|(role, _)| mapped.insert(*role))
    {
        let (username, groups) = IDENTITIES[*identity];
        simulation.create(
            &format!("m{role}"),
            &format!("role/r{role}"),
            &json!({"username": username, "groups": groups}),
        );
    }
    simulation
}

/// Imports what no mapping declares, as the verdicts say.
fn import_undeclared(simulation: &mut Simulation, migration: &Migration) {
    let options = ImportOptions {
        nodes: true,
        ..ImportOptions::default()
    };
    let (desired, observed) = (simulation.desired(), simulation.observed());
    let imported = import(&desired, &observed, &simulation.settings, options).imported;
    let names: BTreeSet<&String> = migration
        .undeclared()
        .filter_map(|verdict| verdict.import.as_ref())
        .collect();
    for imported in imported {
        let name = imported.object.metadata.name.clone().expect("a name");
        if names.contains(&name) {
            simulation.objects.insert(name, imported.object);
        }
    }
}

/// Everything is handed over, over the waits for bridges and soaks.
fn hand_over(simulation: &mut Simulation) {
    simulation.settle();
    simulation.cloud().mode = Mode::ApiAndConfigMap;
    let history = simulation.history.get_or_insert_default();
    history
        .annotations
        .insert(HANDOVER_ANNOTATION.to_owned(), "Auto".to_owned());
    for _ in 0..5 {
        simulation.later(90_000);
        simulation.look();
        simulation.settle();
    }
}

fn matched(verdict: &PrincipalPlan) -> Option<String> {
    match &verdict.who {
        Who::Principal { arn, .. } => Some(fold_arn(&Principal::parse(arn).ok()?.aws_auth_arn())),
        Who::Account(_) | Who::Other(_) => None,
    }
}

fn less(before: Option<&Power>, after: Option<&Power>) -> bool {
    match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((had, groups)), Some((has, left))) => {
            // Nodes do without the group that they only start with.
            let mut lost = groups
                .difference(left)
                .filter(|group| *group != "system:bootstrappers");
            !*has && (*had || lost.next().is_some())
        }
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(96))]

    #[test]
    fn every_entry_has_one_outcome_or_grants_no_access(world in world()) {
        let simulation = build(&world);
        let migration = migration(&simulation);
        let mut places = BTreeMap::new();
        for verdict in &migration.verdicts {
            for place in verdict.places.iter().chain(&verdict.shadowed) {
                *places.entry(*place).or_insert(0) += 1;
            }
        }
        for dead in &migration.dead {
            *places.entry(dead.place).or_insert(0) += 1;
        }
        prop_assert_eq!(places.len(), world.entries.len());
        prop_assert!(places.values().all(|count| *count == 1), "{places:?}");
        let keys: BTreeSet<String> = migration.verdicts.iter().map(|it| it.who.to_string()).collect();
        prop_assert_eq!(keys.len(), migration.verdicts.len());
    }

    #[test]
    fn lost_in_api_is_exactly_the_principals_with_less_access_there(world in world()) {
        let mut simulation = build(&world);
        let migration = migration(&simulation);
        let before = simulation.powers();
        simulation.cloud().mode = Mode::Api;
        let after = simulation.powers();
        let mut losers = 0;
        for verdict in &migration.verdicts {
            let arn = matched(verdict).expect("all are roles");
            let loses = less(before.get(&arn), after.get(&arn));
            prop_assert_eq!(verdict.lost_in_api, loses, "{:?}", verdict);
            losers += usize::from(loses);
        }
        let all = before.iter().filter(|(arn, power)| less(Some(power), after.get(*arn))).count();
        prop_assert_eq!(losers, all, "everyone who loses has a verdict");
        prop_assert_eq!(migration.losers(Mode::Api).count(), losers);
        prop_assert_eq!(migration.losers(Mode::ApiAndConfigMap).count(), 0);
    }

    #[test]
    fn a_moved_principal_has_exactly_the_planned_access_entry(world in world()) {
        let mut simulation = build(&world);
        let first = migration(&simulation);
        let before = simulation.powers();
        import_undeclared(&mut simulation, &first);
        hand_over(&mut simulation);
        for verdict in &first.verdicts {
            let entries = &simulation.cloud.as_ref().expect("EKS is there").eks.entries;
            if let (PlannedOutcome::Moves | PlannedOutcome::Moved, Some(becomes)) = (verdict.outcome, &verdict.becomes) {
                let stands = entries.get(&becomes.principal_arn);
                prop_assert!(stands.is_some(), "{verdict:?}\n{entries:?}");
                let stands = super::Becomes::of_entry(stands.expect("just seen"));
                prop_assert_eq!(&stands.kind, &becomes.kind);
                prop_assert_eq!(&stands.username, &becomes.username);
                prop_assert_eq!(&stands.groups, &becomes.groups);
                prop_assert_eq!(&stands.policies, &becomes.policies);
            }
        }
        let rest = migration(&simulation);
        prop_assert!(rest.moving().chain(rest.newcomers()).next().is_none(), "{:?}", rest.verdicts);
        let free = rest.losers(Mode::Api).next().is_none();
        simulation.cloud().mode = Mode::Api;
        let after = simulation.powers();
        let nobody = before.iter().all(|(arn, power)| !less(Some(power), after.get(arn)));
        if free {
            prop_assert!(nobody, "the gate was open: {before:?} {after:?}");
        }
    }
}
