//! Versions of a kind that a webhook converts into each other: what is read, listed, watched, written and migrated, and what becomes of requests when the
//! webhook fails.

use super::*;
use crate::harness::TestServer;
use crate::webhooks::hook_server::{HookServer, Reply};
use crate::webhooks::{VALIDATING, configure, hook};
use parking_lot::Mutex;
use std::sync::Arc;

const SECOND: &str = "/apis/example.org/v2/namespaces/default/widgets";

/// Widgets whose second version calls `spec.size` `spec.length`, in tens.
fn both(server: &HookServer, reviews: &[&str]) -> Value {
    let mut both = widgets();
    let mut two = version("v2", false);
    two["subresources"] = json!({ "status": {} });
    two["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({ "type": "object", "required": ["length"],
        "properties": { "length": { "type": "integer" }, "color": { "type": "string" }, "extra": { "type": "string" } } });
    two["selectableFields"] = json!([{ "jsonPath": ".spec.length" }]);
    both["spec"]["versions"].as_array_mut().expect("versions").push(two);
    both["spec"]["conversion"] = json!({ "strategy": "Webhook", "webhook": { "conversionReviewVersions": reviews,
        "clientConfig": { "url": server.url(), "caBundle": server.ca_bundle() } } });
    both
}

/// What the webhook makes of an object.
fn converted(object: &Value, desired: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = desired.clone();
    let spec = object["spec"].as_object_mut().expect("a spec");
    if desired == "example.org/v2" {
        let size = spec.remove("size").and_then(|size| size.as_i64()).expect("a size");
        spec.insert("length".into(), json!(size * 10));
    } else {
        let length = spec.remove("length").and_then(|length| length.as_i64()).expect("a length");
        spec.insert("size".into(), json!(length / 10));
        spec.insert("unknown".into(), json!(true));
    }
    object
}

fn answer(question: &Value) -> Reply {
    let objects = question["objects"].as_array().expect("objects");
    let objects: Vec<Value> = objects.iter().map(|object| converted(object, &question["desiredAPIVersion"])).collect();
    Reply::Response(json!({ "result": { "status": "Success" }, "convertedObjects": objects }))
}

async fn converting() -> HookServer {
    HookServer::start(answer).await
}

/// How many objects each call was about.
fn counts(webhook: &HookServer) -> Vec<usize> {
    webhook.asked().iter().map(|question| question["objects"].as_array().expect("objects").len()).collect()
}

#[tokio::test]
async fn an_object_is_read_and_written_in_either_version() {
    let (server, webhook) = (TestServer::start().await, converting().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    admin.post(WIDGETS, widget("a", 3)).await.expect(201);
    assert_eq!(counts(&webhook), [0usize; 0]);
    let shown = admin.get(&format!("{SECOND}/a")).await.expect(200);
    assert_eq!((&shown["apiVersion"], &shown["spec"]), (&json!("example.org/v2"), &json!({ "length": 30, "color": "grey" })));
    let question = webhook.asked().remove(0);
    assert_eq!((&question["desiredAPIVersion"], &question["objects"][0]["spec"]["size"]), (&json!("example.org/v2"), &json!(3)));
    // Written in the other version: stored in the first, without what its schema does not have.
    let two = json!({ "apiVersion": "example.org/v2", "kind": "Widget", "metadata": { "name": "b" }, "spec": { "length": 50 } });
    let made = admin.post(SECOND, two).await.expect(201);
    assert_eq!(made["spec"], json!({ "length": 50 }));
    let first = admin.get(&format!("{WIDGETS}/b")).await.expect(200);
    assert_eq!(first["spec"], json!({ "size": 5, "color": "grey" }));
    assert_eq!(first["metadata"]["uid"], made["metadata"]["uid"]);
    let patched =
        admin.patch(&format!("{SECOND}/b"), "application/merge-patch+json", json!({ "spec": { "length": 70 } })).await.expect(200);
    assert_eq!(patched["spec"]["length"], 70);
    assert_eq!(admin.get(&format!("{WIDGETS}/b")).await.expect(200)["spec"]["size"], 7);
    let scale = admin.get(&format!("{WIDGETS}/b/scale")).await.expect(200);
    assert_eq!(scale["spec"]["replicas"], 7);
    admin.delete(&format!("{SECOND}/b")).await.expect(200);
    admin.get(&format!("{WIDGETS}/b")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn lists_are_converted_in_one_call_and_once() {
    let (server, webhook) = (TestServer::start().await, converting().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1beta1"])).await;
    for i in 0..5 {
        admin.post(WIDGETS, widget(&format!("w{i}"), i)).await.expect(201);
    }
    let list = admin.get(SECOND).await.expect(200);
    assert_eq!((&list["items"][4]["spec"]["length"], &list["items"][4]["apiVersion"]), (&json!(40), &json!("example.org/v2")));
    assert_eq!(counts(&webhook), [5]);
    // What is selected is what is shown.
    let selected = admin.get(&format!("{SECOND}?fieldSelector=spec.length%3D20")).await.expect(200);
    assert_eq!(names(&selected), ["w2"]);
    assert_eq!(counts(&webhook), [0usize; 0]);
    let page = admin.get(&format!("{SECOND}?limit=2")).await.expect(200);
    let token = page["metadata"]["continue"].as_str().expect("more");
    let rest = admin.get(&format!("{SECOND}?limit=2&continue={token}")).await.expect(200);
    assert_eq!((names(&rest), &rest["items"][0]["spec"]["length"]), (vec!["w2".into(), "w3".into()], &json!(20)));
    assert_eq!(counts(&webhook), [2]);
    let table = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(SECOND).await.expect(200);
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn watches_tell_of_objects_in_their_version() {
    let (server, webhook) = (TestServer::start().await, converting().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let mut watch = admin.watch(&format!("{SECOND}?watch=1&fieldSelector=spec.length%3D10")).await;
    let told = watch.next().await.expect("an event");
    assert_eq!((&told["type"], &told["object"]["spec"]["length"]), (&json!("ADDED"), &json!(10)));
    admin.patch(&format!("{WIDGETS}/a"), "application/merge-patch+json", json!({ "spec": { "color": "red" } })).await.expect(200);
    let told = watch.next().await.expect("an event");
    assert_eq!((&told["type"], &told["object"]["spec"]), (&json!("MODIFIED"), &json!({ "length": 10, "color": "red" })));
    admin.patch(&format!("{WIDGETS}/a"), "application/merge-patch+json", json!({ "spec": { "size": 2 } })).await.expect(200);
    let told = watch.next().await.expect("an event");
    assert_eq!((&told["type"], &told["object"]["apiVersion"]), (&json!("DELETED"), &json!("example.org/v2")));
}

#[tokio::test]
async fn objects_are_migrated_by_writing_what_is_there() {
    let (server, webhook) = (TestServer::start().await, converting().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let patch = json!([{ "op": "replace", "path": "/spec/versions/0/storage", "value": false },
        { "op": "replace", "path": "/spec/versions/1/storage", "value": true }]);
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    watch.next().await.expect("a");
    let changed = admin.patch(&at("widgets"), "application/json-patch+json", patch).await.expect(200);
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    // Its watches end when it is served as it is now.
    while watch.next().await.is_some() {}
    webhook.asked();
    let path = format!("{SECOND}/a");
    let before = admin.get(&path).await.expect(200);
    let after = admin.put(&path, before.clone()).await.expect(200);
    assert_ne!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    webhook.asked();
    // It is in that version now: nobody is asked.
    assert_eq!(admin.get(&path).await.expect(200), after);
    assert_eq!(counts(&webhook), [0usize; 0]);
    // Writing it once more changes nothing. What it is and was is seen in the version too in which one of its fields is owned.
    assert_eq!(admin.put(&path, after.clone()).await.expect(200), after);
    assert_eq!(counts(&webhook), [1, 1]);
}

/// The message of a failure that has no reason.
async fn told(client: &Client, path: &str) -> String {
    let answer = client.get(path).await;
    assert_eq!((answer.status.as_u16(), answer.body.get("reason")), (500, None), "{}", answer.text);
    answer.body["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn a_webhook_that_fails_or_lies_is_named() {
    let says = Arc::new(Mutex::new(Reply::Silence));
    let (server, said) = (TestServer::start().await, says.clone());
    let webhook = HookServer::start(move |question| match &*said.lock() {
        Reply::Raw(code, body) => Reply::Raw(*code, body.clone()),
        Reply::Response(patch) => {
            let mut object = converted(&question["objects"][0], &question["desiredAPIVersion"]);
            orknet_patch::merge::apply(&mut object, patch);
            Reply::Response(json!({ "result": { "status": "Success" }, "convertedObjects": [object] }))
        }
        Reply::Silence => Reply::Response(json!({ "result": { "status": "Failed", "message": "no such thing" } })),
    })
    .await;
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let path = format!("{SECOND}/a");
    let begin = "conversion webhook for example.org/v1, Kind=Widget";
    assert_eq!(told(admin, &path).await, format!("{begin} failed: no such thing"));
    assert_eq!(told(admin, SECOND).await, format!("{begin} failed: no such thing"));
    *says.lock() = Reply::Raw(404, "".into());
    assert_eq!(told(admin, &path).await, format!("{begin} failed: the server could not find the requested resource"));
    *says.lock() = Reply::Response(json!({ "metadata": { "name": "b" } }));
    assert_eq!(told(admin, &path).await, format!("{begin} returned invalid object: must have the same name: a != b"));
    *says.lock() = Reply::Response(json!({ "metadata": { "labels": { "a": "b" }, "finalizers": ["x/y"], "generation": 7 } }));
    let shown = admin.get(&path).await.expect(200);
    assert_eq!((&shown["metadata"]["labels"], &shown["metadata"]["generation"]), (&json!({ "a": "b" }), &json!(1)));
    assert_eq!(shown["metadata"].get("finalizers"), None);
    // The version that is stored needs nobody, and neither does the end of the definition.
    *says.lock() = Reply::Silence;
    admin.get(&format!("{WIDGETS}/a")).await.expect(200);
    admin.delete(&at("widgets")).await.expect(200);
    gone(admin, "widgets").await;
}

#[tokio::test]
async fn admission_webhooks_are_told_in_the_version_that_they_ask_for() {
    let (server, webhook, asked) = (TestServer::start().await, converting().await, HookServer::allowing().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    let hooks = json!([hook(&asked, "widgets.example.org", |hook| {
        hook["rules"] = json!([{ "operations": ["*"], "apiGroups": ["example.org"], "apiVersions": ["v2"], "resources": ["widgets"] }]);
    })]);
    configure(&server, VALIDATING, "widgets", hooks).await;
    admin.post(WIDGETS, widget("a", 4)).await.expect(201);
    let question = asked.asked().remove(0);
    assert_eq!((&question["object"]["spec"]["length"], &question["kind"]["version"]), (&json!(40), &json!("v2")));
}

#[tokio::test]
async fn owners_of_fields_in_one_version_are_known_in_the_other() {
    let (server, webhook) = (TestServer::start().await, converting().await);
    let admin = &server.admin;
    define(admin, both(&webhook, &["v1"])).await;
    let apply = async |place: &str, manager: &str, version: &str, spec: Value| {
        let config = json!({ "apiVersion": format!("example.org/{version}"), "kind": "Widget", "metadata": { "name": "a" }, "spec": spec });
        admin.patch(&format!("{place}/a?fieldManager={manager}"), "application/apply-patch+yaml", config).await
    };
    let owners = |object: &Value| -> Vec<(Value, Value)> {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        entries.map(|entry| (entry["manager"].clone(), entry["apiVersion"].clone())).collect()
    };
    apply(WIDGETS, "one", "v1", json!({ "size": 3 })).await.expect(201);
    let message = apply(SECOND, "two", "v2", json!({ "length": 40 })).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .spec.size");
    let shared = apply(SECOND, "two", "v2", json!({ "length": 30 })).await.expect(200);
    let both = [("one".into(), "example.org/v1".into()), ("two".into(), "example.org/v2".into())];
    assert_eq!(owners(&shared), both);
    let again = apply(SECOND, "two", "v2", json!({ "length": 30 })).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], shared["metadata"]["resourceVersion"]);
    let path = format!("{SECOND}/a?fieldManager=three");
    let taken = admin.patch(&path, "application/merge-patch+json", json!({ "spec": { "length": 50 } })).await.expect(200);
    assert_eq!(owners(&taken), [("three".into(), "example.org/v2".into())]);
}
