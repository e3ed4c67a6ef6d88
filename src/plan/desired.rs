//! The mappings as the planner sees them: parsed once, refused with a sentence where they can't be put into effect.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::mark::MeaningHash;
use crate::api::IdentityMapping;
use crate::api::condition::Reason;
use crate::api::v1alpha1::{
    Adoption, BackendChoice, CONFIRM_ANNOTATION, Confirmation, Deletion, EntryType, FINALIZER,
    IdentityMappingSpec, IdentityMappingStatus, PermissionSet,
};
use crate::aws_auth::{Meaning, NewEntry, Section, fold_arn};
use crate::principal::{Group, Key, Principal, PrincipalKind, Username};

/// All mappings.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// In any order: the planner sorts by age.
    pub mappings: Vec<Mapping>,
}

/// One mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The object's name.
    pub name: String,
    /// The object's uid.
    pub uid: String,
    /// The object's generation.
    pub generation: i64,
    /// When it was created; the older of two mappings of one principal holds it.
    pub created: Option<Timestamp>,
    /// Whether it carries a deletionTimestamp.
    pub deleting: bool,
    /// Whether it carries our finalizer.
    pub finalizer: bool,
    /// What a person has confirmed for it.
    pub confirmations: BTreeSet<Confirmation>,
    /// The principal that the spec names, also where the rest of it is refused.
    pub principal: Option<Principal>,
    /// What to put into effect, or why that can't be done.
    pub spec: Result<Spec, Refusal>,
    /// When the entry is to be removed.
    pub valid_until: Option<Timestamp>,
    /// No creation, change or repair.
    pub suspend: bool,
    /// What deletion does to the entry.
    pub deletion: Deletion,
    /// The groups as declared, for `GroupsBound`.
    pub groups: BTreeSet<String>,
    /// The status as it stands.
    pub status: IdentityMappingStatus,
}

/// A spec that can be put into effect in aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The entry in the form in which we write it.
    pub entry: NewEntry,
    /// What the authenticator will make of it.
    pub meaning: Meaning,
    /// What the mark says of that meaning: taken once for each change of the object, not in each pass.
    pub(super) meaning_hash: MeaningHash,
    /// What to do with a foreign entry of the same principal.
    pub adoption: Adoption,
    /// Whether the type is a node type.
    pub node_type: bool,
    /// Whether access policies are declared, which aws-auth can't express.
    pub access_policies: bool,
}

/// Why a spec can't be put into effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason of the condition.
    pub reason: Reason,
    /// Its message: what is wrong and how to mend it.
    pub message: String,
}

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidSpec,
            message: message.into(),
        }
    }
}

impl Mapping {
    /// Reads an object. Never fails: what is wrong with it becomes its [`Refusal`].
    #[must_use]
    pub fn from_object(object: &IdentityMapping) -> Self {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let (principal, parsed) = match resolve(spec, &status) {
            Ok(principal) => {
                let parsed = parse(spec, &principal);
                (Some(principal), parsed)
            }
            Err((principal, refusal)) => (principal, Err(refusal)),
        };
        let (confirmations, unknown) = confirmations(&object.metadata);
        let parsed = if unknown.is_empty() {
            parsed
        } else {
            parsed.and_then(|_| Err(Refusal::invalid(unknown_confirmations(&unknown))))
        };
        Self {
            generation: object.metadata.generation.unwrap_or_default(),
            principal,
            spec: parsed,
            valid_until: spec.valid_until.as_ref().map(|time| time.0),
            suspend: spec.suspend,
            deletion: spec.deletion,
            groups: spec.groups.iter().cloned().collect(),
            status,
            confirmations,
            ..Self::bare(&object.metadata)
        }
    }

    /// An object that could not be decoded, e.g. one of a newer version of the API. It keeps its entry as it is.
    #[must_use]
    pub fn undecodable(metadata: &ObjectMeta, error: &str) -> Self {
        let message = format!(
            "the object can't be read ({error}); upgrade identity-mapper or write the object anew"
        );
        Self {
            spec: Err(Refusal::invalid(message)),
            ..Self::bare(metadata)
        }
    }

    fn bare(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizer: metadata
                .finalizers
                .iter()
                .flatten()
                .any(|finalizer| finalizer == FINALIZER),
            confirmations: confirmations(metadata).0,
            principal: None,
            spec: Err(Refusal::invalid("the object has not been read")),
            valid_until: None,
            suspend: false,
            deletion: Deletion::Revoke,
            groups: BTreeSet::new(),
            status: IdentityMappingStatus::default(),
        }
    }

    /// The key that the spec names.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.principal.as_ref().map(Principal::key)
    }

    /// Whether `validUntil` has passed.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|until| until <= now)
    }

    /// What the status says that we wrote into this `ConfigMap` (`namespace/name`), by key. It only ever recognises an entry
    /// that stands exactly so; it never grants.
    #[must_use]
    pub fn written(&self, config_map: &str) -> BTreeMap<Key, Meaning> {
        let here = self
            .status
            .written
            .iter()
            .filter(|written| written.config_map == config_map);
        here.filter_map(|written| {
            let meaning = Meaning {
                arn: fold_arn(&written.arn),
                username: written.username.clone(),
                groups: written.groups.iter().cloned().collect(),
            };
            Some((Key::parse_arn(&written.arn)?, meaning))
        })
        .collect()
    }

    /// Whether this confirmation was given.
    #[must_use]
    pub fn confirms(&self, confirmation: Confirmation) -> bool {
        self.confirmations.contains(&confirmation)
    }
}

fn confirmations(metadata: &ObjectMeta) -> (BTreeSet<Confirmation>, Vec<String>) {
    let annotation = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(CONFIRM_ANNOTATION));
    annotation
        .map(|words| Confirmation::parse_list(words))
        .unwrap_or_default()
}

fn unknown_confirmations(unknown: &[String]) -> String {
    format!(
        "annotation {CONFIRM_ANNOTATION}: unknown word {}; write one or more of node-entry, last-administrator, mass-removal, \
         recreated-principal, separated by commas",
        unknown.join(", ")
    )
}

/// The principal that the spec names, or, where it is refused, the one that it can still be known by.
fn resolve(
    spec: &IdentityMappingSpec,
    status: &IdentityMappingStatus,
) -> Result<Principal, (Option<Principal>, Refusal)> {
    match (&spec.principal.arn, &spec.principal.permission_set) {
        (Some(arn), None) => Principal::parse(arn).map_err(|error| {
            (
                None,
                Refusal::invalid(format!("spec.principal.arn: {error}")),
            )
        }),
        (None, Some(set)) => {
            let message = format!(
                "permission set {} in account {} needs IAM to find its role, and this operator runs without AWS; write the role's \
                 ARN in spec.principal.arn (aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/)",
                set.name, set.account_id
            );
            Err((
                remembered(set, status),
                Refusal {
                    reason: Reason::PermissionSetUnresolved,
                    message,
                },
            ))
        }
        (None, None) | (Some(_), Some(_)) => Err((
            None,
            Refusal::invalid("spec.principal: set exactly one of arn and permissionSet"),
        )),
    }
}

/// The role that the status remembers for a permission set, if it can be that set's at all: a status grants nothing.
fn remembered(set: &PermissionSet, status: &IdentityMappingStatus) -> Option<Principal> {
    let principal = Principal::parse(status.principal_arn.as_deref()?).ok()?;
    let sso = principal.sso()?;
    (sso.permission_set == set.name && principal.account.as_str() == set.account_id)
        .then_some(principal)
}

fn parse(spec: &IdentityMappingSpec, principal: &Principal) -> Result<Spec, Refusal> {
    match spec.backend {
        BackendChoice::Auto | BackendChoice::ConfigMap => {}
        BackendChoice::AccessEntry => {
            return Err(Refusal {
                reason: Reason::BackendUnavailable,
                message: "backend AccessEntry needs the authentication mode API_AND_CONFIG_MAP or API, and this cluster is in \
                          CONFIG_MAP; write backend: Auto, which follows the mode"
                    .to_owned(),
            });
        }
    }
    let (username, groups) = match node_identity(spec.type_)? {
        Some((username, groups)) => {
            if spec.username.is_some() || !spec.groups.is_empty() {
                return Err(Refusal::invalid(format!(
                    "type {:?}: EKS sets username and groups of nodes; remove spec.username and spec.groups",
                    spec.type_
                )));
            }
            if principal.kind != PrincipalKind::Role {
                return Err(Refusal::invalid(format!(
                    "type {:?}: nodes are IAM roles; {} is a user",
                    spec.type_,
                    principal.arn()
                )));
            }
            (
                username.to_owned(),
                groups.iter().map(|group| (*group).to_owned()).collect(),
            )
        }
        None => identity(spec, principal)?,
    };
    let entry = NewEntry {
        section: match principal.kind {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        },
        arn: principal.aws_auth_arn(),
        username: username.clone(),
        groups: groups.iter().cloned().collect(),
    };
    let meaning = Meaning {
        arn: fold_arn(&entry.arn),
        username,
        groups,
    };
    Ok(Spec {
        meaning_hash: MeaningHash::of(&meaning),
        meaning,
        entry,
        adoption: spec.adoption,
        node_type: spec.type_ != EntryType::Standard,
        access_policies: !spec.access_policies.is_empty(),
    })
}

fn identity(
    spec: &IdentityMappingSpec,
    principal: &Principal,
) -> Result<(String, BTreeSet<String>), Refusal> {
    let username = match &spec.username {
        Some(username) => Username::parse(username)
            .map_err(|error| Refusal::invalid(format!("spec.username: {error}")))?
            .as_str()
            .to_owned(),
        None => principal.default_username(),
    };
    let groups = spec.groups.iter().map(|group| {
        let group = Group::parse(group)
            .map_err(|error| Refusal::invalid(format!("spec.groups: {error}")))?;
        Ok(group.as_str().to_owned())
    });
    Ok((username, groups.collect::<Result<_, _>>()?))
}

/// Username and groups of a node type in aws-auth, in the form that EKS itself writes
/// (<https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html>); `None` for `Standard`.
fn node_identity(
    type_: EntryType,
) -> Result<Option<(&'static str, &'static [&'static str])>, Refusal> {
    const INSTANCE: &str = "system:node:{{EC2PrivateDNSName}}";
    const SESSION: &str = "system:node:{{SessionName}}";
    match type_ {
        EntryType::Standard => Ok(None),
        EntryType::EC2Linux => Ok(Some((INSTANCE, &["system:bootstrappers", "system:nodes"]))),
        EntryType::EC2Windows => Ok(Some((
            INSTANCE,
            &[
                "eks:kube-proxy-windows",
                "system:bootstrappers",
                "system:nodes",
            ],
        ))),
        EntryType::FargateLinux => Ok(Some((
            SESSION,
            &[
                "system:bootstrappers",
                "system:node-proxier",
                "system:nodes",
            ],
        ))),
        EntryType::HybridLinux | EntryType::EC2 | EntryType::HyperPodLinux => Err(Refusal {
            reason: Reason::BackendUnavailable,
            message: format!(
                "type {type_:?} exists only as an access entry, and this cluster is in the authentication mode CONFIG_MAP; change \
                 the mode to API_AND_CONFIG_MAP first"
            ),
        }),
    }
}
