//! The state of the pretended AWS: a cluster in EKS, the principals of a few accounts, callers, queues. Pure: nothing
//! here waits, reads a clock or talks to anyone; [`World::now`] is set by whoever holds the world.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::authorities::CertificateAuthority;
use super::cluster::{Association, Cluster, Entry, Mode, NodeKind, UpdateKind};
use super::page::hex;
use super::sqs::Queue;
use super::workload::Workloads;

/// The access key id of the operator, in the environment that the stand-in gives.
pub(crate) const OPERATOR_KEY: &str = "AKIDEXAMPLE000000000";

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The time that holds for what is done next.
    pub(crate) now: Timestamp,
    /// The one cluster.
    pub(crate) cluster: Cluster,
    /// What counts when somebody comes to the cluster's door; it follows [`World::cluster`] with the delays of the knobs.
    pub(crate) force: Force,
    /// Private DNS names of the instances of EC2, by their id.
    pub(crate) instances: BTreeMap<String, String>,
    pub(super) accounts: BTreeMap<String, Account>,
    callers: BTreeMap<String, Caller>,
    pub(super) queues: BTreeMap<String, Queue>,
    attached: Option<String>,
    pub(crate) workloads: Workloads,
    /// How many messages have arrived in queues.
    pub(super) arrived: u64,
    pending: BTreeMap<(Timestamp, u64), Effect>,
    changes: VecDeque<Change>,
    sequence: u64,
}

/// An account of IAM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Its roles, by lower-cased name.
    pub(crate) roles: BTreeMap<String, Principal>,
    /// Its users, by lower-cased name.
    pub(crate) users: BTreeMap<String, Principal>,
}

/// A role or user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Its ARN, with path.
    pub(crate) arn: String,
    /// Its unique id, `AROA…` or `AIDA…`.
    pub(crate) id: String,
    /// `/`, or more.
    pub(crate) path: String,
    /// Its name.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Who may assume it, if anyone: for roles alone.
    pub(crate) trust: Option<Trust>,
}

/// Who may assume a role: everyone who gives the external id, where it asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The external id that must be given.
    pub(crate) external_id: Option<String>,
}

/// Whoever makes calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The ARN as `GetCallerIdentity` gives it.
    pub(crate) arn: String,
    /// The account that the calls act in.
    pub(crate) account: String,
    /// The user id as `GetCallerIdentity` gives it.
    pub(crate) user_id: String,
    /// The token that temporary credentials come with.
    pub(crate) token: Option<String>,
    /// When the credentials end.
    pub(crate) expires: Option<Timestamp>,
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Force {
    /// The authentication mode.
    pub(crate) mode: Mode,
    /// The entries, by principal ARN: who is authenticated as what. Their policies are *not* to be taken from here.
    pub(crate) entries: BTreeMap<String, Arc<Entry>>,
    /// The associated policies, by principal ARN and policy ARN; those of an entry that is not in force count for nobody.
    pub(crate) policies: BTreeMap<String, Arc<BTreeMap<String, Association>>>,
}

/// Something that will be so.
#[derive(Clone, Debug)]
enum Effect {
    /// The entry of this principal is in force, or its deletion is.
    Entry(String, Option<Arc<Entry>>),
    /// The policies of this principal are in force.
    Policies(String, Arc<BTreeMap<String, Association>>),
    /// An update of the cluster ends.
    Update(String),
}

impl Effect {
    /// Whether `newer` says the same thing anew.
    fn replaced_by(&self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::Entry(arn, _), Self::Entry(newer, _))
            | (Self::Policies(arn, _), Self::Policies(newer, _)) => arn == newer,
            _ => false,
        }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The entry of this principal was made, changed or deleted, or a policy of it.
    Described(String),
    /// What was changed at this principal's entry is in force.
    InForce(String),
    /// The cluster's update began or ended.
    Cluster,
    /// A role or user of this ARN was made or deleted.
    Principal(String),
}

impl World {
    /// A world of one cluster, `arn:PARTITION:eks:REGION:ACCOUNT:cluster/NAME`, and its operator's role
    /// `identity-mapper` in the cluster's account.
    ///
    /// Panics where the ARN is none.
    pub(crate) fn new(cluster_arn: &str) -> Self {
        let now = Timestamp::now();
        let cluster = Cluster::new(cluster_arn, now);
        let account = cluster.account.clone();
        let mut world = Self {
            now,
            force: Force {
                mode: cluster.mode,
                ..Force::default()
            },
            cluster,
            instances: BTreeMap::new(),
            accounts: BTreeMap::new(),
            callers: BTreeMap::new(),
            queues: BTreeMap::new(),
            attached: None,
            workloads: Workloads::default(),
            arrived: 0,
            pending: BTreeMap::new(),
            changes: VecDeque::new(),
            sequence: 0,
        };
        world.role(&account, "/", "identity-mapper");
        let operator = world.session(&account, "identity-mapper", "operator");
        world.callers.insert(OPERATOR_KEY.to_owned(), operator);
        world
    }

    /// The same with another authentication mode from the start.
    #[must_use]
    pub(crate) fn mode(mut self, mode: Mode) -> Self {
        self.cluster.mode = mode;
        self.force.mode = mode;
        self
    }

    /// The same with the certificate authority (PEM) and the address of the API server that is the cluster's.
    #[must_use]
    pub(crate) fn api_server(mut self, authority: &[u8], endpoint: &str) -> Self {
        self.cluster.authorities = vec![CertificateAuthority::first(authority, self.now)];
        endpoint.clone_into(&mut self.cluster.endpoint);
        self
    }

    /// The same with the IAM principal that made the cluster.
    #[must_use]
    pub(crate) fn creator(mut self, arn: &str) -> Self {
        self.cluster.creator = Some(arn.to_owned());
        self
    }

    /// The same with a managed node group or Fargate profile of this role.
    #[must_use]
    pub(crate) fn node_group(mut self, role_arn: &str, kind: NodeKind) -> Self {
        self.cluster.node_groups.insert(role_arn.to_owned(), kind);
        self
    }

    /// The cluster's partition.
    pub(crate) fn partition(&self) -> &str {
        &self.cluster.partition
    }

    // Principals.

    /// Makes a role that nobody can assume (an existing one of the name stays as it is), and gives it back.
    pub(crate) fn role(&mut self, account: &str, path: &str, name: &str) -> Principal {
        self.principal("role", account, path, name)
    }

    /// Makes a role that anyone can assume, with the external id where one is given.
    pub(crate) fn assumable_role(
        &mut self,
        account: &str,
        path: &str,
        name: &str,
        external_id: Option<&str>,
    ) -> Principal {
        self.principal("role", account, path, name);
        let roles = &mut self.accounts.entry(account.to_owned()).or_default().roles;
        let role = roles
            .get_mut(&name.to_lowercase())
            .expect("it was just made");
        role.trust = Some(Trust {
            external_id: external_id.map(str::to_owned),
        });
        role.clone()
    }

    /// Makes a user, and gives it back.
    pub(crate) fn user(&mut self, account: &str, path: &str, name: &str) -> Principal {
        self.principal("user", account, path, name)
    }

    /// Deletes the role or user of this ARN. Access entries stay, dead.
    ///
    /// Panics where there is none.
    pub(crate) fn delete_principal(&mut self, arn: &str) {
        let (account, kind, name) = parts(arn);
        let of = self.accounts.entry(account).or_default();
        let removed = of.of_kind(kind).remove(&name.to_lowercase());
        assert!(removed.is_some(), "there is no {arn}");
        self.changes.push_back(Change::Principal(arn.to_owned()));
        let operation = if kind == "role" {
            "DeleteRole"
        } else {
            "DeleteUser"
        };
        self.tell_of_principal(operation, arn);
    }

    /// Deletes the role or user and makes it again under the same ARN: its id is another one.
    pub(crate) fn recreate_principal(&mut self, arn: &str) -> Principal {
        let standing = self.find(arn).cloned();
        let standing = standing.unwrap_or_else(|| panic!("there is no {arn}"));
        self.delete_principal(arn);
        let (account, kind, name) = parts(arn);
        let made = self.principal(kind, &account, &standing.path, name);
        let of = self.accounts.entry(account).or_default();
        if let Some(principal) = of.of_kind(kind).get_mut(&name.to_lowercase()) {
            principal.trust = standing.trust;
        }
        made
    }

    /// Sets when a principal was made.
    pub(crate) fn created(&mut self, arn: &str, at: Timestamp) {
        let (account, kind, name) = parts(arn);
        let of = self.accounts.entry(account).or_default();
        let principal = of.of_kind(kind).get_mut(&name.to_lowercase());
        principal
            .unwrap_or_else(|| panic!("there is no {arn}"))
            .created = at;
    }

    /// The principal of exactly this ARN.
    pub(crate) fn find(&self, arn: &str) -> Option<&Principal> {
        let account = self.accounts.get(arn.split(':').nth(4)?)?;
        let name = arn.rsplit('/').next()?.to_lowercase();
        let of_kind = if arn.contains(":role/") {
            &account.roles
        } else {
            &account.users
        };
        of_kind.get(&name).filter(|principal| principal.arn == arn)
    }

    /// An account, where anything was ever made in it.
    pub(crate) fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.get(id)
    }

    fn principal(&mut self, kind: &str, account: &str, path: &str, name: &str) -> Principal {
        assert!(
            path.starts_with('/') && path.ends_with('/'),
            "a path begins and ends with a slash: {path}"
        );
        let known = self.accounts.get(account).and_then(|account| {
            let of_kind = if kind == "role" {
                &account.roles
            } else {
                &account.users
            };
            of_kind.get(&name.to_lowercase())
        });
        if let Some(principal) = known {
            return principal.clone();
        }
        let prefix = if kind == "role" { "AROA" } else { "AIDA" };
        let principal = Principal {
            arn: format!("arn:{}:iam::{account}:{kind}{path}{name}", self.partition()),
            id: self.unique_id(prefix),
            path: path.to_owned(),
            name: name.to_owned(),
            created: whole_seconds(self.now),
            trust: None,
        };
        let of = self.accounts.entry(account.to_owned()).or_default();
        of.of_kind(kind)
            .insert(name.to_lowercase(), principal.clone());
        self.changes
            .push_back(Change::Principal(principal.arn.clone()));
        let operation = if kind == "role" {
            "CreateRole"
        } else {
            "CreateUser"
        };
        self.tell_of_principal(operation, &principal.arn);
        principal
    }

    // Callers.

    /// A session of a role that exists.
    pub(crate) fn session(&self, account: &str, role: &str, session: &str) -> Caller {
        let found = self
            .account(account)
            .and_then(|it| it.roles.get(&role.to_lowercase()));
        let found = found.unwrap_or_else(|| panic!("there is no role {role} in {account}"));
        Caller {
            arn: format!(
                "arn:{}:sts::{account}:assumed-role/{}/{session}",
                self.partition(),
                found.name
            ),
            account: account.to_owned(),
            user_id: format!("{}:{session}", found.id),
            token: None,
            expires: None,
        }
    }

    /// A person: a session of the role `Console` of the cluster's account.
    pub(crate) fn person(&mut self, session: &str) -> Caller {
        let account = self.cluster.account.clone();
        self.role(&account, "/", "Console");
        self.session(&account, "Console", session)
    }

    /// Gives a caller an access key id.
    pub(crate) fn key_of(&mut self, caller: Caller) -> String {
        self.sequence += 1;
        let key = format!("AKIDEXAMPLE{:09}", self.sequence);
        self.callers.insert(key.clone(), caller);
        key
    }

    /// The caller of an access key id.
    pub(crate) fn caller(&self, key: &str) -> Option<&Caller> {
        self.callers.get(key)
    }

    // Queues.

    /// Makes a queue in the cluster's account and region, and lets the events of `CloudTrail` arrive there.
    pub(crate) fn attach_queue(&mut self, name: &str) {
        let queue = Queue::new(&self.cluster, name, self.now);
        self.queues.insert(name.to_owned(), queue);
        self.attached = Some(name.to_owned());
    }

    /// The queue that events arrive in.
    pub(crate) fn attached(&self) -> Option<&str> {
        self.attached.as_deref()
    }

    // Time and force.

    /// Says what changed since it was last asked.
    pub(super) fn take_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Remembers a change.
    pub(super) fn changed(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// An entry changed, in all but its policies: it is in force after the delay.
    pub(super) fn entry_changed(&mut self, principal_arn: &str, delay: jiff::SignedDuration) {
        let entry = self.cluster.entries.get(principal_arn).cloned();
        let effect = Effect::Entry(principal_arn.to_owned(), entry);
        self.later(delay, effect);
        self.changed(Change::Described(principal_arn.to_owned()));
    }

    /// The policies of an entry changed: they are in force after the delay.
    pub(super) fn policies_changed(&mut self, principal_arn: &str, delay: jiff::SignedDuration) {
        let entry = self.cluster.entries.get(principal_arn);
        let policies = entry.map_or_else(BTreeMap::new, |entry| entry.policies.clone());
        let effect = Effect::Policies(principal_arn.to_owned(), Arc::new(policies));
        self.later(delay, effect);
        self.changed(Change::Described(principal_arn.to_owned()));
    }

    /// An update of the cluster ends after the time.
    pub(super) fn update_ends(&mut self, id: &str, after: jiff::SignedDuration) {
        self.later(after, Effect::Update(id.to_owned()));
        self.changed(Change::Cluster);
    }

    fn later(&mut self, delay: jiff::SignedDuration, effect: Effect) {
        self.sequence += 1;
        let due = self.now.saturating_add(delay).unwrap_or(Timestamp::MAX);
        // What is newer is never overtaken by what is older, whatever the delays were.
        self.pending
            .retain(|(at, _), standing| *at <= due || !standing.replaced_by(&effect));
        self.pending.insert((due, self.sequence), effect);
    }

    /// When something comes into force next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.pending.keys().next().map(|(due, _)| *due)
    }

    /// Lets the next thing that is due come into force, and says what; `None`: nothing is due now.
    pub(super) fn settle(&mut self) -> Option<Change> {
        let next = self.pending.first_entry()?;
        if next.key().0 > self.now {
            return None;
        }
        Some(match next.remove() {
            Effect::Entry(arn, Some(entry)) => {
                self.force.entries.insert(arn.clone(), entry);
                Change::InForce(arn)
            }
            Effect::Entry(arn, None) => {
                self.force.entries.remove(&arn);
                Change::InForce(arn)
            }
            Effect::Policies(arn, policies) => {
                self.force.policies.insert(arn.clone(), policies);
                Change::InForce(arn)
            }
            Effect::Update(id) => {
                self.end_update(&id);
                Change::Cluster
            }
        })
    }

    fn end_update(&mut self, id: &str) {
        let Some(update) = self
            .cluster
            .updates
            .iter_mut()
            .find(|update| update.id == id)
        else {
            return;
        };
        if update.status != "InProgress" {
            return;
        }
        update.status = "Successful";
        match update.kind {
            UpdateKind::AutoMode(enabled) => self.cluster.auto_mode = enabled,
            UpdateKind::Authority(rotation) => self.end_rotation(rotation),
            UpdateKind::AccessConfig(mode) => {
                let before = std::mem::replace(&mut self.cluster.mode, mode);
                self.force.mode = mode;
                self.cluster.switched = Some(self.now);
                if before == Mode::ConfigMap {
                    self.make_own_entries();
                }
            }
        }
    }

    /// What EKS makes by itself when access entries are switched on: an administrator's entry of the cluster's creator, and
    /// an entry of each role that its node groups and Fargate profiles have in aws-auth
    /// (<https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html>).
    fn make_own_entries(&mut self) {
        for entry in self.own_entries() {
            let arn = entry.principal_arn.clone();
            self.cluster.entries.insert(arn.clone(), Arc::new(entry));
            self.entry_changed(&arn, jiff::SignedDuration::ZERO);
            self.policies_changed(&arn, jiff::SignedDuration::ZERO);
        }
    }

    fn own_entries(&self) -> Vec<Entry> {
        let nodes = self.cluster.node_groups.iter();
        let nodes = nodes.map(|(arn, kind)| (arn, kind.entry_type(), None));
        let creator = self.cluster.creator.iter();
        let admin = self.cluster.policy_arn("AmazonEKSClusterAdminPolicy");
        let creator = creator.map(|arn| (arn, "STANDARD", Some(admin.clone())));
        let made = creator.chain(nodes).filter_map(|(arn, type_, policy)| {
            let principal_id = self.find(arn).map(|principal| principal.id.clone());
            let mut entry = Entry::new(&self.cluster, arn, type_, principal_id, self.now)?;
            entry.policies.extend(policy.map(|policy| {
                let association = Association {
                    namespaces: None,
                    associated: self.now,
                    modified: self.now,
                };
                (policy, association)
            }));
            Some(entry)
        });
        made.collect()
    }

    /// Puts entries there as somebody made them before the test began: in force at once.
    pub(crate) fn standing_entry(&mut self, entry: Entry) {
        let arn = entry.principal_arn.clone();
        self.force
            .policies
            .insert(arn.clone(), Arc::new(entry.policies.clone()));
        let entry = Arc::new(entry);
        self.force.entries.insert(arn.clone(), entry.clone());
        self.cluster.entries.insert(arn.clone(), entry);
        self.changed(Change::InForce(arn));
    }

    // Names.

    /// A number that was not given before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A UUID that was not given before.
    pub(super) fn uuid(&mut self) -> String {
        let number = self.next_number();
        uuid_of(&format!("uuid {number}"))
    }

    fn unique_id(&mut self, prefix: &str) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let number = self.next_number();
        let digest = Sha256::digest(format!("id {number}"));
        let letters = digest[..17]
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        prefix.chars().chain(letters).collect()
    }
}

impl Account {
    fn of_kind(&mut self, kind: &str) -> &mut BTreeMap<String, Principal> {
        if kind == "role" {
            &mut self.roles
        } else {
            &mut self.users
        }
    }
}

/// A text of a UUID's form that follows from `name` alone.
pub(super) fn uuid_of(name: &str) -> String {
    let hex = hex(&Sha256::digest(name)[..16]);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Account, `role` or `user`, and name of an IAM principal's ARN.
fn parts(arn: &str) -> (String, &str, &str) {
    let resource = arn.split(':').nth(5).unwrap_or_default();
    let kind = resource.split('/').next().unwrap_or_default();
    let name = resource.rsplit('/').next().unwrap_or_default();
    let account = arn.split(':').nth(4).unwrap_or_default();
    assert!(
        matches!(kind, "role" | "user") && !account.is_empty(),
        "no role or user: {arn}"
    );
    (account.to_owned(), kind, name)
}

/// IAM gives times in whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
