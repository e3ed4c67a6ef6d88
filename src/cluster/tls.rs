//! Reads which certificate authorities vouch for the API server's current certificate.
//!
//! A handshake of its own, without a request: the clients keep connections for hours, and what those were opened with may be gone.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use crate::aws::fingerprint;

/// Each step of the handshake may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an API server is, and what its certificate is checked by.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) url: Uri,
    /// What the connection goes through.
    pub(super) proxy: Option<Uri>,
    /// The name that the certificate has to be for.
    pub(super) name: ServerName<'static>,
    /// The certificate authorities that are trusted, in DER form.
    pub(super) authorities: Vec<Vec<u8>>,
}

/// How an API server proved itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerProof {
    /// These authorities, by fingerprint, vouch for its certificate.
    Signed(BTreeSet<String>),
    /// None does, or the certificate is for another name or time.
    Refused(String),
}

/// Asks it. An error: no handshake was possible, which proves nothing either way.
pub(super) async fn look(peer: &Peer) -> io::Result<ServerProof> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(store(&peer.authorities))
        .with_no_client_auth();
    let socket = timeout(PATIENCE, dial(peer)).await??;
    let handshake = TlsConnector::from(Arc::new(config)).connect(peer.name.clone(), socket);
    let stream = match timeout(PATIENCE, handshake).await? {
        Ok(stream) => stream,
        Err(error) => {
            return match refusal(&error) {
                Some(why) => Ok(ServerProof::Refused(why)),
                None => Err(error),
            };
        }
    };
    let (_, connection) = stream.get_ref();
    Ok(ServerProof::Signed(match connection.peer_certificates() {
        Some([own, further @ ..]) => vouching(peer, own, further, &provider),
        _ => BTreeSet::new(),
    }))
}

/// Why a certificate was refused, where that is what an error says.
pub(super) fn refusal(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<io::Error>() {
        return refusal(error);
    }
    match inner.downcast_ref::<rustls::Error>()? {
        error @ rustls::Error::InvalidCertificate(_) => Some(error.to_string()),
        _ => None,
    }
}

fn vouching(
    peer: &Peer,
    own: &CertificateDer<'_>,
    further: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
) -> BTreeSet<String> {
    let vouches = |authority: &&Vec<u8>| {
        let alone = Arc::new(store(std::slice::from_ref(*authority)));
        WebPkiServerVerifier::builder_with_provider(alone, Arc::clone(provider))
            .build()
            .is_ok_and(|verifier| {
                let now = UnixTime::now();
                let checked = verifier.verify_server_cert(own, further, &peer.name, &[], now);
                checked.is_ok()
            })
    };
    let authorities = peer.authorities.iter().filter(vouches);
    authorities.map(|der| fingerprint(der)).collect()
}

fn store(authorities: &[Vec<u8>]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    // What is no certificate authority can vouch for nothing.
    store.add_parsable_certificates(authorities.iter().cloned().map(CertificateDer::from));
    store
}

async fn dial(peer: &Peer) -> io::Result<TcpStream> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    let Some(proxy) = &peer.proxy else {
        let socket = direct.call(peer.url.clone()).await;
        return socket.map(TokioIo::into_inner).map_err(io::Error::other);
    };
    let socket = match proxy.scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(proxy.clone(), direct);
            if let Some(authorization) = authorization(proxy) {
                tunnel = tunnel.with_auth(authorization);
            }
            let socket = tunnel.call(peer.url.clone()).await;
            socket.map_err(Box::<dyn Error + Send + Sync>::from)
        }
        Some("socks5") => {
            let socket = SocksV5::new(proxy.clone(), direct).call(peer.url.clone());
            socket.await.map_err(Box::<dyn Error + Send + Sync>::from)
        }
        _ => {
            return Err(io::Error::other(format!(
                "its certificate can't be read through the proxy {}: use an http:// or socks5:// proxy, or exclude the API server in NO_PROXY",
                proxy.host().unwrap_or_default()
            )));
        }
    };
    socket.map(TokioIo::into_inner).map_err(io::Error::other)
}

/// User and password of a proxy's address, as the proxy asks for them (RFC 7617).
fn authorization(proxy: &Uri) -> Option<HeaderValue> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let user = percent_encoding::percent_decode_str(user).collect::<Vec<u8>>();
    HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(user))).ok()
}
