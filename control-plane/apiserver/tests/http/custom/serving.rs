//! Every server follows the definitions: what changes is served anew, what was stored is served before the server is ready, and one that cannot be read
//! says so.

use super::*;
use crate::harness::{TestServer, open};
use orknet_store::{KeyRange, Op};
use std::time::Duration;

fn second() -> Value {
    let mut two = version("v2", false);
    two["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["weight"] = json!({ "type": "integer", "default": 7 });
    two
}

#[tokio::test]
async fn a_changed_definition_is_served_as_it_is_now() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let made = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    watch.next().await.expect("a");
    let patch = json!([{ "op": "add", "path": "/spec/versions/-", "value": second() }]);
    let changed = admin.patch(&at("widgets"), "application/json-patch+json", patch).await.expect(200);
    assert_eq!((&changed["metadata"]["generation"], &changed["status"]["storedVersions"]), (&json!(2), &json!(["v1"])));
    // Its watches end, the new version is there.
    while watch.next().await.is_some() {}
    let new = "/apis/example.org/v2/namespaces/default/widgets/a";
    let shown = admin.get(new).await.expect(200);
    assert_eq!((&shown["apiVersion"], &shown["spec"]["weight"]), (&json!("example.org/v2"), &json!(7)));
    assert_eq!(shown["metadata"]["uid"], made["metadata"]["uid"]);
    // Its place among the versions is that of its APIService, which the server makes by itself.
    for look in 0.. {
        let group = admin.get("/apis/example.org").await.expect(200);
        if group["preferredVersion"]["version"] == "v2" {
            break;
        }
        assert!(look < 1000, "{group}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Stored in the new one from now on: both are remembered.
    let patch = json!([{ "op": "replace", "path": "/spec/versions/0/storage", "value": false },
        { "op": "replace", "path": "/spec/versions/1/storage", "value": true }]);
    let changed = admin.patch(&at("widgets"), "application/json-patch+json", patch).await.expect(200);
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    let gone = json!([{ "op": "remove", "path": "/spec/versions/0" }]);
    let why = admin.patch(&at("widgets"), "application/json-patch+json", gone.clone()).await.refused(422, "Invalid");
    assert!(
        why.contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"),
        "{why}"
    );
    let migrated = json!({ "status": { "storedVersions": ["v2"] } });
    admin.patch(&format!("{}/status", at("widgets")), "application/merge-patch+json", migrated).await.expect(200);
    admin.patch(&at("widgets"), "application/json-patch+json", gone).await.expect(200);
    until_answers(admin, WIDGETS, 404).await;
    admin.get(new).await.expect(200);
}

/// Follows what a server does by itself, soon.
async fn until_answers(client: &Client, path: &str, code: u16) {
    for _ in 0..1000 {
        if client.get(path).await.status.as_u16() == code {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{path} does not answer {code}");
}

#[tokio::test]
async fn changes_of_the_status_alone_end_no_watch() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let labelled = admin.patch(&at("widgets"), "application/merge-patch+json", label).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    // Another definition that is served after it: the first has been looked at.
    define(admin, definition("gadgets", "Gadget")).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    assert_eq!(watch.next_named().await, ("ADDED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn what_was_defined_is_served_before_a_server_is_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    for i in 0..20 {
        define(&server.admin, definition(&format!("kinds{i}"), &format!("Kind{i}"))).await;
    }
    define(&server.admin, widgets()).await;
    let made = server.admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let directory = server.stop().await;
    let server = TestServer::begin_on(directory, store, |_| {}).await;
    // What may be defined is not taken for gone.
    let early = server.admin.get(&format!("{WIDGETS}/a")).await;
    assert!(matches!(early.status.as_u16(), 200 | 503), "{}", early.text);
    server.handle.ready().await;
    assert_eq!(server.admin.get(&format!("{WIDGETS}/a")).await.expect(200), made);
    for i in 0..20 {
        server.admin.get(&format!("/apis/example.org/v1/kinds{i}")).await.expect(200);
    }
    assert_eq!(server.admin.get("/readyz/custom-resources").await.text, "ok");
}

#[tokio::test]
async fn two_servers_serve_what_one_was_given() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(directory.path()).await;
    let first = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let second = TestServer::start_on(other, store, |_| {}).await;
    define(&first.admin, widgets()).await;
    established(&second.admin, "widgets").await;
    until_answers(&second.admin, WIDGETS, 200).await;
    first.admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    second.admin.post(WIDGETS, widget("b", 1)).await.expect(201);
    assert_eq!(names(&first.admin.get(WIDGETS).await.expect(200)), ["a", "b"]);
    first.admin.delete(&at("widgets")).await.expect(200);
    gone(&second.admin, "widgets").await;
    until_answers(&second.admin, WIDGETS, 404).await;
    until_answers(&first.admin, WIDGETS, 404).await;
}

#[tokio::test]
async fn a_stored_definition_that_cannot_be_read_says_so_and_harms_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    define(&server.admin, widgets()).await;
    // As another server, of another version, may have stored it.
    let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.org";
    let stored = store.range(KeyRange::single(key), None, 1).await.expect("read").entries.remove(0);
    let mut odd: Value = serde_json::from_slice(&stored.value).expect("JSON");
    odd["metadata"] = json!({ "name": "odds.example.org", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z" });
    odd["spec"]["names"] = json!({ "plural": "odds", "singular": "odd", "kind": "Odd", "listKind": "OddList" });
    odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "(" } } });
    odd["status"] = json!({ "storedVersions": ["v1"] });
    let put = Op::Put {
        key: "/registry/apiextensions.k8s.io/customresourcedefinitions/odds.example.org".into(),
        value: odd.to_string().into(),
        ttl: None,
    };
    store.commit(Vec::new(), vec![put]).await.expect("written");
    let refused = until(&server.admin, "odds", "Established", "False", "NotServed").await;
    assert_eq!(condition(&refused, "NonStructuralSchema")["status"], "True");
    server.admin.get("/apis/example.org/v1/odds").await.refused(404, "NotFound");
    server.admin.get(WIDGETS).await.expect(200);
    // It goes as any other.
    server.admin.delete(&at("odds")).await.expect(200);
    gone(&server.admin, "odds").await;
}
