//! The namespace that a request is in: where it is found, that nothing is made in one that is not there or is going away, and that the cluster's own
//! stay.

use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs, is_namespaced};
use crate::object;
use crate::server::Server;
use crate::storage::{Stored, keys};
use orknet_store::Compare;
use serde_json::Value;
use std::sync::Arc;

const NAMESPACES: StoredAs = ("", "namespaces");
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// A namespace, as this server last saw it or as the store has it.
pub enum Found {
    Cached(Arc<CachedObject>),
    Stored(Stored),
}

impl Found {
    pub fn label(&self, key: &str) -> Option<&str> {
        match self {
            Self::Cached(namespace) => namespace.label(key),
            Self::Stored(namespace) => namespace.object.pointer("/metadata/labels")?.get(key)?.as_str(),
        }
    }

    pub fn value(&self) -> Value {
        match self {
            Self::Cached(namespace) => namespace.value(),
            Self::Stored(namespace) => namespace.versioned(),
        }
    }
}

/// Of the cache, else of the store: it may have been made a moment ago. `None` when there is none of the name.
pub async fn find(server: &Server, name: &str) -> Result<Option<Found>, ApiError> {
    if let Some(cached) = server.storage.caches.get(NAMESPACES, "", name) {
        return Ok(Some(Found::Cached(cached)));
    }
    Ok(server.storage.get(&keys::object(NAMESPACES, "", name)).await?.map(Found::Stored))
}

/// 404 when the object's namespace is not there, 403 when it is terminating. Answers what must still hold when the object is written: that the namespace
/// has not been touched since. So nothing is made that its deletion would not see.
pub async fn must_be_open(server: &Server, kind: &Kind, new: &Value) -> Result<Option<Compare>, ApiError> {
    let (namespace, name) = (object::namespace(new), object::name(new));
    if !is_namespaced(kind.descriptor()) || namespace.is_empty() {
        return Ok(None);
    }
    let key = keys::object(NAMESPACES, "", namespace);
    let found = find(server, namespace).await?.ok_or_else(|| ApiError::not_found_resource("", "namespaces", namespace))?.value();
    let revision = object::resource_version(&found).parse().map_err(|_| ApiError::internal("a namespace has no version"))?;
    if object::is_deleting(&found) || object::text(&found, "/status/phase") == "Terminating" {
        return Err(ApiError::namespace_terminating(kind.descriptor(), name, namespace));
    }
    Ok(Some(Compare::ModRevision(key.into(), revision)))
}

/// 403 for the namespaces that a cluster cannot be without.
pub fn may_be_deleted(kind: &Kind, old: &Value) -> Result<(), ApiError> {
    let names = kind.descriptor();
    if names.stored_as == NAMESPACES && IMMORTAL.contains(&object::name(old)) {
        return Err(ApiError::forbidden(names, object::name(old), "this namespace may not be deleted"));
    }
    Ok(())
}
