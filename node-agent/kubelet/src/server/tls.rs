//! TLS of the server: its certificate, and the CA that clients must come from.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ServerTls;
use crate::error::Error;

/// Time limit of a handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Reads the files and makes an acceptor that demands a client certificate.
///
/// # Errors
/// A file cannot be read, or the parts do not go together.
pub fn acceptor(files: &ServerTls) -> Result<TlsAcceptor, Error> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| Error::Server(format!("{what}: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.client_ca)? {
        roots.add(certificate).map_err(|e| wrong("client CA", &e))?;
    }
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(|e| wrong("client CA", &e))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&format!("key {}", files.key.display()), &e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("protocol versions", &e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(|e| wrong("certificate", &e))?;
    // Streams need upgrades, which HTTP/1.1 has.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The common name of the client's certificate.
pub fn client_name(stream: &TlsStream<TcpStream>) -> Option<String> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| Error::Server(format!("certificates {}: {error}", path.display())))
}
