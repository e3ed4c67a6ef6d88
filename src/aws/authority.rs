//! Certificate authorities, which prove that two names mean the same API server.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// The fingerprint of a certificate: the SHA-256 of its DER form, in lower-case hex.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    format!("{:x}", Sha256::digest(der))
}

/// The fingerprints of all certificates of a bundle in PEM form.
///
/// An error says what is wrong with the text.
pub fn fingerprints(pem: &[u8]) -> Result<BTreeSet<String>, String> {
    let certificates: Result<BTreeSet<String>, _> = CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| fingerprint(&der)))
        .collect();
    let certificates = certificates.map_err(|error| format!("invalid PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("contains no certificate".to_owned());
    }
    Ok(certificates)
}

/// The same of `certificateAuthority.data` as `DescribeCluster` gives it: base64 around PEM.
pub(super) fn fingerprints_of_data(data: &str) -> Result<BTreeSet<String>, String> {
    let pem = STANDARD
        .decode(data.trim())
        .map_err(|error| format!("invalid base64: {error}"))?;
    fingerprints(&pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> (String, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        (made.cert.pem(), made.cert.der().to_vec())
    }

    #[test]
    fn a_bundle_holds_several() {
        let ((one, one_der), (two, two_der)) = (certificate("one"), certificate("two"));
        let expected = BTreeSet::from([fingerprint(&one_der), fingerprint(&two_der)]);
        let bundle = format!("# old\n{one}\n# new\n{two}{one}");
        assert_eq!(fingerprints(bundle.as_bytes()), Ok(expected.clone()));
        let data = STANDARD.encode(bundle);
        assert_eq!(fingerprints_of_data(&data), Ok(expected));
        assert_eq!(
            fingerprints(one.as_bytes()),
            Ok(BTreeSet::from([fingerprint(&one_der)]))
        );
    }

    #[test]
    fn fingerprints_are_sha_256_in_hex() {
        assert_eq!(
            fingerprint(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn an_invalid_bundle_is_an_error_with_its_cause() {
        for (data, why) in [
            ("", "contains no certificate"),
            ("not base64!", "invalid base64: "),
            ("bm90IHBlbQ==", "contains no certificate"),
            // The marks of a certificate around text that is no base64.
            (
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCiEhIQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==",
                "invalid PEM: ",
            ),
        ] {
            let error = fingerprints_of_data(data).expect_err(data);
            assert!(error.starts_with(why), "{data}: {error}");
        }
    }
}
