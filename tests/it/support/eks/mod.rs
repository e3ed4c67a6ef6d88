//! A stand-in for EKS, IAM, STS and SQS, which answers any AWS client as they do.
//!
//! It is reached through the SDK's own settings ([`Eks::env`]) and speaks the real protocols. Requests are checked by the
//! service models; what happens then is pure, in [`World`]. [`Knobs`] make things go wrong, the [`Log`] tells what was
//! called. It runs on a thread of its own, so that a test that blocks does not stop it, and ends with its [`Eks`].
//!
//!     let eks = Eks::start(World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test").mode(Mode::ApiAndConfigMap)).await;
//!     let role = eks.world().role("111122223333", "/teams/", "Dev");
//!     // ... run something with eks.env() ...
//!     eks.by_hand("DeleteAccessEntry", json!({"principalArn": role.arn})).unwrap();
//!
//! Take one guard at a time: [`Eks::world`], [`Eks::knobs`] and [`Eks::log`] lock what they give.
#![allow(
    dead_code,
    unused_imports,
    reason = "shared by the tests, the demo, the benchmark and an example, none of which uses all of it"
)]

mod authorities;
mod cloud_trail;
mod cluster;
mod ec2;
mod eks_api;
mod execute;
mod features;
mod front;
mod gate;
mod http;
mod iam;
mod knobs;
mod log;
mod model;
mod page;
mod query;
mod random;
mod refusal;
mod rest_json;
mod shared;
mod signing;
mod sigv4;
mod sqs;
mod sts;
mod workload;
mod world;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

pub(crate) use authorities::CertificateAuthority;
pub(crate) use cluster::{Association, Cluster, Entry, Mode, NodeKind};
pub(crate) use eks_api::POLICIES;
pub(crate) use features::{Capability, CapabilityKind};
pub(crate) use front::{Front, acceptor};
pub(crate) use gate::{Connection, Gate, Point, Side};
pub(crate) use knobs::{Fault, Knobs};
pub(crate) use log::{Call, Log, Mark, Outcome};
pub(crate) use model::{EKS, Fault as Misfit, IAM, Model, SQS, STS};
pub(crate) use page::{Page, page};
pub(crate) use random::Random;
pub(crate) use refusal::Refusal;
pub(crate) use rest_json::route;
pub(crate) use shared::WorldGuard;
pub(crate) use signing::caller_identity_url;
pub(crate) use workload::AGENT;
pub(crate) use world::{Account, Caller, Change, Force, OPERATOR_KEY, Principal, World};

use shared::Shared;

/// One of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    /// Amazon EKS.
    Eks,
    /// AWS IAM.
    Iam,
    /// Amazon SQS.
    Sqs,
    /// AWS STS.
    Sts,
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Eks, Self::Iam, Self::Sqs, Self::Sts];

    /// The name that requests are signed for, and that actions begin with.
    pub(crate) const fn signing_name(self) -> &'static str {
        match self {
            Self::Eks => "eks",
            Self::Iam => "iam",
            Self::Sqs => "sqs",
            Self::Sts => "sts",
        }
    }

    /// Its model.
    pub(crate) fn model(self) -> &'static Model {
        match self {
            Self::Eks => &EKS,
            Self::Iam => &IAM,
            Self::Sqs => &SQS,
            Self::Sts => &STS,
        }
    }
}

/// The running stand-in.
pub(crate) struct Eks {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// The domain of a partition's regional hosts (`partitions.json` of the AWS SDKs).
fn domain(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

impl Eks {
    /// Starts on free ports of the loopback address.
    pub(crate) async fn start(world: World) -> Self {
        let started = Self::start_at(world, None).await;
        started.unwrap_or_else(|error| panic!("no free port on the loopback address: {error}"))
    }

    /// Starts on a port and the three after it, for EKS, IAM, SQS and STS; `None`: on free ones.
    pub(crate) async fn start_at(world: World, port: Option<u16>) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("aws-stand-in")
            .enable_all()
            .build()?;
        let bound = runtime.spawn(async move {
            let mut listeners = Vec::new();
            for (number, service) in (0..).zip(Service::ALL) {
                let port = port.map_or(0, |port| port.saturating_add(number));
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
                let address = listener.local_addr()?;
                listeners.push((service, address, listener));
            }
            io::Result::Ok(listeners)
        });
        let mut this = Self {
            shared: Arc::new(Shared::new(world)),
            runtime: Some(runtime),
        };
        let listeners = bound.await.map_err(io::Error::other)??;
        let addresses = listeners
            .iter()
            .map(|(service, address, _)| (*service, *address));
        let addresses = addresses.collect();
        let shared = Arc::get_mut(&mut this.shared).expect("nobody else has it yet");
        shared.addresses = addresses;
        if let Some(runtime) = &this.runtime {
            for (service, _, listener) in listeners {
                runtime.spawn(http::serve(this.shared.clone(), service, listener));
            }
            runtime.spawn(shared::tick(this.shared.clone()));
        }
        Ok(this)
    }

    /// Opens all services under their real names, behind a proxy.
    pub(crate) async fn front(&self) -> io::Result<Front> {
        self.front_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// The same, with the proxy at this address.
    pub(crate) async fn front_at(&self, address: SocketAddr) -> io::Result<Front> {
        let region = self.world().cluster.region.clone();
        let (authority, tls) = front::any_host().map_err(io::Error::other)?;
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        // Bound there, since a listener belongs to the runtime that it was made in.
        let bound = runtime.spawn(TcpListener::bind(address));
        let listener = bound.await.map_err(io::Error::other)??;
        let address = listener.local_addr()?;
        runtime.spawn(front::serve(self.shared.clone(), listener, tls));
        Ok(Front {
            address,
            region,
            authority,
        })
    }

    /// Opens the services under their real names on port 443 of this address: the certificate authority of the names, in PEM. For network
    /// namespaces of one's own.
    pub(crate) async fn hosts_at(&self, address: IpAddr) -> io::Result<String> {
        let (authority, tls) = front::any_host().map_err(io::Error::other)?;
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        let bound = runtime.spawn(TcpListener::bind((address, 443)));
        let hosts = bound.await.map_err(io::Error::other)??;
        runtime.spawn(front::serve_hosts(self.shared.clone(), hosts, tls));
        Ok(authority)
    }

    /// Opens the agent of EKS Pod Identity on this address, where a node has it.
    pub(crate) async fn agent_at(&self, address: IpAddr) -> io::Result<()> {
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        let bound = runtime.spawn(TcpListener::bind((address, 80)));
        let agent = bound.await.map_err(io::Error::other)??;
        runtime.spawn(workload::serve_agent(self.shared.clone(), agent));
        Ok(())
    }

    /// A new token by which this caller logs in to the cluster, as `aws eks get-token` makes it: no two are equal.
    pub(crate) fn token(&self, caller: &Caller) -> String {
        let (cluster, host) = {
            let cluster = &self.world().cluster;
            let host = format!("sts.{}.{}", cluster.region, domain(&cluster.partition));
            (cluster.name.clone(), host)
        };
        self.token_by(caller, &cluster, &host)
    }

    /// The same for a cluster of another name, or signed for another host of STS.
    pub(crate) fn token_by(&self, caller: &Caller, cluster: &str, host: &str) -> String {
        let mut world = self.world();
        let key = world.key_of(caller.clone());
        let region = world.cluster.region.clone();
        let by = (key.as_str(), caller.token.as_deref());
        let url = caller_identity_url(host, &region, cluster, by, Timestamp::now());
        format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
    }

    /// The environment in which any AWS client finds the stand-in and nothing else, as the operator's role.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.env_as(OPERATOR_KEY)
    }

    /// The same with another access key id, of [`World::key_of`].
    pub(crate) fn env_as(&self, key: &str) -> Vec<(String, String)> {
        let addresses = self.shared.addresses.iter();
        let urls = addresses.map(|(service, address)| {
            let name = service.signing_name().to_uppercase();
            (
                format!("AWS_ENDPOINT_URL_{name}"),
                format!("http://{address}"),
            )
        });
        let region = self.world().cluster.region.clone();
        let fixed = [
            ("AWS_REGION", region.as_str()),
            ("AWS_DEFAULT_REGION", region.as_str()),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", signing::SECRET),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("NO_PROXY", "127.0.0.1"),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
        urls.chain(fixed).collect()
    }

    /// Where a service listens.
    pub(crate) fn address(&self, service: Service) -> SocketAddr {
        self.shared.addresses[&service]
    }

    /// The state. What is changed through it is told to observers when the guard goes.
    pub(crate) fn world(&self) -> WorldGuard<'_> {
        self.shared.world()
    }

    /// What goes wrong.
    pub(crate) fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.shared.knobs()
    }

    /// What was called.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log()
    }

    /// Has every call over the network pass this gate from now on, by connections that are made from now on.
    pub(crate) fn guard(&self, gate: &Gate) {
        *self.shared.gate() = gate.clone();
    }

    /// The URL of the queue that events arrive in, which [`World::attach_queue`] made.
    pub(crate) fn queue_url(&self) -> String {
        let world = self.world();
        let name = world.attached().expect("World::attach_queue made one");
        self.shared.queue_url(&world.cluster.account, name)
    }

    /// Puts a message into the queue of events, as whoever may send to it does.
    pub(crate) fn send_message(&self, body: String) {
        let mut world = self.world();
        let name = world.attached().map(str::to_owned);
        let name = name.expect("World::attach_queue made one");
        sqs::send(&mut world, &name, body, 0);
    }

    /// How many messages are in the queue of events.
    pub(crate) fn messages(&self) -> usize {
        let world = self.world();
        let name = world.attached().expect("World::attach_queue made one");
        world.queues[name].messages.len()
    }

    /// Executes an operation of EKS as a person at the console would, at once: no knob refuses or loses it. The cluster's
    /// name need not be given.
    pub(crate) fn by_hand(&self, operation: &str, input: Value) -> Result<Value, Refusal> {
        let person = self.world().person("alice");
        self.call_as(&person, operation, input)
    }

    /// The same as another caller.
    pub(crate) fn call_as(
        &self,
        caller: &Caller,
        operation: &str,
        input: Value,
    ) -> Result<Value, Refusal> {
        execute::by_hand(&self.shared, caller, operation, input)
    }

    /// Every change from now on. Who reads late sees a state that is newer than the change; see [`Eks::observe`].
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Calls `observer` after every change and whenever something comes into force, with the state as it is then. It must
    /// not use the stand-in itself.
    pub(crate) fn observe(&self, observer: impl FnMut(&World, &Change) + Send + 'static) {
        self.shared.observe(Box::new(observer));
    }

    /// Lets time pass at once.
    pub(crate) fn advance(&self, time: Duration) {
        self.shared.advance(time);
    }
}

impl Drop for Eks {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Connections end with it; waiting for them would block whoever drops us.
            runtime.shutdown_background();
        }
    }
}
