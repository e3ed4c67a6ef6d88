//! Nothing is written from what could not be read, and a failed read is never an empty list.

use super::world::{Subject, World};
use super::{Authority, Refusal, Rule};
use crate::access_entry::Call;
use crate::api::condition::Reason;
use crate::aws_auth::{Document, Section, SectionView};
use crate::observed::{ConfigMapName, Mode};
use crate::principal::PrincipalKind;

pub(super) fn refuse(world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let Some(text) = world.proposal.text
        && let Some(section) = unread(world, text.document)
    {
        refusals.push(Refusal {
            rule: Rule::Read,
            principal: None,
            reason: Reason::InvalidYAML,
            why: format!("{section} does not parse, so the operator does not overwrite it"),
            confirmation: None,
            transient: false,
        });
    }
    refusals.extend(world.subjects.iter().filter_map(|subject| {
        let (reason, why) = unfounded(world, subject)?;
        Some(Refusal::lasting(Rule::Read, subject, reason, why))
    }));
    let unlisted = world
        .before
        .view
        .is_some_and(|view| view.entries.listed.is_none());
    if unlisted || world.before.mode.is_none() {
        let touches = |call: &Call| !matches!(call, Call::Describe { .. });
        let subjects = world.subjects.iter();
        refusals.extend(
            subjects
                .filter(|subject| subject.calls.iter().any(touches))
                .map(|subject| {
                    let why = "the access entries have not been listed yet, so none is changed";
                    Refusal::lasting(Rule::Read, subject, Reason::EntryPending, why).passing()
                }),
        );
    }
    refusals
}

/// Why no call may change the subject's access entry, whatever it is.
fn unfounded(world: &World<'_>, subject: &Subject<'_>) -> Option<(Reason, String)> {
    let mut calls = subject.calls.iter();
    calls.find(|call| !matches!(call, Call::Describe { .. }))?;
    if world.before.config_map != ConfigMapName::default().to_string() {
        let why = format!(
            "EKS does not read {}, so no access entry is changed for it",
            world.before.config_map
        );
        return Some((Reason::Observing, why));
    }
    // What it holds for the principal is not known, and a new entry would take precedence over it.
    let section = match subject.key.kind() {
        PrincipalKind::Role => Section::Roles,
        PrincipalKind::User => Section::Users,
    };
    let broken = world.before.text.section(section).broken.is_some();
    let creates = |call: &Call| matches!(call, Call::Create { .. });
    (broken
        && world.before.mode == Some(Mode::ApiAndConfigMap)
        && subject.calls.iter().any(creates))
    .then(|| {
        let why =
            format!("{section} does not parse, so it is unknown what it grants, and the operator creates no access entry that \
                would take precedence");
        (Reason::InvalidYAML, why)
    })
}

/// A section that does not parse and is written over, unless it becomes the last text that was seen in force with the plan applied;
/// or one that would not parse any more.
fn unread(world: &World<'_>, then: &Document) -> Option<Section> {
    let broken = |view: &SectionView| view.broken.is_some();
    Section::ALL.into_iter().find(|section| {
        let (now, then) = (world.before.text.section(*section), then.section(*section));
        let good = world.before.last_good.section(*section);
        match (broken(now), broken(then)) {
            (false, true) => true,
            // A person who confirmed the diff repairs it.
            (true, false) => broken(good) && world.proposal.authority == Authority::Mappings,
            (true, true) | (false, false) => false,
        }
    })
}
