//! The rules for definitions, in upstream's words.

use super::*;
use crate::harness::TestServer;

/// A change of the definition by a JSON pointer, and how the complaint begins.
const CASES: &[(&str, &str, &str)] = &[
    (
        "/metadata/name",
        r#""other.example.org""#,
        r#"metadata.name: Invalid value: "other.example.org": must be spec.names.plural+"."+spec.group"#,
    ),
    ("/spec/group", r#""example""#, r#"spec.group: Invalid value: "example": should be a domain with at least one dot"#),
    ("/spec/group", r#""""#, "spec.group: Required value"),
    ("/spec/scope", r#""Galaxy""#, r#"spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced""#),
    ("/spec/names/plural", r#""Widgets""#, r#"spec.names.plural: Invalid value: "Widgets": a DNS-1035 label must consist of"#),
    (
        "/spec/names/kind",
        r#""A_B""#,
        r#"spec.names.kind: Invalid value: "A_B": may have mixed case, but should otherwise match: a DNS-1035 label"#,
    ),
    ("/spec/names/listKind", r#""Widget""#, r#"spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same"#),
    ("/spec/names/shortNames", r#"["W"]"#, r#"spec.names.shortNames[0]: Invalid value: "W": a DNS-1035 label"#),
    ("/spec/versions/0/storage", "false", "spec.versions: Invalid value: must have exactly one version marked as storage version"),
    ("/spec/versions/0/name", r#""1""#, r#"spec.versions[0].name: Invalid value: "1": a DNS-1035 label"#),
    ("/spec/versions/0/schema", "null", "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"),
    (
        "/spec/versions/0/deprecationWarning",
        r#""x""#,
        r#"spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions"#,
    ),
    (
        "/spec/preserveUnknownFields",
        "true",
        "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
    ),
    (
        "/spec/conversion",
        r#"{"strategy": "Webhook"}"#,
        "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
    ),
    (
        "/spec/conversion",
        r#"{"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}"#,
        "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
    ),
    (
        "/spec/conversion",
        r#"{"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "http://x"}}}"#,
        r#"spec.conversion.webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#,
    ),
    (
        "/spec/conversion",
        r#"{"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v9"], "clientConfig": {"url": "https://x"}}}"#,
        "spec.conversion.conversionReviewVersions: Invalid value: []string{\"v9\"}: must include at least one of v1, v1beta1",
    ),
    (
        "/spec/versions/0/additionalPrinterColumns",
        r#"[{"name": "", "type": "text", "jsonPath": "spec"}]"#,
        "spec.additionalPrinterColumns[0].name: Required value",
    ),
    (
        "/spec/versions/0/subresources",
        r#"{"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".status.y"}}"#,
        r#"spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec"#,
    ),
    (
        "/spec/versions/0/selectableFields",
        r#"[{"jsonPath": ".spec.parts"}]"#,
        r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec.parts": must point to a field of type string, boolean or integer."#,
    ),
    (
        "/spec/versions/0/selectableFields",
        r#"[{"jsonPath": ".spec.none"}]"#,
        r#"spec.selectableFields[0].jsonPath: Invalid value: ".spec.none": is an invalid path"#,
    ),
    (
        "/spec/versions/0/schema/openAPIV3Schema/type",
        r#""string""#,
        "spec.validation.openAPIV3Schema.type: Invalid value: \"string\": only \"object\" is allowed as the type at the root of the schema",
    ),
];

fn changed(mut definition: Value, pointer: &str, value: &str) -> Value {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    definition.pointer_mut(parent).expect("there")[last] = serde_json::from_str(value).expect("JSON");
    definition
}

#[tokio::test]
async fn each_rule_has_its_complaint() {
    let server = TestServer::start().await;
    let mut missing = Vec::new();
    for (pointer, value, expected) in CASES {
        let why = server.admin.post(DEFINITIONS, changed(widgets(), pointer, value)).await.refused(422, "Invalid");
        if !why.contains(expected) {
            missing.push(format!("{pointer} = {value}:\n  {why}\n  has not: {expected}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(server.admin.get(DEFINITIONS).await.expect(200)["items"].as_array().is_some_and(Vec::is_empty));
}

#[tokio::test]
async fn what_objects_depend_on_stays() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let merge = async |patch: Value| admin.patch(&at("widgets"), "application/merge-patch+json", patch).await;
    for (patch, expected) in [
        (json!({ "spec": { "scope": "Cluster" } }), "spec.scope: Invalid value: \"Cluster\": field is immutable"),
        (json!({ "spec": { "names": { "kind": "Gadget" } } }), "spec.names.kind: Invalid value: \"Gadget\": field is immutable"),
        (json!({ "spec": { "group": "other.example.org" } }), "spec.group: Invalid value: \"other.example.org\": field is immutable"),
        (json!({ "spec": { "names": { "plural": "gadgets" } } }), "spec.names.plural: Invalid value: \"gadgets\": field is immutable"),
    ] {
        let why = merge(patch).await.refused(422, "Invalid");
        assert!(why.contains(expected), "{why}");
    }
    let unversioned = admin.put(&at("widgets"), widgets()).await.refused(422, "Invalid");
    assert!(unversioned.contains("metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"), "{unversioned}");
}

#[tokio::test]
async fn kubernetes_own_groups_need_an_approval() {
    let server = TestServer::start().await;
    let mut definition = definition("widgets", "Widget");
    definition["spec"]["group"] = "example.k8s.io".into();
    definition["metadata"]["name"] = "widgets.example.k8s.io".into();
    let why = server.admin.post(DEFINITIONS, definition.clone()).await.refused(422, "Invalid");
    assert!(
        why.contains("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation"),
        "{why}"
    );
    definition["metadata"]["annotations"] = json!({ "api-approved.kubernetes.io": "unapproved, a test" });
    server.admin.post(DEFINITIONS, definition).await.expect(201);
}

#[tokio::test]
async fn numbers_of_a_schema_are_kept_as_they_were_written() {
    let server = TestServer::start().await;
    let mut definition = widgets();
    let size = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size";
    definition.pointer_mut(size).expect("there")["maximum"] = json!(10);
    definition.pointer_mut(size).expect("there")["multipleOf"] = json!(0.5);
    let made = server.admin.post(DEFINITIONS, definition.clone()).await.expect(201);
    assert_eq!(made.pointer(size), definition.pointer(size));
}

/// Deep schemas are no danger to the server.
#[tokio::test]
async fn a_deep_schema_is_read_or_refused() {
    let server = TestServer::start().await;
    for depth in [20, 31, 34, 55, 200] {
        let mut schema = json!({ "type": "string" });
        for _ in 0..depth {
            schema = json!({ "type": "object", "properties": { "a": schema } });
        }
        let name = format!("deep{depth}s");
        let mut definition = definition(&name, &format!("Deep{depth}"));
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = schema;
        let answer = server.admin.post(DEFINITIONS, definition).await;
        assert_eq!(answer.status == 201, depth < 32, "{depth}: {}", answer.text);
        if answer.status == 201 {
            established(&server.admin, &name).await;
        }
    }
}
