//! Who gets more gets exactly what a live mapping declares for its own principal.

use std::collections::BTreeMap;

use super::possibility::Access;
use super::world::{Subject, World};
use super::{Refusal, Rule};
use crate::access_entry::{BRIDGE_GROUP, Scope, target};
use crate::api::condition::Reason;
use crate::aws_auth::{Entry, Meaning};
use crate::desired::{Spec, State};
use crate::effective::EffectiveEntry;
use crate::principal::Principal;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for subject in &world.subjects {
        let specs: Vec<&Spec> = world
            .declaring(&subject.hash)
            .filter(|(_, state)| *state == State::Live)
            // A role that a status remembers keeps what is managed, and gets nothing that is not.
            .filter(|(mapping, _)| subject.managed || !mapping.remembered)
            .filter_map(|(mapping, _)| mapping.spec.as_ref().ok())
            .collect();
        let text = new_texts(world, subject)
            .into_iter()
            .any(|meaning| !specs.iter().any(|spec| declares(spec, &meaning)));
        let calls = !subject.calls.is_empty()
            && subject.transitions.iter().any(|transition| {
                more(subject, &transition.before, &transition.after).is_some_and(|after| {
                    !gives_back(world, subject, &transition.before, after)
                        && !specs
                            .iter()
                            .any(|spec| covers(world, spec, &transition.before, after))
                })
            });
        if text || calls {
            let why = "no live mapping declares what would be granted; nothing is written for this principal";
            refusals.push(Refusal::lasting(
                Rule::Grant,
                subject,
                Reason::EditUnverified,
                why,
            ));
        }
    }
    refusals
}

/// The entries of the key that the new text has and the old one has not, nor the last text that was seen in force.
fn new_texts(world: &World<'_>, subject: &Subject<'_>) -> Vec<Meaning> {
    let mut before = counts(world.now(&subject.hash));
    for (meaning, count) in counts(world.last_good(&subject.hash)) {
        let most = before.entry(meaning).or_default();
        *most = (*most).max(count);
    }
    let mut new = Vec::new();
    for entry in world.then(&subject.hash) {
        let meaning = entry.meaning();
        match before.get_mut(&meaning) {
            Some(left) if *left > 0 => *left -= 1,
            Some(_) | None => new.push(meaning),
        }
    }
    new
}

fn counts(entries: &[&Entry]) -> BTreeMap<Meaning, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.meaning()).or_default() += 1;
    }
    counts
}

fn declares(spec: &Spec, meaning: &Meaning) -> bool {
    spec.form
        .as_ref()
        .is_some_and(|form| form.meaning == *meaning)
}

/// What the principal gets by an access entry beyond what it has; `None` where it gets no more, or gets it from aws-auth, which
/// was there before or is judged by its text.
fn more<'t>(
    subject: &Subject<'_>,
    before: &'t Access,
    after: &'t Access,
) -> Option<&'t EffectiveEntry> {
    let Access::Is(then) = after else {
        return None;
    };
    let narrower = matches!(before, Access::Is(now) if then.is_within(now));
    let by_text = subject.by_text.contains(after) || subject.had_by_text.contains(after);
    (!narrower && !by_text).then_some(then)
}

/// Whether the entry of a role goes back to what AWS gives it: its default username, no groups, no further policies.
fn gives_back(
    world: &World<'_>,
    subject: &Subject<'_>,
    before: &Access,
    after: &EffectiveEntry,
) -> bool {
    let Access::Is(now) = before else {
        return false;
    };
    let default =
        |arn: &str| Principal::parse(arn).is_ok_and(|it| it.default_username() == after.username);
    let mut of_aws = world.kept_by_aws(subject);
    of_aws.any(default) && after.groups.is_empty() && {
        let named_so = EffectiveEntry {
            username: after.username.clone(),
            ..now.clone()
        };
        after.is_within(&named_so)
    }
}

/// Whether a spec declares what an access entry gives, but for what it gave before.
fn covers(world: &World<'_>, spec: &Spec, before: &Access, after: &EffectiveEntry) -> bool {
    let Some(cluster) = world.before.cluster() else {
        return false;
    };
    let Ok(target) = target(&spec.declared(), cluster) else {
        return false;
    };
    let before = match before {
        Access::Is(entry) => Some(entry),
        Access::None | Access::Unseen => None,
    };
    let node = spec.is_node();
    // Where none is sent, EKS chooses the username.
    let username = target
        .username
        .as_ref()
        .is_none_or(|it| *it == after.username)
        || before.is_some_and(|before| before.username == after.username);
    let group = |group: &String| {
        target.groups.contains(group)
            || (target.masters && group == BRIDGE_GROUP)
            || before.is_some_and(|before| before.groups.contains(group))
    };
    let policy = |(arn, scope): (&String, &Scope)| {
        let had = before.and_then(|before| before.policies.get(arn));
        let allowed = match (target.policies.get(arn), had) {
            (Some(declared), Some(had)) => Some(declared.union(had)),
            (declared, had) => declared.or(had).cloned(),
        };
        allowed.is_some_and(|allowed| scope.union(&allowed) == allowed)
    };
    after.kind == crate::access_entry::Kind::Known(target.type_)
        && (node || (username && after.groups.iter().all(group)))
        && after.policies.iter().all(policy)
}
