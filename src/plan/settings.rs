//! How the operator was started, as far as a plan depends on it.

use std::fmt;
use std::str::FromStr;

/// A `ConfigMap` by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ConfigMapName {
    /// The history `ConfigMap` beside it. A copy that is tried on first has a history of its own.
    #[must_use]
    pub fn history(&self) -> Self {
        let name = match self.name.as_str() {
            "aws-auth" => "identity-mapper-history".to_owned(),
            other => format!("identity-mapper-history-{other}"),
        };
        Self {
            namespace: self.namespace.clone(),
            name,
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

/// What to do about a key of aws-auth that does not parse, or a deleted aws-auth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Put back the last text that this process saw standing and parsing, foreign entries included.
    #[default]
    LastGood,
    /// Write nothing over a text that does not parse; make a deleted aws-auth again with our entries only.
    Off,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGood => "LastGood",
            Self::Off => "Off",
        })
    }
}

impl FromStr for Repair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "LastGood" => Ok(Self::LastGood),
            "Off" => Ok(Self::Off),
            other => Err(format!(
                "{other:?} is no repair setting; write LastGood or Off"
            )),
        }
    }
}

/// How the operator was started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The `ConfigMap` that is kept, `kube-system/aws-auth` but for a trial on a copy.
    pub config_map: ConfigMapName,
    /// What to do about broken texts.
    pub repair: Repair,
    /// Write no backend and no finalizer; statuses show the plan.
    pub observe: bool,
}
