//! The answer to 'who may do what now?' is the real cluster's answer, and whoever watches by it sees every gap.

pub(crate) mod agreement;
mod grants;
mod login;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity_mapper::access_entry::Scope;
use identity_mapper::aws_auth::Document;
use identity_mapper::observed::Mode;
use jiff::Timestamp;

use crate::support::power::{Door, InForce, Objects, Rbac, Scene};

const ROLE: &str = "arn:aws:iam::111122223333:role/team/Developers";
const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn namespaces(names: &[&str]) -> Scope {
    Scope::Namespaces(set(names))
}

fn in_force(principal_arn: &str, id: Option<&str>, username: &str, groups: &[&str]) -> InForce {
    InForce {
        principal_arn: principal_arn.to_owned(),
        principal_id: id.map(str::to_owned),
        username: username.to_owned(),
        groups: set(groups),
        policies: BTreeMap::new(),
    }
}

fn scene(mode: Mode, entries: Vec<InForce>, map_roles: &str, map_users: &str) -> Scene {
    let data = [("mapRoles", map_roles), ("mapUsers", map_users)];
    let data = data.map(|(key, text)| (key.to_owned(), text.to_owned()));
    let instance = ("i-0123456789abcdef0", "ip-10-0-0-1.ec2.internal");
    Scene {
        door: Arc::new(Door::new(Timestamp::now(), mode, entries)),
        aws_auth: Arc::new(Document::parse(&BTreeMap::from(data))),
        rbac: Arc::new(Rbac::new(&Objects::default())),
        instances: Arc::new(BTreeMap::from([(
            instance.0.to_owned(),
            instance.1.to_owned(),
        )])),
    }
}
