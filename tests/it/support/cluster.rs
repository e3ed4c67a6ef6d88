//! A control plane of one's own: etcd and kube-apiserver.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rcgen::{CertifiedIssuer, KeyPair};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::audit::Audit;
use super::certs::{self, Certificates};
use super::chart;
use super::http::free_addresses;
use super::logins::Webhooks;
use super::programs::program;
use super::rights;
use super::supervise::{Scratch, Supervised};
use super::wait::eventually;

/// Control planes at once: each takes half a gigabyte, and half of what tests do is wait.
static SLOTS: Semaphore = Semaphore::const_new(4);

/// Starts that may fail before we give up, each on other ports.
const ATTEMPTS: usize = 5;

/// A start takes some 3 s; a machine that is busy building takes longer.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// Who reaches the API server.
#[derive(Clone, Copy)]
enum Reach {
    /// This machine.
    Loopback,
    /// A node and its Pods too, in a network namespace of their own.
    Node,
}

impl Reach {
    fn flags(self, certificates: &Certificates) -> Vec<String> {
        match self {
            Self::Loopback => vec![
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
            ],
            Self::Node => vec![
                "--bind-address=0.0.0.0".to_owned(),
                format!("--advertise-address={}", certs::NODE_ADDRESS),
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

/// A running control plane. It ends when this value is dropped.
///
/// The fields stand in the order in which they must go.
pub(crate) struct Cluster {
    admin: Client,
    admin_kubeconfig: PathBuf,
    files: AtomicUsize,
    servers: Servers,
    webhooks: Option<Webhooks>,
    scratch: Arc<Scratch>,
    _slot: SemaphorePermit<'static>,
}

struct Servers {
    api_server: Supervised,
    etcd: Supervised,
    api_server_args: Vec<String>,
    etcd_args: Vec<String>,
    url: String,
    authority: PathBuf,
    admin_user: Value,
}

impl Cluster {
    /// A new control plane with nothing in it. Waits while too many others run in this process.
    pub(crate) async fn start() -> Self {
        Self::launch(false, Reach::Loopback).await
    }

    /// A new control plane with nothing in it, for a node: where people log in, once there is an authenticator.
    pub(crate) async fn for_node() -> Self {
        Self::launch(true, Reach::Node).await
    }

    async fn launch(asks: bool, reach: Reach) -> Self {
        // Whoever came first: the demo may have installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let slot = SLOTS
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut failures = Vec::new();
        while failures.len() < ATTEMPTS {
            let scratch = Arc::new(Scratch::new());
            let started = Servers::start(scratch.path(), asks, reach).await;
            let (mut servers, webhooks) = match started {
                Ok(started) => started,
                Err(log) => {
                    failures.push(log);
                    continue;
                }
            };
            let admin_kubeconfig = scratch.path().join("admin.kubeconfig");
            fs::write(&admin_kubeconfig, servers.kubeconfig(&servers.admin_user))
                .expect("the folder is writable");
            let admin = client(&servers.kubeconfig(&servers.admin_user)).await;
            match servers.ready(&admin).await {
                Ok(()) => {
                    return Self {
                        admin,
                        admin_kubeconfig,
                        files: AtomicUsize::new(0),
                        servers,
                        webhooks,
                        scratch,
                        _slot: slot,
                    };
                }
                Err(log) => failures.push(log),
            }
        }
        panic!(
            "no control plane after {ATTEMPTS} attempts:\n{}",
            failures.join("\n---\n")
        );
    }

    /// A new control plane with the custom resource definition, the chart's admission policies, and the operator's
    /// ServiceAccount under the chart's rules for `kube-system/aws-auth`.
    pub(crate) async fn with_operator_rights() -> Self {
        let cluster = Self::start().await;
        cluster.install().await;
        cluster
    }

    /// The same where people log in, once there is an authenticator: see [`super::Logins`].
    pub(crate) async fn with_logins() -> Self {
        let cluster = Self::launch(true, Reach::Loopback).await;
        cluster.install().await;
        cluster
    }

    async fn install(&self) {
        rights::install_definitions(&self.admin).await;
        rights::install_policies(&self.admin, chart::default_policies()).await;
        rights::grant(&self.admin, "kube-system", "aws-auth").await;
    }

    /// A client that may do anything.
    pub(crate) fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// A file for kubectl and others that may do anything.
    pub(crate) fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// A new file for the kubelet of the node.
    pub(crate) fn kubelet_kubeconfig(&self) -> PathBuf {
        let folder = self.scratch.path();
        let (certificate, key) = (folder.join("kubelet.crt"), folder.join("kubelet.key"));
        self.user_kubeconfig(&json!({ "client-certificate": certificate, "client-key": key }))
    }

    /// The private key that signs ServiceAccount tokens.
    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.scratch.path().join("service-account.key")
    }

    /// The file with the certificate authority of the API server.
    pub(crate) fn authority_file(&self) -> &Path {
        &self.servers.authority
    }

    /// A new file with a token of the operator's ServiceAccount.
    pub(crate) async fn operator_kubeconfig(&self) -> PathBuf {
        self.service_account_kubeconfig(rights::NAMESPACE, rights::SERVICE_ACCOUNT)
            .await
    }

    /// A new file with a token of a ServiceAccount, good for a day.
    pub(crate) async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.token(namespace, name).await;
        let file = format!("{namespace}-{name}-{}.kubeconfig", self.next_file());
        let path = self.scratch.path().join(file);
        fs::write(&path, self.servers.kubeconfig(&json!({ "token": token })))
            .expect("the folder is writable");
        path
    }

    async fn token(&self, namespace: &str, name: &str) -> String {
        let accounts = Api::<ServiceAccount>::namespaced(self.admin(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(86_400),
                ..Default::default()
            },
            ..Default::default()
        };
        accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .expect("a token of the ServiceAccount")
            .status
            .expect("a token request is answered with a token")
            .token
    }

    /// A new file with which a person of this name, in these groups and in `system:authenticated`, is talked for: the administrator
    /// impersonates them.
    pub(crate) fn person_kubeconfig(&self, user: &str, groups: &[&str]) -> PathBuf {
        let mut person = self.servers.admin_user.clone();
        person["as"] = json!(user);
        person["as-groups"] = json!(groups);
        self.user_kubeconfig(&person)
    }

    /// A new file with these credentials.
    pub(crate) fn user_kubeconfig(&self, user: &Value) -> PathBuf {
        let path = self
            .scratch
            .path()
            .join(format!("user-{}.kubeconfig", self.next_file()));
        fs::write(&path, self.servers.kubeconfig(user)).expect("the folder is writable");
        path
    }

    /// A new file like a kubeconfig, by another address: that of whoever passes on what comes there.
    pub(crate) fn detour(&self, kubeconfig: &Path, address: SocketAddr) -> PathBuf {
        let text = fs::read(kubeconfig).expect("it is readable");
        let mut whole: Value = serde_json::from_slice(&text).expect("ours are JSON");
        whole["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        let file = format!("detour-{}.kubeconfig", self.next_file());
        let path = self.scratch.path().join(file);
        fs::write(&path, whole.to_string()).expect("the folder is writable");
        path
    }

    /// A client for a person of this name, in these groups and in `system:authenticated`.
    ///
    /// The administrator impersonates them; in the audit log the request is theirs.
    pub(crate) async fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        let mut person = self.servers.admin_user.clone();
        person["as"] = json!(user);
        person["as-groups"] = json!(groups);
        client(&self.servers.kubeconfig(&person)).await
    }

    /// A client for whoever brings a token.
    pub(crate) async fn anyone(&self) -> Client {
        client(&self.servers.kubeconfig(&json!({}))).await
    }

    /// What the API server asks about people who log in.
    pub(crate) fn webhooks(&self) -> &Webhooks {
        self.webhooks.as_ref().expect("started by `with_logins`")
    }

    /// The certificate for the loopback address and its private key, in PEM.
    pub(crate) fn serving_certificate(&self) -> (Vec<u8>, Vec<u8>) {
        let read =
            |name| fs::read(self.scratch.path().join(name)).expect("it was written at the start");
        (read("server.crt"), read("server.key"))
    }

    /// The address of the API server.
    pub(crate) fn url(&self) -> &str {
        &self.servers.url
    }

    /// The certificate authority of the API server, in PEM.
    pub(crate) fn authority(&self) -> Vec<u8> {
        fs::read(&self.servers.authority).expect("it was written at the start")
    }

    /// Has the API server present a certificate of this authority, as EKS does when it activates one.
    pub(crate) fn present(&self, issuer: &CertifiedIssuer<'_, KeyPair>) {
        certs::present(self.scratch.path(), issuer);
    }

    /// Whether the API server presents a certificate of this authority (PEM).
    pub(crate) async fn presents(&self, authority: &str) -> bool {
        let text = self.servers.kubeconfig(&self.servers.admin_user);
        let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
        let settings = &mut config["clusters"][0]["cluster"];
        settings["certificate-authority"] = Value::Null;
        settings["certificate-authority-data"] = json!(STANDARD.encode(authority));
        ready(&client(&config.to_string()).await).await.is_ok()
    }

    /// A new token of the operator's ServiceAccount, good for a day.
    pub(crate) async fn operator_token(&self) -> String {
        self.token(rights::NAMESPACE, rights::SERVICE_ACCOUNT).await
    }

    /// Has the administrator trust these certificate authorities (PEM) too.
    pub(crate) async fn trust(&mut self, authorities: &str) {
        let first = String::from_utf8(self.authority()).expect("PEM is ASCII");
        let bundle = self.scratch.path().join("admin-ca.crt");
        fs::write(&bundle, first + authorities).expect("the folder is writable");
        let text = self.servers.kubeconfig(&self.servers.admin_user);
        let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
        config["clusters"][0]["cluster"]["certificate-authority"] = json!(bundle);
        let text = config.to_string();
        fs::write(&self.admin_kubeconfig, &text).expect("the folder is writable");
        self.admin = client(&text).await;
    }

    /// What was asked of the API server.
    pub(crate) fn audit(&self) -> Audit {
        Audit::new(self.admin(), self.scratch.path().join("audit.log"))
    }

    /// Runs kubectl as the administrator.
    pub(crate) fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Output {
        // A finalizer that never comes off would hold up kubectl, and with it the test, for ever.
        let limit = (args.first() == Some(&"delete")).then_some("--timeout=120s");
        let mut child = Command::new(program("kubectl"))
            .args(args.first())
            .args(limit)
            .args(args.iter().skip(1))
            .env("KUBECONFIG", &self.admin_kubeconfig)
            .env("KUBECACHEDIR", self.scratch.path().join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut pipe = child.stdin.take().expect("stdin is piped");
        // kubectl reads all of its input before it writes. One that takes none may close the pipe.
        let _ = pipe.write_all(stdin.unwrap_or_default().as_bytes());
        drop(pipe);
        child.wait_with_output().expect("kubectl ends")
    }

    /// The folder that holds this control plane's files, shared so that it outlives the cluster where others write there.
    pub(crate) fn scratch(&self) -> Arc<Scratch> {
        Arc::clone(&self.scratch)
    }

    /// A number that no other file of this cluster has.
    pub(crate) fn next_file(&self) -> usize {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    /// Stores all that etcd holds, as a backup does. The API server is away meanwhile.
    pub(crate) async fn back_up(&mut self) {
        let backup = self.scratch.path().join("backup");
        let copy = |data: &Path| copy_folder(data, &backup);
        self.interrupt(copy).await;
    }

    /// Puts the backup in the place of what etcd holds: versions of objects go back in time.
    pub(crate) async fn restore(&mut self) {
        let backup = self.scratch.path().join("backup");
        let replace = |data: &Path| {
            fs::remove_dir_all(data).expect("it can be removed");
            copy_folder(&backup, data);
        };
        self.interrupt(replace).await;
    }

    async fn interrupt(&mut self, change: impl FnOnce(&Path)) {
        self.servers.interrupt(self.scratch.path(), change).await;
        if let Err(log) = self.servers.ready(&self.admin).await {
            panic!("the control plane did not come back:\n{log}");
        }
    }

    /// The process ids of etcd and kube-apiserver.
    pub(crate) fn pids(&self) -> [u32; 2] {
        [self.servers.etcd.pid(), self.servers.api_server.pid()]
    }
}

/// Starts a server whose log has its name.
fn spawn(folder: &Path, name: &str, args: &[String]) -> Supervised {
    let log = folder.join(format!("{name}.log"));
    Supervised::spawn(&program(name), args, environment(folder), &log)
}

fn copy_folder(from: &Path, to: &Path) {
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
    async fn start(
        folder: &Path,
        asks: bool,
        reach: Reach,
    ) -> Result<(Self, Option<Webhooks>), String> {
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
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--allow-privileged".to_owned(),
            format!("--audit-policy-file={}", file(&policy)),
            format!("--audit-log-path={}", file(&folder.join("audit.log"))),
        ]
        .into_iter()
        .chain(reach.flags(&certificates))
        .chain(flags)
        .collect();
        let api_server = spawn(folder, "kube-apiserver", &api_server_args);
        let this = Self {
            api_server,
            etcd,
            api_server_args,
            etcd_args,
            url: format!("https://{secure}"),
            authority: certificates.authority,
            admin_user: json!({ "client-certificate": certificates.admin, "client-key": certificates.admin_key }),
        };
        Ok((this, webhooks))
    }

    /// Ends both, does something to the data of etcd, and starts them again with the same addresses.
    async fn interrupt(&mut self, folder: &Path, change: impl FnOnce(&Path)) {
        for server in [&mut self.api_server, &mut self.etcd] {
            server.signal("KILL");
            eventually("the server ends", START_DEADLINE, async || {
                server.exited().is_some()
            })
            .await;
        }
        change(&folder.join("etcd"));
        self.etcd = spawn(folder, "etcd", &self.etcd_args);
        self.api_server = spawn(folder, "kube-apiserver", &self.api_server_args);
    }

    /// Waits until the API server is ready and its own start-up hooks have made the namespaces that everything needs.
    async fn ready(&mut self, admin: &Client) -> Result<(), String> {
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

    /// The text of a kubeconfig: JSON, which is YAML too.
    fn kubeconfig(&self, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {"server": self.url, "certificate-authority": self.authority}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
        })
        .to_string()
    }
}

async fn ready(admin: &Client) -> Result<(), kube::Error> {
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

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("our own kubeconfig parses");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("our own kubeconfig is whole");
    Client::try_from(config).expect("our own kubeconfig makes a client")
}
