//! Reads everything in EKS and IAM once: for commands. The operator reads it continuously.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::Aws;
use super::pace::{Priority, SIDE_BY_SIDE};
use crate::access_entry::EksCluster;
use crate::access_entry::{ADMIN_POLICY, Call, Entries, Failure, FailureKind, policy_arn};
use crate::observed::{Iam, IamAccount, IamProblem, IamProblems, IamWants, Listing};
use crate::principal::{AccountId, Partition, SSO_PATH};
use crate::time::Timestamp;

impl Aws {
    /// Every access entry, described. `progress` gets how many are described, and of how many. Entries that are deleted meanwhile are left out.
    pub async fn survey_entries(
        &self,
        cluster: &EksCluster,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Entries, Failure> {
        let started = Timestamp::now();
        let partition = cluster.partition().unwrap_or(Partition::Aws);
        let admin_policy = policy_arn(partition, ADMIN_POLICY);
        let (listed, administrators) = futures::try_join!(
            self.list_entries(cluster, None),
            self.list_entries(cluster, Some(&admin_policy))
        )?;
        let mut entries = Entries::default();
        entries.take_listing(
            &listed,
            &administrators,
            &admin_policy,
            started,
            Timestamp::now(),
        );
        let total = listed.len();
        progress(0, total);
        let calls = stream::iter(listed).map(async |principal_arn| {
            let call = Call::Describe { principal_arn };
            let answer = self.call(cluster, &call, Priority::Urgent).await;
            (call, answer)
        });
        let mut calls = calls.buffer_unordered(SIDE_BY_SIDE);
        let mut described = 0;
        while let Some((call, answer)) = calls.next().await {
            match answer {
                Ok(output) => entries.apply(&call, output, Timestamp::now()),
                Err(Failure {
                    kind: FailureKind::EntryMissing,
                    ..
                }) => entries.gone(call.principal_arn(), started, Timestamp::now()),
                Err(failure) => return Err(failure),
            }
            described += 1;
            progress(described, total);
        }
        Ok(entries)
    }

    /// What is wanted of IAM. What can't be read is left out, and the account has the reason: IAM is optional.
    pub async fn survey_iam(&self, wants: &IamWants) -> Iam {
        let all = [&wants.sso, &wants.roles, &wants.users];
        let accounts: BTreeSet<&AccountId> = all.into_iter().flatten().collect();
        let read = stream::iter(accounts).map(async |account| {
            let (roles, sso) = (
                self.roles_if(wants.roles.contains(account), account, "/"),
                self.roles_if(wants.sso.contains(account), account, SSO_PATH),
            );
            let users = async {
                if wants.users.contains(account) {
                    Some(self.users(account).await)
                } else {
                    None
                }
            };
            let (roles, sso, users) = futures::join!(roles, sso, users);
            let part = |read: Option<Result<Listing, IamProblem>>| match read {
                Some(Ok(listing)) => (Some(listing), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, None),
            };
            let [roles, users, sso] = [roles, users, sso].map(part);
            let read = IamAccount {
                roles: roles.0,
                users: users.0,
                sso: sso.0,
                problems: IamProblems {
                    roles: roles.1,
                    users: users.1,
                    sso: sso.1,
                },
            };
            (account.clone(), read)
        });
        Iam {
            accounts: read.buffer_unordered(SIDE_BY_SIDE).collect().await,
        }
    }

    async fn roles_if(
        &self,
        wanted: bool,
        account: &AccountId,
        path_prefix: &str,
    ) -> Option<Result<Listing, IamProblem>> {
        if !wanted {
            return None;
        }
        Some(self.roles(account, path_prefix).await)
    }

    /// The ARNs of the access policies that EKS offers; `None` where they can't be listed.
    pub async fn survey_policies(&self) -> Option<Arc<BTreeSet<String>>> {
        self.list_policies().await.ok().map(Arc::new)
    }
}
