//! The objects that every cluster begins with, made at each start where they are missing.

mod endpoint;
mod objects;

use crate::error::ApiError;
use crate::kinds::{Kind, is_namespaced};
use crate::life;
use crate::object;
use crate::server::Server;
use crate::storage::{encode, keys};
use orknet_store::{Commit, Compare, Op};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the server looks whether its own objects are still there.
const INTERVAL: Duration = Duration::from_secs(30);

/// Makes what is missing, says so in the server's state, and keeps looking after it until shutdown.
pub async fn keep(server: Arc<Server>, port: u16) {
    tokio::select! {
        () = server.shutdown.cancelled() => return,
        () = server.storage.caches.filled() => {}
    }
    loop {
        let pause = match once(&server, port).await {
            Ok(()) => {
                if !server.bootstrapped.swap(true, Ordering::AcqRel) {
                    tracing::info!("the cluster's first objects are there");
                }
                INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "the cluster's first objects could not be made");
                Duration::from_millis(500)
            }
        };
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn once(server: &Server, port: u16) -> Result<(), ApiError> {
    server.storage.catch_up().await?;
    for (group, plural, object) in objects::all() {
        ensure(server, group, plural, object).await?;
    }
    endpoint::ensure(server, port).await
}

/// Creates the object unless it is there.
async fn ensure(server: &Server, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version(group, plural) else { return Ok(()) };
    let namespace = object::namespace(&object).to_owned();
    if server.storage.caches.get(kind.descriptor().stored_as, &namespace, object::name(&object)).is_some() {
        return Ok(());
    }
    let new = prepare(&kind, object)?;
    let key = keys::object(kind.descriptor().stored_as, &namespace, object::name(&new));
    let put = Op::Put { key: key.clone().into(), value: encode(&kind.to_stored(new)), ttl: None };
    // Somebody else may have been faster: what is there stays.
    let _: Commit = server.storage.commit(vec![Compare::Absent(key.into())], vec![put]).await?;
    Ok(())
}

/// An object of the server's own, with defaults and the server's fields.
fn prepare(kind: &Kind, object: Value) -> Result<Value, ApiError> {
    let namespace = object::namespace(&object).to_owned();
    let mut new = kind.decode(object).map_err(ApiError::internal)?.object;
    let status = new.get("status").cloned();
    life::before_create(kind, &mut new, if is_namespaced(kind.descriptor()) { &namespace } else { "" });
    if let (Some(status), None) = (status, new.get("status")) {
        new["status"] = status;
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;

    #[test]
    fn every_first_object_passes_its_own_kinds_rules() {
        let kinds = Kinds::new(orknet_resources::registry());
        for (group, plural, object) in objects::all() {
            let kind = kinds.find_any_version(group, plural).expect("registered");
            let prepared = prepare(&kind, object).expect("decodes");
            assert_eq!(kind.validate_create(&prepared), [], "{plural} {}", object::name(&prepared));
        }
    }
}
