//! The objects that a binding gives its policy as parameters.

use super::policy::{KindReference, ParamReference};
use crate::admission::chain::Attributes;
use crate::admission::webhooks::matching::namespace_of;
use crate::cache::CachedObject;
use crate::custom::convert;
use crate::error::ApiError;
use crate::kinds::{Kind, is_namespaced, is_stored};
use crate::server::Server;
use crate::storage::keys;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// The kind that is referred to, if it is served.
pub fn kind_of(reference: &KindReference, server: &Server) -> Option<Kind> {
    let is_it = |kind: &&Kind| {
        let names = kind.descriptor();
        (names.group, names.version, names.kind) == (&reference.group[..], &reference.version[..], &reference.kind[..]) && is_stored(names)
    };
    server.kinds().iter().find(is_it).cloned()
}

/// Parameters of one evaluation. Those of the cache are shared with it, and read one by one: whoever makes them decides how many there are.
pub enum Parameters {
    /// Once without.
    None,
    Cached(Arc<CachedObject>, Kind),
    Stored(Value),
}

impl Parameters {
    pub fn value(&self) -> Cow<'_, Value> {
        match self {
            Self::None => Cow::Owned(Value::Null),
            Self::Cached(object, kind) => Cow::Owned(object.value_as(kind)),
            Self::Stored(object) => Cow::Borrowed(object),
        }
    }
}

/// The parameters to evaluate with, one after the other. The inner error says what is wrong with the binding.
pub async fn of(
    kind: Option<&Kind>,
    reference: Option<&ParamReference>,
    what: &Attributes<'_>,
) -> Result<Result<Vec<Parameters>, String>, ApiError> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(Ok(vec![Parameters::None])) };
    let names = kind.descriptor();
    let namespace = match (is_namespaced(names), &reference.namespace[..]) {
        (true, "") if namespace_of(what).is_empty() => {
            return Ok(Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned()));
        }
        // A Namespace has its parameters in itself.
        (true, "") => namespace_of(what),
        (true, namespace) => namespace,
        (false, "") => "",
        (false, _) => return Ok(Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned())),
    };
    let storage = &what.server.storage;
    let found: Vec<Parameters> = match &reference.selector {
        Some(selector) => {
            let snapshot = storage.caches.of(names.stored_as).map(|cache| cache.snapshot(namespace));
            let objects = convert::objects(what.server, kind, snapshot.map(|snapshot| snapshot.objects).unwrap_or_default(), true).await?;
            objects
                .into_iter()
                .filter(|object| selector.matches(|key| object.label(key)))
                .map(|object| Parameters::Cached(object, kind.clone()))
                .collect()
        }
        None => match storage.caches.get(names.stored_as, namespace, &reference.name) {
            Some(cached) => {
                let converted = convert::objects(what.server, kind, vec![cached], true).await?;
                converted.into_iter().map(|object| Parameters::Cached(object, kind.clone())).collect()
            }
            // It may have been made a moment ago.
            None => match storage.get(&keys::object(names.stored_as, namespace, &reference.name)).await? {
                Some(stored) => vec![Parameters::Stored(convert::read(what.server, kind, stored.object).await?)],
                None => Vec::new(),
            },
        },
    };
    if found.is_empty() && reference.must_be_found {
        return Ok(Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()));
    }
    Ok(Ok(found))
}
