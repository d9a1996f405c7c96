//! A TLS connection to a webhook: the Service's endpoints are looked up in the server's own caches whenever one is made.

use super::destination::{Destination, Place, backends};
use crate::cache::Caches;
use crate::kinds::StoredAs;
use futures::future::BoxFuture;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use orknet_auth::pki::KeyAndCertificate;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

const SERVICES: StoredAs = ("", "services");
const SLICES: StoredAs = ("discovery.k8s.io", "endpointslices");
/// How long one of several addresses may take before the next one is tried.
/// Lookups of one host that run at once.
const MOST_LOOKUPS: usize = 8;
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other side may take to greet.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there is no connection. Texts are those that Go's programs print, which people search for.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    Service(String),
    #[error("dial tcp: lookup {host}: {error}")]
    Lookup { host: String, error: io::Error },
    #[error("dial tcp {address}: {}", dial_words(.error))]
    Dial { address: String, error: io::Error },
    #[error("{}", tls_words(.0))]
    Tls(io::Error),
}

/// Makes connections to one destination.
#[derive(Clone)]
pub struct Connector {
    destination: Arc<Destination>,
    tls: TlsConnector,
    name: ServerName<'static>,
    caches: Arc<Caches>,
}

/// An open connection.
pub struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connector {
    /// Reads the certificates; the error says what is wrong with them, or with the name.
    pub fn new(destination: Destination, caches: Arc<Caches>) -> Result<Self, String> {
        let name = destination.server_name();
        let name = ServerName::try_from(name.clone()).map_err(|_| format!("invalid server name {name:?}"))?;
        let tls = TlsConnector::from(Arc::new(verifying(destination.ca_pem.as_deref(), None)?));
        Ok(Self { destination: Arc::new(destination), tls, name, caches })
    }

    /// The same with TLS that somebody else has set up.
    pub fn with_tls(destination: Destination, caches: Arc<Caches>, config: ClientConfig) -> Result<Self, String> {
        let name = destination.server_name();
        let name = ServerName::try_from(name.clone()).map_err(|_| format!("invalid server name {name:?}"))?;
        Ok(Self { destination: Arc::new(destination), tls: TlsConnector::from(Arc::new(config)), name, caches })
    }

    /// The same to a server whose certificate is for another name.
    pub fn for_name(self, name: &str) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("invalid server name {name:?}"))?;
        Ok(Self { name, ..self })
    }

    /// What the server's certificate must be for.
    pub fn server_name(&self) -> String {
        self.destination.server_name()
    }

    async fn connect(self) -> Result<Stream, ConnectError> {
        self.open().await.map(|stream| Stream(TokioIo::new(stream)))
    }

    /// A connection to one of the addresses.
    pub async fn open(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let mut last = None;
        for (host, port) in self.candidates()? {
            match dial(&host, port).await {
                Ok(tcp) => {
                    let greeting = timeout(HANDSHAKE, self.tls.connect(self.name.clone(), tcp)).await;
                    return greeting.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(ConnectError::Tls);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Service("no address".to_owned())))
    }

    /// What is to be dialled, in this order: one endpoint or another, then the Service's own address, for servers that do not reach pods.
    fn candidates(&self) -> Result<Vec<(String, u16)>, ConnectError> {
        let (namespace, name, port) = match &self.destination.place {
            Place::Url { host, port, .. } => return Ok(vec![(host.clone(), *port)]),
            Place::Service { namespace, name, port } => (namespace, name, *port),
        };
        let service = self.caches.get(SERVICES, namespace, name);
        let service = service.ok_or_else(|| ConnectError::Service(format!("service {name:?} not found")))?.value();
        let slices: Vec<_> = (self.caches.of(SLICES).map(|cache| cache.snapshot(namespace).objects).into_iter().flatten())
            .filter(|slice| slice.label("kubernetes.io/service-name") == Some(name))
            .map(|slice| slice.value())
            .collect();
        let mut found = backends(&service, &slices, port).map_err(ConnectError::Service)?;
        found.endpoints.shuffle(&mut rand::rng());
        Ok(found.endpoints.into_iter().chain(found.service).collect())
    }
}

/// The addresses of a host. The system's resolver blocks a thread, also after whoever asked has gone: of one host so many do at most, and others wait for
/// them, so that a name server that does not answer leaves threads for what else blocks (the store, the encoding of lists).
async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static RUNNING: Mutex<BTreeMap<String, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let turns = {
        let mut running = RUNNING.lock();
        match running.get(host).and_then(Weak::upgrade) {
            Some(turns) => turns,
            None => {
                running.retain(|_, turns| turns.strong_count() > 0);
                let turns = Arc::new(Semaphore::new(MOST_LOOKUPS));
                running.insert(host.to_owned(), Arc::downgrade(&turns));
                turns
            }
        }
    };
    let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let found = (&host[..], port).to_socket_addrs().map(Iterator::collect);
        drop(turn);
        found
    });
    found.await.map_err(io::Error::other)?
}

/// A TCP connection to a host, by the first of its addresses that takes it.
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses = match lookup(host, port).await {
        Ok(addresses) => addresses,
        Err(error) => return Err(ConnectError::Lookup { host: host.to_owned(), error }),
    };
    let mut last = None;
    for address in addresses {
        let fail = |error| ConnectError::Dial { address: address.to_string(), error };
        match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return tcp.set_nodelay(true).map(|()| tcp).map_err(fail),
            Ok(Err(error)) => last = Some(fail(error)),
            Err(_) => last = Some(fail(io::ErrorKind::TimedOut.into())),
        }
    }
    let nothing = || ConnectError::Lookup { host: host.to_owned(), error: io::Error::other("no such host") };
    Err(last.unwrap_or_else(nothing))
}

impl Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// TLS that sees to it that the server is certified by one of `ca_pem`, or one that the system trusts. `client`: the certificate to show.
pub fn verifying(ca_pem: Option<&[u8]>, client: Option<&KeyAndCertificate>) -> Result<ClientConfig, String> {
    let fail = |error: &dyn std::fmt::Display| format!("unable to load root certificates: {error}");
    let own: Vec<CertificateDer<'static>> = match ca_pem {
        Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| fail(&error))?,
        None => system_roots().clone(),
    };
    if own.is_empty() {
        return Err(fail(&if ca_pem.is_some() { "unable to parse bytes as PEM block" } else { "the system trusts none" }));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(own.iter().cloned());
    if added == 0 {
        return Err(fail(&"none of the certificates can be used"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(|error| fail(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { inner, own }));
    let mut config = showing(config, client)?;
    // One request a connection at a time, as kube-apiserver: requests are spread over the endpoints of a Service.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The rest of a client's TLS: the certificate that it shows, if any.
pub fn showing(config: ConfigBuilder<ClientConfig, WantsClientCert>, client: Option<&KeyAndCertificate>) -> Result<ClientConfig, String> {
    let Some(pair) = client else { return Ok(config.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(|error| error.to_string())?;
    config.with_client_auth_cert(chain.map_err(|error| error.to_string())?, key).map_err(|error| error.to_string())
}

/// Read once: they are several hundred.
fn system_roots() -> &'static Vec<CertificateDer<'static>> {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

/// The usual verification; besides, a server may show the very certificate that is trusted (self-signed ones, whose makers call them authorities).
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
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
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &verified {
            // Whether it is of its time has been seen by then.
            Err(rustls::Error::InvalidCertificate(error)) if is_about_issuer(error) && self.own.contains(end_entity) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn is_about_issuer(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => other.to_string() == "CaUsedAsEndEntity",
        _ => false,
    }
}

fn dial_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn tls_words(error: &io::Error) -> String {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => error.to_string(),
        };
    };
    let why = match cause {
        // An authority of the same name that is not the one is unknown too.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "certificate signed by unknown authority".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            // `DnsName("a")` is how the library tells them.
            let names: Vec<&str> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            format!("certificate is valid for {}, not {}", names.join(", "), expected.to_str())
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }) => {
            format!("certificate has expired or is not yet valid: {cause}")
        }
        rustls::Error::InvalidCertificate(other) => other.to_string(),
        other => return format!("tls: {other}"),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, IsCa, KeyPair};
    use rustls::ServerConfig;
    use tokio_rustls::TlsAcceptor;

    /// What a client that trusts `ca_pem` says of a server with this certificate.
    async fn greet(ca_pem: &str, key: &KeyPair, certificate: &rcgen::Certificate, name: &str) -> Result<(), String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a server");
        let client = TlsConnector::from(Arc::new(verifying(Some(ca_pem.as_bytes()), None)?));
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let (answer, _) = tokio::join!(client.connect(name, near), TlsAcceptor::from(Arc::new(server)).accept(far));
        answer.map(drop).map_err(|error| tls_words(&error))
    }

    #[tokio::test]
    async fn a_certificate_that_is_trusted_itself_needs_no_authority() {
        let begin = "tls: failed to verify certificate: x509:";
        for ca in [IsCa::NoCa, IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec!["hook.default.svc".to_owned()]).expect("parameters");
            params.is_ca = ca;
            let certificate = params.self_signed(&key).expect("a certificate");
            assert_eq!(greet(&certificate.pem(), &key, &certificate, "hook.default.svc").await, Ok(()));
            let expected = format!("{begin} certificate is valid for hook.default.svc, not other.default.svc");
            assert_eq!(greet(&certificate.pem(), &key, &certificate, "other.default.svc").await, Err(expected));
            let other = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
            assert!(greet(&other.pem(), &key, &certificate, "hook.default.svc").await.is_err());
        }
    }
}
