//! What IAM has told.

use super::*;
use crate::access_entry::FailureKind;
use crate::observed::{IamPrincipal, IamProblems};

fn account() -> AccountId {
    "111122223333".parse().expect("an account")
}

fn listing(roles: &[&str], read: i64) -> Listing {
    let one = |name: &&str| {
        let found = IamPrincipal {
            arn: principal(name),
            id: format!("AROA{name}"),
            created: None,
        };
        (name.to_lowercase(), found)
    };
    Listing {
        read: at(read),
        principals: Arc::new(roles.iter().map(one).collect()),
    }
}

fn seen(known: &mut AwsCache) -> IamAccount {
    view(pass(known, 100)).iam.accounts[&account()].clone()
}

#[test]
fn a_listing_that_differs_is_a_change() {
    let mut known = settled();
    let roles = Task::Roles(account());
    known.iam_read(&roles, Ok(listing(&["Dev"], 5)));
    assert!(known.changed(at(5)));
    assert_eq!(seen(&mut known).roles, Some(listing(&["Dev"], 5)));
    known.iam_read(&roles, Ok(listing(&["Dev"], 6)));
    assert!(!known.changed(at(6)));
    assert_eq!(seen(&mut known).roles, Some(listing(&["Dev"], 6)));
    known.iam_read(&roles, Ok(listing(&["Dev", "Ops"], 7)));
    assert!(known.changed(at(7)));
    known.iam_read(&Task::Sso(account()), Ok(listing(&[], 8)));
    let account = seen(&mut known);
    assert!(account.sso.is_some() && account.roles.is_some() && account.users.is_none());
}

#[test]
fn a_listing_that_answers_what_eks_refused_is_a_change() {
    let mut known = settled();
    let roles = Task::Roles(account());
    known.iam_read(&roles, Ok(listing(&["Dev"], 5)));
    let refused = Err(failure(FailureKind::InvalidPrincipal));
    known.answered(&key("Ops"), &create("Ops"), refused, true, at(6), 0.0);
    pass(&mut known, 7);
    known.iam_read(&roles, Ok(listing(&["Dev"], 8)));
    assert!(known.changed(at(7)), "there is no such role, also now");
    pass(&mut known, 8);
    known.iam_read(&roles, Ok(listing(&["Dev"], 9)));
    assert!(!known.changed(at(8)), "which was known");
}

#[test]
fn a_problem_stays_until_what_it_befell_is_read() {
    let mut known = settled();
    let denied = || IamProblem::Denied {
        message: "no".to_owned(),
        statement: "{}".to_owned(),
    };
    known.iam_read(&Task::Roles(account()), Ok(listing(&["Dev"], 5)));
    known.iam_read(&Task::Users(account()), Err(denied()));
    assert_eq!(seen(&mut known).problems.users, Some(denied()));
    known.iam_read(&Task::Roles(account()), Ok(listing(&["Dev"], 6)));
    known.iam_read(&Task::Users(account()), Err(denied()));
    assert!(!known.changed(at(6)), "the same");
    let unreachable = IamProblem::Unreachable("timed out".to_owned());
    known.iam_read(&Task::Users(account()), Err(unreachable.clone()));
    assert!(known.changed(at(7)));
    assert_eq!(seen(&mut known).problems.users, Some(unreachable));
    known.iam_read(&Task::Users(account()), Ok(listing(&[], 8)));
    assert_eq!(seen(&mut known).problems, IamProblems::default());
    assert_eq!(seen(&mut known).roles, Some(listing(&["Dev"], 6)), "kept");
}

#[test]
fn what_no_plan_wants_is_forgotten() {
    let mut known = settled();
    known.iam_read(&Task::Roles(account()), Ok(listing(&["Dev"], 5)));
    known.iam_read(&Task::Sso(account()), Ok(listing(&[], 5)));
    let sso = IamWants {
        sso: [account()].into(),
        ..IamWants::default()
    };
    known.want_iam(&sso);
    let left = seen(&mut known);
    assert!(left.sso.is_some() && left.roles.is_none());
    known.want_iam(&IamWants::default());
    assert!(view(pass(&mut known, 6)).iam.accounts.is_empty());
}
