//! Nothing is made in a namespace that is not there or is going away; the cluster's own namespaces stay.

use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs, is_namespaced};
use crate::object;
use crate::server::Server;
use crate::storage::keys;
use serde_json::Value;

const NAMESPACES: StoredAs = ("", "namespaces");
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// 404 when the object's namespace is not there, 403 when it is terminating.
pub async fn must_be_open(server: &Server, kind: Kind, new: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (object::namespace(new), object::name(new));
    if !is_namespaced(kind.descriptor()) || namespace.is_empty() {
        return Ok(());
    }
    let cached = server.storage.caches.get(NAMESPACES, "", namespace).map(|found| found.value());
    let found = match cached {
        Some(found) => Some(found),
        // It may have been made a moment ago.
        None => server.storage.get(&keys::object(NAMESPACES, "", namespace)).await?.map(|stored| stored.object),
    };
    let found = found.ok_or_else(|| ApiError::not_found_resource("", "namespaces", namespace))?;
    if object::is_deleting(&found) || object::text(&found, "/status/phase") == "Terminating" {
        return Err(ApiError::namespace_terminating(kind.descriptor(), name, namespace));
    }
    Ok(())
}

/// 403 for the namespaces that a cluster cannot be without.
pub fn may_be_deleted(kind: Kind, old: &Value) -> Result<(), ApiError> {
    let names = kind.descriptor();
    if names.stored_as == NAMESPACES && IMMORTAL.contains(&object::name(old)) {
        return Err(ApiError::forbidden(names, object::name(old), "this namespace may not be deleted"));
    }
    Ok(())
}
