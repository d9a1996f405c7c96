//! Sockets, TLS and HTTP connections. What a request means is the chain's business.

use super::chain;
use crate::server::Server;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::sys::socket::{setsockopt, sockopt};
use orknet_auth::Identity;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A client must have done its TLS handshake by then.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// HTTP/2 connections are asked for life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Silent TCP connections are asked for life after so many seconds, so often, so many times: a client that is gone without a word does not keep its
/// watch or its upgraded stream open for ever.
const TCP_KEEP_ALIVE: (u32, u32, u32) = (15, 15, 9);
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 1000;

/// The other end of a connection.
pub struct Peer {
    pub shown: Shown,
    /// Its address, for what comes from another program.
    pub address: Option<IpAddr>,
}

/// What it has shown of who it is.
pub enum Shown {
    /// No client certificate; a token may follow.
    Nothing,
    /// A client certificate that TLS has verified, as DER.
    Certificate(Vec<u8>),
    /// A part of this process.
    InProcess(Identity),
}

/// Accepts connections until shutdown, then waits for those that are open, at most as long as configured.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: TlsAcceptor) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                tokio::spawn(connection(server.clone(), stream, address, tls.clone(), graceful.watcher()));
            }
            Err(error) => {
                // Out of file descriptors, usually: do not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(server.config.drain, graceful.shutdown()).await;
}

async fn connection(server: Arc<Server>, stream: TcpStream, address: SocketAddr, tls: TlsAcceptor, watcher: Watcher) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    if let Err(error) = keep_alive(&stream) {
        tracing::debug!(%address, %error, "TCP keep-alive could not be set");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first());
    let shown = certificate.map_or(Shown::Nothing, |certificate| Shown::Certificate(certificate.to_vec()));
    let peer = Arc::new(Peer { shown, address: Some(address.ip()) });
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, Infallible>(chain::handle(server, peer, request.map(Body::new)).await) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new());
    http.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).max_concurrent_streams(STREAMS);
    let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%address, %error, "connection ended");
    }
}

fn keep_alive(stream: &TcpStream) -> nix::Result<()> {
    let (idle, interval, count) = TCP_KEEP_ALIVE;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(stream, sockopt::TcpKeepCount, &count)
}
