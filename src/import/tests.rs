//! Importing what exists, on a simulated cluster: imported, applied and reconciled, nothing changes but the marks of ownership.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::access_entry::{
    AWS_POLICIES_TAG, AccessEntry, Association, INSTALLATION_TAG, Kind, MAPPING_TAG,
    PRINCIPAL_ID_TAG, Scope, node_defaults,
};
use crate::api::v1alpha1::EntryType;
use crate::observed::Mode;
use crate::ownership::MARK_ANNOTATION;
use crate::ownership::{KeyHash, MeaningHash};
use crate::plan::simulation::{Cloud, Simulation};
use crate::principal::Principal;
use crate::time::Timestamp;

const ALL: ImportOptions = ImportOptions {
    nodes: true,
    aws_made: true,
};

fn run(simulation: &Simulation, options: ImportOptions) -> Import {
    import(
        &simulation.desired(),
        &simulation.observed(),
        &simulation.settings,
        options,
    )
}

/// Creates the mappings, as `kubectl apply` would.
fn apply(simulation: &mut Simulation, import: &Import) {
    for imported in &import.imported {
        let mut object = imported.object.clone();
        let name = object.metadata.name.clone().expect("a name");
        object.metadata.uid = Some(format!("uid-{name}"));
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(
            Timestamp::from_second(1_790_000_000)
                .expect("in range")
                .into(),
        );
        assert_eq!(crate::api::check(&object), Ok(()), "{object:?}");
        let before = simulation.objects.insert(name.clone(), object);
        assert!(before.is_none(), "{name} is there already");
    }
}

/// Everything in the backends but our marks.
fn backends(simulation: &Simulation) -> (BTreeMap<String, String>, BTreeMap<String, AccessEntry>) {
    let data = simulation.config_map.as_ref().map(|view| view.data.clone());
    let entries = simulation.cloud.iter().flat_map(|cloud| &cloud.eks.entries);
    let ours = [
        INSTALLATION_TAG,
        MAPPING_TAG,
        PRINCIPAL_ID_TAG,
        AWS_POLICIES_TAG,
    ];
    let without = |(arn, entry): (&String, &AccessEntry)| {
        let mut entry = entry.clone();
        entry.tags.retain(|tag, _| !ours.contains(&tag.as_str()));
        (arn.clone(), entry)
    };
    (data.unwrap_or_default(), entries.map(without).collect())
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "choices that are independent of each other"
)]
#[derive(Clone, Debug)]
struct Text {
    user: bool,
    name: usize,
    path: bool,
    upper: bool,
    username: usize,
    groups: usize,
    flow: bool,
    other_list: bool,
    ours: bool,
}

#[derive(Clone, Debug)]
struct Standing {
    user: bool,
    name: usize,
    path: usize,
    kind: usize,
    username: usize,
    groups: usize,
    policies: usize,
    tags: usize,
}

const NAMES: [&str; 5] = [
    "a",
    "B",
    "a_b",
    "AWSReservedSSO_Admin_0123456789abcdef",
    "AWSServiceRoleForX",
];
const PATHS: [&str; 3] = ["", "team/", "aws-service-role/x/"];
const GROUPS: [&[&str]; 9] = [
    &[],
    &["g"],
    &["g", "h", "g"],
    &["system:masters"],
    &["system:masters", "g"],
    &["system:bootstrappers", "system:nodes"],
    &[
        "system:bootstrappers",
        "system:nodes",
        "system:node-proxier",
    ],
    &["{{Nope}}"],
    &["system:viewers"],
];
const POLICIES: [&[(&str, &[&str])]; 4] = [
    &[],
    &[("AmazonEKSClusterAdminPolicy", &[])],
    &[
        ("AmazonEKSClusterAdminPolicy", &["x"]),
        ("AmazonEKSViewPolicy", &[]),
    ],
    &[("AmazonEKSViewPolicy", &["a", "dev-*"])],
];

fn username(number: usize, arn: &str) -> String {
    match number {
        0 => Principal::parse(arn)
            .expect("a principal")
            .default_username(),
        1 => "system:node:{{EC2PrivateDNSName}}".to_owned(),
        2 => "system:node:{{SessionName}}".to_owned(),
        3 => "{{SessionName}}".to_owned(),
        4 => String::new(),
        5 => "x: {{Nope}}".to_owned(),
        _ => "someone:{{SessionName}}".to_owned(),
    }
}

impl Text {
    fn arn(&self) -> String {
        let kind = if self.user { "user" } else { "role" };
        let path = if self.path { "team/" } else { "" };
        let arn = format!(
            "arn:aws:iam::111122223333:{kind}/{path}{}",
            NAMES[self.name]
        );
        if self.upper { arn.to_uppercase() } else { arn }
    }

    fn section(&self) -> Section {
        if self.user == self.other_list {
            Section::Roles
        } else {
            Section::Users
        }
    }

    fn render(&self) -> String {
        let field = if self.section() == Section::Users {
            "userarn"
        } else {
            "rolearn"
        };
        let (arn, username) = (self.arn(), username(self.username, &self.plain()));
        let groups = serde_json::to_string(GROUPS[self.groups]).expect("text");
        if self.flow {
            format!("- {{{field}: \"{arn}\", username: \"{username}\", groups: {groups}}} # flow\n")
        } else {
            format!("# above\n- groups: {groups}\n  {field}: {arn}\n  username: '{username}'\n")
        }
    }

    fn plain(&self) -> String {
        Self {
            upper: false,
            path: self.path && self.user,
            ..self.clone()
        }
        .arn()
    }
}

impl Standing {
    fn entry(&self) -> AccessEntry {
        let kind = if self.user { "user" } else { "role" };
        let arn = format!(
            "arn:aws:iam::111122223333:{kind}/{}{}",
            PATHS[self.path], NAMES[self.name]
        );
        let type_ = if self.user {
            EntryType::Standard
        } else {
            [
                EntryType::Standard,
                EntryType::Standard,
                EntryType::EC2Linux,
                EntryType::EC2,
            ][self.kind]
        };
        let made = Timestamp::from_second(1_799_000_000).expect("in range");
        let association = |namespaces: &[&str]| Association {
            scope: if namespaces.is_empty() {
                Scope::Cluster
            } else {
                Scope::Namespaces(namespaces.iter().map(|it| (*it).to_owned()).collect())
            },
            associated: made,
            modified: made,
        };
        let takes = matches!(type_, EntryType::Standard | EntryType::EC2);
        let policies =
            POLICIES[if takes { self.policies } else { 0 }]
                .iter()
                .map(|(name, namespaces)| {
                    (
                        format!("arn:aws:eks::aws:cluster-access-policy/{name}"),
                        association(namespaces),
                    )
                });
        let tags: &[(&str, &str)] = [
            &[][..],
            &[("aws:eks:managed", "true")],
            &[
                (INSTALLATION_TAG, "kube-system/aws-auth"),
                (MAPPING_TAG, "once"),
            ],
            &[(INSTALLATION_TAG, "kube-system/other")],
        ][self.tags];
        let node = node_defaults(type_);
        // EKS takes no reserved names, and no group of another kind.
        let groups: &[&str] = [&[][..], &["g"], &["h", "g"]][self.groups % 3];
        let username = [username(0, &arn), "someone:{{SessionName}}".to_owned()];
        AccessEntry {
            arn: format!(
                "arn:aws:eks:eu-west-1:111122223333:access-entry/main/{}/x",
                NAMES[self.name]
            ),
            kind: Kind::Known(type_),
            username: node.map_or_else(
                || username[self.username % 2].clone(),
                |node| node.username.to_owned(),
            ),
            groups: node
                .map_or(groups, |node| node.groups)
                .iter()
                .map(|it| (*it).to_owned())
                .collect(),
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            created: made,
            modified: made,
            policies: policies.collect(),
            principal_arn: arn,
        }
    }
}

fn texts() -> impl Strategy<Value = Vec<Text>> {
    let flags = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        any::<bool>(),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
    );
    let text = (0..NAMES.len(), 0..9_usize, 0..GROUPS.len(), flags).prop_map(
        |(name, username, groups, (user, path, upper, flow, other_list, ours))| Text {
            user,
            name,
            path,
            upper,
            username,
            groups,
            flow,
            other_list,
            ours,
        },
    );
    prop::collection::vec(text, 0..6)
}

fn standing() -> impl Strategy<Value = Vec<Standing>> {
    let one = (
        any::<bool>(),
        0..NAMES.len(),
        0..PATHS.len(),
        0..4_usize,
        0..2_usize,
        0..3_usize,
        0..POLICIES.len(),
        0..4_usize,
    )
        .prop_map(
            |(user, name, path, kind, username, groups, policies, tags)| Standing {
                user: user && path < 2,
                name,
                path,
                kind,
                username,
                groups,
                policies,
                tags,
            },
        );
    prop::collection::vec(one, 0..4)
}

/// A cluster with all of this in it.
fn cluster(
    mode: Mode,
    texts: &[Text],
    standing: &[Standing],
    iam: Option<&[(bool, usize, usize)]>,
) -> Simulation {
    let mut simulation = Simulation::new();
    for section in [Section::Roles, Section::Users] {
        let of_section = texts.iter().filter(|text| text.section() == section);
        let rendered: String = of_section.map(Text::render).collect();
        if !rendered.is_empty() {
            simulation.vandalise(section.key(), &rendered);
        }
    }
    let view = simulation.config_map.as_mut().expect("it stands");
    let document = Document::parse(&view.data);
    let ours: BTreeSet<String> = texts
        .iter()
        .filter(|text| text.ours)
        .map(Text::arn)
        .collect();
    let entries = document.entries().filter(|entry| ours.contains(&entry.arn));
    let marks: BTreeMap<KeyHash, MeaningHash> = entries
        .filter_map(|entry| {
            Some((
                KeyHash::of(&entry.key()?),
                MeaningHash::of(&entry.meaning()),
            ))
        })
        .collect();
    if !marks.is_empty() {
        view.annotations
            .insert(MARK_ANNOTATION.to_owned(), Mark(marks).render());
    }
    let mut cloud = Cloud::new(mode);
    if mode != Mode::ConfigMap {
        for entry in standing.iter().map(Standing::entry) {
            cloud.eks.entries.insert(entry.principal_arn.clone(), entry);
        }
        cloud.list(simulation.now);
    }
    if let Some(principals) = iam {
        let arns: Vec<(String, String)> = principals
            .iter()
            .map(|(user, name, path)| {
                let kind = if *user { "user" } else { "role" };
                let arn = format!(
                    "arn:aws:iam::111122223333:{kind}/{}{}",
                    PATHS[*path], NAMES[*name]
                );
                (arn, format!("ID{name}"))
            })
            .collect();
        let arns: Vec<(&str, &str)> = arns
            .iter()
            .map(|(arn, id)| (arn.as_str(), id.as_str()))
            .collect();
        cloud.iam_lists(&arns, simulation.now);
    }
    simulation.cloud = Some(cloud);
    simulation
}

fn modes() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api])
}

/// What became of each entry, in a line.
fn told(import: &Import) -> Vec<String> {
    let imported = import.imported.iter().map(|imported| {
        let name = imported.object.metadata.name.as_deref().unwrap_or_default();
        format!("{}: {name}", imported.origin)
    });
    let left = import.left.iter();
    let left = left.map(|left| format!("{}: {}", left.origin, left.why.as_str()));
    let declared = import.declared.iter();
    let declared = declared.map(|(origin, name)| format!("{origin}: declared by {name}"));
    imported.chain(left).chain(declared).collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_entry_of_aws_auth_becomes_a_mapping_or_is_named_with_the_reason() {
    let role = |name: &str, rest: &str| format!("- {{rolearn: '{name}', {rest}}}\n");
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let node = "username: 'system:node:{{EC2PrivateDNSName}}', groups: [system:bootstrappers, system:nodes";
    for (text, users, expected) in [
        (
            role(&arn("a"), "username: a, groups: [g, g]"),
            "",
            vec!["mapRoles line 1: a.111122223333"],
        ),
        (
            role(&arn("x/a"), "username: a"),
            "",
            vec!["mapRoles line 1: LetsNobodyIn"],
        ),
        (
            role(&arn("a"), "username: yes"),
            "",
            vec!["mapRoles line 1: Inexpressible"],
        ),
        (
            role(&arn("*"), "username: a"),
            "",
            vec!["mapRoles line 1: LetsNobodyIn"],
        ),
        (
            role("arn:aws:sts::111122223333:assumed-role/a/b", "username: a"),
            "",
            vec!["mapRoles line 1: LetsNobodyIn"],
        ),
        (
            role("arn:aws:iam::111122223333:root", "username: a"),
            "",
            vec!["mapRoles line 1: Inexpressible"],
        ),
        (
            role(&arn("a"), "username: 'a{{Nope}}'"),
            "",
            vec!["mapRoles line 1: Inexpressible"],
        ),
        (
            "- sso: {permissionSetName: a, accountID: '111122223333'}\n".to_owned(),
            "",
            vec!["mapRoles line 1: LetsNobodyIn"],
        ),
        (
            "- username: a\n".to_owned(),
            "",
            vec!["mapRoles line 1: LetsNobodyIn"],
        ),
        (
            role(&arn("a"), "username: a") + &role(&arn("A"), "username: b"),
            "- {userarn: 'arn:aws:iam::111122223333:role/a', username: c}\n",
            vec![
                "mapRoles line 2: a.111122223333",
                "mapRoles line 1: Shadowed",
                "mapUsers line 1: Shadowed",
            ],
        ),
        (
            String::new(),
            "- {userarn: 'arn:aws:iam::111122223333:user/a', username: a}\n- {userarn: 'arn:aws:iam::111122223333:user/A', username: b}\n",
            vec!["mapUsers line 1: Ambiguous", "mapUsers line 2: Ambiguous"],
        ),
        (
            String::new(),
            "- {userarn: 'arn:aws:iam::111122223333:user/x/a', username: a}\n- {userarn: 'arn:aws:iam::111122223333:user/y/a', username: b}\n",
            vec!["mapUsers line 1: Ambiguous", "mapUsers line 2: Ambiguous"],
        ),
        // An administrator with a node's username is a person.
        (
            role(
                &arn("p"),
                "username: 'system:node:{{EC2PrivateDNSName}}', groups: [system:masters]",
            ),
            "",
            vec!["mapRoles line 1: p.111122223333"],
        ),
        // Nodes are of the cluster's own account.
        (
            role(&arn("n"), &format!("{node}]")) + &role(&arn("a"), "username: a"),
            "",
            vec!["mapRoles line 2: a", "mapRoles line 1: Node"],
        ),
    ] {
        let mut simulation = Simulation::with_roles(&text);
        simulation.vandalise("mapUsers", users);
        let import = run(&simulation, ImportOptions::default());
        assert_eq!(told(&import), expected, "{text}{users}");
    }
    for (text, expected) in [
        (role(&arn("n"), &format!("{node}]")), "mapRoles line 1: n"),
        (
            role(&arn("n"), &format!("{node}, more]")),
            "mapRoles line 1: Inexpressible",
        ),
        (
            role(
                &arn("n"),
                "username: 'system:node:{{EC2PrivateDNSName}}', groups: [system:nodes]",
            ),
            "mapRoles line 1: Inexpressible",
        ),
        (
            role(
                &arn("n"),
                "username: 'system:node:{{SessionName}}', groups: [system:nodes]",
            ),
            "mapRoles line 1: Ambiguous",
        ),
        (
            role(&arn("n"), "username: nodes, groups: [system:nodes]"),
            "mapRoles line 1: Inexpressible",
        ),
    ] {
        let import = run(&Simulation::with_roles(&text), ALL);
        assert_eq!(told(&import), [expected], "{text}");
    }
}

#[test]
fn what_a_mapping_declares_is_not_imported_again() {
    let mut simulation = Simulation::with_roles(
        "- {rolearn: 'arn:aws:iam::111122223333:role/A', username: a}
- {rolearn: 'arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef', username: a}
- {rolearn: 'arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_More_0123456789abcdef', username: a}
",
    );
    simulation.vandalise("mapAccounts", "- '111122223333'\n");
    simulation.create("one", "role/a", &serde_json::json!({}));
    let set = serde_json::json!({"permissionSet": {"name": "Admin", "accountId": "111122223333"}});
    simulation.create("two", "role/x", &serde_json::json!({"principal": set}));
    assert_eq!(
        told(&run(&simulation, ImportOptions::default())),
        [
            "mapRoles line 3: admin-more.sso-012345.111122223333.2bb0e27e",
            "mapAccounts: Inexpressible",
            "mapRoles line 1: declared by one",
            "mapRoles line 2: declared by two",
        ]
    );
    simulation.vandalise("mapRoles", "- {{x}}");
    let import = run(&simulation, ImportOptions::default());
    assert_eq!((import.broken.len(), import.imported.len()), (1, 0));
}

#[test]
fn previously_managed_entry_keeps_its_mapping_name() {
    let ours = Standing {
        user: false,
        name: 0,
        path: 0,
        kind: 0,
        username: 1,
        groups: 1,
        policies: 1,
        tags: 2,
    };
    let simulation = cluster(Mode::Api, &[], &[ours], None);
    let import = run(&simulation, ImportOptions::default());
    assert_eq!(told(&import), ["access entry: once"]);
    assert_eq!(import.imported[0].notes.len(), 1);
}

#[test]
fn system_masters_in_aws_auth_stays_system_masters_in_the_mapping() {
    let entry = Standing {
        user: false,
        name: 0,
        path: 0,
        kind: 0,
        username: 1,
        groups: 1,
        policies: 1,
        tags: 0,
    };
    let text = Text {
        user: false,
        name: 0,
        path: false,
        upper: false,
        username: 8,
        groups: 4,
        flow: false,
        other_list: false,
        ours: false,
    };
    for (texts, groups, policies) in [
        (vec![], vec!["g"], 1),
        (vec![text.clone()], vec!["g", "system:masters"], 0),
        (vec![Text { groups: 3, ..text }], vec!["g"], 1),
    ] {
        let import = run(
            &cluster(
                Mode::ApiAndConfigMap,
                &texts,
                std::slice::from_ref(&entry),
                None,
            ),
            ImportOptions::default(),
        );
        let spec = &import.imported[0].object.spec;
        assert_eq!(
            (&spec.groups, spec.access_policies.len()),
            (&groups.into_iter().map(str::to_owned).collect(), policies)
        );
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(64))]

    #[test]
    fn imported_applied_and_reconciled_nothing_changes_but_the_marks(
        mode in modes(),
        texts in texts(),
        standing in standing(),
        iam in prop::option::of(prop::collection::vec((any::<bool>(), 0..NAMES.len(), 0..PATHS.len()), 0..6)),
        restart in any::<bool>(),
    ) {
        let mut simulation = cluster(mode, &texts, &standing, iam.as_deref());
        if restart {
            // An operator that was running before has seen the unmanaged entries.
            simulation.settle();
        }
        let before = backends(&simulation);
        let import = run(&simulation, ALL);
        prop_assert!(import.broken.is_empty(), "{:?}", import.broken);
        apply(&mut simulation, &import);
        simulation.settle();
        for _ in 0..3 {
            simulation.later(90_000);
            simulation.settle();
        }
        prop_assert_eq!(backends(&simulation), before);
        for imported in &import.imported {
            let name = imported.object.metadata.name.as_deref().expect("a name");
            prop_assert_eq!(simulation.ready(name), "True InEffect", "{:?}: {}", imported, simulation.message(name, "Ready"));
            prop_assert_eq!(simulation.condition(name, "Synced"), "True Synced", "{:?}", imported);
        }
        let again = run(&simulation, ALL);
        prop_assert!(again.imported.is_empty(), "{:?}", again.imported);
    }
}
