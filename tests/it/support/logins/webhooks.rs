//! What kube-apiserver asks about who comes: one address of each kind from its start on, whoever answers there later.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::authorizer;
use crate::support::eks::acceptor;
use crate::support::power::Door;

/// What counts at the door of EKS, once somebody says so.
pub(super) type Shown = Arc<Mutex<Option<Door>>>;

/// Both webhooks. They run on a thread of their own, since a test that waits for kubectl must not keep them from answering, and end
/// with this value.
pub(crate) struct Webhooks {
    authenticator: watch::Sender<Option<SocketAddr>>,
    door: Shown,
    runtime: Option<Runtime>,
}

impl Webhooks {
    /// Opens both in the folder of a control plane, and gives the flags by which its API server asks them.
    pub(crate) async fn open(
        folder: &Path,
        authority: &Path,
        certificate: &Path,
        key: &Path,
    ) -> (Self, Vec<String>) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("webhooks")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let bound = runtime.spawn(async {
            let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            (
                bind().await.expect("a free port"),
                bind().await.expect("a free port"),
            )
        });
        let (relay_at, authorizer_at) = bound.await.expect("it does not panic");
        let file = |name: &str, listener: &TcpListener, path: &str| {
            let address = listener.local_addr().expect("it is bound");
            write(
                folder,
                name,
                &kubeconfig(&format!("https://{address}{path}"), authority),
            )
        };
        let authentication = file("authentication.kubeconfig", &relay_at, "/authenticate");
        let access_policies = file("access-policies.kubeconfig", &authorizer_at, "/");
        let authorization = write(
            folder,
            "authorization.json",
            &authorization(&access_policies),
        );

        let certificate = CertificateDer::from_pem_file(certificate).expect("it was just written");
        let key = PrivateKeyDer::from_pem_file(key).expect("it was just written");
        let (authenticator, target) = watch::channel(None);
        let door = Shown::default();
        runtime.spawn(relay(relay_at, target));
        runtime.spawn(authorizer::serve(
            authorizer_at,
            acceptor(certificate, key),
            door.clone(),
        ));
        let flags = vec![
            format!(
                "--authentication-token-webhook-config-file={}",
                authentication.display()
            ),
            // The API server itself keeps an answer for ten seconds whatever this says: each login takes a token of its own.
            "--authentication-token-webhook-cache-ttl=0s".to_owned(),
            format!("--authorization-config={}", authorization.display()),
        ];
        let this = Self {
            authenticator,
            door,
            runtime: Some(runtime),
        };
        (this, flags)
    }

    /// Has the API server ask the authenticator at this address.
    pub(super) fn ask(&self, authenticator: SocketAddr) {
        self.authenticator.send_replace(Some(authenticator));
    }

    /// Where the authorizer looks up what counts.
    pub(super) fn door(&self) -> Shown {
        self.door.clone()
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Passes connections on. They end when their target changes.
async fn relay(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut target = target.clone();
        tokio::spawn(async move {
            let address = *target.borrow_and_update();
            let Some(address) = address else {
                return;
            };
            let Ok(mut server) = TcpStream::connect(address).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = target.changed() => {}
            }
        });
    }
}

fn write(folder: &Path, name: &str, content: &Value) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content.to_string()).expect("the folder is writable");
    path
}

fn kubeconfig(server: &str, authority: &Path) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "webhook",
        "clusters": [{"name": "webhook", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "api-server", "user": {}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "api-server"}}],
    })
}

/// Nodes and RBAC as everywhere, then access policies, for those whom an authenticator let in.
fn authorization(access_policies: &Path) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Node", "name": "node"},
            {"type": "RBAC", "name": "rbac"},
            {"type": "Webhook", "name": "access-policies", "webhook": {
                "authorizedTTL": "0s", "unauthorizedTTL": "0s",
                "cacheAuthorizedRequests": false, "cacheUnauthorizedRequests": false,
                "timeout": "10s",
                "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
                "failurePolicy": "NoOpinion",
                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": access_policies},
                "matchConditions": [{"expression": "has(request.extra) && 'canonicalArn' in request.extra"}],
            }},
        ],
    })
}
