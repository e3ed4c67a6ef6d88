//! `cargo run --example eks`: AWS as far as the operator needs it, for anyone who wants to try the operator without an
//! account: EKS, IAM, STS and SQS on loopback ports, until Ctrl-C.
//!
//! It prints the environment in which any AWS client finds it. What it is in the tests, and what it leaves out, is in
//! `docs/development/testing.md`.

#[path = "../it/support/eks/mod.rs"]
mod eks;

mod seed;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use eks::{Eks, Mode, World};

/// A stand-in for EKS, IAM, STS and SQS on loopback ports, until Ctrl-C
#[derive(Parser, Debug)]
struct Arguments {
    /// The port of EKS; IAM, SQS and STS are on the three after it. Free ones where none is given
    #[arg(long)]
    port: Option<u16>,
    /// The cluster's name
    #[arg(long, default_value = "demo")]
    cluster_name: String,
    /// The cluster's account
    #[arg(long, default_value = "111122223333")]
    account: String,
    /// The cluster's region
    #[arg(long, default_value = "eu-west-1")]
    region: String,
    /// The certificate authority (PEM) of the API server that is to be the cluster's
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// The address of that API server
    #[arg(long, default_value = "https://127.0.0.1:6443")]
    endpoint: String,
    /// The authentication mode at the start
    #[arg(long, default_value = "API_AND_CONFIG_MAP")]
    authentication_mode: Mode,
    /// The principals that exist, as YAML; see docs/development/testing.md
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// A queue that is told of every change
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let world = world(&arguments)?;
    let eks = Eks::start_at(world, arguments.port).await;
    let eks = eks.context("the ports can't be taken: choose others with --port")?;
    for (name, value) in eks.env() {
        anstream::println!("export {name}={value}");
    }
    let mut run = format!(
        "identity-mapper run --cluster-name {}",
        arguments.cluster_name
    );
    if arguments.queue.is_some() {
        run = format!("{run} --queue-url {}", eks.queue_url());
    }
    anstream::println!("# {run}");
    if arguments.certificate_authority.is_none() {
        anstream::println!(
            "# Without --certificate-authority nothing proves that an API server is the cluster's: the operator writes nothing."
        );
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn world(arguments: &Arguments) -> anyhow::Result<World> {
    let Arguments {
        account,
        region,
        cluster_name,
        ..
    } = arguments;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    anyhow::ensure!(digits, "--account {account}: an account has 12 digits");
    let arn = format!("arn:aws:eks:{region}:{account}:cluster/{cluster_name}");
    let mut world = World::new(&arn).mode(arguments.authentication_mode);
    if let Some(path) = &arguments.certificate_authority {
        let authority = std::fs::read(path).with_context(|| path.display().to_string())?;
        world = world.api_server(&authority, &arguments.endpoint);
    }
    if let Some(path) = &arguments.principals {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        world = seed::sow(world, &text).with_context(|| path.display().to_string())?;
    }
    if let Some(queue) = &arguments.queue {
        world.attach_queue(queue);
    }
    Ok(world)
}
