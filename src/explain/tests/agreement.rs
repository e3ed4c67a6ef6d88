//! One answer to one question: `explain`, `access` and `migrate plan` agree on who has access, and with an oracle that is written
//! anew here, over generated clusters in every mode and both backends.

use proptest::prelude::*;

use super::*;
use crate::access_entry::node_defaults;
use crate::desired::Desired;
use crate::migrate::{Who, verdicts};
use crate::observed::{ConfigMapView, HistoryState, Observed, Settings};

const ACCOUNTS: [&str; 3] = ["111122223333", "444455556666", "1234"];
const NAMES: usize = 3;
/// What entries of aws-auth give.
const GIVEN: [&str; 4] = [
    "  username: someone\n  groups: [team]\n",
    "  groups: [team]\n",
    "  username: boss\n  groups: [system:masters]\n",
    "  username: system:node:{{SessionName}}\n  groups: [system:bootstrappers, system:nodes]\n",
];

/// An entry of aws-auth.
#[allow(
    clippy::struct_excessive_bools,
    reason = "properties that are independent of each other"
)]
#[derive(Clone, Debug)]
struct Item {
    /// In mapUsers, else in mapRoles.
    in_users: bool,
    who: Name,
    /// A role with its path.
    path: bool,
    /// The name in capitals.
    upper: bool,
    /// In another partition than the cluster.
    china: bool,
    /// What it gives: a name, none, administrator, or that of a node.
    gives: usize,
}

/// A role or user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    user: bool,
    number: usize,
    account: usize,
}

impl Name {
    fn text(self) -> String {
        let kind = if self.user { "User" } else { "Role" };
        format!("{kind}{}", self.number)
    }

    /// As somebody signs in.
    fn caller(self) -> String {
        let (account, name) = (ACCOUNTS[self.account], self.text());
        if self.user {
            format!("arn:aws:iam::{account}:user/{name}")
        } else {
            format!("arn:aws:sts::{account}:assumed-role/{name}/session")
        }
    }

    fn arn(self, partition: &str, path: &str, upper: bool) -> String {
        let kind = if self.user { "user" } else { "role" };
        let name = self.text();
        let name = if upper { name.to_uppercase() } else { name };
        format!(
            "arn:{partition}:iam::{}:{kind}/{path}{name}",
            ACCOUNTS[self.account]
        )
    }
}

impl Item {
    fn arn(&self) -> String {
        let partition = if self.china { "aws-cn" } else { "aws" };
        let path = if self.path && !self.who.user {
            "team/"
        } else {
            ""
        };
        self.who.arn(partition, path, self.upper)
    }

    /// Whether a login of this principal is found by the entry.
    fn matches(&self, who: Name) -> bool {
        let hidden = self.path && !self.who.user;
        self.who == who && !hidden && !self.china && who.account < 2
    }
}

#[derive(Clone, Debug)]
struct Generated {
    mode: Mode,
    items: Vec<Item>,
    accounts: Vec<usize>,
    /// Access entries: of whom, with its path, of Fargate's nodes.
    entries: Vec<(Name, bool, bool)>,
    /// Where IAM of the first account was read: whether each of its roles has the path, and was made again since its entry.
    iam: Option<[(bool, bool); NAMES]>,
}

fn name(accounts: usize) -> impl Strategy<Value = Name> {
    (any::<bool>(), 0..NAMES, 0..accounts).prop_map(|(user, number, account)| Name {
        user,
        number,
        account,
    })
}

fn generated() -> impl Strategy<Value = Generated> {
    let flag = || prop::bool::weighted(0.25);
    let item = (
        any::<bool>(),
        name(3),
        flag(),
        flag(),
        flag(),
        0..GIVEN.len(),
    )
        .prop_map(|(in_users, who, path, upper, china, gives)| Item {
            in_users,
            who,
            path,
            upper,
            china,
            gives,
        });
    let mode = prop_oneof![
        Just(Mode::ConfigMap),
        Just(Mode::ApiAndConfigMap),
        Just(Mode::Api)
    ];
    let entries = prop::collection::vec((name(2), any::<bool>(), flag()), 0..5);
    let iam = prop::option::of(prop::array::uniform3((any::<bool>(), flag())));
    (
        mode,
        prop::collection::vec(item, 0..8),
        prop::collection::vec(0..3_usize, 0..3),
        entries,
        iam,
    )
        .prop_map(|(mode, items, accounts, entries, iam)| Generated {
            mode,
            items,
            accounts,
            entries,
            iam,
        })
}

/// What gives somebody access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Entry,
    Text,
    Account,
    None,
}

fn entry_path(who: Name, path: bool) -> &'static str {
    if path && !who.user { "team/" } else { "" }
}

impl Generated {
    /// Whether an access entry grants its principal access.
    fn is_alive(&self, who: Name, path: bool) -> bool {
        match (&self.iam, who.user, who.account) {
            (Some(roles), false, 0) => roles[who.number] == (path, false),
            _ => true,
        }
    }

    /// The rules, told anew: an access entry of a living principal wins where the mode has such; else aws-auth where it is read:
    /// `mapRoles`, then `mapUsers`, then the account.
    fn way(&self, who: Name) -> Way {
        let mut entries = self.entries.iter();
        let by_entry = entries.any(|(other, path, _)| *other == who && self.is_alive(who, *path));
        if self.mode != Mode::ConfigMap && by_entry {
            return Way::Entry;
        }
        if self.mode == Mode::Api {
            return Way::None;
        }
        if self.items.iter().any(|item| item.matches(who)) {
            return Way::Text;
        }
        let by_account = who.account < 2 && self.accounts.contains(&who.account);
        if by_account { Way::Account } else { Way::None }
    }

    fn world(&self) -> World {
        let list = |in_users: bool| {
            let items = self.items.iter().filter(|item| item.in_users == in_users);
            let key = if in_users { "userarn" } else { "rolearn" };
            let items =
                items.map(|item| format!("- {key}: {:?}\n{}", item.arn(), GIVEN[item.gives]));
            items.collect::<Vec<String>>().concat()
        };
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|account| format!("- {:?}\n", ACCOUNTS[*account]));
        let data = BTreeMap::from([
            ("mapRoles".to_owned(), list(false)),
            ("mapUsers".to_owned(), list(true)),
            (
                "mapAccounts".to_owned(),
                accounts.collect::<Vec<String>>().concat(),
            ),
        ]);
        let mut world = World::new(self.mode);
        world.document = Document::parse(&data);
        world.data = data;
        let entries = self.entries.iter().map(|(who, path, fargate)| {
            let arn = who.arn("aws", entry_path(*who, *path), false);
            let (_, mut state) = entry("any", "someone", &[]);
            if let Some(entry) = &mut state.entry {
                entry.principal_arn.clone_from(&arn);
                let type_ = EntryType::FargateLinux;
                if let Some(nodes) = node_defaults(type_).filter(|_| *fargate && !who.user) {
                    entry.kind = Kind::Known(type_);
                    nodes.username.clone_into(&mut entry.username);
                    entry.groups = nodes.groups.iter().map(|it| (*it).to_owned()).collect();
                }
                entry.tags =
                    BTreeMap::from([(PRINCIPAL_ID_TAG.to_owned(), format!("ID{}", who.text()))]);
            }
            (arn, state)
        });
        let entries = Entries {
            listed: Some(at(10)),
            by_principal: entries.collect(),
            ..Entries::default()
        };
        let mut iam = Iam::default();
        if let Some(roles) = &self.iam {
            let principals = (0..NAMES).map(|number| {
                let who = Name {
                    user: false,
                    number,
                    account: 0,
                };
                let (path, anew) = roles[number];
                let principal = IamPrincipal {
                    arn: who.arn("aws", entry_path(who, path), false),
                    id: format!("{}{}", if anew { "NEW" } else { "ID" }, who.text()),
                    created: None,
                };
                (who.text().to_lowercase(), principal)
            });
            let account = IamAccount {
                roles: Some(Listing {
                    read: at(100),
                    principals: Arc::new(principals.collect()),
                }),
                ..IamAccount::default()
            };
            let own = ACCOUNTS[0].parse().expect("an account");
            iam.accounts = [(own, account)].into();
        }
        let cluster = EksCluster::parse(CLUSTER).expect("a cluster");
        world.aws = AwsState::Known(Box::new(AwsView::new(cluster, self.mode, entries, iam)));
        world
    }
}

proptest! {
    #![proptest_config(crate::laws::cases(512))]

    #[test]
    fn every_command_gives_one_answer(generated in generated()) {
        let world = generated.world();
        let report = Explainer::new(world.scene()).report();
        let observed = Observed {
            now: at(20),
            config_map: Some(ConfigMapView { data: world.data.clone(), ..ConfigMapView::default() }),
            history: HistoryState::Missing,
            bindings: world.bindings.clone(),
            aws: world.aws.clone(),
            crd_deleting: false,
        };
        let migration = verdicts(&Desired::default(), &observed, &Settings::default());
        let migration = migration.expect("EKS is known");
        for (user, number, account) in (0..NAMES * 4).map(|it| (it % 2 == 0, it / 4, it / 2 % 2)) {
            let who = Name { user, number, account };
            let way = generated.way(who);
            let explanation = world.explain(&who.caller());
            prop_assert_eq!(explanation.has_access, way != Way::None, "explain {:?}: {:?}", who, explanation);
            let key = Key::parse_arn(&who.arn("aws", "", false)).expect("a key");
            let listed = report.principals.iter().any(|row| {
                Key::parse_arn(&row.identity.principal).as_ref() == Some(&key)
            });
            prop_assert_eq!(listed, matches!(way, Way::Entry | Way::Text), "access {:?}: {:?}", who, report);
            let rows = report.principals.iter().filter(|row| Key::parse_arn(&row.identity.principal).as_ref() == Some(&key));
            let by_access: BTreeSet<bool> = rows.map(|row| row.identity.administrator.is_some()).collect();
            let by_explain = explanation.identities.iter().filter(|_| way != Way::Account);
            let by_explain: BTreeSet<bool> = by_explain.map(|identity| identity.administrator.is_some()).collect();
            prop_assert_eq!(by_access, by_explain, "administrator {:?}: {:?}", who, explanation);
            let account = report.principals.iter().any(|row| row.identity.principal == ACCOUNTS[who.account]);
            prop_assert!(way != Way::Account || account, "access {:?}: {:?}", who, report);
            let lost = migration.losers(Mode::Api).any(|loser| loser.who.key() == Some(&key));
            let by_text = way == Way::Text && generated.mode != Mode::Api;
            prop_assert_eq!(lost, by_text, "migrate plan {:?}: {:?}", who, migration.verdicts);
            let account = migration.losers(Mode::Api).any(|loser| {
                matches!(&loser.who, Who::Account(account) if account == ACCOUNTS[who.account])
            });
            prop_assert!(way != Way::Account || account, "migrate plan {:?}: {:?}", who, migration.verdicts);
        }
    }
}
