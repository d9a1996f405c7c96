//! Metrics and health over HTTP. `/healthz` says whether the agent works, `/readyz` whether the maps hold what the cluster wants.

use crate::dataplane::Dataplane;
use crate::error::Error;
use crate::metrics::{self, Metrics};
use crate::programmer::Message;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    dataplane: Arc<dyn Dataplane>,
    /// To the programmer, who knows the names of rules.
    messages: mpsc::Sender<Message>,
}

/// Listens at once, so that a taken address ends the start. `what` is for the log.
pub fn listen(address: SocketAddr, what: &str) -> Result<TcpListener, Error> {
    let listener = bind(address).map_err(|source| Error::Http { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving {what}");
    }
    Ok(listener)
}

/// Listens; at `::` for both families, whatever the host's default (`net.ipv6.bindv6only`). Must be called in a runtime.
///
/// # Errors
/// Those of the kernel; `EAFNOSUPPORT` for IPv6 on a host without.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 1_024;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6V6Only, &!address.ip().is_unspecified())?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the shutdown.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    dataplane: Arc<dyn Dataplane>,
    messages: mpsc::Sender<Message>,
    shutdown: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", routing::get(metrics_page))
        .route("/healthz", routing::get(healthz))
        .route("/readyz", routing::get(readyz))
        .with_state(Shared { metrics, dataplane, messages });
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "metrics and health are no longer served");
    }
}

async fn metrics_page(State(shared): State<Shared>) -> Response {
    let (reply, answer) = oneshot::channel();
    let _ = shared.messages.send(Message::NameRules(reply)).await;
    // Nobody answers when the agent ends.
    let rules = answer.await.unwrap_or_default();
    let rendered = tokio::task::spawn_blocking(move || metrics::render(&shared.metrics, shared.dataplane, rules)).await;
    match rendered {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The maps can be read.
async fn healthz(State(shared): State<Shared>) -> Response {
    match tokio::task::spawn_blocking(move || shared.dataplane.drops()).await {
        Ok(Ok(_)) => "ok".into_response(),
        Ok(Err(failure)) => (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.metrics.synced.get() {
        1 => "ok".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the maps do not yet hold what the cluster wants").into_response(),
    }
}
