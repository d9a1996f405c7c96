//! What the server answers: every path in one place.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;

use super::{logs, metrics, stats};
use crate::pods::Context;
use crate::streams;

/// All routes.
pub(super) fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::logs))
        .route("/metrics", get(metrics::metrics))
        .route("/metrics/resource", get(stats::resource))
        .route("/stats/summary", get(stats::summary))
        .merge(streams::router())
        .with_state(context)
}

/// The pods that have a worker.
async fn pods(State(context): State<Arc<Context>>) -> Json<List<Pod>> {
    let items = context.known.read().values().map(|pod| (**pod).clone()).collect();
    Json(List { items, ..List::default() })
}
