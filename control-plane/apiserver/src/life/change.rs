//! A change of an object: what the client may not touch stays, and the generation moves with everything but metadata and status.

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use orknet_resources::Subresource;
use serde_json::Value;

/// Keeps the server's own fields, splits spec from status, and moves the generation.
pub fn before_update(kind: &Kind, new: &mut Value, old: &Value, subresource: Subresource<'_>) {
    let names = kind.descriptor();
    new["apiVersion"] = names.api_version().into();
    new["kind"] = names.kind.into();
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
    {
        object::keep_meta(new, old, field);
    }
    object::meta_mut(new).remove("resourceVersion");
    kind.prepare_update(new, old, subresource);
    // A status that has no way of its own is part of what is wanted.
    let has_status = names.subresources.contains(&"status");
    if names.has_generation && desired(new, has_status) != desired(old, has_status) {
        let generation = object::generation(old).unwrap_or_default() + 1;
        object::set_meta(new, "generation", generation);
    }
}

/// Whether the client's object is of the version that is stored: its `resourceVersion` and `uid`, where it has them.
pub fn check_version(kind: &Kind, new: &Value, old: &Value, revision: u64) -> Result<(), ApiError> {
    let names = kind.descriptor();
    let name = object::name(old);
    let version = object::resource_version(new);
    if !version.is_empty() && version != "0" {
        let parsed: u64 = version.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "metadata.resourceVersion: Invalid value: {version:?}: must be a resource version of this server"
            ))
        })?;
        if parsed != revision {
            return Err(ApiError::stale(names, name));
        }
    }
    let uid = object::uid(new);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
        return Err(ApiError::conflict(names, name, why));
    }
    Ok(())
}

fn desired(object: &Value, has_status: bool) -> Vec<(&String, &Value)> {
    let is_desired = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !has_status,
        _ => true,
    };
    object.as_object().into_iter().flatten().filter(|(key, _)| is_desired(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Kind {
        orknet_resources::registry().iter().copied().find(|kind| kind.descriptor().plural == "deployments").expect("registered").into()
    }

    #[test]
    fn the_generation_moves_with_the_spec_alone() {
        let old = json!({ "metadata": { "name": "a", "uid": "1", "generation": 3 }, "spec": { "replicas": 1 } });
        let mut labelled = json!({ "metadata": { "name": "a", "labels": { "x": "y" } }, "spec": { "replicas": 1 } });
        before_update(&deployment(), &mut labelled, &old, None);
        assert_eq!(object::generation(&labelled), Some(3));
        // A status that has no way of its own is as the spec.
        let parts = |status: i64| json!({ "spec": 1, "status": status });
        assert!(desired(&parts(1), true) == desired(&parts(2), true) && desired(&parts(1), false) != desired(&parts(2), false));
        let mut scaled = json!({ "metadata": { "name": "a" }, "spec": { "replicas": 2 } });
        before_update(&deployment(), &mut scaled, &old, None);
        assert_eq!((object::generation(&scaled), object::uid(&scaled)), (Some(4), "1"));
    }

    #[test]
    fn stale_versions_and_other_uids_are_conflicts() {
        let old = json!({ "metadata": { "name": "a", "uid": "1" } });
        let check = |new: Value| check_version(&deployment(), &new, &old, 9).map_err(|error| error.code());
        assert_eq!(check(json!({ "metadata": { "resourceVersion": "9", "uid": "1" } })), Ok(()));
        assert_eq!(check(json!({ "metadata": {} })), Ok(()));
        assert_eq!(check(json!({ "metadata": { "resourceVersion": "8" } })), Err(409));
        assert_eq!(check(json!({ "metadata": { "uid": "2" } })), Err(409));
        assert_eq!(check(json!({ "metadata": { "resourceVersion": "x" } })), Err(400));
    }
}
