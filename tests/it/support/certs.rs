//! Throw-away certificates of one control plane: an authority, the API server's, an administrator's, a kubelet's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::addresses::Family;

/// The name of the node where there is one.
pub(crate) const NODE_NAME: &str = "node1";

/// Paths of PEM files, all in one folder.
pub(crate) struct Certificates {
    /// The authority that signed all others.
    pub(crate) authority: PathBuf,
    /// The API server's certificate, for its addresses.
    pub(crate) server: PathBuf,
    /// The API server's private key.
    pub(crate) server_key: PathBuf,
    /// A client certificate in the group `system:masters`.
    pub(crate) admin: PathBuf,
    /// The administrator's private key.
    pub(crate) admin_key: PathBuf,
    /// The client certificate of the node's kubelet.
    pub(crate) kubelet: PathBuf,
    /// The kubelet's private key.
    pub(crate) kubelet_key: PathBuf,
    /// The public key that ServiceAccount tokens are checked with.
    pub(crate) service_account: PathBuf,
    /// The private key that signs ServiceAccount tokens.
    pub(crate) service_account_key: PathBuf,
}

impl Certificates {
    /// Makes them all. EC keys: an RSA key takes longer to make than the control plane to start.
    pub(crate) fn generate(folder: &Path) -> Result<Self, rcgen::Error> {
        let file = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem).expect("the folder is writable");
            path
        };

        let mut params = named("identity-mapper test bed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let (server, server_key) = server(&issuer)?;

        let (admin, admin_key) = client("admin", "system:masters", &issuer)?;
        let kubelet = format!("system:node:{NODE_NAME}");
        let (kubelet, kubelet_key) = client(&kubelet, "system:nodes", &issuer)?;

        let service_account = KeyPair::generate()?;
        Ok(Self {
            authority: file("ca.crt", issuer.pem()),
            server: file("server.crt", server),
            server_key: file("server.key", server_key),
            admin: file("admin.crt", admin),
            admin_key: file("admin.key", admin_key),
            kubelet: file("kubelet.crt", kubelet),
            kubelet_key: file("kubelet.key", kubelet_key),
            service_account: file("service-account.pub", service_account.public_key_pem()),
            service_account_key: file("service-account.key", service_account.serialize_pem()),
        })
    }
}

/// Has the API server present a certificate of another authority: it reads the files of [`Certificates::generate`] again.
pub(crate) fn present(folder: &Path, issuer: &CertifiedIssuer<'_, KeyPair>) {
    let (certificate, key) = server(issuer).expect("a certificate for loopback can be made");
    // Between the two writes they don't fit, and the API server keeps what it has.
    fs::write(folder.join("server.key"), key).expect("the folder is writable");
    fs::write(folder.join("server.crt"), certificate).expect("the folder is writable");
}

/// The API server's certificate and private key, in PEM.
fn server(issuer: &CertifiedIssuer<'_, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let mut params = named("kube-apiserver");
    let node = Family::ALL.map(|family| [family.node(), family.api_server()]);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses = std::iter::once(loopback).chain(node.into_iter().flatten());
    params.subject_alt_names = addresses.map(SanType::IpAddress).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The certificate and private key of a client of this name, in this group, in PEM.
fn client(
    name: &str,
    group: &str,
    issuer: &CertifiedIssuer<'_, KeyPair>,
) -> Result<(String, String), rcgen::Error> {
    let mut params = named(name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}
