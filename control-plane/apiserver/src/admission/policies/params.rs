//! The objects that a binding gives its policy as parameters.

use super::policy::{KindReference, ParamReference};
use crate::admission::chain::Attributes;
use crate::error::ApiError;
use crate::kinds::{Kind, is_namespaced, is_stored};
use crate::server::Server;
use crate::storage::keys;
use serde_json::Value;

/// The kind that is referred to, if it is served.
pub fn kind_of(reference: &KindReference, server: &Server) -> Option<Kind> {
    let is_it = |kind: &&Kind| {
        let names = kind.descriptor();
        (names.group, names.version, names.kind) == (&reference.group[..], &reference.version[..], &reference.kind[..]) && is_stored(names)
    };
    server.kinds().iter().find(is_it).cloned()
}

/// The parameters to evaluate with, one after the other: `None` for once without. The inner error says what is wrong with the binding.
pub async fn of(
    kind: Option<&Kind>,
    reference: Option<&ParamReference>,
    what: &Attributes<'_>,
) -> Result<Result<Vec<Option<Value>>, String>, ApiError> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(Ok(vec![None])) };
    let names = kind.descriptor();
    let namespace = match (is_namespaced(names), &reference.namespace[..]) {
        (true, "") if what.namespace.is_empty() => {
            return Ok(Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned()));
        }
        (true, "") => what.namespace,
        (true, namespace) => namespace,
        (false, "") => "",
        (false, _) => return Ok(Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned())),
    };
    let storage = &what.server.storage;
    let found: Vec<Option<Value>> = match &reference.selector {
        Some(selector) => {
            let snapshot = storage.caches.of(names.stored_as).map(|cache| cache.snapshot(namespace));
            let objects = snapshot.iter().flat_map(|snapshot| &snapshot.objects);
            objects.filter(|object| selector.matches(|key| object.label(key))).map(|object| Some(object.value_as(kind))).collect()
        }
        None => match storage.caches.get(names.stored_as, namespace, &reference.name) {
            Some(cached) => vec![Some(cached.value_as(kind))],
            // It may have been made a moment ago.
            None => {
                let stored = storage.get(&keys::object(names.stored_as, namespace, &reference.name)).await?;
                stored.map(|stored| Some(kind.from_stored(stored.object))).into_iter().collect()
            }
        },
    };
    if found.is_empty() && reference.must_be_found {
        return Ok(Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()));
    }
    Ok(Ok(found))
}
