//! exec, attach and portForward: finds the container or sandbox, asks containerd for the stream's URL. The answer's plumbing to the client
//! belongs here too; the server only merges [`router`].

mod target;
mod url;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::pods::Context;

pub use url::{attach_url, exec_url, port_forward_url};

/// The stream endpoints, for GET (WebSocket) and POST (SPDY).
pub fn router() -> Router<Arc<Context>> {
    Router::new()
        .route("/exec/{namespace}/{pod}/{container}", get(exec).post(exec))
        .route("/attach/{namespace}/{pod}/{container}", get(attach).post(attach))
        .route("/portForward/{namespace}/{pod}", get(port_forward).post(port_forward))
}

async fn exec(State(context): State<Arc<Context>>, Path(path): Path<(String, String, String)>, RawQuery(query): RawQuery) -> Response {
    answer(exec_url(&context, &path.0, &path.1, &path.2, query.as_deref().unwrap_or_default()).await)
}

async fn attach(State(context): State<Arc<Context>>, Path(path): Path<(String, String, String)>, RawQuery(query): RawQuery) -> Response {
    answer(attach_url(&context, &path.0, &path.1, &path.2, query.as_deref().unwrap_or_default()).await)
}

async fn port_forward(State(context): State<Arc<Context>>, Path(path): Path<(String, String)>, RawQuery(query): RawQuery) -> Response {
    answer(port_forward_url(&context, &path.0, &path.1, query.as_deref().unwrap_or_default()).await)
}

/// Sends the caller to containerd's own stream server, which listens on the node's loopback.
fn answer(url: Result<String, (StatusCode, String)>) -> Response {
    match url {
        Ok(url) => Redirect::temporary(&url).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
