//! Events about aws-auth itself, each published once while its cause lasts.

use sha2::{Digest, Sha256};

use crate::access_entry::BRIDGE_GROUP;
use crate::api::condition::Reason;
use crate::api::v1alpha1::{CONFIRM_ANNOTATION, Confirmation};
use crate::aws_auth::{Document, Entry, Problem, Section};
use crate::effective::is_node;
use crate::observed::{CLUSTER_ANNOTATION, Kept, Repair};
use crate::plan::action::{EventNote, Outcome, Regarding};
use crate::plan::claim::{Claim, EntryStep, Step};
use crate::plan::decide::access_entry;
use crate::plan::memory::RepairTarget;
use crate::plan::report::bridge;
use crate::plan::report::context::View;
use crate::principal::Key;
use crate::time::to_the_second;

/// A state by a key that stays the same for as long as it lasts, and the event that tells of it.
type ConfigMapState = (String, EventNote);

/// The states of this pass.
pub(crate) fn states(view: &View<'_>) -> Vec<ConfigMapState> {
    let broken = Section::ALL
        .into_iter()
        .filter_map(|section| broken(view, section));
    let contested = view.memory.undone.all_contested(view.plan.observed.now);
    let contested = contested.filter_map(|target| self::contested(view, target));
    let others = [
        deleted(view),
        orphans(view),
        released(view),
        failed(view),
        halted(view),
        cluster_changed(view),
        bridge_left(view),
        queue(view),
        unreachable(view),
        unlisted(view),
    ];
    broken
        .chain(contested)
        .chain(others.into_iter().flatten())
        .collect()
}

fn state(
    key: impl Into<String>,
    reason: Reason,
    action: &'static str,
    note: String,
) -> ConfigMapState {
    (
        key.into(),
        EventNote {
            regarding: Regarding::ConfigMap,
            reason,
            action,
            note,
        },
    )
}

/// A key that does not parse. In a fight one event on the fight tells.
fn broken(view: &View<'_>, section: Section) -> Option<ConfigMapState> {
    let base = &view.plan.base;
    let problem = base.standing.section(section).broken.as_ref()?;
    if view
        .memory
        .undone
        .contested(&RepairTarget::Text(section), view.plan.observed.now)
    {
        return None;
    }
    let text = view
        .plan
        .observed
        .config_map
        .as_ref()?
        .data
        .get(section.key())?;
    let repaired = view.written
        && base
            .restored
            .iter()
            .any(|restored| restored.section == section);
    let (reason, what) = if repaired {
        (
            Reason::InvalidYAMLRepaired,
            "its last good text has been restored, and the broken one is kept in the history",
        )
    } else {
        (
            Reason::InvalidYAML,
            "nothing of it is active until it is fixed with kubectl edit",
        )
    };
    let key = format!("{reason}/{section}/{:.16x}", Sha256::digest(text));
    let manager = view.manager(section);
    let by = if manager == "unknown" {
        String::new()
    } else {
        format!(", written by {manager}")
    };
    let note = format!("{}{by}; {what}", describe(problem));
    Some(state(key, reason, "Repair", note))
}

fn describe(problem: &Problem) -> String {
    format!(
        "{} does not parse, so the authenticator drops all of it: {}: {}",
        problem.section,
        problem.place(),
        problem.message
    )
}

fn contested(view: &View<'_>, target: &RepairTarget) -> Option<ConfigMapState> {
    let what = match target {
        RepairTarget::Text(section) => format!("the text of {section}"),
        RepairTarget::ConfigMap => "aws-auth itself".to_owned(),
        RepairTarget::Mark => "the ownership mark".to_owned(),
        // A condition of its mapping tells.
        RepairTarget::Entry(_) | RepairTarget::AccessEntry(_) => return None,
    };
    let manager = view.manager(Section::Roles);
    let note = format!(
        "another writer keeps reverting {what}, last {manager}, and the operator repairs it once a second; stop one of the two"
    );
    Some(state(
        format!("contested/{target:?}"),
        Reason::Contested,
        "Repair",
        note,
    ))
}

/// aws-auth was deleted: what was restored, and what was not.
fn deleted(view: &View<'_>) -> Option<ConfigMapState> {
    let base = &view.plan.base;
    if !(base.deleted && base.create) {
        return None;
    }
    let (reason, note) = match (base.repair, view.written) {
        (Repair::LastGood, true) => {
            let note = "the ConfigMap was deleted and has been restored to its last content, with the mappings applied";
            (Reason::ConfigMapRestored, note.to_owned())
        }
        (Repair::Off, true) => (
            Reason::ConfigMapDeleted,
            lost(view, "has been created again with the managed entries only"),
        ),
        (Repair::Off | Repair::LastGood, false) => {
            (Reason::ConfigMapDeleted, lost(view, "no longer exists"))
        }
    };
    Some(state(reason.as_str(), reason, "Repair", note))
}

/// What went with a deleted aws-auth.
fn lost(view: &View<'_>, what: &str) -> String {
    let memory = view.plan.memory;
    let before = memory
        .standing
        .as_ref()
        .map(|standing| Document::parse(&standing.data));
    let foreign = |entry: &&Entry| entry.key().is_none() || memory.unmanaged.has(entry);
    let foreign: Vec<&Entry> = before
        .iter()
        .flat_map(Document::entries)
        .filter(foreign)
        .collect();
    let nodes: Vec<&str> = foreign
        .iter()
        .filter(|entry| is_node(&entry.meaning(), &view.plan.observed.bindings))
        .map(|entry| entry.arn.as_str())
        .collect();
    format!(
        "the ConfigMap was deleted and {what}: {} unmanaged entries are lost, node entries among them: {}; restore them with `identity-mapper rollback`, from the copies in {}",
        foreign.len(),
        if nodes.is_empty() {
            "none".to_owned()
        } else {
            nodes.join(", ")
        },
        view.plan.settings.config_map.history()
    )
}

fn orphans(view: &View<'_>) -> Option<ConfigMapState> {
    let orphans = view.plan.claims.iter().filter(|claim| {
        claim.orphan()
            && claim.effective() == Step::Leave
            && claim.entry.effective() == EntryStep::Leave
    });
    let orphans: Vec<&Claim> = orphans.collect();
    let first = orphans.first()?;
    let names = orphans.iter().take(10).map(|claim| {
        claim
            .key
            .as_ref()
            .map_or_else(|| claim.hash.as_str().to_owned(), Key::to_string)
    });
    let blocks = [&first.block, &first.entry.block];
    let awaiting = blocks
        .into_iter()
        .flatten()
        .find_map(|block| block.awaiting);
    let more = match awaiting {
        Some(Confirmation::MassRemoval) | None => String::new(),
        Some(other) => format!(",{other}"),
    };
    let history = view.plan.settings.config_map.history();
    // The command comes before the names, so that a long list of them never cuts it off.
    let note = format!(
        "no mapping names these managed entries ({}), so they stay. To remove them: kubectl annotate configmap -n {} {} --overwrite \
         {CONFIRM_ANNOTATION}={}{more}. Principals: {}",
        orphans.len(),
        history.namespace,
        history.name,
        view.plan.orphans.word(),
        names.collect::<Vec<_>>().join(", "),
    );
    let hashes: Vec<&str> = orphans.iter().map(|claim| claim.hash.as_str()).collect();
    Some(state(
        format!("orphans/{}", hashes.join("/")),
        Reason::OrphanedEntries,
        "Reconcile",
        note,
    ))
}

fn released(view: &View<'_>) -> Option<ConfigMapState> {
    let note =
        "ownership was given up (release): the operator writes nothing until it is restarted";
    view.plan
        .released
        .then(|| state("released", Reason::Released, "Reconcile", note.to_owned()))
}

fn failed(view: &View<'_>) -> Option<ConfigMapState> {
    let Outcome::Failed(_) = view.outcome else {
        return None;
    };
    let block = view.not_written()?;
    Some(state(
        format!("failed/{}", block.reason),
        block.reason,
        "Write",
        block.message,
    ))
}

/// Nothing is written at all, because the cluster or its mode is not known for certain.
fn halted(view: &View<'_>) -> Option<ConfigMapState> {
    let block = view.plan.halted.as_ref()?;
    Some(state(
        format!("halted/{}", block.reason),
        block.reason,
        "Reconcile",
        block.message.clone(),
    ))
}

/// What the cluster's objects say of EKS is of another cluster, as after a restore into a clone: the record is replaced.
fn cluster_changed(view: &View<'_>) -> Option<ConfigMapState> {
    let aws = view.plan.observed.aws.view()?;
    let history = view.plan.observed.history.view()?;
    let before = Kept::parse(history.annotations.get(CLUSTER_ANNOTATION)?)?;
    let now = &aws.cluster.arn;
    (aws.unreachable.is_none() && before.arn != *now).then(|| {
        let note = format!(
            "{} is of EKS cluster {}, and this is {now}: the mappings grant access to {now} as declared, and nothing of the other cluster is changed",
            view.plan.settings.config_map.history(),
            before.arn
        );
        state(format!("changed/{}", before.arn), Reason::ClusterChanged, "Observe", note)
    })
}

/// The bridge binding makes administrators of everyone who has its group, so it must not outlive a handover.
fn bridge_left(view: &View<'_>) -> Option<ConfigMapState> {
    let due = bridge::reported(view.plan, view.memory)? <= view.plan.observed.now;
    let note = format!(
        "a temporary ClusterRoleBinding gives cluster-admin to group {BRIDGE_GROUP}, and no handover needs it now; delete it unless another handover follows"
    );
    due.then(|| state("bridge", Reason::TemporaryBindingLeft, "Reconcile", note))
}

/// The queue is a faster ear; without it the listings still find everything.
fn queue(view: &View<'_>) -> Option<ConfigMapState> {
    let failure = view.plan.eks.as_ref()?.view.queue.as_ref()?;
    let note = format!(
        "the queue that reports changes in EKS can't be read, so changes are found by the next listing: {failure}"
    );
    Some(state("queue", Reason::QueueUnreadable, "Observe", note))
}

/// EKS can't be asked: what was read last stays in force.
fn unreachable(view: &View<'_>) -> Option<ConfigMapState> {
    let aws = view.plan.observed.aws.view()?;
    let unreachable = aws.unreachable.as_ref()?;
    let note = format!(
        "EKS can't be reached; the authentication mode {} of {} stays in force: aws-auth is kept where it is read, and no access entry is changed: {}",
        aws.mode,
        to_the_second(unreachable.read),
        unreachable.failure
    );
    Some(state(
        "unreachable",
        Reason::EksUnavailable,
        "Observe",
        note,
    ))
}

/// The listings fail: what others change in EKS is not found.
fn unlisted(view: &View<'_>) -> Option<ConfigMapState> {
    let eks = view.plan.eks.as_ref()?;
    let failure = eks.view.unlisted.as_ref()?;
    let block = access_entry::unlisted_block(failure);
    Some(state("unlisted", block.reason, "Observe", block.message))
}
