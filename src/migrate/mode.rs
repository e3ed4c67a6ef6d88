//! Which changes of the authentication mode EKS allows, and for which clusters.

use crate::observed::Mode;

/// A change of the mode that EKS refuses, in words that name what is possible
/// (<https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html>: one step at a time, and never back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImpossibleModeChange {
    /// It is in that mode already, which EKS refuses too.
    #[error("the cluster is already in authentication mode {0}: nothing to change{next}", next = next(*.0))]
    Same(Mode),
    #[error(
        "EKS can't change a cluster from authentication mode {from} back to {to}{next}",
        next = next(*from)
    )]
    Back { from: Mode, to: Mode },
    #[error(
        "EKS can't change a cluster from CONFIG_MAP to API directly: change to API_AND_CONFIG_MAP first, move all principals, \
            then change to API"
    )]
    TwoSteps,
}

fn next(from: Mode) -> &'static str {
    match from {
        Mode::ConfigMap => "; it can change to API_AND_CONFIG_MAP",
        Mode::ApiAndConfigMap => "; it can change to API, which can't be undone",
        Mode::Api => "; no further change is possible",
    }
}

/// Whether EKS makes this change.
pub(crate) fn check_mode_change(from: Mode, to: Mode) -> Result<(), ImpossibleModeChange> {
    match (from, to) {
        (Mode::ConfigMap, Mode::ApiAndConfigMap) | (Mode::ApiAndConfigMap, Mode::Api) => Ok(()),
        (Mode::ConfigMap, Mode::Api) => Err(ImpossibleModeChange::TwoSteps),
        (from, to) if from == to => Err(ImpossibleModeChange::Same(from)),
        (from, to) => Err(ImpossibleModeChange::Back { from, to }),
    }
}

/// The modes that follow on the way from one to another, the last included.
#[must_use]
pub(crate) fn modes_between(from: Mode, to: Mode) -> Vec<Mode> {
    [Mode::ApiAndConfigMap, Mode::Api]
        .into_iter()
        .filter(|mode| from < *mode && *mode <= to)
        .collect()
}

/// The first platform version of each Kubernetes version that has access entries; later Kubernetes versions always have them
/// (EKS user guide, *Grant IAM users access to Kubernetes with EKS access entries*).
const FIRST_PLATFORM: [(u32, u32); 8] = [
    (23, 17),
    (24, 15),
    (25, 12),
    (26, 11),
    (27, 10),
    (28, 6),
    (29, 1),
    (30, 2),
];

/// A cluster that is older than access entries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Kubernetes {version} supports access entries from platform version {needs}, and this cluster has {platform}. EKS upgrades \
        platform versions itself, and an upgrade of Kubernetes does it at once (aws eks update-cluster-version); until then the \
        cluster stays in CONFIG_MAP"
)]
pub(crate) struct PlatformTooOld {
    version: String,
    platform: String,
    needs: String,
}

/// Whether a cluster of this Kubernetes version (`1.29`) and platform version (`eks.12`) has access entries. What can't be read as such
/// is not judged: EKS will.
pub(crate) fn check_platform(version: &str, platform: &str) -> Result<(), PlatformTooOld> {
    let too_old = |needs: &str| PlatformTooOld {
        version: version.to_owned(),
        platform: platform.to_owned(),
        needs: needs.to_owned(),
    };
    let minor = version
        .strip_prefix("1.")
        .and_then(|minor| minor.parse::<u32>().ok());
    let number = platform
        .strip_prefix("eks.")
        .and_then(|number| number.parse::<u32>().ok());
    let (Some(minor), Some(number)) = (minor, number) else {
        return Ok(());
    };
    match FIRST_PLATFORM.iter().find(|(known, _)| *known == minor) {
        Some((_, first)) if number < *first => Err(too_old(&format!("eks.{first}"))),
        None if minor < FIRST_PLATFORM[0].0 => Err(too_old("eks.17 of Kubernetes 1.23")),
        Some(_) | None => Ok(()),
    }
}
