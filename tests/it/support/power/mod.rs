//! Who may do what now? Answered as the cluster would: who is let in as whom, and what that identity may do.
//!
//! - [`login`]: access entries in force, by principal id and ARN; then aws-auth as the authenticator reads it.
//! - [`rbac`]: the roles and bindings, as values.
//! - [`grants`]: what an identity may do, as a value that can be compared.
//! - [`witness`]: watches a cluster and tells if anyone is ever without the power that they had.
//!
//! All but the last is pure. That it agrees with the real API server is tested in `power`, that it agrees with logins in `logins::model`.

pub(crate) mod grants;
pub(crate) mod login;
pub(crate) mod rbac;
pub(crate) mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity_mapper::access_entry::Scope;
use identity_mapper::aws_auth::{Document, fold_arn};
use identity_mapper::observed::Mode;
use identity_mapper::principal::Principal;
use jiff::Timestamp;

use super::eks::{self, Association, World};

pub(crate) use grants::{Grant, Place, Power, Request};
pub(crate) use login::{Caller, Identity, Refused, Via};
pub(crate) use rbac::{Objects, Rbac};
pub(crate) use witness::{Loss, Witness};

/// An access entry in force, with the policies in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The principal's ARN.
    pub(crate) principal_arn: String,
    /// The id that the principal had when the entry was made; `None` matches nobody.
    pub(crate) principal_id: Option<String>,
    /// The username, placeholders included.
    pub(crate) username: String,
    /// The groups, placeholders included.
    pub(crate) groups: BTreeSet<String>,
    /// The policies, by ARN.
    pub(crate) policies: BTreeMap<String, Scope>,
}

/// What of EKS counts at the cluster's door now.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// The stand-in's time.
    pub(crate) time: Timestamp,
    mode: Mode,
    /// By the principal's id: an entry without one matches nobody.
    entries: BTreeMap<String, InForce>,
}

impl Door {
    /// A mode and the entries in force.
    pub(crate) fn new(
        time: Timestamp,
        mode: Mode,
        entries: impl IntoIterator<Item = InForce>,
    ) -> Self {
        let by_id = |entry: InForce| Some((entry.principal_id.clone()?, entry));
        Self {
            time,
            mode,
            entries: entries.into_iter().filter_map(by_id).collect(),
        }
    }

    /// What counts at the stand-in's door.
    pub(crate) fn of(world: &World) -> Self {
        let force = &world.force;
        let mode = match force.mode {
            eks::Mode::ConfigMap => Mode::ConfigMap,
            eks::Mode::ApiAndConfigMap => Mode::ApiAndConfigMap,
            eks::Mode::Api => Mode::Api,
        };
        let entries = force.entries.values().map(|entry| {
            let policies = force.policies.get(&entry.principal_arn);
            let policies = policies.iter().flat_map(|policies| policies.iter());
            let scope = |association: &Association| match &association.namespaces {
                None => Scope::Cluster,
                Some(names) => Scope::Namespaces(names.iter().cloned().collect()),
            };
            InForce {
                principal_arn: entry.principal_arn.clone(),
                principal_id: entry.principal_id.clone(),
                username: entry.username.clone(),
                groups: entry.groups.iter().cloned().collect(),
                policies: policies
                    .map(|(arn, association)| (arn.clone(), scope(association)))
                    .collect(),
            }
        });
        Self::new(world.now, mode, entries)
    }

    /// The mode.
    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    /// The entries in force that can match somebody.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &InForce> {
        self.entries.values()
    }

    /// The entry that counts for the principal of this id, where its ARN is the caller's canonical one too.
    pub(crate) fn entry_of(&self, id: &str, canonical: &str) -> Option<&InForce> {
        let entry = self
            .entries
            .get(id)
            .filter(|_| self.mode != Mode::ConfigMap)?;
        let principal = Principal::parse(&entry.principal_arn).ok()?;
        (fold_arn(&principal.aws_auth_arn()) == fold_arn(canonical)).then_some(entry)
    }

    /// Whether the same counts, at whatever time.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        (self.mode, &self.entries) == (other.mode, &other.entries)
    }
}

/// Everything that the answer depends on.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// EKS.
    pub(crate) door: Arc<Door>,
    /// aws-auth.
    pub(crate) aws_auth: Arc<Document>,
    /// Roles and bindings.
    pub(crate) rbac: Arc<Rbac>,
    /// Private DNS names of the instances that nodes' sessions are named after.
    pub(crate) instances: Arc<BTreeMap<String, String>>,
}

impl Scene {
    /// What this caller may do now: where one of several identities is given at random, what all of them may do.
    pub(crate) fn power(&self, caller: &Caller) -> Power {
        self.power_by(self.login(caller).as_deref())
    }

    fn power_by(&self, login: Result<&[Identity], &Refused>) -> Power {
        let powers = login.unwrap_or_default().iter();
        let powers = powers.map(|identity| self.power_of(identity));
        powers
            .reduce(|some, others| some.meet(&others))
            .unwrap_or_default()
    }

    /// What this identity may do now.
    pub(crate) fn power_of(&self, identity: &Identity) -> Power {
        let mut power = self.rbac.power(&identity.username, &identity.groups);
        for (arn, scope) in &identity.policies {
            power.associate(arn, scope);
        }
        power
    }
}
