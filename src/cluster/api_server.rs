//! The API server: the connection that follows its files, and what the server's certificate is signed by.
//!
//! The kubelet exchanges the Pod's `ca.crt`, and people or tools rewrite a kubeconfig, while we run: once the cluster's certificate
//! authority is rotated, the old connection would be refused until a restart. So the files are read again, and where they say
//! something else a new client takes the place of the old one, for everyone who has it. Only the API server's address is never
//! followed: what was read so far is of the cluster behind the old one.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Error as ConnectionError;
use kube::client::{Body, ClientBuilder};
use kube::config::{Config, Kubeconfig};
use kube::{Client, Error};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::kubeconfig::configuration;
use super::tls::{self, Peer, ServerProof};
use crate::aws::DurationFamily;
use crate::error::connection_cause;
use crate::observed::Trust;

/// The interval of reading the files. The kubelet takes a minute or more to exchange a projected one.
const PERIOD: Duration = Duration::from_secs(5);

/// The shortest interval after a refused certificate: refused clients keep retrying.
const SOONEST: Duration = Duration::from_secs(3);

/// An API server that is there answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection without data for this time is dead: watches end, or bring something, within
/// [`WATCH_SECONDS`](super::watch::WATCH_SECONDS).
const READ_TIMEOUT: Duration = Duration::from_secs(super::watch::WATCH_SECONDS as u64 + 10);

/// Where a connection's configuration comes from.
#[derive(Clone, Debug)]
pub enum ConnectionSource {
    /// A kubeconfig, in this context.
    Kubeconfig {
        /// The file; `None`: those of `$KUBECONFIG`, or `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; `None`: the file has none.
        context: Option<String>,
    },
    /// The Pod's service account.
    Pod,
}

impl ConnectionSource {
    async fn load(&self) -> Result<Config, String> {
        match self {
            Self::Kubeconfig { path, context } => {
                let read = match path {
                    Some(path) => Kubeconfig::read_from(path),
                    None => Kubeconfig::read(),
                };
                let read = read.map_err(|error| error.to_string())?;
                let config = configuration(read, context.clone()).await;
                config.map_err(|error| error.to_string())
            }
            Self::Pod => Config::incluster().map_err(|error| error.to_string()),
        }
    }
}

/// What is counted of the requests to the API server. Clones share their numbers.
#[derive(Clone, Debug)]
pub struct ApiRequests {
    /// By `verb` and `code`, the HTTP status; `error` where there was no answer.
    pub requests: Family<[(&'static str, String); 2], Counter>,
    /// Seconds until the answer began, by `verb`.
    pub duration: DurationFamily,
}

impl Default for ApiRequests {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            // From a millisecond to some 8 s; calls have five.
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 14))
            }),
        }
    }
}

impl ApiRequests {
    /// Counts and logs an answer. Of the address only the path is logged: what else is in it may name what nobody should copy into an issue.
    fn count(&self, verb: &'static str, path: &str, code: String, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        debug!(verb, path, code, milliseconds, "API server answered");
        let labels = [("verb", verb.to_owned()), ("code", code)];
        self.requests.get_or_create(&labels).inc();
        let histogram = self.duration.get_or_create(&[("verb", verb)]);
        histogram.observe(duration.as_secs_f64());
    }
}

/// What a request does, in Kubernetes' words.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match request.method().as_str() {
        "GET" if query.split('&').any(|it| it == "watch=true") => "watch",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// A connection to the API server. Clones are the same one.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    source: ConnectionSource,
    current: watch::Sender<Current>,
    /// The API server's certificate was refused: the files may tell why.
    refused: Notify,
    /// Why the files can't be followed now.
    complaint: Mutex<Option<String>>,
    requests: ApiRequests,
}

#[derive(Clone)]
struct Current {
    client: Client,
    config: Arc<Config>,
    digest: [u8; 32],
}

impl Current {
    fn new(mut config: Config) -> Result<Self, Error> {
        // The loop tries again at its own pace and on newer grounds; a client that does so by itself only hides the time.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        // One way for all: kube follows this file, and nothing else, on its own.
        config.root_cert_file = None;
        let digest = digest(&config);
        let config = Arc::new(config);
        let client = ClientBuilder::try_from(Config::clone(&config))?.build();
        Ok(Self {
            client,
            config,
            digest,
        })
    }
}

impl ApiServer {
    /// Connects by a configuration, and follows it from here on for as long as anyone has the connection or its client.
    pub fn connect(config: Config, source: ConnectionSource) -> Result<Self, Error> {
        let inner = Arc::new(Inner {
            source,
            current: watch::Sender::new(Current::new(config)?),
            refused: Notify::new(),
            complaint: Mutex::new(None),
            requests: ApiRequests::default(),
        });
        tokio::spawn(follow(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// A client that is always of the current configuration.
    #[must_use]
    pub fn client(&self) -> Client {
        let namespace = self.0.current.borrow().config.default_namespace.clone();
        Client::new(Following(Arc::clone(&self.0)), namespace)
    }

    /// What is counted of the requests.
    #[must_use]
    pub fn requests(&self) -> &ApiRequests {
        &self.0.requests
    }

    /// Reports when what the API server's certificate is verified with may have changed.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.0.current.subscribe())
    }

    /// What the certificate that the API server presents now is signed by. An error says why it could not be asked.
    pub async fn trust(&self) -> Result<Trust, String> {
        let config = Arc::clone(&self.0.current.borrow().config);
        let peer = match peer(&config) {
            Ok(peer) => peer,
            Err(why) => return Ok(Trust::Unknown(why)),
        };
        match tls::look(&peer).await {
            Ok(ServerProof::Signed(authorities)) => Ok(Trust::Authorities(authorities)),
            Ok(ServerProof::Refused(why)) => Ok(Trust::Unknown(format!(
                "none of the trusted certificate authorities ({why})"
            ))),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.0.current.borrow().config;
        write!(f, "ApiServer({})", config.cluster_url)
    }
}

/// Reports changes of an [`ApiServer`]'s configuration.
#[derive(Debug)]
pub struct Changes(watch::Receiver<Current>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current({})", self.config.cluster_url)
    }
}

impl Changes {
    /// Waits for the next one, for ever where there is none any more.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Where and by what the API server's certificate is checked, or why it proves nothing.
fn peer(config: &Config) -> Result<Peer, String> {
    let url = &config.cluster_url;
    if url.scheme_str() != Some("https") {
        return Err("none, because the connection uses no TLS".to_owned());
    }
    if config.accept_invalid_certs {
        return Err(
            "none that is verified, because the kubeconfig has insecure-skip-tls-verify".to_owned(),
        );
    }
    let authorities = config.root_cert.clone().unwrap_or_default();
    if authorities.is_empty() {
        return Err(
            "none of its own, because the kubeconfig has no certificate-authority".to_owned(),
        );
    }
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = config.tls_server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| format!("none, because {name:?} is not a server name: {error}"))?;
    Ok(Peer {
        url: url.clone(),
        proxy: config.proxy_url.clone(),
        name,
        authorities,
    })
}

/// Of all that a client is made of, so that one that would be the same is not made anew.
fn digest(config: &Config) -> [u8; 32] {
    let mut parts: Vec<Vec<u8>> = config.root_cert.clone().unwrap_or_default();
    parts.push(vec![u8::from(config.accept_invalid_certs)]);
    parts.push(config.tls_server_name.clone().unwrap_or_default().into());
    let proxy = config.proxy_url.as_ref().map(ToString::to_string);
    parts.push(proxy.unwrap_or_default().into());
    let auth = &config.auth_info;
    parts.push(serde_json::to_vec(auth).unwrap_or_default());
    for file in [&auth.client_certificate, &auth.client_key] {
        let content = file.as_ref().map(std::fs::read);
        parts.push(content.and_then(Result::ok).unwrap_or_default());
    }
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Reads the files again and again, until no one has the connection any more.
async fn follow(connection: Weak<Inner>) {
    loop {
        let Some(inner) = connection.upgrade() else {
            return;
        };
        let refused = tokio::select! {
            () = inner.refused.notified() => true,
            () = tokio::time::sleep(PERIOD) => false,
        };
        drop(inner);
        if refused {
            tokio::time::sleep(SOONEST).await;
        }
        if let Some(inner) = connection.upgrade() {
            let followed = inner.look().await;
            inner.complain(followed.err());
            if refused {
                // Where the files say nothing new, the certificate is another one.
                inner.current.send_modify(|_| ());
            }
        }
    }
}

impl Inner {
    /// Uses the current files.
    async fn look(&self) -> Result<(), String> {
        let before = self.current.borrow().clone();
        let config = self.source.load().await?;
        if config.cluster_url != before.config.cluster_url {
            return Err(format!(
                "the configuration now names the API server {} instead of {}; restart to use it",
                config.cluster_url, before.config.cluster_url
            ));
        }
        if digest(&config) == before.digest {
            return Ok(());
        }
        let current = Current::new(config).map_err(|error| error.to_string())?;
        info!("reloaded the configuration of the connection to the API server");
        self.current.send_replace(current);
        Ok(())
    }

    /// An error of the connection with the address to which there is none; any other as it is.
    fn named(&self, error: Error) -> Error {
        let Some(cause) = connection_failure(&error) else {
            return error;
        };
        let config = Arc::clone(&self.current.borrow().config);
        Error::Service(Box::new(Unconnected {
            route: route(&config),
            cause,
        }))
    }

    /// Logs once why the files can't be followed.
    fn complain(&self, complaint: Option<String>) {
        let mut before = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *before != complaint {
            if let Some(complaint) = &complaint {
                warn!(
                    error = complaint,
                    "reloading the configuration of the connection to the API server failed, keeping the current one"
                );
            }
            *before = complaint;
        }
    }
}

/// Sends each request by the client of the moment.
struct Following(Arc<Inner>);

impl tower_service::Service<Request<Body>> for Following {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let client = inner.current.borrow().client.clone();
        let (verb, began) = (verb(&request), Instant::now());
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let answer = client.send(request).await;
            let code = answer.as_ref().map_or_else(
                |_| "error".to_owned(),
                |answer| answer.status().as_str().to_owned(),
            );
            inner.requests.count(verb, &path, code, began.elapsed());
            if answer.as_ref().is_err_and(of_certificate) {
                inner.refused.notify_one();
            }
            answer.map_err(|error| inner.named(error))
        })
    }
}

/// What the error of a call begins with where there is no connection to the API server.
pub(crate) const NO_CONNECTION: &str = "can't connect to ";

/// There is no connection to the API server.
#[derive(Debug, thiserror::Error)]
#[error("{NO_CONNECTION}{route}: {cause}")]
struct Unconnected {
    route: String,
    cause: String,
}

/// The address of the API server, and the proxy on the way to it.
pub(crate) fn route(config: &Config) -> String {
    let url = config.cluster_url.to_string();
    let url = url.trim_end_matches('/');
    match config.proxy_url.as_ref().and_then(Uri::authority) {
        Some(proxy) => {
            let proxy = proxy.as_str();
            let (_, proxy) = proxy.rsplit_once('@').unwrap_or(("", proxy));
            format!("{url} through the proxy {proxy}")
        }
        None => url.to_owned(),
    }
}

/// Why a call was not sent: what its connection met. `None`: it had one.
fn connection_failure(error: &Error) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<ConnectionError>()
            .is_some_and(ConnectionError::is_connect)
        {
            return Some(connection_cause(error));
        }
        next = error.source();
    }
    None
}

/// Whether a call failed because the API server's certificate was refused.
fn of_certificate(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| tls::refusal(error).is_some()) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
