//! To the API server itself, and what it answered before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::api_request::ApiRequest;
use super::body::{self, Body, Dropped};
use crate::support::cluster::Cluster;

/// The API server behind the proxy.
pub(super) struct Upstream {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Upstream {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let authority = CertificateDer::from_pem_slice(&cluster.authority()).expect("our own PEM");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("an authority");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = cluster.url().trim_start_matches("https://").parse();
        Self {
            address: address.expect("an address"),
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Sends a request by a connection of its own: one that is reused may have been closed.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, Dropped> {
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|_| Dropped)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| Dropped)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Dropped)?;
        // It ends when the answer has come, or nobody reads it any more.
        tokio::spawn(connection);
        let (mut head, bytes) = request.into_parts();
        hop_by_hop(&mut head.headers);
        let request = Request::from_parts(head, Full::new(bytes));
        let answer = sender.send_request(request).await.map_err(|_| Dropped)?;
        let (mut head, incoming) = answer.into_parts();
        hop_by_hop(&mut head.headers);
        Ok(Response::from_parts(head, body::passed_on(incoming)))
    }
}

/// What is between two programs alone.
fn hop_by_hop(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
}

/// An answer, kept.
#[derive(Clone)]
struct Answered {
    headers: HeaderMap,
    bytes: Bytes,
}

impl From<Answered> for Response<Body> {
    fn from(Answered { headers, bytes }: Answered) -> Self {
        let mut response = Self::new(body::full(bytes));
        *response.headers_mut() = headers;
        response
    }
}

/// The answer before the last one to each list.
#[derive(Default)]
pub(super) struct Stored(Mutex<BTreeMap<String, [Option<Answered>; 2]>>);

impl Stored {
    /// Keeps an answer, and passes it on.
    pub(super) async fn keep(
        &self,
        asked: &ApiRequest,
        answer: Response<Body>,
    ) -> Result<Response<Body>, Dropped> {
        if answer.status() != StatusCode::OK {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let answered = Answered {
            headers: head.headers,
            bytes: body::collected(body).await?,
        };
        let mut stored = self.0.lock().expect("nobody panics with it");
        let [older, newer] = stored.entry(asked.target.clone()).or_default();
        if newer.as_ref().is_none_or(|it| it.bytes != answered.bytes) {
            *older = newer.replace(answered.clone());
        }
        Ok(answered.into())
    }

    /// What was answered before; `None`: nothing else.
    pub(super) fn stale(&self, asked: &ApiRequest) -> Option<Response<Body>> {
        let stored = self.0.lock().expect("nobody panics with it");
        let [older, _] = stored.get(&asked.target)?;
        older.clone().map(Response::from)
    }
}
