//! The operator's settings that plans depend on.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

use crate::observed::Mode;

/// A `ConfigMap` by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ConfigMapName {
    /// Whether it is the one that EKS reads. Any other is a trial on a copy.
    #[must_use]
    pub fn is_read_by_eks(&self) -> bool {
        *self == Self::default()
    }

    /// The history `ConfigMap` beside it. A copy that is tried on first has a history of its own.
    #[must_use]
    pub fn history(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: format!("{}-history", self.name),
        }
    }
}

impl Default for ConfigMapName {
    fn default() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: "aws-auth".to_owned(),
        }
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Declares a setting of some words, the first of which is the default, and reads it.
macro_rules! setting {
    ($(#[$doc:meta])* $name:ident { $(#[$first_doc:meta])* $first:ident, $($(#[$other_doc:meta])* $other:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $($(#[$other_doc])* $other,)+
        }

        impl $name {
            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => stringify!($first),
                    $(Self::$other => stringify!($other),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let same = |word: &str| word.eq_ignore_ascii_case(text);
                if same(stringify!($first)) {
                    return Ok(Self::$first);
                }
                $(if same(stringify!($other)) {
                    return Ok(Self::$other);
                })+
                Err(format!(
                    "{text:?} is not one of its values; expected {}",
                    [stringify!($first), $(stringify!($other)),+].join(" or ")
                ))
            }
        }
    };
}

setting! {
    /// What to do about a key of aws-auth that does not parse, or a deleted aws-auth.
    Repair {
        /// Restore the last text that this process saw in force and parsing, unmanaged entries included.
        LastGood,
        /// Write nothing over a text that does not parse; make a deleted aws-auth again with our entries only.
        Off
    }
}

setting! {
    /// Whether mappings that stand in aws-auth are handed over to access entries in `API_AND_CONFIG_MAP` mode, or back. Kept in
    /// an annotation of the history `ConfigMap`; the operator's flag gives its first value.
    Handover {
        /// Only where `spec.backend` asks for it.
        Manual,
        /// All that can be.
        Auto,
        /// The way back: what exists in an access entry goes back to aws-auth, where aws-auth can say the same. `migrate revert`
        /// sets it, and `Manual` once all are back.
        Revert
    }
}

setting! {
    /// What to do about an access entry whose principal was deleted and made again: it lets nobody in.
    RecreatedPrincipals {
        /// Say so in a condition.
        Report,
        /// Make the entry anew; an administrator's only with a confirmation.
        Renew
    }
}

/// How the operator was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `ConfigMap` that is kept, `kube-system/aws-auth` but for a trial on a copy.
    pub config_map: ConfigMapName,
    /// What to do about broken texts. `None`: `LastGood` in `CONFIG_MAP` mode, else `Off`.
    pub repair: Option<Repair>,
    /// Write no backend and no finalizer; statuses show the plan.
    pub observe: bool,
    /// The first value of the handover setting: what exists in the cluster wins.
    pub handover: Handover,
    /// How long an entry of aws-auth stays beside the access entry that replaces it.
    pub soak: SignedDuration,
    /// How long a change in EKS may take until it is in force everywhere.
    pub propagation: SignedDuration,
    /// What to do about principals that were deleted and made again.
    pub recreated: RecreatedPrincipals,
}

impl Settings {
    /// What to do about broken texts in a mode.
    #[must_use]
    pub fn repair_in(&self, mode: Option<Mode>) -> Repair {
        self.repair.unwrap_or(match mode {
            Some(Mode::ConfigMap) => Repair::LastGood,
            Some(Mode::ApiAndConfigMap | Mode::Api) | None => Repair::Off,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config_map: ConfigMapName::default(),
            repair: None,
            observe: false,
            handover: Handover::default(),
            soak: SignedDuration::from_hours(24),
            propagation: SignedDuration::from_secs(30),
            recreated: RecreatedPrincipals::default(),
        }
    }
}
