//! A control plane of one's own: etcd and kube-apiserver.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rcgen::{CertifiedIssuer, KeyPair};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::audit::{Audit, Mark};
use super::certs;
use super::chart;
use super::logins::Webhooks;
use super::programs::program;
use super::reuse::{self, Pristine};
use super::rights;
use super::servers::{Reach, Servers, copy_folder, ready};
use super::supervise::Scratch;

/// Control planes at once: each takes up to 0.8 GB, and most of what tests do is wait.
static SLOTS: Semaphore = Semaphore::const_new(6);

/// Starts that may fail before we give up, each on other ports.
const ATTEMPTS: usize = 5;

/// A running control plane. When this value is dropped it ends, or another test has it: see [`reuse`](super::reuse).
///
/// The fields stand in the order in which they must go.
pub(crate) struct Cluster {
    admin: Client,
    admin_kubeconfig: PathBuf,
    files: AtomicUsize,
    /// `None`: handed back.
    servers: Option<Servers>,
    /// What is there before the test: only then somebody else can have it afterwards.
    pristine: Option<Pristine>,
    /// Something was done to the servers themselves.
    spoiled: AtomicBool,
    scratch: Arc<Scratch>,
    _slot: SemaphorePermit<'static>,
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
        Self::launch_in(slot().await, asks, reach).await
    }

    async fn launch_in(slot: SemaphorePermit<'static>, asks: bool, reach: Reach) -> Self {
        reuse::make_room(SLOTS.available_permits());
        let mut failures = Vec::new();
        while failures.len() < ATTEMPTS {
            let mut servers = match Servers::start(asks, reach).await {
                Ok(servers) => servers,
                Err(log) => {
                    failures.push(log);
                    continue;
                }
            };
            let admin = client(&servers.kubeconfig(&servers.admin_user)).await;
            match servers.ready(&admin).await {
                Ok(()) => return Self::of(servers, admin, slot),
                Err(log) => failures.push(log),
            }
        }
        panic!(
            "no control plane after {ATTEMPTS} attempts:\n{}",
            failures.join("\n---\n")
        );
    }

    fn of(servers: Servers, admin: Client, slot: SemaphorePermit<'static>) -> Self {
        let scratch = Arc::new(Scratch::new());
        let admin_kubeconfig = scratch.path().join("admin.kubeconfig");
        fs::write(&admin_kubeconfig, servers.kubeconfig(&servers.admin_user))
            .expect("the folder is writable");
        Self {
            admin,
            admin_kubeconfig,
            files: AtomicUsize::new(0),
            servers: Some(servers),
            pristine: None,
            spoiled: AtomicBool::new(false),
            scratch,
            _slot: slot,
        }
    }

    fn servers(&self) -> &Servers {
        self.servers.as_ref().expect("they run until the drop")
    }

    /// From here on this control plane is for nobody else.
    fn spoil(&self) {
        self.spoiled.store(true, Ordering::Relaxed);
    }

    /// A control plane with the custom resource definition, the chart's admission policies, and the operator's
    /// ServiceAccount under the chart's rules for `kube-system/aws-auth`, and nothing else. Another test may have had it before.
    pub(crate) async fn with_operator_rights() -> Self {
        let mut slot = slot().await;
        while let Some((servers, pristine)) = reuse::take() {
            match Self::recovered(servers, pristine, slot).await {
                Ok(cluster) => return cluster,
                Err((why, again)) => {
                    note(&why);
                    slot = again;
                }
            }
        }
        let mut cluster = Self::launch_in(slot, false, Reach::Loopback).await;
        cluster.install().await;
        cluster.pristine = Pristine::of(cluster.servers(), &cluster.admin).await;
        cluster
    }

    /// Hands it on to itself as to another test. The error is why it is used by no other.
    pub(crate) async fn again(mut self) -> Result<Self, String> {
        let (servers, pristine) = self.reusable().ok_or("it was tampered with")?;
        drop(self);
        let handed_on = Self::recovered(servers, pristine, slot().await).await;
        handed_on.map_err(|(why, _)| why)
    }

    async fn recovered(
        servers: Servers,
        pristine: Pristine,
        slot: SemaphorePermit<'static>,
    ) -> Result<Self, (String, SemaphorePermit<'static>)> {
        if !reuse::is_left(&servers).await {
            return Err(("somebody is still connected".to_owned(), slot));
        }
        let admin = client(&servers.kubeconfig(&servers.admin_user)).await;
        match pristine.recover(&servers, &admin).await {
            Ok(pristine) => {
                let mut cluster = Self::of(servers, admin, slot);
                cluster.pristine = Some(pristine);
                Ok(cluster)
            }
            Err(why) => Err((why, slot)),
        }
    }

    /// The servers, where another test may have them.
    fn reusable(&mut self) -> Option<(Servers, Pristine)> {
        if *self.spoiled.get_mut() || std::thread::panicking() {
            return None;
        }
        let pristine = self.pristine.take()?;
        Some((self.servers.take()?, pristine))
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
        let folder = self.servers().folder.path();
        let (certificate, key) = (folder.join("kubelet.crt"), folder.join("kubelet.key"));
        self.user_kubeconfig(&json!({ "client-certificate": certificate, "client-key": key }))
    }

    /// The private key that signs ServiceAccount tokens.
    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.servers().folder.path().join("service-account.key")
    }

    /// The file with the certificate authority of the API server.
    pub(crate) fn authority_file(&self) -> &Path {
        &self.servers().authority
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
        fs::write(&path, self.servers().kubeconfig(&json!({ "token": token })))
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
        let mut person = self.servers().admin_user.clone();
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
        fs::write(&path, self.servers().kubeconfig(user)).expect("the folder is writable");
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
        let mut person = self.servers().admin_user.clone();
        person["as"] = json!(user);
        person["as-groups"] = json!(groups);
        client(&self.servers().kubeconfig(&person)).await
    }

    /// A client for whoever brings a token.
    pub(crate) async fn anyone(&self) -> Client {
        client(&self.servers().kubeconfig(&json!({}))).await
    }

    /// What the API server asks about people who log in.
    pub(crate) fn webhooks(&self) -> &Webhooks {
        let webhooks = self.servers().webhooks.as_ref();
        webhooks.expect("started by `with_logins`")
    }

    /// The certificate for the loopback address and its private key, in PEM.
    pub(crate) fn serving_certificate(&self) -> (Vec<u8>, Vec<u8>) {
        let read = |name| {
            fs::read(self.servers().folder.path().join(name)).expect("it was written at the start")
        };
        (read("server.crt"), read("server.key"))
    }

    /// The address of the API server.
    pub(crate) fn url(&self) -> &str {
        &self.servers().url
    }

    /// The certificate authority of the API server, in PEM.
    pub(crate) fn authority(&self) -> Vec<u8> {
        fs::read(&self.servers().authority).expect("it was written at the start")
    }

    /// Has the API server present a certificate of this authority, as EKS does when it activates one.
    pub(crate) fn present(&self, issuer: &CertifiedIssuer<'_, KeyPair>) {
        self.spoil();
        certs::present(self.servers().folder.path(), issuer);
    }

    /// Whether the API server presents a certificate of this authority (PEM).
    pub(crate) async fn presents(&self, authority: &str) -> bool {
        let text = self.servers().kubeconfig(&self.servers().admin_user);
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
        let text = self.servers().kubeconfig(&self.servers().admin_user);
        let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
        config["clusters"][0]["cluster"]["certificate-authority"] = json!(bundle);
        let text = config.to_string();
        fs::write(&self.admin_kubeconfig, &text).expect("the folder is writable");
        self.admin = client(&text).await;
    }

    /// What was asked of the API server.
    pub(crate) fn audit(&self) -> Audit {
        let start = self
            .pristine
            .as_ref()
            .map_or(Mark::START, Pristine::audited);
        Audit::new(self.admin(), self.servers().audit_log(), start)
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

    /// A folder for the files of this test, shared so that it outlives the cluster where others write there.
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

    /// Kills etcd and the API server, and starts them again.
    pub(crate) async fn restart(&mut self) {
        self.interrupt(|_| ()).await;
    }

    async fn interrupt(&mut self, change: impl FnOnce(&Path)) {
        self.spoil();
        let servers = self.servers.as_mut().expect("they run until the drop");
        servers.interrupt(change).await;
        if let Err(log) = servers.ready(&self.admin).await {
            panic!("the control plane did not come back:\n{log}");
        }
    }

    /// The process ids of etcd and kube-apiserver.
    pub(crate) fn pids(&self) -> [u32; 2] {
        self.spoil();
        [self.servers().etcd.pid(), self.servers().api_server.pid()]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((servers, pristine)) = self.reusable() {
            reuse::give_back(servers, pristine);
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it with a failure"
)]
fn note(why: &str) {
    eprintln!("a control plane is not used again: {why}");
}

/// A turn to have a control plane.
async fn slot() -> SemaphorePermit<'static> {
    // Whoever came first: the demo may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let slot = SLOTS.acquire().await;
    slot.expect("the semaphore is never closed")
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("our own kubeconfig parses");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("our own kubeconfig is whole");
    Client::try_from(config).expect("our own kubeconfig makes a client")
}
