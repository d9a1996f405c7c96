//! `namespaces/<name>/finalize`: the namespace controller says that its work is done. Changes `spec.finalizers` alone.

use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use crate::verbs::write::{Update, Updated, update_for};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// Sets the finalizers in the body; the namespace goes with the last one.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let object = call.decode(&mut warnings)?;
    let finalizers: Vec<String> = object::strings(object.pointer("/spec/finalizers")).into_iter().map(str::to_owned).collect();
    let what = Update { validate: false, ..Update::of(call) };
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        let spec = object::map_at(&mut new, "spec");
        if finalizers.is_empty() {
            spec.remove("finalizers");
        } else {
            spec.insert("finalizers".into(), json!(finalizers));
        }
        for field in ["resourceVersion", "uid"] {
            object::keep_meta(&mut new, &object, field);
        }
        Ok(new)
    };
    let (Updated::Object(shown) | Updated::Removed(shown)) = update_for(call, &what, change, &mut warnings).await?;
    Ok(present::object(call, StatusCode::OK, shown, &warnings))
}
