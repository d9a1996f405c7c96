//! Discovery, OpenAPI, metrics, and the events that are served twice.

use crate::harness::TestServer;
use serde_json::{Value, json};

#[tokio::test]
async fn both_forms_of_discovery_tell_the_same_resources() {
    let server = TestServer::start().await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let asking = server.admin.with_header("accept", aggregated);
    let answer = asking.get("/apis").await;
    assert_eq!(answer.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let tag = answer.headers["etag"].to_str().expect("text").to_owned();
    let document = answer.expect(200);
    let again = asking.with_header("if-none-match", &tag).get("/apis").await;
    assert_eq!(again.status, 304);
    for group in document["items"].as_array().expect("groups") {
        for version in group["versions"].as_array().expect("versions") {
            let path = format!(
                "/apis/{}/{}",
                group["metadata"]["name"].as_str().expect("a name"),
                version["version"].as_str().expect("a version")
            );
            let legacy = server.admin.get(&path).await.expect(200);
            let names = |list: &Value, field: &str| -> Vec<String> {
                let names = list.as_array().expect("a list").iter().filter_map(|entry| entry[field].as_str());
                names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
            };
            assert_eq!(names(&version["resources"], "resource"), names(&legacy["resources"], "name"), "{path}");
        }
    }
    assert_eq!(server.admin.get("/api").await.expect(200)["versions"], json!(["v1"]));
    assert_eq!(server.admin.get("/apis").await.expect(200)["kind"], "APIGroupList");
}

#[tokio::test]
async fn openapi_documents_are_where_the_index_says() {
    let server = TestServer::start().await;
    let index = server.admin.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a path").to_owned();
    let answer = server.admin.get(&url).await;
    assert!(answer.headers["cache-control"].to_str().expect("text").contains("immutable"));
    assert!(answer.expect(200)["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    assert_eq!(server.admin.get("/openapi/v2").await.expect(200)["swagger"], "2.0");
    server.admin.get("/openapi/v3/apis/nope/v1").await.refused(404, "NotFound");
}

#[tokio::test]
async fn metrics_name_requests_by_verb_and_resource() {
    let server = TestServer::start().await;
    server.admin.get("/api/v1/pods").await.expect(200);
    let text = server.admin.get("/metrics").await.text;
    let line = r#"apiserver_request_total{verb="list",group="",version="v1",resource="pods",subresource="",code="200"} 1"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn an_event_is_the_same_under_both_its_names() {
    let server = TestServer::start().await;
    let event = json!({ "metadata": { "name": "e" }, "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" }, "reason": "Pulled",
        "message": "done", "type": "Normal", "count": 1 });
    server.admin.post("/api/v1/namespaces/default/events", event).await.expect(201);
    let other = server.admin.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!(
        (&other["apiVersion"], &other["note"], &other["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("done"), &json!("p"))
    );
    let list = server.admin.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp").await.expect(200);
    assert_eq!(list["items"][0]["message"], "done");
    let new = json!({ "metadata": { "name": "f" }, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "i",
        "action": "Do", "reason": "Done", "regarding": { "kind": "Pod", "name": "q", "namespace": "default" }, "note": "new", "type": "Normal" });
    server.admin.post("/apis/events.k8s.io/v1/namespaces/default/events", new).await.expect(201);
    assert_eq!(server.admin.get("/api/v1/namespaces/default/events/f").await.expect(200)["message"], "new");
}
