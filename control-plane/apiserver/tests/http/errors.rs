//! Every mistake has its code, its reason and its words.

use crate::harness::{CONFIG_MAPS, PODS, TestServer, config_map};
use serde_json::json;

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    assert_eq!(admin.get(&format!("{CONFIG_MAPS}/x")).await.refused(404, "NotFound"), r#"configmaps "x" not found"#);
    assert_eq!(
        admin.get("/apis/apps/v1/namespaces/default/deployments/x").await.refused(404, "NotFound"),
        r#"deployments.apps "x" not found"#
    );
    let unknown = "the server could not find the requested resource";
    for path in ["/api/v1/namespaces/default/nothings", "/apis/nope/v1/things", "/api/v9/pods", "/nowhere", "/api/v1/nodes/n/log"] {
        assert_eq!(admin.get(path).await.refused(404, "NotFound"), unknown, "{path}");
    }
    let created = admin.post("/api/v1/namespaces/nope/configmaps", config_map("a")).await;
    assert_eq!(created.refused(404, "NotFound"), r#"namespaces "nope" not found"#);
}

#[tokio::test]
async fn verbs_that_a_resource_does_not_have_are_not_allowed() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    admin.post(&format!("{CONFIG_MAPS}/a"), config_map("a")).await.refused(405, "MethodNotAllowed");
    admin.put(CONFIG_MAPS, config_map("a")).await.refused(405, "MethodNotAllowed");
    admin.get("/apis/authentication.k8s.io/v1/tokenreviews").await.refused(405, "MethodNotAllowed");
    admin.post("/version/x", json!({})).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn broken_bodies_are_bad_requests() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"metadata\":[]}",
        "{\"kind\":\"Pod\"}",
        "{\"apiVersion\":\"v2\"}",
        "{\"metadata\":{\"name\":1}}",
    ] {
        let answer = admin.send("POST", CONFIG_MAPS, "application/json", body).await;
        answer.refused(400, "BadRequest");
    }
    admin.send("POST", CONFIG_MAPS, "application/yaml", "a: [").await.refused(400, "BadRequest");
    admin.send("POST", CONFIG_MAPS, "application/vnd.kubernetes.protobuf", "k8s\0\u{a}").await.refused(400, "BadRequest");
    admin.send("POST", CONFIG_MAPS, "text/html", "x").await.refused(415, "UnsupportedMediaType");
    admin.send("PATCH", &format!("{CONFIG_MAPS}/a"), "application/json", "{}").await.refused(415, "UnsupportedMediaType");
    let picky = admin.with_header("accept", "application/msgpack");
    picky.get(CONFIG_MAPS).await.refused(406, "NotAcceptable");
}

#[tokio::test]
async fn names_and_namespaces_must_be_those_of_the_path() {
    let server = TestServer::start().await;
    let mut object = config_map("a");
    object["metadata"]["namespace"] = json!("other");
    server.admin.post(CONFIG_MAPS, object).await.refused(400, "BadRequest");
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let message = server.admin.put(&format!("{CONFIG_MAPS}/a"), config_map("b")).await.refused(400, "BadRequest");
    assert_eq!(message, "the name of the object (b) does not match the name on the URL (a)");
    let mut versioned = config_map("c");
    versioned["metadata"]["resourceVersion"] = json!("1");
    let message = server.admin.post(CONFIG_MAPS, versioned).await.refused(400, "BadRequest");
    assert_eq!(message, "resourceVersion should not be set on objects to be created");
}

#[tokio::test]
async fn objects_that_are_too_large_are_refused() {
    let server = TestServer::start_with(|config| config.max_body_bytes = 64 << 10).await;
    let mut object = config_map("a");
    object["data"]["k"] = json!("x".repeat(100 << 10));
    server.admin.post(CONFIG_MAPS, object).await.refused(413, "RequestEntityTooLarge");
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn bad_options_are_bad_requests() {
    let server = TestServer::start().await;
    for query in [
        "limit=x",
        "labelSelector=a+b",
        "fieldSelector=spec.foo%3Db",
        "resourceVersion=x",
        "continue=x",
        "resourceVersionMatch=Exact",
        "dryRun=x",
    ] {
        server.admin.get(&format!("{PODS}?{query}")).await.refused(400, "BadRequest");
    }
    let message = server.admin.get(&format!("{PODS}?fieldSelector=spec.foo%3Db")).await.refused(400, "BadRequest");
    assert_eq!(message, "field label not supported: spec.foo");
    server.admin.delete(&format!("{PODS}/x?propagationPolicy=Maybe")).await.refused(400, "BadRequest");
}
