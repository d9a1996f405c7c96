//! `healthCheckNodePort`: balancers outside of the cluster ask every node whether it has endpoints of a Service with
//! `externalTrafficPolicy: Local`. Answers as kube-proxy does: any path, status, headers and body.

use crate::http;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use orknet_compiler::{HealthCheck, ObjectName};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Tells balancers how much of the traffic this node should get.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// What is asked about, and answered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The Services with a port of their own for this.
    pub checks: BTreeMap<ObjectName, HealthCheck>,
    /// The maps follow the cluster.
    pub is_healthy: bool,
    /// Services that the maps have no room for.
    pub missing: BTreeSet<ObjectName>,
}

/// Listens on exactly the ports of the Services, on all of the node's addresses, until nobody tells of health any more. A port that
/// cannot be had is logged once and tried again.
pub async fn serve(mut health: watch::Receiver<Health>) {
    let mut open: BTreeMap<u16, Listener> = BTreeMap::new();
    let mut refused: BTreeMap<u16, String> = BTreeMap::new();
    loop {
        let wanted = ports(&health.borrow_and_update().checks);
        open.retain(|port, listener| wanted.get(port) == Some(&listener.service));
        refused.retain(|port, _| wanted.contains_key(port));
        for (port, service) in wanted {
            if open.contains_key(&port) {
                continue;
            }
            match Listener::open(port, service, health.clone()) {
                Ok(listener) => {
                    refused.remove(&port);
                    open.insert(port, listener);
                }
                Err(error) => {
                    let why = error.to_string();
                    if refused.get(&port) != Some(&why) {
                        tracing::warn!(port, error = why, "cannot listen for health checks; trying again");
                    }
                    refused.insert(port, why);
                }
            }
        }
        let changed = async {
            if refused.is_empty() { health.changed().await } else { tokio::time::timeout(RETRY, health.changed()).await.unwrap_or(Ok(())) }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

/// Which Service each port is for. Of two that ask for the same, which the API server does not allow, the first.
fn ports(checks: &BTreeMap<ObjectName, HealthCheck>) -> BTreeMap<u16, ObjectName> {
    let mut ports = BTreeMap::new();
    for (service, check) in checks {
        ports.entry(check.port).or_insert_with(|| service.clone());
    }
    ports
}

/// A port that is listened on; closed by drop.
struct Listener {
    service: ObjectName,
    _stop: DropGuard,
}

impl Listener {
    fn open(port: u16, service: ObjectName, health: watch::Receiver<Health>) -> std::io::Result<Self> {
        let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        let listener = match http::bind(SocketAddr::new(any[0], port)) {
            // No IPv6 on this node.
            Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => http::bind(SocketAddr::new(any[1], port))?,
            other => other?,
        };
        let stop = CancellationToken::new();
        let asked = Asked { service: service.clone(), health };
        let router = Router::new().fallback(respond).with_state(asked);
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::warn!(port, %error, "health checks are no longer answered");
            }
        });
        Ok(Self { service, _stop: stop.drop_guard() })
    }
}

#[derive(Clone)]
struct Asked {
    service: ObjectName,
    health: watch::Receiver<Health>,
}

async fn respond(State(asked): State<Asked>) -> Response {
    let (local, is_healthy) = {
        let health = asked.health.borrow();
        let local = health.checks.get(&asked.service).map_or(0, |check| check.local_endpoints);
        (local, health.is_healthy && !health.missing.contains(&asked.service))
    };
    let status = if local > 0 && is_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "service": { "namespace": &*asked.service.namespace, "name": &*asked.service.name },
        "localEndpoints": local,
        "serviceProxyHealthy": is_healthy,
    });
    (status, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()), (WEIGHT, local.to_string())], Json(body)).into_response()
}
