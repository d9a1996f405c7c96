//! Sockets, TLS and HTTP connections. What a request means is the chain's business.

use super::activity::Activity;
use super::bounds::{Place, Places};
use super::chain;
use super::placed::Placed;
use crate::server::Server;
use axum::body::Body;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::sys::socket::{setsockopt, sockopt};
use orknet_auth::Identity;
use rand::Rng;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// HTTP/2 connections are asked for life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Silent TCP connections are asked for life after so many seconds, so often, so many times: a client that is gone without a word does not keep its
/// watch or its upgraded stream open for ever.
const TCP_KEEP_ALIVE: (u32, u32, u32) = (15, 15, 9);
/// Streams of an HTTP/2 connection that the client has reset before they were looked at; one more ends the connection.
const RESET_STREAMS: usize = 20;
/// Streams that were reset for the client's faults; one more ends the connection.
const FAULTY_STREAMS: usize = 256;
/// Bytes of answers that wait in an HTTP/2 stream for its reader.
const SEND_BUFFER: usize = 128 << 10;

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

/// Accepts connections until shutdown, then waits for those that are open, at most as long as configured. One that has no place is closed at once.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: TlsAcceptor, places: Arc<Places>) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match places.take(address.ip()) {
                Ok(place) => {
                    tokio::spawn(connection(server.clone(), stream, address, tls.clone(), (graceful.watcher(), place)));
                }
                Err(full) => {
                    server.metrics.connection_refused(full.reason());
                    tracing::debug!(%address, reason = full.reason(), "too many connections");
                }
            },
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

/// Serves a connection to its end, for which the watcher waits. What it is upgraded to has the place yet.
async fn connection(server: Arc<Server>, stream: TcpStream, address: SocketAddr, tls: TlsAcceptor, (watcher, place): (Watcher, Place)) {
    let bounds = &server.config.connections;
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    if let Err(error) = keep_alive(&stream) {
        tracing::debug!(%address, %error, "TCP keep-alive could not be set");
    }
    let stream = match tokio::time::timeout(bounds.handshake(), tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first());
    let shown = certificate.map_or(Shown::Nothing, |certificate| Shown::Certificate(certificate.to_vec()));
    let peer = Arc::new(Peer { shown, address: Some(address.ip()) });
    let activity = Activity::new(Instant::now());
    let service = service_fn({
        let (server, activity) = (server.clone(), activity.clone());
        move |request: Request<Incoming>| {
            let (server, peer, activity) = (server.clone(), peer.clone(), activity.clone());
            async move {
                let open = activity.begin(Instant::now());
                if request.version() == Version::HTTP_2 && goes_away(server.config.connections.goaway_chance) {
                    activity.ends.notify_one();
                }
                let response = chain::handle(server, peer, request.map(Body::new)).await;
                Ok::<_, Infallible>(response.map(|body| open.answer(body)))
            }
        }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    let header_bytes = usize::try_from(bounds.header_bytes).unwrap_or(usize::MAX);
    // The timeout of a head runs from the end of the answer before it, so it is that of idle connections too.
    http.http1().timer(TokioTimer::new()).header_read_timeout(bounds.idle()).max_headers(bounds.headers).max_buf_size(header_bytes);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.header_bytes)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(FAULTY_STREAMS)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(Placed::new(stream, place)), service).into_owned());
    let mut ends = false;
    let mut look = bounds.idle();
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = activity.cut.notified() => return tracing::debug!(%address, "its client gives up more requests than it has answered"),
            () = told_to_end(&server, &activity), if !ends => ends = true,
            () = tokio::time::sleep(look), if !ends => match activity.patience(Instant::now(), bounds.idle()) {
                Some(left) => {
                    look = left;
                    continue;
                }
                None => ends = true,
            },
        }
        // Begins no more requests, and ends with the last one that is open.
        connection.as_mut().graceful_shutdown();
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended");
    }
    drop(watcher);
}

/// Completes when the connection is to end in good order: the server does, or it was this connection's turn.
async fn told_to_end(server: &Server, activity: &Activity) {
    tokio::select! {
        () = server.shutdown.cancelled() => {}
        () = activity.ends.notified() => {}
    }
}

fn goes_away(chance: f64) -> bool {
    chance > 0.0 && rand::rng().random::<f64>() < chance
}

fn keep_alive(stream: &TcpStream) -> nix::Result<()> {
    let (idle, interval, count) = TCP_KEEP_ALIVE;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(stream, sockopt::TcpKeepCount, &count)
}
