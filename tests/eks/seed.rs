//! The principals of a YAML file.
//!
//!     accounts:
//!       "111122223333":
//!         roles:
//!         - {name: Dev, path: /teams/}
//!         - {name: reader, assumable: true}
//!         users:
//!         - {name: ann}
//!     nodeGroups:
//!     - {role: arn:aws:iam::111122223333:role/node, kind: Linux}
//!     creator: arn:aws:iam::111122223333:role/Dev

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

use crate::eks::{NodeKind, World};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Seed {
    #[serde(default)]
    accounts: BTreeMap<String, Account>,
    #[serde(default)]
    node_groups: Vec<NodeGroup>,
    creator: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    #[serde(default)]
    roles: Vec<Principal>,
    #[serde(default)]
    users: Vec<Principal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Principal {
    name: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    assumable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeGroup {
    role: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Kind {
    Linux,
    Windows,
    Fargate,
}

fn root() -> String {
    "/".to_owned()
}

/// The world with what the file names.
pub(crate) fn sow(mut world: World, text: &str) -> anyhow::Result<World> {
    let seed: Seed = serde_saphyr::from_str(text).context("no list of principals")?;
    for (account, of) in seed.accounts {
        let paths = of.roles.iter().chain(&of.users);
        for Principal { name, path, .. } in paths {
            let whole = path.starts_with('/') && path.ends_with('/');
            anyhow::ensure!(
                whole,
                "{name}: path {path:?} must begin and end with a slash"
            );
        }
        for Principal {
            name,
            path,
            assumable,
        } in of.roles
        {
            if assumable {
                world.assumable_role(&account, &path, &name, None);
            } else {
                world.role(&account, &path, &name);
            }
        }
        for Principal { name, path, .. } in of.users {
            world.user(&account, &path, &name);
        }
    }
    for NodeGroup { role, kind } in seed.node_groups {
        let kind = match kind {
            Kind::Linux => NodeKind::Linux,
            Kind::Windows => NodeKind::Windows,
            Kind::Fargate => NodeKind::Fargate,
        };
        world = world.node_group(&role, kind);
    }
    Ok(match seed.creator {
        Some(creator) => world.creator(&creator),
        None => world,
    })
}
