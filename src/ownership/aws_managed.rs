//! Which access entries AWS created for its own features, and which of their policies belong to AWS.
//!
//! EKS makes an entry for the role of each managed node group, Fargate profile and capability, and for the cluster's own roles with
//! Auto Mode. Nothing on such an entry says so for certain, so EKS is asked which roles these parts use; what can't be asked is
//! judged by the entry's type and policies, and then an entry is rather AWS's: to delete one that a part of EKS needs breaks that
//! part, and to leave one that nobody needs breaks nothing. Who created the cluster can't be recognised: that entry is unmanaged.

use std::collections::BTreeSet;
use std::fmt;

use crate::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::access_entry::{
    AWS_POLICIES_TAG, AccessEntry, CREATED, CREATED_TAG, Failure, INSTALLATION_TAG, Kind,
    policy_name,
};
use crate::api::v1alpha1::EntryType;
use crate::observed::{Feature, ManagedPrincipals, Reliance};
use crate::principal::{Key, Principal};

/// Tags that only AWS can set begin so.
const AWS_TAGS: &str = "aws:";
/// What `CloudFormation` tags so belongs to the author of the template, and keeps the tags when it leaves the stack
/// (`CloudFormation` user guide, *Resource tags*).
const STACK_TAGS: &str = "aws:cloudformation:";

/// So many policies the tag's 256 characters have room for; EKS takes 20 an entry (`AWS::EKS::AccessEntry`, `AccessPolicies`).
const MOST_TAGGED: usize = 28;

/// Policies that EKS associates with the roles of capabilities (EKS user guide, *Capability IAM role*).
const OF_CAPABILITIES: [&str; 4] = [
    "AmazonEKSACKPolicy",
    "AmazonEKSArgoCDClusterPolicy",
    "AmazonEKSArgoCDPolicy",
    "AmazonEKSKROPolicy",
];

/// Policies that EKS associates with the cluster's role and the node role of Auto Mode (EKS user guide, *Access policy permissions*).
const OF_AUTO_MODE: [&str; 9] = [
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSLoadBalancingClusterPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingClusterPolicy",
    "AmazonEKSNetworkingPolicy",
];

/// Who keeps an access entry beside us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper<'a> {
    /// AWS made it, or must be taken to have.
    Aws(Cause),
    /// By all that is known it is an ordinary one.
    Nobody,
    /// EKS is being asked, or is asked again after this failure.
    Unknown(Option<&'a Failure>),
}

/// Why an entry counts as AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A tag of this key, which only AWS can set.
    Tag(String),
    /// It is of a service-linked role.
    ServiceLinkedRole,
    /// Something in EKS uses the principal, in words.
    UsedBy(String),
    /// It was AWS's when we adopted it.
    Adopted,
    /// EKS can't be asked, and makes entries of this type.
    Type(String),
    /// EKS can't be asked, and associates this policy.
    Policy(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(key) => write!(f, "AWS manages it (tag {key})"),
            Self::ServiceLinkedRole => {
                f.write_str("AWS manages it (its principal is a service-linked role)")
            }
            Self::UsedBy(user) => write!(f, "AWS manages it for {user}"),
            Self::Adopted => {
                write!(
                    f,
                    "AWS managed it when it was adopted (tag {AWS_POLICIES_TAG})"
                )
            }
            Self::Type(type_) => write!(
                f,
                "AWS creates entries of type {type_} and may have created this one; the roles that EKS uses can't be read here"
            ),
            Self::Policy(policy) => write!(
                f,
                "AWS associates {policy} itself and may have created this entry; the roles that EKS uses can't be read here"
            ),
        }
    }
}

impl Cause {
    /// Whether it is a guess, for want of an answer.
    #[must_use]
    pub const fn is_guess(&self) -> bool {
        matches!(self, Self::Type(_) | Self::Policy(_))
    }
}

impl Keeper<'_> {
    /// Whether AWS keeps it.
    #[must_use]
    pub const fn is_aws(&self) -> bool {
        matches!(self, Self::Aws(_))
    }
}

/// Who keeps an entry beside us, at this time.
#[must_use]
pub fn keeper<'a>(
    entry: &AccessEntry,
    managed: &'a ManagedPrincipals,
    now: Timestamp,
) -> Keeper<'a> {
    if let Some(cause) = by_itself(entry) {
        return Keeper::Aws(cause);
    }
    let key = Key::parse_arn(&entry.principal_arn);
    if let Some(user) = key.and_then(|key| managed.user_of(&key)) {
        return Keeper::Aws(Cause::UsedBy(user.to_owned()));
    }
    if adopted(entry) {
        return Keeper::Aws(Cause::Adopted);
    }
    if !rests_on_answers(entry) {
        return Keeper::Nobody;
    }
    let mut reliances = Feature::ALL
        .map(|feature| managed.reliance(feature, now))
        .into_iter();
    if let Some(Reliance::Waits(failure)) =
        reliances.find(|reliance| matches!(reliance, Reliance::Waits(_)))
    {
        return Keeper::Unknown(failure);
    }
    if is_created(entry) {
        return Keeper::Nobody;
    }
    let unreadable = |feature: &Feature| managed.reliance(*feature, now) == Reliance::Unreadable;
    if features_of_type(&entry.kind).iter().any(unreadable) {
        return Keeper::Aws(Cause::Type(entry.kind.to_string()));
    }
    let mut policies = entry.policies.keys().map(|arn| policy_name(arn));
    let suspect = policies.find(|name| feature_of_policy(name).as_ref().is_some_and(unreadable));
    suspect.map_or(Keeper::Nobody, |name| {
        Keeper::Aws(Cause::Policy(name.to_owned()))
    })
}

/// Whether it takes EKS's answers to tell who keeps an entry: not where the entry itself says so, nor where we made it and it has
/// nothing that a part of EKS would have added since.
#[must_use]
pub fn rests_on_answers(entry: &AccessEntry) -> bool {
    let associates = || entry.policies.keys().any(|arn| is_of_eks(arn));
    by_itself(entry).is_none() && !adopted(entry) && (!is_created(entry) || associates())
}

/// What the entry itself says, so that it needs no answer of EKS.
fn by_itself(entry: &AccessEntry) -> Option<Cause> {
    let linked = Principal::parse(&entry.principal_arn).is_ok_and(|it| it.is_service_linked());
    if linked {
        return Some(Cause::ServiceLinkedRole);
    }
    let mut keys = entry.tags.keys();
    let tag = keys.find(|key| key.starts_with(AWS_TAGS) && !key.starts_with(STACK_TAGS));
    tag.map(|key| Cause::Tag(key.clone()))
}

/// Whether it was AWS's when we adopted it. One that we made was not, whatever somebody else's tag says.
fn adopted(entry: &AccessEntry) -> bool {
    let tags = &entry.tags;
    tags.contains_key(INSTALLATION_TAG) && tags.contains_key(AWS_POLICIES_TAG) && !is_created(entry)
}

/// Whether an entry is tagged as made by us.
#[must_use]
pub fn is_created(entry: &AccessEntry) -> bool {
    let tags = &entry.tags;
    tags.contains_key(INSTALLATION_TAG)
        && tags.get(CREATED_TAG).map(String::as_str) == Some(CREATED)
}

/// Which parts of EKS make entries of a type. Which make those of the types that EKS documents for nodes of people's own, nobody says.
fn features_of_type(kind: &Kind) -> &'static [Feature] {
    match kind {
        Kind::Known(EntryType::Standard) => &[],
        Kind::Known(EntryType::EC2Linux | EntryType::EC2Windows) => &[Feature::NodeGroups],
        Kind::Known(EntryType::FargateLinux) => &[Feature::FargateProfiles],
        Kind::Known(EntryType::EC2) => &[Feature::Cluster],
        Kind::Known(EntryType::HybridLinux | EntryType::HyperPodLinux) | Kind::Unknown(_) => {
            &Feature::ALL
        }
    }
}

fn feature_of_policy(name: &str) -> Option<Feature> {
    if OF_CAPABILITIES.contains(&name) {
        Some(Feature::Capabilities)
    } else if OF_AUTO_MODE.contains(&name) {
        Some(Feature::Cluster)
    } else {
        None
    }
}

/// Whether a policy of this ARN is one that EKS associates by itself.
#[must_use]
pub fn is_of_eks(policy_arn: &str) -> bool {
    feature_of_policy(policy_name(policy_arn)).is_some()
}

/// What is known of an entry beyond what exists.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// AWS keeps it.
    pub of_aws: bool,
    /// It is ours already; otherwise it is about to be adopted.
    pub ours: bool,
    /// The policies, by ARN, that we associated by what a status remembers; `None`: no status remembers the entry.
    pub written: Option<&'a BTreeSet<String>>,
}

/// The policies on an entry, by ARN, that AWS associated: those that our tag lists, and on an entry that AWS keeps all that no call
/// of ours associated. What nothing remembers is AWS's where EKS associates such policies, or where the entry was never ours.
/// Others than those who can change entries may write tags: that tag says nothing of an entry that we made. On others a status can't
/// contradict it, since it also remembers what is declared and AWS associated.
#[must_use]
pub fn policies_of_aws(entry: &AccessEntry, known: Known<'_>) -> BTreeSet<String> {
    let tagged: Option<BTreeSet<&str>> = entry
        .tags
        .get(AWS_POLICIES_TAG)
        .filter(|_| !is_created(entry))
        .map(|value| value.split_whitespace().collect());
    let wrote = |policy: &String| known.written.map(|written| written.contains(policy));
    let is_aws = |policy: &&String| {
        let listed = || is_of_eks(policy);
        match &tagged {
            Some(tagged) if tagged.contains(digits(policy).as_str()) => true,
            _ if !known.of_aws => false,
            Some(_) => !wrote(policy).unwrap_or_else(|| !listed()),
            None => listed() || !wrote(policy).unwrap_or(known.ours),
        }
    };
    entry.policies.keys().filter(is_aws).cloned().collect()
}

/// The value of [`AWS_POLICIES_TAG`]: 8 hex digits of each policy's ARN, sorted.
#[must_use]
pub fn tag_of(policies: &BTreeSet<String>) -> String {
    let digits: BTreeSet<String> = policies.iter().map(|policy| digits(policy)).collect();
    let digits: Vec<String> = digits.into_iter().take(MOST_TAGGED).collect();
    if digits.is_empty() {
        "none".to_owned()
    } else {
        digits.join(" ")
    }
}

fn digits(policy_arn: &str) -> String {
    format!("{:.8x}", Sha256::digest(policy_arn))
}

#[cfg(test)]
#[path = "aws_managed_tests.rs"]
mod tests;
