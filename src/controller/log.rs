//! What a pass says in the log.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::pass;
use crate::plan::{AccessChange, EventNote, Outcome, Regarding, Report, WriteFailure};

/// Says what became of a pass, of whose access it changed, and of what somebody has to look after.
pub(super) fn log(outcome: &Outcome, conflicts: u32, duration: Duration, report: &Report) {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::NothingToWrite => debug!(milliseconds, "pass complete, nothing to write"),
        Outcome::Written {
            resource_version, ..
        } => {
            info!(
                milliseconds,
                conflicts, resource_version, "the ConfigMap was written"
            );
        }
        Outcome::Failed(WriteFailure::Unavailable(words)) => {
            warn!(milliseconds, conflicts, error = %words, "writing the ConfigMap failed, retrying");
        }
        Outcome::Failed(
            failure @ (WriteFailure::Denied(_)
            | WriteFailure::Forbidden(_)
            | WriteFailure::Invalid(_)),
        ) => {
            error!(milliseconds, conflicts, error = %pass::words(failure), "the API server refused the write of the ConfigMap");
        }
    }
    for change in &report.changes {
        log_change(change);
    }
    let open = report.events.iter().filter(|it| !it.reason.is_done());
    for EventNote {
        regarding,
        reason,
        note,
        ..
    } in open
    {
        let reason = reason.as_str();
        match regarding {
            Regarding::Mapping { name, .. } => warn!(reason, mapping = name, "{note}"),
            Regarding::ConfigMap => warn!(reason, "{note}"),
        }
    }
}

/// The audit trail: one line for each change of someone's access. docs/logging.md describes its fields.
fn log_change(change: &AccessChange) {
    let AccessChange {
        action,
        backend,
        principal,
        now,
        before,
        regarding,
        generation,
        cause,
        detail,
    } = change;
    let mapping = match regarding {
        Regarding::Mapping { name, .. } => Some(name),
        Regarding::ConfigMap => None,
    };
    let (action, backend) = (action.as_str(), backend.as_str());
    let groups = now.as_ref().map(|it| it.groups.join(", "));
    let policies = now.as_ref().map(|it| it.policies.join(", "));
    let username = now.as_ref().map(|it| &it.username);
    let before = before.as_ref().map(ToString::to_string);
    info!(
        audit = action,
        principal,
        username,
        groups,
        policies,
        before,
        backend,
        mapping,
        generation,
        cause = %cause,
        detail,
        "access {action}"
    );
}
