//! Discovery documents by path, with entity tags, so that clients may keep them.

use super::catalog::Catalog;
use super::{aggregated, legacy, openapi_v2};
use crate::aggregation::{Discovered, GroupVersion};
use crate::error::ApiError;
use crate::http::accept::{DiscoveryForm, Offer};
use crate::kinds::{Kind, Kinds};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use orknet_resources::{Resource, openapi};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// What is kept of the documents of one set of kinds: the index of OpenAPI, small and asked for by every client, and the hashes in it. The documents
/// it leads to are made when asked for, which clients do once; the old one of all kinds is asked for again and again, and kept from the first time on.
#[derive(Default)]
pub struct Documents {
    openapi_index: OnceLock<Bytes>,
    /// Version 2, as JSON and as protobuf, each with its hash: megabytes are not hashed anew for each request.
    openapi_v2: [OnceLock<(Bytes, String)>; 2],
    /// By group version, of those that only have kinds of the registry: the same for every set of kinds.
    built_in: Arc<OnceLock<Hashes>>,
    /// Of those that have others: what no change touched is the same as before.
    added: HashMap<String, Arc<OnceLock<String>>>,
}

const JSON: &str = "application/json";

type Hashes = HashMap<String, String>;

impl Documents {
    /// What is kept of the documents of the next set: `kinds`, which differ from those of this one in the group versions `touched` at most.
    pub fn after(&self, kinds: &[Kind], touched: &BTreeSet<String>) -> Self {
        let mut added = HashMap::new();
        for group_version in kinds.iter().filter(|kind| kind.is_added()).map(|kind| kind.descriptor().api_version()) {
            let kept = self.added.get(&group_version).filter(|_| !touched.contains(&group_version));
            added.entry(group_version).or_insert_with(|| kept.cloned().unwrap_or_default());
        }
        Self { openapi_index: OnceLock::new(), openapi_v2: Default::default(), built_in: self.built_in.clone(), added }
    }

    /// The document at an OpenAPI path: `/openapi/v2`, `/openapi/v3`, `/openapi/v3/apis/apps/v1`. With the hash of the index it may be kept for good.
    /// `told`: what extension servers have told of theirs, which is asked for there.
    pub fn openapi(
        &self,
        kinds: &Kinds,
        told: &HashMap<GroupVersion, Discovered>,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        let [json, protobuf] = &self.openapi_v2;
        let v2 = || json.get_or_init(|| with_hash(openapi::v2_document(&resources(kinds, |_| true)).into()));
        if path == "/openapi/v2" && openapi_v2::is_asked_for(accepted) {
            let (document, hash) = protobuf.get_or_init(|| with_hash(openapi_v2::document(&v2().0).into()));
            return Ok(tagged(document.clone(), hash, openapi_v2::MEDIA_TYPE, headers));
        }
        if !accepted.contains("json") && !accepted.contains("*/*") {
            return Err(ApiError::not_acceptable(Offer { protobuf: false, stream: false }));
        }
        let (document, hash) = match path.trim_start_matches("/openapi/") {
            "v2" => v2().clone(),
            "v3" => with_hash(with_told(self.openapi_index.get_or_init(|| self.index(kinds)).clone(), told)),
            other => {
                let root = other.strip_prefix("v3/").ok_or_else(ApiError::no_such_resource)?;
                with_hash(Bytes::from(self.v3(kinds, root).ok_or_else(ApiError::no_such_resource)?))
            }
        };
        let mut response = tagged(document, &hash, JSON, headers);
        if form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "hash" && value == hash) {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }

    /// The document of the group version at `root` (`api/v1`, `apis/apps/v1`). One that has kinds that came at run time is made of its own kinds alone.
    fn v3(&self, kinds: &Kinds, root: &str) -> Option<Vec<u8>> {
        let group_version = group_version(root);
        let of = if self.added.contains_key(group_version) {
            resources(kinds, |kind| kind.descriptor().api_version() == group_version)
        } else {
            resources(kinds, |kind| !kind.is_added())
        };
        openapi::v3_document(&of, root)
    }

    fn index(&self, kinds: &Kinds) -> Bytes {
        let built_in = self.built_in.get_or_init(|| openapi::v3_hashes(&resources(kinds, |kind| !kind.is_added())).into_iter().collect());
        let hash = |root: &str| match self.added.get(group_version(root)) {
            Some(hash) => hash.get_or_init(|| self.v3(kinds, root).map(|document| openapi::hash(&document)).unwrap_or_default()).clone(),
            None => built_in.get(root).cloned().unwrap_or_default(),
        };
        let roots = openapi::group_versions(&resources(kinds, |_| true));
        openapi::v3_index(roots.iter().map(|root| (&root[..], hash(root)))).into()
    }
}

/// The document at a discovery path (without a closing slash); `None` when there is none.
pub fn document(catalog: &Catalog<'_>, address: IpAddr, path: &str, form: DiscoveryForm, headers: &HeaderMap) -> Option<Response<Body>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (value, version) = match (&parts[..], form) {
        (["api"], DiscoveryForm::Aggregated(version)) => (aggregated::group_discovery(catalog, true, version), Some(version)),
        (["apis"], DiscoveryForm::Aggregated(version)) => (aggregated::group_discovery(catalog, false, version), Some(version)),
        (["api"], DiscoveryForm::Legacy) => (legacy::api_versions(catalog, address), None),
        (["apis"], DiscoveryForm::Legacy) => (legacy::group_list(catalog), None),
        (["api", version], _) => (legacy::resource_list(catalog.kinds, "", version)?, None),
        (["apis", group], _) => (legacy::group(catalog, group)?, None),
        (["apis", group, version], _) => (legacy::resource_list(catalog.kinds, group, version)?, None),
        _ => return None,
    };
    let document = Bytes::from(value.to_string());
    let mut response = tagged(document.clone(), &openapi::hash(&document), JSON, headers);
    if let Some(version) = version {
        let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        // One of two versions that are plain text.
        if let Ok(media) = HeaderValue::from_str(&media) {
            response.headers_mut().insert(CONTENT_TYPE, media);
        }
    }
    Some(response)
}

fn with_hash(document: Bytes) -> (Bytes, String) {
    let hash = openapi::hash(&document);
    (document, hash)
}

/// The index of OpenAPI documents with those of extension servers.
fn with_told(index: Bytes, told: &HashMap<GroupVersion, Discovered>) -> Bytes {
    let places: Vec<_> = told.iter().filter_map(|(key, told)| Some((key, told.openapi.as_ref()?))).collect();
    if places.is_empty() {
        return index;
    }
    let Ok(mut whole) = serde_json::from_slice::<Value>(&index) else { return index };
    for ((group, version), place) in places {
        whole["paths"][format!("apis/{group}/{version}")] = json!({ "serverRelativeURL": place });
    }
    whole.to_string().into()
}

fn resources(kinds: &Kinds, which: impl Fn(&Kind) -> bool) -> Vec<&dyn Resource> {
    kinds.iter().filter(|kind| which(kind)).map(|kind| &**kind).collect()
}

/// `v1` of `api/v1`, `apps/v1` of `apis/apps/v1`.
fn group_version(root: &str) -> &str {
    root.split_once('/').map_or(root, |(_, group_version)| group_version)
}

/// 304 when the client has it already.
fn tagged(document: Bytes, hash: &str, media_type: &'static str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{hash}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|known| known == tag);
    let mut response = Response::new(if known { Body::empty() } else { Body::from(document) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    out.insert(VARY, HeaderValue::from_static("Accept"));
    // Hexadecimal digits in quotes are a header value.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(ETAG, tag);
    }
    response
}
