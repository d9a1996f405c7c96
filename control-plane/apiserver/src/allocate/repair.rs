//! Brings claims and Services together again, should they ever differ (a store restored from elsewhere): claims without a Service go, Services without
//! claims get them.

use super::{SERVICES, owner, service};
use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::server::Server;
use crate::storage::keys;
use crate::turns::Turns;
use bytes::Bytes;
use orknet_store::{Commit, Compare, Op};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(180);

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
    let Some(services) = storage.caches.of(SERVICES) else { return Ok(repaired) };
    let holders = holders(&services.snapshot("").objects).await;
    let mut turns = Turns::default();
    for (key, claim) in server.claims.all() {
        turns.take().await;
        if holders.get(&key) == Some(&claim.owner) {
            continue;
        }
        let claimer: Value = serde_json::from_slice(&claim.owner).unwrap_or_default();
        let text = |field: &str| claimer.get(field).and_then(Value::as_str).unwrap_or_default();
        // The cache may be between the two halves of one transaction; the store is not.
        let stored = storage.get(&keys::object(SERVICES, text("namespace"), text("name"))).await?;
        if !stored.is_some_and(|stored| service::held(&stored.object).keys().any(|held| held == key)) {
            let compare = Compare::ModRevision(key.clone(), claim.revision);
            if matches!(storage.commit(vec![compare], vec![Op::Delete { key }]).await?, Commit::Done(_)) {
                repaired += 1;
            }
        }
    }
    for (key, owner) in holders {
        turns.take().await;
        if server.claims.has(&key) {
            continue;
        }
        let claimer: Value = serde_json::from_slice(&owner).unwrap_or_default();
        let text = |field: &str| claimer.get(field).and_then(Value::as_str).unwrap_or_default();
        let place = keys::object(SERVICES, text("namespace"), text("name"));
        let Some(stored) = storage.get(&place).await? else { continue };
        if !service::held(&stored.object).keys().any(|held| held == key) {
            continue;
        }
        let compares = vec![Compare::Absent(key.clone()), Compare::ModRevision(place.into(), stored.revision)];
        if matches!(storage.commit(compares, vec![Op::Put { key, value: owner, ttl: None }]).await?, Commit::Done(_)) {
            repaired += 1;
        }
    }
    Ok(repaired)
}

/// The claims that the Services should have, and what each should say. One Service after the other is parsed, since all of them would take hundreds
/// of megabytes.
async fn holders(services: &[Arc<CachedObject>]) -> HashMap<Bytes, Bytes> {
    let (mut holders, mut turns) = (HashMap::with_capacity(services.len()), Turns::default());
    for service in services {
        turns.take().await;
        let object = service.value();
        // Serialising a value made of JSON cannot fail.
        let owner = Bytes::from(serde_json::to_vec(&owner(&object)).unwrap_or_default());
        holders.extend(service::held(&object).keys().map(|key| (key, owner.clone())));
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use serde_json::json;

    fn services(count: u8) -> Vec<Arc<CachedObject>> {
        let service = |number: u8| {
            let metadata = json!({ "name": format!("s{number}"), "namespace": "default" });
            json!({ "metadata": metadata, "spec": { "clusterIP": format!("10.96.1.{number}"), "ports": [{ "nodePort": 30_000 + u16::from(number) }] } })
        };
        (0..count).map(|number| Arc::new(CachedObject::new(&[], service(number), 1))).collect()
    }

    #[tokio::test]
    async fn a_services_claims_name_it() {
        let (services, address) = (services(200), "10.96.1.150".parse().expect("address"));
        let holders = holders(&services).await;
        let owner = Bytes::from(serde_json::to_vec(&json!({ "namespace": "default", "name": "s150" })).expect("JSON"));
        assert_eq!(holders.len(), 400);
        assert_eq!(holders.get(&keys::cluster_ip(address)), Some(&owner));
        assert_eq!(holders.get(&keys::node_port(30_150)), Some(&owner));
    }

    #[test]
    fn a_look_at_many_services_leaves_others_their_turn() {
        assert!(holders(&services(10)).now_or_never().is_some());
        assert!(holders(&services(200)).now_or_never().is_none());
    }
}
