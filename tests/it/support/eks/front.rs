//! The services under their real names, with TLS: behind a proxy (`HTTPS_PROXY`) that answers itself, for programs that accept no other
//! host; and on port 443 of an address, for whoever is told by a name server that they are there.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::shared::Shared;
use super::{Service, ec2, http};

/// The longest request for a connection that a client makes.
const LONGEST: usize = 4096;

/// Where the proxy is, and what vouches for the hosts behind it.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The region of the hosts.
    pub(crate) region: String,
    /// The certificate authority, in PEM.
    pub(crate) authority: String,
}

/// What accepts TLS connections with this certificate and key.
pub(crate) fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> TlsAcceptor {
    let config = config().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("the key is the certificate's")))
}

fn config() -> ConfigBuilder<ServerConfig, WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
}

/// A certificate for whatever host a client asks for.
struct AnyHost {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
}

impl fmt::Debug for AnyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyHost")
    }
}

impl ResolvesServerCert for AnyHost {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut params = CertificateParams::new([client.server_name()?.to_owned()]).ok()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.key, &self.issuer).ok()?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).ok()?;
        let key = aws_lc_rs::sign::any_ecdsa_type(&key).ok()?;
        let chain = vec![certificate.der().clone()];
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// An authority, in PEM, and what accepts connections to any host in its name.
pub(super) fn any_host() -> Result<(String, TlsAcceptor), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let authority = issuer.pem();
    let key = KeyPair::generate()?;
    let config = config().with_cert_resolver(Arc::new(AnyHost { issuer, key }));
    Ok((authority, TlsAcceptor::from(Arc::new(config))))
}

/// Serves the hosts themselves until the runtime ends.
pub(super) async fn serve_hosts(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (shared, tls) = (shared.clone(), tls.clone());
        connections.spawn(async move {
            // An error is a client that does not trust the authority, or that went away.
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let name = stream.get_ref().1.server_name().unwrap_or_default();
            if let Some(named) = Named::of(name) {
                named.talk(shared, stream).await;
            }
        });
    }
}

/// What answers under a name of AWS.
enum Named {
    Ec2,
    Signed(Service),
}

impl Named {
    fn of(host: &str) -> Option<Self> {
        let mut services = Service::ALL.into_iter();
        match host.split(['.', '-']).next() {
            Some("ec2") => Some(Self::Ec2),
            label => services
                .find(|it| Some(it.signing_name()) == label)
                .map(Self::Signed),
        }
    }

    async fn talk(self, shared: Arc<Shared>, stream: TlsStream<TcpStream>) {
        match self {
            Self::Ec2 => ec2::talk(shared, stream).await,
            Self::Signed(service) => http::talk(shared, service, stream).await,
        }
    }
}

/// Serves the proxy until the runtime ends.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (shared, tls) = (shared.clone(), tls.clone());
        connections.spawn(async move {
            // An error is a client that went away, or one that asked for something else.
            let _ = connect(shared, stream, &tls).await;
        });
    }
}

async fn connect(shared: Arc<Shared>, mut stream: TcpStream, tls: &TlsAcceptor) -> io::Result<()> {
    let (host, port) = host(&mut stream).await?;
    let named = Named::of(&host);
    // Names for tests (RFC 6761) are of this machine.
    let local = named.is_none() && host.rsplit('.').next() == Some("test");
    let answer: &[u8] = if named.is_some() || local {
        b"HTTP/1.1 200 Connection established\r\n\r\n"
    } else {
        b"HTTP/1.1 403 Forbidden\r\n\r\n"
    };
    stream.write_all(answer).await?;
    if let Some(named) = named {
        named.talk(shared, tls.accept(stream).await?).await;
    } else if local {
        let mut onward = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        copy_bidirectional(&mut stream, &mut onward).await?;
    }
    Ok(())
}

/// The host and port that a client wants to be connected to. It sends nothing more before it is.
async fn host(stream: &mut TcpStream) -> io::Result<(String, u16)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next()?.rsplit_once(':'));
    target
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, head.into_owned()))
}
