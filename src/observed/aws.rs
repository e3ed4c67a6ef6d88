//! The state of EKS and IAM as plain values. `crate::aws` reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ManagedPrincipals;
use crate::access_entry::{
    ADMIN_POLICY, Call, EksCluster, Entries, Failure, InFlight, Possible, policy_arn,
};
use crate::principal::{AccountId, Key, PrincipalKind};
use crate::time::Timestamp;

/// A cluster's authentication mode (EKS API reference, `AccessConfigResponse`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Only aws-auth counts.
    ConfigMap,
    /// Access entries count, then aws-auth.
    ApiAndConfigMap,
    /// Only access entries count.
    Api,
}

impl Mode {
    /// EKS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "CONFIG_MAP",
            Self::ApiAndConfigMap => "API_AND_CONFIG_MAP",
            Self::Api => "API",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::ConfigMap, Self::ApiAndConfigMap, Self::Api]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                format!(
                    "{text:?} is not an authentication mode of EKS; expected CONFIG_MAP, API_AND_CONFIG_MAP or API"
                )
            })
    }
}

/// What is known of the cluster in EKS.
#[derive(Clone, Debug, Default)]
pub enum AwsState {
    /// The mode was declared to be `CONFIG_MAP`: no AWS is asked, and IAM is not known.
    #[default]
    Off,
    /// EKS's cluster of the given name is not the one whose API server we talk to: nothing is written.
    Unproven {
        /// The name that was given.
        name: String,
        /// The fingerprint (SHA-256, hex) of the certificate authority that EKS names.
        eks: String,
        /// The fingerprint of the one that signs the API server's certificate, or what is in its place.
        server: String,
    },
    /// The mode could not be read, and none is kept: nothing is written.
    Unknown {
        /// Why.
        failure: Failure,
    },
    /// Everything that a plan needs.
    Known(Box<AwsView>),
}

impl AwsState {
    /// The mode in force; `None` where it is not known, and nothing is written.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        match self {
            Self::Off => Some(Mode::ConfigMap),
            Self::Unproven { .. } | Self::Unknown { .. } => None,
            Self::Known(view) => Some(view.mode),
        }
    }

    /// IAM, where it is known.
    #[must_use]
    pub fn iam(&self) -> Option<&Iam> {
        self.view().map(|view| &*view.iam)
    }

    /// EKS and IAM, where they are known.
    #[must_use]
    pub fn view(&self) -> Option<&AwsView> {
        match self {
            Self::Known(view) => Some(view),
            Self::Off | Self::Unproven { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// The cluster and what exists in EKS and IAM.
#[derive(Clone, Debug)]
pub struct AwsView {
    /// The cluster.
    pub cluster: EksCluster,
    /// Its mode.
    pub mode: Mode,
    /// The fingerprint (SHA-256, hex) of its certificate authority, which is the API server's too.
    pub authority: String,
    /// Since when EKS could not be asked, and why: the mode is then the one that was last read. `None`: it was read lately.
    pub unreachable: Option<Unreachable>,
    /// The access entries.
    pub entries: Arc<Entries>,
    /// Why they could not be listed when that was last tried; `None`: they were, or are being listed for the first time.
    pub unlisted: Option<Failure>,
    /// The ARNs of the access policies that EKS offers; `None`: not read yet.
    pub policies: Option<Arc<BTreeSet<String>>>,
    /// IAM.
    pub iam: Arc<Iam>,
    /// Principals, by key, whose last calls failed.
    pub attempts: Arc<BTreeMap<Key, Attempt>>,
    /// Calls whose effect is not certain.
    pub in_flight: Arc<InFlight>,
    /// The principals that EKS itself makes access entries for.
    pub managed: Arc<ManagedPrincipals>,
    /// Why the queue that tells of changes can't be read, where one is configured: changes are then found by listing.
    pub queue: Option<Failure>,
}

impl AwsView {
    /// What exists at one moment, without a history of calls.
    #[must_use]
    pub fn new(cluster: EksCluster, mode: Mode, entries: Entries, iam: Iam) -> Self {
        Self {
            cluster,
            mode,
            authority: String::new(),
            unreachable: None,
            entries: Arc::new(entries),
            unlisted: None,
            policies: None,
            iam: Arc::new(iam),
            attempts: Arc::default(),
            in_flight: Arc::default(),
            managed: Arc::default(),
            queue: None,
        }
    }

    /// All that the access entry of a principal may be now, by the principal's full ARN. A listing that lacks it is believed: it is
    /// for principals of which nothing says that they ever had an entry.
    #[must_use]
    pub fn possible(&self, principal_arn: &str) -> Possible {
        let known = self.entries.possible(principal_arn);
        read(self.in_flight.possible(principal_arn, known))
    }

    /// The same for a principal of which a status or a finalizer says that it may have an entry: that a listing lacks it proves
    /// nothing, until EKS has been asked for this very entry.
    #[must_use]
    pub fn possible_where_named(&self, principal_arn: &str) -> Possible {
        let known = self.entries.possible(principal_arn);
        let proven = self.in_flight.believes_listings() || self.entries.is_absent(principal_arn);
        let known = if known == Possible::none() && !proven {
            Possible::unknown()
        } else {
            known
        };
        read(self.in_flight.possible(principal_arn, known))
    }

    /// The ARN of `AmazonEKSClusterAdminPolicy` in the cluster's partition.
    #[must_use]
    pub fn admin_policy(&self) -> String {
        let partition = self.cluster.partition();
        partition.map_or_else(String::new, |partition| policy_arn(partition, ADMIN_POLICY))
    }
}

/// As tests may misread it.
fn read(possible: Possible) -> Possible {
    #[cfg(test)]
    let possible = super::misread::read(possible);
    possible
}

/// The annotation on the history `ConfigMap` that carries [`Kept`].
pub const CLUSTER_ANNOTATION: &str = "identity-mapper.dev/cluster";

/// The mode that was last read and the authority that was proven: they stay in force while EKS can't be asked, also across
/// restarts, for as long as the API server's authority is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The cluster's ARN.
    pub arn: String,
    /// Its mode, in EKS's spelling.
    pub mode: String,
    /// The fingerprint (SHA-256, hex) of its certificate authority.
    pub authority: String,
    /// When the mode was read.
    pub read: Timestamp,
}

impl Kept {
    /// Reads the annotation; `None` where it can't be read: it was written by us alone.
    #[must_use]
    pub fn parse(annotation: &str) -> Option<Self> {
        let kept: Self = serde_json::from_str(annotation).ok()?;
        (kept.mode.parse::<Mode>().is_ok() && EksCluster::parse(&kept.arn).is_ok()).then_some(kept)
    }

    /// The annotation's value.
    #[must_use]
    pub fn render(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Since when EKS can't be asked, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// When the mode was last read.
    pub read: Timestamp,
    /// Why it can't be read now.
    pub failure: Failure,
}

/// The last failure of a principal's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The call that failed.
    pub call: Call,
    /// How.
    pub failure: Failure,
    /// When it first failed so.
    pub since: Timestamp,
    /// How often it has failed so in a row.
    pub count: u32,
    /// Not to be tried again before.
    pub retry: Timestamp,
}

/// What IAM says, by account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iam {
    /// The accounts that were asked.
    pub accounts: BTreeMap<AccountId, IamAccount>,
}

/// What IAM says of one account. Each listing is whole or is not there at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamAccount {
    /// All roles, by lower-cased name.
    pub roles: Option<Listing>,
    /// All users, by lower-cased name.
    pub users: Option<Listing>,
    /// The roles under `/aws-reserved/sso.amazonaws.com/`, by lower-cased name: read more often.
    pub sso: Option<Listing>,
    /// Why the last reading of each listing failed.
    pub problems: IamProblems,
}

/// Why the last reading of each listing of an account failed; `None`: it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamProblems {
    /// Of all roles.
    pub roles: Option<IamProblem>,
    /// Of all users.
    pub users: Option<IamProblem>,
    /// Of the roles of permission sets.
    pub sso: Option<IamProblem>,
}

impl IamProblems {
    /// No listing can be read, for one reason.
    #[must_use]
    pub fn all(problem: &IamProblem) -> Self {
        let one = || Some(problem.clone());
        Self {
            roles: one(),
            users: one(),
            sso: one(),
        }
    }

    /// One of them.
    #[must_use]
    pub fn any(&self) -> Option<&IamProblem> {
        let all = [&self.sso, &self.roles, &self.users];
        all.into_iter().find_map(Option::as_ref)
    }

    /// What they are, without their words.
    pub(crate) fn kinds(&self) -> [Option<Discriminant<IamProblem>>; 3] {
        [&self.roles, &self.users, &self.sso].map(|it| it.as_ref().map(discriminant))
    }

    /// That of the listing which has principals of this kind.
    #[must_use]
    pub const fn of(&self, kind: PrincipalKind) -> Option<&IamProblem> {
        match kind {
            PrincipalKind::Role => self.roles.as_ref(),
            PrincipalKind::User => self.users.as_ref(),
        }
    }
}

/// A whole listing of IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// When it began to be read: what was made later is not in it.
    pub read: Timestamp,
    /// By lower-cased name.
    pub principals: Arc<BTreeMap<String, IamPrincipal>>,
}

/// A role or user as IAM has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamPrincipal {
    /// Its ARN, with path.
    pub arn: String,
    /// Its unique id (`AROA…`, `AIDA…`), which a principal made anew under the name does not have.
    pub id: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// Why an account's IAM can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IamProblem {
    /// It is another account than the cluster's, and no role to assume there is configured.
    NoRole,
    /// IAM or STS denies it.
    Denied {
        /// AWS's own words.
        message: String,
        /// The policy statement to add, as JSON on several lines.
        statement: String,
    },
    /// It could not be reached, did not answer in time, or gave an answer that nothing can be done with.
    Unreachable(String),
}

/// Which of IAM is worth reading, by account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamWants {
    /// Accounts with permission sets.
    pub sso: BTreeSet<AccountId>,
    /// Accounts with roles.
    pub roles: BTreeSet<AccountId>,
    /// Accounts with users.
    pub users: BTreeSet<AccountId>,
    /// Accounts of which something was asked that the last listing does not answer: to be read soon.
    pub soon: BTreeSet<AccountId>,
}
