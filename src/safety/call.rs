//! One call of a plan, judged again as it is sent: it may have waited for minutes.
//!
//! All rules are asked, with what is known by then. The planner's findings are not used: what is managed is recognised anew from marks,
//! tags and statuses.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Authority, Before, Proposal, Removals, review};
use crate::access_entry::{AccessEntry, Call};
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::{Document, Meaning};
use crate::desired::{Desired, Mapping, State, resolve};
use crate::effective::{EffectiveEntry, StandingEntries};
use crate::observed::{AwsState, AwsView, Bindings, Observed};
use crate::ownership::aws_managed::keeper;
use crate::ownership::{
    Evidence, KeyHash, KnownUnmanaged, Mark, Marked, Unmanaged, managed_by, recognise,
};
use crate::principal::Key;

/// Whether a call may take something from its principal, or from an entry that is not ours, so that [`clear_call`] is to be asked. What
/// only adds to an entry stays right as long as nothing about its own principal changes, which drops it anyway.
pub(crate) fn may_take(aws: &AwsState, bindings: &Bindings, call: &Call) -> bool {
    let Some(view) = aws.view() else {
        return true;
    };
    let possible = view.possible(call.principal_arn());
    let policy = view.admin_policy();
    let matters = |entry: &AccessEntry| {
        let entry = EffectiveEntry::of_access_entry(entry);
        entry.possible_administrator(bindings, &policy).is_some()
            || entry.is_node(bindings, &policy)
    };
    match call {
        // An entry that is created takes precedence over what aws-auth gives its principal.
        Call::Create { .. } | Call::Delete { .. } | Call::Disassociate { .. } => true,
        Call::Update { .. } | Call::Associate { .. } => {
            possible.unseen || possible.entries.iter().any(matters)
        }
        Call::Describe { .. } | Call::Tag { .. } | Call::Untag { .. } => false,
    }
}

/// Judges the first of the calls that are left for a principal by what is known as it is sent. The others count, since what is deleted
/// may be created anew by them. `remembered`: the removals that this process ordered, for the record may not hold them.
///
/// # Errors
///
/// Says why it may not be sent.
pub(crate) fn clear_call(
    observed: &Observed,
    desired: &Desired,
    config_map: &str,
    remembered: &Removals,
    calls: &[Call],
) -> Result<(), String> {
    let Some(key) = calls
        .first()
        .and_then(|call| Key::parse_arn(call.principal_arn()))
    else {
        return Ok(());
    };
    let hash = KeyHash::of(&key);
    let none = BTreeMap::new();
    let config = observed.config_map.as_ref();
    let text = Document::parse(config.map_or(&none, |view| &view.data));
    let mark = config.map(Mark::of).unwrap_or_default();
    let view = observed.aws.view();
    let entries = view.map(StandingEntries::new).unwrap_or_default();
    let roles = resolve::managed_sso_roles(&text, &mark, &entries, config_map);
    let mappings = resolve::resolve_all(desired, &observed.aws, &roles);
    let states: Vec<State> = mappings
        .iter()
        .map(|mapping| State::of(mapping, observed.now))
        .collect();
    let managed = managed_texts(observed, &text, &mark, &mappings, config_map, &key);
    let managed_entries = view.map_or_else(BTreeSet::new, |view| {
        managed_entries(observed, view, &entries, &mappings, config_map, &key)
    });
    let named = |mapping: &Cow<'_, Mapping>| {
        let written = view.map(|view| mapping.written_entries(&view.cluster.arn));
        mapping.key().as_ref() == Some(&key)
            || mapping.written(config_map).contains_key(&key)
            || written.is_some_and(|written| written.contains_key(&key))
    };
    let orphan = !mappings.iter().any(named);
    let words = confirmed_for_orphans(observed);
    let confirmed_orphans = (orphan && words.is_some()).then(|| hash.clone());
    let removals =
        Removals::known(observed, remembered, false).with_ends_of(&mappings, observed.now);
    let before = Before {
        now: observed.now,
        mode: observed.aws.mode(),
        text: &text,
        last_good: &text,
        mark: &mark,
        managed: &managed,
        managed_entries: &managed_entries,
        view,
        iam: observed.aws.iam(),
        entries: &entries,
        bindings: &observed.bindings,
        mappings: &mappings,
        states: &states,
        config_map,
        removals: &removals,
        recordable: true,
        orphans: &words.unwrap_or_default(),
        confirmed_orphans: &confirmed_orphans.into_iter().collect(),
        definition_deleting: observed.crd_deleting,
    };
    let proposal = Proposal {
        text: None,
        calls: BTreeMap::from([(&hash, calls)]),
        authority: Authority::Mappings,
    };
    match review(&before, &proposal).refusals.first() {
        Some(refusal) => Err(refusal.why.clone()),
        None => Ok(()),
    }
}

/// What the managed entries of aws-auth mean, that of the key also where the mark was lost and a status knows it.
fn managed_texts(
    observed: &Observed,
    text: &Document,
    mark: &Mark,
    mappings: &[Cow<'_, Mapping>],
    config_map: &str,
    key: &Key,
) -> BTreeMap<KeyHash, Meaning> {
    let hash = KeyHash::of(key);
    let written: Vec<Meaning> = mappings
        .iter()
        .filter_map(|mapping| mapping.written(config_map).remove(key))
        .filter(|remembered| remembered.own)
        .map(|remembered| remembered.meaning)
        .collect();
    let copies = observed.history.view().map_or(&[][..], |view| &view.recent);
    let standing: Vec<_> = text
        .entries()
        .filter(|entry| entry.key().as_ref() == Some(key))
        .collect();
    let recognised = recognise(
        &standing,
        &Evidence {
            mark: mark.0.get(&hash),
            written: &written.iter().collect::<Vec<_>>(),
            known: &KnownUnmanaged::new(&Unmanaged::default(), copies),
            never_ours: &|_| false,
        },
    );
    let mut managed = Marked::in_text(text, mark).into_meanings();
    match recognised.entry() {
        Some(entry) => managed.insert(hash, entry.meaning()),
        None => managed.remove(&hash),
    };
    managed
}

/// The principals of the key's access entries that are ours, by tag or by the status of a mapping of this very principal.
fn managed_entries(
    observed: &Observed,
    view: &AwsView,
    entries: &StandingEntries<'_>,
    mappings: &[Cow<'_, Mapping>],
    installation: &str,
    key: &Key,
) -> BTreeSet<String> {
    let cluster = &view.cluster.arn;
    let written: Vec<_> = mappings
        .iter()
        .filter_map(|mapping| {
            let written = mapping.written_entries(cluster).remove(key)?;
            mapping.names(&written.arn).then_some(written)
        })
        .collect();
    let of_aws = |entry: &AccessEntry| keeper(entry, &view.managed, observed.now).is_aws();
    let standing = entries.of_key(key).iter();
    let ours = standing.filter(|standing| {
        let written = written.iter().copied();
        managed_by(standing.state, installation, cluster, written, of_aws).is_some()
    });
    ours.map(|standing| standing.principal_arn.to_owned())
        .collect()
}

/// What the history's annotation confirms for a set of orphans; `None` where it names none. Of which set the plan knew, and the answers
/// to its first calls have changed what is left of it.
fn confirmed_for_orphans(observed: &Observed) -> Option<BTreeSet<Confirmation>> {
    let view = observed.history.view()?;
    let (words, others) = Confirmation::parse_list(view.annotations.get(CONFIRM_ANNOTATION)?);
    let names_a_set = others
        .iter()
        .any(|word| word.starts_with(Confirmation::MassRemoval.as_str()));
    names_a_set.then(|| words.into_iter().collect())
}
