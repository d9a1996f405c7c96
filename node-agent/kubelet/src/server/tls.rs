//! TLS of the server: its certificate, which may be replaced while it runs, and the CA that clients must come from.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ServerTls;
use crate::credentials::certificate::Certificate;
use crate::error::Error;

/// Time limit of a handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The certificate that the server shows to those who connect from now on. Without one, handshakes fail.
pub struct Serving {
    shown: RwLock<Option<Arc<CertifiedKey>>>,
    given: Option<Certificate>,
}

impl std::fmt::Debug for Serving {
    /// Nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Serving {
    /// Begins with what the files hold, if any are named.
    ///
    /// # Errors
    /// A file cannot be read, they do not go together, or one is named without the other.
    pub fn open(files: &ServerTls) -> Result<Self, Error> {
        let (certificate, key) = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(Self { shown: RwLock::new(None), given: None }),
            _ => return Err(Error::Server("a certificate goes with its key: name both or none".to_owned())),
        };
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| Error::Server(format!("{}: {error}", path.display())));
        let certificate_pem = read(certificate)?;
        let parsed = Certificate::parse(&certificate_pem).map_err(|error| Error::Server(format!("{}: {error}", certificate.display())))?;
        let serving = Self { shown: RwLock::new(None), given: Some(parsed) };
        serving.show(&certificate_pem, &read(key)?)?;
        Ok(serving)
    }

    /// The certificate that it began with.
    pub fn given(&self) -> Option<&Certificate> {
        self.given.as_ref()
    }

    /// Shows another certificate (PEM, a chain) from now on. Connections that are open stay.
    ///
    /// # Errors
    /// The texts are no certificate and key, or do not go together.
    pub fn show(&self, certificate_pem: &str, key_pem: &str) -> Result<(), Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::Server(format!("certificate: {error}"));
        let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| wrong(&e))?;
        let certified = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|e| wrong(&e))?;
        *self.shown.write() = Some(Arc::new(certified));
        Ok(())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown.read().clone()
    }
}

/// Makes an acceptor that shows `serving` and demands a certificate of the CA in the file.
///
/// # Errors
/// The file cannot be read, or holds no certificates.
pub fn acceptor(client_ca: &Path, serving: Arc<Serving>) -> Result<TlsAcceptor, Error> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| Error::Server(format!("{what}: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(client_ca)? {
        roots.add(certificate).map_err(|e| wrong("client CA", &e))?;
    }
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(|e| wrong("client CA", &e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("protocol versions", &e))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving);
    // Streams need upgrades, which HTTP/1.1 has.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The common name of the client's certificate; `None`: it has none, or several, of which nobody knows which is meant.
pub fn client_name(stream: &TlsStream<TcpStream>) -> Option<String> {
    common_name(stream.get_ref().1.peer_certificates()?.first()?)
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    Some(name.as_str().ok()?.to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| Error::Server(format!("certificates {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_one_name() {
        let certificate = |names: &[&str]| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (number, name) in names.iter().enumerate() {
                // As the library can have two of a type.
                let type_ = if number == 0 { rcgen::DnType::CommonName } else { rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]) };
                params.distinguished_name.push(type_, *name);
            }
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
        };
        assert_eq!(common_name(&certificate(&["system:kube-apiserver"])).as_deref(), Some("system:kube-apiserver"));
        assert_eq!(common_name(&certificate(&["system:kube-apiserver", "system:node:n"])), None);
        assert_eq!(common_name(&certificate(&[])), None);
        assert_eq!(common_name(b"x"), None);
    }
}
