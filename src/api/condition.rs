//! Condition types and reasons, each in one enum.
//!
//! `Stalled` and `Reconciling` follow kstatus (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>), so that
//! `kubectl wait`, Flux and Argo CD read a mapping without customisation. Every [`Reason`] has a heading in
//! `docs/troubleshooting.md`; a test holds the two together.

use std::fmt;

/// The type of a condition of an `IdentityMapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec can be put into effect in this cluster.
    Accepted,
    /// Someone undoes the entry again and again; it is repaired at most once a second meanwhile.
    Contested,
    /// Some binding names each of the groups. A warning: it never makes `Ready` false.
    GroupsBound,
    /// The authenticator would now give this principal exactly the declared identity.
    Ready,
    /// The operator works on it or retries.
    Reconciling,
    /// Only a person can mend it; the message says how.
    Stalled,
    /// The backend holds what the spec declares, and the entry is marked as ours.
    Synced,
}

impl ConditionType {
    /// All types, in the order in which a status lists them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Contested,
        Self::GroupsBound,
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::Synced,
    ];

    /// The word that stands in `status.conditions[].type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Contested => "Contested",
            Self::GroupsBound => "GroupsBound",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Synced => "Synced",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares [`Reason`], its words and the list of all.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition has its status, or why an event was published.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word that stands in `reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// The spec can be put into effect.
    Accepted,
    /// IAM denies the operator a call; the message holds the policy statement to add.
    AccessDenied,
    /// `accessPolicies` take effect only through access entries; the rest of the mapping is in effect.
    AccessPoliciesIneffective,
    /// EKS offers no access policy of that name.
    AccessPolicyUnknown,
    /// The backend or type that the spec asks for does not exist in the cluster's authentication mode.
    BackendUnavailable,
    /// Bindings have not been searched yet for a group that no mapping named before.
    BindingsNotRead,
    /// A binding of the bridge group stands although nothing is being handed over.
    BridgeLeft,
    /// The cluster of that name in EKS is not the one whose API server the operator talks to; nothing is written.
    ClusterUnproven,
    /// aws-auth was deleted.
    ConfigMapDeleted,
    /// The new text, or the annotations, would exceed what the API server takes.
    ConfigMapFull,
    /// aws-auth is `immutable: true`.
    ConfigMapImmutable,
    /// aws-auth was deleted and has been made again.
    ConfigMapRestored,
    /// Someone undoes our writes again and again.
    Contested,
    /// An entry of ours was changed or removed by someone else and has been put right.
    DriftRepaired,
    /// An older mapping names the same principal.
    DuplicatePrincipal,
    /// The new text, read back, did not mean what was planned; nothing was written.
    EditUnverified,
    /// EKS refuses a call, in its own words.
    EksRefused,
    /// EKS could not be asked, or did not answer; it is tried again.
    EksUnavailable,
    /// The entry can't be changed without touching bytes of a foreign one.
    EntryEntangled,
    /// A deleted mapping's entry was not ours any more and still stands.
    EntryLeft,
    /// A call to EKS is on its way, or about to be made.
    EntryPending,
    /// The cluster holds as many access entries as EKS allows.
    EntryQuotaExceeded,
    /// `validUntil` has passed.
    Expired,
    /// The finalizer could not be set yet, so nothing is granted yet.
    FinalizerPending,
    /// A foreign entry of the same principal says something else.
    ForeignEntry,
    /// Some binding names each group.
    GroupsBound,
    /// The groups can't be looked up, because they are templates.
    GroupsTemplated,
    /// No binding names some group.
    GroupsUnbound,
    /// The principal is being moved from one backend to the other.
    HandingOver,
    /// The principal stays in aws-auth until a person has cleared what the message names.
    HandoverBlocked,
    /// The history of aws-auth can't be written; grants wait.
    HistoryUnwritable,
    /// The entry is in effect as declared.
    InEffect,
    /// A field of the spec is wrong; the message names it.
    InvalidSpec,
    /// The cluster's authentication mode could not be read, and none is remembered; nothing is written.
    ModeUnknown,
    /// The mapping would make or change a node entry, which needs a node type or a confirmation.
    NodeEntryUnconfirmed,
    /// The role is one of nodes, so no access entry of type Standard is made for it.
    NodeRole,
    /// The condition does not apply now.
    NotApplicable,
    /// An access entry can't express what the spec declares.
    NotExpressible,
    /// An identical foreign entry stands and `adoption: Never` leaves it foreign.
    NotOwned,
    /// `--observe`: nothing is written.
    Observing,
    /// Entries that are marked as ours and that no mapping names.
    OrphanedEntries,
    /// The permission set has no known role.
    PermissionSetUnresolved,
    /// EKS does not know the principal.
    PrincipalInvalid,
    /// IAM has no such principal any more.
    PrincipalMissing,
    /// The principal was deleted and made again, so its access entry lets nobody in.
    PrincipalRecreated,
    /// The queue that tells of changes in EKS can't be read; changes are found by listing.
    QueueUnreadable,
    /// Everything was released; the operator writes nothing until it is restarted.
    Released,
    /// A guard holds the removal or change until a person confirms it.
    RemovalHeld,
    /// Another entry wins over ours.
    Shadowed,
    /// `suspend: true`.
    Suspended,
    /// The entry stands as declared and is marked as ours.
    Synced,
    /// A key of aws-auth does not parse, so the authenticator drops it whole.
    TextBroken,
    /// A key that did not parse was put back to its last good text.
    TextRestored,
    /// The entry is gone, but something else still lets the principal in.
    Uncovered,
    /// Admission denied the write of aws-auth.
    WriteDenied,
    /// The write of aws-auth did not get through; it is retried.
    WriteFailed,
    /// RBAC forbids the write of aws-auth.
    WriteForbidden,
    /// The API server refused the write of aws-auth as invalid.
    WriteInvalid,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
