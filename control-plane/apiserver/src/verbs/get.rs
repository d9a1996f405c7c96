//! GET of one object.

use crate::call::Call;
use crate::custom::convert;
use crate::error::ApiError;
use crate::present;
use axum::body::Body;
use http::{Response, StatusCode};

/// The newest state; with `resourceVersion` a state from the cache that is not older, with 0 any.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let storage = &call.server.storage;
    let object = match call.resource_version() {
        None => match storage.get(&call.key()).await? {
            Some(stored) => Some(convert::read(&call.server, &call.kind, stored.versioned()).await?),
            None => None,
        },
        Some(revision) => {
            match revision {
                0 => storage.catch_up_if_told().await,
                revision => storage.reach(revision).await?,
            }
            let cached = storage.caches.get(call.names().stored_as, call.namespace(), &call.path.name);
            let shown = convert::objects(&call.server, &call.kind, cached.into_iter().collect(), true).await?;
            shown.first().map(|object| object.value_as(&call.kind))
        }
    };
    let object = object.ok_or_else(|| call.not_found())?;
    Ok(present::object(call, StatusCode::OK, object, &[]))
}
