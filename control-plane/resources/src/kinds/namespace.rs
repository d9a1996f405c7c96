//! Namespace: always labelled with its own name, kept by the `kubernetes` finalizer until the namespace controller has emptied it.
//!
//! Before: `{"metadata": {"name": "a"}}`. After decoding and preparing: label `kubernetes.io/metadata.name: a`, `spec.finalizers: [kubernetes]`,
//! `status.phase: Active`.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::names::{self, NameRule};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

pub struct Namespace;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Kind for Namespace {
    type Object = v1::Namespace;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ns"],
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: &["finalize", "status"],
        ..cluster::<v1::Namespace>("namespaces", "namespace")
    };
    const NAME: NameRule = NameRule::Label;
    const COLUMNS: &'static [Column] = &[table::NAME, text("Status", "The status of the namespace"), table::AGE];

    fn default(object: &mut v1::Namespace) {
        if let Some(name) = object.metadata.name.clone() {
            object.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
        }
    }

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], json!({"phase": "Active"}));
        let mut finalizers = object.pointer("/spec/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
        json::put(object, &["spec"], json!({"finalizers": finalizers}));
        if let Some(name) = object.pointer("/metadata/name").cloned() {
            json::put(object, &["metadata", "labels", NAME_LABEL], name);
        }
    }

    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        match subresource {
            None => json::keep(new, old, "spec"),
            Some("finalize") => json::keep(new, old, "status"),
            Some(_) => {}
        }
    }

    fn validate(object: &v1::Namespace, errors: &mut Errors) {
        let spec = Path::Root.field("spec");
        for (i, name) in object.spec.iter().flat_map(|s| &s.finalizers).flatten().enumerate() {
            errors.format(&spec.field("finalizers").index(i), name, names::qualified_name(name));
        }
    }

    fn cells(object: &v1::Namespace, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), phase(object).into(), table::age(&object.metadata, now)]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", json::text(object, &["status", "phase"]))]
    }
}

fn phase(object: &v1::Namespace) -> &str {
    object.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    #[test]
    fn a_new_namespace_is_labelled_active_and_held_by_its_finalizer() {
        let kind = Typed::<Namespace>::NEW;
        let mut object = kind.decode(json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}})).unwrap().object;
        kind.prepare_create(&mut object);
        assert_eq!(object["metadata"]["labels"][NAME_LABEL], "a");
        assert_eq!((&object["spec"]["finalizers"], &object["status"]["phase"]), (&json!(["kubernetes"]), &json!("Active")));
        assert!(kind.validate_create(&object).is_empty());
        assert_eq!(kind.cells(&object, 0), [json!("a"), json!("Active"), json!("<unknown>")]);
    }

    #[test]
    fn only_finalize_moves_the_finalizers() {
        let kind = Typed::<Namespace>::NEW;
        let old = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}});
        let mut new = json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}, "status": {"phase": "Active"}});
        let mut by_update = new.clone();
        kind.prepare_update(&mut by_update, &old, None);
        assert_eq!(by_update["spec"], old["spec"]);
        kind.prepare_update(&mut new, &old, Some("finalize"));
        assert_eq!((&new["spec"]["finalizers"], &new["status"]), (&json!([]), &old["status"]));
    }

    #[test]
    fn names_are_labels() {
        let kind = Typed::<Namespace>::NEW;
        let found = kind.validate_create(&json!({"metadata": {"name": "a.b"}}));
        assert!(
            found[0].to_string().starts_with("metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist"),
            "{found:?}"
        );
    }
}
