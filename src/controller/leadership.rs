//! What the loop does when its replica becomes the leader, and when it stops being the leader.
//!
//! A standby watches, and remembers by the same passes what it saw; it asks nothing of AWS and writes nothing. To begin to lead is a start
//! in all but the watches and that memory: EKS is read anew, and the first pass reads aws-auth and its history itself. To lose the Lease,
//! or to have been cut off while another replica may have led, is a start in all but the memory of a release and of ordered removals.

use std::time::Instant;

use tokio::sync::watch;
use tracing::info;

use super::eks::EksDriver;
use super::election::Leadership;
use super::outbox::Outbox;
use super::pass::{Done, FirstRead};
use super::trigger::{Retry, Trigger};
use super::{Controller, RunningPass};
use crate::access_entry::{Failure, FailureKind};
use crate::cluster::state::WatchedState;
use crate::lease::Permit;
use crate::observed::AwsState;

/// Word of the election.
pub(super) struct Membership {
    leadership: watch::Receiver<Leadership>,
    /// What was last heard.
    last: Leadership,
}

/// What a plan of a standby says of EKS. It is never shown: it keeps the plan from asking for anything.
pub(super) fn not_leading() -> AwsState {
    AwsState::Unknown {
        failure: Failure {
            kind: FailureKind::Unavailable,
            message: "this replica is a standby".to_owned(),
        },
    }
}

impl Controller {
    /// The same as one of several replicas: it writes only while it leads.
    #[must_use]
    pub fn elected(mut self, leadership: watch::Receiver<Leadership>) -> Self {
        self.membership = Some(Membership {
            leadership,
            last: Leadership::default(),
        });
        self.begin_anew();
        self
    }

    /// Whether this replica leads.
    pub(super) fn leads(&self) -> bool {
        self.membership
            .as_ref()
            .is_none_or(|it| it.last.permit.is_some())
    }

    /// Takes in what the election says. Whether the watches have to begin anew.
    pub(super) fn take_in_leadership(&mut self) -> bool {
        let Some(membership) = &mut self.membership else {
            return false;
        };
        let now = membership.leadership.borrow_and_update().clone();
        let before = std::mem::replace(&mut membership.last, now.clone());
        let same = match (&before.permit, &now.permit) {
            (Some(before), Some(now)) => before.is_same(now),
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        };
        let lost = before.permit.is_some() && !same;
        let anew = lost || now.gaps != before.gaps;
        if anew {
            info!("restarting the watches: another replica may have written in the meantime");
            self.begin_anew();
        }
        if let Some(permit) = now.permit.filter(|_| !same) {
            self.begin_to_lead(permit);
        }
        anew
    }

    /// What was planned and not sent is dropped, and with it every call that waits for an answer.
    fn begin_anew(&mut self) {
        self.writer = self.cluster.clone().fenced(Permit::over());
        self.state = WatchedState::new(self.cluster.config_map().clone());
        self.memory = std::mem::take(&mut self.memory).without_texts();
        self.eks = None;
        self.interest.send_replace(None);
        self.forget_the_last_pass();
        self.health.stands_by();
        self.metrics.hide();
    }

    fn begin_to_lead(&mut self, permit: Permit) {
        self.writer = self.cluster.clone().fenced(permit.clone());
        self.eks = self
            .aws
            .clone()
            .map(|(aws, settings)| EksDriver::new(&aws.fenced(permit.clone()), settings));
        self.forget_the_last_pass();
        self.first_read = FirstRead::AfterAnotherLeader;
        self.trigger.changed(Instant::now());
        self.health.leads(permit);
    }

    fn forget_the_last_pass(&mut self) {
        self.running = None;
        self.begun = false;
        self.outbox = Outbox::new(self.writer.clone());
        self.trigger = Trigger::default();
        self.retry = Retry::default();
        self.planned = None;
        self.wake = None;
        self.first_read = FirstRead::Watched;
    }

    /// The end of a standby's pass: what it saw is remembered, and that is all.
    pub(super) fn finish_standby(&mut self, done: Done, running: &RunningPass) {
        let now = Instant::now();
        let Done {
            seen,
            left,
            report,
            outcome,
            conflicts,
            retry,
            ..
        } = done;
        self.trigger.ended(now);
        self.health.pass_ends(now, retry.as_deref());
        self.health.has_watched();
        self.metrics
            .pass(now - running.started, conflicts, &outcome);
        self.state.settle(&seen, &left);
        self.memory = report.memory.of_standby();
        match retry {
            Some(_) => self.retry.failed(now, fastrand::f64()),
            None => self.retry.succeeded(),
        }
        if self.state.changed() {
            self.trigger.changed(running.event.unwrap_or(now));
        }
    }
}

/// Waits for word of the election, for ever where there is none.
pub(super) async fn word(membership: &mut Option<Membership>) {
    let ended = match membership {
        Some(membership) => membership.leadership.changed().await.is_err(),
        None => true,
    };
    if ended {
        std::future::pending::<()>().await;
    }
}
