//! Reads from a CloudTrail event what has changed. Pure.
//!
//! EventBridge hands on what CloudTrail records of write calls, at best: late, in any order, sometimes twice, sometimes not at all
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>). So an event is a hint to look,
//! never a fact to act on. What CloudTrail takes from a URL is still percent-encoded.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::access_entry::EksCluster;
use crate::principal::{AccountId, Principal, PrincipalKind, SsoRole};
use crate::time::Timestamp;

/// How the type of the envelope ends, whatever precedes it: `AWS API Call`, `AWS Service Event`, `Amazon API Call` in China's
/// documentation.
const TYPE_SUFFIX: &str = " via CloudTrail";

/// A caller's name is cut to so many bytes.
const CALLER_BYTES: usize = 256;

/// A call that someone made, and that changed something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsChange {
    /// What it changed.
    pub what: ChangedObject,
    /// The operation, such as `UpdateAccessEntry`.
    pub operation: String,
    /// The caller's ARN, where `CloudTrail` names one.
    pub caller: Option<String>,
    /// When it was called, to the second.
    pub time: Timestamp,
}

/// What a call changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedObject {
    /// The access entry of this principal.
    Entry {
        /// The principal's ARN.
        principal_arn: String,
    },
    /// The tags of an access entry.
    Tags {
        /// The entry's own ARN: the call names no principal.
        entry_arn: String,
    },
    /// The cluster's configuration, so perhaps its authentication mode.
    ClusterConfig,
    /// A principal was made or deleted in IAM.
    Principal {
        /// Its account.
        account: AccountId,
        /// Role or user.
        kind: PrincipalKind,
        /// Its name, without path.
        name: String,
        /// Whether it is the role of a permission set.
        permission_set: bool,
    },
}

/// Why an event is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IgnoredEvent {
    /// It is about another cluster.
    OtherCluster,
    /// The call failed, and changed nothing.
    FailedCall,
    /// The call changes nothing that matters here.
    Irrelevant,
    /// It is not an event of `CloudTrail` as we know them.
    Unknown,
}

impl IgnoredEvent {
    /// The label in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherCluster => "other_cluster",
            Self::FailedCall => "failed_call",
            Self::Irrelevant => "irrelevant",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for IgnoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a message of the queue: what it says of this cluster, or why it is passed over.
pub fn read(message: &str, cluster: &EksCluster) -> Result<AwsChange, IgnoredEvent> {
    let event: Value = serde_json::from_str(message).map_err(|_| IgnoredEvent::Unknown)?;
    let detail_type = text(&event, "/detail-type").ok_or(IgnoredEvent::Unknown)?;
    if !detail_type.ends_with(TYPE_SUFFIX) {
        return Err(IgnoredEvent::Unknown);
    }
    let source = text(&event, "/detail/eventSource").ok_or(IgnoredEvent::Unknown)?;
    let operation = text(&event, "/detail/eventName").ok_or(IgnoredEvent::Unknown)?;
    if text(&event, "/detail/errorCode").is_some() || text(&event, "/detail/errorMessage").is_some()
    {
        return Err(IgnoredEvent::FailedCall);
    }
    // China's services have names of their own at the end, `eks.amazonaws.com.cn`.
    let what = match source.split('.').next() {
        Some("eks") => of_eks(&event, operation, cluster)?,
        Some("iam") => of_iam(&event, operation)?,
        _ => return Err(IgnoredEvent::Irrelevant),
    };
    let time = text(&event, "/detail/eventTime").or_else(|| text(&event, "/time"));
    let time = time
        .and_then(|time| time.parse().ok())
        .ok_or(IgnoredEvent::Unknown)?;
    Ok(AwsChange {
        what,
        operation: operation.to_owned(),
        caller: text(&event, "/detail/userIdentity/arn").and_then(caller),
        time,
    })
}

fn of_eks(
    event: &Value,
    operation: &str,
    cluster: &EksCluster,
) -> Result<ChangedObject, IgnoredEvent> {
    let parameter = |name: &str| {
        let value = text(event, &format!("/detail/requestParameters/{name}"))?;
        Some(decoded(value))
    };
    if matches!(operation, "TagResource" | "UntagResource") {
        let arn = parameter("resourceArn").ok_or(IgnoredEvent::Unknown)?;
        let ours = cluster
            .arn
            .rsplit_once(":cluster/")
            .map(|(prefix, name)| format!("{prefix}:access-entry/{name}/"));
        return match ours {
            Some(ours) if arn.starts_with(&ours) => Ok(ChangedObject::Tags { entry_arn: arn }),
            _ if arn.contains(":access-entry/") => Err(IgnoredEvent::OtherCluster),
            _ => Err(IgnoredEvent::Irrelevant),
        };
    }
    let entry = matches!(
        operation,
        "CreateAccessEntry"
            | "UpdateAccessEntry"
            | "DeleteAccessEntry"
            | "AssociateAccessPolicy"
            | "DisassociateAccessPolicy"
    );
    let config = matches!(
        operation,
        "UpdateClusterConfig"
            | "CreateCertificateAuthority"
            | "ActivateCertificateAuthority"
            | "DeleteCertificateAuthority"
    );
    if !entry && !config {
        return Err(IgnoredEvent::Irrelevant);
    }
    let name = parameter("name")
        .or_else(|| parameter("clusterName"))
        .ok_or(IgnoredEvent::Unknown)?;
    // Clusters of other regions and accounts may have the same name, and buses can be joined.
    let elsewhere = |path: &str, ours: &str| text(event, path).is_some_and(|theirs| theirs != ours);
    let account = cluster.account();
    if name != cluster.name
        || elsewhere("/detail/awsRegion", cluster.region())
        || account.is_some_and(|account| elsewhere("/detail/recipientAccountId", account.as_str()))
    {
        return Err(IgnoredEvent::OtherCluster);
    }
    if !entry {
        return Ok(ChangedObject::ClusterConfig);
    }
    let principal_arn = parameter("principalArn").ok_or(IgnoredEvent::Unknown)?;
    // What is no principal has no entry, and EKS takes none of another partition. Anybody who may send to the queue writes this: a name
    // that only resembles one of ours would be one that EKS says nothing of.
    let principal = Principal::parse(&principal_arn).map_err(|_| IgnoredEvent::Irrelevant)?;
    if cluster.partition() != Some(principal.partition) {
        return Err(IgnoredEvent::Irrelevant);
    }
    Ok(ChangedObject::Entry { principal_arn })
}

fn of_iam(event: &Value, operation: &str) -> Result<ChangedObject, IgnoredEvent> {
    let (kind, parameter) = match operation {
        "CreateRole" | "DeleteRole" => (PrincipalKind::Role, "roleName"),
        "CreateUser" | "DeleteUser" => (PrincipalKind::User, "userName"),
        _ => return Err(IgnoredEvent::Irrelevant),
    };
    let name = text(event, &format!("/detail/requestParameters/{parameter}"))
        .ok_or(IgnoredEvent::Unknown)?;
    let account = text(event, "/detail/recipientAccountId").or_else(|| text(event, "/account"));
    let account = account
        .and_then(|account| account.parse().ok())
        .ok_or(IgnoredEvent::Unknown)?;
    Ok(ChangedObject::Principal {
        account,
        kind,
        name: name.to_owned(),
        permission_set: kind == PrincipalKind::Role && SsoRole::parse_name(name).is_some(),
    })
}

/// A caller's ARN, fit for a status and an event: anyone who may send to the queue can write anything. Characters that no ARN holds
/// are escaped, and the longest session of the longest role has fewer than [`CALLER_BYTES`].
fn caller(text: &str) -> Option<String> {
    if !text.starts_with("arn:") {
        return None;
    }
    let mut caller = String::new();
    for char in text.chars() {
        let before = caller.len();
        if char.is_ascii_graphic() {
            caller.push(char);
        } else if char == ' ' {
            // Or else a sentence would follow the ARN, which looks like one of ours.
            caller.extend(char.escape_unicode());
        } else {
            caller.extend(char.escape_default());
        }
        if caller.len() > CALLER_BYTES {
            caller.truncate(before);
            caller.push('…');
            break;
        }
    }
    Some(caller)
}

fn text<'a>(event: &'a Value, path: &str) -> Option<&'a str> {
    event.pointer(path)?.as_str()
}

/// An ARN and a cluster's name hold no percent sign, so what has none is left as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
