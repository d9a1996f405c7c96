//! DELETE of all objects that a list would select.

use super::delete::{DeleteRequest, delete_object, options};
use super::list;
use crate::call::Call;
use crate::error::ApiError;
use crate::present;
use axum::body::Body;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;
use std::collections::BTreeSet;

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
            let request = DeleteRequest { kind: &call.kind, namespace, name, options, admitted: false };
            let mut warnings = Vec::new();
            match delete_object(&call.server, &call.who, &request, &mut warnings).await {
                Ok(_) => Ok(warnings),
                Err(error) if error.code() == 404 => Ok(warnings),
                Err(error) => Err(error),
            }
        }
    };
    let warnings: Vec<Vec<String>> = stream::iter(objects.iter().cloned()).map(each).buffer_unordered(WORKERS).try_collect().await?;
    // The same one is said once.
    let warnings: Vec<String> = warnings.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let mut response = present::list(call, &objects, &meta).await;
    present::add_warnings(&mut response, &warnings);
    Ok(response)
}
