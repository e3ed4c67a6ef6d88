//! The planner on a simulated cluster.

mod ahead;
mod aws_managed;
mod contention;
mod entries;
mod entry_laws;
mod flight;
mod grants;
mod guards;
mod laws;
mod modes;
mod ownership;
mod permission_sets;
mod rollback;
mod scale;
mod texts;

use serde_json::json;

use super::simulation::Simulation;

/// A node role and a hand-made entry, with comments, as many clusters have them.
pub(super) const FOREIGN: &str = "\
# nodes, made by EKS
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/node
  username: system:node:{{EC2PrivateDNSName}}
# made by hand
- rolearn: arn:aws:iam::111122223333:role/ops   # do not touch
  username: ops
  groups: [system:masters]
";

/// A cluster with foreign entries and these mappings of roles by their own name, settled.
fn cluster(names: &[&str]) -> Simulation {
    let mut simulation = Simulation::with_roles(FOREIGN);
    for name in names {
        simulation.create(name, &format!("role/{name}"), &json!({}));
    }
    simulation.settle();
    simulation
}

fn entry(arn: &str, username: &str, groups: &str) -> (String, String, String) {
    (arn.to_owned(), username.to_owned(), groups.to_owned())
}

/// What the foreign entries mean.
fn foreign() -> Vec<(String, String, String)> {
    vec![
        entry(
            "role/node",
            "system:node:{{EC2PrivateDNSName}}",
            "system:bootstrappers,system:nodes",
        ),
        entry("role/ops", "ops", "system:masters"),
    ]
}
