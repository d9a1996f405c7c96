//! `metadata`: normal form and rules that hold for every kind. Server-set fields (uid, resourceVersion, managedFields …) are the server's.

use crate::contract::Scope;
use crate::field::{Errors, Path};
use crate::names::{self, NameRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// All annotations of an object together.
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// Drops what is set to nothing, as the API's own encoding would.
pub fn normalise(meta: &mut ObjectMeta) {
    for map in [&mut meta.labels, &mut meta.annotations] {
        if map.as_ref().is_some_and(BTreeMap::is_empty) {
            *map = None;
        }
    }
    let texts =
        [&mut meta.name, &mut meta.generate_name, &mut meta.namespace, &mut meta.uid, &mut meta.resource_version, &mut meta.self_link];
    for text in texts {
        if text.as_ref().is_some_and(String::is_empty) {
            *text = None;
        }
    }
    drop_empty(&mut meta.finalizers);
    drop_empty(&mut meta.owner_references);
    drop_empty(&mut meta.managed_fields);
}

/// The rules for the metadata of a new or changed object.
pub fn validate(meta: &ObjectMeta, scope: Scope, rule: NameRule, at: &Path<'_>, errors: &mut Errors) {
    if let Some(prefix) = meta.generate_name.as_deref() {
        errors.format(&at.field("generateName"), prefix, rule.check(prefix, true));
    }
    match meta.name.as_deref() {
        None | Some("") => errors.required(&at.field("name"), "name or generateName is required"),
        Some(name) => errors.format(&at.field("name"), name, rule.check(name, false)),
    }
    let namespace = at.field("namespace");
    match (scope, meta.namespace.as_deref()) {
        (Scope::Namespaced, None | Some("")) => errors.required(&namespace, ""),
        (Scope::Namespaced, Some(name)) => errors.format(&namespace, name, names::label(name)),
        (Scope::Cluster, Some(name)) if !name.is_empty() => errors.forbidden(&namespace, "not allowed on this type"),
        (Scope::Cluster, _) => {}
    }
    errors.non_negative(&at.field("generation"), meta.generation.unwrap_or_default());
    if let Some(map) = &meta.labels {
        labels(map, &at.field("labels"), errors);
    }
    if let Some(map) = &meta.annotations {
        annotations(map, &at.field("annotations"), errors);
    }
    owners(meta.owner_references.as_deref().unwrap_or_default(), &at.field("ownerReferences"), errors);
    finalizers(meta.finalizers.as_deref().unwrap_or_default(), &at.field("finalizers"), errors);
}

/// The rules for a change of metadata.
pub fn validate_update(new: &ObjectMeta, old: &ObjectMeta, at: &Path<'_>, errors: &mut Errors) {
    errors.immutable(&at.field("name"), &new.name, &old.name);
    errors.immutable(&at.field("namespace"), &new.namespace, &old.namespace);
    if new.uid.is_some() {
        errors.immutable(&at.field("uid"), &new.uid, &old.uid);
    }
    if old.deletion_timestamp.is_some() {
        let had = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<&String> = new.finalizers.iter().flatten().filter(|f| !had.contains(f)).collect();
        if !added.is_empty() {
            let detail = format!("no new finalizers can be added if the object is being deleted, found new finalizers {added:?}");
            errors.forbidden(&at.field("finalizers"), detail);
        }
    }
}

/// Keys and values of labels.
pub fn labels(map: &BTreeMap<String, String>, at: &Path<'_>, errors: &mut Errors) {
    for (key, value) in map {
        errors.format(at, key, names::qualified_name(key));
        errors.format(at, value, names::label_value(value));
    }
}

/// Keys of annotations and their size.
pub fn annotations(map: &BTreeMap<String, String>, at: &Path<'_>, errors: &mut Errors) {
    for key in map.keys() {
        let found = if key.bytes().any(|c| c.is_ascii_uppercase()) {
            names::qualified_name(&key.to_ascii_lowercase())
        } else {
            names::qualified_name(key)
        };
        errors.format(at, key, found);
    }
    if map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_ANNOTATIONS_BYTES {
        errors.too_long(at, MAX_ANNOTATIONS_BYTES);
    }
}

fn owners(owners: &[OwnerReference], at: &Path<'_>, errors: &mut Errors) {
    let mut controller: Option<&OwnerReference> = None;
    for (i, owner) in owners.iter().enumerate() {
        let at = at.index(i);
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() || owner.api_version.matches('/').count() > 1 {
            errors.invalid(&at.field("apiVersion"), owner.api_version.as_str(), "version must not be empty");
        }
        for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.invalid(&at.field(name), value.as_str(), "must not be empty");
            }
        }
        if owner.kind == "Event" && owner.api_version == "v1" {
            errors.invalid(&at, "v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
                    first.kind, first.name, owner.kind, owner.name
                );
                errors.invalid(&at, serde_json::to_value(owner).unwrap_or_default(), detail);
            }
            controller = Some(owner);
        }
    }
}

fn finalizers(list: &[String], at: &Path<'_>, errors: &mut Errors) {
    for (i, name) in list.iter().enumerate() {
        let at = at.index(i);
        errors.format(&at, name, names::qualified_name(name));
        if !name.contains('/') && !matches!(name.as_str(), "kubernetes" | "orphan" | "foregroundDeletion") {
            errors.invalid(&at, name.as_str(), "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    let has = |name: &str| list.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let both = serde_json::to_value(list).unwrap_or_default();
        errors.invalid(at, both, "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

fn drop_empty<T>(list: &mut Option<Vec<T>>) {
    if list.as_ref().is_some_and(Vec::is_empty) {
        *list = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn complaints(meta: Value, scope: Scope) -> Vec<String> {
        let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
        let mut errors = Errors::default();
        validate(&meta, scope, NameRule::Subdomain, &Path::Root.field("metadata"), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn right_metadata_has_no_complaint() {
        let meta = json!({"name": "a.b", "namespace": "default", "labels": {"app": "x", "a.b/c": ""}, "annotations": {"A.b/C": "any text"},
            "finalizers": ["kubernetes", "a.b/c"], "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1"}]});
        assert_eq!(complaints(meta, Scope::Namespaced), Vec::<String>::new());
    }

    #[test]
    fn each_part_has_its_complaint() {
        for (meta, scope, start) in [
            (json!({"namespace": "d"}), Scope::Namespaced, "metadata.name: Required value: name or generateName is required"),
            (json!({"name": "a"}), Scope::Namespaced, "metadata.namespace: Required value"),
            (json!({"name": "a", "namespace": "d"}), Scope::Cluster, "metadata.namespace: Forbidden: not allowed on this type"),
            (json!({"name": "A"}), Scope::Cluster, "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must"),
            (json!({"name": "a", "labels": {"-": "x"}}), Scope::Cluster, "metadata.labels: Invalid value: \"-\": name part must consist"),
            (json!({"name": "a", "labels": {"a": "x y"}}), Scope::Cluster, "metadata.labels: Invalid value: \"x y\": a valid label must"),
            (
                json!({"name": "a", "annotations": {"a": "x".repeat(300_000)}}),
                Scope::Cluster,
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            (json!({"name": "a", "finalizers": ["x"]}), Scope::Cluster, "metadata.finalizers[0]: Invalid value: \"x\": name is neither"),
            (
                json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "", "name": "x", "uid": "1"}]}),
                Scope::Cluster,
                "metadata.ownerReferences[0].kind: Invalid value: \"\": must not be empty",
            ),
        ] {
            let found = complaints(meta.clone(), scope);
            assert!(found.len() == 1 && found[0].starts_with(start), "{meta}: {found:?}");
        }
    }

    #[test]
    fn no_finalizer_joins_an_object_that_is_going() {
        let old: ObjectMeta = serde_json::from_value(json!({"name": "a", "deletionTimestamp": "2024-01-01T00:00:00Z"})).unwrap();
        let new = ObjectMeta { finalizers: Some(vec!["a.b/c".to_owned()]), ..old.clone() };
        let mut errors = Errors::default();
        validate_update(&new, &old, &Path::Root.field("metadata"), &mut errors);
        assert_eq!(errors.into_list().len(), 1);
    }
}
