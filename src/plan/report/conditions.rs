//! The conditions of each mapping: accepted, synced, ready, and why not.

use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::{Backend, Confirmation};
use crate::desired::{Mapping, Spec, State};
use crate::observed::Mode;
use crate::plan::claim::{Block, Claim, EntryStep};
use crate::plan::report::context::{Effect, View};
use crate::plan::report::leaving;
use crate::time::to_the_second;

/// The status of one condition with its reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: &'static str,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "True",
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "False",
            reason,
            message: message.into(),
        }
    }
}

/// How far a mapping has got: the three conditions that matter, and who must act.
pub(crate) struct Verdict {
    pub(crate) accepted: Finding,
    pub(crate) synced: Finding,
    pub(crate) ready: Finding,
    /// Who acts next, if anyone has to: `Stalled` or `Reconciling`, and why.
    pub(crate) action: Option<(ConditionType, Reason)>,
}

impl Verdict {
    fn new(accepted: Finding, synced: Finding, ready: Finding, transient: bool) -> Self {
        let mut verdict = Self {
            accepted,
            synced,
            ready,
            action: None,
        };
        verdict.act(transient);
        verdict
    }

    /// Finds who acts next: the operator where the problem is transient, else a person.
    fn act(&mut self, transient: bool) {
        let all = [&self.accepted, &self.ready, &self.synced];
        let bad = all.into_iter().find(|finding| finding.status == "False");
        self.action = bad.and_then(|bad| match (transient, bad.reason.is_wish()) {
            (true, _) => Some((ConditionType::Reconciling, bad.reason)),
            (false, false) => Some((ConditionType::Stalled, bad.reason)),
            (false, true) => None,
        });
    }

    /// Nothing of the spec is put into effect.
    fn refused(reason: Reason, message: impl Into<String>, transient: bool) -> Self {
        let no = Finding::no(reason, message);
        Self::new(no.clone(), no.clone(), no, transient)
    }

    /// A verdict in which the entry is as far from declared as `block` says.
    fn blocked(mapping: &Mapping, block: &Block, effect: &Effect) -> Self {
        let no = Finding::no(block.reason, block.sentence(&mapping.name));
        let ready = match effect {
            Effect::Declared => in_effect_finding(),
            Effect::Other(..) => no.clone(),
            Effect::Unknown(_) => Finding {
                status: "Unknown",
                ..no.clone()
            },
        };
        Self::new(accepted(), no, ready, block.transient)
    }
}

fn accepted() -> Finding {
    Finding::yes(Reason::Accepted, "the spec is valid and supported")
}

fn in_effect_finding() -> Finding {
    Finding::yes(
        Reason::InEffect,
        "the principal gets exactly the declared identity",
    )
}

/// How far a mapping has got.
pub(crate) fn verdict(view: &View<'_>, position: usize) -> Verdict {
    let mapping = &view.plan.mappings[position];
    let claim = view.held(position);
    match (view.plan.states[position], &mapping.spec) {
        (State::Deleting | State::Expired, _) => leaving(view, position),
        (_, Err(refusal)) => {
            Verdict::refused(refusal.reason, refusal.message.clone(), refusal.transient)
        }
        (State::Live | State::Suspended | State::Refused, Ok(spec)) => match claim {
            None => duplicate(view, position, spec),
            Some(claim) if view.plan.states[position] == State::Suspended => {
                suspended(view, Some(claim), spec)
            }
            Some(claim) => live(view, position, claim, spec),
        },
    }
}

/// A mapping whose entry is to go.
fn leaving(view: &View<'_>, position: usize) -> Verdict {
    let mapping = &view.plan.mappings[position];
    let accepted = match view.plan.states[position] {
        State::Expired => Finding::yes(Reason::Expired, "validUntil has passed"),
        State::Live | State::Suspended | State::Refused | State::Deleting => accepted(),
    };
    if let Some(block) = unresolved(view, position) {
        return Verdict {
            accepted,
            ..Verdict::blocked(mapping, &block, &Effect::Other(block.reason, String::new()))
        };
    }
    if let Some(block) = view.unlisted() {
        return Verdict {
            accepted,
            ..Verdict::blocked(mapping, &block, &Effect::Other(block.reason, String::new()))
        };
    }
    let uncovered = mapping
        .principal
        .as_ref()
        .and_then(|principal| view.lets_in(principal));
    let kept = mapping
        .principal
        .as_ref()
        .and_then(|principal| view.kept_by_aws(principal));
    let ready = match (uncovered, kept) {
        (Some(what), Some(cause)) => Finding::no(
            Reason::StillGranted,
            format!("what this mapping added was removed, and {what} stays: {cause}"),
        ),
        (Some(what), None) => Finding::no(
            Reason::StillGranted,
            format!(
                "this mapping grants nothing any more, but {what} still grants the principal access; remove that by hand"
            ),
        ),
        (None, _) => Finding::yes(
            Reason::Expired,
            "the entry was removed; logins that the API server has cached may work for a few minutes more",
        ),
    };
    let synced = Finding::yes(Reason::Synced, "the mapping has no entry any more");
    Verdict::new(accepted, synced, ready, false)
}

/// A mapping that does not hold its key.
fn duplicate(view: &View<'_>, position: usize, spec: &Spec) -> Verdict {
    if view.plan.states[position] == State::Suspended {
        return suspended(view, None, spec);
    }
    let holder = view.holder_of_key(position);
    let name = holder.map_or_else(
        || "another mapping".to_owned(),
        |holder| format!("the active mapping {}", holder.name),
    );
    let arn = spec.principal.arn();
    let message = format!("{name} names the same principal {arn}; delete one of the two");
    Verdict::refused(Reason::DuplicatePrincipal, message, false)
}

fn suspended(view: &View<'_>, claim: Option<&Claim>, spec: &Spec) -> Verdict {
    let no = Finding::no(
        Reason::Suspended,
        "spec.suspend is true, so nothing is created, changed or repaired",
    );
    let ready = match claim.map(|claim| view.effect(claim, spec)) {
        Some(Effect::Declared) => in_effect_finding(),
        Some(Effect::Other(..) | Effect::Unknown(_)) | None => no.clone(),
    };
    Verdict::new(accepted(), no, ready, false)
}

/// A mapping that holds its key and is to be in effect.
fn live(view: &View<'_>, position: usize, claim: &Claim, spec: &Spec) -> Verdict {
    let mapping = &view.plan.mappings[position];
    let effect = view.effect(claim, spec);
    let place = claim.place.as_ref();
    if let Some(refusal) = place.and_then(|place| place.refusal.as_ref()) {
        return Verdict::refused(refusal.reason, refusal.message.clone(), refusal.transient);
    }
    if let Some(block) = claim
        .waits_for
        .as_ref()
        .filter(|_| claim.waiting == Some(position))
    {
        return Verdict::blocked(mapping, block, &effect);
    }
    let by_entry = place.is_some_and(|place| place.backend == Backend::AccessEntry);
    let mut verdict = match block(view, position, claim, by_entry) {
        Some(block) if block.reason == Reason::Contested => {
            Verdict::blocked(mapping, &block, &Effect::Other(block.reason, String::new()))
        }
        Some(block) => Verdict::blocked(mapping, &block, &effect),
        None => {
            let synced = Finding::yes(Reason::Synced, as_declared(view, claim, spec, by_entry));
            let ready = match effect {
                Effect::Declared => in_effect_finding(),
                Effect::Other(reason, what) => {
                    Finding::no(reason, format!("{what}; remove it by hand"))
                }
                Effect::Unknown(why) => Finding {
                    status: "Unknown",
                    ..Finding::no(Reason::EntryPending, why)
                },
            };
            Verdict::new(accepted(), synced, ready, false)
        }
    };
    if !spec.policies.is_empty() && !by_entry {
        policies_without_effect(view, &mut verdict);
    }
    if let Some(note) = &mapping.note {
        verdict.accepted = Finding::yes(
            Reason::PermissionSetUnresolved,
            format!("{}; {note}", verdict.accepted.message),
        );
    }
    let notes = [
        place.and_then(|place| place.note.clone()),
        mapping
            .valid_until
            .and_then(|_| view.will_be_held(position, spec)),
    ];
    for note in notes.into_iter().flatten() {
        verdict.accepted.message = format!("{}; {note}", verdict.accepted.message);
    }
    let mut transient = matches!(verdict.action, Some((ConditionType::Reconciling, _)));
    // The removal of the principal that the spec named before may wait for a confirmation.
    if let (true, Some(block)) = (verdict.synced.status == "True", unresolved(view, position)) {
        verdict.synced = Finding::no(
            block.reason,
            format!(
                "the entry of the previous principal still exists: {}",
                block.sentence(&mapping.name)
            ),
        );
        transient = block.transient;
    }
    // What was found since may need somebody too.
    verdict.act(transient);
    verdict
}

/// What keeps a mapping from being as declared, starting with the backend that it belongs to.
fn block(view: &View<'_>, position: usize, claim: &Claim, by_entry: bool) -> Option<Block> {
    if claim.block.is_none()
        && claim.entry.block.is_none()
        && let Some(who) = view.contested(position)
    {
        // The same in every pass of a fight, whether this one repairs or waits.
        return Some(Block::passing(Reason::Contested, who));
    }
    let text = || {
        let unwritten = || view.not_written().filter(|_| view.pending(claim));
        claim.block.clone().or_else(unwritten)
    };
    let entry = || {
        let side = &claim.entry;
        let unasked = || {
            (side.step != EntryStep::Keep && side.pending()).then(|| {
                view.not_sent(claim).unwrap_or_else(|| {
                    Block::passing(Reason::EntryPending, "the call to EKS is about to be sent")
                })
            })
        };
        side.block.clone().or_else(unasked)
    };
    let blocks = if by_entry {
        entry().or_else(text)
    } else {
        text().or_else(entry)
    };
    blocks.or_else(|| claim.place.as_ref()?.handover.clone())
}

/// The message of `Synced` where the entry is as declared.
fn as_declared(view: &View<'_>, claim: &Claim, spec: &Spec, by_entry: bool) -> String {
    let mut message = if by_entry {
        "the access entry is as declared and managed".to_owned()
    } else {
        "the entry in aws-auth is as declared and managed".to_owned()
    };
    if let Some(until) = claim.place.as_ref().and_then(|place| place.soaks_until) {
        let until = to_the_second(until);
        message = format!("{message}; its aws-auth copy stays until {until} as a fallback");
    }
    if let (true, Some(why)) = (by_entry, view.unread_account(spec)) {
        message = format!(
            "{message}; IAM in account {} can't be read, so a principal that is deleted and recreated is not detected: {why}",
            spec.principal.account
        );
    }
    if !claim.dead_lines.is_empty() {
        let lines: Vec<String> = claim.dead_lines.iter().map(ToString::to_string).collect();
        message = format!(
            "{message}; line {} of aws-auth has the same name with another path and never matches this principal",
            lines.join(", ")
        );
    }
    message
}

fn policies_without_effect(view: &View<'_>, verdict: &mut Verdict) {
    verdict.accepted = Finding::yes(
        Reason::Accepted,
        "the spec is valid, but accessPolicies take effect only through access entries",
    );
    if verdict.ready.status == "True" {
        let fix = match view.plan.observed.aws.mode() {
            Some(Mode::ApiAndConfigMap) => {
                "but aws-auth has no access policies; remove spec.accessPolicies, or set spec.backend: AccessEntry"
            }
            Some(Mode::ConfigMap | Mode::Api) | None => {
                "but the authentication mode CONFIG_MAP has no access policies; remove spec.accessPolicies, or change the mode to API_AND_CONFIG_MAP"
            }
        };
        verdict.ready = Finding::no(
            Reason::AccessPoliciesIneffective,
            format!("username and groups are active, {fix}"),
        );
    }
}

/// Why an entry that the mapping should have no more still exists.
fn unresolved(view: &View<'_>, position: usize) -> Option<Block> {
    let hold = leaving::hold(view, position);
    // While EKS can't be asked, a person's word is the way out, and the status has to name it.
    let word = Some(Confirmation::UnverifiedRemoval);
    if hold.as_ref().is_some_and(|block| block.awaiting == word) {
        return hold;
    }
    let mut open = view
        .named(position)
        .filter(|claim| claim.holder != Some(position) && !view.resolved(claim))
        .filter(|claim| claim.holder.is_none() || view.wrote(position, claim));
    let unresolved = open.next().and_then(|claim| view.unresolved_block(claim));
    unresolved.or(hold)
}
