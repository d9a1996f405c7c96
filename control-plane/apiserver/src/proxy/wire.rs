//! Connections to what is behind a proxy: TCP, and TLS whose other side need not prove who it is, as with kube-apiserver's proxies.

use crate::admission::webhooks::connect::{ConnectError, dial, showing};
use crate::audit;
use orknet_auth::pki::{KeyAndCertificate, PkiError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// An open connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// Connects, and keeps the record of the request that the caller works on for as long as the connection is there. `tls`: with TLS, and as whom.
pub async fn connect(host: &str, port: u16, tls: Option<(&TlsConnector, &str)>) -> Result<Box<dyn Connection>, ConnectError> {
    let tcp = dial(host, port).await?;
    let Some((connector, name)) = tls else { return Ok(Box::new(audit::hold(tcp))) };
    let name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Service(format!("invalid server name {name:?}")))?;
    let greeting = timeout(HANDSHAKE, connector.connect(name, tcp));
    let stream = greeting.await.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(ConnectError::Tls)?;
    Ok(Box::new(audit::hold(stream)))
}

/// TLS that takes any certificate; with a client's certificate where there is one. HTTP/1.1 alone, since its connections are upgraded.
pub fn trusting(client: Option<&KeyAndCertificate>) -> Result<ClientConfig, PkiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let fail = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = showing(config, client).map_err(PkiError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Believes every server to be who it should be; that it has the key of the certificate it shows is still seen to.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
