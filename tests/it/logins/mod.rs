//! Who gets in, and as whom: asked by people who log in with tokens, not by a model.

mod declared;
mod effective;
mod entries;
mod model;
mod partitions;
mod table;

use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;

use crate::support::eks::{Caller, Eks, Mode, World};
use crate::support::logins::Denied;
use crate::support::{Cluster, Logins, eventually};

/// What takes milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(30);
/// The cluster in EKS.
const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
/// The cluster's account.
const ACCOUNT: &str = "111122223333";

/// Who a login is: its username, and its groups but for the one that everyone gets.
pub(crate) type Identity = (String, Vec<String>);

/// The same of what the API server says.
pub(crate) fn identity(user: &UserInfo) -> Identity {
    let groups = user.groups.iter().flatten();
    let mut groups: Vec<String> = groups
        .filter(|group| *group != "system:authenticated")
        .cloned()
        .collect();
    groups.sort();
    (user.username.clone().unwrap_or_default(), groups)
}

/// As whom a caller gets in with a new token; `None`: not at all.
pub(crate) async fn enters(logins: &Logins, eks: &Eks, caller: &Caller) -> Option<Identity> {
    match logins.who(&eks.token(caller)).await {
        Ok(user) => Some(identity(&user)),
        Err(denied) if denied.is_unauthorized() => None,
        Err(Denied { code, message }) => panic!("{}: {code} {message}", caller.arn),
    }
}

/// Waits until a caller gets in, and as whom does not matter.
async fn open(logins: &Logins, eks: &Eks, caller: &Caller) {
    eventually("the door is open", SOON, async || {
        logins
            .who(&eks.token(caller))
            .await
            .map_err(|denied| (denied, logins.log()))
    })
    .await;
}

/// A session of a role, which is made where it is not there.
fn session(world: &mut World, account: &str, role: &str, session: &str) -> Caller {
    world.role(account, "/", role);
    world.session(account, role, session)
}

/// A caller with this ARN and id.
fn caller(arn: &str, user_id: &str) -> Caller {
    Caller {
        arn: arn.to_owned(),
        account: arn.split(':').nth(4).unwrap_or_default().to_owned(),
        user_id: user_id.to_owned(),
        token: None,
        expires: None,
    }
}
