//! DELETE of all objects that a list would select.

use super::delete::{DeleteRequest, delete_object, options};
use super::list;
use crate::call::Call;
use crate::error::ApiError;
use crate::present;
use axum::body::Body;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

/// Deletions that run at a time.
const WORKERS: usize = 8;

/// Deletes each selected object as a deletion of its own; answers the list of what was selected.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = options(call)?;
    let (objects, meta) = list::collect(call).await?;
    let each = |object: std::sync::Arc<crate::cache::CachedObject>| {
        let options = &options;
        async move {
            let (namespace, name) = object.place();
            let request = DeleteRequest { kind: &call.kind, namespace, name, options };
            match delete_object(&call.server, &call.who, &request).await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == 404 => Ok(()),
                Err(error) => Err(error),
            }
        }
    };
    stream::iter(objects.iter().cloned()).map(each).buffer_unordered(WORKERS).try_collect::<Vec<()>>().await?;
    Ok(present::list(call, &objects, &meta).await)
}
