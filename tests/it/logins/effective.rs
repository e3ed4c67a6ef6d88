//! The operator's own answer to 'who gets in as whom?' ([`EffectiveAccess`]) against people who log in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity_mapper::access_entry::{
    AccessEntry, Association, EksCluster, Entries, EntryState, Kind, PRINCIPAL_ID_TAG,
};
use identity_mapper::api::v1alpha1::EntryType;
use identity_mapper::effective::{EffectiveAccess, EffectiveEntry, Granted, Reading, Sources};
use identity_mapper::observed::{
    AwsState, AwsView, Bindings, Iam, IamAccount, IamPrincipal, Listing, Mode as Declared,
};
use identity_mapper::principal::canonical_caller;
use identity_mapper::time::Timestamp;
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::{ACCOUNT, ARN, identity};
use crate::support::eks::Principal;
use crate::support::logins::Denied;
use crate::support::power::{self, InForce, Scene};

/// IAM as the operator lists it.
pub(super) fn listed<'a>(principals: impl Iterator<Item = &'a Principal>) -> Iam {
    let now = Timestamp::now();
    let (mut roles, mut users) = (BTreeMap::new(), BTreeMap::new());
    for principal in principals {
        let of_kind = if principal.arn.contains(":role/") {
            &mut roles
        } else {
            &mut users
        };
        let found = IamPrincipal {
            arn: principal.arn.clone(),
            id: principal.id.clone(),
            created: None,
        };
        of_kind.insert(principal.name.to_lowercase(), found);
    }
    let listing = |principals| {
        Some(Listing {
            read: now,
            principals: Arc::new(principals),
        })
    };
    let account = IamAccount {
        roles: listing(roles),
        users: listing(users),
        ..IamAccount::default()
    };
    let account = (ACCOUNT.parse().expect("an account"), account);
    Iam {
        accounts: [account].into(),
    }
}

/// An access entry as the operator reads it of EKS, tagged with the id that the principal had when it was made.
fn described(entry: &InForce, at: Timestamp) -> EntryState {
    let policies = entry.policies.iter().map(|(policy, scope)| {
        let association = Association {
            scope: scope.clone(),
            associated: at,
            modified: at,
        };
        (policy.clone(), association)
    });
    let id = entry.principal_id.clone().expect("it matches somebody");
    EntryState {
        entry: Some(AccessEntry {
            principal_arn: entry.principal_arn.clone(),
            arn: String::new(),
            kind: Kind::Known(EntryType::Standard),
            username: entry.username.clone(),
            groups: entry.groups.clone(),
            tags: [(PRINCIPAL_ID_TAG.to_owned(), id)].into(),
            created: at,
            modified: at,
            policies: policies.collect(),
        }),
        described: Some(at),
        ..EntryState::default()
    }
}

fn view(scene: &Scene, iam: &Iam) -> AwsState {
    // Before IAM was read: its listing holds whoever exists.
    let at = Timestamp::now().minus(SignedDuration::from_hours(1));
    let entries = scene.door.entries();
    let entries = Entries {
        listed: Some(at),
        by_principal: entries
            .map(|entry| (entry.principal_arn.clone(), described(entry, at)))
            .collect(),
        ..Entries::default()
    };
    let cluster = EksCluster::parse(ARN).expect("the ARN of a cluster");
    let view = AwsView::new(cluster, scene.door.mode(), entries, iam.clone());
    AwsState::Known(Box::new(view))
}

/// Compares who a caller is to the API server with what the operator says: what it says grants the access.
pub(super) fn compare(
    scene: &Scene,
    iam: &Iam,
    caller: &power::Caller,
    real: &Result<UserInfo, Denied>,
) -> &'static str {
    let by = compare_by(&view(scene, iam), scene, caller, real);
    if scene.door.mode() == Declared::ConfigMap {
        // Where the mode is declared, EKS is not asked.
        assert_eq!(compare_by(&AwsState::Off, scene, caller, real), by);
    }
    by
}

fn compare_by(
    aws: &AwsState,
    scene: &Scene,
    caller: &power::Caller,
    real: &Result<UserInfo, Denied>,
) -> &'static str {
    let bindings = Bindings::default();
    let effective = EffectiveAccess::new(Sources {
        aws_auth: &scene.aws_auth,
        reading: Reading::AsAwsAuth,
        aws,
        bindings: &bindings,
    });
    let canonical = canonical_caller(&caller.arn).unwrap();
    let granted = effective.granted(&canonical);
    let told = format!("{granted:?}, and the login of {}: {real:?}", caller.arn);
    let (by, entries) = match granted {
        Granted::AccessEntry(standing) => {
            let entry = standing.known().expect("it was described");
            ("access entry", vec![EffectiveEntry::of_access_entry(entry)])
        }
        Granted::AwsAuth(entry) => ("aws-auth", vec![EffectiveEntry::of_aws_auth(entry)]),
        Granted::AnyOf(entries) => {
            let entries = entries.into_iter().map(EffectiveEntry::of_aws_auth);
            ("chance", entries.collect())
        }
        Granted::Account(_) => ("account", vec![EffectiveEntry::of_account(&canonical)]),
        Granted::Nothing => ("nothing", Vec::new()),
    };
    // An entry whose template fails is still the caller's, and lets nobody in.
    let render = |text: &str| caller.render(text, &scene.instances).ok();
    let rendered = entries.iter().filter_map(|entry| {
        let groups = entry.groups.iter().map(|group| render(group));
        Some((render(&entry.username)?, groups.collect::<Option<_>>()?))
    });
    let rendered: Vec<(String, BTreeSet<String>)> = rendered.collect();
    match real {
        Ok(user) => {
            let (username, groups) = identity(user);
            let found = (username, groups.into_iter().collect());
            assert!(rendered.contains(&found), "{told}");
        }
        Err(denied) if denied.is_unauthorized() => assert_eq!(rendered, [], "{told}"),
        Err(denied) => {
            // They are in, and may not ask who they are: the refusal names them.
            let mut usernames = rendered.iter().map(|(username, _)| username);
            let is_named = |it: &String| denied.message.contains(&format!("User \"{it}\""));
            assert!(usernames.any(is_named), "{told}");
        }
    }
    by
}
