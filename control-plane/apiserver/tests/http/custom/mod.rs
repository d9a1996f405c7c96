//! CustomResourceDefinitions: the kinds that they define come, change and go as with Kubernetes.

mod conversion;
mod ends;
mod names;
mod rules;
mod schema;
mod serving;
mod verbs;

use crate::client::Client;
use serde_json::{Value, json};

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const GROUP: &str = "example.org";
pub const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";
pub const ALL_WIDGETS: &str = "/apis/example.org/v1/widgets";

/// A namespaced kind of the group, with one version and a schema.
pub fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": { "plural": plural, "kind": kind },
            "versions": [version("v1", true)],
        },
    })
}

/// A version of it, served.
pub fn version(name: &str, storage: bool) -> Value {
    json!({ "name": name, "served": true, "storage": storage, "schema": { "openAPIV3Schema": {
        "type": "object",
        "properties": {
            "spec": { "type": "object", "required": ["size"], "properties": {
                "size": { "type": "integer", "minimum": 0, "description": "How large it is." },
                "color": { "type": "string", "default": "grey" },
                "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                    "type": "object", "required": ["name"],
                    "properties": { "name": { "type": "string" }, "count": { "type": "integer" } } } },
            } },
            "status": { "type": "object", "properties": { "replicas": { "type": "integer" }, "selector": { "type": "string" } } },
        },
    } } })
}

pub fn widgets() -> Value {
    let mut definition = definition("widgets", "Widget");
    definition["spec"]["names"]["shortNames"] = json!(["wd"]);
    definition["spec"]["names"]["categories"] = json!(["all"]);
    let version = &mut definition["spec"]["versions"][0];
    version["subresources"] = json!({ "status": {}, "scale": { "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector" } });
    version["additionalPrinterColumns"] = json!([{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }]);
    version["selectableFields"] = json!([{ "jsonPath": ".spec.color" }]);
    definition
}

pub fn widget(name: &str, size: i64) -> Value {
    json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": name }, "spec": { "size": size } })
}

pub fn at(name: &str) -> String {
    format!("{DEFINITIONS}/{name}.{GROUP}")
}

pub fn condition<'a>(definition: &'a Value, name: &str) -> &'a Value {
    let conditions = definition["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == name).unwrap_or(&Value::Null)
}

/// Waits until a condition of the definition has this status and reason. Answers the definition as it is then.
pub async fn until(client: &Client, plural: &str, name: &str, status: &str, reason: &str) -> Value {
    let mut changes = client.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{plural}.{GROUP}")).await;
    loop {
        let event = changes.next().await.expect("an event");
        let found = condition(&event["object"], name);
        if found["status"] == status && found["reason"] == reason {
            return event["object"].clone();
        }
    }
}

pub async fn established(client: &Client, plural: &str) -> Value {
    until(client, plural, "Established", "True", "InitialNamesAccepted").await
}

/// Makes the definition, and waits until it is served.
pub async fn define(client: &Client, definition: Value) -> Value {
    let plural = definition["spec"]["names"]["plural"].as_str().expect("a plural").to_owned();
    client.post(DEFINITIONS, definition).await.expect(201);
    established(client, &plural).await
}

/// Waits until the definition is gone.
pub async fn gone(client: &Client, plural: &str) {
    let path = format!("{DEFINITIONS}?fieldSelector=metadata.name%3D{plural}.{GROUP}");
    let list = client.get(&path).await.expect(200);
    if list["items"].as_array().expect("a list").is_empty() {
        return;
    }
    let mut changes = client.watch(&format!("{path}&watch=1&resourceVersion={}", crate::harness::version(&list))).await;
    while changes.next_named().await.0 != "DELETED" {}
}

pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}
