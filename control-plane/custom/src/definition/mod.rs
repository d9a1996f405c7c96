//! The kind CustomResourceDefinition (`apiextensions.k8s.io/v1`): defaults, what the server keeps of its status, rules, table. What a definition
//! defines is made by [`crate::kind`]; who serves it is the API server's business.

pub mod approval;
pub mod conditions;
mod conversion;
mod hoisted;
mod names;
mod validate;
mod versions;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionSpec, CustomResourceDefinitionVersion,
};
use orknet_resources::field::Errors;
use orknet_resources::typed::{Kind, Typed, cluster};
use orknet_resources::{Column, Descriptor, Subresource, table};
use serde_json::{Number, Value, json};

/// Holds a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Group and plural that definitions are stored under.
pub const STORED_AS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

const CREATED_AT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be \
set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\n\
Populated by the system. Read-only. Null for lists. \
More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The kind, as the server takes it.
pub static KIND: Typed<CustomResourceDefinitionKind> = Typed::NEW;

/// See the module.
pub struct CustomResourceDefinitionKind;

impl Kind for CustomResourceDefinitionKind {
    type Object = CustomResourceDefinition;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: &["status"],
        has_generation: true,
        ..cluster::<CustomResourceDefinition>("customresourcedefinitions", "customresourcedefinition")
    };
    const COLUMNS: &'static [Column] = &[table::NAME, table::column("Created At", "date", "", CREATED_AT, 0)];
    // Over thirty fields inside each other; schemas nest what objects have twice.
    const MAX_DEPTH: usize = 72;
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;

    fn default(object: &mut CustomResourceDefinition) {
        let spec = &mut object.spec;
        let names = &mut spec.names;
        if names.singular.as_deref().unwrap_or_default().is_empty() {
            names.singular = Some(names.kind.to_lowercase()).filter(|name| !name.is_empty());
        }
        if names.list_kind.as_deref().unwrap_or_default().is_empty() {
            names.list_kind = Some(format!("{}List", names.kind)).filter(|_| !names.kind.is_empty());
        }
        // False is not written.
        spec.preserve_unknown_fields = spec.preserve_unknown_fields.filter(|preserve| *preserve);
        let conversion = spec
            .conversion
            .get_or_insert_with(|| CustomResourceConversion { strategy: "None".to_owned(), ..CustomResourceConversion::default() });
        let service = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut()?.service.as_mut());
        if let Some(service) = service {
            service.port.get_or_insert(443);
        }
        let storage = storage_version(spec).map(|version| version.name.clone());
        if let (Some(status), Some(storage)) = (&mut object.status, storage) {
            let stored = status.stored_versions.get_or_insert_default();
            if stored.is_empty() {
                stored.push(storage);
            }
        }
    }

    fn canonical(object: &mut Value) {
        whole_numbers(object);
    }

    fn prepare_create(object: &mut Value) {
        object["status"] = json!({ "acceptedNames": { "kind": "", "plural": "" }, "storedVersions": [] });
        store(object);
    }

    fn prepare_update(new: &mut Value, _: &Value, subresource: Subresource<'_>) {
        if subresource.is_none() {
            store(new);
        }
    }

    fn prepare_delete(object: &mut Value, now: &str) {
        let finalizers = object["metadata"].as_object_mut().map(|meta| meta.entry("finalizers").or_insert_with(|| json!([])));
        if let Some(finalizers) = finalizers.and_then(Value::as_array_mut)
            && !finalizers.iter().any(|name| name == CLEANUP)
        {
            finalizers.push(CLEANUP.into());
        }
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        conditions::set(object, &conditions::Condition::new("Terminating", true, "InstanceDeletionPending", message), now);
    }

    fn validate(object: &CustomResourceDefinition, errors: &mut Errors) {
        validate::create(object, errors);
    }

    fn validate_update(new: &CustomResourceDefinition, old: &CustomResourceDefinition, subresource: Subresource<'_>, errors: &mut Errors) {
        validate::update(new, old, subresource, errors);
    }

    fn cells(object: &CustomResourceDefinition, _: i64) -> Vec<Value> {
        let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
        vec![table::name(&object.metadata), created.unwrap_or_default().into()]
    }
}

/// The version in which objects are stored.
fn storage_version(spec: &CustomResourceDefinitionSpec) -> Option<&CustomResourceDefinitionVersion> {
    spec.versions.iter().find(|version| version.storage)
}

/// Notes that objects are stored in the version that is so marked from now on.
fn store(object: &mut Value) {
    let versions = object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let Some(storage) = versions.into_iter().find(|version| version["storage"] == true).map(|version| version["name"].clone()) else {
        return;
    };
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Value::Array(stored) = status.entry("storedVersions").or_insert_with(|| json!([]))
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
}

/// Numbers of a schema (`maximum`, …) are floating in the type; whole ones are written as such.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // The largest whole number up to which a floating one has them all.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT) {
                #[allow(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
                let whole = whole as i64;
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
