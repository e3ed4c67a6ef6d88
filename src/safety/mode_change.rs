//! A change of the authentication mode takes access only from whom the confirmed plan lists, never from the last administrator or
//! the caller.

use super::{Clearance, Cleared};
use crate::aws_auth::fold_arn;
use crate::effective::{EffectiveAccess, EffectiveEntry, Grant};
use crate::observed::Mode;

/// Clears a change to the mode `to`. `listed` are the ARNs as aws-auth matches them, and the accounts of `mapAccounts`, that lose
/// access by the plan that a person confirmed; `caller` is the canonical ARN of who asks, where it is known.
///
/// # Errors
///
/// Says who would lose access.
pub fn clear_mode_change(
    access: &EffectiveAccess<'_>,
    to: Mode,
    listed: impl Fn(&str) -> bool,
    caller: Option<&str>,
) -> Result<Cleared<Mode>, String> {
    let cleared = || Clearance::new().clear(to);
    // In every other mode aws-auth is read.
    if to != Mode::Api {
        return Ok(cleared());
    }
    let (mut administrator, mut stays) = (false, false);
    for grant in access.grants() {
        let loses = match &grant {
            Grant::AccessEntry(standing) => {
                let entry = standing.known().map(EffectiveEntry::of_access_entry);
                stays |= entry.is_some_and(|entry| access.administrator(&entry).is_some());
                None
            }
            Grant::AwsAuth { entry, .. } => {
                let effective = EffectiveEntry::of_aws_auth(entry);
                administrator |= access.possible_administrator(&effective).is_some();
                Some(entry.matched_arn())
            }
            Grant::Account(account) => {
                administrator |= access.administrator_of_account(account).is_some();
                Some((*account).to_owned())
            }
        };
        let Some(loses) = loses else {
            continue;
        };
        let account = |arn: &str| arn.split(':').nth(4) == Some(loses.as_str());
        if caller.is_some_and(|caller| fold_arn(caller) == loses || account(caller)) {
            return Err(format!(
                "{loses} is your own access, and aws-auth is not read in API mode; create an access entry for yourself first"
            ));
        }
        if !listed(&loses) {
            return Err(format!(
                "{loses} would lose access in API mode, and the confirmed plan does not list it; run the command again"
            ));
        }
    }
    if administrator && !stays {
        return Err(
            "no administrator would be left in API mode; create an access entry with AmazonEKSClusterAdminPolicy first"
                .to_owned(),
        );
    }
    Ok(cleared())
}
