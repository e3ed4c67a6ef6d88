//! The mappings as the planner sees them: parsed once, refused with a sentence where they can't be put into effect.

mod lenient;
mod refusal;
pub(crate) mod resolve;
mod state;
mod writer;

pub use state::State;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

pub(crate) use lenient::read_status;
pub use refusal::SpecRefusal;
pub(crate) use writer::{WriterMarks, tagged_mapping};

use crate::access_entry::{Declared, EksCluster, target};
use crate::api::IdentityMapping;
use crate::api::condition::Reason;
use crate::api::finalizer::Finalizers;
use crate::api::v1alpha1::{
    AccessPolicy, Adoption, BackendChoice, CONFIRM_ANNOTATION, Confirmation, Deletion, EntryType,
    IdentityMappingSpec, IdentityMappingStatus, PermissionSet, WrittenEntry,
};
use crate::aws_auth::{Meaning, NewEntry, Section, fold_arn};
use crate::observed::Mode;
use crate::ownership::MeaningHash;
use crate::principal::{Group, Key, Principal, PrincipalKind, Username};
use crate::time::Timestamp;

/// What has ended is removed without a takeover that is blocked for longer: a finalizer, say, is set within seconds, or not at all.
pub(crate) const LONGEST_TAKEOVER: SignedDuration = SignedDuration::from_mins(1);

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
    /// When its deletion was requested.
    pub deletion_timestamp: Option<Timestamp>,
    /// Which of our finalizers it carries.
    pub finalizers: Finalizers,
    /// What a person has confirmed for it.
    pub confirmations: BTreeSet<Confirmation>,
    /// The principal that the spec names, also where the rest of it is refused.
    pub principal: Option<Principal>,
    /// What to put into effect, or why that can't be done.
    pub spec: Result<Spec, SpecRefusal>,
    /// The permission set that the spec names: its role is known only by a look at IAM.
    pub(crate) permission_set: Option<PermissionSet>,
    /// The spec that is put into effect once that role is known; `None`: it is refused in any case.
    pub(crate) unresolved: Option<Arc<IdentityMappingSpec>>,
    /// What there is to say of how the principal was resolved.
    pub(crate) note: Option<String>,
    /// When the entry is to be removed.
    pub valid_until: Option<Timestamp>,
    /// No creation, change or repair.
    pub suspend: bool,
    /// What deletion does to the entry.
    pub deletion: Deletion,
    /// The groups as declared, for `GroupsBound`.
    pub groups: BTreeSet<String>,
    /// The status as it is.
    pub status: IdentityMappingStatus,
    /// What its deletion depends on and could not be decoded: nothing of its entries is touched, and it is kept.
    pub unreadable: Option<String>,
    /// The principal is the last known role of a permission set, and IAM has not confirmed it.
    pub remembered: bool,
}

/// What a status remembers of an entry of aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) meaning: Meaning,
    /// The spec names this very principal: only then does the status recognise the entry.
    pub(crate) own: bool,
}

/// A spec that can be put into effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The principal, as resolved.
    pub principal: Principal,
    /// The type.
    pub type_: EntryType,
    /// Where it is to be put into effect.
    pub backend: BackendChoice,
    /// The username as declared; `None` is EKS's own default in both backends.
    pub username: Option<String>,
    /// The groups as declared; none for node types.
    pub groups: BTreeSet<String>,
    /// The access policies as declared, which aws-auth can't express.
    pub policies: Vec<AccessPolicy>,
    /// What to do with an unmanaged entry of the same principal.
    pub adoption: Adoption,
    /// Its form in aws-auth; `None` for the types that exist only as access entries.
    pub form: Option<Form>,
}

impl Spec {
    /// Whether the type is a node type.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.type_ != EntryType::Standard
    }

    /// What it declares for an access entry.
    pub(crate) fn declared(&self) -> Declared<'_> {
        Declared {
            principal: &self.principal,
            type_: self.type_,
            username: self.username.as_deref(),
            groups: &self.groups,
            policies: &self.policies,
        }
    }

    /// Whether a backend that counts in this mode can hold what it declares. An unknown mode rules nothing out.
    pub(crate) fn has_a_backend(&self, mode: Option<Mode>, cluster: Option<&EksCluster>) -> bool {
        let text = self.form.is_some() && self.backend != BackendChoice::AccessEntry;
        let entry = || {
            self.backend != BackendChoice::ConfigMap
                && cluster.is_some_and(|cluster| target(&self.declared(), cluster).is_ok())
        };
        match mode {
            None => true,
            Some(Mode::ConfigMap) => text,
            Some(Mode::ApiAndConfigMap) => text || entry(),
            Some(Mode::Api) => entry(),
        }
    }
}

/// The form of a spec in aws-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The entry in the form in which we write it.
    pub entry: NewEntry,
    /// What the authenticator will make of it.
    pub meaning: Meaning,
    /// What the mark says of that meaning: taken once for each change of the object, not in each pass.
    pub(crate) meaning_hash: MeaningHash,
}

impl Mapping {
    /// Reads an object. Never fails: what is wrong with it becomes its [`SpecRefusal`].
    #[must_use]
    pub fn from_object(object: &IdentityMapping) -> Self {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let set = spec.principal.permission_set.is_some() && spec.principal.arn.is_none();
        let (principal, parsed) = match named(spec, &status) {
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
            parsed.and_then(|_| Err(SpecRefusal::invalid(unknown_confirmations(&unknown))))
        };
        Self {
            generation: object.metadata.generation.unwrap_or_default(),
            principal,
            permission_set: spec.principal.permission_set.clone().filter(|_| set),
            unresolved: (set && unknown.is_empty()).then(|| Arc::new(spec.clone())),
            spec: parsed,
            valid_until: spec.valid_until.as_ref().map(Into::into),
            suspend: spec.suspend,
            deletion: spec.deletion,
            groups: spec.groups.iter().cloned().collect(),
            status,
            confirmations,
            ..Self::bare(&object.metadata)
        }
    }

    /// An object that could not be decoded, e.g. one of a newer version of the API. It keeps its entry as it is; what of it can be
    /// read says until when, and what its deletion means.
    #[must_use]
    pub fn undecodable(metadata: &ObjectMeta, error: &str, raw: &Value) -> Self {
        let lenient::Read {
            principal,
            permission_set,
            deletion,
            valid_until,
            status,
            unreadable,
        } = lenient::read(raw);
        let bare = Self::bare(metadata);
        let message = match &unreadable {
            Some(field) if bare.is_deleting() => format!(
                "the deleted object can't be read ({error}), nor can its {field}, so its entries and finalizers stay; upgrade \
                 identity-mapper, or correct {field} with kubectl edit identitymapping {}",
                bare.name
            ),
            Some(field) if valid_until.is_some() => format!(
                "the object can't be read ({error}), nor can its {field}, so its entry stays as it is, also beyond validUntil; upgrade \
                 identity-mapper, or correct {field} with kubectl edit identitymapping {}",
                bare.name
            ),
            _ => format!(
                "the object can't be read ({error}), so its entry stays as it is; upgrade identity-mapper, or correct the field with \
                 kubectl edit identitymapping {}",
                bare.name
            ),
        };
        Self {
            spec: Err(SpecRefusal::invalid(message)),
            principal,
            permission_set,
            deletion,
            valid_until,
            status,
            unreadable,
            remembered: false,
            ..bare
        }
    }

    fn bare(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(Into::into),
            deletion_timestamp: metadata.deletion_timestamp.as_ref().map(Into::into),
            finalizers: metadata
                .finalizers
                .as_deref()
                .map(Finalizers::among)
                .unwrap_or_default(),
            confirmations: confirmations(metadata).0,
            principal: None,
            spec: Err(SpecRefusal::invalid("the object has not been read")),
            permission_set: None,
            unresolved: None,
            note: None,
            valid_until: None,
            suspend: false,
            deletion: Deletion::Revoke,
            groups: BTreeSet::new(),
            status: IdentityMappingStatus::default(),
            unreadable: None,
            remembered: false,
        }
    }

    /// The key that the spec names.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.principal.as_ref().map(Principal::key)
    }

    /// Whether the spec names the principal of this ARN: by ARN, or as a role of the permission set that it names. What the status
    /// remembers of any other principal makes nothing of it this mapping's.
    pub(crate) fn names(&self, arn: &str) -> bool {
        let Ok(principal) = Principal::parse(arn) else {
            return false;
        };
        let of_set = |set: &PermissionSet| resolve::is_of_set(&principal, set);
        self.key() == Some(principal.key()) || self.permission_set().is_some_and(of_set)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// When it ended, or is to end: by its deletion or by `validUntil`.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        self.deletion_timestamp
            .into_iter()
            .chain(self.valid_until)
            .min()
    }

    /// Whether `validUntil` has passed.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|until| until <= now)
    }

    /// What the status says that we wrote into this `ConfigMap` (`namespace/name`), by key. It only ever recognises an entry
    /// that exists exactly so; it never grants.
    #[must_use]
    pub(crate) fn written(&self, config_map: &str) -> BTreeMap<Key, Remembered> {
        let here = self
            .status
            .written
            .iter()
            .filter(|written| written.config_map.as_deref() == Some(config_map));
        here.filter_map(|written| {
            let remembered = Remembered {
                meaning: meaning_of(written),
                own: self.names(&written.arn),
            };
            Some((Key::parse_arn(&written.arn)?, remembered))
        })
        .collect()
    }

    /// What the status says that we wrote as access entries of this cluster (its ARN), by key. As with
    /// [`Mapping::written`] it only ever recognises.
    #[must_use]
    pub fn written_entries(&self, cluster: &str) -> BTreeMap<Key, &WrittenEntry> {
        let here = self
            .status
            .written
            .iter()
            .filter(|written| written.cluster.as_deref() == Some(cluster));
        here.filter_map(|written| Some((Key::parse_arn(&written.arn)?, written)))
            .collect()
    }

    /// The mapping with the principal that its permission set, or its ARN without path, means.
    pub(crate) fn with_principal(&self, principal: Principal, note: Option<String>) -> Self {
        let spec = match (&self.unresolved, &self.spec) {
            (Some(source), _) => parse(source, &principal),
            (None, Ok(spec)) => Ok(Spec {
                principal: principal.clone(),
                ..spec.clone()
            }),
            (None, Err(refusal)) => Err(refusal.clone()),
        };
        Self {
            principal: Some(principal),
            spec,
            note,
            ..self.clone()
        }
    }

    /// The mapping with the role that its permission set last had, which IAM does not confirm now.
    pub(crate) fn with_remembered(&self, principal: Principal, note: Option<String>) -> Self {
        Self {
            remembered: true,
            ..self.with_principal(principal, note)
        }
    }

    /// The mapping with the reason why its permission set has no role. What is refused in any case keeps its reason.
    pub(crate) fn without_principal(&self, transient: bool, message: String) -> Self {
        if self.unresolved.is_none() {
            return self.clone();
        }
        Self {
            spec: Err(SpecRefusal {
                reason: Reason::PermissionSetUnresolved,
                message,
                transient,
            }),
            ..self.clone()
        }
    }

    /// Whether the status names an access entry. Its backend alone is where the mapping was to be put, which may have been refused.
    pub(crate) fn names_access_entry(&self) -> bool {
        let status = &self.status;
        status.access_entry_arn.is_some()
            || status
                .written
                .iter()
                .any(|written| written.cluster.is_some())
    }

    /// The permission set that the spec names.
    pub(crate) const fn permission_set(&self) -> Option<&PermissionSet> {
        self.permission_set.as_ref()
    }

    /// Whether this confirmation was given.
    #[must_use]
    pub fn confirms(&self, confirmation: Confirmation) -> bool {
        self.confirmations.contains(&confirmation)
    }
}

/// What an entry of aws-auth gives, as a status remembers it.
pub(crate) fn meaning_of(written: &WrittenEntry) -> Meaning {
    Meaning {
        arn: fold_arn(&written.arn),
        username: written.username.clone(),
        groups: written.groups.iter().cloned().collect(),
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
        "annotation {CONFIRM_ANNOTATION}: unknown value {}; write one or more of node-entry, last-administrator, mass-removal, \
         recreated-principal, unverified-removal, separated by commas",
        few(unknown).join(", ")
    )
}

/// The first of the words, without what is too long for one: their author chooses how much there is, and it is kept for each mapping.
fn few(words: &[String]) -> Vec<String> {
    let (most, longest) = (5, 64);
    let short = |word: &String| {
        let short: String = word.chars().take(longest).collect();
        let cut = if short.len() < word.len() { "…" } else { "" };
        format!("{short}{cut}")
    };
    let rest = (words.len() > most).then(|| "…".to_owned());
    words.iter().take(most).map(short).chain(rest).collect()
}

/// The principal that the spec names, or, where it is refused, the one that it can still be known by.
fn named(
    spec: &IdentityMappingSpec,
    status: &IdentityMappingStatus,
) -> Result<Principal, (Option<Principal>, SpecRefusal)> {
    match (&spec.principal.arn, &spec.principal.permission_set) {
        (Some(arn), None) => Principal::parse(arn).map_err(|error| {
            (
                None,
                SpecRefusal::invalid(format!("spec.principal.arn: {error}")),
            )
        }),
        (None, Some(set)) => {
            let message = format!(
                "permission set {} in account {} needs IAM to find its role, and the operator makes no AWS API calls; set spec.principal.arn to the role's ARN (aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/)",
                set.name, set.account_id
            );
            Err((
                remembered(set, status),
                SpecRefusal {
                    reason: Reason::PermissionSetUnresolved,
                    message,
                    transient: false,
                },
            ))
        }
        (None, None) | (Some(_), Some(_)) => Err((
            None,
            SpecRefusal::invalid("spec.principal: set exactly one of arn and permissionSet"),
        )),
    }
}

/// The role that the status remembers for a permission set, if it can be that set's at all: a status grants nothing.
pub(crate) fn remembered(set: &PermissionSet, status: &IdentityMappingStatus) -> Option<Principal> {
    let principal = Principal::parse(status.principal_arn.as_deref()?).ok()?;
    let sso = principal.sso()?;
    (sso.permission_set == set.name && principal.account.as_str() == set.account_id)
        .then_some(principal)
}

fn parse(spec: &IdentityMappingSpec, principal: &Principal) -> Result<Spec, SpecRefusal> {
    let (username, groups) = match spec.type_ {
        EntryType::Standard => {
            let (username, groups) = identity(spec, principal)?;
            (Some(username), groups)
        }
        node => {
            if spec.username.is_some() || !spec.groups.is_empty() {
                return Err(SpecRefusal::invalid(format!(
                    "type {node:?}: EKS sets username and groups of nodes; remove spec.username and spec.groups"
                )));
            }
            if principal.kind != PrincipalKind::Role {
                return Err(SpecRefusal::invalid(format!(
                    "type {node:?}: nodes are IAM roles; {} is a user",
                    principal.arn()
                )));
            }
            match node_identity(node) {
                Some((username, groups)) => (
                    Some(username.to_owned()),
                    groups.iter().map(|group| (*group).to_owned()).collect(),
                ),
                None => (None, BTreeSet::new()),
            }
        }
    };
    let form = username.map(|username| {
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
        Form {
            meaning_hash: MeaningHash::of(&meaning),
            meaning,
            entry,
        }
    });
    Ok(Spec {
        principal: principal.clone(),
        type_: spec.type_,
        backend: spec.backend,
        username: spec.username.clone(),
        groups: spec.groups.iter().cloned().collect(),
        policies: spec.access_policies.clone(),
        adoption: spec.adoption,
        form,
    })
}

fn identity(
    spec: &IdentityMappingSpec,
    principal: &Principal,
) -> Result<(String, BTreeSet<String>), SpecRefusal> {
    let username = match &spec.username {
        Some(username) => Username::parse(username)
            .map_err(|error| SpecRefusal::invalid(format!("spec.username: {error}")))?
            .as_str()
            .to_owned(),
        None => principal.default_username(),
    };
    let groups = spec.groups.iter().map(|group| {
        let group = Group::parse(group)
            .map_err(|error| SpecRefusal::invalid(format!("spec.groups: {error}")))?;
        Ok(group.as_str().to_owned())
    });
    Ok((username, groups.collect::<Result<_, _>>()?))
}

/// Username and groups of a node type in aws-auth, in the form that EKS itself writes
/// (<https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html>); `None` for the types that exist only as access
/// entries, and for `Standard`.
pub(crate) fn node_identity(type_: EntryType) -> Option<(&'static str, &'static [&'static str])> {
    const INSTANCE: &str = "system:node:{{EC2PrivateDNSName}}";
    const SESSION: &str = "system:node:{{SessionName}}";
    match type_ {
        EntryType::EC2Linux => Some((INSTANCE, &["system:bootstrappers", "system:nodes"])),
        EntryType::EC2Windows => Some((
            INSTANCE,
            &[
                "eks:kube-proxy-windows",
                "system:bootstrappers",
                "system:nodes",
            ],
        )),
        EntryType::FargateLinux => Some((
            SESSION,
            &[
                "system:bootstrappers",
                "system:node-proxier",
                "system:nodes",
            ],
        )),
        EntryType::Standard
        | EntryType::HybridLinux
        | EntryType::EC2
        | EntryType::HyperPodLinux => None,
    }
}
