//! How far each mapping has got: accepted, synced, ready, and why not.

use crate::api::condition::Reason;
use crate::api::v1alpha1::Backend;
use crate::desired::Spec;
use crate::desired::State;
use crate::observed::Mode;
use crate::plan::claim::{Block, Claim, EntryStep};
use crate::plan::report::context::{Effect, View};
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
    /// It passes by itself.
    pub(crate) working: bool,
}

impl Verdict {
    /// A verdict in which the entry is as far from declared as `block` says.
    fn blocked(block: &Block, effect: &Effect) -> Self {
        let no = Finding::no(block.reason, block.message.clone());
        let ready = match effect {
            Effect::Declared => in_effect_finding(),
            Effect::Other(..) => no.clone(),
            Effect::Unknown(_) => Finding {
                status: "Unknown",
                ..no.clone()
            },
        };
        Self {
            accepted: accepted(),
            synced: no,
            ready,
            working: block.transient,
        }
    }
}

fn accepted() -> Finding {
    Finding::yes(Reason::Accepted, "the spec can be put into effect")
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
            let no = Finding::no(refusal.reason, refusal.message.clone());
            Verdict {
                accepted: no.clone(),
                synced: no.clone(),
                ready: no,
                working: refusal.transient,
            }
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
    if let Some(block) = view.unresolved(position) {
        return Verdict {
            accepted,
            ..Verdict::blocked(&block, &Effect::Other(block.reason, String::new()))
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
            format!("what this mapping added is removed, and {what} stays: {cause}"),
        ),
        (Some(what), None) => Finding::no(
            Reason::StillGranted,
            format!(
                "the entry is removed, but {what} still lets the principal in; remove it by hand"
            ),
        ),
        (None, _) => Finding::yes(
            Reason::Expired,
            "validUntil has passed and the entry is removed; logins that the API server remembers may work for some minutes more",
        ),
    };
    Verdict {
        accepted,
        synced: Finding::yes(Reason::Synced, "the entry is removed"),
        ready,
        working: false,
    }
}

/// A mapping that does not hold its key.
fn duplicate(view: &View<'_>, position: usize, spec: &Spec) -> Verdict {
    if view.plan.states[position] == State::Suspended {
        return suspended(view, None, spec);
    }
    let holder = view.holder_of_key(position);
    let name = holder.map_or("another mapping", |holder| holder.name.as_str());
    let no = Finding::no(
        Reason::DuplicatePrincipal,
        format!(
            "the older mapping {name} names the same principal {}; delete one of the two",
            spec.principal.arn()
        ),
    );
    Verdict {
        accepted: no.clone(),
        synced: no.clone(),
        ready: no,
        working: false,
    }
}

fn suspended(view: &View<'_>, claim: Option<&Claim>, spec: &Spec) -> Verdict {
    let no = Finding::no(
        Reason::Suspended,
        "spec.suspend is true: nothing is created, changed or repaired",
    );
    let ready = match claim.map(|claim| view.effect(claim, spec)) {
        Some(Effect::Declared) => in_effect_finding(),
        Some(Effect::Other(..) | Effect::Unknown(_)) | None => no.clone(),
    };
    Verdict {
        accepted: accepted(),
        synced: no,
        ready,
        working: false,
    }
}

/// A mapping that holds its key and is to be in effect.
fn live(view: &View<'_>, position: usize, claim: &Claim, spec: &Spec) -> Verdict {
    let effect = view.effect(claim, spec);
    let place = claim.place.as_ref();
    if let Some(refusal) = place.and_then(|place| place.refusal.as_ref()) {
        let no = Finding::no(refusal.reason, refusal.message.clone());
        return Verdict {
            accepted: no.clone(),
            synced: no.clone(),
            ready: no,
            working: refusal.transient,
        };
    }
    let by_entry = place.is_some_and(|place| place.backend == Backend::AccessEntry);
    let mut verdict = match block(view, position, claim, by_entry) {
        Some(block) if block.reason == Reason::Contested => {
            Verdict::blocked(&block, &Effect::Other(block.reason, String::new()))
        }
        Some(block) => Verdict::blocked(&block, &effect),
        None => Verdict {
            accepted: accepted(),
            synced: Finding::yes(Reason::Synced, stands(view, claim, spec, by_entry)),
            ready: match effect {
                Effect::Declared => in_effect_finding(),
                Effect::Other(reason, what) => {
                    Finding::no(reason, format!("{what}; remove it by hand"))
                }
                Effect::Unknown(why) => Finding {
                    status: "Unknown",
                    ..Finding::no(Reason::EntryPending, why)
                },
            },
            working: false,
        },
    };
    let mapping = &view.plan.mappings[position];
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
    // The principal that the spec named before may wait for a confirmation to go.
    if let (true, Some(block)) = (verdict.synced.status == "True", view.unresolved(position)) {
        verdict.synced = Finding::no(
            block.reason,
            format!(
                "the entry of the principal named before still stands: {}",
                block.message
            ),
        );
        verdict.working = block.transient;
    }
    verdict
}

/// What keeps a mapping from standing as declared, of the backend that it belongs into first.
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
                    Block::passing(Reason::EntryPending, "EKS is asked for it next")
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

/// What there is to say of a mapping that stands as declared.
fn stands(view: &View<'_>, claim: &Claim, spec: &Spec, by_entry: bool) -> String {
    let mut message = if by_entry {
        "the access entry stands as declared and is tagged as ours".to_owned()
    } else {
        "the entry stands as declared and is marked as ours".to_owned()
    };
    if let Some(until) = claim.place.as_ref().and_then(|place| place.soaks_until) {
        let until = to_the_second(until);
        message = format!("{message}; its twin in aws-auth stays until {until} as the way back");
    }
    if let (true, Some(why)) = (by_entry, view.unread_account(spec)) {
        message = format!(
            "{message}; account {} can't be read, so it would not be noticed if the principal were deleted and made again: {why}",
            spec.principal.account
        );
    }
    if !claim.dead_lines.is_empty() {
        let lines: Vec<String> = claim.dead_lines.iter().map(ToString::to_string).collect();
        message = format!(
            "{message}; the same name stands on line {} of aws-auth with another path and never matches this principal",
            lines.join(", ")
        );
    }
    message
}

fn policies_without_effect(view: &View<'_>, verdict: &mut Verdict) {
    verdict.accepted = Finding::yes(
        Reason::Accepted,
        "the spec can be put into effect but for accessPolicies, which take effect only through access entries",
    );
    if verdict.ready.status == "True" {
        let mend = match view.plan.observed.aws.mode() {
            Some(Mode::ApiAndConfigMap) => {
                "but the mapping stands in aws-auth, which knows no accessPolicies; remove them, or hand it over with backend: AccessEntry"
            }
            Some(Mode::ConfigMap | Mode::Api) | None => {
                "but accessPolicies can't be in the authentication mode CONFIG_MAP; remove them or change the mode to API_AND_CONFIG_MAP"
            }
        };
        verdict.ready = Finding::no(
            Reason::AccessPoliciesIneffective,
            format!("username and groups are in effect, {mend}"),
        );
    }
}
