//! Which certificate authorities vouch for the certificate that an API server presents now.
//!
//! A handshake of its own, without a request: the clients keep connections for hours, and what those were opened with may be gone.

use std::collections::BTreeSet;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::aws::fingerprint;

/// Each step of the handshake may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an API server is, and what its certificate is checked by.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
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

/// Asks it. An error: no handshake was possible, which proves nothing either way. Blocks.
pub(super) fn look(peer: &Peer) -> io::Result<ServerProof> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(store(&peer.authorities))
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), peer.name.clone()).map_err(io::Error::other)?;
    let mut socket = connect(&peer.host, peer.port)?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            return match refusal(&error) {
                Some(why) => Ok(ServerProof::Refused(why)),
                None => Err(error),
            };
        }
    }
    let signed = match connection.peer_certificates() {
        Some([own, further @ ..]) => vouching(peer, own, further, &provider),
        _ => BTreeSet::new(),
    };
    connection.send_close_notify();
    // It has said all that counts, and may be gone.
    let _ = connection.write_tls(&mut socket);
    Ok(ServerProof::Signed(signed))
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

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
}
