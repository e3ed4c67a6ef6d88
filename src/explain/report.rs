//! All principals with access, administrators first, and all entries that grant none.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::access_entry::{EksCluster, PolicyTable, policy_name};
use crate::aws_auth::{ProblemKind, Section};
use crate::effective::{AUTHENTICATED, Grant, Ineffective, Unread};
use crate::explain::fix::{quoted, way_in};
use crate::explain::identity::GrantSource;
use crate::explain::identity::{EntryPlace, Identity, PassedOver};
use crate::explain::other_ways::OtherWays;
use crate::explain::rbac::Bound;
use crate::explain::scene::Explainer;
use crate::observed::{IamProblem, Mode};
use crate::principal::{Arn, Key, Partition, PrincipalKind};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum AccessRowKind {
    Role,
    User,
    Account,
    /// The root user or a federated user.
    Other,
}

impl AccessRowKind {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
            Self::Account => "account",
            Self::Other => "other",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessRow {
    /// What the row is about.
    pub(crate) kind: AccessRowKind,
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// Whether the authenticator picks between this and another entry at random.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) at_random: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessReport {
    /// The authentication mode, in EKS's spelling; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<&'static str>,
    /// Everyone with access: administrators first, then by the number of policies and bindings.
    pub(crate) principals: Vec<AccessRow>,
    /// What RBAC binds to everyone with access, beside that; `None`: it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) everyone: Option<Vec<Bound>>,
    /// Entries that grant no access.
    #[serde(rename = "withoutAccess")]
    pub(crate) nobody: Vec<PassedOver>,
    /// Keys of aws-auth that the authenticator drops whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropped_keys: Vec<&'static str>,
    /// Who enters by other ways.
    pub(crate) other_ways: OtherWays,
    /// How to find the cluster's creator, where it is an administrator that is listed nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creator: Option<Creator>,
    /// What else is to be known.
    pub(crate) notes: Vec<String>,
}

/// How to find a cluster's creator, who is listed nowhere in `CONFIG_MAP` mode (EKS user guide, *Grant IAM users and roles access to
/// Kubernetes APIs*), and how to get access where nobody can be that principal any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Creator {
    pub(crate) note: String,
    /// The command that lists who created clusters within the last 90 days, which is what `CloudTrail` keeps.
    pub(crate) cloud_trail: String,
    /// The log group in which the authenticator's logs are, where they are on.
    pub(crate) log_group: String,
    /// The query of `CloudWatch` Logs Insights that finds the creator's logins there: EKS maps it as kubernetes-admin.
    pub(crate) authenticator_log: String,
    /// The commands that make `ARN` an administrator by the rights of IAM alone, where the creator is lost.
    pub(crate) lost: Vec<String>,
}

impl Explainer<'_> {
    #[must_use]
    pub(crate) fn report(&self) -> AccessReport {
        let mut principals = Vec::new();
        let mut nobody = Vec::new();
        self.report_grants(&mut principals);
        self.report_without_effect(&mut nobody);
        principals.sort_by_cached_key(|row| {
            let identity = &row.identity;
            let bindings = identity.bindings.as_ref().map_or(0, Vec::len);
            (
                identity.administrator.is_none(),
                identity.possible_administrator.is_none(),
                Reverse(identity.access_policies.len() + bindings),
                identity.principal.clone(),
                identity.place.clone(),
            )
        });
        nobody.sort();
        let other_ways = self.other_ways(principals.iter().map(|row| &row.identity));
        AccessReport {
            other_ways,
            mode: self.mode().map(Mode::as_str),
            principals,
            everyone: self.rbac.as_ref().map(|rbac| rbac.of_group(AUTHENTICATED)),
            nobody,
            dropped_keys: self.dropped_keys(),
            creator: self.creator(),
            notes: self.report_notes(),
        }
    }

    fn report_grants(&self, principals: &mut Vec<AccessRow>) {
        for grant in self.effective.grants() {
            let (source, at_random) = match grant {
                Grant::AccessEntry(standing) => match standing.state.entry.as_ref() {
                    Some(entry) => (GrantSource::AccessEntry(entry), false),
                    None => continue,
                },
                Grant::AwsAuth { entry, at_random } => (GrantSource::AwsAuth(entry), at_random),
                Grant::Account(account) => (GrantSource::Account { account }, false),
            };
            principals.push(self.row(source, at_random));
        }
    }

    fn report_without_effect(&self, nobody: &mut Vec<PassedOver>) {
        for (entry, why) in self.effective.without_effect() {
            let why = why.to_string();
            nobody.push(match entry {
                Ineffective::AccessEntry(arn, state) => {
                    PassedOver::of_access_entry(arn, state, why)
                }
                Ineffective::AwsAuth(entry) => PassedOver {
                    principal: entry.arn.clone(),
                    place: EntryPlace::of(entry),
                    why,
                },
                Ineffective::Account(account) => PassedOver {
                    principal: account.to_owned(),
                    place: EntryPlace::AwsAuth {
                        key: Section::Accounts.key(),
                        line: None,
                    },
                    why,
                },
            });
        }
        for section in Section::ALL {
            let problems = self.scene.document.section(section).problems.iter();
            let dropped = problems.filter(|problem| problem.kind == ProblemKind::EntryDropped);
            nobody.extend(dropped.map(|problem| PassedOver {
                principal: problem.offending.clone(),
                place: EntryPlace::AwsAuth {
                    key: section.key(),
                    line: Some(problem.line),
                },
                why: format!("the authenticator drops it: {}", problem.message),
            }));
        }
    }

    fn row(&self, source: GrantSource<'_>, at_random: bool) -> AccessRow {
        let identity = self.identity(source, None);
        let kind = match source {
            GrantSource::Account { .. } => AccessRowKind::Account,
            GrantSource::AwsAuth(_) | GrantSource::AccessEntry(_) => kind_of(&identity.principal),
        };
        AccessRow {
            kind,
            identity,
            at_random,
        }
    }

    fn dropped_keys(&self) -> Vec<&'static str> {
        let is_dropped = |section: &Section| self.scene.document.section(*section).broken.is_some();
        let is_read = self.effective.unread().is_none();
        let dropped = Section::ALL
            .into_iter()
            .filter(|section| is_read && is_dropped(section));
        dropped.map(Section::key).collect()
    }

    fn report_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for section in Section::ALL {
            if let Some(problem) = &self.scene.document.section(section).broken {
                notes.push(format!(
                    "all of {section} is dropped, so nobody in it has access: line {}, column {}: {}",
                    problem.line, problem.column, problem.message
                ));
            }
        }
        if self.effective.unread() == Some(Unread::Name) {
            notes.push(format!(
                "{} is not read: {}",
                self.scene.config_map,
                Unread::Name
            ));
        }
        if self.scene.released {
            notes.push(
                "ownership was given up (`identity-mapper release`): all entries are unmanaged, and no mapping or validUntil is \
                    enforced until an operator starts"
                    .to_owned(),
            );
        }
        if self.scene.data.is_none() && self.mode() != Some(Mode::Api) {
            notes.push(format!("{} does not exist", self.scene.config_map));
        }
        if self.rbac.is_none() {
            notes.push(
                "RBAC was not read: of the administrators only those by system:masters and by access policies are known".to_owned(),
            );
        }
        let problems = Section::ALL
            .into_iter()
            .flat_map(|section| &self.scene.document.section(section).problems);
        let emptied = problems.filter(|problem| problem.kind == ProblemKind::FieldEmptied);
        notes.extend(emptied.map(|problem| {
            format!(
                "{} line {}: the value is dropped: {}",
                problem.section, problem.line, problem.message
            )
        }));
        let iam = self.scene.aws.view().map(|view| &view.iam.accounts);
        let unread = iam.into_iter().flatten();
        notes.extend(unread.filter_map(|(account, read)| {
            let why = unread_account(read.problems.any()?);
            Some(format!(
                "IAM of account {account} was not read, so principals that no longer exist there are listed too: {why}"
            ))
        }));
        let partitions = self.partitions();
        if partitions.len() > 1 {
            let names: Vec<&str> = partitions.iter().map(|it| it.as_str()).collect();
            notes.push(format!(
                "entries of several partitions ({}) exist, and a cluster accepts only callers of its own: those of the others never \
                    match; give --cluster-arn to tell which",
                names.join(", ")
            ));
        }
        let entries = self.effective.access_entries().all();
        let entries = entries.filter_map(crate::effective::Standing::known);
        notes.extend(entries.filter_map(|entry| {
            let why = self.broken_nodes(entry)?;
            Some(format!("{}: {why}", entry.principal_arn))
        }));
        notes.extend(self.limits_of_policies());
        notes.extend(self.not_covered());
        notes
    }

    /// What the access policies in use do not cover.
    fn limits_of_policies(&self) -> Option<String> {
        let table = PolicyTable::published();
        let entries = self.effective.access_entries().all();
        let entries = entries.filter_map(crate::effective::Standing::known);
        let names: BTreeSet<&str> = entries
            .flat_map(|entry| entry.policies.keys().map(|policy| policy_name(policy)))
            .collect();
        let limits: Vec<String> = names.iter().filter_map(|name| table.limits(name)).collect();
        (!limits.is_empty())
            .then(|| format!("{} ({})", limits.join("; "), table.origin(self.scene.now)))
    }

    /// The partitions of entries of aws-auth that match callers; one where the cluster's is known.
    fn partitions(&self) -> BTreeSet<Partition> {
        let entries = self.scene.document.entries();
        let alive = entries.filter(|entry| self.effective.no_effect(entry).is_none());
        let arns = alive.filter_map(|entry| entry.matched_arn().parse::<Arn>().ok());
        arns.map(|arn| arn.partition).collect()
    }

    /// How to find the cluster's creator, where it is listed nowhere.
    fn creator(&self) -> Option<Creator> {
        if self.mode() != Some(Mode::ConfigMap) {
            return None;
        }
        let view = self.scene.aws.view();
        let unknown = EksCluster {
            name: self.cluster_name().to_owned(),
            arn: String::new(),
        };
        let cluster = view.map_or(unknown, |view| view.cluster.clone());
        let region = view.map_or_else(String::new, |view| {
            format!(" --region {}", quoted(view.cluster.region()))
        });
        Some(Creator {
            note: "The cluster creator is also an administrator in CONFIG_MAP mode and is not listed anywhere".to_owned(),
            cloud_trail: format!(
                "aws cloudtrail lookup-events{region} --lookup-attributes AttributeKey=EventName,AttributeValue=CreateCluster"
            ),
            log_group: format!("/aws/eks/{}/cluster", self.cluster_name()),
            authenticator_log: "fields @timestamp, @message | filter @logStream like /authenticator/ | filter @message like \
                                /username=kubernetes-admin/ | sort @timestamp desc | limit 50"
                .to_owned(),
            lost: way_in(&cluster, Mode::ConfigMap, "ARN"),
        })
    }
}

/// Why the IAM of an account was not read.
fn unread_account(problem: &IamProblem) -> String {
    match problem {
        IamProblem::NoRole => "no role to assume is configured for it; add --iam-role".to_owned(),
        IamProblem::Denied { message, .. } => message.clone(),
        IamProblem::Unreachable(message) => format!("IAM did not answer: {message}"),
    }
}

fn kind_of(principal: &str) -> AccessRowKind {
    match Key::parse_arn(principal).map(|key| key.kind()) {
        Some(PrincipalKind::Role) => AccessRowKind::Role,
        Some(PrincipalKind::User) => AccessRowKind::User,
        None => AccessRowKind::Other,
    }
}
