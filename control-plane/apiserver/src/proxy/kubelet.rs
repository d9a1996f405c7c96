//! The way to kubelets: TLS with the server's own certificate, one connection a request, streams passed through as they are.

use super::{KubeletStreams, NodeTarget};
use crate::audit;
use crate::error::ApiError;
use async_trait::async_trait;
use axum::body::Body;
use http::{Request, Response};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use orknet_auth::pki::{KUBELET_CLIENT, Pki, PkiError, client_tls_with};
use orknet_auth::renewed::Renewed;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a kubelet may take to accept a connection and greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that is gone is noticed after this time without a sign of life, and as many probes of this distance.
const IDLE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Calls kubelets as `system:kube-apiserver`.
pub struct Kubelets {
    connector: TlsConnector,
}

impl Kubelets {
    /// With certificates of this authority, which also signs the kubelets' own; each good for `life`, and issued anew in time.
    pub fn new(pki: &Arc<Pki>, life: Duration) -> Result<Self, PkiError> {
        let credentials = Renewed::client(pki.clone(), KUBELET_CLIENT, None, life)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(client_tls_with(pki.ca_pem(), Arc::new(credentials))?)) })
    }
}

#[async_trait]
impl KubeletStreams for Kubelets {
    async fn stream(&self, target: NodeTarget, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let fail = |what: &str, error: &dyn std::fmt::Display| {
            ApiError::unavailable(format!("cannot {what} the kubelet of node {} at {}:{}: {error}", target.node, target.host, target.port))
        };
        let name = ServerName::try_from(target.node.clone()).map_err(|error| fail("name", &error))?;
        let connecting = async {
            let tcp = TcpStream::connect((target.host.as_str(), target.port)).await?;
            tcp.set_nodelay(true)?;
            keep_alive(&tcp)?;
            self.connector.connect(name, tcp).await
        };
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| fail("reach", &error))?,
            Err(elapsed) => return Err(fail("reach", &elapsed)),
        };
        let response = orknet_relay::relay(audit::hold(connection), &target.node, &target.path_and_query, request).await;
        Ok(response.map_err(|error| fail("ask", &error))?.map(Body::new))
    }
}

/// Ends the connection some time after the other side is gone without a word, whether or not there is anything to send: streams have no other end.
fn keep_alive(tcp: &TcpStream) -> Result<(), Errno> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    setsockopt(tcp, sockopt::KeepAlive, &true)?;
    setsockopt(tcp, sockopt::TcpKeepIdle, &seconds(IDLE))?;
    setsockopt(tcp, sockopt::TcpKeepInterval, &seconds(PROBE_INTERVAL))?;
    setsockopt(tcp, sockopt::TcpKeepCount, &PROBES)?;
    // Probes are only sent when nothing waits to be acknowledged.
    setsockopt(tcp, sockopt::TcpUserTimeout, &(seconds(IDLE + PROBE_INTERVAL * PROBES) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_to_a_node_is_probed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let tcp = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        keep_alive(&tcp).expect("set");
        assert_eq!(getsockopt(&tcp, sockopt::KeepAlive), Ok(true));
        assert_eq!((getsockopt(&tcp, sockopt::TcpKeepIdle), getsockopt(&tcp, sockopt::TcpUserTimeout)), (Ok(30), Ok(60_000)));
    }
}
