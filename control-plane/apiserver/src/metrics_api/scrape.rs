//! Asks every kubelet for its summary, again and again. Several servers each ask for themselves.

use super::samples::NodeSample;
use super::summary;
use crate::proxy::{NodeTarget, kubelet_of};
use crate::server::Server;
use axum::body::Body;
use futures::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Limited};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How many kubelets are asked at a time.
const AT_ONCE: usize = 32;
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most of an answer that is read, in bytes: hundreds of pods take some hundred kilobytes.
const MAX_BYTES: usize = 16 << 20;

/// Asks until the end of the server. Cancel-safe.
pub async fn keep(server: Arc<Server>) {
    let Some(resolution) = server.config.metrics_resolution else { return };
    let mut rounds = interval(resolution);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        server.storage.caches.filled().await;
        loop {
            rounds.tick().await;
            round(&server, resolution).await;
        }
    };
    server.shutdown.run_until_cancelled(asking).await;
}

async fn round(server: &Server, resolution: Duration) {
    let nodes = server.storage.caches.values(super::NODES);
    let targets = nodes.iter().filter_map(|node| {
        let (host, port) = kubelet_of(node)?;
        Some(NodeTarget { node: crate::object::name(node).to_owned(), host, port, path_and_query: "/stats/summary".to_owned() })
    });
    let asked = stream::iter(targets.collect::<Vec<_>>()).map(|target| async move {
        let node = target.node.clone();
        match timeout(TIMEOUT, ask(server, target)).await {
            Ok(Ok(sample)) => Some((node, sample)),
            Ok(Err(why)) => {
                tracing::debug!(node, why, "no metrics of a node");
                None
            }
            Err(_) => {
                tracing::debug!(node, "no metrics of a node in time");
                None
            }
        }
    });
    let told = asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    server.metrics_api.samples.write().store(told, resolution);
}

async fn ask(server: &Server, target: NodeTarget) -> Result<NodeSample, String> {
    let response = server.kubelets.stream(target, Request::new(Body::empty())).await.map_err(|error| error.message().to_owned())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let read = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
    summary::parse(&read.to_bytes()).map_err(|error| error.to_string())
}
