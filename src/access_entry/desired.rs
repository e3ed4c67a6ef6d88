//! The access entry that a mapping declares, or why EKS would refuse it.

use std::collections::{BTreeMap, BTreeSet};

use super::Scope;
use super::node::node_defaults;
use crate::access_entry::EksCluster;
use crate::api::v1alpha1::{AccessPolicy, AccessScope, EntryType, ScopeType};
use crate::principal::{Partition, Principal, PrincipalKind};

/// The policy that lets its principal do everything, and so what system:masters becomes in an access entry.
pub const ADMIN_POLICY: &str = "AmazonEKSClusterAdminPolicy";
/// The group of a handover's bridge: bound to cluster-admin until the policies of an administrator are in force.
pub const BRIDGE_GROUP: &str = "identity-mapper:bridge";

/// The group that Kubernetes lets do everything, and that access entries refuse
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>).
const MASTERS: &str = "system:masters";
/// What neither usernames nor groups of an access entry may begin with
/// (<https://docs.aws.amazon.com/eks/latest/userguide/set-custom-username.html>; EKS refuses groups by the same list).
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];
/// The placeholders that need a colon somewhere before them (same page).
const SESSION_NAMES: [&str; 2] = ["{{SessionName}}", "{{SessionNameRaw}}"];

/// What a mapping asks for, as an access entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The principal's full ARN, with its path.
    pub principal_arn: String,
    /// The type.
    pub type_: EntryType,
    /// The username; `None`: left to EKS.
    pub username: Option<String>,
    /// The username that EKS gives where none is sent.
    pub default_username: String,
    /// The groups, without system:masters; none for node types, whose groups EKS sets.
    pub groups: BTreeSet<String>,
    /// The access policies, by ARN. Those that system:masters includes are among them.
    pub policies: BTreeMap<String, Scope>,
    /// Whether system:masters is declared, so that the power of an administrator comes from [`ADMIN_POLICY`] alone.
    pub masters: bool,
}

/// What a spec says, parsed.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// The principal, with its path.
    pub principal: &'a Principal,
    /// The type.
    pub type_: EntryType,
    /// The username, where one is declared.
    pub username: Option<&'a str>,
    /// The groups.
    pub groups: &'a BTreeSet<String>,
    /// The access policies.
    pub policies: &'a [AccessPolicy],
}

/// Why what a mapping declares can't be an access entry. The sentence names the field, the value and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inexpressible {
    /// A service-linked role: only its AWS service makes and changes its access entry.
    #[error(
        "spec.principal: {arn} is a service-linked role, for which EKS accepts access entries from its own AWS service only"
    )]
    ServiceLinkedRole {
        /// The role.
        arn: String,
    },
    /// A principal of another partition than the cluster's: IAM is apart in each.
    #[error(
        "spec.principal: {arn} is in partition {}, and cluster {cluster} in partition {partition}, whose IAM does not know it; use a principal of {partition}",
        principal.as_str()
    )]
    OtherPartition {
        /// The principal.
        arn: String,
        /// Its partition.
        principal: Partition,
        /// The cluster's name.
        cluster: String,
        /// The cluster's partition.
        partition: Partition,
    },
    /// A group that begins with a prefix that EKS keeps for itself.
    #[error(
        "spec.groups: {group:?} begins with {prefix:?}, which EKS reserves in access entries; bind its roles to a group of your own, and write that one"
    )]
    ReservedGroup {
        /// The group.
        group: String,
        /// The prefix.
        prefix: &'static str,
    },
    /// A username that begins with a prefix that EKS keeps for itself.
    #[error(
        "spec.username: {username:?} begins with {prefix:?}, which EKS reserves in access entries; use another one, or leave it out: EKS then gives {default:?}"
    )]
    ReservedUsername {
        /// The username.
        username: String,
        /// The prefix.
        prefix: &'static str,
        /// What EKS would give.
        default: String,
    },
    /// A session's name without a colon before it.
    #[error(
        "spec.username: {username:?} has no colon before {placeholder}, which EKS requires in access entries; write it as in {fixed:?}"
    )]
    NoColonBeforeSessionName {
        /// The username.
        username: String,
        /// The placeholder that no colon precedes.
        placeholder: &'static str,
        /// The username with a colon there.
        fixed: String,
    },
    /// A user with a type for nodes.
    #[error(
        "spec.type: {type_:?} is for node roles, and {arn} is a user; a user or another account's principal can only be Standard"
    )]
    NodeIsUser {
        /// The type.
        type_: EntryType,
        /// The user.
        arn: String,
    },
    /// A role of another account with a type for nodes.
    #[error(
        "spec.type: {type_:?} is for roles in the cluster's own account {account}, and {arn} is of another; a user or another account's principal can only be Standard"
    )]
    NodeOfOtherAccount {
        /// The type.
        type_: EntryType,
        /// The role.
        arn: String,
        /// The cluster's account.
        account: String,
    },
    /// A username or groups with a type for nodes.
    #[error(
        "spec.type: {type_:?} gets its username and groups from EKS, and spec.{field} is set; remove spec.{field}, or set spec.type: Standard"
    )]
    IdentityOfNode {
        /// The type.
        type_: EntryType,
        /// `username` or `groups`.
        field: &'static str,
    },
    /// Access policies with a type that takes none.
    #[error(
        "spec.accessPolicies: {policy} can't be given to type {type_:?}: of the node types only EC2 can have access policies; remove spec.accessPolicies"
    )]
    PoliciesOfNode {
        /// The type.
        type_: EntryType,
        /// The first policy.
        policy: String,
    },
    /// A scope of namespaces without any.
    #[error(
        "spec.accessPolicies: {policy} has scope type Namespace and no namespace; name at least one, or set type Cluster"
    )]
    NoNamespaces {
        /// The policy.
        policy: String,
    },
    /// A scope of the whole cluster with namespaces.
    #[error(
        "spec.accessPolicies: {policy} has scope type Cluster, and names namespaces; remove them, or set type Namespace"
    )]
    NamespacesOfCluster {
        /// The policy.
        policy: String,
    },
}

impl Inexpressible {
    /// Whether an entry of aws-auth can give what is declared all the same, so that it stays there while aws-auth is read.
    #[must_use]
    pub const fn in_aws_auth(&self) -> bool {
        match self {
            Self::ServiceLinkedRole { .. }
            | Self::ReservedGroup { .. }
            | Self::ReservedUsername { .. }
            | Self::NoColonBeforeSessionName { .. } => true,
            // What the other types for nodes are in aws-auth, nobody knows.
            Self::NodeOfOtherAccount { type_, .. } => matches!(
                type_,
                EntryType::EC2Linux | EntryType::EC2Windows | EntryType::FargateLinux
            ),
            Self::OtherPartition { .. }
            | Self::NodeIsUser { .. }
            | Self::IdentityOfNode { .. }
            | Self::PoliciesOfNode { .. }
            | Self::NoNamespaces { .. }
            | Self::NamespacesOfCluster { .. } => false,
        }
    }

    /// What can be done in `API` mode, where the sentence itself does not say it.
    #[must_use]
    pub const fn in_api_mode(&self) -> Option<&'static str> {
        match self {
            Self::ServiceLinkedRole { .. } => Some(
                "in API mode only the AWS service that owns the role can grant it access: it creates its own access entry, usually when it is enabled for the cluster",
            ),
            _ => None,
        }
    }
}

/// The ARN of an access policy, which has neither region nor account
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
#[must_use]
pub fn policy_arn(partition: Partition, name: &str) -> String {
    format!("arn:{partition}:eks::aws:cluster-access-policy/{name}")
}

/// What is declared, as an access entry of this cluster. Only what EKS would refuse is refused.
pub fn target(declared: &Declared<'_>, cluster: &EksCluster) -> Result<Target, Inexpressible> {
    let principal = declared.principal;
    if principal.is_service_linked() {
        return Err(Inexpressible::ServiceLinkedRole {
            arn: principal.arn(),
        });
    }
    let partition = cluster.partition().unwrap_or(principal.partition);
    if principal.partition != partition {
        return Err(Inexpressible::OtherPartition {
            arn: principal.arn(),
            principal: principal.partition,
            cluster: cluster.name.clone(),
            partition,
        });
    }
    let policies = policies(declared.policies, partition)?;
    match node_defaults(declared.type_) {
        Some(node) => {
            check_node(declared, cluster)?;
            Ok(Target {
                principal_arn: principal.arn(),
                type_: declared.type_,
                username: None,
                default_username: node.username.to_owned(),
                groups: BTreeSet::new(),
                policies,
                masters: false,
            })
        }
        None => standard(declared, partition, policies),
    }
}

fn standard(
    declared: &Declared<'_>,
    partition: Partition,
    mut policies: BTreeMap<String, Scope>,
) -> Result<Target, Inexpressible> {
    let default_username = declared.principal.default_username();
    // EKS's own default is left to EKS, also where it is spelt out.
    let username = declared
        .username
        .filter(|username| *username != default_username);
    if let Some(username) = username {
        check_username(username, &default_username)?;
    }
    let mut groups = declared.groups.clone();
    let masters = groups.remove(MASTERS);
    if masters {
        policies.insert(policy_arn(partition, ADMIN_POLICY), Scope::Cluster);
    }
    for group in &groups {
        if let Some(prefix) = reserved(group) {
            let group = group.clone();
            return Err(Inexpressible::ReservedGroup { group, prefix });
        }
    }
    Ok(Target {
        principal_arn: declared.principal.arn(),
        type_: EntryType::Standard,
        username: username.map(str::to_owned),
        default_username,
        groups,
        policies,
        masters,
    })
}

fn reserved(name: &str) -> Option<&'static str> {
    RESERVED
        .into_iter()
        .find(|prefix| name.starts_with(*prefix))
}

fn check_username(username: &str, default: &str) -> Result<(), Inexpressible> {
    if let Some(prefix) = reserved(username) {
        return Err(Inexpressible::ReservedUsername {
            username: username.to_owned(),
            prefix,
            default: default.to_owned(),
        });
    }
    let first = SESSION_NAMES
        .into_iter()
        .filter_map(|placeholder| Some((username.find(placeholder)?, placeholder)))
        .min();
    match first {
        Some((place, placeholder)) if !username[..place].contains(':') => {
            let fixed = format!("{}:{}", &username[..place], &username[place..]);
            Err(Inexpressible::NoColonBeforeSessionName {
                username: username.to_owned(),
                placeholder,
                // A colon at the very beginning is one before the placeholder too.
                fixed: match reserved(&fixed) {
                    Some(_) => format!(":{username}"),
                    None => fixed,
                },
            })
        }
        _ => Ok(()),
    }
}

fn check_node(declared: &Declared<'_>, cluster: &EksCluster) -> Result<(), Inexpressible> {
    let Declared {
        principal, type_, ..
    } = *declared;
    if principal.kind == PrincipalKind::User {
        return Err(Inexpressible::NodeIsUser {
            type_,
            arn: principal.arn(),
        });
    }
    if let Some(account) = cluster.account().filter(|own| *own != principal.account) {
        return Err(Inexpressible::NodeOfOtherAccount {
            type_,
            arn: principal.arn(),
            account: account.to_string(),
        });
    }
    let field = match (declared.username, declared.groups.is_empty()) {
        (Some(_), _) => Some("username"),
        (None, false) => Some("groups"),
        (None, true) => None,
    };
    if let Some(field) = field {
        return Err(Inexpressible::IdentityOfNode { type_, field });
    }
    match declared.policies.first() {
        Some(first) if type_ != EntryType::EC2 => Err(Inexpressible::PoliciesOfNode {
            type_,
            policy: first.policy.clone(),
        }),
        _ => Ok(()),
    }
}

fn policies(
    declared: &[AccessPolicy],
    partition: Partition,
) -> Result<BTreeMap<String, Scope>, Inexpressible> {
    let with_arn = |policy: &AccessPolicy| {
        let arn = policy_arn(partition, &policy.policy);
        Ok((arn, scope(&policy.scope, &policy.policy)?))
    };
    declared.iter().map(with_arn).collect()
}

fn scope(declared: &AccessScope, policy: &str) -> Result<Scope, Inexpressible> {
    let policy = || policy.to_owned();
    match (declared.type_, declared.namespaces.is_empty()) {
        (ScopeType::Cluster, true) => Ok(Scope::Cluster),
        (ScopeType::Cluster, false) => Err(Inexpressible::NamespacesOfCluster { policy: policy() }),
        (ScopeType::Namespace, true) => Err(Inexpressible::NoNamespaces { policy: policy() }),
        (ScopeType::Namespace, false) => Ok(Scope::Namespaces(
            declared.namespaces.iter().cloned().collect(),
        )),
    }
}
