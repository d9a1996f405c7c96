//! Whether balancers outside of the cluster should send anything to this node, as kube-proxy tells them (KEP-3836). Those of Services
//! with `externalTrafficPolicy: Cluster` ask every node here.
//!
//! `/healthz` says no while the maps do not follow the cluster, and once the node is about to go: connections that are there live on, new
//! ones should go to other nodes. `/livez` says whether this agent does its work, whatever becomes of the node.

use crate::health_check::Health;
use crate::watch::NodesView;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Shared {
    health: watch::Receiver<Health>,
    nodes: watch::Receiver<Arc<NodesView>>,
    /// When the maps followed the cluster last.
    followed: Arc<Mutex<Timestamp>>,
}

/// Serves until the shutdown.
pub async fn serve(
    listener: TcpListener,
    health: watch::Receiver<Health>,
    nodes: watch::Receiver<Arc<NodesView>>,
    shutdown: CancellationToken,
) {
    let shared = Shared { health, nodes, followed: Arc::new(Mutex::new(Timestamp::now())) };
    let router = Router::new().route("/healthz", routing::get(healthz)).route("/livez", routing::get(livez)).with_state(shared.clone());
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::error!(%error, "balancers are no longer told whether this node serves");
            }
        }
        () = shared.note_ends() => {}
    }
}

impl Shared {
    /// Notes when health ends, for as long as anybody tells.
    async fn note_ends(&self) {
        let mut health = self.health.clone();
        let mut was_healthy = false;
        loop {
            let is_healthy = health.borrow_and_update().is_healthy;
            if was_healthy && !is_healthy {
                *self.followed.lock() = Timestamp::now();
            }
            was_healthy = is_healthy;
            if health.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the maps follow the cluster, when they did last, and what time it is.
    fn state(&self) -> (bool, Timestamp, Timestamp) {
        let (is_healthy, now) = (self.health.borrow().is_healthy, Timestamp::now());
        (is_healthy, if is_healthy { now } else { *self.followed.lock() }, now)
    }
}

async fn healthz(State(shared): State<Shared>) -> Response {
    let (is_healthy, followed, now) = shared.state();
    let is_eligible = !shared.nodes.borrow().nodes.is_leaving;
    answer(is_healthy && is_eligible, json!({ "lastUpdated": followed, "currentTime": now, "nodeEligible": is_eligible }))
}

async fn livez(State(shared): State<Shared>) -> Response {
    let (is_healthy, followed, now) = shared.state();
    answer(is_healthy, json!({ "lastUpdated": followed, "currentTime": now }))
}

fn answer(is_good: bool, body: serde_json::Value) -> Response {
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], Json(body)).into_response()
}
