//! What a definition is filled in with, kept of, and refused for, beyond what tests of the API server ask.

use super::*;
use orknet_resources::Resource;

fn definition() -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    json!({
        "metadata": { "name": "widgets.example.org" },
        "spec": { "group": "example.org", "scope": "Namespaced", "names": { "plural": "widgets", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }] },
    })
}

fn decoded(object: Value) -> Value {
    KIND.decode(object).expect("decodes").object
}

fn complaints(object: Value) -> Vec<String> {
    let mut object = decoded(object);
    KIND.prepare_create(&mut object);
    KIND.validate_create(&object).iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in_once() {
    let mut object = definition();
    object["spec"]["preserveUnknownFields"] = false.into();
    let once = decoded(object);
    assert_eq!(once["spec"]["names"], json!({ "plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList" }));
    assert_eq!((&once["spec"]["conversion"], once["spec"].get("preserveUnknownFields")), (&json!({ "strategy": "None" }), None));
    assert_eq!(decoded(once.clone()), once);
    assert_eq!(complaints(once), Vec::<String>::new());
}

#[test]
fn a_deletion_waits_for_the_objects() {
    let mut object = definition();
    for _ in 0..2 {
        KIND.prepare_delete(&mut object, "2026-01-01T00:00:00Z");
        assert_eq!(object["metadata"]["finalizers"], json!([CLEANUP]));
    }
    assert!(conditions::holds(&object, "Terminating"));
}

#[test]
fn what_versions_have_in_common_is_told_of_at_the_top() {
    let bad = json!({ "scale": { "specReplicasPath": "", "statusReplicasPath": ".status.x" } });
    let mut object = definition();
    object["spec"]["versions"][0]["subresources"] = bad.clone();
    let at_top = "spec.subresources.scale.specReplicasPath: Required value";
    assert_eq!(complaints(object.clone()), [at_top]);
    let mut second = object["spec"]["versions"][0].clone();
    (second["name"], second["storage"]) = ("v2".into(), false.into());
    object["spec"]["versions"].as_array_mut().expect("versions").push(second);
    assert_eq!(complaints(object.clone()), [at_top]);
    object["spec"]["versions"][1]["subresources"] = json!({ "status": {} });
    assert_eq!(complaints(object), ["spec.versions[0].subresources.scale.specReplicasPath: Required value"]);
}

#[test]
fn addresses_of_webhooks_have_rules() {
    let told = |client: Value| {
        let mut object = definition();
        object["spec"]["conversion"] =
            json!({ "strategy": "Webhook", "webhook": { "conversionReviewVersions": ["v1", "v1"], "clientConfig": client } });
        complaints(object)
    };
    let twice = "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v1\": duplicate version";
    assert_eq!(told(json!({ "url": "https://converts.example.org/a" })), [twice]);
    for (client, expected) in [
        (json!({}), "webhookClientConfig: Required value: exactly one of url or service is required"),
        (json!({ "url": "https://me@x" }), "webhookClientConfig.url: Invalid value: \"me\": user information is not permitted in the URL"),
        (json!({ "url": "https://x/?a" }), "webhookClientConfig.url: Invalid value: \"a\": query parameters are not permitted in the URL"),
        (json!({ "url": "https://x/#a" }), "webhookClientConfig.url: Invalid value: \"a\": fragments are not permitted in the URL"),
        (
            json!({ "service": { "name": "", "namespace": "a" } }),
            "webhookClientConfig.service.name: Required value: service name is required",
        ),
        (
            json!({ "service": { "name": "a", "namespace": "a", "path": "/a//b" } }),
            "webhookClientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
        ),
        (
            json!({ "service": { "name": "a", "namespace": "a", "port": 70000 } }),
            "webhookClientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
        ),
    ] {
        assert_eq!(told(client), [format!("spec.conversion.{expected}"), twice.to_owned()]);
    }
}

#[test]
fn a_schema_beside_a_status_has_few_words_at_its_root() {
    let mut object = definition();
    object["spec"]["versions"][0]["subresources"] = json!({ "status": {} });
    object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    assert_eq!(complaints(object.clone()), Vec::<String>::new());
    object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-map-type"] = "atomic".into();
    let found = complaints(object);
    assert!(found[0].contains("fields are allowed at the root of the schema if the status subresource is enabled"), "{found:?}");
}
