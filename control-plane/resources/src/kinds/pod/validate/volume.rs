//! The rules for volumes: one source each, and what the common sources need.

use super::container::{local_path, no_climbing};
use super::{env, storage};
use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, NFSVolumeSource, ProjectedVolumeSource, Volume};
use serde_json::Value;
use std::collections::HashSet;

const DOWNWARD_FIELDS: &[&str] = &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const HOST_PATH_TYPES: &[&str] = &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MIN_TOKEN_SECONDS: i64 = 600;

pub fn volumes(list: &[Volume], at: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, volume) in list.iter().enumerate() {
        let at = at.index(i);
        if volume.name.is_empty() {
            errors.required(&at.field("name"), "");
        } else {
            errors.format(&at.field("name"), &volume.name, names::label(&volume.name));
            if !seen.insert(volume.name.as_str()) {
                errors.duplicate(&at.field("name"), volume.name.as_str());
            }
        }
        one_source(volume, &at, errors);
        source(volume, &at, errors);
    }
}

fn one_source(volume: &Volume, at: &Path<'_>, errors: &mut Errors) {
    // Every field but the name is a source.
    let sources = match serde_json::to_value(volume) {
        Ok(Value::Object(map)) => map.len().saturating_sub(1),
        _ => 1,
    };
    match sources {
        0 => errors.required(at, "must specify a volume type"),
        1 => {}
        _ => errors.forbidden(at, "may not specify more than 1 volume type"),
    }
}

fn source(volume: &Volume, at: &Path<'_>, errors: &mut Errors) {
    if let Some(host) = &volume.host_path {
        host_path(host, &at.field("hostPath"), errors);
    }
    if let Some(secret) = &volume.secret {
        let at = at.field("secret");
        if secret.secret_name.as_deref().unwrap_or_default().is_empty() {
            errors.required(&at.field("secretName"), "");
        }
        mode(secret.default_mode, &at.field("defaultMode"), errors);
        items(secret.items.as_deref(), &at.field("items"), errors);
    }
    if let Some(map) = &volume.config_map {
        let at = at.field("configMap");
        if map.name.is_empty() {
            errors.required(&at.field("name"), "");
        }
        mode(map.default_mode, &at.field("defaultMode"), errors);
        items(map.items.as_deref(), &at.field("items"), errors);
    }
    if let Some(source) = &volume.downward_api {
        let at = at.field("downwardAPI");
        mode(source.default_mode, &at.field("defaultMode"), errors);
        downward(source.items.as_deref(), &at.field("items"), errors);
    }
    if let Some(source) = &volume.projected {
        projected(source, &at.field("projected"), errors);
    }
    if let Some(claim) = &volume.persistent_volume_claim
        && claim.claim_name.is_empty()
    {
        errors.required(&at.field("persistentVolumeClaim").field("claimName"), "");
    }
    if let Some(empty) = &volume.empty_dir
        && let Some(limit) = &empty.size_limit
        && crate::quantity::Quantity::parse(&limit.0).is_ok_and(crate::quantity::Quantity::is_negative)
    {
        errors.forbidden(&at.field("emptyDir").field("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
    if let Some(source) = &volume.nfs {
        nfs(source, &at.field("nfs"), errors);
    }
    storage::source(volume, at, errors);
}

/// A path of the node.
pub fn host_path(host: &HostPathVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    if host.path.is_empty() {
        errors.required(&at.field("path"), "");
        return;
    }
    no_climbing(&host.path, &at.field("path"), errors);
    errors.one_of_if_set(&at.field("type"), host.type_.as_deref(), HOST_PATH_TYPES);
}

/// A path of a server.
pub fn nfs(nfs: &NFSVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [("server", &nfs.server), ("path", &nfs.path)] {
        if value.is_empty() {
            errors.required(&at.field(name), "");
        }
    }
    if !nfs.path.starts_with('/') {
        errors.invalid(&at.field("path"), nfs.path.as_str(), "must be an absolute path");
    }
}

fn mode(mode: Option<i32>, at: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(at, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(list: Option<&[KeyToPath]>, at: &Path<'_>, errors: &mut Errors) {
    for (i, item) in list.into_iter().flatten().enumerate() {
        let at = at.index(i);
        if item.key.is_empty() {
            errors.required(&at.field("key"), "");
        }
        file_path(&item.path, &at.field("path"), errors);
        mode(item.mode, &at.field("mode"), errors);
    }
}

fn downward(list: Option<&[DownwardAPIVolumeFile]>, at: &Path<'_>, errors: &mut Errors) {
    for (i, item) in list.into_iter().flatten().enumerate() {
        let at = at.index(i);
        file_path(&item.path, &at.field("path"), errors);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(_), Some(_)) => errors.invalid(&at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"),
            (Some(field), None) => env::field_ref(field, DOWNWARD_FIELDS, &at.field("fieldRef"), errors),
            (None, Some(field)) => {
                if field.container_name.as_deref().unwrap_or_default().is_empty() {
                    errors.required(&at.field("resourceFieldRef").field("containerName"), "");
                }
                env::resource_ref(field, &at.field("resourceFieldRef"), errors);
            }
            (None, None) => errors.required(&at.field("fieldRef"), "one of fieldRef and resourceFieldRef is required"),
        }
        mode(item.mode, &at.field("mode"), errors);
    }
}

fn projected(source: &ProjectedVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    mode(source.default_mode, &at.field("defaultMode"), errors);
    let sources = at.field("sources");
    for (i, part) in source.sources.iter().flatten().enumerate() {
        let at = sources.index(i);
        let mut kinds = usize::from(part.cluster_trust_bundle.is_some());
        if let Some(secret) = &part.secret {
            kinds += 1;
            if secret.name.is_empty() {
                errors.required(&at.field("secret").field("name"), "");
            }
            items(secret.items.as_deref(), &at.field("secret").field("items"), errors);
        }
        if let Some(map) = &part.config_map {
            kinds += 1;
            if map.name.is_empty() {
                errors.required(&at.field("configMap").field("name"), "");
            }
            items(map.items.as_deref(), &at.field("configMap").field("items"), errors);
        }
        if let Some(source) = &part.downward_api {
            kinds += 1;
            downward(source.items.as_deref(), &at.field("downwardAPI").field("items"), errors);
        }
        if let Some(token) = &part.service_account_token {
            kinds += 1;
            let at = at.field("serviceAccountToken");
            let seconds = token.expiration_seconds.unwrap_or_default();
            if seconds < MIN_TOKEN_SECONDS {
                errors.invalid(&at.field("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
            } else if seconds > 1 << 32 {
                errors.invalid(&at.field("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
            }
            file_path(&token.path, &at.field("path"), errors);
        }
        if kinds > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
        }
    }
}

fn file_path(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.is_empty() {
        errors.required(at, "");
    }
    local_path(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.invalid(at, path, "must not start with '..'");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::json;

    #[test]
    fn volumes_have_one_right_source() {
        for (volume, expected) in [
            (json!({"name": "v", "emptyDir": {"medium": "Memory"}}), None),
            (json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "b/c"}]}}), None),
            (json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "m"}}]}}), None),
            (json!({"name": "v", "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]}}), None),
            (json!({"name": "V"}), Some(".name: Invalid value: \"V\"")),
            (
                json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}),
                Some(": Forbidden: may not specify more than 1 volume type"),
            ),
            (
                json!({"name": "v", "hostPath": {"path": "/x/../y"}}),
                Some(".hostPath.path: Invalid value: \"/x/../y\": must not contain '..'"),
            ),
            (json!({"name": "v", "hostPath": {"path": "/x", "type": "Dir"}}), Some(".hostPath.type: Unsupported value: \"Dir\"")),
            (json!({"name": "v", "secret": {}}), Some(".secret.secretName: Required value")),
            (
                json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 1024}}),
                Some(".secret.defaultMode: Invalid value: 1024: must be a number between"),
            ),
            (
                json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "/c"}]}}),
                Some(".configMap.items[0].path: Invalid value: \"/c\": must be a relative path"),
            ),
            (
                json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}}),
                Some(".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less"),
            ),
            (json!({"name": "v", "persistentVolumeClaim": {"claimName": ""}}), Some(".persistentVolumeClaim.claimName: Required value")),
        ] {
            let found = complaints(json!({"volumes": [volume]}));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{volume}: {found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(&format!("spec.volumes[0]{e}"))), "{found:?}");
        }
        assert_eq!(complaints(json!({"volumes": [{"name": "v"}, {"name": "v"}]})), ["spec.volumes[1].name: Duplicate value: \"v\""]);
    }
}
