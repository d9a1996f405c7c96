//! Discovery documents by path, with entity tags, so that clients may keep them.

use super::{aggregated, legacy};
use crate::error::ApiError;
use crate::http::accept::DiscoveryForm;
use crate::kinds::Kinds;
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use orknet_resources::openapi;
use std::net::IpAddr;
use std::sync::OnceLock;

/// See the module.
#[derive(Default)]
pub struct Documents {
    /// Small and asked for by every client; the documents themselves are made when asked for.
    openapi_index: OnceLock<Bytes>,
}

impl Documents {
    /// The document at a discovery path (without a closing slash); `None` when there is none.
    pub fn discovery(
        &self,
        kinds: &Kinds,
        address: IpAddr,
        path: &str,
        form: DiscoveryForm,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (value, version) = match (&parts[..], form) {
            (["api"], DiscoveryForm::Aggregated(version)) => (aggregated::group_discovery(kinds, true, version), Some(version)),
            (["apis"], DiscoveryForm::Aggregated(version)) => (aggregated::group_discovery(kinds, false, version), Some(version)),
            (["api"], DiscoveryForm::Legacy) => (legacy::api_versions(kinds, address), None),
            (["apis"], DiscoveryForm::Legacy) => (legacy::group_list(kinds), None),
            (["api", version], _) => (legacy::resource_list(kinds, "", version)?, None),
            (["apis", group], _) => (legacy::group(kinds, group)?, None),
            (["apis", group, version], _) => (legacy::resource_list(kinds, group, version)?, None),
            _ => return None,
        };
        let document = Bytes::from(value.to_string());
        let mut response = tagged(document.clone(), &openapi::hash(&document), headers);
        if let Some(version) = version {
            let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
            // One of two versions that are plain text.
            if let Ok(media) = HeaderValue::from_str(&media) {
                response.headers_mut().insert(CONTENT_TYPE, media);
            }
        }
        Some(response)
    }

    /// The document at an OpenAPI path: `/openapi/v2`, `/openapi/v3`, `/openapi/v3/apis/apps/v1`. With the hash of the index it may be kept for good.
    pub fn openapi(&self, path: &str, query: &str, headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
        let registry = orknet_resources::registry();
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        if path == "/openapi/v2" && accepted.contains("proto-openapi.spec.v2") {
            return Ok(v2_protobuf());
        }
        if !accepted.contains("json") && !accepted.contains("*/*") {
            return Err(ApiError::not_acceptable());
        }
        let document = match path.trim_start_matches("/openapi/") {
            "v2" => openapi::v2_document(registry).into(),
            "v3" => self.openapi_index.get_or_init(|| openapi::v3_index(registry).into()).clone(),
            other => {
                let group_version = other.strip_prefix("v3/").ok_or_else(ApiError::no_such_resource)?;
                Bytes::from(openapi::v3_document(registry, group_version).ok_or_else(ApiError::no_such_resource)?)
            }
        };
        let hash = openapi::hash(&document);
        let mut response = tagged(document, &hash, headers);
        if form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "hash" && value == hash) {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }
}

/// The protobuf form of version 2 (`openapi.v2.Document`), which kubectl asks for only about kinds that version 3 does not have: the head, for it is
/// to see that they are not here either. All that there is, is in the JSON forms.
fn v2_protobuf() -> Response<Body> {
    // swagger: "2.0"; info { title: "Kubernetes", version: "v1.33.0" }; paths {}.
    const DOCUMENT: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.33.0\x42\x00";
    let mut response = Response::new(Body::from(DOCUMENT));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"));
    response
}

/// 304 when the client has it already.
fn tagged(document: Bytes, hash: &str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{hash}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|known| known == tag);
    let mut response = Response::new(if known { Body::empty() } else { Body::from(document) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out.insert(VARY, HeaderValue::from_static("Accept"));
    // Hexadecimal digits in quotes are a header value.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(ETAG, tag);
    }
    response
}
