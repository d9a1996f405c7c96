//! Deletion: preconditions, finalizers, propagation, namespaces, collections.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, version};
use serde_json::json;

#[tokio::test]
async fn a_deletion_answers_with_what_is_gone() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let status = server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!((&status["details"]["kind"], &status["details"]["uid"]), (&json!("configmaps"), &created["metadata"]["uid"]));
    server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn preconditions_must_hold() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let message = server.admin.delete_with(&path, json!({ "preconditions": { "uid": "other" } })).await.refused(409, "Conflict");
    assert!(message.contains("Precondition failed: UID in precondition: other, UID in object meta: "), "{message}");
    let stale = json!({ "preconditions": { "resourceVersion": (version(&created) - 1).to_string() } });
    server.admin.delete_with(&path, stale).await.refused(409, "Conflict");
    let right =
        json!({ "preconditions": { "uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"] } });
    server.admin.delete_with(&path, right).await.expect(200);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = TestServer::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/x"]);
    server.admin.post(CONFIG_MAPS, object).await.expect(201);
    let marked = server.admin.delete(&path).await.expect(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let again = server.admin.delete(&path).await.expect(200);
    assert_eq!(version(&again), version(&marked));
    let add = json!({ "metadata": { "finalizers": ["example.com/x", "example.com/y"] } });
    server.admin.patch(&path, "application/merge-patch+json", add).await.refused(422, "Invalid");
    let done = json!({ "metadata": { "finalizers": null } });
    server.admin.patch(&path, "application/merge-patch+json", done).await.expect(200);
    server.admin.get(&path).await.refused(404, "NotFound");
}

#[tokio::test]
async fn propagation_is_written_down_as_a_finalizer() {
    let server = TestServer::start().await;
    for (name, policy, finalizer) in [("f", "Foreground", "foregroundDeletion"), ("o", "Orphan", "orphan")] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
        let marked = server.admin.delete_with(&format!("{CONFIG_MAPS}/{name}"), json!({ "propagationPolicy": policy })).await.expect(200);
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
    }
    let both = json!({ "propagationPolicy": "Orphan", "orphanDependents": true });
    server.admin.delete_with(&format!("{CONFIG_MAPS}/o"), both).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn a_namespace_terminates_before_it_goes() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let created = admin.post("/api/v1/namespaces", json!({ "metadata": { "name": "n" } })).await.expect(201);
    assert_eq!((&created["status"]["phase"], &created["spec"]["finalizers"]), (&json!("Active"), &json!(["kubernetes"])));
    admin.post("/api/v1/namespaces/n/configmaps", config_map("a")).await.expect(201);
    let marked = admin.delete("/api/v1/namespaces/n").await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let answer = admin.post("/api/v1/namespaces/n/configmaps", config_map("b")).await;
    assert_eq!(answer.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let message = answer.refused(403, "Forbidden");
    assert_eq!(message, r#"configmaps "b" is forbidden: unable to create new content in namespace n because it is being terminated"#);
    let mut finalized = admin.get("/api/v1/namespaces/n").await.expect(200);
    finalized["spec"] = json!({});
    admin.put("/api/v1/namespaces/n/finalize", finalized).await.expect(200);
    admin.get("/api/v1/namespaces/n").await.refused(404, "NotFound");
    admin.delete("/api/v1/namespaces/default").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
    }
    let selected = format!("{CONFIG_MAPS}?labelSelector=app+in+(a,b)");
    let deleted = server.admin.delete(&selected).await.expect(200);
    assert_eq!(deleted["items"].as_array().map(Vec::len), Some(2));
    let left = server.admin.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_precondition_that_is_not_understood_is_refused_not_passed_over() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    for options in [
        json!({ "preconditions": { "uid": 5 } }),
        json!({ "preconditions": [] }),
        json!({ "gracePeriodSeconds": "soon" }),
        json!({ "dryRun": "All" }),
        json!({ "propagationPolicy": "Later" }),
        json!({ "kind": "ConfigMap" }),
        json!([]),
    ] {
        server.admin.delete_with(&path, options).await.refused(400, "BadRequest");
    }
    server.admin.delete_with(&path, json!({ "preconditions": { "uid": "other" } })).await.refused(409, "Conflict");
    server.admin.delete_with(&path, json!({ "kind": "DeleteOptions", "apiVersion": "v1" })).await.expect(200);
}
