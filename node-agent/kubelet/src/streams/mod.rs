//! exec, attach and portForward: finds the container or sandbox, asks containerd for the stream's URL, and passes the client's
//! connection through to it. What is spoken in the stream (WebSocket channels, SPDY/3.1) is between the client and containerd.

mod target;
mod url;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpStream;

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
    pass_through(exec_url(&context, &path.0, &path.1, &path.2, query(&request)).await, request).await
}

async fn attach(State(context): State<Arc<Context>>, Path(path): Path<(String, String, String)>, request: Request) -> Response {
    pass_through(attach_url(&context, &path.0, &path.1, &path.2, query(&request)).await, request).await
}

async fn port_forward(State(context): State<Arc<Context>>, Path(path): Path<(String, String)>, request: Request) -> Response {
    pass_through(port_forward_url(&context, &path.0, &path.1, query(&request)).await, request).await
}

fn query(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

/// Joins the caller with containerd's own stream server, which listens on the node's loopback.
async fn pass_through(url: Result<String, Refusal>, request: Request) -> Response {
    let relayed = async {
        let url = url?;
        let failed =
            |error: &dyn std::fmt::Display| (StatusCode::BAD_GATEWAY, format!("cannot stream from the container runtime: {error}"));
        let uri: Uri = url.parse().map_err(|error| failed(&error))?;
        let authority = uri.authority().ok_or_else(|| failed(&format_args!("{url} names no server")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let connection = TcpStream::connect(authority.as_str()).await.map_err(|error| failed(&error))?;
        let _ = connection.set_nodelay(true);
        orknet_relay::relay(connection, authority.as_str(), path, request).await.map_err(|error| failed(&error))
    };
    match relayed.await {
        Ok(response) => response.map(Body::new),
        Err(refusal) => Refusal::into_response(refusal),
    }
}
