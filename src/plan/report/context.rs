//! The plan together with its results, and the questions that statuses and events ask about both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::access_entry::BRIDGE_GROUP;
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{Confirmation, IdentityMappingStatus, WrittenEntry};
use crate::aws_auth::{Document, Entry, ProblemKind, Section, fold_arn};
use crate::desired::{LONGEST_TAKEOVER, Mapping, Spec, meaning_of, resolve};
use crate::effective::{EffectiveAccess, Granted, is_node};
use crate::ownership::aws_managed::{Cause, Keeper, keeper};
use crate::ownership::{KeyHash, Mark, is_recorded};
use crate::plan::action::{Outcome, Summary, WriteFailure};
use crate::plan::claim::{Block, Claim, EntryStep, Step, annotate, identity};
use crate::plan::decide::access_entry;
use crate::plan::memory::{Memory, RepairTarget};
use crate::plan::planned::Plan;
use crate::plan::report::administrators::administrators;
use crate::plan::report::bridge;
use crate::principal::Principal;
use crate::time::Timestamp;

/// The plan together with what exists after its execution.
pub(crate) struct View<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) outcome: &'a Outcome,
    /// The write was made.
    pub(crate) written: bool,
    /// What exists now.
    pub(crate) standing: &'a Document,
    /// The mark that exists now.
    pub(crate) mark: Mark,
    /// Who has access, by what exists or will exist within the second.
    pub(crate) effective: EffectiveAccess<'a>,
    pub(crate) administrators: BTreeSet<String>,
    pub(crate) memory: &'a Memory,
    pub(crate) held: HashMap<usize, usize>,
    pub(crate) named: HashMap<usize, Vec<usize>>,
}

impl<'a> View<'a> {
    /// The claim that a mapping holds.
    pub(crate) fn held(&self, position: usize) -> Option<&'a Claim> {
        self.held
            .get(&position)
            .map(|number| &self.plan.claims[*number])
    }

    /// All claims that name a mapping.
    pub(crate) fn named(&self, position: usize) -> impl Iterator<Item = &'a Claim> {
        self.named
            .get(&position)
            .into_iter()
            .flatten()
            .map(|number| &self.plan.claims[*number])
    }

    /// The mapping that holds the key that this one names.
    pub(crate) fn holder_of_key(&self, position: usize) -> Option<&'a Mapping> {
        let hash = KeyHash::of(&self.plan.mappings[position].key()?);
        let claim = self.named(position).find(|claim| claim.hash == hash)?;
        claim.holder.map(|holder| &*self.plan.mappings[holder])
    }

    /// Why this plan is not carried out at all.
    fn idle(&self) -> Option<Block> {
        if let Some(block) = &self.plan.halted {
            return Some(block.clone());
        }
        if self.plan.released {
            return Some(Block::lasting(
                Reason::Released,
                "ownership was given up (release); restart the operator to manage access again",
            ));
        }
        if self.plan.settings.observe {
            return Some(Block::lasting(
                Reason::Observing,
                "the operator runs with --observe, so it does not write the entry",
            ));
        }
        None
    }

    /// Why nobody knows which access entries exist.
    pub(crate) fn unlisted(&self) -> Option<Block> {
        let eks = self.plan.eks.as_ref()?;
        let listed = eks.view.entries.listed.is_some();
        (!listed).then(|| access_entry::failure::not_listed(eks))
    }

    /// Why a call that the plan asks for is not made; `None`: it is.
    pub(crate) fn not_sent(&self, claim: &Claim) -> Option<Block> {
        if claim.entry.needs_text {
            self.not_written()
        } else {
            self.idle()
        }
    }

    /// Why nothing was written to aws-auth although the plan has something to write.
    pub(crate) fn not_written(&self) -> Option<Block> {
        if let Some(block) = self.idle() {
            return Some(block);
        }
        match self.outcome {
            Outcome::NothingToWrite if self.plan.postponed => {
                Some(Block::passing(Reason::Contested, self.who(None)))
            }
            Outcome::Written { .. } | Outcome::NothingToWrite => None,
            Outcome::Failed(WriteFailure::Denied(words)) => Some(Block::passing(
                Reason::WriteDenied,
                format!(
                    "admission denied the write of aws-auth, and the operator retries: {words}"
                ),
            )),
            Outcome::Failed(WriteFailure::Forbidden(words)) => Some(Block::passing(
                Reason::WriteForbidden,
                format!(
                    "RBAC forbids the write of aws-auth, and the operator retries: {words}; check the operator's Role"
                ),
            )),
            Outcome::Failed(WriteFailure::Invalid(words)) => Some(Block::passing(
                Reason::WriteInvalid,
                format!(
                    "the API server refused the write of aws-auth, and the operator retries: {words}"
                ),
            )),
            Outcome::Failed(WriteFailure::Unavailable(words)) => Some(Block::passing(
                Reason::WriteFailed,
                format!("the write of aws-auth failed, and the operator retries: {words}"),
            )),
        }
    }

    /// Whether what the claim asks for exists, in both backends.
    pub(crate) fn resolved(&self, claim: &Claim) -> bool {
        self.text_resolved(claim) && entry_resolved(claim)
    }

    /// Whether what the claim asks for exists in aws-auth.
    pub(crate) fn text_resolved(&self, claim: &Claim) -> bool {
        claim.block.is_none() && (!self.pending(claim) || self.not_written().is_none())
    }

    /// Why what the claim asks for does not stand.
    pub(crate) fn unresolved_block(&self, claim: &Claim) -> Option<Block> {
        let pending =
            || Block::passing(Reason::EntryPending, "the call to EKS is about to be sent");
        let unwritten = || self.not_written().filter(|_| !self.text_resolved(claim));
        let unasked =
            || (!entry_resolved(claim)).then(|| self.not_sent(claim).unwrap_or_else(pending));
        let held = claim.block.clone().or_else(|| claim.entry.block.clone());
        held.or_else(unwritten).or_else(unasked)
    }

    /// Whether the mapping's status says that it wrote an entry of the claim's key.
    pub(crate) fn wrote(&self, position: usize, claim: &Claim) -> bool {
        let config_map = self.plan.settings.config_map.to_string();
        let mapping = &self.plan.mappings[position];
        let (Some(key), eks) = (&claim.key, &self.plan.eks) else {
            return false;
        };
        mapping.written(&config_map).contains_key(key)
            || eks.as_ref().is_some_and(|eks| {
                mapping
                    .written_entries(&eks.view.cluster.arn)
                    .contains_key(key)
            })
    }

    /// Who contests the mapping's entry, if someone does.
    pub(crate) fn contested(&self, position: usize) -> Option<String> {
        let claim = self.held(position)?;
        let (undone, now) = (&self.memory.undone, self.plan.observed.now);
        if undone.contested(&RepairTarget::AccessEntry(claim.hash.clone()), now) {
            let who = access_entry::changed_by(self.plan.eks.as_ref(), claim);
            return Some(format!(
                "{who} keeps changing or deleting the access entry, and the operator repairs it once a minute; stop one of the two"
            ));
        }
        let contested = undone.contested(&RepairTarget::Entry(claim.hash.clone()), now);
        contested.then(|| {
            let before = &self.plan.mappings[position].status;
            // The manager that is known from the last repair stays, so that the message does not flicker.
            self.who(
                before
                    .last_drift
                    .as_ref()
                    .map(|drift| drift.manager.as_str())
                    .filter(|_| claim.drift.is_none()),
            )
        })
    }

    fn who(&self, known: Option<&str>) -> String {
        let manager = known.map_or_else(|| self.manager(Section::Roles), str::to_owned);
        format!(
            "{manager} keeps reverting the entry, and the operator repairs it once a second; stop one of the two"
        )
    }

    /// The field manager that last wrote a section, as far as Kubernetes keeps it.
    pub(crate) fn manager(&self, section: Section) -> String {
        let managers = self
            .plan
            .observed
            .config_map
            .as_ref()
            .map(|view| &view.managers);
        let manager = managers
            .and_then(|managers| managers.get(section.key()))
            .map(|manager| manager.name.as_str());
        manager
            .filter(|name| *name != crate::plan::action::FIELD_MANAGER)
            .unwrap_or("unknown")
            .to_owned()
    }

    pub(crate) fn wake(&self) -> Option<Timestamp> {
        let now = self.plan.observed.now;
        let expiries = self
            .plan
            .mappings
            .iter()
            .filter_map(|mapping| mapping.valid_until)
            .filter(|until| *until > now)
            .min();
        let repair = self
            .plan
            .postponed
            .then(|| self.memory.undone.next_repair(now))
            .flatten();
        let entries = self
            .plan
            .claims
            .iter()
            .filter_map(|claim| claim.entry.wake)
            .filter(|wake| *wake > now)
            .min();
        // What comes after a write of aws-auth (a handover, the way back) is asked for by the next plan, and our own writes are
        // no change that would bring one about.
        // So is what confirmed the removal of orphans, which is used up once they are gone.
        let orphan_gone = |claim: &Claim| claim.orphan() && self.pending(claim);
        let again = self.plan.eks.is_some() || self.plan.claims.iter().any(orphan_gone);
        let next = (self.written && again).then_some(now);
        let takeovers = self.plan.takeovers.values();
        let takeovers = takeovers
            .map(|takeover| takeover.since.plus(LONGEST_TAKEOVER))
            .filter(|due| *due > now)
            .min();
        let bridge = bridge::reported(self.plan, self.memory).filter(|due| *due > now);
        [
            expiries,
            bridge,
            repair,
            self.memory.undone.next_rest(now),
            entries,
            takeovers,
            next,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn summary(&self, new: &[IdentityMappingStatus]) -> Summary {
        const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
        let all = ConditionType::ALL
            .into_iter()
            .flat_map(|type_| STATUSES.map(|status| ((type_, status), 0)));
        let mut conditions: BTreeMap<(ConditionType, &'static str), u64> = all.collect();
        for condition in new.iter().flat_map(|status| &status.conditions) {
            let type_ = ConditionType::ALL
                .into_iter()
                .find(|type_| type_.as_str() == condition.type_);
            let status = STATUSES
                .into_iter()
                .find(|status| *status == condition.status);
            if let (Some(type_), Some(status)) = (type_, status) {
                *conditions.entry((type_, status)).or_default() += 1;
            }
        }
        let mut drift: BTreeMap<&'static str, u64> = BTreeMap::new();
        if self.written {
            for claim in self.plan.claims.iter().filter(|claim| claim.changes_text()) {
                if let Some(found) = claim.drift {
                    *drift.entry(found.as_str()).or_default() += 1;
                }
            }
            for (kind, count) in [
                ("text", self.plan.base.restored.len()),
                (
                    "deleted",
                    usize::from(self.plan.base.create && self.plan.base.deleted),
                ),
            ] {
                if count > 0 {
                    drift.insert(kind, count as u64);
                }
            }
        }
        let present = |section: &Section| self.standing.section(*section).present;
        let dropped = |section: Section| {
            self.standing
                .section(section)
                .problems
                .iter()
                .filter(|problem| problem.kind == ProblemKind::EntryDropped)
                .count() as u64
        };
        let count = |wanted: &dyn Fn(&Claim) -> bool| {
            self.plan
                .claims
                .iter()
                .filter(|claim| wanted(claim))
                .count() as u64
        };
        let entry_drift = count(&|claim| self.plan.begins_repair(claim).is_some());
        if entry_drift > 0 {
            drift.insert("access_entry", entry_drift);
        }
        Summary {
            administrators: administrators(&self.effective),
            conditions,
            parses: Section::ALL
                .into_iter()
                .filter(present)
                .map(|s| (s, self.standing.section(s).broken.is_none()))
                .collect(),
            dropped: Section::ALL
                .into_iter()
                .filter(present)
                .map(|s| (s, dropped(s)))
                .collect(),
            held: count(&|claim| {
                [&claim.block, &claim.entry.block]
                    .into_iter()
                    .flatten()
                    .any(|block| block.reason == Reason::RemovalNeedsConfirmation)
            }),
            owned: count(&|claim| {
                claim.entry.ours || self.plan.realized.mark.0.contains_key(&claim.hash)
            }),
            orphaned: count(&|claim| {
                claim.orphan()
                    && claim.effective() == Step::Leave
                    && claim.entry.effective() == EntryStep::Leave
            }),
            contested: self
                .memory
                .undone
                .all_contested(self.plan.observed.now)
                .count() as u64,
            drift,
            uncovered: 0,
            bridge: self
                .plan
                .observed
                .bindings
                .admin_groups
                .contains(BRIDGE_GROUP),
            released: self.plan.released,
        }
    }
}

/// Whether what the claim asks for exists in EKS: calls are only planned here, and a later plan sees their effect.
pub(crate) fn entry_resolved(claim: &Claim) -> bool {
    let side = &claim.entry;
    side.block.is_none() && (side.step == EntryStep::Keep || side.calls.is_empty())
}

/// What a principal would get at a login now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Exactly what is declared.
    Declared,
    /// Something else, or nothing.
    Other(Reason, String),
    /// Nobody can tell until EKS has answered.
    Unknown(String),
}

impl View<'_> {
    /// What the mapping's principal would get at a login now.
    pub(crate) fn effect(&self, claim: &Claim, spec: &Spec) -> Effect {
        let Some(eks) = &self.plan.eks else {
            return match &self.plan.halted {
                Some(block) => Effect::Unknown(block.message.clone()),
                None => text_effect(spec, &self.granted(claim, spec)),
            };
        };
        if eks.view.entries.listed.is_none() {
            return Effect::Unknown("the access entries have not been listed yet".to_owned());
        }
        let unseen = eks.standing.of(&claim.hash).is_empty();
        if unseen && claim.entry.step == EntryStep::Describe {
            return Effect::Unknown(
                "no listing shows the access entry, and it has not been described yet".to_owned(),
            );
        }
        let wins = match self.granted(claim, spec) {
            Granted::AccessEntry(wins) => wins,
            Granted::Nothing if self.effective.unread().is_some() => {
                return match eks.standing.of(&claim.hash).first() {
                    Some(dead) => Effect::Other(
                        Reason::PrincipalNotFound,
                        format!(
                            "the access entry of {} does not work, because its principal was deleted or recreated",
                            dead.principal_arn
                        ),
                    ),
                    None => Effect::Other(
                        Reason::Shadowed,
                        "no access entry grants the principal access".to_owned(),
                    ),
                };
            }
            by_text => return text_effect(spec, &by_text),
        };
        let Some(entry) = wins.known() else {
            return Effect::Unknown(
                "the access entry has not been described since it may have changed".to_owned(),
            );
        };
        if claim.entry.as_declared {
            return Effect::Declared;
        }
        match access_entry::differing(eks, self.plan.memory, claim, spec, entry) {
            Some(differences) if differences.is_empty() => Effect::Declared,
            Some(differences) => Effect::Other(
                Reason::Shadowed,
                format!("the access entry {} has {differences}, and wins", entry.arn),
            ),
            None => Effect::Other(
                Reason::Shadowed,
                format!(
                    "the access entry {} names the principal, and wins",
                    entry.arn
                ),
            ),
        }
    }

    /// Why the account of a principal can't be read, where it can't.
    pub(crate) fn unread_account(&self, spec: &Spec) -> Option<String> {
        let aws = self.plan.observed.aws.view()?;
        let account = aws.iam.accounts.get(&spec.principal.account)?;
        let problems = &account.problems;
        let of_set = problems
            .sso
            .as_ref()
            .filter(|_| spec.principal.sso().is_some());
        let problem = of_set.or(problems.of(spec.principal.kind));
        problem.map(resolve::words)
    }

    /// What grants access to the principal of a mapping.
    fn granted(&self, claim: &Claim, spec: &Spec) -> Granted<'_, '_> {
        let of_key = self.effective.access_entries().of(&claim.hash);
        let arn = spec.principal.aws_auth_arn();
        self.effective.granted_among(of_key, &arn)
    }

    /// Whether an access entry grants access to a principal.
    pub(crate) fn has_entry(&self, principal: &Principal) -> bool {
        let entries = self.effective.access_entries();
        entries.in_force(&principal.key()).is_some()
    }

    /// What grants access to a principal that has no mapping in effect.
    pub(crate) fn lets_in(&self, principal: &Principal) -> Option<String> {
        let place = |entry: &Entry| format!("{} line {}", entry.section, entry.line);
        match self.effective.granted(&principal.aws_auth_arn()) {
            Granted::AccessEntry(wins) => {
                Some(format!("the access entry of {}", wins.principal_arn))
            }
            Granted::AwsAuth(entry) => Some(place(entry)),
            Granted::AnyOf(entries) => entries.first().map(|entry| place(entry)),
            Granted::Account(account) => Some(format!("mapAccounts with account {account}")),
            Granted::Nothing => None,
        }
    }

    /// Why AWS keeps the access entry that lets a principal in, where it does.
    pub(crate) fn kept_by_aws(&self, principal: &Principal) -> Option<Cause> {
        let eks = self.plan.eks.as_ref()?;
        let entries = self.effective.access_entries();
        let entry = entries.in_force(&principal.key())?.known()?;
        match keeper(entry, &eks.view.managed, self.plan.observed.now) {
            Keeper::Aws(cause) => Some(cause),
            Keeper::Nobody | Keeper::Unknown(_) => None,
        }
    }

    /// Where an entry that a status remembers is exactly so; `None` where it does not.
    pub(crate) fn place_of(&self, claim: &Claim, written: &WrittenEntry) -> Option<String> {
        if let (Some(eks), Some(cluster)) = (&self.plan.eks, &written.cluster) {
            let mut standing = eks.standing.of(&claim.hash).iter();
            let found = standing.find_map(|standing| {
                let entry = standing.known()?;
                let of_aws = keeper(entry, &eks.view.managed, self.plan.observed.now).is_aws();
                is_recorded(cluster, entry, written, of_aws).then_some(entry)
            });
            return found
                .filter(|_| *cluster == eks.view.cluster.arn)
                .map(|entry| format!("the access entry {}", entry.arn));
        }
        let meaning = meaning_of(written);
        let here = written.config_map == Some(self.plan.settings.config_map.to_string());
        let mut entries = self.standing.entries().filter(|_| here);
        let found = entries.find(|entry| entry.meaning() == meaning)?;
        Some(format!(
            "the entry on {} line {}",
            found.section, found.line
        ))
    }

    pub(crate) fn will_be_held(&self, position: usize, spec: &Spec) -> Option<String> {
        let mapping = &self.plan.mappings[position];
        let confirms = |confirmation| mapping.confirms(confirmation);
        let node = spec.is_node()
            || spec
                .form
                .as_ref()
                .is_some_and(|form| is_node(&form.meaning, &self.plan.observed.bindings));
        if node && !confirms(Confirmation::NodeEntry) {
            return Some(format!(
                "at validUntil the removal will need a confirmation, because the entry is a node entry; {}",
                annotate(&mapping.name, Confirmation::NodeEntry)
            ));
        }
        let arn = fold_arn(&spec.principal.aws_auth_arn());
        let last = self.administrators.len() == 1 && self.administrators.contains(&arn);
        (last && !confirms(Confirmation::LastAdministrator)).then(|| {
            format!(
                "at validUntil the removal will need a confirmation if no other administrator exists then; {}",
                annotate(&mapping.name, Confirmation::LastAdministrator)
            )
        })
    }

    /// Whether the write would change the text or the mark for this claim.
    pub(crate) fn pending(&self, claim: &Claim) -> bool {
        claim.changes_aws_auth(&self.plan.mappings)
    }
}

fn text_effect(spec: &Spec, granted: &Granted<'_, '_>) -> Effect {
    match shadow(spec, granted) {
        None => Effect::Declared,
        Some(what) => Effect::Other(Reason::Shadowed, what),
    }
}

/// What in aws-auth gives the principal something else than declared; `None` where it gets exactly that.
fn shadow(spec: &Spec, granted: &Granted<'_, '_>) -> Option<String> {
    let Some(form) = &spec.form else {
        return Some("aws-auth can't express the type".to_owned());
    };
    let same = |entry: &Entry| entry.meaning() == form.meaning;
    let place = |entry: &Entry| format!("{} line {}", entry.section, entry.line);
    match granted {
        Granted::AwsAuth(entry) if same(entry) => None,
        Granted::AwsAuth(entry) => Some(format!(
            "{} maps the principal to {}, and wins",
            place(entry),
            identity(&entry.meaning())
        )),
        Granted::AnyOf(entries) if entries.iter().all(|entry| same(entry)) => None,
        Granted::AnyOf(entries) => {
            let places: Vec<String> = entries.iter().map(|entry| place(entry)).collect();
            Some(format!(
                "{} differ only in the case of the ARN, and the authenticator picks one at random",
                places.join(" and ")
            ))
        }
        Granted::Account(_) => {
            Some("mapAccounts grants access to the whole account, without groups".to_owned())
        }
        Granted::AccessEntry(_) | Granted::Nothing => {
            Some("no entry of aws-auth grants the principal access".to_owned())
        }
    }
}
