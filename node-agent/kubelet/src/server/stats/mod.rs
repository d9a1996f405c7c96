//! `GET /stats/summary` and `GET /metrics/resource`: what the node, its pods and their containers use, as their cgroups count it. `measured` reads,
//! `rates` knows what was read before, `shown` writes either document (pure).

mod measured;
mod rates;
mod shown;

pub use rates::Rates;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::pods::Context;

/// `stats/v1alpha1 Summary`, as JSON.
pub(super) async fn summary(State(context): State<Arc<Context>>) -> Response {
    match measured::measure(&context).await {
        Ok(measured) => Json(shown::summary(&measured)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The resource metrics of Kubernetes (KEP-727), in the Prometheus text format. What could not be read is told by a metric, not by the status.
pub(super) async fn resource(State(context): State<Arc<Context>>) -> Response {
    let measured = measured::measure(&context).await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shown::resource(measured.as_ref().ok())).into_response()
}
