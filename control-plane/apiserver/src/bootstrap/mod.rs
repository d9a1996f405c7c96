//! The objects that every cluster begins with, made at each start where they are missing; default roles and bindings get
//! what they lack.

mod endpoint;
mod objects;
mod service_cidr;

use crate::allocate;
use crate::error::ApiError;
use crate::kinds::{Kind, is_namespaced};
use crate::life;
use crate::object;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::storage::{encode, keys};
use crate::verbs::write::{Update, update};
use bytes::Bytes;
use orknet_auth::bootstrap::reconciled;
use orknet_resources::kinds::flow_schema::first;
use orknet_store::{Commit, Compare, Op};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most objects that are made by one commit.
const TOGETHER: usize = orknet_store::MAX_OPS / 2;
/// How often the server looks whether its own objects are still there.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between two tries where that failed.
const RETRY: Duration = Duration::from_millis(500);

/// Makes what is missing, says so in the server's state, and keeps looking after it until shutdown.
pub async fn keep(server: Arc<Server>, port: u16) {
    tokio::select! {
        () = server.shutdown.cancelled() => return,
        () = server.storage.caches.filled() => {}
    }
    while let Err(error) = once(&server, port).await {
        tracing::warn!(%error, "the cluster's first objects could not be made");
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    server.bootstrapped.store(true, Ordering::Release);
    tracing::info!("the cluster's first objects are there");
    let objects = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            while let Err(error) = once(&server, port).await {
                tracing::warn!(%error, "the cluster's first objects could not be made");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tokio::join!(server.shutdown.run_until_cancelled(objects), endpoint::keep(&server, port));
}

async fn once(server: &Server, port: u16) -> Result<(), ApiError> {
    server.storage.catch_up().await?;
    let mut missing = Vec::new();
    for (group, plural, object) in objects::all() {
        if group == objects::RBAC && !server.bootstrapped.load(Ordering::Acquire) {
            reconcile(server, group, plural, &object, reconciled).await?;
        }
        if group == first::GROUP {
            reconcile(server, group, plural, &object, objects::kept_flow_object).await?;
        }
        missing.extend(unless_there(server, group, plural, object)?);
    }
    for some in missing.chunks(TOGETHER) {
        create(server, some).await?;
    }
    service_cidr::ensure(server).await?;
    if !server.bootstrapped.load(Ordering::Acquire) {
        match allocate::adopt(server).await {
            Ok(0) => {}
            Ok(adopted) => tracing::info!(adopted, "addresses that Services had already have IPAddresses now"),
            // A store that is full keeps no server from serving what there is; the controllers write what is missing.
            Err(error) => tracing::warn!(%error, "addresses that Services have already have no IPAddresses"),
        }
    }
    endpoint::ensure(server, port).await?;
    // Whoever is told that the server is ready finds the roles in force.
    server.storage.catch_up().await?;
    Ok(())
}

/// Creates the object unless it is there.
async fn ensure(server: &Server, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    match unless_there(server, group, plural, object)? {
        Some(missing) => create(server, &[missing]).await,
        None => Ok(()),
    }
}

/// Creates those that are not there, of one kind, in as few commits as there can be.
pub async fn ensure_all(server: &Server, group: &str, plural: &str, objects: Vec<Value>) -> Result<(), ApiError> {
    let missing = objects.into_iter().map(|object| unless_there(server, group, plural, object)).collect::<Result<Vec<_>, _>>()?;
    for some in missing.into_iter().flatten().collect::<Vec<_>>().chunks(TOGETHER) {
        create(server, some).await?;
    }
    Ok(())
}

/// Key and value of an object that is to be created; `None` when it is there.
fn unless_there(server: &Server, group: &str, plural: &str, object: Value) -> Result<Option<(String, Bytes)>, ApiError> {
    let Some(kind) = server.kinds().find_any_version(group, plural) else { return Ok(None) };
    let namespace = object::namespace(&object).to_owned();
    if server.storage.caches.get(kind.descriptor().stored_as, &namespace, object::name(&object)).is_some() {
        return Ok(None);
    }
    let new = prepare(&kind, object)?;
    let key = keys::object(kind.descriptor().stored_as, &namespace, object::name(&new));
    Ok(Some((key, encode(&kind.to_stored(new)))))
}

/// Creates them, in one commit where none has appeared meanwhile. Somebody else may have been faster: what is there stays.
async fn create(server: &Server, objects: &[(String, Bytes)]) -> Result<(), ApiError> {
    let commit = |objects: &[(String, Bytes)]| {
        let compares = objects.iter().map(|(key, _)| Compare::Absent(key.clone().into())).collect();
        let puts = objects.iter().map(|(key, value)| Op::Put { key: key.clone().into(), value: value.clone(), ttl: None }).collect();
        server.storage.commit(compares, puts)
    };
    if let Commit::Failed { .. } = commit(objects).await? {
        for object in objects {
            let _: Commit = commit(std::slice::from_ref(object)).await?;
        }
    }
    Ok(())
}

/// An object of the start that is there gets what it lacks: a default role or binding at the server's start.
async fn reconcile(
    server: &Server,
    group: &str,
    plural: &str,
    wanted: &Value,
    reconciled: fn(&Value, &Value) -> Option<Value>,
) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version(group, plural) else { return Ok(()) };
    let (namespace, name) = (object::namespace(wanted), object::name(wanted));
    let found = server.storage.caches.get(kind.descriptor().stored_as, namespace, name);
    if found.and_then(|found| reconciled(wanted, &found.value())).is_none() {
        return Ok(());
    }
    let what = Update::own(&kind, namespace, name);
    let change = |old: &Value, _: u64| Ok(reconciled(wanted, old).unwrap_or_else(|| old.clone()));
    match update(server, &server_identity(), &what, change).await {
        // Deleted meanwhile: it is made anew.
        Err(error) if error.code() == 404 => Ok(()),
        done => done.map(|_| tracing::info!(name, plural, "an object of the start was brought up to date")),
    }
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
        let kinds = Kinds::new(crate::kinds::own());
        for (group, plural, object) in objects::all() {
            let kind = kinds.find_any_version(group, plural).expect("registered");
            let prepared = prepare(&kind, object).expect("decodes");
            assert_eq!(kind.validate_create(&prepared), [], "{plural} {}", object::name(&prepared));
        }
    }
}
