//! The access of the person who runs the command, which no restoration removes.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::UserInfo;

use crate::cli::snapshot::Live;
use crate::cli::target::words;
use crate::cluster::review::who_am_i;
use crate::principal::canonical_caller;
use crate::rollback::{Restoration, WayIn};

/// What aws-iam-authenticator tells the API server of a caller beside its name (`pkg/server/server.go`): the ARN by which it was
/// looked up, and the one that STS gave.
const EXTRA: [&str; 2] = ["canonicalArn", "arn"];

/// Refuses where the caller would not have the same access afterwards. Both are asked: the API server, and AWS where it is.
pub(super) async fn keep_way_in(live: &Live, restoration: &Restoration) -> Result<()> {
    let user = who_am_i(&live.client).await.map_err(|error| {
        anyhow!(
            "the API server did not return who you are, so you might lose your own access: {error}"
        )
    })?;
    refuse(restoration, &by_api_server(restoration, &user))?;
    if let Some(aws) = &live.aws {
        let identity = aws.identity().await.map_err(|failure| {
            anyhow!(
                "AWS did not return who you are, so you might lose your own access: {}",
                words(&failure)
            )
        })?;
        refuse(restoration, &[canonical_caller(&identity.arn)?])?;
    }
    Ok(())
}

/// The ARNs by which aws-auth may let this user in; none where it comes in otherwise.
fn by_api_server(restoration: &Restoration, user: &UserInfo) -> Vec<String> {
    let extra = user.extra.iter().flatten();
    let extra: Vec<(&str, &str)> = extra
        .filter_map(|(name, values)| Some((name.as_str(), values.first()?.as_str())))
        .collect();
    let named = EXTRA.iter().find_map(|wanted| {
        let (_, arn) = extra.iter().find(|(name, _)| name.ends_with(wanted))?;
        canonical_caller(arn).ok()
    });
    if let Some(arn) = named {
        return vec![arn];
    }
    let username = user.username.clone().unwrap_or_default();
    let groups: BTreeSet<String> = user.groups.iter().flatten().cloned().collect();
    restoration.entries_for(&username, &groups)
}

/// Refuses where none of the ARNs has access as before. Where there are none, the caller has access by other means.
fn refuse(restoration: &Restoration, arns: &[String]) -> Result<()> {
    let mut lost = None;
    for arn in arns {
        match restoration.way_in(arn) {
            WayIn::Kept => return Ok(()),
            WayIn::Lost { now, then } => lost = lost.or(Some((arn, now, then))),
        }
    }
    let Some((arn, now, then)) = lost else {
        return Ok(());
    };
    bail!(
        "this would take away your own access; nothing was written. aws-auth grants {arn} access as {now}; with the copy it would \
            be {then}. Declare yourself in a mapping, choose another copy, or ask someone with different access to run this command"
    )
}
