//! The documents against what clients look for in them, and the facts against the types.

use super::*;
use crate::registry;
use std::collections::BTreeSet;

fn document(group_version: &str) -> Value {
    serde_json::from_slice(&v3_document(registry(), group_version).unwrap()).unwrap()
}

#[test]
fn every_kind_has_a_definition_with_its_group_version_and_kind() {
    let definitions = definitions(registry());
    let kinds: BTreeSet<String> = definitions
        .as_object()
        .unwrap()
        .values()
        .flat_map(|schema| schema["x-kubernetes-group-version-kind"].as_array().cloned().unwrap_or_default())
        .map(|kind| kind.to_string())
        .collect();
    for resource in registry() {
        let descriptor = resource.descriptor();
        let wanted = json!({"group": descriptor.group, "kind": descriptor.kind, "version": descriptor.version}).to_string();
        assert!(kinds.contains(&wanted), "{wanted}");
    }
}

#[test]
fn every_fact_is_about_a_field_that_exists() {
    let definitions = definitions(registry());
    let mut known = 0;
    for fact in facts::facts() {
        let Some(definition) = definitions.get(format!("io.k8s.{}", fact.definition)) else { continue };
        if let Some(field) = fact.field {
            let property = &definition["properties"][field];
            assert!(property.is_object(), "{} has no {field}", fact.definition);
            for (name, value) in &fact.extensions {
                assert_eq!(&property[*name], value, "{}.{field}", fact.definition);
            }
        }
        known += 1;
    }
    assert!(known > 250, "{known}");
}

#[test]
fn every_list_with_keys_has_items_with_these_fields() {
    let definitions = definitions(registry());
    let mut lists = 0;
    for (name, definition) in definitions.as_object().unwrap() {
        for (field, property) in definition["properties"].as_object().into_iter().flatten() {
            let target = property["items"]["$ref"].as_str().and_then(|target| target.strip_prefix("#/definitions/"));
            for key in property["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
                let item = &definitions[target.unwrap()];
                assert!(item["properties"][key.as_str().unwrap()].is_object(), "{name}.{field} has no key {key}");
                lists += 1;
            }
        }
    }
    assert!(lists > 40, "{lists}");
}

#[test]
fn documents_are_closed_over_their_references() {
    for group_version in group_versions(registry()) {
        let document = document(&group_version);
        let mut used = Vec::new();
        definitions::references(&document, &mut used);
        for name in used {
            assert!(document["components"]["schemas"][name].is_object(), "{group_version}: {name}");
        }
    }
    let v2: Value = serde_json::from_slice(&v2_document(registry())).unwrap();
    let mut used = Vec::new();
    definitions::references(&v2, &mut used);
    for name in used {
        assert!(v2["definitions"][name].is_object(), "{name}");
    }
}

#[test]
fn patch_of_every_kind_takes_field_validation() {
    for resource in registry().iter().filter(|resource| resource.descriptor().verbs.contains(&"patch")) {
        let descriptor = resource.descriptor();
        let document = document(paths::root(descriptor).trim_start_matches('/'));
        let kind = json!({"group": descriptor.group, "kind": descriptor.kind, "version": descriptor.version});
        let patches = document["paths"].as_object().unwrap().values().map(|item| &item["patch"]);
        let about: Vec<&Value> = patches.filter(|patch| patch["x-kubernetes-group-version-kind"] == kind).collect();
        assert!(!about.is_empty(), "{kind}");
        for patch in about {
            let parameters = patch["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation" && parameter["in"] == "query"), "{kind}");
        }
    }
}

#[test]
fn paths_are_those_of_the_api() {
    let apps = document("apis/apps/v1");
    let deployment = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(deployment["patch"]["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(deployment["patch"]["x-kubernetes-action"], "patch");
    assert_eq!(deployment["parameters"][0]["name"], "name");
    assert_eq!(apps["paths"]["/apis/apps/v1/deployments"]["get"]["operationId"], "listAppsV1DeploymentForAllNamespaces");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(scale["get"]["x-kubernetes-group-version-kind"], json!({"group": "autoscaling", "kind": "Scale", "version": "v1"}));
    let core = document("api/v1");
    assert_eq!(core["paths"]["/api/v1/nodes"]["get"]["operationId"], "listCoreV1Node");
    assert!(core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"].is_object());
}

#[test]
fn references_with_a_description_are_wrapped_and_numbers_or_strings_are_both() {
    let apps = document("apis/apps/v1");
    let schemas = &apps["components"]["schemas"];
    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(strategy["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}]));
    assert!(strategy["description"].as_str().is_some_and(|text| text.contains("strategy")));
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    let either = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(either["format"], "int-or-string");
    assert_eq!(either["oneOf"], json!([{"type": "integer"}, {"type": "string"}]));
}

#[test]
fn the_index_changes_only_with_the_documents() {
    let index: Value =
        serde_json::from_slice(&v3_index(v3_hashes(registry()).iter().map(|(root, hash)| (&root[..], hash.clone())))).unwrap();
    let url = format!("/openapi/v3/apis/apps/v1?hash={}", hash(&v3_document(registry(), "apis/apps/v1").unwrap()));
    assert_eq!(index["paths"]["apis/apps/v1"]["serverRelativeURL"], url);
    assert!(v3_document(registry(), "apis/nothing/v1").is_none());
}

#[test]
fn the_definitions_compile_into_a_merge_schema() {
    use orknet_patch::schema::{ListType, Shape};
    let schema = orknet_patch::Schema::from_definitions(&definitions(registry())).unwrap();
    for resource in registry() {
        let descriptor = resource.descriptor();
        assert!(schema.root(descriptor.group, descriptor.version, descriptor.kind).is_some(), "{}", descriptor.kind);
    }
    let pod = schema.root("", "v1", "Pod").unwrap().field("spec");
    let ports = pod.field("containers").item().field("ports");
    assert_eq!(ports.shape(), Shape::List(ListType::Map(&["containerPort".into(), "protocol".into()])));
    assert_eq!(ports.item().key_default("protocol"), Some(json!("TCP")));
    assert_eq!(pod.field("imagePullSecrets").item().key_default("name"), Some(json!("")));
    assert_eq!(pod.field("tolerations").shape(), Shape::List(ListType::Atomic));
    assert!(pod.field("volumes").retains_keys());
    assert_eq!(pod.field("containers").item().field("resources").field("limits").field("cpu").shape(), Shape::Scalar);
    assert_eq!(schema.root("", "v1", "Service").unwrap().field("spec").field("selector").shape(), Shape::AtomicMap);
}

#[test]
fn required_fields_are_those_of_the_api() {
    let definitions = definitions(registry());
    let required = |name: &str| definitions[format!("io.k8s.api.{name}")]["required"].clone();
    assert_eq!(required("core.v1.Pod"), Value::Null);
    assert_eq!(required("core.v1.LocalObjectReference"), Value::Null);
    assert_eq!(required("core.v1.ConfigMapKeySelector"), json!(["key"]));
    assert_eq!(required("core.v1.Container"), json!(["name"]));
    assert_eq!(required("networking.v1.NetworkPolicySpec"), json!(["podSelector"]));
}
