//! Which authentication mode applies, and whether the EKS cluster is the one of this API server. Pure.
//!
//! A name is not enough: the same may be given to another cluster, in another region or account. [`Trust`] is the proof. It goes
//! stale when EKS rotates the cluster's certificate authority, so each reading of the cluster comes with a new one.

use std::collections::BTreeSet;

use crate::access_entry::EksCluster;
use crate::access_entry::{Failure, FailureKind};
use crate::observed::{Kept, Mode, Unreachable, Users};
pub use crate::observed::{OtherCluster, Trust};
use crate::time::Timestamp;

/// A description of the cluster that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterReading {
    pub(super) cluster: EksCluster,
    pub(super) mode: Mode,
    /// The fingerprints of its certificate authorities.
    pub(super) authorities: BTreeSet<String>,
    /// The roles that it uses itself.
    pub(super) users: Users,
    pub(super) at: Timestamp,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InForce {
    /// It is another cluster.
    Unproven { eks: String, server: String },
    /// Neither read nor kept.
    Unknown { failure: Failure },
    /// The mode, read or kept.
    Known {
        cluster: EksCluster,
        mode: Mode,
        authority: String,
        unreachable: Option<Unreachable>,
    },
}

/// Why a mode that EKS answers is not believed; `None`: it may be so. No cluster goes back to an earlier mode, and a description without an
/// access configuration looks like one in `CONFIG_MAP`.
pub(super) fn went_back(
    cluster: &EksCluster,
    mode: Mode,
    before: Mode,
    read: Timestamp,
) -> Option<Failure> {
    (mode < before).then(|| Failure {
        kind: FailureKind::Unavailable,
        message: format!(
            "EKS reports authentication mode {mode} for {}, but reported {before} at {read}; a cluster never returns to an earlier mode, \
             so the operator continues with {before} and changes no access entry; check with `aws eks describe-cluster --name {} \
             --query cluster.accessConfig`",
            cluster.arn, cluster.name
        ),
    })
}

/// The mode that an earlier process read of this very cluster, where EKS answers one that it can't have gone back to.
fn kept_above(
    trust: &Trust,
    read: &ClusterReading,
    kept: Option<&Kept>,
) -> Option<(Mode, Unreachable)> {
    let kept = kept.filter(|kept| kept.arn == read.cluster.arn)?;
    let trusted = trust.has(&kept.authority);
    let before = kept.mode.parse().ok().filter(|_| trusted)?;
    let failure = went_back(&read.cluster, read.mode, before, kept.read)?;
    Some((
        before,
        Unreachable {
            read: kept.read,
            failure,
        },
    ))
}

/// Decides by the last reading; where there is none, by what an earlier process kept, as long as the API server is still the one
/// that was proven then. `failure` is why the cluster can't be read now.
pub(super) fn in_force(
    name: &str,
    trust: &Trust,
    read: Option<&ClusterReading>,
    kept: Option<&Kept>,
    failure: Option<&Failure>,
) -> InForce {
    if let Some(read) = read {
        let kept = kept_above(trust, read, kept);
        return match (trust.prove(&read.authorities), kept) {
            (Ok(authority), Some((mode, unreachable))) => InForce::Known {
                cluster: read.cluster.clone(),
                mode,
                authority,
                unreachable: Some(unreachable),
            },
            (Ok(authority), None) => InForce::Known {
                cluster: read.cluster.clone(),
                mode: read.mode,
                authority,
                unreachable: failure.map(|failure| Unreachable {
                    read: read.at,
                    failure: failure.clone(),
                }),
            },
            (Err(OtherCluster { eks, server }), _) => InForce::Unproven { eks, server },
        };
    }
    let failure = failure.cloned().unwrap_or_else(|| Failure {
        kind: FailureKind::Unavailable,
        message: "EKS has not answered yet".to_owned(),
    });
    let Some(kept) = kept else {
        return InForce::Unknown { failure };
    };
    let fits = match (EksCluster::parse(&kept.arn), kept.mode.parse()) {
        (Ok(cluster), Ok(mode)) if cluster.name == name => Some((cluster, mode)),
        _ => None,
    };
    let trusted = trust.has(&kept.authority);
    match fits {
        Some((cluster, mode)) if trusted => InForce::Known {
            cluster,
            mode,
            authority: kept.authority.clone(),
            unreachable: Some(Unreachable {
                read: kept.read,
                failure,
            }),
        },
        _ => InForce::Unknown {
            failure: Failure {
                message: format!(
                    "{} (the mode that was read at {} is of {} with the certificate authority {}, and the API server has {})",
                    failure.message,
                    kept.read,
                    kept.arn,
                    kept.authority,
                    trust.words()
                ),
                ..failure
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/main";

    fn set(fingerprints: &[&str]) -> BTreeSet<String> {
        fingerprints.iter().map(|&text| text.to_owned()).collect()
    }

    fn reading(authorities: &[&str]) -> ClusterReading {
        ClusterReading {
            cluster: EksCluster::parse(ARN).expect("an ARN"),
            mode: Mode::Api,
            authorities: set(authorities),
            users: Users::new(),
            at: Timestamp::from_second(100).expect("a time"),
        }
    }

    fn kept(arn: &str, authority: &str) -> Kept {
        Kept {
            arn: arn.to_owned(),
            mode: "API_AND_CONFIG_MAP".to_owned(),
            authority: authority.to_owned(),
            read: Timestamp::from_second(50).expect("a time"),
        }
    }

    fn failure() -> Failure {
        Failure {
            kind: FailureKind::Unavailable,
            message: "connection refused".to_owned(),
        }
    }

    /// In short: what is in force, with the mode's age where EKS can't be asked.
    fn decide(trusted: &[&str], read: Option<&[&str]>, kept: Option<&Kept>, fails: bool) -> String {
        let trust = if trusted.is_empty() {
            Trust::Unknown("not checked".to_owned())
        } else {
            Trust::Authorities(set(trusted))
        };
        let read = read.map(reading);
        let failure = fails.then(failure);
        match in_force("main", &trust, read.as_ref(), kept, failure.as_ref()) {
            InForce::Unproven { eks, server } => format!("unproven: {eks} / {server}"),
            InForce::Unknown { failure } => format!("unknown: {failure}"),
            InForce::Known {
                mode,
                authority,
                unreachable,
                ..
            } => {
                let read = unreachable.map(|it| format!(" since {}", it.read.as_second()));
                format!("{mode} {authority}{}", read.unwrap_or_default())
            }
        }
    }

    #[test]
    fn the_mode_in_force() {
        let same = kept(ARN, "aa");
        let other_authority = kept(ARN, "cc");
        let other_name = kept("arn:aws:eks:eu-west-1:111122223333:cluster/other", "aa");
        let words =
            "unknown: connection refused (the mode that was read at 1970-01-01T00:00:50Z is of";
        for (trusted, read, kept, fails, expected) in [
            // Read.
            (&["aa"][..], Some(&["aa"][..]), None, false, "API aa"),
            (&["aa", "bb"], Some(&["bb", "cc"]), None, false, "API bb"),
            (
                &["aa"],
                Some(&["aa"]),
                Some(&other_authority),
                false,
                "API aa",
            ),
            // Read before, and not now.
            (
                &["aa"],
                Some(&["aa"]),
                Some(&same),
                true,
                "API aa since 100",
            ),
            // Another cluster, whatever was kept.
            (
                &["aa"],
                Some(&["bb"]),
                Some(&same),
                false,
                "unproven: bb / aa",
            ),
            (&["aa"], Some(&["bb"]), None, true, "unproven: bb / aa"),
            (&["aa"], Some(&[]), None, false, "unproven: none / aa"),
            (
                &[],
                Some(&["aa"]),
                None,
                false,
                "unproven: aa / not checked",
            ),
            // Never read, but kept.
            (
                &["aa"],
                None,
                Some(&same),
                true,
                "API_AND_CONFIG_MAP aa since 50",
            ),
            (
                &["aa"],
                None,
                Some(&same),
                false,
                "API_AND_CONFIG_MAP aa since 50",
            ),
            (&["aa"], None, Some(&other_authority), true, words),
            (&["aa"], None, Some(&other_name), true, words),
            (&[], None, Some(&same), true, words),
            // Neither.
            (&["aa"], None, None, true, "unknown: connection refused"),
            (
                &["aa"],
                None,
                None,
                false,
                "unknown: EKS has not answered yet",
            ),
        ] {
            let found = decide(trusted, read, kept, fails);
            assert!(
                found == expected || (expected == words && found.starts_with(words)),
                "{trusted:?} {read:?} {kept:?} {fails}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn an_earlier_mode_is_rejected() {
        let words = |read: Mode, kept: &Kept| {
            let read = ClusterReading {
                mode: read,
                ..reading(&["aa"])
            };
            let trust = Trust::Authorities(set(&["aa"]));
            match in_force("main", &trust, Some(&read), Some(kept), None) {
                InForce::Known {
                    mode, unreachable, ..
                } => {
                    let told = unreachable.map(|it| it.failure.message);
                    format!("{mode} {}", told.map_or("", |_| "held"))
                }
                other => panic!("{other:?}"),
            }
        };
        let before = |mode: &str| Kept {
            mode: mode.to_owned(),
            ..kept(ARN, "aa")
        };
        let both = "API_AND_CONFIG_MAP";
        for (read, kept, expected) in [
            // Without accessConfig.
            (Mode::ConfigMap, before("API"), "API held"),
            (Mode::ConfigMap, before(both), "API_AND_CONFIG_MAP held"),
            (Mode::ApiAndConfigMap, before("API"), "API held"),
            // The way that every cluster goes.
            (
                Mode::ApiAndConfigMap,
                before("CONFIG_MAP"),
                "API_AND_CONFIG_MAP ",
            ),
            (Mode::Api, before(both), "API "),
            (Mode::Api, before("API"), "API "),
            // The record of another cluster, or of an authority that is none of ours.
            (
                Mode::ConfigMap,
                Kept {
                    mode: "API".to_owned(),
                    ..kept("arn:aws:eks:eu-west-1:111122223333:cluster/other", "aa")
                },
                "CONFIG_MAP ",
            ),
            (
                Mode::ConfigMap,
                Kept {
                    mode: "API".to_owned(),
                    ..kept(ARN, "cc")
                },
                "CONFIG_MAP ",
            ),
        ] {
            assert_eq!(words(read, &kept), expected, "{read} {kept:?}");
        }
    }
}
