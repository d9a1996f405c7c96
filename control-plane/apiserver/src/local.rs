//! The way to the server for parts of the same process: requests go through the whole chain as anybody's, but through no socket and no
//! TLS, whose buffers for some dozens of watches would weigh more than all the controllers.

use crate::http::{Peer, Shown, chain};
use crate::server::Server;
use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use orknet_auth::Identity;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// The program's name, by which `managedFields` call it as well.
const AGENT: &str = concat!("orknet-server/", env!("CARGO_PKG_VERSION"));

/// Sends requests to the server as one identity, or, a request that brings an [`Identity`] among its extensions, as that one: nothing that comes over a
/// socket can. Cheap to clone.
#[derive(Clone)]
pub struct LocalClient {
    server: Arc<Server>,
    peer: Arc<Peer>,
}

impl LocalClient {
    pub(crate) fn new(server: Arc<Server>, who: Identity) -> Self {
        Self { server, peer: Arc::new(Peer { shown: Shown::InProcess(who), address: None }) }
    }
}

impl<B> Service<Request<B>> for LocalClient
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        let peer = match request.extensions_mut().remove::<Identity>() {
            Some(who) => Arc::new(Peer { shown: Shown::InProcess(who), address: None }),
            None => self.peer.clone(),
        };
        let server = self.server.clone();
        Box::pin(async move { Ok(chain::handle(server, peer, request.map(Body::new)).await) })
    }
}
