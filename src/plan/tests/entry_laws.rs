//! Laws over both backends: whatever happens in the cluster, in EKS and in IAM, it comes to rest, nothing foreign is touched,
//! and `Ready` is true only where it is.

use proptest::prelude::*;
use serde_json::json;

use super::FOREIGN;
use crate::access_entry::{Call, FailureKind, INSTALLATION_TAG, Kind};
use crate::api::v1alpha1::{BackendChoice, EntryType};
use crate::observed::{Mode, Unreachable};
use crate::plan::HANDOVER_ANNOTATION;
use crate::plan::simulation::Simulation;

#[derive(Clone, Debug)]
enum Happening {
    Create {
        name: usize,
        role: usize,
        groups: usize,
        backend: usize,
    },
    Delete(usize),
    Retarget(usize, usize),
    Backend(usize, usize),
    Groups(usize, usize),
    ForeignEntry(usize),
    DeleteEntry(usize),
    ChangeEntry(usize),
    LoseTags(usize),
    DropText,
    ModeOn,
    Handover(&'static str),
    Bridge,
    Fails(usize, usize),
    Unreachable(bool),
    Iam(Vec<usize>, bool),
    Restart,
    Later(i64),
}

const GROUPS: [&[&str]; 4] = [
    &["g"],
    &["h", "g"],
    &["system:masters"],
    &["system:viewers"],
];
const BACKENDS: [BackendChoice; 3] = [
    BackendChoice::Auto,
    BackendChoice::ConfigMap,
    BackendChoice::AccessEntry,
];

fn happening() -> impl Strategy<Value = Happening> {
    let (name, role) = (|| 0..5_usize, || 0..5_usize);
    prop_oneof![
        5 => (name(), role(), 0..4_usize, 0..3_usize).prop_map(|(name, role, groups, backend)| Happening::Create { name, role, groups, backend }),
        2 => name().prop_map(Happening::Delete),
        1 => (name(), role()).prop_map(|(name, role)| Happening::Retarget(name, role)),
        1 => (name(), 0..3_usize).prop_map(|(name, backend)| Happening::Backend(name, backend)),
        2 => (name(), 0..4_usize).prop_map(|(name, groups)| Happening::Groups(name, groups)),
        2 => role().prop_map(Happening::ForeignEntry),
        2 => role().prop_map(Happening::DeleteEntry),
        2 => role().prop_map(Happening::ChangeEntry),
        1 => role().prop_map(Happening::LoseTags),
        1 => Just(Happening::DropText),
        2 => Just(Happening::ModeOn),
        1 => prop_oneof![Just("Manual"), Just("Auto"), Just("Revert")].prop_map(Happening::Handover),
        1 => Just(Happening::Bridge),
        2 => (0..5_usize, 0..4_usize).prop_map(|(operation, kind)| Happening::Fails(operation, kind)),
        1 => any::<bool>().prop_map(Happening::Unreachable),
        1 => (prop::collection::vec(role(), 0..5), any::<bool>()).prop_map(|(roles, anew)| Happening::Iam(roles, anew)),
        1 => Just(Happening::Restart),
        2 => (0..100_000_i64).prop_map(Happening::Later),
    ]
}

fn arn(role: usize) -> String {
    format!("arn:aws:iam::111122223333:role/r{role}")
}

fn change(simulation: &mut Simulation, call: &Call) {
    // Someone whose call EKS refuses has changed nothing.
    let now = simulation.now;
    let cloud = simulation.cloud();
    cloud.eks.now = now;
    let _ = cloud.eks.call(call);
}

#[allow(clippy::too_many_lines, reason = "an arm for each happening")]
fn happen(simulation: &mut Simulation, happening: &Happening) {
    let name = |number: usize| format!("m{number}");
    let edit = |simulation: &mut Simulation,
                number: usize,
                change: &dyn Fn(&mut crate::api::IdentityMapping)| {
        if simulation.objects.contains_key(&name(number)) {
            simulation.edit(&name(number), |object| change(object));
        }
    };
    match happening {
        Happening::Create {
            name: number,
            role,
            groups,
            backend,
        } => {
            if !simulation.objects.contains_key(&name(*number)) {
                simulation.create(
                    &name(*number),
                    &format!("role/r{role}"),
                    &json!({"groups": GROUPS[*groups], "backend": BACKENDS[*backend]}),
                );
            }
        }
        Happening::Delete(number) => {
            if simulation.objects.contains_key(&name(*number)) {
                simulation.delete(&name(*number));
            }
        }
        Happening::Retarget(number, role) => edit(simulation, *number, &|object| {
            object.spec.principal.arn = Some(arn(*role));
        }),
        Happening::Backend(number, backend) => edit(simulation, *number, &|object| {
            object.spec.backend = BACKENDS[*backend];
        }),
        Happening::Groups(number, groups) => edit(simulation, *number, &|object| {
            object.spec.groups = GROUPS[*groups]
                .iter()
                .map(|group| (*group).to_owned())
                .collect();
        }),
        Happening::ForeignEntry(role) => {
            if simulation.cloud().mode != Mode::ConfigMap {
                let call = Call::Create {
                    principal_arn: arn(*role),
                    kind: Kind::Known(EntryType::Standard),
                    username: Some("foreign".to_owned()),
                    groups: [].into(),
                    tags: [].into(),
                };
                change(simulation, &call);
            }
        }
        Happening::DeleteEntry(role) => change(
            simulation,
            &Call::Delete {
                principal_arn: arn(*role),
            },
        ),
        Happening::ChangeEntry(role) => change(
            simulation,
            &Call::Update {
                principal_arn: arn(*role),
                username: Some("changed".to_owned()),
                groups: ["more".to_owned()].into(),
            },
        ),
        Happening::LoseTags(role) => {
            if let Some(entry) = simulation.cloud().eks.entries.get_mut(&arn(*role)) {
                entry.tags.clear();
            }
        }
        Happening::DropText => simulation.vandalise("mapRoles", FOREIGN),
        Happening::ModeOn => {
            let cloud = simulation.cloud();
            cloud.mode = match cloud.mode {
                Mode::ConfigMap => Mode::ApiAndConfigMap,
                Mode::ApiAndConfigMap | Mode::Api => Mode::Api,
            };
        }
        Happening::Handover(word) => {
            let history = simulation.history.get_or_insert_default();
            history
                .annotations
                .insert(HANDOVER_ANNOTATION.to_owned(), (*word).to_owned());
        }
        Happening::Bridge => simulation.bridge(),
        Happening::Fails(operation, kind) => {
            let operations = [
                "CreateAccessEntry",
                "UpdateAccessEntry",
                "DeleteAccessEntry",
                "AssociateAccessPolicy",
                "DescribeAccessEntry",
            ];
            let kinds = [
                FailureKind::Unavailable,
                FailureKind::Throttled,
                FailureKind::InvalidPrincipal,
                FailureKind::Refused,
            ];
            simulation
                .cloud()
                .failures
                .push((operations[*operation], kinds[*kind].clone()));
        }
        Happening::Unreachable(unreachable) => {
            let read = simulation.now;
            simulation.cloud().unreachable = unreachable.then(|| Unreachable {
                read,
                failure: crate::access_entry::Failure {
                    kind: FailureKind::Unavailable,
                    message: "no route".to_owned(),
                },
            });
        }
        Happening::Iam(roles, anew) => {
            let id = if *anew { "AROATWO" } else { "AROAONE" };
            let arns: Vec<String> = roles.iter().map(|role| arn(*role)).collect();
            let listed: Vec<(&str, &str)> = arns.iter().map(|arn| (arn.as_str(), id)).collect();
            let now = simulation.now;
            simulation.cloud().iam_lists(&listed, now);
        }
        Happening::Restart => simulation.restart(),
        Happening::Later(seconds) => simulation.later(*seconds),
    }
}

/// Until nothing more is to be done, over the waits for bridges, soaks and retries.
fn rest(simulation: &mut Simulation) {
    for _ in 0..6 {
        simulation.later(70);
        simulation.look();
        simulation.settle();
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(64))]

    #[test]
    fn whatever_happens_it_comes_to_rest_and_ready_is_true(
        mode in prop_oneof![Just(Mode::ConfigMap), Just(Mode::ApiAndConfigMap), Just(Mode::Api)],
        happenings in prop::collection::vec(happening(), 1..16),
    ) {
        let mut simulation = Simulation::in_eks(mode, FOREIGN);
        simulation.settle();
        for happening in &happenings {
            happen(&mut simulation, happening);
            let foreign: Vec<_> = simulation
                .cloud()
                .eks
                .entries
                .values()
                .filter(|entry| entry.username == "foreign" && !entry.tags.contains_key(INSTALLATION_TAG))
                .cloned()
                .collect();
            rest(&mut simulation);
            for entry in foreign {
                let now = simulation.cloud().eks.entries.get(&entry.principal_arn);
                prop_assert_eq!(now, Some(&entry), "after {:?}", happening);
            }
            let calls = simulation.calls();
            drop(calls);
            prop_assert_eq!(simulation.settle(), 0, "after {:?}", happening);
            let calls = simulation.calls();
            prop_assert!(calls.is_empty(), "{calls:?} after {happening:?}");
        }
        let powers = simulation.powers();
        // The simulated EKS knows no ids: it lets in also whom IAM does not have.
        let by_iam = happenings.iter().any(|happening| matches!(happening, Happening::Iam(..)));
        for (name, object) in &simulation.objects {
            if !by_iam && simulation.ready(name) == "True InEffect" {
                let arn = object.spec.principal.arn.clone().unwrap_or_default();
                let power = powers.get(&crate::aws_auth::fold_arn(&arn));
                prop_assert!(power.is_some(), "{name}");
                let (administrator, groups) = power.expect("just seen");
                let declared = &object.spec.groups;
                let masters = declared.iter().any(|group| group == "system:masters");
                prop_assert!(*administrator == masters, "{name}: {groups:?}");
                for group in declared.iter().filter(|group| *group != "system:masters") {
                    prop_assert!(groups.contains(group), "{name}: {groups:?}");
                }
            }
        }
        prop_assert!(simulation.roles().starts_with(FOREIGN));
    }

    #[test]
    fn while_eks_cannot_be_asked_it_is_not_called_and_nothing_is_removed(
        mode in prop_oneof![Just(Mode::ApiAndConfigMap), Just(Mode::Api)],
        happenings in prop::collection::vec(happening(), 1..12),
    ) {
        let mut simulation = Simulation::in_eks(mode, FOREIGN);
        for happening in &happenings {
            happen(&mut simulation, happening);
            simulation.settle();
        }
        happen(&mut simulation, &Happening::Unreachable(true));
        let before = simulation.cloud().eks.entries.clone();
        let names: Vec<String> = simulation.objects.keys().cloned().collect();
        for name in names {
            simulation.delete(&name);
        }
        simulation.calls();
        for _ in 0..4 {
            simulation.later(70);
            simulation.settle();
        }
        prop_assert!(simulation.calls().is_empty());
        prop_assert_eq!(&simulation.cloud().eks.entries, &before);
    }
}
