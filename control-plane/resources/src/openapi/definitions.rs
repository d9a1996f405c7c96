//! The definitions of all kinds: their types' schemas, the facts, groups and kinds, and the list of each kind.

use super::{enums, facts};
use crate::contract::{Descriptor, Resource};
use k8s_openapi::api::{authentication, autoscaling, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::version::Info;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) const PREFIX: &str = "#/definitions/";
pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
pub(super) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
pub(super) const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";
pub(super) const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";

/// Schemas by name, with references as in `definitions` of OpenAPI 2, and the name of each kind's definition.
pub(super) struct Definitions {
    pub schemas: Map<String, Value>,
    /// In the order of the registry.
    pub kinds: Vec<String>,
}

/// Builds the definitions from scratch: some ten milliseconds and as many megabytes while they are held.
pub(super) fn build(registry: &[&dyn Resource]) -> Definitions {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/definitions".into();
        settings.transforms.clear();
    });
    let mut generator = settings.into_generator();
    let mut kinds = Vec::with_capacity(registry.len());
    let mut inline = Vec::new();
    for resource in registry {
        let schema = resource.schema(&mut generator).to_value();
        let name = match schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix(PREFIX)) {
            Some(name) => name.to_owned(),
            None => {
                let descriptor = resource.descriptor();
                // As Kubernetes names the types of custom resources: `org.example.stable.v1.CronTab`.
                let group: Vec<&str> = descriptor.group.rsplit('.').collect();
                let name = format!("{}.{}.{}", group.join("."), descriptor.version, descriptor.kind);
                inline.push((name.clone(), schema));
                name
            }
        };
        kinds.push(name);
    }
    add_shared(&mut generator);
    let mut schemas = generator.take_definitions(false);
    schemas.extend(inline);
    facts::add_to(&mut schemas);
    enums::add_to(&mut schemas);
    // The definition's own group, version and kind; subresources' bodies have theirs as well.
    add_kind(&mut schemas, SCALE, "autoscaling", "v1", "Scale");
    add_kind(&mut schemas, EVICTION, "policy", "v1", "Eviction");
    add_kind(&mut schemas, TOKEN_REQUEST, "authentication.k8s.io", "v1", "TokenRequest");
    for kind in ["Status", "APIGroup", "APIGroupList", "APIResourceList", "APIVersions"] {
        add_kind(&mut schemas, &format!("{META}{kind}"), "", "v1", kind);
    }
    for (resource, name) in registry.iter().zip(&kinds) {
        let Descriptor { group, version, kind, .. } = resource.descriptor();
        add_kind(&mut schemas, name, group, version, kind);
        for shared in ["DeleteOptions", "WatchEvent"] {
            add_kind(&mut schemas, &format!("{META}{shared}"), group, version, shared);
        }
        if is_listed(resource.descriptor()) {
            let list = list(name, kind, &schemas[name.as_str()]["properties"]);
            let name = list_name(name);
            schemas.insert(name.clone(), list);
            add_kind(&mut schemas, &name, group, version, &format!("{kind}List"));
        }
    }
    Definitions { schemas, kinds }
}

pub(super) fn is_listed(descriptor: &Descriptor) -> bool {
    descriptor.verbs.contains(&"list")
}

pub(super) fn list_name(kind: &str) -> String {
    format!("{kind}List")
}

/// Names that the references in `value` end in.
pub(super) fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => found.extend(target.rsplit('/').next()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Types that requests and answers need besides the kinds.
fn add_shared(generator: &mut SchemaGenerator) {
    fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    add::<meta::DeleteOptions>(generator);
    add::<meta::Status>(generator);
    add::<meta::ListMeta>(generator);
    add::<meta::Patch>(generator);
    add::<meta::WatchEvent<()>>(generator);
    add::<meta::APIGroup>(generator);
    add::<meta::APIGroupList>(generator);
    add::<meta::APIResourceList>(generator);
    add::<meta::APIVersions>(generator);
    add::<Info>(generator);
    add::<autoscaling::v1::Scale>(generator);
    add::<policy::v1::Eviction>(generator);
    add::<authentication::v1::TokenRequest>(generator);
}

fn add_kind(schemas: &mut Map<String, Value>, name: &str, group: &str, version: &str, kind: &str) {
    let Some(Value::Object(schema)) = schemas.get_mut(name) else { return };
    let kinds = schema.entry("x-kubernetes-group-version-kind").or_insert_with(|| json!([]));
    let added = json!({ "group": group, "kind": kind, "version": version });
    if let Value::Array(kinds) = kinds
        && !kinds.contains(&added)
    {
        kinds.push(added);
    }
}

/// The list of a kind. `described`: the fields of one, whose type and version are described in the same words.
fn list(item: &str, kind: &str, described: &Value) -> Value {
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": described["apiVersion"]["description"]},
            "items": {"type": "array", "description": format!("The objects: a list of {kind}."), "items": {"$ref": format!("{PREFIX}{item}")}},
            "kind": {"type": "string", "description": described["kind"]["description"]},
            "metadata": {"$ref": format!("{PREFIX}{META}ListMeta"), "description": "Standard list metadata."},
        },
    })
}

/// Everything that the given definitions refer to, directly or not, themselves included.
pub(super) fn closure<'d>(schemas: &'d Map<String, Value>, start: impl IntoIterator<Item = &'d str>) -> Vec<(&'d String, &'d Value)> {
    let mut reached: HashMap<&str, (&String, &Value)> = HashMap::new();
    let mut open: Vec<&str> = start.into_iter().collect();
    while let Some(name) = open.pop() {
        if reached.contains_key(name) {
            continue;
        }
        let Some((key, schema)) = schemas.get_key_value(name) else { continue };
        reached.insert(name, (key, schema));
        references(schema, &mut open);
    }
    let mut reached: Vec<_> = reached.into_values().collect();
    reached.sort_unstable_by_key(|(name, _)| *name);
    reached
}
