//! Reads the cluster, its access entries and the access policies, and sends the calls for one entry.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use aws_sdk_eks::config::http::HttpResponse;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eks::primitives::DateTime;
use aws_sdk_eks::types::{
    AccessEntry as SdkAccessEntry, AccessScope, AccessScopeType, AssociatedAccessPolicy,
    AuthenticationMode,
};

use super::Aws;
use super::authority::fingerprints_of_data;
use super::failure::{Request, failure, unexpected};
use super::managed::users_of_cluster;
use super::pace::Priority;
use crate::access_entry::EksCluster;
use crate::access_entry::{
    AccessEntry, Association, Call, Failure, FailureKind, Kind, Output, Scope,
};
use crate::observed::{Mode, Users};
use crate::time::Timestamp;

/// The most that EKS puts on a page (EKS API reference, `ListAccessEntries`: 1 to 100).
pub(super) const PAGE: i32 = 100;

/// A cluster as EKS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRead {
    /// Name and ARN.
    pub cluster: EksCluster,
    /// The authentication mode.
    pub mode: Mode,
    /// The fingerprints of its certificate authorities, as [`super::fingerprint`] makes them; empty while it is being made.
    pub authorities: BTreeSet<String>,
    /// The URL of its API server; empty while it is being made.
    pub endpoint: String,
    /// The Kubernetes version, such as `1.33`.
    pub version: String,
    /// The platform version, such as `eks.12`.
    pub platform_version: String,
    /// Its status, such as `ACTIVE` or `UPDATING`.
    pub status: String,
    /// The roles that it uses itself.
    pub users: Users,
}

impl Aws {
    /// `DescribeCluster`. A cluster without `accessConfig` is older than access entries, so its mode is `CONFIG_MAP`. A mode that
    /// this version does not know is a failure.
    pub async fn describe_cluster(&self, name: &str) -> Result<ClusterRead, Failure> {
        // The account is not known yet; AWS's message names the ARN.
        let asked = asked("DescribeCluster", None);
        let request = self.0.eks.describe_cluster().name(name);
        let answer = self
            .eks(&asked, Priority::Urgent, || request.clone().send())
            .await?;
        let Some(cluster) = answer.cluster else {
            return Err(unexpected(&asked, "names no cluster"));
        };
        let arn = cluster.arn().unwrap_or_default();
        let parsed = EksCluster::parse(arn)
            .map_err(|error| unexpected(&asked, &format!("names {error}")))?;
        let access = cluster.access_config();
        let mode = match access.and_then(|access| access.authentication_mode()) {
            None => Mode::ConfigMap,
            Some(mode) => read_mode(mode, name)?,
        };
        let data = cluster.certificate_authority().and_then(|it| it.data());
        let data = data.filter(|data| !data.is_empty());
        let authorities = data
            .map_or(Ok(BTreeSet::new()), fingerprints_of_data)
            .map_err(|error| {
                unexpected(
                    &asked,
                    &format!("has a certificate authority that can't be read: {error}"),
                )
            })?;
        Ok(ClusterRead {
            users: users_of_cluster(&cluster),
            cluster: parsed,
            mode,
            authorities,
            endpoint: cluster.endpoint.unwrap_or_default(),
            version: cluster.version.unwrap_or_default(),
            platform_version: cluster.platform_version.unwrap_or_default(),
            status: cluster
                .status
                .map(|status| status.as_str().to_owned())
                .unwrap_or_default(),
        })
    }

    /// `ListAccessEntries`: the principals of all access entries, or of those that a policy of this ARN is associated with. All
    /// pages, or an error.
    pub async fn list_entries(
        &self,
        cluster: &EksCluster,
        associated_policy: Option<&str>,
    ) -> Result<BTreeSet<String>, Failure> {
        let asked = asked("ListAccessEntries", Some(cluster.arn.clone()));
        let request = self
            .0
            .eks
            .list_access_entries()
            .cluster_name(&cluster.name)
            .set_associated_policy_arn(associated_policy.map(str::to_owned))
            .max_results(PAGE);
        let mut all = BTreeSet::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            all.extend(page.access_entries.unwrap_or_default());
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// `ListIdentityProviderConfigs`: the names of the OIDC identity providers whose users have access beside IAM. All
    /// pages, or an error.
    pub async fn list_identity_providers(
        &self,
        cluster: &EksCluster,
    ) -> Result<Vec<String>, Failure> {
        let asked = asked("ListIdentityProviderConfigs", Some(cluster.arn.clone()));
        let request = self.0.eks.list_identity_provider_configs();
        let request = request.cluster_name(&cluster.name).max_results(PAGE);
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            let configs = page.identity_provider_configs.unwrap_or_default();
            all.extend(configs.into_iter().map(|config| config.name));
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// `ListAccessPolicies`: the ARNs of all access policies that EKS offers. All pages, or an error.
    pub async fn list_policies(&self) -> Result<BTreeSet<String>, Failure> {
        let asked = asked("ListAccessPolicies", Some("*".to_owned()));
        let request = self.0.eks.list_access_policies().max_results(PAGE);
        let mut all = BTreeSet::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = self
                .eks(&asked, Priority::Background, || page.clone().send())
                .await?;
            let policies = page.access_policies.unwrap_or_default();
            all.extend(policies.into_iter().filter_map(|policy| policy.arn));
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Makes a call for one entry.
    ///
    /// What is removed already counts as done: `DeleteAccessEntry` of an entry that does not exist, and
    /// `DisassociateAccessPolicy` of a policy that is not associated. A disassociation for which the whole entry is missing is
    /// [`FailureKind::EntryMissing`], because the caller expects the entry to exist.
    pub async fn call(
        &self,
        cluster: &EksCluster,
        call: &Call,
        priority: Priority,
    ) -> Result<Output, Failure> {
        let eks = &self.0.eks;
        let asked = Request {
            service: "eks",
            operation: call.operation(),
            resource: Some(match call {
                Call::Create { .. } => cluster.arn.clone(),
                _ => entries_arn(cluster),
            }),
        };
        match call {
            Call::Describe { principal_arn } => {
                let entry = self.describe(cluster, principal_arn, priority).await?;
                Ok(Output::Described(Box::new(entry)))
            }
            Call::Create {
                principal_arn,
                kind,
                username,
                groups,
                tags,
            } => {
                let request = eks
                    .create_access_entry()
                    .cluster_name(&cluster.name)
                    .principal_arn(principal_arn)
                    .r#type(kind.as_str())
                    .set_username(username.clone())
                    // For a node type EKS refuses even an empty list, and it takes no empty tags.
                    .set_kubernetes_groups(non_empty(groups.iter().cloned()))
                    .set_tags((!tags.is_empty()).then(|| tags.clone().into_iter().collect()));
                let answer = self
                    .eks(&asked, priority, || request.clone().send())
                    .await?;
                Ok(Output::Entry(Box::new(entry(&asked, answer.access_entry)?)))
            }
            Call::Update {
                principal_arn,
                username,
                groups,
            } => {
                let request = eks
                    .update_access_entry()
                    .cluster_name(&cluster.name)
                    .principal_arn(principal_arn)
                    .set_username(username.clone())
                    .set_kubernetes_groups(Some(groups.iter().cloned().collect()));
                let answer = self
                    .eks(&asked, priority, || request.clone().send())
                    .await?;
                Ok(Output::Entry(Box::new(entry(&asked, answer.access_entry)?)))
            }
            Call::Delete { principal_arn } => {
                let request = eks
                    .delete_access_entry()
                    .cluster_name(&cluster.name)
                    .principal_arn(principal_arn);
                let answer = self.eks(&asked, priority, || request.clone().send()).await;
                done_or(answer.map(drop), &FailureKind::EntryMissing)
            }
            Call::Associate {
                principal_arn,
                policy_arn,
                scope,
            } => {
                let request = eks
                    .associate_access_policy()
                    .cluster_name(&cluster.name)
                    .principal_arn(principal_arn)
                    .policy_arn(policy_arn)
                    .access_scope(access_scope(scope));
                let answer = self
                    .eks(&asked, priority, || request.clone().send())
                    .await?;
                let associated = answer.associated_access_policy;
                Ok(Output::Associated(association(&asked, associated)?))
            }
            Call::Disassociate {
                principal_arn,
                policy_arn,
            } => {
                let request = eks
                    .disassociate_access_policy()
                    .cluster_name(&cluster.name)
                    .principal_arn(principal_arn)
                    .policy_arn(policy_arn);
                let answer = self.eks(&asked, priority, || request.clone().send()).await;
                done_or(answer.map(drop), &FailureKind::PolicyMissing)
            }
            Call::Tag {
                entry_arn, tags, ..
            } => self.tag(&asked, entry_arn, tags, priority).await,
            Call::Untag {
                entry_arn, keys, ..
            } => self.untag(&asked, entry_arn, keys, priority).await,
        }
    }

    async fn tag(
        &self,
        asked: &Request,
        entry_arn: &str,
        tags: &BTreeMap<String, String>,
        priority: Priority,
    ) -> Result<Output, Failure> {
        let tags = tags.clone().into_iter().collect();
        let request = self.0.eks.tag_resource().resource_arn(entry_arn);
        let request = request.set_tags(Some(tags));
        self.eks(asked, priority, || request.clone().send()).await?;
        Ok(Output::Done)
    }

    async fn untag(
        &self,
        asked: &Request,
        entry_arn: &str,
        keys: &BTreeSet<String>,
        priority: Priority,
    ) -> Result<Output, Failure> {
        let keys = keys.iter().cloned().collect();
        let request = self.0.eks.untag_resource().resource_arn(entry_arn);
        let request = request.set_tag_keys(Some(keys));
        self.eks(asked, priority, || request.clone().send()).await?;
        Ok(Output::Done)
    }

    /// `DescribeAccessEntry`, whose answer does not hold the policies.
    pub(super) async fn describe_alone(
        &self,
        cluster: &EksCluster,
        principal_arn: &str,
        priority: Priority,
    ) -> Result<AccessEntry, Failure> {
        let asked = asked("DescribeAccessEntry", Some(entries_arn(cluster)));
        let request = self
            .0
            .eks
            .describe_access_entry()
            .cluster_name(&cluster.name)
            .principal_arn(principal_arn);
        let answer = self
            .eks(&asked, priority, || request.clone().send())
            .await?;
        entry(&asked, answer.access_entry)
    }

    /// `DescribeAccessEntry` and all pages of `ListAssociatedAccessPolicies`.
    async fn describe(
        &self,
        cluster: &EksCluster,
        principal_arn: &str,
        priority: Priority,
    ) -> Result<AccessEntry, Failure> {
        let mut entry = self
            .describe_alone(cluster, principal_arn, priority)
            .await?;

        let asked = asked("ListAssociatedAccessPolicies", Some(entries_arn(cluster)));
        let request = self
            .0
            .eks
            .list_associated_access_policies()
            .cluster_name(&cluster.name)
            .principal_arn(principal_arn)
            .max_results(PAGE);
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token.clone());
            let page = match self.eks(&asked, priority, || page.clone().send()).await {
                Err(failure) if takes_no_policies(&failure) => return Ok(entry),
                page => page?,
            };
            for associated in page.associated_access_policies.unwrap_or_default() {
                let Some(policy) = associated.policy_arn.clone() else {
                    return Err(unexpected(&asked, "has an association without a policy"));
                };
                entry
                    .policies
                    .insert(policy, association(&asked, Some(associated))?);
            }
            token = next(&asked, token.as_ref(), page.next_token)?;
            if token.is_none() {
                return Ok(entry);
            }
        }
    }

    pub(super) async fn eks<T, E, F>(
        &self,
        asked: &Request,
        priority: Priority,
        send: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let read = ["Describe", "List"]
            .iter()
            .any(|verb| asked.operation.starts_with(verb));
        let call = || {
            let answer = send();
            let answer = Box::pin(async { answer.await.map_err(|error| failure(&error, asked)) });
            async {
                if read {
                    answer.await
                } else {
                    self.change(answer).await
                }
            }
        };
        let within = self.0.changes_within.filter(|_| !read);
        self.0
            .limiter
            .run(asked.operation, read, priority, within, call)
            .await
    }
}

pub(super) fn asked(operation: &'static str, resource: Option<String>) -> Request {
    Request {
        service: "eks",
        operation,
        resource,
    }
}

/// All access entries of a cluster (service authorization reference of Amazon EKS: `access-entry`).
fn entries_arn(cluster: &EksCluster) -> String {
    resources_arn(cluster, "access-entry")
}

/// All resources of a kind of a cluster (service authorization reference of Amazon EKS).
pub(super) fn resources_arn(cluster: &EksCluster, kind: &str) -> String {
    let prefix = cluster
        .arn
        .rsplit_once(":cluster/")
        .map_or("*", |(prefix, _)| prefix);
    format!("{prefix}:{kind}/{}/*", cluster.name)
}

/// The token of the next page. One that leads back to the same page would never end.
pub(super) fn next(
    asked: &Request,
    token: Option<&String>,
    next: Option<String>,
) -> Result<Option<String>, Failure> {
    match next.filter(|next| !next.is_empty()) {
        Some(next) if token == Some(&next) => {
            Err(unexpected(asked, "leads from a page to the same page"))
        }
        next => Ok(next),
    }
}

/// EKS says so of some types of entry to `AssociateAccessPolicy`
/// (<https://github.com/aws-controllers-k8s/community/issues/2144>). Request for their policies it answers with none, as far as is
/// known; were it to refuse that as well, there would be none all the same.
fn takes_no_policies(failure: &Failure) -> bool {
    failure.kind == FailureKind::Refused
        && failure
            .message
            .contains("can only be performed on Access Entries with a type of")
}

/// Done, also where what was to be gone is missing.
fn done_or(result: Result<(), Failure>, gone: &FailureKind) -> Result<Output, Failure> {
    match result {
        Err(failure) if failure.kind != *gone => Err(failure),
        _ => Ok(Output::Done),
    }
}

fn non_empty(texts: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then_some(texts)
}

fn read_mode(mode: &AuthenticationMode, cluster: &str) -> Result<Mode, Failure> {
    mode.as_str().parse().map_err(|_| Failure {
        kind: FailureKind::Unreadable,
        message: format!(
            "EKS gives authentication mode {:?} for cluster {cluster:?}, which this version does not know: expected CONFIG_MAP, \
             API_AND_CONFIG_MAP or API; install a newer version",
            mode.as_str()
        ),
    })
}

fn entry(asked: &Request, entry: Option<SdkAccessEntry>) -> Result<AccessEntry, Failure> {
    let lacks = |what: &str| unexpected(asked, &format!("lacks {what}"));
    let entry = entry.ok_or_else(|| lacks("the access entry"))?;
    Ok(AccessEntry {
        principal_arn: entry.principal_arn.ok_or_else(|| lacks("principalArn"))?,
        arn: entry
            .access_entry_arn
            .ok_or_else(|| lacks("accessEntryArn"))?,
        kind: Kind::parse(&entry.r#type.ok_or_else(|| lacks("type"))?),
        username: entry.username.ok_or_else(|| lacks("username"))?,
        groups: entry
            .kubernetes_groups
            .unwrap_or_default()
            .into_iter()
            .collect(),
        tags: entry.tags.unwrap_or_default().into_iter().collect(),
        created: time(entry.created_at).ok_or_else(|| lacks("createdAt"))?,
        modified: time(entry.modified_at).ok_or_else(|| lacks("modifiedAt"))?,
        policies: BTreeMap::new(),
    })
}

fn association(
    asked: &Request,
    associated: Option<AssociatedAccessPolicy>,
) -> Result<Association, Failure> {
    let lacks = |what: &str| unexpected(asked, &format!("lacks {what}"));
    let associated = associated.ok_or_else(|| lacks("the association"))?;
    let scope = associated
        .access_scope()
        .ok_or_else(|| lacks("accessScope"))?;
    let scope = match scope.r#type() {
        Some(AccessScopeType::Cluster) => Scope::Cluster,
        Some(AccessScopeType::Namespace) => {
            Scope::Namespaces(scope.namespaces().iter().cloned().collect())
        }
        Some(other) => {
            let unknown = format!(
                "has the scope {:?}, which this version does not know",
                other.as_str()
            );
            return Err(unexpected(asked, &unknown));
        }
        None => return Err(lacks("the type of accessScope")),
    };
    Ok(Association {
        scope,
        associated: time(associated.associated_at).ok_or_else(|| lacks("associatedAt"))?,
        modified: time(associated.modified_at).ok_or_else(|| lacks("modifiedAt"))?,
    })
}

fn access_scope(scope: &Scope) -> AccessScope {
    let builder = AccessScope::builder();
    match scope {
        Scope::Cluster => builder.r#type(AccessScopeType::Cluster),
        Scope::Namespaces(namespaces) => builder
            .r#type(AccessScopeType::Namespace)
            .set_namespaces(Some(namespaces.iter().cloned().collect())),
    }
    .build()
}

pub(super) fn time(time: Option<DateTime>) -> Option<Timestamp> {
    let time = time?;
    let nanoseconds = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanoseconds).ok()
}

#[cfg(test)]
mod tests;
