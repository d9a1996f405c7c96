//! The node's HTTPS server: health, pods, logs, metrics, statistics, and the hook for streams. Only clients with a certificate of the
//! configured CA get in; `tls` does the handshake, `routes` says what answers.

mod logs;
mod metrics;
mod routes;
pub mod stats;
pub mod tls;

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;
use crate::pods::Context;

/// A socket that listens, with its certificates.
pub struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    serving: Arc<tls::Serving>,
    allowed: Arc<[String]>,
}

impl Listener {
    /// The address at which it listens.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// The certificate that it shows.
    pub fn serving(&self) -> Arc<tls::Serving> {
        self.serving.clone()
    }
}

/// Opens the server's socket; none when the configuration has no certificates.
///
/// # Errors
/// The certificates cannot be read or the address is taken.
pub async fn bind(config: &Config) -> Result<Option<Listener>, Error> {
    let Some(files) = &config.tls else { return Ok(None) };
    let serving = Arc::new(tls::Serving::open(files)?);
    if files.certificate.is_none() && !config.server_tls_bootstrap {
        return Err(Error::Server("there is no certificate, and none is to be asked for (serverTLSBootstrap)".to_owned()));
    }
    let acceptor = tls::acceptor(&files.client_ca, serving.clone())?;
    let socket = TcpListener::bind(config.listen).await.map_err(|e| Error::Server(format!("listen on {}: {e}", config.listen)))?;
    Ok(Some(Listener { socket, acceptor, serving, allowed: files.allowed_clients.clone().into() }))
}

/// Serves until `shutdown`. Connections that are open then are dropped.
///
/// # Errors
/// None at present; a broken connection ends alone.
pub async fn serve(listener: Listener, context: Arc<Context>, shutdown: CancellationToken) -> Result<(), Error> {
    let routes = routes::router(context);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close some.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, allowed, routes) = (listener.acceptor.clone(), listener.allowed.clone(), routes.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let stream = match tokio::time::timeout(tls::HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => return tracing::debug!("TLS handshake took too long"),
            };
            let client = tls::client_name(&stream);
            if !allowed.is_empty() && !client.as_ref().is_some_and(|name| allowed.contains(name)) {
                return tracing::warn!(client, "client refused: not one of the allowed names");
            }
            let service = TowerToHyperService::new(routes);
            let served = Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}
