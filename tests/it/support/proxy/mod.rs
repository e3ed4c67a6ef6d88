//! A proxy before the API server that understands requests: what each is for, so that faults befall some and not others, and so that
//! a process can be made to die at any effect (see [`Gate`]).
//!
//! It ends TLS with the API server's own certificate, which its clients trust, and passes on what they log in with: a token, since a
//! client certificate would need its private key. It runs on a thread of its own, like the stand-in for AWS.

mod api_request;
mod body;
mod faults;
mod forward;
mod part;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use self::api_request::ApiRequest;
use self::body::{Body, Dropped};
use self::forward::{Stored, Upstream};
use super::cluster::Cluster;
use super::eks::{Connection, Gate, acceptor};

pub(crate) use faults::{Fault, Faults, On};

/// The running proxy. It ends with this value.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    gate: Gate,
    faults: Mutex<Faults>,
    upstream: Upstream,
    /// Lists as they were answered before.
    stored: Stored,
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts one before this API server, whose requests pass this gate.
    pub(crate) async fn start(cluster: &Cluster, gate: &Gate) -> Self {
        let (certificate, key) = cluster.serving_certificate();
        let certificate = CertificateDer::from_pem_slice(&certificate).expect("our own PEM");
        let key = PrivateKeyDer::from_pem_slice(&key).expect("our own PEM");
        let shared = Arc::new(Shared {
            gate: gate.clone(),
            faults: Mutex::default(),
            upstream: Upstream::of(cluster),
            stored: Stored::default(),
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let serving = shared.clone();
        let started = runtime.spawn(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            tokio::spawn(serve(serving, listener, acceptor(certificate, key)));
            io::Result::Ok(address)
        });
        let address = started.await.expect("it does not panic");
        Self {
            address: address.expect("a free port"),
            shared,
            runtime: Some(runtime),
        }
    }

    /// The same kubeconfig, by this proxy.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, kubeconfig: &Path) -> PathBuf {
        cluster.detour(kubeconfig, self.address)
    }

    /// What goes wrong.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = shared.gate.connection();
        tokio::spawn(talk(shared.clone(), connection, stream, tls.clone()));
    }
}

async fn talk(shared: Arc<Shared>, connection: Connection, stream: TcpStream, tls: TlsAcceptor) {
    // An error is a client that went away; one only looks at the certificate.
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let handler = service_fn(move |request: Request<Incoming>| {
        let (shared, connection) = (shared.clone(), connection.clone());
        async move { handle(&shared, &connection, request).await }
    });
    // An error is a client that went away, or one that was dropped on purpose.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handler)
        .await;
}

async fn handle(
    shared: &Shared,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (head, incoming) = request.into_parts();
    let bytes = body::whole(incoming).await?;
    let asked = ApiRequest::read(&head.method, &head.uri, &bytes);
    let effect = asked.effect();
    if !connection.admits(effect.as_deref()) {
        return std::future::pending().await;
    }
    let (fault, latency) = shared.faults().draw(&asked);
    tokio::time::sleep(latency).await;
    let reached = faults::reaches(fault, &asked);
    let answer = if reached {
        Some(forward(shared, &asked, Request::from_parts(head, bytes)).await?)
    } else {
        None
    };
    let done = answer
        .as_ref()
        .is_some_and(|answer| answer.status().is_success());
    if let Some(effect) = effect.filter(|_| done)
        && !connection.had(&effect)
    {
        return std::future::pending().await;
    }
    match fault {
        None => answer.ok_or(Dropped),
        Some(fault) => faults::answer(fault, &asked, answer, &shared.stored).await,
    }
}

async fn forward(
    shared: &Shared,
    asked: &ApiRequest,
    request: Request<Bytes>,
) -> Result<Response<Body>, Dropped> {
    let answer = shared.upstream.send(request).await?;
    if asked.verb != "list" {
        return Ok(answer);
    }
    shared.stored.keep(asked, answer).await
}
