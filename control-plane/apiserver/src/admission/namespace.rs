//! Nothing is made in a namespace that is not there or is going away; the cluster's own namespaces stay.

use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs, is_namespaced};
use crate::object;
use crate::server::Server;
use crate::storage::keys;
use orknet_store::Compare;
use serde_json::Value;

const NAMESPACES: StoredAs = ("", "namespaces");
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// 404 when the object's namespace is not there, 403 when it is terminating. Answers what must still hold when the object is written: that the namespace
/// has not been touched since. So nothing is made that its deletion would not see.
pub async fn must_be_open(server: &Server, kind: &Kind, new: &Value) -> Result<Option<Compare>, ApiError> {
    let (namespace, name) = (object::namespace(new), object::name(new));
    if !is_namespaced(kind.descriptor()) || namespace.is_empty() {
        return Ok(None);
    }
    let key = keys::object(NAMESPACES, "", namespace);
    let cached = server.storage.caches.get(NAMESPACES, "", namespace).map(|found| found.value());
    let cached = cached.and_then(|found| Some((object::resource_version(&found).parse().ok()?, found)));
    let found = match cached {
        Some(found) => Some(found),
        // It may have been made a moment ago.
        None => server.storage.get(&key).await?.map(|stored| (stored.revision, stored.object)),
    };
    let (revision, found) = found.ok_or_else(|| ApiError::not_found_resource("", "namespaces", namespace))?;
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
