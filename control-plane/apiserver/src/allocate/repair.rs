//! Brings claims and Services together again, should they ever differ (a store restored from elsewhere): claims without a Service go, Services without
//! claims get them.

use super::{owner, service};
use crate::error::ApiError;
use crate::server::Server;
use crate::storage::keys;
use orknet_store::{Commit, Compare, Op};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(180);
const SERVICES: crate::kinds::StoredAs = ("", "services");

/// Looks at once and then again and again, until shutdown.
pub async fn repair(server: Arc<Server>) {
    tokio::select! {
        () = server.shutdown.cancelled() => return,
        () = server.storage.caches.filled() => {}
    }
    loop {
        match once(&server).await {
            Ok(0) => {}
            Ok(repaired) => tracing::warn!(repaired, "claims on addresses and ports did not match the services"),
            Err(error) => tracing::warn!(%error, "claims could not be checked"),
        }
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// One look; answers how many claims were changed.
pub async fn once(server: &Server) -> Result<usize, ApiError> {
    let storage = &server.storage;
    storage.catch_up().await?;
    let mut repaired = 0;
    for (key, claim) in server.claims.all() {
        let claimer: Value = serde_json::from_slice(&claim.owner).unwrap_or_default();
        let text = |field: &str| claimer.get(field).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let has_it = |object: &Value| service::held(object).keys().any(|held| held == key);
        if storage.caches.get(SERVICES, namespace, name).is_some_and(|cached| has_it(&cached.value())) {
            continue;
        }
        // The cache may be between the two halves of one transaction; the store is not.
        let stored = storage.get(&keys::object(SERVICES, namespace, name)).await?;
        if !stored.is_some_and(|stored| has_it(&stored.object)) {
            let compare = Compare::ModRevision(key.clone(), claim.revision);
            if matches!(storage.commit(vec![compare], vec![Op::Delete { key }]).await?, Commit::Done(_)) {
                repaired += 1;
            }
        }
    }
    for object in storage.caches.values(SERVICES) {
        for key in service::held(&object).keys().filter(|key| !server.claims.has(key)) {
            // Serialising a value made of JSON cannot fail.
            let value = serde_json::to_vec(&owner(&object)).unwrap_or_default().into();
            let put = Op::Put { key: key.clone(), value, ttl: None };
            let place = keys::object(SERVICES, crate::object::namespace(&object), crate::object::name(&object));
            let Ok(revision) = crate::object::resource_version(&object).parse() else { continue };
            let compares = vec![Compare::Absent(key), Compare::ModRevision(place.into(), revision)];
            if matches!(storage.commit(compares, vec![put]).await?, Commit::Done(_)) {
                repaired += 1;
            }
        }
    }
    Ok(repaired)
}
