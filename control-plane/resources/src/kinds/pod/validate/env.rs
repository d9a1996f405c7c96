//! The rules for environment variables and where they come from.

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1::{Container, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] =
    &["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

pub fn all(container: &Container, at: &Path<'_>, errors: &mut Errors) {
    let list = at.field("env");
    for (i, var) in container.env.iter().flatten().enumerate() {
        let at = list.index(i);
        if var.name.is_empty() {
            errors.required(&at.field("name"), "");
        } else {
            errors.format(&at.field("name"), &var.name, names::env_name(&var.name));
        }
        if let Some(source) = &var.value_from {
            let at = at.field("valueFrom");
            if var.value.as_ref().is_some_and(|v| !v.is_empty()) {
                errors.invalid(&at, "", "may not be specified when `value` is not empty");
            }
            self::source(source, &at, errors);
        }
    }
    let list = at.field("envFrom");
    for (i, from) in container.env_from.iter().flatten().enumerate() {
        let at = list.index(i);
        if let Some(prefix) = from.prefix.as_deref().filter(|p| !p.is_empty()) {
            errors.format(&at.field("prefix"), prefix, names::env_name(prefix));
        }
        let sources =
            [("configMapRef", from.config_map_ref.as_ref().map(|r| &r.name)), ("secretRef", from.secret_ref.as_ref().map(|r| &r.name))];
        match sources.iter().filter(|(_, name)| name.is_some()).count() {
            0 => errors.invalid(&at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&at, "", "may not have more than one field specified at a time"),
        }
        for (field, name) in sources {
            match name.map(String::as_str) {
                Some("") => errors.required(&at.field(field).field("name"), ""),
                Some(name) => errors.format(&at.field(field).field("name"), name, names::subdomain(name)),
                None => {}
            }
        }
    }
}

fn source(source: &EnvVarSource, at: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    if let Some(field) = &source.field_ref {
        count += 1;
        field_ref(field, FIELDS, &at.field("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        count += 1;
        resource_ref(resource, &at.field("resourceFieldRef"), errors);
    }
    if let Some(key) = &source.config_map_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, &at.field("configMapKeyRef"), errors);
    }
    if let Some(key) = &source.secret_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, &at.field("secretKeyRef"), errors);
    }
    match count {
        0 => errors.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"),
        1 => {}
        _ => errors.invalid(at, "", "may not have more than one field specified at a time"),
    }
}

fn key_ref(name: &str, key: &str, at: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(&at.field("name"), "");
    }
    if key.is_empty() {
        errors.required(&at.field("key"), "");
    } else {
        errors.format(&at.field("key"), key, names::config_key(key));
    }
}

/// A field of the pod: one of `fields`, or one label or annotation by key.
pub fn field_ref(field: &ObjectFieldSelector, fields: &[&str], at: &Path<'_>, errors: &mut Errors) {
    if field.api_version.as_deref().unwrap_or_default().is_empty() {
        errors.required(&at.field("apiVersion"), "");
        return;
    }
    let path = field.field_path.as_str();
    let at = at.field("fieldPath");
    if path.is_empty() {
        errors.required(&at, "");
    } else if let Some((map, key)) = subscript(path) {
        match map {
            "metadata.labels" => errors.format(&at, key, names::qualified_name(key)),
            "metadata.annotations" => errors.format(&at, key, names::qualified_name(&key.to_ascii_lowercase())),
            _ => errors.invalid(&at, path, "does not support subscript"),
        }
    } else if !fields.contains(&path) {
        errors.not_supported(&at, path, fields);
    }
}

/// An amount of a container's resources.
pub fn resource_ref(field: &ResourceFieldSelector, at: &Path<'_>, errors: &mut Errors) {
    let resource = field.resource.as_str();
    if resource.is_empty() {
        errors.required(&at.field("resource"), "");
    } else if !RESOURCES.contains(&resource) && !resource.contains(".hugepages-") {
        errors.not_supported(&at.field("resource"), resource, RESOURCES);
    }
}

/// `a['b']` as `a` and `b`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::json;

    #[test]
    fn variables_come_from_one_place() {
        let at = "spec.containers[0].env[0].valueFrom";
        for (var, expected) in [
            (json!({"name": "A", "value": "x"}), None),
            (json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}}), None),
            (json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}), None),
            (
                json!({"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
                Some(format!("{at}: Invalid value: \"\": may not be specified")),
            ),
            (json!({"name": "A", "valueFrom": {}}), Some(format!("{at}: Invalid value: \"\": must specify one of: `fieldRef`"))),
            (
                json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}),
                Some(format!("{at}.fieldRef.fieldPath: Unsupported value: \"spec.x\"")),
            ),
            (
                json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m"}}}),
                Some(format!("{at}.configMapKeyRef.key: Required value")),
            ),
            (
                json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "x"}}}),
                Some(format!("{at}.resourceFieldRef.resource: Unsupported")),
            ),
            (json!({"name": "A=B"}), Some("spec.containers[0].env[0].name: Invalid value: \"A=B\"".to_owned())),
        ] {
            let found = complaints(json!({"containers": [{"name": "a", "image": "x", "env": [var]}]}));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(&e)), "{found:?}");
        }
        let found = complaints(json!({"containers": [{"name": "a", "image": "x", "envFrom": [{}]}]}));
        assert_eq!(found, ["spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"]);
    }
}
