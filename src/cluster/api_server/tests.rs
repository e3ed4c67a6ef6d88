use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::RwLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::aws::fingerprint;

/// Longer than the files are left alone.
const SOON: Duration = Duration::from_secs(30);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    fn fingerprint(&self) -> String {
        fingerprint(self.0.der())
    }

    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let own = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(own.der().to_vec())], key);
        Arc::new(config.expect("a certificate of this key"))
    }
}

/// Shakes hands and hangs up, with the certificate of the moment.
struct Server {
    address: SocketAddr,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Server {
    fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let config = Arc::new(RwLock::new(config));
        let current = Arc::clone(&config);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let config = Arc::clone(&current.read().expect("no writer panics"));
                let mut socket = socket.expect("a connection");
                let mut connection = ServerConnection::new(config).expect("a connection");
                while connection.is_handshaking() && connection.complete_io(&mut socket).is_ok() {}
            }
        });
        Self { address, config }
    }

    fn present(&self, config: Arc<ServerConfig>) {
        *self.config.write().expect("no reader panics") = config;
    }

    fn config(&self, authorities: &[&Authority]) -> Config {
        let mut config = Config::new(format!("https://{}", self.address).parse().expect("a URL"));
        config.root_cert = Some(authorities.iter().map(|it| it.der()).collect());
        config
    }

    fn kubeconfig(&self, path: &Path, authorities: &[&Authority]) {
        write_kubeconfig(path, &format!("https://{}", self.address), authorities);
    }
}

fn write_kubeconfig(path: &Path, url: &str, authorities: &[&Authority]) {
    let bundle: String = authorities.iter().map(|it| it.pem()).collect();
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": url, "certificate-authority-data": STANDARD.encode(bundle)}}],
        "users": [{"name": "it", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    std::fs::write(path, text.to_string()).expect("written");
}

async fn follow_kubeconfig(path: &Path) -> ApiServer {
    let source = ConnectionSource::Kubeconfig {
        path: Some(path.to_owned()),
        context: Some("it".to_owned()),
    };
    let config = source.load().await.expect("a kubeconfig");
    ApiServer::connect(config, source).expect("a client")
}

fn signed(authorities: &[&Authority]) -> Trust {
    Trust::Authorities(authorities.iter().map(|it| it.fingerprint()).collect())
}

#[tokio::test]
async fn only_the_authority_of_the_certificate_in_use_vouches() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Server::start(old.server("127.0.0.1"));
    let both =
        ApiServer::connect(server.config(&[&old, &new]), ConnectionSource::Pod).expect("a client");
    let one = ApiServer::connect(server.config(&[&new]), ConnectionSource::Pod).expect("a client");
    assert_eq!(both.trust().await, Ok(signed(&[&old])));
    let Ok(Trust::Unknown(why)) = one.trust().await else {
        panic!("an authority vouches for what it has not signed");
    };
    assert!(why.contains("invalid peer certificate"), "{why}");

    server.present(new.server("127.0.0.1"));
    assert_eq!(both.trust().await, Ok(signed(&[&new])));
    assert_eq!(one.trust().await, Ok(signed(&[&new])));

    server.present(new.server("elsewhere.example"));
    assert!(matches!(both.trust().await, Ok(Trust::Unknown(_))));
}

#[tokio::test]
async fn a_server_that_is_not_there_proves_nothing_either_way() {
    let authority = Authority::new();
    let server = Server::start(authority.server("127.0.0.1"));
    let mut config = server.config(&[&authority]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    config.cluster_url = format!("https://{closed}").parse().expect("a URL");
    let api_server = ApiServer::connect(config, ConnectionSource::Pod).expect("a client");
    api_server.trust().await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_changed_kubeconfig_is_followed_but_not_to_another_server() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Server::start(old.server("127.0.0.1"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    server.kubeconfig(&path, &[&old]);
    let api_server = follow_kubeconfig(&path).await;
    let mut changes = api_server.changes();
    assert_eq!(api_server.trust().await, Ok(signed(&[&old])));

    server.present(new.server("127.0.0.1"));
    server.kubeconfig(&path, &[&new]);
    tokio::time::timeout(SOON, changes.next())
        .await
        .expect("it is followed");
    assert_eq!(api_server.trust().await, Ok(signed(&[&new])));

    write_kubeconfig(&path, "https://elsewhere.example", &[&old]);
    let refused = api_server.0.look().await.expect_err("another server");
    assert!(refused.contains("https://elsewhere.example"), "{refused}");
    assert_eq!(api_server.trust().await, Ok(signed(&[&new])));
    std::fs::write(&path, "no: {").expect("written");
    api_server.0.look().await.expect_err("half a file");
    assert_eq!(api_server.trust().await, Ok(signed(&[&new])));
}

/// A client that the server's certificate was refused to reads the files at once.
#[tokio::test]
async fn a_refused_certificate_is_known_as_such() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Server::start(new.server("127.0.0.1"));
    let api_server =
        ApiServer::connect(server.config(&[&old]), ConnectionSource::Pod).expect("a client");
    // As the one below sees it that names the server in its errors.
    let client = api_server.0.current.borrow().client.clone();
    let error = client
        .apiserver_version()
        .await
        .expect_err("its certificate is of another authority");
    assert!(of_certificate(&error), "{error:?}");
}

#[test]
fn a_server_without_proof_has_a_reason() {
    let authority = Authority::new();
    let with = |url: &str, change: &dyn Fn(&mut Config)| {
        let mut config = Config::new(url.parse().expect("a URL"));
        config.root_cert = Some(vec![authority.der()]);
        change(&mut config);
        peer(&config).expect_err("it proves nothing")
    };
    for (why, words) in [
        (with("http://it", &|_| ()), "uses no TLS"),
        (
            with("https://it", &|it| it.accept_invalid_certs = true),
            "insecure-skip-tls-verify",
        ),
        (
            with("https://it", &|it| it.root_cert = None),
            "no certificate-authority",
        ),
    ] {
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn addresses_and_names() {
    let authority = Authority::new();
    for (url, name, expected) in [
        (
            "https://172.20.0.1",
            None,
            ("172.20.0.1", 443, "172.20.0.1"),
        ),
        ("https://[fd00::1]:6443", None, ("fd00::1", 6443, "fd00::1")),
        (
            "https://127.0.0.1:7443",
            Some("it.example"),
            ("127.0.0.1", 7443, "it.example"),
        ),
    ] {
        let mut config = Config::new(url.parse().expect("a URL"));
        config.root_cert = Some(vec![authority.der()]);
        config.tls_server_name = name.map(str::to_owned);
        let peer = peer(&config).expect("it can be looked at");
        let host = peer.url.host().expect("an address has one");
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = peer.url.port_u16().unwrap_or(443);
        let found = (host, port, &*peer.name.to_str());
        assert_eq!(found, expected, "{url}");
    }
}
