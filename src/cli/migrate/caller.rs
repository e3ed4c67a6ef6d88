//! The access of the person who runs the migration, which is never removed.

use anyhow::{Context as _, Result};

use super::worker::Worker;
use crate::cluster::migration::SelfReview;
use crate::effective::StandingEntries;
use crate::error::Category;
use crate::migrate::{Migration, Who};
use crate::observed::AwsState;
use crate::principal::{Key, canonical_caller};

pub(super) struct CurrentUser {
    /// As the authenticator looks them up.
    arn: String,
    key: Option<Key>,
    /// The API server itself says that they came in as this one.
    proven: bool,
}

impl CurrentUser {
    /// Who the API server says that it is; where it does not know by EKS, who AWS says that it is.
    pub(super) async fn find(worker: &Worker) -> Result<Self> {
        let review = match worker.live.cluster.review_self().await {
            // Servers before 1.28 don't say it.
            Err(error) if error.category == Category::Missing => SelfReview::default(),
            review => review.context("the API server can't be asked who you are")?,
        };
        let (aws, _) = worker.eks()?;
        let (arn, proven) = match review.canonical_arn {
            Some(arn) => (arn, true),
            None => match aws.identity().await {
                Ok(identity) => (identity.arn.clone(), false),
                // Neither knows: a certificate, and keys that STS does not take.
                Err(_) => (review.username, false),
            },
        };
        let arn = canonical_caller(&arn).unwrap_or(arn);
        Ok(Self {
            key: Key::parse_arn(&arn),
            arn,
            proven,
        })
    }

    /// Their canonical ARN, where the API server says that they came in as it.
    pub(super) fn proven_arn(&self) -> Option<&str> {
        self.proven.then_some(self.arn.as_str())
    }

    /// Why the mode `API` would shut them out.
    pub(super) fn shut_out(&self, migration: &Migration, aws: &AwsState) -> Option<String> {
        let account = self.arn.split(':').nth(4).unwrap_or_default();
        let by_text = migration
            .losers(crate::observed::Mode::Api)
            .any(|loser| match &loser.who {
                Who::Principal { key, .. } => Some(key) == self.key.as_ref(),
                Who::Account(named) => named == account && self.proven,
                Who::Other(arn) => arn.eq_ignore_ascii_case(&self.arn),
            });
        let has_entry = || {
            let entries = StandingEntries::new(aws.view()?);
            Some(entries.in_force(self.key.as_ref()?).is_some())
        };
        let fix = "create an access entry for yourself first (a mapping, or aws eks create-access-entry), or ask someone who \
            has one to run this command";
        if by_text {
            Some(format!(
                "you have access as {}, but only by aws-auth, which the cluster does not read in API mode: you would lose access; \
                    {fix}",
                self.arn
            ))
        } else if self.proven && !has_entry().unwrap_or(false) {
            Some(format!(
                "you have access as {}, but by no access entry: in API mode you would lose access; {fix}",
                self.arn
            ))
        } else {
            None
        }
    }
}
