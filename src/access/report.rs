//! Everyone who gets in, most powerful first, and every entry that lets nobody in.

use std::cmp::Reverse;

use serde::Serialize;

use super::explain::passed_over_standing;
use super::identity::Source;
use super::mend::{quoted, way_in};
use super::rbac::AUTHENTICATED;
use super::{Bound, Door, Identity, PassedOver, Place};
use crate::access_entry::EksCluster;
use crate::aws_auth::{Lookup, ProblemKind, Section};
use crate::observed::Mode;
use crate::principal::{Key, PrincipalKind};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum RowKind {
    /// An IAM role.
    Role,
    /// An IAM user.
    User,
    /// Everyone of an account.
    Account,
    /// The root user or a federated user.
    Other,
}

impl RowKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
            Self::Account => "account",
            Self::Other => "other",
        }
    }
}

/// Whoever gets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What the row is about.
    pub kind: RowKind,
    /// As what.
    #[serde(flatten)]
    pub identity: Identity,
    /// Whether the authenticator picks between this and another entry at random.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_random: bool,
}

/// Everyone who gets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The authentication mode, in EKS's spelling; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Whoever gets in: administrators first, then by the number of policies and bindings.
    pub principals: Vec<Row>,
    /// What RBAC binds to everyone who gets in, beside that; `None`: it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub everyone: Option<Vec<Bound>>,
    /// Entries that let nobody in.
    pub nobody: Vec<PassedOver>,
    /// How to find the cluster's creator, where it is an administrator that stands nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<Creator>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// How to find a cluster's creator, who stands nowhere in the mode `CONFIG_MAP` (EKS user guide, *Grant IAM users and roles access to
/// Kubernetes APIs*), and how to get in where nobody can be that principal any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Creator {
    /// In a sentence.
    pub note: String,
    /// The command that lists who created clusters within the last 90 days, which is what `CloudTrail` keeps.
    pub cloud_trail: String,
    /// The log group in which the authenticator's logs are, where they are on.
    pub log_group: String,
    /// The query of `CloudWatch` Logs Insights that finds the creator's logins there: EKS maps it as kubernetes-admin.
    pub authenticator_log: String,
    /// The commands that make `ARN` an administrator by the rights of IAM alone, where the creator is lost.
    pub lost: Vec<String>,
}

impl Door<'_> {
    /// Everyone who gets in.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut principals = Vec::new();
        let mut nobody = Vec::new();
        self.report_access_entries(&mut principals, &mut nobody);
        self.report_aws_auth(&mut principals, &mut nobody);
        principals.sort_by_cached_key(|row| {
            let identity = &row.identity;
            let bindings = identity.bindings.as_ref().map_or(0, Vec::len);
            (
                identity.administrator.is_none(),
                Reverse(identity.access_policies.len() + bindings),
                identity.principal.clone(),
                identity.place.clone(),
            )
        });
        nobody.sort();
        Report {
            mode: self.mode().map(Mode::as_str),
            principals,
            everyone: self.rbac.as_ref().map(|rbac| rbac.of_group(AUTHENTICATED)),
            nobody,
            creator: self.creator(),
            notes: self.report_notes(),
        }
    }

    fn report_access_entries(&self, principals: &mut Vec<Row>, nobody: &mut Vec<PassedOver>) {
        let Some(view) = self.eks else {
            return;
        };
        for standing in self.standing.all() {
            if let Some(passed_over) =
                passed_over_standing(self.standing_of(&standing.key), standing)
            {
                nobody.push(passed_over);
            } else if let Some(entry) = standing.state.entry.as_ref() {
                principals.push(self.row(Source::AccessEntry(entry)));
            }
        }
        let others = view.entries.by_principal.iter();
        let others = others.filter(|(arn, _)| Key::parse_arn(arn).is_none());
        nobody.extend(others.map(|(arn, state)| {
            PassedOver {
                principal: arn.clone(),
                place: Place::AccessEntry(
                    state
                        .entry
                        .as_ref()
                        .map(|it| it.arn.clone())
                        .unwrap_or_default(),
                ),
                why: "EKS lets only roles and users in by access entries".to_owned(),
            }
        }));
    }

    fn report_aws_auth(&self, principals: &mut Vec<Row>, nobody: &mut Vec<PassedOver>) {
        for entry in self.scene.document.entries() {
            match self.passed_over_entry(entry) {
                Some(passed_over) => nobody.push(passed_over),
                None => principals.push(self.row(Source::AwsAuth(entry))),
            }
        }
        let read = self.mode() != Some(Mode::Api);
        for account in &self.scene.document.section(Section::Accounts).accounts {
            if read {
                principals.push(self.row(Source::Account { account }));
            } else {
                nobody.push(PassedOver {
                    principal: account.clone(),
                    place: Place::AwsAuth {
                        key: Section::Accounts.key(),
                        line: None,
                    },
                    why: "aws-auth is not read in the mode API".to_owned(),
                });
            }
        }
        for section in Section::ALL {
            let problems = self.scene.document.section(section).problems.iter();
            let dropped = problems.filter(|problem| problem.kind == ProblemKind::EntryDropped);
            nobody.extend(dropped.map(|problem| PassedOver {
                principal: problem.offending.clone(),
                place: Place::AwsAuth {
                    key: section.key(),
                    line: Some(problem.line),
                },
                why: format!("the authenticator drops it: {}", problem.message),
            }));
        }
    }

    fn row(&self, source: Source<'_>) -> Row {
        let identity = self.identity(source, None);
        let kind = match source {
            Source::Account { .. } => RowKind::Account,
            Source::AwsAuth(_) | Source::AccessEntry(_) => kind_of(&identity.principal),
        };
        Row {
            kind,
            at_random: self.is_at_random(source),
            identity,
        }
    }

    fn is_at_random(&self, source: Source<'_>) -> bool {
        match source {
            Source::AwsAuth(entry) => {
                matches!(self.index.lookup(&entry.arn), Lookup::AmbiguousUser(_))
            }
            Source::AccessEntry(_) | Source::Account { .. } => false,
        }
    }

    fn report_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for section in Section::ALL {
            if let Some(problem) = &self.scene.document.section(section).broken {
                notes.push(format!(
                    "{section} is dropped whole, and everyone in it is locked out: line {}, column {}: {}",
                    problem.line, problem.column, problem.message
                ));
            }
        }
        if self.scene.data.is_none() && self.mode() != Some(Mode::Api) {
            notes.push(format!("{} does not exist", self.scene.config_map));
        }
        if self.rbac.is_none() {
            notes.push(
                "RBAC was not looked at: of administrators only those of system:masters and of access policies are known".to_owned(),
            );
        }
        notes
    }

    /// How to find the cluster's creator, where it stands nowhere.
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
            note: "whoever created the cluster is an administrator too, and stands nowhere in the mode CONFIG_MAP".to_owned(),
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

fn kind_of(principal: &str) -> RowKind {
    match Key::parse_arn(principal).map(|key| key.kind()) {
        Some(PrincipalKind::Role) => RowKind::Role,
        Some(PrincipalKind::User) => RowKind::User,
        None => RowKind::Other,
    }
}
