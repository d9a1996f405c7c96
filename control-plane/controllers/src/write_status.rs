//! Writes a status through the status subresource, only when it differs and only the fields that differ.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use orknet_reconciler::{Cached, Error, Informer, merge_patch};
use serde::Serialize;
use serde_json::json;

/// Brings the stored status from `old` to `new`. Returns whether anything was written; the answer goes into the informer.
pub(crate) async fn write_status<K, S>(api: &Api<K>, informer: &Informer<K>, name: &str, old: Option<&S>, new: &S) -> Result<bool, Error>
where
    K: Cached,
    S: Serialize + Debug,
{
    let malformed = |error| Error::Malformed(format!("status of {} {name} can't be encoded: {error}", K::kind(&())));
    let old = serde_json::to_value(old).map_err(malformed)?;
    let new = serde_json::to_value(new).map_err(malformed)?;
    let Some(change) = merge_patch::diff(&old, &new) else { return Ok(false) };
    let written = api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": change })))
        .await
        .map_err(Error::api(format!("writing the status of {} {name}", K::kind(&()))))?;
    informer.record(written);
    Ok(true)
}

/// A count as status fields carry it: absent when it is zero.
pub(crate) fn count(number: usize) -> Option<i32> {
    i32::try_from(number).ok().filter(|number| *number > 0)
}
