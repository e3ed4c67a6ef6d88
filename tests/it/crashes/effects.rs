//! Everything that lasts beyond the process that did it, by its name: what is asked of the API server by verb, resource, of
//! `ConfigMap`s name, and the part that is written where parts mean different things; what is asked of AWS by its operation.

use super::scenarios::Scenario;
use crate::support::eks::Side;

const STATUS: &str = "patch identitymappings/status";
const ADDED: &str = "patch identitymappings (finalizer added)";
const REMOVED: &str = "patch identitymappings (finalizer removed)";
const TEXT: &str = "patch configmaps aws-auth";
const HISTORY: &str = "create configmaps aws-auth-history";
/// What was kept of the text before.
const COPY: &str = "patch configmaps aws-auth-history (copy)";
/// The removals of the last minutes, which a restart must not forget.
const REMOVALS: &str = "patch configmaps aws-auth-history (removals)";
const COPY_AND_REMOVALS: &str = "patch configmaps aws-auth-history (copy, removals)";
/// What is kept of the cluster for the time when EKS can't be reached.
const CLUSTER: &str = "patch configmaps aws-auth-history (cluster)";
const HANDOVER: &str = "patch configmaps aws-auth-history (handover)";
const RELEASED: &str = "patch configmaps aws-auth-history (released)";
const MANAGED_AGAIN: &str = "patch configmaps aws-auth-history (copy, no released)";
const ANSWERED: &str = "patch configmaps aws-auth-history (no ping)";

/// What a leader does again and again, without an end.
pub(super) const RENEWAL: &str = "update leases (renewed)";

/// All effects. One that is not here fails the test of the scenario that has it; so does one that no scenario has.
pub(super) const EFFECTS: [&str; 32] = [
    // The operator's.
    "create configmaps aws-auth",
    HISTORY,
    "create events",
    "create leases",
    TEXT,
    COPY,
    COPY_AND_REMOVALS,
    REMOVALS,
    CLUSTER,
    MANAGED_AGAIN,
    ANSWERED,
    "patch events",
    ADDED,
    REMOVED,
    STATUS,
    RENEWAL,
    "update leases (taken)",
    "update leases (released)",
    "AssociateAccessPolicy",
    "CreateAccessEntry",
    "DeleteAccessEntry",
    "DeleteMessageBatch",
    "DisassociateAccessPolicy",
    "TagResource",
    "UntagResource",
    "UpdateAccessEntry",
    // Those of commands alone.
    HANDOVER,
    RELEASED,
    "create clusterrolebindings",
    "create identitymappings",
    "delete clusterrolebindings",
    "UpdateClusterConfig",
];

/// What any scenario may have: messages that came before are deleted, and an event that came before is counted once more.
pub(super) const ANYWHERE: [&str; 2] = ["DeleteMessageBatch", "patch events"];

/// The effects that a scenario may have, and no others. The first scenario that has an effect here has it each time.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn of(scenario: Scenario) -> &'static [&'static str] {
    match scenario {
        Scenario::Started => &[HISTORY, "create events", TEXT, ADDED, STATUS],
        // What is declared a moment later may need a write of its own.
        Scenario::Created => &[
            "create configmaps aws-auth",
            "create events",
            COPY,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::Repaired => &["create events", TEXT, COPY, "patch events", STATUS],
        Scenario::Granted | Scenario::Adopted => &["create events", COPY, TEXT, ADDED, STATUS],
        Scenario::Changed | Scenario::MarkLost | Scenario::Suspended => {
            &["create events", COPY, TEXT, STATUS]
        }
        Scenario::Revoked => &["create events", COPY_AND_REMOVALS, TEXT, REMOVED, STATUS],
        Scenario::Retained => &["create events", COPY, TEXT, REMOVED, STATUS],
        Scenario::Expired => &[
            "create events",
            COPY,
            COPY_AND_REMOVALS,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::Many => &[
            "create events",
            COPY,
            COPY_AND_REMOVALS,
            TEXT,
            ADDED,
            REMOVED,
            STATUS,
        ],
        Scenario::Pinged => &[ANSWERED, STATUS],
        Scenario::Elected => &[
            "create leases",
            RENEWAL,
            "update leases (taken)",
            "update leases (released)",
            HISTORY,
            "create events",
            COPY,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::EntryGranted => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "DeleteMessageBatch",
            "TagResource",
            "create events",
            ADDED,
            STATUS,
        ],
        Scenario::EntryRepaired => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "TagResource",
            "create events",
            STATUS,
        ],
        Scenario::EntryChanged => &[
            "AssociateAccessPolicy",
            "DisassociateAccessPolicy",
            "UpdateAccessEntry",
            "create events",
            STATUS,
        ],
        Scenario::EntryRevoked => &[
            "DeleteAccessEntry",
            "create events",
            REMOVALS,
            REMOVED,
            STATUS,
        ],
        Scenario::EntryTypeChanged | Scenario::EntryMoved | Scenario::EntryRecreated => &[
            "CreateAccessEntry",
            "DeleteAccessEntry",
            "TagResource",
            "create events",
            REMOVALS,
            STATUS,
        ],
        Scenario::EntryAdopted => &["TagResource", "create events", ADDED, STATUS],
        Scenario::EntryRetained => &["UntagResource", "create events", REMOVED, STATUS],
        Scenario::Made => &[
            "CreateAccessEntry",
            "TagResource",
            "create events",
            ADDED,
            STATUS,
        ],
        Scenario::MadeForAdministrators => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "TagResource",
            "UpdateAccessEntry",
            "create events",
            ADDED,
            STATUS,
        ],
        Scenario::Broken => &["create events", COPY, TEXT, STATUS],
        Scenario::ModeChanged => &[
            "CreateAccessEntry",
            "TagResource",
            "create events",
            CLUSTER,
            ADDED,
            STATUS,
        ],
        Scenario::WentBack | Scenario::Reverted => &[
            "DeleteAccessEntry",
            "create events",
            COPY,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::BothDeleted => &[
            "DeleteAccessEntry",
            "create events",
            COPY,
            REMOVALS,
            COPY_AND_REMOVALS,
            TEXT,
            REMOVED,
            STATUS,
        ],
        Scenario::RolledBack => &[COPY, TEXT],
        Scenario::RolledBackToNothing => &["create configmaps aws-auth"],
        Scenario::Fixed => &[HISTORY, TEXT],
        Scenario::Released => &["UntagResource", RELEASED, TEXT, REMOVED, STATUS],
        Scenario::Resumed => &[
            "TagResource",
            MANAGED_AGAIN,
            "create events",
            COPY,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::Imported => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "TagResource",
            "UpdateAccessEntry",
            "UpdateClusterConfig",
            "create clusterrolebindings",
            "create events",
            "create identitymappings",
            "delete clusterrolebindings",
            CLUSTER,
            COPY,
            HANDOVER,
            TEXT,
            ADDED,
            STATUS,
        ],
        Scenario::MigratedThere => &[
            "AssociateAccessPolicy",
            "CreateAccessEntry",
            "TagResource",
            "UpdateAccessEntry",
            "UpdateClusterConfig",
            "create clusterrolebindings",
            "delete clusterrolebindings",
            HISTORY,
            CLUSTER,
            COPY,
            HANDOVER,
            TEXT,
        ],
        Scenario::MigratedOn | Scenario::MigratedBack => &[
            "DeleteAccessEntry",
            "UntagResource",
            "create clusterrolebindings",
            "delete clusterrolebindings",
            CLUSTER,
            COPY,
            HANDOVER,
            REMOVALS,
            COPY_AND_REMOVALS,
            TEXT,
        ],
    }
}

/// Where processes die in any case beside the first scenario that has the effect: the same write means something else there.
pub(super) const FURTHER: [(Scenario, &str, Side); 10] = [
    // A revocation.
    (Scenario::Revoked, TEXT, Side::After),
    (Scenario::EntryRecreated, "CreateAccessEntry", Side::Before),
    // A handover: its begin, its end, and the way back.
    (Scenario::Made, "CreateAccessEntry", Side::After),
    (Scenario::Broken, TEXT, Side::After),
    (Scenario::Reverted, "DeleteAccessEntry", Side::Before),
    // Commands.
    (Scenario::RolledBack, TEXT, Side::After),
    (
        Scenario::RolledBackToNothing,
        "create configmaps aws-auth",
        Side::After,
    ),
    (Scenario::Fixed, HISTORY, Side::After),
    (Scenario::Fixed, TEXT, Side::After),
    (Scenario::Released, TEXT, Side::After),
];

/// Where a standby takes over in any case: what it did not see, or can't know to have happened.
pub(super) const FAILOVERS: [(Scenario, &str, Side); 4] = [
    (Scenario::Granted, TEXT, Side::After),
    (Scenario::Revoked, REMOVED, Side::Before),
    (Scenario::EntryGranted, "CreateAccessEntry", Side::After),
    (Scenario::Made, "CreateAccessEntry", Side::Before),
];

/// The first scenario that has an effect: processes die there in any case.
pub(super) fn home(effect: &str) -> Option<Scenario> {
    Scenario::all().find(|scenario| of(*scenario).contains(&effect))
}
