//! People who log in: with a token as `aws eks get-token` makes it, which kube-apiserver takes to the unmodified
//! `aws-iam-authenticator server`, which redeems it at STS and looks at access entries and aws-auth.
//!
//!     let cluster = Cluster::with_logins().await;
//!     let eks = Eks::start(world).await;
//!     let logins = Logins::start(&cluster, &eks).await;
//!     let alice = eks.world().session("111122223333", "Dev", "alice");
//!     let user = logins.who(&eks.token(&alice)).await.unwrap();
//!
//! The stand-in is STS and EC2, and gives the access entries in force to the authenticator and to an authorizer for access policies.
//! What differs from EKS is in `docs/development/testing.md`.

mod authorizer;
mod files;
mod webhooks;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::Client;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::eks::{Caller, Eks, Front};
use super::http::free_addresses;
use super::power::Door;
use super::programs::program;
use super::supervise::Supervised;
use super::wait::eventually;

use files::Files;
pub(crate) use webhooks::Webhooks;

/// A start takes a third of a second; a machine that is busy building takes longer.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Starts that may fail because another process took the port, before we give up.
const ATTEMPTS: usize = 5;

/// The running authenticator. It ends when this value is dropped.
pub(crate) struct Logins {
    authenticator: Supervised,
    anyone: Client,
    folder: PathBuf,
    files: Arc<Files>,
}

/// What an authenticator is started with beside its defaults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings<'a> {
    /// `--partition`; empty: `aws`.
    pub(crate) partition: &'a str,
    /// Accounts whose callers are kept out of logs and extras.
    pub(crate) scrubbed: &'a [&'a str],
}

/// What the API server says to a login that it does not take, or that may not ask who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// 401, or 403.
    pub(crate) code: u16,
    /// Its words.
    pub(crate) message: String,
}

impl Logins {
    /// Starts the authenticator of the stand-in's cluster, which is `cluster`, and waits until the API server reaches it.
    pub(crate) async fn start(cluster: &Cluster, eks: &Eks) -> Self {
        Self::start_with(cluster, eks, Settings::default()).await
    }

    /// The same with settings of one's own. Whatever authenticator the API server asked before is asked no more.
    pub(crate) async fn start_with(cluster: &Cluster, eks: &Eks, settings: Settings<'_>) -> Self {
        let front = eks.front().await.expect("a free port");
        let folder = cluster
            .scratch()
            .path()
            .join(format!("authenticator-{}", cluster.next_file()));
        prepare(cluster, &folder, &front, settings);
        let webhooks = cluster.webhooks();
        let files = Arc::new(Files::new(&folder));
        let door = webhooks.door();
        let written = files.clone();
        let publish = Arc::new(move |counts: Door| {
            written.publish(&counts);
            *door.lock().expect("nobody panics with it") = Some(counts);
        });
        let observing = publish.clone();
        eks.observe(move |world, _| observing(Door::of(world)));
        {
            // Observers are called while somebody has the world: none is called now.
            let world = eks.world();
            publish(Door::of(&world));
        }

        let name = eks.world().cluster.name.clone();
        let mut logs = Vec::new();
        while logs.len() < ATTEMPTS {
            let [address] = free_addresses();
            let mut authenticator = Supervised::spawn(
                &program("aws-iam-authenticator"),
                [
                    "server".to_owned(),
                    format!("--cluster-id={name}"),
                    format!("--config={}", folder.join("config.json").display()),
                    "--backend-mode=DynamicFile,EKSConfigMap".to_owned(),
                    "--kubeconfig-pregenerated".to_owned(),
                    format!("--state-dir={}", folder.display()),
                    format!("--kubeconfig={}", cluster.admin_kubeconfig().display()),
                    format!("--port={}", address.port()),
                ],
                environment(&folder, &front),
                &folder.join("log"),
            );
            // What connects there may be another process, which took the port first.
            let answers = eventually("the authenticator listens", START_DEADLINE, async || {
                let log = authenticator.log();
                if authenticator.exited().is_some() {
                    return Ok(Err(log));
                }
                if log.contains("listening on") {
                    Ok(Ok(()))
                } else {
                    Err(log)
                }
            })
            .await;
            match answers {
                Ok(()) => {
                    webhooks.ask(address);
                    let anyone = cluster.anyone().await;
                    return Self {
                        authenticator,
                        anyone,
                        folder,
                        files,
                    };
                }
                Err(log) => logs.push(log),
            }
        }
        panic!("no authenticator:\n{}", logs.join("\n---\n"));
    }

    /// Who the holder of this token is to the API server: `kubectl auth whoami`.
    pub(crate) async fn who(&self, token: &str) -> Result<UserInfo, Denied> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let review: SelfSubjectReview = self.post(token, path, &review).await?;
        let status = review.status.expect("a review is answered");
        Ok(status.user_info.expect("by who it is"))
    }

    /// Whether the holder of this token may do what these attributes of a `SelfSubjectAccessReview` say.
    pub(crate) async fn may(&self, token: &str, attributes: &Value) -> Result<bool, Denied> {
        let kind = "SelfSubjectAccessReview";
        let review =
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": attributes});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer: Value = self.post(token, path, &review).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// Reads something with this token: the status code.
    pub(crate) async fn get(&self, token: &str, path: &str) -> u16 {
        match self.send(token, "GET", path, Vec::new()).await {
            Ok(_) => 200,
            Err(denied) => denied.code,
        }
    }

    /// When the mode was last written for the authenticator, which builds its chain of backends anew from then on.
    pub(crate) fn mode_written(&self) -> Instant {
        self.files.mode_written()
    }

    /// What the authenticator wrote so far.
    pub(crate) fn log(&self) -> String {
        self.authenticator.log()
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    async fn post<T: DeserializeOwned>(
        &self,
        token: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, Denied> {
        let text = self
            .send(token, "POST", path, body.to_string().into_bytes())
            .await?;
        Ok(serde_json::from_str(&text).expect("what was asked for"))
    }

    async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<String, Denied> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body);
        let answer = self.anyone.request_text(request.expect("a request")).await;
        answer.map_err(|error| match error {
            kube::Error::Api(status) => denied(*status),
            other => panic!("the API server does not answer: {other}\n{}", self.log()),
        })
    }
}

impl Denied {
    /// Whether nobody is let in with such a token.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.code == StatusCode::UNAUTHORIZED.as_u16()
    }
}

fn denied(status: Status) -> Denied {
    Denied {
        code: status.code,
        message: status.message,
    }
}

/// What kubectl logs in with by itself: a `user` of a kubeconfig that runs the authenticator's own client, as
/// `aws eks update-kubeconfig` runs `aws eks get-token`.
pub(crate) fn exec_user(eks: &Eks, caller: &Caller) -> Value {
    let (cluster, region) = {
        let world = eks.world();
        (world.cluster.name.clone(), world.cluster.region.clone())
    };
    let key = eks.world().key_of(caller.clone());
    let environment = eks.env_as(&key).into_iter();
    // A URL of STS would end up in the token, and the authenticator takes the real hosts alone.
    let environment = environment.filter(|(name, _)| !name.starts_with("AWS_ENDPOINT_URL"));
    let environment: Vec<Value> = environment
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": program("aws-iam-authenticator"),
        "args": ["token", "--cluster-id", cluster, "--region", region],
        "env": environment,
        "interactiveMode": "Never",
    }})
}

/// The files that the authenticator is started with.
fn prepare(cluster: &Cluster, folder: &Path, front: &Front, settings: Settings<'_>) {
    fs::create_dir(folder).expect("the folder is writable");
    let write = |name: &str, text: &[u8]| {
        fs::write(folder.join(name), text).expect("the folder is writable");
    };
    let (certificate, key) = cluster.serving_certificate();
    write("cert.pem", &certificate);
    write("key.pem", &key);
    write("aws-ca.crt", front.authority.as_bytes());
    let mut server = json!({
        "dynamicfilepath": folder.join(files::ENTRIES),
        "dynamicfileUserIDStrict": true,
        "dynamicBackendModePath": folder.join(files::MODE),
        "scrubbedAccounts": settings.scrubbed,
    });
    if !settings.partition.is_empty() {
        server["partition"] = json!(settings.partition);
    }
    write(
        "config.json",
        json!({"server": server}).to_string().as_bytes(),
    );
}

/// The authenticator reaches AWS by the stand-in alone, and has credentials that say nothing.
fn environment(folder: &Path, front: &Front) -> Vec<(&'static str, String)> {
    vec![
        ("HOME", folder.display().to_string()),
        (
            "SSL_CERT_FILE",
            folder.join("aws-ca.crt").display().to_string(),
        ),
        ("HTTPS_PROXY", format!("http://{}", front.address)),
        // It would look for a region at the instance for four seconds.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_REGION", front.region.clone()),
        ("AWS_ACCESS_KEY_ID", "AKIDAUTHENTICATOR000".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "no-real-secret".to_owned()),
        // A connection that EC2 drops is no reason to let somebody wait for long.
        ("AWS_MAX_ATTEMPTS", "1".to_owned()),
    ]
}
