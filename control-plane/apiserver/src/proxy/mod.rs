//! Requests that are passed on: to a kubelet (logs, exec, attach, port-forward; behind [`KubeletStreams`]), and through the `proxy` of a pod, Service or
//! node to whatever serves there ([`through`]).

mod address;
pub mod forward;
pub mod headers;
mod html;
mod kubelet;
pub mod links;
mod locate;
mod target;
mod through;
pub mod wire;

pub use forward::Foreign;
pub use kubelet::Kubelets;
pub use target::{NodeTarget, kubelet_of};
pub use through::through;

use crate::admission::{self, Asked, Operation, form};
use crate::call::Call;
use crate::error::ApiError;
use async_trait::async_trait;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};

/// Most of a kubelet's refusal that is passed on, in bytes.
const REFUSAL: usize = 1 << 20;

/// Carries a request to a kubelet and its answer, or its upgraded connection, back.
#[async_trait]
pub trait KubeletStreams: Send + Sync + 'static {
    /// Sends the request to `target.path_and_query` of the kubelet. Errors are told to the client as they are.
    async fn stream(&self, target: NodeTarget, request: Request<Body>) -> Result<Response<Body>, ApiError>;
}

/// Whether the subresource is one of those passed on.
pub fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward")
}

/// Whether the subresource is the way through an object to what it serves.
pub fn is_proxy(subresource: &str) -> bool {
    subresource == "proxy"
}

/// Passes a request on to the kubelet that runs the pod.
pub async fn stream(call: &Call, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let allowed: &[&str] = if call.path.subresource == "log" { &["get"] } else { &["get", "create"] };
    if !allowed.contains(&call.verb) {
        return Err(call.method_not_allowed());
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let pod = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?.object;
    // A log is only read.
    if call.path.subresource != "log" {
        let (form, mut options) = form::of_stream(&call.path.subresource, &query);
        let asked = admission::Request { form: Some(form), options: Asked::Nothing, ..call.admission(Operation::Connect) };
        admission::submit(asked, &mut options, &mut Vec::new()).await?;
    }
    let target = target::find(call, &pod, &query)?;
    let response = call.server.kubelets.stream(target, request).await?;
    // A log is text and so is a refusal; a client can only tell them apart by a Status. Clients of the other streams read the text.
    if call.path.subresource != "log" || response.status().is_success() || response.status().is_informational() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let text = Limited::new(body, REFUSAL).collect().await.map(|read| read.to_bytes()).unwrap_or_default();
    Err(ApiError::of_kubelet(parts.status.as_u16(), &String::from_utf8_lossy(&text)))
}
