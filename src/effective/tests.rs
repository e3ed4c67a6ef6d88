//! Who has access, by which entry and with which power; which entries have no effect, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::access_entry::{
    AccessEntry, Association, EksCluster, Entries, EntryState, Kind, Scope, policy_arn,
};
use crate::api::v1alpha1::EntryType;
use crate::aws_auth::Document;
use crate::observed::{AwsState, AwsView, Bindings, ConfigMapName, Iam, Mode};
use crate::principal::Partition;
use crate::time::Timestamp;

const NODES: &str = "
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

struct World {
    document: Document,
    aws: AwsState,
    bindings: Bindings,
    reading: Reading,
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

fn access_entry(principal_arn: &str, username: &str, groups: &[&str]) -> AccessEntry {
    AccessEntry {
        arn: format!("entry of {principal_arn}"),
        principal_arn: principal_arn.to_owned(),
        kind: Kind::Known(EntryType::Standard),
        username: username.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        tags: BTreeMap::new(),
        created: Timestamp::UNIX_EPOCH,
        modified: Timestamp::UNIX_EPOCH,
        policies: BTreeMap::new(),
    }
}

fn with_admin_policy(mut entry: AccessEntry) -> AccessEntry {
    let association = Association {
        scope: Scope::Cluster,
        associated: Timestamp::UNIX_EPOCH,
        modified: Timestamp::UNIX_EPOCH,
    };
    let policy = policy_arn(Partition::Aws, "AmazonEKSClusterAdminPolicy");
    entry.policies.insert(policy, association);
    entry
}

impl World {
    /// Files: nothing is known of the cluster.
    fn of_text(map_roles: &str) -> Self {
        Self::of(&[("mapRoles", map_roles)])
    }

    fn of(texts: &[(&str, &str)]) -> Self {
        let texts = texts.iter();
        let data: BTreeMap<String, String> = texts
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect();
        Self {
            document: Document::parse(&data),
            aws: AwsState::Off,
            bindings: Bindings::default(),
            reading: Reading::AsAwsAuth,
        }
    }

    fn in_eks(mut self, partition: &str, mode: Mode, entries: Vec<AccessEntry>) -> Self {
        let arn = format!("arn:{partition}:eks:eu-west-1:111122223333:cluster/main");
        let entries = entries.into_iter().map(|entry| {
            let state = EntryState {
                entry: Some(entry.clone()),
                described: Some(Timestamp::UNIX_EPOCH),
                ..EntryState::default()
            };
            (entry.principal_arn, state)
        });
        let entries = Entries {
            by_principal: entries.collect(),
            ..Entries::default()
        };
        let cluster = EksCluster::parse(&arn).expect("a cluster");
        let view = AwsView::new(cluster, mode, entries, Iam::default());
        self.aws = AwsState::Known(Box::new(view));
        self
    }

    fn binding(mut self, groups: &[&str], users: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.bindings.admin_groups = owned(groups);
        self.bindings.admin_users = owned(users);
        self
    }

    fn effective(&self) -> EffectiveAccess<'_> {
        EffectiveAccess::new(Sources {
            aws_auth: &self.document,
            reading: self.reading,
            aws: &self.aws,
            bindings: &self.bindings,
        })
    }
}

/// By what a caller gets in, in a few words.
fn by(granted: &Granted<'_, '_>) -> String {
    match granted {
        Granted::AccessEntry(standing) => format!("access entry {}", standing.principal_arn),
        Granted::AwsAuth(entry) => format!("{} line {}", entry.section, entry.line),
        Granted::AnyOf(entries) => format!("one of {}", entries.len()),
        Granted::Account(account) => format!("account {account}"),
        Granted::Nothing => "nothing".to_owned(),
    }
}

/// Names of the principals that get in, and of the entries without effect with the reason.
fn listed(world: &World) -> (Vec<String>, Vec<String>) {
    let effective = world.effective();
    let name = |arn: &str| arn.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let grants = effective.grants().map(|grant| match grant {
        Grant::AccessEntry(standing) => name(standing.principal_arn),
        Grant::AwsAuth { entry, at_random } => {
            let or = if at_random { " at random" } else { "" };
            format!("{}{or}", name(&entry.arn))
        }
        Grant::Account(account) => account.to_owned(),
    });
    let rest = effective.without_effect().map(|(entry, why)| {
        let what = match entry {
            Ineffective::AccessEntry(arn, _) => name(arn),
            Ineffective::AwsAuth(entry) => name(&entry.arn),
            Ineffective::Account(account) => account.to_owned(),
        };
        format!("{what}: {why}")
    });
    (grants.collect(), rest.collect())
}

#[test]
fn an_access_entry_wins_where_the_mode_counts_it() {
    let text = "
- rolearn: arn:aws:iam::111122223333:role/both
  username: by-text
- rolearn: arn:aws:iam::111122223333:role/text
  username: by-text
";
    let world = |mode| {
        let entries = vec![access_entry(&role("path/both"), "by-entry", &[])];
        World::of_text(text).in_eks("aws", mode, entries)
    };
    for (mode, both, only_text) in [
        (Mode::ConfigMap, "mapRoles line 2", "mapRoles line 4"),
        (
            Mode::ApiAndConfigMap,
            "access entry arn:aws:iam::111122223333:role/path/both",
            "mapRoles line 4",
        ),
        (
            Mode::Api,
            "access entry arn:aws:iam::111122223333:role/path/both",
            "nothing",
        ),
    ] {
        let world = world(mode);
        let effective = world.effective();
        assert_eq!(by(&effective.granted(&role("both"))), both, "{mode}");
        assert_eq!(by(&effective.granted(&role("BOTH"))), both, "{mode}");
        assert_eq!(by(&effective.granted(&role("text"))), only_text, "{mode}");
        assert_eq!(by(&effective.granted(&role("other"))), "nothing", "{mode}");
    }
    assert_eq!(
        listed(&world(Mode::Api)).1,
        [
            "both: aws-auth is not read in API mode",
            "text: aws-auth is not read in API mode"
        ]
    );
    assert_eq!(
        listed(&world(Mode::ApiAndConfigMap)).1,
        ["both: the access entry of arn:aws:iam::111122223333:role/path/both wins"]
    );
}

#[test]
fn a_login_without_a_username_has_access_and_the_power_of_its_groups() {
    let masters =
        "- rolearn: arn:aws:iam::111122223333:role/ec2admin\n  groups: [system:masters]\n";
    for text in [masters.to_owned(), format!("{NODES}{masters}")] {
        let world = World::of_text(&text);
        let effective = world.effective();
        let granted = effective.granted(&role("ec2admin"));
        let Granted::AwsAuth(entry) = granted else {
            panic!("{granted:?}");
        };
        let entry = EffectiveEntry::of_aws_auth(entry);
        assert!(entry.is_nameless());
        assert_eq!(
            effective.administrator(&entry),
            Some(Administrator::Group(MASTERS.to_owned()))
        );
        assert!(listed(&world).1.is_empty());
    }
}

#[test]
fn the_last_of_several_entries_wins_and_the_others_name_it() {
    let text = format!(
        "{NODES}
- groups: [system:masters]
  rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef
  username: user1
- groups: [developers]
  rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789ABCDEF
  username: user2
"
    );
    let users = "
- userarn: arn:aws:iam::111122223333:user/eve
- userarn: arn:aws:iam::111122223333:user/Eve
- userarn: arn:aws:iam::111122223333:user/eve
- userarn: arn:aws:iam::111122223333:role/nodes
";
    let world = World::of(&[("mapRoles", &text), ("mapUsers", users)]);
    let (grants, rest) = listed(&world);
    assert_eq!(
        grants,
        [
            "nodes",
            "AWSReservedSSO_Admin_0123456789ABCDEF",
            "Eve at random",
            "eve at random"
        ]
    );
    assert_eq!(
        rest,
        [
            "AWSReservedSSO_Admin_0123456789abcdef: mapRoles line 9 has the same ARN, and the last one wins",
            "eve: mapUsers line 4 has the same ARN, and the last one wins",
            "nodes: mapRoles line 2 has the same ARN, and mapRoles is read first",
        ]
    );
    let effective = world.effective();
    let eve = effective.granted("arn:aws:iam::111122223333:user/EVE");
    assert_eq!(by(&eve), "one of 2");
}

#[test]
fn principals_of_another_partition_than_the_clusters_never_match() {
    let text = "
- rolearn: arn:aws-us-gov:iam::111122223333:role/main-nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef
  username: admin:{{SessionName}}
  groups: [system:masters]
";
    let texts = [("mapRoles", text), ("mapAccounts", "- \"444455556666\"\n")];
    // Nobody knows which of the two it is.
    let unknown = World::of(&texts);
    assert!(listed(&unknown).1.is_empty());
    for (partition, gone, account) in [
        ("aws", "main-nodes", "account 444455556666"),
        (
            "aws-us-gov",
            "AWSReservedSSO_Admin_0123456789abcdef",
            "nothing",
        ),
    ] {
        let world = World::of(&texts).in_eks(partition, Mode::ConfigMap, Vec::new());
        let (grants, rest) = listed(&world);
        assert!(!grants.contains(&gone.to_owned()), "{grants:?}");
        assert!(
            rest.len() == 1
                && rest[0].starts_with(&format!("{gone}: its principal is in partition")),
            "{rest:?}"
        );
        let user = world.effective();
        let user = user.granted("arn:aws:iam::444455556666:user/x");
        assert_eq!(by(&user), account, "{partition}");
    }
}

#[test]
fn only_accounts_of_twelve_digits_match() {
    let world = World::of(&[
        ("mapRoles", NODES),
        (
            "mapAccounts",
            "- 012345678901\n- 111122223333\n- 9876543210\n- ACCOUNT-ID-1\n- 111122223333\n",
        ),
    ]);
    let (grants, rest) = listed(&world);
    assert_eq!(grants, ["nodes", "012345678901", "111122223333"]);
    let why = "an account has exactly 12 digits, so it never matches";
    assert_eq!(
        rest,
        [format!("9876543210: {why}"), format!("ACCOUNT-ID-1: {why}")]
    );
    let effective = world.effective();
    for (arn, expected) in [
        ("arn:aws:iam::012345678901:user/x", "account 012345678901"),
        ("arn:aws:iam::9876543210:user/x", "nothing"),
        ("arn:aws:iam::ACCOUNT-ID-1:user/x", "nothing"),
    ] {
        assert_eq!(by(&effective.granted(arn)), expected, "{arn}");
    }
}

#[test]
fn entries_that_never_match_are_named_with_the_reason() {
    let texts = [
        ("arn:aws:iam::111122223333:role/team/a", Some("path")),
        ("arn:aws:iam::111122223333:user/team/a", None),
        (
            "arn:aws:sts::111122223333:assumed-role/a/b",
            Some("session"),
        ),
        ("arn:aws:sts::111122223333:federated-user/a", None),
        ("arn:aws:iam::111122223333:root", None),
        ("arn:aws:iam::11112222333:role/a", Some("not that of")),
        ("arn:aws:iam::111122223333:role/a*", Some("not that of")),
        ("arn:aws:iam::111122223333:role/a ", Some("not that of")),
        ("ARN:AWS:IAM::111122223333:ROLE/A", None),
    ];
    for (arn, expected) in texts {
        let world = World::of_text(&format!("- rolearn: \"{arn}\"\n  username: a\n"));
        let (grants, rest) = listed(&world);
        match expected {
            None => assert!(grants.len() == 1 && rest.is_empty(), "{arn}: {rest:?}"),
            Some(words) => assert!(
                grants.is_empty() && rest.len() == 1 && rest[0].contains(words),
                "{arn}: {rest:?}"
            ),
        }
    }
}

#[test]
fn eks_reads_a_config_map_of_one_name_only() {
    assert_eq!(Reading::of(&ConfigMapName::default()), Reading::AsAwsAuth);
    for (namespace, name) in [("default", "aws-auth"), ("kube-system", "aws-auth-copy")] {
        let name = ConfigMapName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let mut world = World::of_text(NODES);
        world.reading = Reading::of(&name);
        assert_eq!(by(&world.effective().granted(&role("nodes"))), "nothing");
        assert_eq!(
            listed(&world).1,
            ["nodes: EKS reads only the ConfigMap kube-system/aws-auth"]
        );
    }
}

#[test]
fn who_certainly_and_who_possibly_is_an_administrator() {
    let world = World::of_text("").binding(&["admins"], &["sso:alice", "bob"]);
    let world = world.in_eks("aws", Mode::ApiAndConfigMap, Vec::new());
    let effective = world.effective();
    for (username, groups, certainly, possibly) in [
        ("x", &["system:masters"][..], true, true),
        ("", &["system:masters"], true, true),
        ("x", &["admins"], true, true),
        ("bob", &[], true, true),
        ("Bob", &["Admins"], false, false),
        ("sso:{{SessionName}}", &[], false, true),
        ("sso:{{AccountID}}", &[], false, false),
        ("x", &["{{SessionName}}"], false, true),
        ("x", &["system:{{SessionName}}"], false, true),
        ("x", &["team-{{SessionName}}"], false, false),
        // Placeholders never stay, so that a binding of the text itself binds nobody.
        ("x", &["{{SessionName}}", "viewers"], false, true),
    ] {
        let entry = EffectiveEntry::of_access_entry(&access_entry(&role("a"), username, groups));
        let found = (
            effective.administrator(&entry).is_some(),
            effective.possible_administrator(&entry).is_some(),
        );
        assert_eq!(found, (certainly, possibly), "{username:?} {groups:?}");
    }
    let by_policy = with_admin_policy(access_entry(&role("a"), "x", &[]));
    let by_policy = EffectiveEntry::of_access_entry(&by_policy);
    assert_eq!(
        effective.administrator(&by_policy),
        Some(Administrator::Policy)
    );

    let literal = World::of_text("").binding(&[], &["sso:{{SessionName}}"]);
    let entry = access_entry(&role("a"), "sso:{{SessionName}}", &[]);
    let entry = EffectiveEntry::of_access_entry(&entry);
    assert_eq!(literal.effective().possible_administrator(&entry), None);

    let everyone = World::of_text("").binding(&["system:authenticated"], &[]);
    assert!(everyone.effective().administrator(&entry).is_some());
}

#[test]
fn an_account_holds_an_administrator_where_the_arn_of_one_is_bound() {
    let texts = [
        (
            "mapUsers",
            "- userarn: arn:aws:iam::111122223333:user/mapped\n  username: mapped\n",
        ),
        ("mapAccounts", "- \"111122223333\"\n- \"444455556666\"\n"),
    ];
    let jane = "arn:aws:iam::111122223333:user/jane";
    let world = World::of(&texts).binding(&[], &[jane]);
    let effective = world.effective();
    assert_eq!(
        effective.administrator_of_account("111122223333"),
        Some(Administrator::Username(jane.to_owned()))
    );
    assert_eq!(effective.administrator_of_account("444455556666"), None);
    assert!(
        effective
            .administrator(&EffectiveEntry::of_account(jane))
            .is_some()
    );
    // Who has an entry gets another username.
    let mapped = World::of(&texts).binding(&[], &["arn:aws:iam::111122223333:user/mapped"]);
    let mapped = mapped.effective().administrator_of_account("111122223333");
    assert_eq!(mapped, None);
}

#[test]
fn an_administrator_with_a_nodes_username_is_a_person() {
    let node = "system:node:{{EC2PrivateDNSName}}";
    let of_nodes = &["system:bootstrappers", "system:nodes"][..];
    for (admin_groups, username, groups, expected) in [
        (&[][..], node, of_nodes, true),
        (&[], node, &[], true),
        (&[], "", &["system:nodes"], true),
        (&[], "x", &["viewers"], false),
        (&[], node, &["system:masters"], false),
        (&[], node, &["system:nodes", "system:masters"], false),
        (&["admins"], node, &["admins"], false),
        // What every node or every login has makes no person of a node.
        (&["system:nodes"], node, of_nodes, true),
        (&["system:authenticated"], node, of_nodes, true),
    ] {
        let world = World::of_text("").binding(admin_groups, &[]);
        let entry = EffectiveEntry::of_access_entry(&access_entry(&role("a"), username, groups));
        assert_eq!(
            world.effective().is_node(&entry),
            expected,
            "{admin_groups:?} {username:?} {groups:?}"
        );
    }
}

#[test]
fn every_entry_either_grants_access_or_is_named_with_the_reason() {
    let roles = format!(
        "{NODES}
- rolearn: arn:aws:iam::111122223333:role/a
- rolearn: arn:aws:iam::111122223333:role/A
- rolearn: arn:aws:iam::111122223333:role/p/a
- rolearn: arn:aws-cn:iam::111122223333:role/a
- sso: {{permissionSetName: View, accountID: \"111122223333\"}}
"
    );
    let users = "
- userarn: arn:aws:iam::111122223333:user/a
- userarn: arn:aws:iam::111122223333:user/A
- userarn: arn:aws:iam::111122223333:role/a
";
    let entries = || {
        vec![
            access_entry(&role("x/nodes"), "x", &[]),
            access_entry("arn:aws:iam::111122223333:root", "x", &[]),
        ]
    };
    for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api] {
        let world = World::of(&[("mapRoles", &roles), ("mapUsers", users)]);
        let world = world.in_eks("aws", mode, entries());
        let (grants, rest) = listed(&world);
        let of_eks = if mode == Mode::ConfigMap { 0 } else { 2 };
        let all = world.document.entries().count() + of_eks;
        assert_eq!(
            grants.len() + rest.len(),
            all,
            "{mode}: {grants:?} {rest:?}"
        );
        let effective = world.effective();
        let found: BTreeSet<String> = world
            .document
            .entries()
            .map(|entry| by(&effective.granted(&entry.arn)))
            .collect();
        assert!(found.contains("nothing"), "{mode}: {found:?}");
    }
}
