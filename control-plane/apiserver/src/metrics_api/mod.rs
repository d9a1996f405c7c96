//! `metrics.k8s.io/v1beta1`, built in: what nodes and pods use, out of what their kubelets tell every few seconds. `scrape` asks the kubelets, `summary`
//! reads their answers, `samples` makes usage of the last two (both pure); here a call is answered. Behaves as metrics-server does, whose place an
//! APIService of this group version may give to another.

mod samples;
mod scrape;
mod summary;

pub use scrape::keep;

use crate::cache::CachedObject;
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use crate::present::{self, ListMeta};
use crate::verbs::{check_fields, selects};
use axum::body::Body;
use http::{Response, StatusCode};
use orknet_resources::kinds::metrics::{NodeMetrics, PodMetrics};
use parking_lot::RwLock;
use samples::Samples;
use serde_json::Value;
use std::sync::Arc;

const NODES: StoredAs = ("", "nodes");
const PODS: StoredAs = ("", "pods");

/// What was scraped.
#[derive(Default)]
pub struct MetricsApi {
    samples: RwLock<Samples>,
}

/// One node's or pod's metrics: 404 when there is no such object, or nothing is known of it yet.
pub async fn get(call: &Call) -> Result<Response<Body>, ApiError> {
    let (of, namespace, name) = (of(call), call.namespace(), &call.path.name[..]);
    let object = call.server.storage.caches.get(of, namespace, name);
    let object = object.ok_or_else(|| ApiError::not_found_resource(of.0, of.1, name))?;
    // Kinds and names of what is not there are those of metrics-server.
    let unknown = || match of {
        NODES => ApiError::not_found_resource(call.names().group, "nodemetrics", name),
        _ => ApiError::not_found_resource(call.names().group, "podmetrics", &format!("{namespace}/{name}")),
    };
    let metrics = metrics(call, &object).ok_or_else(unknown)?;
    Ok(present::object(call, StatusCode::OK, metrics, &[]))
}

/// Those of the objects that the selectors select, as far as they are known. The labels are the objects' own.
pub async fn list(call: &Call) -> Result<Response<Body>, ApiError> {
    check_fields(call)?;
    let Some(cache) = call.server.storage.caches.of(of(call)) else { return Err(ApiError::no_such_resource()) };
    let objects = cache.snapshot(call.namespace()).objects;
    let selected = objects.into_iter().filter(|object| selects(call, object));
    let metrics = selected.filter_map(|object| Some(Arc::new(CachedObject::computed(metrics(call, &object)?))));
    Ok(present::list(call, &metrics.collect::<Vec<_>>(), &ListMeta::default()).await)
}

/// Whose metrics are asked for.
fn of(call: &Call) -> StoredAs {
    if call.names().plural == "nodes" { NODES } else { PODS }
}

fn metrics(call: &Call, object: &CachedObject) -> Option<Value> {
    let samples = call.server.metrics_api.samples.read();
    let (namespace, name) = object.place();
    let shown = |metadata: Value| (serde_json::from_value(metadata).ok(), object::now_seconds());
    if of(call) == NODES {
        let usage = samples.node(name)?;
        let (metadata, now) = shown(object.value()["metadata"].take());
        return serde_json::to_value(NodeMetrics {
            metadata: samples::metadata(&metadata?, now),
            timestamp: Some(samples::time(usage.at)),
            window: samples::window(usage.window),
            usage: usage.amounts(),
            api_version: call.names().api_version(),
            kind: call.names().kind.to_owned(),
        })
        .ok();
    }
    if !samples.has_pod(namespace, name) {
        return None;
    }
    let mut pod = object.value();
    if object::text(&pod, "/status/phase") != "Running" {
        return None;
    }
    let (at, window, containers) = samples.pod(namespace, name, object::text(&pod, "/metadata/uid"))?;
    let (metadata, now) = shown(pod["metadata"].take());
    let metrics = PodMetrics {
        metadata: samples::metadata(&metadata?, now),
        timestamp: Some(samples::time(at)),
        window: samples::window(window),
        containers,
        api_version: call.names().api_version(),
        kind: call.names().kind.to_owned(),
    };
    serde_json::to_value(metrics).ok()
}
