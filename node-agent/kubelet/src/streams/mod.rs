//! exec, attach and portForward: finds the container or sandbox, asks containerd for the stream's URL, and joins the client with it.
//!
//! What containerd speaks itself (SPDY/3.1, the older WebSocket subprotocols) passes through untouched. The WebSocket subprotocols that
//! kubectl asks for first are carried over containerd's SPDY here: `channels` for exec and attach, `tunnel` for port-forward.

mod channels;
mod runtime;
mod spdy;
mod target;
mod tunnel;
mod url;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::pods::Context;
use target::Refusal;

pub use url::{attach_url, exec_url, port_forward_url};

/// The stream endpoints, for GET (WebSocket) and POST (SPDY).
pub fn router() -> Router<Arc<Context>> {
    Router::new()
        .route("/exec/{namespace}/{pod}/{container}", get(exec).post(exec))
        .route("/attach/{namespace}/{pod}/{container}", get(attach).post(attach))
        .route("/portForward/{namespace}/{pod}", get(port_forward).post(port_forward))
}

async fn exec(State(context): State<Arc<Context>>, Path(path): Path<(String, String, String)>, request: Request) -> Response {
    let url = exec_url(&context, &path.0, &path.1, &path.2, query(&request)).await;
    answered(processes(url, request).await)
}

async fn attach(State(context): State<Arc<Context>>, Path(path): Path<(String, String, String)>, request: Request) -> Response {
    let url = attach_url(&context, &path.0, &path.1, &path.2, query(&request)).await;
    answered(processes(url, request).await)
}

async fn port_forward(State(context): State<Arc<Context>>, Path(path): Path<(String, String)>, request: Request) -> Response {
    answered(ports(port_forward_url(&context, &path.0, &path.1, query(&request)).await, request).await)
}

fn query(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

fn answered(result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(Refusal::into_response)
}

/// The streams of a process.
async fn processes(url: Result<String, Refusal>, request: Request) -> Result<Response, Refusal> {
    let url = url?;
    if !websocket::offers(request.headers(), channels::PROTOCOL) {
        return pass_through(&url, request).await;
    }
    let streams = url::streams(query(&request))?;
    let runtime = runtime::spdy(&url, channels::INNER).await?;
    Ok(websocket::accept(request, channels::PROTOCOL, move |socket| channels::join(socket, runtime, streams)))
}

/// The streams of ports.
async fn ports(url: Result<String, Refusal>, request: Request) -> Result<Response, Refusal> {
    let url = url?;
    if !websocket::offers(request.headers(), tunnel::PROTOCOL) {
        return pass_through(&url, request).await;
    }
    let runtime = runtime::spdy(&url, tunnel::INNER).await?;
    Ok(websocket::accept(request, tunnel::PROTOCOL, move |socket| tunnel::join(socket, runtime)))
}

/// Joins the caller with containerd's server as it is.
async fn pass_through(url: &str, request: Request) -> Result<Response, Refusal> {
    let (connection, host, path) = runtime::connect(url).await?;
    let response = orknet_relay::relay(connection, &host, &path, request).await.map_err(|error| runtime::failed(&error))?;
    Ok(response.map(Body::new))
}
