//! A request for what an extension server serves, passed on to it as it is, with who asks in its headers.

use super::table::Remote;
use super::trust;
use crate::admission::webhooks::connect::ConnectError;
use crate::audit;
use crate::error::ApiError;
use crate::proxy::forward;
use crate::proxy::links::View;
use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use orknet_auth::Identity;

/// Passes a request on and its answer back. What goes wrong on the way is told in plain text, as kube-apiserver's aggregator does.
pub async fn pass(remote: &Remote, who: &Identity, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
    if !remote.available {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"));
    }
    let connector = match &remote.connector {
        Ok(connector) => connector,
        Err(why) => return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, why)),
    };
    let path_and_query = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let path = request.uri().path().to_owned();
    let asked = forward::outgoing(&mut request, &path_and_query)?;
    trust::vouch(request.headers_mut(), who)?;
    if !asked.upgrade {
        forward::tell_path(request.headers_mut(), "", &path);
    }
    let failed = |why: &dyn std::fmt::Display| plain(StatusCode::SERVICE_UNAVAILABLE, &format!("error trying to reach service: {why}"));
    let stream = match connector.open().await {
        Ok(stream) => stream,
        // Its endpoints went a moment ago.
        Err(ConnectError::Service(_)) => return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable")),
        Err(error) => return Ok(failed(&error)),
    };
    let backend = stream.get_ref().0.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let response = match forward::send(Box::new(audit::hold(stream)), request).await {
        Ok(response) => response,
        Err(error) => return Ok(failed(&error)),
    };
    forward::answered(&asked, response, Some(View { prefix: "", backend: &backend, asked: &asked.host })).await
}

fn plain(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}
