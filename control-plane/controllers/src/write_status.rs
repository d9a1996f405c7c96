//! Writes a status through the status subresource, only when it differs and only the fields that differ, and only to the object that it was
//! computed for: the server refuses it for a successor of the same name.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use orknet_reconciler::{Cached, Error, Informer, merge_patch};
use serde::Serialize;
use serde_json::{Value, json};

/// Brings the stored status of `object` from `old` to `new`. Returns whether anything was written; the answer goes into the informer.
///
/// # Errors
/// Of the API, a conflict when the object has given way to another of its name.
pub(crate) async fn write_status<K, S>(api: &Api<K>, informer: &Informer<K>, object: &K, old: Option<&S>, new: &S) -> Result<bool, Error>
where
    K: Cached,
    S: Serialize + Debug,
{
    let name = object.meta().name.as_deref().unwrap_or_default();
    let malformed = |error| Error::Malformed(format!("status of {} {name} can't be encoded: {error}", K::kind(&())));
    let old = serde_json::to_value(old).map_err(malformed)?;
    let new = serde_json::to_value(new).map_err(malformed)?;
    let Some(patch) = patch(object.meta().uid.as_deref(), &old, &new) else { return Ok(false) };
    let written = api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(Error::api(format!("writing the status of {} {name}", K::kind(&()))))?;
    informer.record(written);
    Ok(true)
}

/// What brings a status from `old` to `new`, in the object with that uid alone.
fn patch(uid: Option<&str>, old: &Value, new: &Value) -> Option<Value> {
    merge_patch::diff(old, new).map(|change| json!({ "metadata": { "uid": uid }, "status": change }))
}

/// A count as status fields carry it: absent when it is zero.
pub(crate) fn count(number: usize) -> Option<i32> {
    i32::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_only_to_the_same_object() {
        let old = json!({ "replicas": 1, "readyReplicas": 1 });
        assert_eq!(patch(Some("u"), &old, &old), None);
        let changed = patch(Some("u"), &old, &json!({ "replicas": 2, "readyReplicas": 1 }));
        assert_eq!(changed, Some(json!({ "metadata": { "uid": "u" }, "status": { "replicas": 2 } })));
    }
}
