//! One call of a plan, judged again as it is sent: it may have waited for minutes.
//!
//! What happened to its own principal since the plan was made drops it anyway. What is asked here is what depends on others: whether
//! somebody else still certainly is an administrator.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Authority, Before, Proposal, Removals, World, last_administrator, nodes, read};
use crate::access_entry::{Call, Entry};
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::Document;
use crate::desired::{Desired, Mapping, State};
use crate::effective::{EffectiveEntry, StandingEntries};
use crate::observed::{AwsState, Bindings, Observed};
use crate::ownership::{KeyHash, Mark};
use crate::principal::Key;

/// Whether a call may take power from an administrator or from nodes, so that [`clear_call`] is to be asked.
#[must_use]
pub fn may_take(aws: &AwsState, bindings: &Bindings, call: &Call) -> bool {
    let Some(view) = aws.view() else {
        return true;
    };
    // An entry that is created takes precedence over what aws-auth gives its principal.
    if matches!(call, Call::Create { .. }) {
        return true;
    }
    let takes = matches!(
        call,
        Call::Delete { .. }
            | Call::Update { .. }
            | Call::Disassociate { .. }
            | Call::Associate { .. }
    );
    let possible = view.possible(call.principal_arn());
    let policy = view.admin_policy();
    let matters = |entry: &Entry| {
        let entry = EffectiveEntry::of_access_entry(entry);
        entry.possible_administrator(bindings, &policy).is_some()
            || entry.is_node(bindings, &policy)
    };
    takes && (possible.unseen || possible.entries.iter().any(matters))
}

/// Judges a call by what is known as it is sent.
///
/// # Errors
///
/// Says why it may not be sent.
pub fn clear_call(
    observed: &Observed,
    desired: &Desired,
    config_map: &str,
    call: &Call,
) -> Result<(), String> {
    let Some(key) = Key::parse_arn(call.principal_arn()) else {
        return Ok(());
    };
    let hash = KeyHash::of(&key);
    let none = BTreeMap::new();
    let data = observed
        .config_map
        .as_ref()
        .map_or(&none, |view| &view.data);
    let text = Document::parse(data);
    let entries = observed.aws.view().map(StandingEntries::new);
    let entries = entries.unwrap_or_default();
    let mappings: Vec<Cow<'_, Mapping>> = desired.mappings.iter().map(Cow::Borrowed).collect();
    let states: Vec<State> = mappings
        .iter()
        .map(|mapping| State::of(mapping, observed.now))
        .collect();
    // What the plan found confirmed for a set of orphans still has to be.
    let annotation = observed
        .history
        .view()
        .and_then(|view| view.annotations.get(CONFIRM_ANNOTATION));
    let (words, others) = annotation
        .map(|value| Confirmation::parse_list(value))
        .unwrap_or_default();
    let names_a_set = others
        .iter()
        .any(|word| word.starts_with(Confirmation::MassRemoval.as_str()));
    let orphans: BTreeSet<Confirmation> = words.into_iter().filter(|_| names_a_set).collect();
    let (mark, removals) = (Mark::default(), Removals::default());
    let before = Before {
        now: observed.now,
        mode: observed.aws.mode(),
        text: &text,
        last_good: &text,
        mark: &mark,
        managed: &BTreeMap::new(),
        managed_entries: &BTreeSet::new(),
        view: observed.aws.view(),
        entries: &entries,
        bindings: &observed.bindings,
        mappings: &mappings,
        states: &states,
        config_map,
        removals: &removals,
        recordable: false,
        orphans: &orphans,
        confirmed_orphans: &BTreeSet::new(),
        definition_deleting: observed.crd_deleting,
    };
    let calls = [call.clone()];
    let proposal = Proposal {
        text: None,
        calls: BTreeMap::from([(&hash, calls.as_slice())]),
        authority: Authority::Mappings,
    };
    let world = World::new(&before, &proposal);
    let refusals = [
        read::refuse(&world),
        nodes::refuse(&world),
        last_administrator::refuse(&world),
    ];
    match refusals.concat().first() {
        Some(refusal) => Err(refusal.why.clone()),
        None => Ok(()),
    }
}
