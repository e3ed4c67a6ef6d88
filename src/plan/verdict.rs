//! How far each mapping has got: accepted, synced, ready, and why not.

use super::Spec;
use super::claim::{Block, Claim, State};
use super::view::View;
use crate::api::condition::Reason;

/// The status of one condition with its reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: &'static str,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "True",
            reason,
            message: message.into(),
        }
    }

    pub(super) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: "False",
            reason,
            message: message.into(),
        }
    }
}

/// How far a mapping has got: the three conditions that matter, and who must act.
pub(super) struct Verdict {
    pub(super) accepted: Finding,
    pub(super) synced: Finding,
    pub(super) ready: Finding,
    /// It passes by itself.
    pub(super) working: bool,
}

impl Verdict {
    /// A verdict in which the entry is as far from declared as `block` says.
    fn blocked(block: &Block, in_effect: bool) -> Self {
        let no = Finding::no(block.reason, block.message.clone());
        let ready = if in_effect {
            in_effect_finding()
        } else {
            no.clone()
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
        "the authenticator gives the principal the declared username and groups",
    )
}

/// How far a mapping has got.
pub(super) fn verdict(view: &View<'_>, position: usize) -> Verdict {
    let mapping = view.plan.mappings[position];
    let claim = view.held(position);
    match (view.plan.states[position], &mapping.spec) {
        (State::Deleting | State::Expired, _) => leaving(view, position),
        (_, Err(refusal)) => {
            let no = Finding::no(refusal.reason, refusal.message.clone());
            Verdict {
                accepted: no.clone(),
                synced: no.clone(),
                ready: no,
                working: false,
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
    let mapping = view.plan.mappings[position];
    let accepted = match view.plan.states[position] {
        State::Expired => Finding::yes(Reason::Expired, "validUntil has passed"),
        State::Live | State::Suspended | State::Refused | State::Deleting => accepted(),
    };
    if let Some(block) = view.unresolved(position) {
        return Verdict {
            accepted,
            ..Verdict::blocked(&block, false)
        };
    }
    let uncovered = mapping
        .principal
        .as_ref()
        .and_then(|principal| view.lets_in(principal));
    let ready = match uncovered {
        Some(what) => Finding::no(
            Reason::Uncovered,
            format!(
                "the entry is removed, but {what} still lets the principal in; remove it by hand"
            ),
        ),
        None => Finding::yes(
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
    let mapping = view.plan.mappings[position];
    if view.plan.states[position] == State::Suspended {
        return suspended(view, None, spec);
    }
    let holder = mapping.key().and_then(|key| view.holder_of(&key));
    let name = holder.map_or("another mapping", |holder| holder.name.as_str());
    let no = Finding::no(
        Reason::DuplicatePrincipal,
        format!(
            "the older mapping {name} names the same principal {}; delete one of the two",
            spec.entry.arn
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
    let ready = match (claim, view.shadow(spec)) {
        (Some(_), None) => in_effect_finding(),
        (Some(_) | None, _) => no.clone(),
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
    let shadow = view.shadow(spec);
    let mut verdict = if let (None, Some(who)) = (&claim.block, view.contested(position)) {
        // The same in every pass of a fight, whether this one repairs or waits.
        Verdict::blocked(&Block::passing(Reason::Contested, who), false)
    } else if let Some(block) = &claim.block {
        Verdict::blocked(block, shadow.is_none())
    } else if let (true, Some(failure)) = (view.pending(claim), view.not_written()) {
        Verdict::blocked(&failure, shadow.is_none())
    } else {
        let mut message = "the entry stands as declared and is marked as ours".to_owned();
        if !claim.dead_lines.is_empty() {
            let lines: Vec<String> = claim.dead_lines.iter().map(ToString::to_string).collect();
            message = format!(
                "{message}; the same name stands on line {} with another path and never matches this principal",
                lines.join(", ")
            );
        }
        let ready = match &shadow {
            None => in_effect_finding(),
            Some(what) => Finding::no(Reason::Shadowed, format!("{what}; remove it by hand")),
        };
        Verdict {
            accepted: accepted(),
            synced: Finding::yes(Reason::Synced, message),
            ready,
            working: false,
        }
    };
    if spec.access_policies {
        verdict.accepted = Finding::yes(
            Reason::Accepted,
            "the spec can be put into effect but for accessPolicies, which take effect only through access entries",
        );
        if verdict.ready.status == "True" {
            verdict.ready = Finding::no(
                Reason::AccessPoliciesIneffective,
                "username and groups are in effect, but accessPolicies can't be in the authentication mode CONFIG_MAP; remove them or change the mode to API_AND_CONFIG_MAP",
            );
        }
    }
    if let (Some(_), Some(why)) = (
        view.plan.mappings[position].valid_until,
        view.will_be_held(position, spec),
    ) {
        verdict.accepted.message = format!("{}; {why}", verdict.accepted.message);
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
