//! Condition types and reasons, each in one enum.
//!
//! `Stalled` and `Reconciling` follow kstatus (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>), so that
//! `kubectl wait`, Flux and Argo CD read a mapping without customisation. Every [`Reason`] has a heading in
//! `docs/troubleshooting.md`; a test holds the two together.

use std::fmt;

/// The type of a condition of an `IdentityMapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec is valid and supported in this cluster.
    Accepted,
    /// Another writer keeps reverting the entry. Absent otherwise.
    Contested,
    /// A binding names each of the groups. A warning: it never makes `Ready` false.
    GroupsBound,
    /// The authenticator would now give this principal exactly the declared identity.
    Ready,
    /// The operator is working on it or retries. Absent otherwise, which kstatus reads as False.
    Reconciling,
    /// A person has to act. Absent otherwise, which kstatus reads as False.
    Stalled,
    /// The backend holds what the spec declares, and the entry is managed.
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

    /// The value of `status.conditions[].type`.
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

            /// The value of `reason`.
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
    /// The spec is valid and supported in this cluster.
    Accepted,
    /// The identity that a principal gets was changed.
    AccessChanged,
    /// IAM denies the operator a call; the message holds the policy statement to add.
    AccessDenied,
    /// A principal got access.
    AccessGranted,
    /// A principal now has access through the other backend.
    AccessMoved,
    /// `accessPolicies` take effect only through access entries; the rest of the mapping is active.
    AccessPoliciesIneffective,
    /// EKS offers no access policy of that name.
    AccessPolicyUnknown,
    /// A principal's entry was removed.
    AccessRevoked,
    /// The backend or type of the spec does not exist in the cluster's authentication mode.
    BackendUnavailable,
    /// Bindings have not been searched yet for a group that no mapping named before.
    BindingsNotRead,
    /// The history of aws-auth is of another EKS cluster, as in a clone.
    ClusterChanged,
    /// The EKS cluster and the Kubernetes API server are different clusters; nothing is written.
    ClusterMismatch,
    /// aws-auth was deleted.
    ConfigMapDeleted,
    /// The new text, or the annotations, would exceed what the API server accepts.
    ConfigMapFull,
    /// aws-auth is `immutable: true`.
    ConfigMapImmutable,
    /// aws-auth was deleted and has been created again.
    ConfigMapRestored,
    /// Another writer keeps reverting our writes.
    Contested,
    /// A managed entry was changed or removed by someone else and has been repaired.
    DriftRepaired,
    /// Another, active mapping names the same principal.
    DuplicatePrincipal,
    /// The new text, read back, differed from the plan; nothing was written.
    EditUnverified,
    /// EKS refused the call, in its own words.
    EksRefused,
    /// EKS can't be reached, or did not answer; the operator retries.
    EksUnavailable,
    /// An existing entry is now managed.
    EntryAdopted,
    /// The entry of a deleted mapping was no longer managed and still exists.
    EntryKept,
    /// The entry can't be changed without touching bytes of an unmanaged one.
    EntryNotEditable,
    /// A call to EKS is in flight, or about to be made.
    EntryPending,
    /// The cluster holds as many access entries as EKS allows.
    EntryQuotaExceeded,
    /// `validUntil` has passed.
    Expired,
    /// The finalizer could not be set yet, so nothing is granted yet.
    FinalizerPending,
    /// A binding names each group.
    GroupsBound,
    /// The groups are templates, whose values are known only at a login.
    GroupsTemplated,
    /// No binding names a group.
    GroupsUnbound,
    /// The principal is being moved from one backend to the other.
    HandingOver,
    /// The principal stays in aws-auth until a person has cleared what the message names.
    HandoverBlocked,
    /// The history of aws-auth can't be written; grants wait.
    HistoryUnwritable,
    /// The entry is active as declared.
    InEffect,
    /// A field of the spec is wrong; the message names it.
    InvalidSpec,
    /// A key of aws-auth does not parse, so the authenticator drops it whole.
    InvalidYAML,
    /// A key that did not parse was restored to its last good text.
    InvalidYAMLRepaired,
    /// The cluster's authentication mode could not be read, and none is remembered; nothing is written.
    ModeUnknown,
    /// The mapping would create or change a node entry, which needs a node type or a confirmation.
    NodeEntryNeedsConfirmation,
    /// The role is a node role, so it gets no access entry of type Standard.
    NodeRole,
    /// An access entry can't express the spec.
    NotExpressible,
    /// An identical unmanaged entry exists, and the mapping's `adoption` leaves it unmanaged.
    NotManaged,
    /// `--observe`: nothing is written.
    Observing,
    /// Managed entries that no mapping names.
    OrphanedEntries,
    /// The permission set has no known role.
    PermissionSetUnresolved,
    /// EKS does not know the principal.
    PrincipalInvalid,
    /// IAM no longer has such a principal.
    PrincipalNotFound,
    /// The principal was deleted and recreated, so its access entry no longer works.
    PrincipalRecreated,
    /// The queue that reports changes in EKS can't be read; changes are found by listing.
    QueueUnreadable,
    /// Ownership was given up; the operator writes nothing until it is restarted.
    Released,
    /// A safety rule holds the removal or change until a person confirms it.
    RemovalNeedsConfirmation,
    /// Another entry wins over the managed one.
    Shadowed,
    /// The entry was removed, but something else still grants the principal access.
    StillGranted,
    /// `suspend: true`.
    Suspended,
    /// The entry is as declared and is managed.
    Synced,
    /// The temporary `ClusterRoleBinding` exists although nothing is being handed over.
    TemporaryBindingLeft,
    /// An unmanaged entry of the same principal grants something else.
    UnmanagedEntry,
    /// Admission denied the write of aws-auth.
    WriteDenied,
    /// The write of aws-auth failed; the operator retries.
    WriteFailed,
    /// RBAC forbids the write of aws-auth.
    WriteForbidden,
    /// The API server refused the write of aws-auth as invalid.
    WriteInvalid,
}

impl Reason {
    /// Whether an event with it only reports what was done.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(
            self,
            Self::AccessChanged
                | Self::AccessGranted
                | Self::AccessMoved
                | Self::AccessRevoked
                | Self::DriftRepaired
                | Self::EntryAdopted
        )
    }

    /// Whether somebody wants it so: suspension, observation, `adoption: Never` and a release are wishes.
    #[must_use]
    pub const fn is_wish(self) -> bool {
        matches!(
            self,
            Self::Suspended | Self::Observing | Self::NotManaged | Self::Released
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
