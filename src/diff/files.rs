//! What a plan from files reports about IAM, which files do not contain.

use std::sync::Arc;

use crate::api::IdentityMapping;
use crate::observed::{AwsState, IamProblem, IamProblems};
use crate::principal::{AccountId, Principal};

/// Has IAM be unreadable in these accounts.
pub(crate) fn without_iam(aws: &mut AwsState, accounts: impl IntoIterator<Item = AccountId>) {
    let AwsState::Known(view) = aws else {
        return;
    };
    let known = &mut Arc::make_mut(&mut view.iam).accounts;
    for account in accounts {
        let problem = IamProblem::Unreachable(
            "IAM is not read with files; plan with the cluster, or write spec.principal.arn"
                .to_owned(),
        );
        known.entry(account).or_default().problems = IamProblems::all(&problem);
    }
}

/// The account of a role of IAM Identity Center that a mapping names without its path: only IAM knows the path.
pub(crate) fn account_of_stripped(object: &IdentityMapping) -> Option<AccountId> {
    let principal = Principal::parse(object.spec.principal.arn.as_ref()?).ok()?;
    (principal.sso().is_some() && principal.path == "/").then_some(principal.account)
}
