//! etcd and kube-apiserver: how they are started, and what they are started with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::addresses::Family;
use super::certs::Certificates;
use super::http::free_addresses;
use super::logins::Webhooks;
use super::programs::program;
use super::supervise::{Scratch, Supervised};
use super::wait::eventually;

/// A start takes some 3 s; a machine that is busy building takes longer.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// Who reaches the API server.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// This machine.
    Loopback,
    /// A node and its Pods too, in a network namespace of their own.
    Node(Family),
}

impl Reach {
    const fn family(self) -> Family {
        match self {
            Self::Loopback => Family::V4,
            Self::Node(family) => family,
        }
    }

    fn flags(self, certificates: &Certificates) -> Vec<String> {
        match self {
            Self::Loopback => vec![
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
            ],
            Self::Node(family) => vec![
                // Loopback is among them.
                format!("--bind-address={}", family.any()),
                format!("--advertise-address={}", family.node()),
                // No name server knows the node's name.
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                format!(
                    "--kubelet-client-certificate={}",
                    certificates.admin.display()
                ),
                format!("--kubelet-client-key={}", certificates.admin_key.display()),
            ],
        }
    }
}

/// Requests are logged once, when they are answered.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}"#;

/// Both servers, and what the API server asks about people who log in. They end when this value is dropped.
///
/// The fields stand in the order in which they must go.
pub(super) struct Servers {
    pub(super) api_server: Supervised,
    pub(super) etcd: Supervised,
    api_server_args: Vec<String>,
    etcd_args: Vec<String>,
    /// Where etcd answers.
    pub(super) storage: SocketAddr,
    /// Where the API server answers.
    pub(super) address: SocketAddr,
    pub(super) url: String,
    pub(super) authority: PathBuf,
    pub(super) admin_user: Value,
    pub(super) webhooks: Option<Webhooks>,
    /// Certificates, logs, and what etcd holds.
    pub(super) folder: Scratch,
}

/// Starts a server whose log has its name.
fn spawn(folder: &Path, name: &str, args: &[String]) -> Supervised {
    let log = folder.join(format!("{name}.log"));
    Supervised::spawn(&program(name), args, environment(folder), &log)
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is writable");
    for entry in fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the folder is writable");
        }
    }
}

impl Servers {
    /// Starts both, and what the API server asks about people who log in, where it is to; the error is the output of the one that
    /// ended.
    pub(super) async fn start(asks: bool, reach: Reach) -> Result<Self, String> {
        let scratch = Scratch::new();
        let folder = scratch.path();
        let [client_address, peer_address, secure] = free_addresses();
        let (client_url, peer_url) = (
            format!("http://{client_address}"),
            format!("http://{peer_address}"),
        );
        let etcd_args = vec![
            "--name=testbed".to_owned(),
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={client_url}"),
            format!("--advertise-client-urls={client_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=testbed={peer_url}"),
            // A power cut costs nothing here, and a disk that is slow to sync would cost seconds.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        let etcd = spawn(folder, "etcd", &etcd_args);
        let certificates =
            Certificates::generate(folder).expect("certificates for loopback can be made");
        let mut starting = Starting {
            etcd,
            address: client_address,
        };
        starting.answering().await?;
        let Starting { etcd, .. } = starting;

        let (webhooks, flags) = if asks {
            let Certificates {
                authority,
                server,
                server_key,
                ..
            } = &certificates;
            let (webhooks, flags) = Webhooks::open(folder, authority, server, server_key).await;
            (Some(webhooks), flags)
        } else {
            (None, vec!["--authorization-mode=Node,RBAC".to_owned()])
        };
        let policy = folder.join("audit-policy.json");
        fs::write(&policy, AUDIT_POLICY).expect("the folder is writable");
        let file = |path: &Path| path.display().to_string();
        let api_server_args: Vec<String> = [
            format!("--etcd-servers={client_url}"),
            format!("--secure-port={}", secure.port()),
            format!("--tls-cert-file={}", file(&certificates.server)),
            format!("--tls-private-key-file={}", file(&certificates.server_key)),
            format!("--client-ca-file={}", file(&certificates.authority)),
            format!(
                "--service-account-key-file={}",
                file(&certificates.service_account)
            ),
            format!(
                "--service-account-signing-key-file={}",
                file(&certificates.service_account_key)
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-cluster-ip-range={}", reach.family().services()),
            "--allow-privileged".to_owned(),
            format!("--audit-policy-file={}", file(&policy)),
            format!("--audit-log-path={}", file(&folder.join("audit.log"))),
        ]
        .into_iter()
        .chain(reach.flags(&certificates))
        .chain(flags)
        .collect();
        let api_server = spawn(folder, "kube-apiserver", &api_server_args);
        Ok(Self {
            api_server,
            etcd,
            api_server_args,
            etcd_args,
            storage: client_address,
            address: secure,
            url: format!("https://{secure}"),
            authority: certificates.authority,
            admin_user: json!({ "client-certificate": certificates.admin, "client-key": certificates.admin_key }),
            webhooks,
            folder: scratch,
        })
    }

    /// Ends both, does something to the data of etcd, and starts them again with the same addresses.
    pub(super) async fn interrupt(&mut self, change: impl FnOnce(&Path)) {
        for server in [&mut self.api_server, &mut self.etcd] {
            server.signal("KILL");
            eventually("the server ends", START_DEADLINE, async || {
                server.exited().is_some()
            })
            .await;
        }
        let folder = self.folder.path();
        change(&folder.join("etcd"));
        self.etcd = spawn(folder, "etcd", &self.etcd_args);
        self.api_server = spawn(folder, "kube-apiserver", &self.api_server_args);
    }

    /// Waits until the API server is ready and its own start-up hooks have made the namespaces that everything needs.
    pub(super) async fn ready(&mut self, admin: &Client) -> Result<(), String> {
        eventually("the control plane is ready", START_DEADLINE, async || {
            for server in [&mut self.etcd, &mut self.api_server] {
                if server.exited().is_some() {
                    return Ok(Err(server.log()));
                }
            }
            ready(admin).await.map(Ok)
        })
        .await
    }

    /// What was asked of the API server.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The text of a kubeconfig: JSON, which is YAML too.
    pub(super) fn kubeconfig(&self, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {"server": self.url, "certificate-authority": self.authority}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
        })
        .to_string()
    }
}

pub(super) async fn ready(admin: &Client) -> Result<(), kube::Error> {
    let probe = admin.request_text(
        Request::get("/readyz")
            .body(Vec::new())
            .expect("a valid request"),
    );
    probe.await?;
    let namespaces = Api::<Namespace>::all(admin.clone());
    for name in ["default", "kube-system"] {
        namespaces.get(name).await?;
    }
    Ok(())
}

/// etcd until it takes connections: a client that comes earlier waits a second before it tries again.
struct Starting {
    etcd: Supervised,
    address: SocketAddr,
}

impl Starting {
    async fn answering(&mut self) -> Result<(), String> {
        eventually("etcd takes connections", START_DEADLINE, async || {
            if self.etcd.exited().is_some() {
                return Ok(Err(self.etcd.log()));
            }
            tokio::net::TcpStream::connect(self.address)
                .await
                .map(|_| Ok(()))
        })
        .await
    }
}

/// The servers get a home of their own, so that none of the developer's settings reaches them. They collect garbage less often than
/// Go does by itself: a fifth of their processor time for a third more memory.
fn environment(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("HOME", folder.to_owned()), ("GOGC", "300".into())]
}
