//! The plan that would follow if all entries were declared, managed and handed over.

use std::sync::Arc;

use crate::access_entry::BRIDGE_GROUP;
use crate::api::finalizer::Finalizers;
use crate::desired::Desired;
use crate::observed::{AwsState, AwsView, Handover, HistoryState, Mode, Observed, Settings};
use crate::plan::{HANDOVER_ANNOTATION, Memory, Plan, RELEASED_ANNOTATION, plan};

/// Adoptions of aws-auth come to rest after one write; the rest is room for what an earlier one uncovers.
const ROUNDS: usize = 4;

/// The world as it will be when the handover begins: every mapping owns its entry of aws-auth, the bridge exists, the setting is
/// `Auto`. Nothing has been done in EKS.
pub(super) struct Ahead {
    desired: Desired,
    observed: Observed,
    settings: Settings,
    memory: Memory,
}

impl Ahead {
    /// Looks ahead to a mode.
    pub(super) fn new(
        desired: &Desired,
        observed: &Observed,
        view: &AwsView,
        settings: &Settings,
        mode: Mode,
    ) -> Self {
        let mut desired = desired.clone();
        for mapping in &mut desired.mappings {
            mapping.finalizers = Finalizers::BOTH;
        }
        let mut observed = observed.clone();
        observed.aws = AwsState::Known(Box::new(in_mode(view, mode, observed.now)));
        observed
            .bindings
            .admin_groups
            .insert(BRIDGE_GROUP.to_owned());
        observed.history = history(&observed.history);
        let settings = Settings {
            observe: false,
            handover: Handover::Auto,
            ..settings.clone()
        };
        let mut ahead = Self {
            desired,
            observed,
            settings,
            memory: Memory::default(),
        };
        for _ in 0..ROUNDS {
            let Some(view) = ahead.plan().written() else {
                break;
            };
            ahead.observed.config_map = Some(view);
        }
        ahead
    }

    /// The plan for that world.
    pub(super) fn plan(&self) -> Plan<'_> {
        plan(&self.desired, &self.observed, &self.settings, &self.memory)
    }
}

/// A cluster that has access entries, whatever prevents asking for them now.
fn in_mode(view: &AwsView, mode: Mode, now: crate::time::Timestamp) -> AwsView {
    let mut view = AwsView {
        mode,
        unreachable: None,
        unlisted: None,
        attempts: Arc::default(),
        in_flight: Arc::default(),
        ..view.clone()
    };
    if view.entries.listed.is_none() {
        Arc::make_mut(&mut view.entries).listed = Some(now);
    }
    view
}

fn history(standing: &HistoryState) -> HistoryState {
    match standing {
        HistoryState::Present(view)
        | HistoryState::Unwritable {
            view: Some(view), ..
        } => {
            let mut view = view.clone();
            let word = Handover::Auto.to_string();
            view.annotations
                .insert(HANDOVER_ANNOTATION.to_owned(), word);
            view.annotations.remove(RELEASED_ANNOTATION);
            HistoryState::Present(view)
        }
        HistoryState::Missing | HistoryState::Unwritable { view: None, .. } => {
            HistoryState::Missing
        }
    }
}
