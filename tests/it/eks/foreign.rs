//! boto3, a client that is not ours, finds itself at home: it reads each answer by its own service models.

use tokio::process::Command;

use super::{CLUSTER, OTHER, OWN};
use crate::support::eks::{CapabilityKind, Eks, Mark, Mode, NodeKind, Service, World};
use crate::support::programs::{python, repository};

async fn run(eks: &Eks, script: &str, args: &[&str]) {
    let root = repository();
    let mut command = Command::new(python());
    command.arg(root.join(script)).args(args).env_clear();
    command.envs(eks.env()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(
        output.status.success(),
        "{script}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn boto3_drives_every_operation() {
    let mut world = World::new(CLUSTER)
        .mode(Mode::ConfigMap)
        .api_server(b"PEM", "https://127.0.0.1:1");
    let node = world.role(OWN, "/", "node").arn;
    world = world
        .node_group(&node, NodeKind::Linux)
        .creator(&format!("arn:aws:iam::{OWN}:role/Creator"));
    world.make_capability("kro", CapabilityKind::Kro, &node);
    world.role(OWN, "/", "Creator");
    world.role(OWN, "/teams/a/", "Dev");
    world.user(OTHER, "/people/", "ann");
    world.assumable_role(OTHER, "/", "reader", None);
    for number in 0..120 {
        world.role(OWN, "/many/", &format!("r{number}"));
    }
    let operator = world.role(OWN, "/", "identity-mapper");
    world.trust_workload("identity-mapper", "identity-mapper", &operator);
    world.attach_queue("changes");
    let eks = Eks::start(world).await;
    run(&eks, "tests/it/eks/foreign.py", &[]).await;
    // It really was called, by each operation that the stand-in has.
    let called = eks.log().counts(Mark::START);
    for service in Service::ALL {
        for operation in service.model().operations.keys() {
            assert!(called.contains_key(operation), "{operation} was not called");
        }
    }
}

/// The models are those of the botocore that is installed: a newer one fails here, and `trim.py` brings them up to date.
#[tokio::test]
async fn the_models_are_botocores() {
    let eks = Eks::start(World::new(CLUSTER)).await;
    run(&eks, "tests/it/support/eks/model/trim.py", &["--check"]).await;
}
