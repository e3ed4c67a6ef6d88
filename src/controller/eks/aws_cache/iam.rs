//! What IAM has answered so far. Pure.

use std::sync::Arc;

use super::AwsCache;
use crate::controller::eks::schedule::Task;
use crate::observed::{IamAccount, IamProblem, IamProblems, IamWants, Listing};
use crate::principal::AccountId;

impl AwsCache {
    /// A listing of IAM was read, or could not be.
    pub(in crate::controller::eks) fn iam_read(
        &mut self,
        task: &Task,
        answer: Result<Listing, IamProblem>,
    ) {
        let (Task::Sso(account) | Task::Roles(account) | Task::Users(account)) = task else {
            return;
        };
        let mut all = IamAccount::clone(
            self.iam
                .accounts
                .get(account)
                .unwrap_or(&IamAccount::default()),
        );
        match answer {
            Ok(listing) => {
                self.problems.remove(task);
                let place = match task {
                    Task::Sso(_) => &mut all.sso,
                    Task::Users(_) => &mut all.users,
                    _ => &mut all.roles,
                };
                let answers = |before: &Listing| {
                    // A principal that EKS refused since the last listing was asked for.
                    let mut attempts = self.attempts.values();
                    attempts
                        .any(|attempt| before.read < attempt.since && attempt.since <= listing.read)
                };
                let same = place.as_ref().is_some_and(|before| {
                    before.principals == listing.principals && !answers(before)
                });
                self.changed |= !same;
                *place = Some(listing);
            }
            Err(problem) => {
                self.problems.insert(task.clone(), problem);
            }
        }
        let known = |task: Task| self.problems.get(&task).cloned();
        let problems = IamProblems {
            sso: known(Task::Sso(account.clone())),
            roles: known(Task::Roles(account.clone())),
            users: known(Task::Users(account.clone())),
        };
        if problems.kinds() != all.problems.kinds() {
            all.problems = problems;
            self.changed = true;
        }
        Arc::make_mut(&mut self.iam)
            .accounts
            .insert(account.clone(), all);
    }

    /// Forgets of IAM what no plan wants to know any more: it would grow old.
    pub(in crate::controller::eks) fn want_iam(&mut self, wants: &IamWants) {
        let stale = |account: &AccountId, known: &IamAccount| {
            (known.sso.is_some() && !wants.sso.contains(account))
                || (known.roles.is_some() && !wants.roles.contains(account))
                || (known.users.is_some() && !wants.users.contains(account))
        };
        let wanted = |account: &AccountId| {
            wants.sso.contains(account)
                || wants.roles.contains(account)
                || wants.users.contains(account)
        };
        self.problems.retain(|task, _| match task {
            Task::Sso(account) => wants.sso.contains(account),
            Task::Roles(account) => wants.roles.contains(account),
            Task::Users(account) => wants.users.contains(account),
            Task::Cluster | Task::Entries | Task::Policies | Task::UsedBy(_) => false,
        });
        let mut accounts = self.iam.accounts.iter();
        if accounts.any(|(account, known)| !wanted(account) || stale(account, known)) {
            let accounts = &mut Arc::make_mut(&mut self.iam).accounts;
            accounts.retain(|account, _| wanted(account));
            for (account, known) in accounts {
                known.sso = known.sso.take().filter(|_| wants.sso.contains(account));
                known.roles = known.roles.take().filter(|_| wants.roles.contains(account));
                known.users = known.users.take().filter(|_| wants.users.contains(account));
            }
        }
    }
}
