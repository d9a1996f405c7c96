//! The verbs, one file each, generic over kinds: which one a call means.

mod create;
mod delete;
mod delete_collection;
mod get;
pub mod held;
mod list;
mod patch;
mod update;
mod watch;

pub mod write;

pub use create::check_place;
pub use delete::{DeleteRequest, delete_object};
pub use list::{check_fields, selects};
pub use patch::patch_option;

use crate::call::Call;
use crate::error::ApiError;
use crate::{component_status, metrics_api, review, subresource};
use axum::body::Body;
use http::Response;

/// Answers a call. Kinds and subresources that do not have the verb answer 405.
pub async fn run(call: Call) -> Result<Response<Body>, ApiError> {
    if call.subresource().is_none() && !call.names().verbs.contains(&call.verb) {
        return Err(call.method_not_allowed());
    }
    let is_stored = crate::kinds::is_stored(call.names());
    match (call.verb, &call.path.subresource[..]) {
        // What is only read is made for the answer.
        ("get" | "list", "") if !is_stored && call.names().group.is_empty() => component_status::run(&call).await,
        ("get", "") if !is_stored => metrics_api::get(&call).await,
        ("list", "") if !is_stored => metrics_api::list(&call).await,
        // Other doors to the same object: the kind's rules say what may pass through each.
        ("get", "" | "status" | "ephemeralcontainers" | "resize" | "approval") => get::run(&call).await,
        ("list", "") => list::run(&call).await,
        ("watch", "") => watch::run(&call).await,
        ("create", "") if !call.path.name.is_empty() => Err(call.method_not_allowed()),
        ("create", "") if !is_stored => review::run(&call).await,
        ("create", "") => create::run(&call).await,
        ("update" | "patch", "") if call.path.name.is_empty() => Err(call.method_not_allowed()),
        ("update", "" | "status" | "ephemeralcontainers" | "resize" | "approval") => update::run(&call).await,
        ("patch", "" | "status" | "ephemeralcontainers" | "resize" | "approval") => patch::run(&call).await,
        ("delete", "") => delete::run(&call).await,
        ("deletecollection", "") => delete_collection::run(&call).await,
        (_, "") => Err(call.method_not_allowed()),
        _ => subresource::run(&call).await,
    }
}
