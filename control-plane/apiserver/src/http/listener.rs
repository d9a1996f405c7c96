//! Sockets, TLS and HTTP connections. What a request means is the chain's business.

use super::chain;
use crate::server::Server;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use orknet_auth::Identity;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A client must have done its TLS handshake by then.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// HTTP/2 connections are asked for life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 1000;

/// The other end of a connection.
pub enum Peer {
    /// Showed no client certificate; a token may follow.
    Unknown,
    /// Showed a client certificate that TLS has verified, as DER.
    Certified(Vec<u8>),
    /// A part of this process.
    InProcess(Identity),
}

/// Accepts connections until shutdown, then waits for those that are open, at most as long as configured.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: TlsAcceptor) {
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                tokio::spawn(connection(server.clone(), stream, address, tls.clone(), graceful.clone()));
            }
            Err(error) => {
                // Out of file descriptors, usually: do not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if let Ok(graceful) = Arc::try_unwrap(graceful) {
        let _ = tokio::time::timeout(server.config.drain, graceful.shutdown()).await;
    } else {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream, address: SocketAddr, tls: TlsAcceptor, graceful: Arc<GracefulShutdown>) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first());
    let peer = Arc::new(certificate.map_or(Peer::Unknown, |certificate| Peer::Certified(certificate.to_vec())));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, Infallible>(chain::handle(server, peer, request.map(Body::new)).await) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new());
    http.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).max_concurrent_streams(STREAMS);
    let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(connection);
    drop(graceful);
    if let Err(error) = watched.await {
        tracing::debug!(%address, %error, "connection ended");
    }
}
