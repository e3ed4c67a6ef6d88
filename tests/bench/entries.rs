//! What EKS and IAM say of a cluster whose mappings are access entries, as a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity_mapper::access_entry::EksCluster;
use identity_mapper::access_entry::{AccessEntry, Association, Call, Entries, Output};
use identity_mapper::observed::{AwsState, AwsView, Iam, IamAccount, IamPrincipal, Listing, Mode};
use identity_mapper::plan::EntryWork;
use identity_mapper::time::Timestamp;

use crate::support::fleet;

/// A cluster without access entries, in an account with the roles of so many mappings and one more.
pub(crate) fn known(count: usize, now: Timestamp) -> AwsState {
    let cluster = EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/bench");
    let roles = (0..=count).map(|number| {
        let name = fleet::role(number);
        let path = "aws-reserved/sso.amazonaws.com/eu-west-1";
        let principal = IamPrincipal {
            arn: format!("arn:aws:iam::111122223333:role/{path}/{name}"),
            id: format!("AROA{number:017}"),
            created: Some(now),
        };
        (name.to_lowercase(), principal)
    });
    let roles = Listing {
        read: now,
        principals: Arc::new(roles.collect()),
    };
    let account = IamAccount {
        sso: Some(roles.clone()),
        roles: Some(roles),
        ..IamAccount::default()
    };
    let accounts = [("111122223333".parse().expect("an account"), account)];
    AwsState::Known(Box::new(AwsView {
        cluster: cluster.expect("an ARN"),
        mode: Mode::ApiAndConfigMap,
        authority: "ab".repeat(32),
        unreachable: None,
        entries: Arc::new(Entries {
            listed: Some(now),
            ..Entries::default()
        }),
        policies: None,
        iam: Arc::new(Iam {
            accounts: accounts.into(),
        }),
        attempts: Arc::default(),
        in_flight: Arc::default(),
        managed: Arc::default(),
        queue: None,
        unlisted: None,
    }))
}

/// Answers the calls of a plan.
pub(crate) fn execute(aws: &mut AwsState, works: &[EntryWork], now: Timestamp) {
    let AwsState::Known(view) = aws else {
        return;
    };
    let entries = Arc::make_mut(&mut view.entries);
    for call in works.iter().flat_map(|work| &work.calls) {
        entries.apply(call, answer(call, now), now);
    }
}

fn answer(call: &Call, now: Timestamp) -> Output {
    match call {
        Call::Create {
            principal_arn,
            kind,
            username,
            groups,
            tags,
        } => {
            let name = principal_arn.rsplit('/').next().unwrap_or_default();
            let default =
                format!("arn:aws:sts::111122223333:assumed-role/{name}/{{{{SessionName}}}}");
            Output::Entry(Box::new(AccessEntry {
                principal_arn: principal_arn.clone(),
                arn: format!(
                    "arn:aws:eks:eu-west-1:111122223333:access-entry/bench/role/111122223333/{name}/1"
                ),
                kind: kind.clone(),
                username: username.clone().unwrap_or(default),
                groups: groups.clone(),
                tags: tags.clone(),
                created: now,
                modified: now,
                policies: BTreeMap::new(),
            }))
        }
        Call::Associate { scope, .. } => Output::Associated(Association {
            scope: scope.clone(),
            associated: now,
            modified: now,
        }),
        // The mappings are new and are not changed.
        _ => Output::Done,
    }
}

/// Someone takes the groups off one entry, and it has been described since.
pub(crate) fn vandalise(aws: &mut AwsState) {
    let AwsState::Known(view) = aws else {
        return;
    };
    let entries = &mut Arc::make_mut(&mut view.entries).by_principal;
    let entry = entries.values_mut().find_map(|state| state.entry.as_mut());
    entry.expect("there are entries").groups.clear();
}
