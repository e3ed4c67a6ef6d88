//! Chooses the backend of a mapping: from the cluster's mode, the existing entries and the spec.

use std::collections::BTreeSet;

use crate::access_entry::{
    AccessEntry, BRIDGE_GROUP, Change, Difference, FailureKind, Inexpressible, NodeTwin, Possible,
    Sent, Target, gives_the_same_nodes, node_twin,
};
use crate::api::condition::Reason;
use crate::api::v1alpha1::{Adoption, Backend, BackendChoice, EntryType};
use crate::aws_auth::Lookup;
use crate::desired::{Spec, SpecRefusal};
use crate::effective::{Standing, is_node};
use crate::observed::{Handover, Mode};
use crate::ownership::aws_managed::{Cause, Keeper};
use crate::plan::claim::{Block, Claim, Context, Eks, Place, identity};
use crate::plan::soak::{self, SoakStep};
use crate::time::Timestamp;

/// Access entries of one cluster, at most (AWS General Reference, *Amazon EKS endpoints and quotas*, L-C56B9FC3, not
/// adjustable).
pub(crate) const ENTRY_QUOTA: usize = 3000;

/// What a backend is to hold for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// What the spec declares.
    Declared,
    /// Nothing.
    Gone,
    /// What it holds, unseen.
    Untouched,
}

/// What exists in EKS for the key of a mapping.
pub(crate) enum Outlook<'a> {
    /// Entries do not count in this mode, or nothing is known of them.
    None,
    /// They have not been listed.
    Unlisted,
    /// There is no entry of this key.
    Absent,
    /// A call is in flight that may change it, make it or delete it.
    InFlight(EntryInFlight<'a>),
    /// A status names one that no listing shows, and EKS has not been asked for it.
    Unconfirmed,
    /// One exists and is not known.
    Undescribed(&'a Standing<'a>),
    /// One that is not ours.
    Foreign(Seen<'a>),
    /// Ours.
    Ours(Seen<'a>),
}

/// An entry of which several states are possible until EKS answers.
pub(crate) struct EntryInFlight<'a> {
    /// The first of the calls.
    pub(crate) sent: &'a Sent,
    pub(crate) possible: Possible,
    /// What it was before, where that is known and ours.
    pub(crate) ours: Option<&'a AccessEntry>,
}

/// An entry that is known, and what leads from it to the declared one.
pub(crate) struct Seen<'a> {
    pub(crate) standing: &'a Standing<'a>,
    pub(crate) entry: &'a AccessEntry,
    pub(crate) change: Change,
    pub(crate) differences: Vec<Difference>,
    pub(crate) aws: PartOfAws<'a>,
}

/// AWS's part in an entry.
#[derive(Debug, Default)]
pub(crate) struct PartOfAws<'a> {
    /// Who keeps the entry beside us; `None`: it makes no difference to what is declared.
    pub(crate) keeper: Option<Keeper<'a>>,
    /// The policies that AWS associated.
    pub(crate) policies: BTreeSet<String>,
    /// EKS's answers matter.
    pub(crate) asks: bool,
}

impl PartOfAws<'_> {
    /// Why AWS keeps the entry.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        match &self.keeper {
            Some(Keeper::Aws(cause)) => Some(cause),
            Some(Keeper::Nobody | Keeper::Unknown(_)) | None => None,
        }
    }
}

/// A place with what it means for each backend.
pub(crate) struct Placement {
    pub(crate) place: Place,
    pub(crate) config_map: Want,
    pub(crate) entry: Want,
    /// The entry is to be described once more before its aws-auth copy goes.
    pub(crate) verify: bool,
    pub(crate) wake: Option<Timestamp>,
}

impl Placement {
    fn new(backend: Backend, config_map: Want, entry: Want) -> Self {
        Self {
            place: Place::of(backend),
            config_map,
            entry,
            verify: false,
            wake: None,
        }
    }

    fn in_config_map() -> Self {
        Self::new(Backend::ConfigMap, Want::Declared, Want::Untouched)
    }

    fn refused(backend: Backend, reason: Reason, message: String) -> Self {
        let mut placement = Self::new(backend, Want::Untouched, Want::Untouched);
        placement.place.refusal = Some(SpecRefusal {
            reason,
            message,
            transient: false,
        });
        placement
    }

    fn noting(mut self, note: Option<String>) -> Self {
        self.place.note = note;
        self
    }
}

/// What deciding the place looks at beside the context.
pub(crate) struct Site<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) target: Option<Result<&'a Target, &'a Inexpressible>>,
    pub(crate) outlook: &'a Outlook<'a>,
    /// The claim with what is ours in aws-auth.
    pub(crate) claim: &'a Claim,
    /// Where it was put into effect, by its status.
    pub(crate) known: Option<Backend>,
}

/// The place of a mapping that holds its key.
pub(crate) fn place(context: &Context<'_>, site: &Site<'_>) -> Placement {
    let spec = site.spec;
    match (context.mode, context.eks) {
        (None, _) => {
            let backend = site.known.unwrap_or(Backend::ConfigMap);
            Placement::new(backend, Want::Untouched, Want::Untouched)
        }
        (Some(Mode::ConfigMap), _) | (Some(_), None) => in_config_map_mode(spec),
        (Some(Mode::Api), Some(eks)) => in_api_mode(eks, site),
        (Some(Mode::ApiAndConfigMap), Some(eks)) => in_both(context, eks, site),
    }
}

fn in_config_map_mode(spec: &Spec) -> Placement {
    if spec.backend == BackendChoice::AccessEntry {
        return Placement::refused(
            Backend::AccessEntry,
            Reason::BackendUnavailable,
            "backend AccessEntry needs the authentication mode API_AND_CONFIG_MAP or API, and this cluster is in CONFIG_MAP; set spec.backend: Auto, which follows the mode"
                .to_owned(),
        );
    }
    if spec.form.is_none() {
        return Placement::refused(
            Backend::AccessEntry,
            Reason::BackendUnavailable,
            format!(
                "type {:?} exists only as an access entry, and this cluster is in CONFIG_MAP mode; change the mode \
                 to API_AND_CONFIG_MAP first",
                spec.type_
            ),
        );
    }
    Placement::in_config_map()
}

fn in_api_mode(eks: &Eks<'_>, site: &Site<'_>) -> Placement {
    if site.spec.backend == BackendChoice::ConfigMap {
        return Placement::refused(
            Backend::ConfigMap,
            Reason::BackendUnavailable,
            "backend ConfigMap has no effect: aws-auth isn't read in API mode; set spec.backend: Auto"
                .to_owned(),
        );
    }
    match site.target {
        Some(Err(why)) => Placement::refused(
            Backend::AccessEntry,
            Reason::NotExpressible,
            match why.in_api_mode() {
                Some(hint) => format!("{why}; {hint}{}", made_by_aws(eks, site)),
                None => why.to_string(),
            },
        ),
        Some(Ok(_)) | None => Placement::new(Backend::AccessEntry, Want::Untouched, Want::Declared),
    }
}

/// Where AWS has made an entry for a service-linked role, which only it may.
fn made_by_aws(eks: &Eks<'_>, site: &Site<'_>) -> String {
    if !matches!(
        site.target,
        Some(Err(Inexpressible::ServiceLinkedRole { .. }))
    ) {
        return String::new();
    }
    match eks.standing.of(&site.claim.hash).first() {
        Some(standing) => format!(
            "; AWS has created an access entry for {}, which the cluster uses",
            standing.principal_arn
        ),
        None => "; AWS has created none so far".to_owned(),
    }
}

/// In this mode an access entry wins over aws-auth from the moment it exists, and what it does not know aws-auth still says.
fn in_both(context: &Context<'_>, eks: &Eks<'_>, site: &Site<'_>) -> Placement {
    let spec = site.spec;
    match (spec.backend, site.target) {
        (BackendChoice::ConfigMap, _) => back(context, eks, site, None),
        (BackendChoice::Auto, Some(Err(why))) if why.in_aws_auth() => {
            let note = format!("{why}, so it stays in aws-auth");
            back(context, eks, site, Some(note))
        }
        (BackendChoice::Auto | BackendChoice::AccessEntry, Some(Err(why))) => Placement::refused(
            Backend::AccessEntry,
            Reason::NotExpressible,
            if why.in_aws_auth() {
                format!(
                    "{why}; with spec.backend: Auto it stays in aws-auth, which is read in this mode"
                )
            } else {
                why.to_string()
            },
        ),
        (BackendChoice::Auto, Some(Ok(_))) if reverts(eks, site) => back(context, eks, site, None),
        (BackendChoice::Auto | BackendChoice::AccessEntry, Some(Ok(target))) => {
            forth(context, eks, site, target)
        }
        (BackendChoice::Auto | BackendChoice::AccessEntry, None) => {
            Placement::new(Backend::AccessEntry, Want::Untouched, Want::Untouched)
        }
    }
}

/// Whether the handover is being undone, and aws-auth can say all that the mapping does. An entry that is not ours stays what lets
/// the principal in.
fn reverts(eks: &Eks<'_>, site: &Site<'_>) -> bool {
    eks.handover == Handover::Revert
        && can_revert(site.spec).is_ok()
        && !matches!(site.outlook, Outlook::Foreign(_))
}

/// Whether aws-auth can say all that a spec does and the spec leaves the backend open, or why not.
pub fn can_revert(spec: &Spec) -> Result<(), &'static str> {
    if spec.backend == BackendChoice::AccessEntry {
        Err("its mapping declares backend: AccessEntry")
    } else if !spec.policies.is_empty() {
        Err("aws-auth can't give access policies")
    } else if spec.form.is_none() {
        Err("its type exists only as an access entry")
    } else {
        Ok(())
    }
}

/// The entry belongs into aws-auth; an access entry of ours goes when the identity has been there for long enough.
fn back(context: &Context<'_>, eks: &Eks<'_>, site: &Site<'_>, note: Option<String>) -> Placement {
    let Some(form) = &site.spec.form else {
        return Placement::refused(
            Backend::AccessEntry,
            Reason::BackendUnavailable,
            format!(
                "type {:?} exists only as an access entry; set spec.backend: AccessEntry or Auto",
                site.spec.type_
            ),
        );
    };
    let mut placement = Placement::in_config_map().noting(note);
    match site.outlook {
        Outlook::Ours(..) | Outlook::Undescribed(_) | Outlook::Unconfirmed => {}
        Outlook::InFlight(flight) => {
            if flight.possible.may_exist() {
                placement.place.backend = Backend::AccessEntry;
            }
            placement.place.handover = Some(Block::awaiting_answer(flight.sent));
            return placement;
        }
        Outlook::None | Outlook::Unlisted | Outlook::Absent | Outlook::Foreign(_) => {
            return placement;
        }
    }
    placement.place.backend = Backend::AccessEntry;
    let exists = site
        .claim
        .found
        .as_ref()
        .is_some_and(|found| site.claim.ours && found.meaning == form.meaning);
    if !exists {
        return placement;
    }
    let wins = match context.index.lookup(&form.entry.arn) {
        Lookup::Role(entry) | Lookup::User(entry) => {
            if entry.meaning() == form.meaning {
                None
            } else {
                Some(format!("{} line {}", entry.section, entry.line))
            }
        }
        Lookup::AmbiguousUser(_) | Lookup::Account | Lookup::None => {
            Some("another entry".to_owned())
        }
    };
    if let Some(winner) = wins {
        placement.place.handover = Some(Block::lasting(
            Reason::HandoverBlocked,
            format!(
                "{winner} of aws-auth would take precedence without the access entry, so the access entry stays; remove that one by hand"
            ),
        ));
        return placement;
    }
    let (since, due) = in_aws_auth_since(context, eks, site.claim);
    placement.place.in_aws_auth_since = Some(since);
    if due <= context.now {
        placement.entry = Want::Gone;
    } else {
        placement.wake = Some(due);
        placement.place.handover = Some(Block::passing(
            Reason::HandingOver,
            "aws-auth has the principal; the operator removes the access entry once that has taken effect",
        ));
    }
    placement
}

/// Since when this process has seen the declared entry in aws-auth, and when EKS may be taken to know it. No status says so: one that
/// was not stored, or that somebody changed, would name another time.
pub(crate) fn in_aws_auth_since(
    context: &Context<'_>,
    eks: &Eks<'_>,
    claim: &Claim,
) -> (Timestamp, Timestamp) {
    let seen = context.memory.in_aws_auth_since.get(&claim.hash).copied();
    let since = seen.map_or(context.now, |seen| seen.min(context.now));
    (since, since.plus(eks.settings.propagation))
}

/// The entry belongs into EKS; what exists in aws-auth stays until it has been handed over.
fn forth(context: &Context<'_>, eks: &Eks<'_>, site: &Site<'_>, target: &Target) -> Placement {
    let claim = site.claim;
    let twin = claim.ours || claim.marked.is_some();
    let asks = site.spec.backend == BackendChoice::AccessEntry || eks.handover == Handover::Auto;
    if !twin && asks && matches!(site.outlook, Outlook::Ours(_)) && is_unmarked_copy(context, site)
    {
        let mut placement = Placement::new(Backend::AccessEntry, Want::Declared, Want::Declared);
        placement.place.handover = Some(Block::passing(
            Reason::HandingOver,
            "an identical entry in aws-auth lost its mark; the operator marks it again and removes it after the soak",
        ));
        return placement;
    }
    let text = if twin {
        Want::Declared
    } else {
        Want::Untouched
    };
    match site.outlook {
        Outlook::None => Placement::new(Backend::AccessEntry, text, Want::Untouched),
        // The entry may exist or not: aws-auth stays as it is in either case.
        Outlook::Unlisted
        | Outlook::InFlight(_)
        | Outlook::Unconfirmed
        | Outlook::Undescribed(_) => {
            let backend = if twin {
                Backend::ConfigMap
            } else {
                Backend::AccessEntry
            };
            Placement::new(backend, text, Want::Declared)
        }
        Outlook::Foreign(..) => Placement::new(
            if twin {
                Backend::ConfigMap
            } else {
                Backend::AccessEntry
            },
            text,
            Want::Declared,
        ),
        Outlook::Absent => absent(context, eks, site, target, twin, asks),
        Outlook::Ours(seen) => ours(context, eks, site, seen, twin && asks, text),
    }
}

/// Whether aws-auth says the same as the spec by an entry that lost its mark, and that the mapping may adopt.
fn is_unmarked_copy(context: &Context<'_>, site: &Site<'_>) -> bool {
    let Some(form) = &site.spec.form else {
        return false;
    };
    let found = context.index.lookup(&form.entry.arn);
    site.spec.adoption != Adoption::Never
        && matches!(found, Lookup::Role(entry) | Lookup::User(entry) if entry.meaning() == form.meaning)
}

/// There is no entry.
fn absent(
    context: &Context<'_>,
    eks: &Eks<'_>,
    site: &Site<'_>,
    target: &Target,
    twin: bool,
    asks: bool,
) -> Placement {
    let broken = site.spec.form.as_ref().is_some_and(|form| {
        let section = form.entry.section;
        context.base.document.section(section).broken.is_some()
    });
    if broken && !twin {
        let mut placement = Placement::new(Backend::AccessEntry, Want::Untouched, Want::Untouched);
        placement.place.handover = Some(Block::lasting(
            Reason::InvalidYAML,
            "aws-auth does not parse, so it is unknown what it grants this principal; the operator creates no access entry \
                until that is fixed",
        ));
        return placement;
    }
    let foreign = !twin
        && matches!(
            context.index.lookup(&site.spec.principal.aws_auth_arn()),
            Lookup::Role(_) | Lookup::User(_) | Lookup::AmbiguousUser(_)
        );
    if foreign && site.spec.form.is_none() {
        return beside_nodes(context, site, target);
    }
    if foreign {
        // It is adopted where it stands first, or it is a conflict there.
        return Placement::in_config_map();
    }
    if twin {
        let mut placement = Placement::in_config_map();
        if !asks {
            return placement;
        }
        match handover_block(context, eks, site, target) {
            Some(block) => placement.place.handover = Some(block),
            None => placement.entry = Want::Declared,
        }
        return placement;
    }
    let refused = eks.view.attempts.values().any(|attempt| {
        attempt.failure.kind == FailureKind::QuotaExceeded
            && attempt.call.principal_arn() == target.principal_arn
    });
    if (refused || eks.view.entries.by_principal.len() >= ENTRY_QUOTA) && site.spec.form.is_some() {
        return Placement::in_config_map().noting(Some(format!(
            "the cluster holds {ENTRY_QUOTA} access entries, the maximum that EKS allows, so the mapping uses aws-auth"
        )));
    }
    Placement::new(Backend::AccessEntry, Want::Untouched, Want::Declared)
}

/// A type that aws-auth does not know, for nodes of an unmanaged entry of aws-auth: which type they are of, only a person can
/// say, and the names must come out the same. The entry of aws-auth stays.
fn beside_nodes(context: &Context<'_>, site: &Site<'_>, target: &Target) -> Placement {
    let type_ = target.type_;
    let (Lookup::Role(entry) | Lookup::User(entry)) =
        context.index.lookup(&site.spec.principal.aws_auth_arn())
    else {
        return Placement::new(Backend::AccessEntry, Want::Untouched, Want::Declared);
    };
    let place = format!("{} line {}", entry.section, entry.line);
    let meaning = entry.meaning();
    if !gives_the_same_nodes(type_, &meaning.username, &meaning.groups) {
        return Placement::refused(
            Backend::AccessEntry,
            Reason::HandoverBlocked,
            format!(
                "{place} gives {}, and an access entry of type {type_:?} gives something else, so running nodes would lose \
                    access; give new nodes a role of their own",
                identity(&meaning)
            ),
        );
    }
    if site.spec.adoption != Adoption::Always {
        return Placement::refused(
            Backend::AccessEntry,
            Reason::UnmanagedEntry,
            format!(
                "{place} is an unmanaged entry that grants access to the nodes of this role; if they are of type {type_:?}, set spec.adoption: Always: the access entry gives them the same names, and aws-auth stays as it is"
            ),
        );
    }
    Placement::new(Backend::AccessEntry, Want::Untouched, Want::Declared)
}

/// Why what exists in aws-auth can't be handed over yet.
fn handover_block(
    context: &Context<'_>,
    eks: &Eks<'_>,
    site: &Site<'_>,
    target: &Target,
) -> Option<Block> {
    let (Some(form), Some(found)) = (&site.spec.form, &site.claim.found) else {
        return Some(Block::passing(
            Reason::HandingOver,
            "the entry of aws-auth is repaired first",
        ));
    };
    if found.meaning != form.meaning {
        return Some(Block::passing(
            Reason::HandingOver,
            "the entry of aws-auth is repaired first",
        ));
    }
    if is_node(&found.meaning, eks.bindings) {
        match node_twin(&found.meaning.username, &found.meaning.groups) {
            NodeTwin::Type(type_) if type_ == target.type_ => {}
            NodeTwin::Type(_) | NodeTwin::MoreGroups(..) | NodeTwin::Ambiguous | NodeTwin::None => {
                return Some(Block::lasting(
                    Reason::HandoverBlocked,
                    format!(
                        "username {:?} of the nodes is not what an access entry of type {:?} generates, so running nodes \
                            would lose access in a handover; it stays in aws-auth; give new nodes a role of their own",
                        found.meaning.username, target.type_
                    ),
                ));
            }
        }
    }
    let admitted = site.claim.admitted(context);
    (target.masters && admitted && !eks.bindings.admin_groups.contains(BRIDGE_GROUP)).then(|| {
        Block::lasting(
            Reason::HandoverBlocked,
            format!(
                "moving system:masters to an access entry needs a temporary ClusterRoleBinding (group {BRIDGE_GROUP}, role cluster-admin) to avoid an access gap; until it exists, this mapping stays in aws-auth"
            ),
        )
    })
}

/// An entry of ours exists.
fn ours(
    context: &Context<'_>,
    eks: &Eks<'_>,
    site: &Site<'_>,
    seen: &Seen<'_>,
    hands_over: bool,
    text: Want,
) -> Placement {
    let Seen {
        standing,
        entry,
        change,
        differences,
        ..
    } = seen;
    let mut placement = Placement::new(Backend::AccessEntry, text, Want::Declared);
    if matches!(change, Change::Recreate(_)) && !standing.life.is_dead() && site.spec.form.is_some()
    {
        // What can't be changed in place is deleted and made again; aws-auth covers the principal meanwhile.
        placement.config_map = Want::Declared;
        return placement;
    }
    let settled = differences.is_empty() && !standing.life.is_dead();
    if text != Want::Declared || !hands_over || site.spec.type_ != EntryType::Standard || !settled {
        return placement;
    }
    let key = site.spec.principal.key();
    let (end, step) = soak::step(context, eks, &key, standing, entry);
    placement.place.soaks_until = Some(end).filter(|_| step != SoakStep::Over);
    match step {
        SoakStep::Wait(wake) => placement.wake = wake,
        SoakStep::Describe => placement.verify = true,
        SoakStep::Over => placement.config_map = Want::Gone,
    }
    placement
}
