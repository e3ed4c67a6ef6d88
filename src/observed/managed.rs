//! The principals for which EKS itself creates access entries, as far as EKS was asked.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::access_entry::{Failure, FailureKind};
use crate::principal::Key;
use crate::time::Timestamp;

/// An answer that names no principal counts for so long: what EKS makes entries for is changed by people, and seldom.
pub const ANSWER_COUNTS: SignedDuration = SignedDuration::from_mins(5);

/// A part of EKS that makes access entries for the roles that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// The cluster itself: its own role, and the node role of Auto Mode (`DescribeCluster`).
    Cluster,
    /// Managed node groups (`ListNodegroups`, `DescribeNodegroup`).
    NodeGroups,
    /// Fargate profiles (`ListFargateProfiles`, `DescribeFargateProfile`).
    FargateProfiles,
    /// EKS capabilities such as Argo CD, ACK and kro (`ListCapabilities`, `DescribeCapability`).
    Capabilities,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Cluster,
        Self::NodeGroups,
        Self::FargateProfiles,
        Self::Capabilities,
    ];
}

/// The roles that a part of EKS uses, by key, each with what uses it, such as `node group "web"`.
pub type Users = BTreeMap<Key, String>;

/// The principals that EKS itself makes access entries for, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedPrincipals {
    /// Whether EKS is asked at all. `false`: offline, as for plans from files.
    pub asked: bool,
    /// What was answered; a part that is missing was not asked yet.
    pub answers: BTreeMap<Feature, Answer>,
}

/// What a part of EKS answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The last whole answer, and when it was asked for.
    pub users: Option<(Timestamp, Users)>,
    /// Why the last attempt failed; `None`: it did not.
    pub failure: Option<Failure>,
}

/// How far a part of EKS can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliance<'a> {
    /// Its answer is recent: what it does not name it does not use.
    Known,
    /// It is being asked, or is asked again after this failure, which passes by itself.
    Waits(Option<&'a Failure>),
    /// It can't be asked: offline, or denied.
    Unreadable,
}

impl ManagedPrincipals {
    /// What uses this principal, by any answer, however old.
    #[must_use]
    pub fn user_of(&self, key: &Key) -> Option<&str> {
        let answers = self.answers.values();
        let mut users = answers.filter_map(|answer| answer.users.as_ref()?.1.get(key));
        users.next().map(String::as_str)
    }

    /// How far a part of EKS can be relied upon at this time.
    #[must_use]
    pub fn reliance(&self, feature: Feature, now: Timestamp) -> Reliance<'_> {
        let answer = self.answers.get(&feature);
        let read = answer.and_then(|answer| answer.users.as_ref());
        if read.is_some_and(|(read, _)| now.duration_since(*read) <= ANSWER_COUNTS) {
            return Reliance::Known;
        }
        match answer.and_then(|answer| answer.failure.as_ref()) {
            Some(failure) if !passes(failure) => Reliance::Unreadable,
            Some(failure) => Reliance::Waits(Some(failure)),
            None if self.asked => Reliance::Waits(None),
            None => Reliance::Unreadable,
        }
    }

    /// Takes in what a part of EKS answered, asked at this time.
    pub fn take(&mut self, feature: Feature, users: Result<Users, Failure>, asked: Timestamp) {
        let answer = self.answers.entry(feature).or_default();
        match users {
            Ok(users) => {
                *answer = Answer {
                    users: Some((asked, users)),
                    failure: None,
                }
            }
            Err(failure) => answer.failure = Some(failure),
        }
    }
}

/// Whether a failure passes by itself. A right that is missing does not, nor does an operation that EKS does not offer here.
fn passes(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Throttled | FailureKind::Unavailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure {
            kind,
            message: String::new(),
        }
    }

    #[test]
    fn an_answer_counts_for_five_minutes_and_what_it_names_for_longer() {
        let mut managed = ManagedPrincipals {
            asked: true,
            ..ManagedPrincipals::default()
        };
        let reliance = |managed: &ManagedPrincipals, now| match managed
            .reliance(Feature::Capabilities, at(now))
        {
            Reliance::Known => "known",
            Reliance::Waits(None) => "asked",
            Reliance::Waits(Some(_)) => "retried",
            Reliance::Unreadable => "unreadable",
        };
        assert_eq!(reliance(&managed, 0), "asked");
        let key = Key::parse_arn("arn:aws:iam::111122223333:role/argo").expect("an ARN");
        let users = Users::from([(key.clone(), "EKS capability \"argo\"".to_owned())]);
        managed.take(Feature::Capabilities, Ok(users), at(0));
        assert_eq!(reliance(&managed, 300), "known");
        assert_eq!(reliance(&managed, 301), "asked");
        managed.take(
            Feature::Capabilities,
            Err(failure(FailureKind::Unavailable)),
            at(302),
        );
        assert_eq!(reliance(&managed, 300), "known");
        assert_eq!(reliance(&managed, 303), "retried");
        let denied = FailureKind::Denied {
            action: "eks:ListCapabilities".to_owned(),
            statement: String::new(),
        };
        managed.take(Feature::Capabilities, Err(failure(denied)), at(304));
        assert_eq!(reliance(&managed, 305), "unreadable");
        assert_eq!(managed.user_of(&key), Some("EKS capability \"argo\""));
    }

    #[test]
    fn offline_nothing_is_waited_for() {
        let managed = ManagedPrincipals::default();
        for feature in Feature::ALL {
            assert_eq!(managed.reliance(feature, at(0)), Reliance::Unreadable);
        }
    }
}
