//! From a request that may be answered to what answers it: a document of the server's own, or a call on a kind.

use super::accept::{Accept, DiscoveryForm, Offer};
use super::listener::Peer;
use super::options::Options;
use super::request_info::{RequestInfo, ResourcePath};
use super::websocket::Handshake;
use crate::aggregation::Remote;
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::{Kind, Kinds, is_namespaced};
use crate::server::Server;
use crate::{aggregation, discovery, present, proxy, verbs};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use orknet_auth::Identity;
use std::sync::Arc;
use std::time::Duration;

/// Most that is read of a body that is refused for its size, and for how long.
const DISCARDED_BYTES: usize = 32 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// How Kubernetes refuses a method.
const METHOD_NOT_ALLOWED: &str = "the server does not allow this method on the requested resource";

/// Answers a request whose sender is known and allowed.
pub async fn route(server: &Arc<Server>, who: Identity, info: &RequestInfo, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    if let Some(remote) = elsewhere(server, info) {
        return aggregation::pass(&remote, &who, request).await;
    }
    let Some(path) = &info.resource else {
        let (head, _) = request.into_parts();
        return document(server, info, &head).await;
    };
    let kind = server.kinds().find(&path.group, &path.version, &path.plural).ok_or_else(|| unknown(server))?;
    let names = kind.descriptor();
    if is_namespaced(names) && path.namespace.is_empty() {
        // Across namespaces there is reading only.
        if !path.name.is_empty() {
            return Err(ApiError::no_such_resource());
        }
        if !matches!(info.verb, "list" | "watch") {
            return Err(ApiError::method_not_allowed(METHOD_NOT_ALLOWED));
        }
    }
    // A namespace is its own namespace; nothing else that is cluster-wide is inside of one.
    let is_itself = names.group.is_empty() && names.plural == "namespaces" && path.name == path.namespace;
    if !is_namespaced(names) && !path.namespace.is_empty() && !is_itself {
        return Err(ApiError::no_such_resource());
    }
    if !path.subresource.is_empty() && !names.subresources.contains(&&path.subresource[..]) {
        return Err(ApiError::no_such_resource());
    }
    // As with Kubernetes, failures of a deprecated kind warn too.
    let plain = Accept::of_status(text(request.headers(), ACCEPT)).encoding;
    let answer = resource(server, who, info, path, kind.clone(), request).await;
    let Some(warning) = kind.deprecation() else { return answer };
    let mut response = answer.unwrap_or_else(|error| present::error(&error, plain));
    present::add_warnings(&mut response, &[warning.to_owned()]);
    Ok(response)
}

/// The extension server that a request is for: about its group version, whose resources are all its own, or about its OpenAPI document.
fn elsewhere(server: &Server, info: &RequestInfo) -> Option<Arc<Remote>> {
    if let Some(path) = &info.resource {
        return server.aggregation.table().remote(&path.group, &path.version);
    }
    let document = info.path.strip_prefix("/openapi/v3").filter(|rest| rest.starts_with('/'));
    let mut parts = document.unwrap_or(&info.path).split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("apis"), Some(group), Some(version), None) => server.aggregation.table().remote(group, version),
        (Some("api"), Some(version), None, None) => server.aggregation.table().remote("", version),
        _ => None,
    }
}

/// 404 for a kind that is not served; 503 while it may be one that is defined and not served yet, so that nobody takes it for gone.
fn unknown(server: &Server) -> ApiError {
    if server.custom.is_ready() {
        ApiError::no_such_resource()
    } else {
        ApiError::unavailable("the server does not serve the custom resources that are defined yet")
    }
}

async fn resource(
    server: &Arc<Server>,
    who: Identity,
    info: &RequestInfo,
    path: &ResourcePath,
    kind: Kind,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let handshake = if info.verb == "watch" { Handshake::of(&mut request)? } else { None };
    let (streams, proxied) = (proxy::is_stream(&path.subresource), proxy::is_proxy(&path.subresource));
    let headers = request.headers();
    let offer = Offer { protobuf: present::encode::has_form(&kind), stream: info.verb == "watch" };
    let user_agent = text(headers, USER_AGENT).unwrap_or_default().to_owned();
    // The query of a request that is passed on is for whom it is passed on to.
    let options = if proxied { Options::default() } else { Options::parse(&info.query)? };
    options.check_manager(info.verb)?;
    let address = request.extensions().get::<Arc<Peer>>().and_then(|peer| peer.address);
    let mut call = Call {
        server: server.clone(),
        who,
        address,
        verb: info.verb,
        path: path.clone(),
        kind,
        options,
        // What is passed on is negotiated with whom it is passed on to.
        accept: if streams || proxied {
            Accept::default()
        } else {
            Accept::parse(text(headers, ACCEPT), offer)?.for_reader(&info.query, &user_agent)
        },
        content_type: text(headers, CONTENT_TYPE).map(str::to_owned),
        user_agent,
        body: Bytes::new(),
    };
    if streams {
        return proxy::stream(&call, request).await;
    }
    if proxied {
        return proxy::through(&call, request).await;
    }
    let (head, body) = request.into_parts();
    call.body = read_body(&head.headers, body, server.config.max_body_bytes).await?;
    let Some(handshake) = handshake else { return verbs::run(call).await };
    call.accept.messages = true;
    let is_binary = present::encode::encoder(call.accept.encoding).is_binary();
    Ok(handshake.carry(verbs::run(call).await?, is_binary))
}

async fn document(server: &Server, info: &RequestInfo, head: &Parts) -> Result<Response<Body>, ApiError> {
    if !matches!(info.verb, "get" | "head") {
        return Err(ApiError::method_not_allowed(format!("the server does not allow this method on {}", info.path)));
    }
    let (headers, kinds) = (&head.headers, server.kinds());
    match info.path.trim_end_matches('/') {
        "/metrics" => Ok(server.metrics.scrape(server)),
        path if path.starts_with("/openapi/") => {
            // The first one after a change makes megabytes, and others wait for it: not on the workers that answer everybody.
            let (told, path, headers) = (server.aggregation.discovered(), path.to_owned(), headers.clone());
            let (kinds, query) = (kinds.clone(), head.uri.query().unwrap_or_default().to_owned());
            let making = tokio::task::spawn_blocking(move || kinds.documents.openapi(&kinds, &told, &path, &query, &headers));
            making.await.map_err(ApiError::internal)?
        }
        "/openid/v1/jwks" => Ok(present::json(StatusCode::OK, &server.access.tokens.issuer().jwks())),
        "/.well-known/openid-configuration" => Ok(present::json(StatusCode::OK, &server.access.tokens.issuer().discovery())),
        "" => Ok(present::json(StatusCode::OK, &discovery::paths(&catalog(server, &kinds)))),
        path => {
            let form = DiscoveryForm::parse(text(headers, ACCEPT));
            let catalog = catalog(server, &kinds);
            discovery::document(&catalog, server.config.advertise_address, path, form, headers).ok_or_else(ApiError::no_such_resource)
        }
    }
}

/// All that can be asked for, here and elsewhere.
fn catalog<'a>(server: &Server, kinds: &'a Kinds) -> discovery::Catalog<'a> {
    discovery::Catalog::new(kinds, &server.aggregation.table(), &server.aggregation.discovered())
}

/// A request's whole body of at most `limit` bytes.
pub async fn read_body(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let length = text(headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        discard(&mut body).await;
        return Err(ApiError::too_large(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(&mut body).await;
            Err(ApiError::too_large(limit))
        }
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// Reads on for a while: a client that is still sending when the connection closes may never see the answer.
async fn discard(body: &mut Body) {
    let mut left = DISCARDED_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
