//! From a request that may be answered to what answers it: a document of the server's own, or a call on a kind.

use super::accept::{Accept, DiscoveryForm};
use super::options::Options;
use super::request_info::RequestInfo;
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::is_namespaced;
use crate::server::Server;
use crate::{discovery, present, proxy, verbs};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use orknet_auth::Identity;
use std::sync::Arc;

/// Answers a request whose sender is known and allowed.
pub async fn route(server: &Arc<Server>, who: Identity, info: &RequestInfo, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let Some(path) = &info.resource else { return document(server, info, &request) };
    let kind = server.kinds.find(&path.group, &path.version, &path.plural).ok_or_else(ApiError::no_such_resource)?;
    let names = kind.descriptor();
    let is_namespace = names.group.is_empty() && names.plural == "namespaces";
    if !is_namespaced(names) && !path.namespace.is_empty() && !is_namespace {
        return Err(ApiError::no_such_resource());
    }
    if !path.subresource.is_empty() && !names.subresources.contains(&&path.subresource[..]) {
        return Err(ApiError::no_such_resource());
    }
    let streams = proxy::is_stream(&path.subresource);
    let headers = request.headers();
    let mut call = Call {
        server: server.clone(),
        who,
        verb: info.verb,
        path: path.clone(),
        kind,
        options: Options::parse(request.uri().query().unwrap_or_default())?,
        // Streams negotiate by themselves.
        accept: if streams { Accept::default() } else { Accept::parse(text(headers, ACCEPT))? },
        content_type: text(headers, CONTENT_TYPE).map(str::to_owned),
        user_agent: text(headers, USER_AGENT).unwrap_or_default().to_owned(),
        body: Bytes::new(),
    };
    if streams {
        return proxy::stream(&call, request).await;
    }
    call.body = read_body(request, server.config.max_body_bytes).await?;
    verbs::run(call).await
}

fn document(server: &Server, info: &RequestInfo, request: &Request<Body>) -> Result<Response<Body>, ApiError> {
    if !matches!(info.verb, "get" | "head") {
        return Err(ApiError::method_not_allowed(format!("the server does not allow this method on {}", info.path)));
    }
    let headers = request.headers();
    match info.path.trim_end_matches('/') {
        "/metrics" => Ok(server.metrics.scrape(server)),
        path if path.starts_with("/openapi/") => server.documents.openapi(path, request.uri().query().unwrap_or_default(), headers),
        "/openid/v1/jwks" => Ok(present::json(StatusCode::OK, &server.access.tokens.issuer().jwks())),
        "/.well-known/openid-configuration" => Ok(present::json(StatusCode::OK, &server.access.tokens.issuer().discovery())),
        "" => Ok(present::json(StatusCode::OK, &discovery::paths(&server.kinds))),
        path => {
            let form = DiscoveryForm::parse(text(headers, ACCEPT));
            server
                .documents
                .discovery(&server.kinds, server.config.advertise_address, path, form, headers)
                .ok_or_else(ApiError::no_such_resource)
        }
    }
}

async fn read_body(request: Request<Body>, limit: usize) -> Result<Bytes, ApiError> {
    let length = text(request.headers(), CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
