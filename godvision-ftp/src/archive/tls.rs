//! Whose certificate an FTPS server may show. There is no way to accept just any.
//!
//! **Never:** an unverified connection, TLS below 1.2, more than one crypto provider (ring).

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::Error;

/// Whose certificate is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FtpTrust {
    /// What the operating system trusts, with the host's name.
    #[default]
    SystemRoots,
    /// The certificates in this PEM text: a server's own (then its name does not matter), or those of a private
    /// authority (then it does).
    Pem(String),
    /// Exactly the certificate with this SHA-256, self-signed or not.
    Fingerprint([u8; 32]),
}

/// The newest version of TLS that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    Tls13,
    /// Servers that want the data connection to resume the control connection's session may refuse 1.3, whose tickets
    /// are spent after one use (proftpd's `mod_tls`).
    Tls12,
}

pub(crate) fn verifier(trust: &FtpTrust) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let bad = |detail: String| Error::BadCertificate { detail };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let (mut pinned, mut fingerprint) = (Vec::new(), None);
    match trust {
        FtpTrust::SystemRoots => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(bad("the system has no trusted certificates; give a certificate or a fingerprint".into()));
            }
        }
        FtpTrust::Pem(text) => {
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let certificate = certificate.map_err(|error| bad(format!("the PEM text is broken: {error}")))?;
                pinned.push(certificate.clone());
                roots.add_parsable_certificates([certificate]);
            }
            if pinned.is_empty() {
                return Err(bad("the PEM text holds no certificate".into()));
            }
        }
        FtpTrust::Fingerprint(print) => fingerprint = Some(*print),
    }
    let by_name = if roots.is_empty() {
        None
    } else {
        let built = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build();
        Some(built.map_err(|error| bad(error.to_string()))?)
    };
    Ok(Arc::new(Verifier { by_name, pinned, fingerprint, provider }))
}

pub(crate) fn config(verifier: Arc<dyn ServerCertVerifier>, newest: Newest) -> Result<ClientConfig, Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match newest {
        Newest::Tls13 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Newest::Tls12 => &[&rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| Error::BadCertificate { detail: error.to_string() })?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

struct Verifier {
    by_name: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    fingerprint: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let print: [u8; 32] = Sha256::digest(end_entity).into();
        if self.fingerprint == Some(print) || self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        // The owner can compare the fingerprint with the server's and then accept exactly this certificate.
        let shown: String = print.iter().map(|byte| format!("{byte:02x}")).collect();
        let refused = |why: String| {
            rustls::Error::General(format!("{why}; the server's certificate has the fingerprint {shown}"))
        };
        match &self.by_name {
            Some(by_name) => by_name
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| refused(error.to_string())),
            None => Err(refused("the certificate is not the expected one".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_refused() {
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            assert!(verifier(&FtpTrust::Pem(text.into())).is_err(), "{text:?}");
        }
        let only_one = verifier(&FtpTrust::Fingerprint([0; 32])).unwrap();
        let name = ServerName::try_from("nas.local").unwrap();
        let error = only_one
            .verify_server_cert(&CertificateDer::from(vec![1, 2, 3]), &[], &name, &[], UnixTime::now())
            .unwrap_err();
        assert!(
            error.to_string().contains("039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"),
            "{error}"
        );
    }
}
