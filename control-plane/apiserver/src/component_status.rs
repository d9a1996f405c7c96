//! ComponentStatus (deprecated): how the store, the controllers and the scheduler are, asked of what the server knows of them. Nothing is stored, and
//! selectors are passed over, as with Kubernetes.

use crate::cache::CachedObject;
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present::{self, ListMeta};
use crate::server::Server;
use axum::body::Body;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// Parts by the names that they have with Kubernetes, with the Lease that says who works.
const WORKERS: [(&str, &str); 2] = [("controller-manager", "kube-controller-manager"), ("scheduler", "kube-scheduler")];
const STORE: &str = "etcd-0";

/// Answers get and list.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut all = statuses(&call.server);
    if call.verb == "get" {
        let found = all.iter().position(|status| object::name(status) == call.path.name).ok_or_else(|| call.not_found())?;
        return Ok(present::object(call, StatusCode::OK, all.swap_remove(found), &[]));
    }
    let revision = call.server.storage.caches.progress().revision;
    let objects: Vec<_> = all.into_iter().map(|status| Arc::new(CachedObject::unversioned(status))).collect();
    Ok(present::list(call, &objects, &ListMeta { revision, ..ListMeta::default() }).await)
}

fn statuses(server: &Server) -> Vec<Value> {
    let mut all: Vec<Value> = WORKERS.iter().map(|(name, lease)| status(name, worker(server, lease))).collect();
    let connected = server.storage.caches.progress().connected;
    all.push(status(STORE, if connected { Ok(()) } else { Err("the store cannot be reached".to_owned()) }));
    all
}

fn worker(server: &Server, lease: &'static str) -> Result<(), String> {
    if server.metrics.is_leader(lease) {
        return Ok(());
    }
    let cached = server.storage.caches.get(("coordination.k8s.io", "leases"), "kube-system", lease);
    held(cached.map(|cached| cached.value()).as_ref(), Timestamp::now().as_second())
}

/// Whether somebody holds a Lease. `now`: Unix seconds.
fn held(lease: Option<&Value>, now: i64) -> Result<(), String> {
    let Some(lease) = lease else { return Err("nobody holds its Lease".to_owned()) };
    let (holder, renewed) = (object::text(lease, "/spec/holderIdentity"), object::text(lease, "/spec/renewTime"));
    let lasts = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or_default();
    match renewed.parse::<Timestamp>() {
        _ if holder.is_empty() => Err("nobody holds its Lease".to_owned()),
        Ok(time) if time.as_second().saturating_add(lasts) >= now => Ok(()),
        _ => Err(format!("its Lease, of {holder}, has not been renewed since {renewed}")),
    }
}

fn status(name: &str, how: Result<(), String>) -> Value {
    let mut condition = json!({ "type": "Healthy", "status": if how.is_ok() { "True" } else { "False" } });
    match how {
        Ok(()) => condition["message"] = "ok".into(),
        Err(why) => condition["error"] = why.into(),
    }
    json!({ "kind": "ComponentStatus", "apiVersion": "v1", "metadata": { "name": name }, "conditions": [condition] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_as_long_as_it_is_renewed() {
        let lease = json!({ "spec": { "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:01:40.000000Z" } });
        assert_eq!(held(Some(&lease), 115), Ok(()));
        assert_eq!(held(Some(&lease), 116), Err("its Lease, of a, has not been renewed since 1970-01-01T00:01:40.000000Z".to_owned()));
        let mut free = lease;
        free["spec"]["holderIdentity"] = "".into();
        assert_eq!(held(Some(&free), 100), Err("nobody holds its Lease".to_owned()));
        assert_eq!(held(None, 100), Err("nobody holds its Lease".to_owned()));
    }
}
