//! What a schema keeps, fills in and refuses, as clients see it.

use super::{GROUP, WIDGETS, at, define, definition};
use crate::harness::TestServer;
use serde_json::{Value, json};

fn with_schema() -> Value {
    let mut definition = definition("widgets", "Widget");
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({
        "type": "object", "required": ["size"],
        "properties": {
            "size": { "type": "integer", "minimum": 1 },
            "limit": { "type": "integer" },
            "port": { "x-kubernetes-int-or-string": true },
            "color": { "type": "string", "enum": ["red", "green"] },
            "template": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
        },
        "x-kubernetes-validations": [
            { "rule": "!has(self.limit) || self.size <= self.limit", "messageExpression": "'no more than ' + string(self.limit)", "fieldPath": ".size" },
            { "rule": "self.size >= oldSelf.size", "message": "never shrinks", "reason": "FieldValueForbidden" },
        ],
    });
    definition
}

fn widget(spec: Value) -> Value {
    json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" }, "spec": spec })
}

#[tokio::test]
async fn complaints_come_with_their_causes() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, with_schema()).await;
    let answer = admin.post(WIDGETS, widget(json!({ "size": "big", "color": "blue", "port": true }))).await.expect(422);
    let causes: Vec<(&str, &str)> = answer["details"]["causes"]
        .as_array()
        .expect("causes")
        .iter()
        .map(|cause| (cause["reason"].as_str().expect("a reason"), cause["field"].as_str().expect("a field")))
        .collect();
    assert_eq!(
        causes,
        [
            ("FieldValueNotSupported", "spec.color"),
            ("FieldValueTypeInvalid", "spec.port"),
            ("FieldValueTypeInvalid", "spec.size"),
            ("FieldValueInvalid", "<nil>"),
        ]
    );
    assert_eq!(answer["details"]["group"], GROUP);
    let words = admin.post(WIDGETS, widget(json!({ "size": 3, "limit": 2 }))).await.refused(422, "Invalid");
    assert_eq!(words, r#"Widget.example.org "a" is invalid: spec.size: Invalid value: "object": no more than 2"#);
    let spec = json!({ "size": 3, "port": "50%", "template": { "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" } } });
    let created = admin.post(WIDGETS, widget(spec.clone())).await.expect(201);
    assert_eq!(created["spec"], spec);
    let patch = async |spec: Value| admin.patch(&format!("{WIDGETS}/a"), "application/merge-patch+json", json!({ "spec": spec })).await;
    assert!(patch(json!({ "size": 2 })).await.refused(422, "Invalid").ends_with("spec: Forbidden: never shrinks"));
    patch(json!({ "size": 4, "port": 80 })).await.expect(200);
}

#[tokio::test]
async fn objects_live_on_when_their_schema_becomes_stricter() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, with_schema()).await;
    admin.post(WIDGETS, widget(json!({ "size": 1, "limit": 7, "color": "red" }))).await.expect(201);
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let stricter = json!([
        { "op": "replace", "path": format!("{properties}/size/minimum"), "value": 5 },
        { "op": "remove", "path": format!("{properties}/color") },
        { "op": "add", "path": format!("{properties}/shape"), "value": { "type": "string", "default": "round" } },
    ]);
    admin.patch(&at("widgets"), "application/json-patch+json", stricter).await.expect(200);
    // It is served anew in a moment: what was stored shows without the field that went, and with the new default.
    let read = loop {
        let read = admin.get(&format!("{WIDGETS}/a")).await;
        if read.status == 200 && read.text.contains("round") {
            break read.expect(200);
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(read["spec"], json!({ "size": 1, "limit": 7, "shape": "round" }));
    let patch = async |spec: Value| admin.patch(&format!("{WIDGETS}/a"), "application/merge-patch+json", json!({ "spec": spec })).await;
    // What is too small now may stay, but not change to what is too small.
    patch(json!({ "limit": 8 })).await.expect(200);
    assert!(patch(json!({ "size": 2 })).await.refused(422, "Invalid").contains("spec.size in body should be greater than or equal to 5"));
    patch(json!({ "size": 5 })).await.expect(200);
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_with_the_definition() {
    let server = TestServer::start().await;
    let mut wrong = with_schema();
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{ "rule": "self.sise > 1" }]);
    let words = server.admin.post(super::DEFINITIONS, wrong).await.refused(422, "Invalid");
    assert!(words.contains("x-kubernetes-validations[0].rule: Invalid value") && words.contains("undefined field 'sise'"), "{words}");
}
