//! A request through the `proxy` of a pod, Service or node (`pods/{[scheme:]name[:port]}/proxy/{path}`): with any method, and whatever protocol the two
//! ends agree on.

use super::address::{clean, encode};
use super::forward::{self, Asked};
use super::links::View;
use super::locate::{self, Backend, Place};
use super::{NodeTarget, headers, wire};
use crate::admission::{self, Asked as AskedOf, Operation, form};
use crate::call::Call;
use crate::error::ApiError;
use axum::body::Body;
use http::header::{HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use std::sync::{Arc, OnceLock};
use tokio_rustls::TlsConnector;

const VERBS: [&str; 6] = ["get", "create", "update", "patch", "delete", "options"];

/// Passes a request on to what the object serves, and its answer back.
pub async fn through(call: &Call, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    if !VERBS.contains(&call.verb) {
        return Err(call.method_not_allowed());
    }
    let path = clean(&call.path.rest);
    let (form, mut options) = form::of_proxy(call.names().plural, path.trim_start_matches('/'));
    let asked = admission::Request { form: Some(form), options: AskedOf::Nothing, ..call.admission(Operation::Connect) };
    admission::submit(asked, &mut options, &mut Vec::new()).await?;
    let place = locate::find(call).await?;
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if path.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) && !headers::is_upgrade(request.headers()) {
        return redirected(&format!("{}/{query}", request.uri().path()));
    }
    let prefix = prefix(request.uri().path(), &call.path.rest);
    let path = if path.is_empty() { "/".to_owned() } else { encode(&path) };
    match place {
        Place::Kubelet(target) => to_kubelet(call, target, request, (&prefix, &path), &query).await,
        Place::Backend(backend) => to_backend(&backend, request, (&prefix, &path), &query).await,
    }
}

/// The request's path to the backend's root.
fn prefix(path: &str, rest: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    encode(decoded.strip_suffix(rest).unwrap_or(&decoded))
}

/// Browsers see links relative to a page's folder: the backend's root is one.
fn redirected(to: &str) -> Result<Response<Body>, ApiError> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(to).map_err(|error| ApiError::bad_request(error.to_string()))?);
    Ok(response)
}

async fn to_backend(
    backend: &Backend,
    mut request: Request<Body>,
    (prefix, path): (&str, &str),
    query: &str,
) -> Result<Response<Body>, ApiError> {
    let fail = |why: &dyn std::fmt::Display| ApiError::unavailable(format!("error trying to reach service: {why}"));
    let port = backend.number().ok_or_else(|| fail(&format_args!("dial tcp: lookup tcp/{}: unknown port", backend.port)))?;
    let asked = forward::outgoing(&mut request, &format!("{path}{query}"))?;
    if !asked.upgrade {
        forward::tell_path(request.headers_mut(), prefix, path);
    }
    let (host, tls) = (backend.host.to_string(), backend.https.then(anybody).transpose()?);
    let connection = wire::connect(&host, port, tls.as_ref().map(|tls| (tls, &host[..]))).await.map_err(|error| fail(&error))?;
    let response = forward::send(connection, request).await.map_err(|error| fail(&error))?;
    seen(&asked, response, prefix, &backend.authority()).await
}

async fn to_kubelet(
    call: &Call,
    mut target: NodeTarget,
    mut request: Request<Body>,
    (prefix, path): (&str, &str),
    query: &str,
) -> Result<Response<Body>, ApiError> {
    target.path_and_query = format!("{path}{query}");
    let authority = format!("{}:{}", target.host, target.port);
    let asked = forward::outgoing(&mut request, &target.path_and_query)?;
    if !asked.upgrade {
        forward::tell_path(request.headers_mut(), prefix, path);
    }
    let response = call.server.kubelets.stream(target, request).await?;
    seen(&asked, response, prefix, &authority).await
}

async fn seen(asked: &Asked, response: Response<Body>, prefix: &str, backend: &str) -> Result<Response<Body>, ApiError> {
    let host = asked.host.clone();
    forward::answered(asked, response, Some(View { prefix, backend, asked: &host })).await
}

/// TLS to whoever it is.
fn anybody() -> Result<TlsConnector, ApiError> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector.clone());
    }
    let made = TlsConnector::from(Arc::new(wire::trusting(None).map_err(ApiError::internal)?));
    Ok(CONNECTOR.get_or_init(|| made).clone())
}
