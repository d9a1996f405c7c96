//! With a definition go its objects, and nothing is left.

use super::*;
use crate::harness::{TestServer, open};
use orknet_store::{KeyRange, Op};
use std::collections::BTreeSet;

#[tokio::test]
async fn objects_go_with_their_definition_when_their_finalizers_are_done() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let mut held = widget("held", 1);
    held["metadata"]["finalizers"] = json!(["example.org/held"]);
    admin.post(WIDGETS, held).await.expect(201);
    let marked = admin.delete(&at("widgets")).await.expect(200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(condition(&marked, "Terminating")["reason"], "InstanceDeletionPending");
    until(admin, "widgets", "Terminating", "True", "InstanceDeletionInProgress").await;
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    loop {
        let event = watch.next().await.expect("an event");
        if event["object"]["metadata"]["name"] == "held" && event["object"]["metadata"]["deletionTimestamp"].is_string() {
            break;
        }
    }
    let why = admin.post(WIDGETS, widget("late", 1)).await.refused(405, "MethodNotAllowed");
    assert_eq!(why, "create not allowed while custom resource definition is terminating");
    let apply = admin.patch(&format!("{WIDGETS}/late?fieldManager=m"), "application/apply-patch+yaml", widget("late", 1)).await;
    apply.refused(405, "MethodNotAllowed");
    // Read and changed it can be.
    let free = json!({ "metadata": { "finalizers": null } });
    admin.patch(&format!("{WIDGETS}/held"), "application/merge-patch+json", free).await.expect(200);
    gone(admin, "widgets").await;
    while watch.next().await.is_some() {}
    admin.get(WIDGETS).await.refused(404, "NotFound");
    assert!(!admin.get("/apis").await.text.contains(GROUP));
    // One that comes again begins with nothing.
    define(admin, widgets()).await;
    assert!(names(&admin.get(WIDGETS).await.expect(200)).is_empty());
}

#[tokio::test]
async fn a_thousand_objects_go_with_their_definition() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let made: Vec<_> = (0..1000)
        .map(|i| orknet_store::Op::Put {
            key: format!("/registry/example.org/widgets/default/w{i:04}").into(),
            value:
                json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": format!("w{i:04}"), "namespace": "default",
                "uid": format!("u{i}"), "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": { "size": i } })
                .to_string()
                .into(),
            ttl: None,
        })
        .collect();
    for some in made.chunks(100) {
        store.commit(Vec::new(), some.to_vec()).await.expect("written");
    }
    assert_eq!(names(&admin.get(WIDGETS).await.expect(200)).len(), 1000);
    admin.delete(&at("widgets")).await.expect(200);
    gone(admin, "widgets").await;
    let left = store.range(KeyRange::prefix("/registry/example.org/"), None, 0).await.expect("read");
    assert!(left.entries.is_empty());
}

#[tokio::test]
async fn definitions_that_come_and_go_leave_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let admin = &server.admin;
    let keys = async || {
        let all = store.range(KeyRange::prefix("/registry/"), None, 0).await.expect("read");
        let names = all.entries.iter().map(|entry| String::from_utf8_lossy(&entry.key).into_owned());
        // Written by the server itself from time to time, and a moment after the kind goes.
        names.filter(|key| !key.contains("/masterleases/") && !key.ends_with("/apiservices/v1.example.org")).collect::<BTreeSet<_>>()
    };
    let metrics = async || admin.get("/metrics").await.text.lines().filter(|line| line.starts_with("apiserver_storage_objects{")).count();
    // The kind goes right after its definition, and its metrics right after that.
    let forgotten = async || {
        gone(admin, "widgets").await;
        while admin.get(WIDGETS).await.status != 404 || admin.get("/metrics").await.text.contains("widgets.example.org\"}") {}
    };
    define(admin, widgets()).await;
    admin.delete(&at("widgets")).await.expect(200);
    forgotten().await;
    let before = (keys().await, metrics().await, admin.get("/openapi/v3").await.body, admin.get("/apis").await.body);
    for i in 0..30 {
        define(admin, widgets()).await;
        admin.post(WIDGETS, widget("a", i)).await.expect(201);
        admin.delete(&at("widgets")).await.expect(200);
        gone(admin, "widgets").await;
    }
    forgotten().await;
    assert_eq!((keys().await, metrics().await, admin.get("/openapi/v3").await.body, admin.get("/apis").await.body), before);
}

/// Creates race with the deletion of the definition: what was made goes, what comes too late is refused, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_made_behind_the_back_of_a_deletion() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(directory.path()).await;
    let first = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let second = TestServer::start_on(other, store.clone(), |_| {}).await;
    for round in 0..5 {
        define(&first.admin, widgets()).await;
        while second.admin.get(WIDGETS).await.status != 200 {}
        let making: Vec<_> = [&first, &second, &second]
            .into_iter()
            .enumerate()
            .map(|(who, server)| {
                let admin = server.admin.clone();
                tokio::spawn(async move {
                    for i in 0.. {
                        let answer = admin.post(WIDGETS, widget(&format!("w{who}-{i}"), 1)).await;
                        match answer.status.as_u16() {
                            201 => {}
                            404 | 405 => return,
                            _ => panic!("{}", answer.text),
                        }
                    }
                })
            })
            .collect();
        while names(&second.admin.get(WIDGETS).await.expect(200)).len() < 5 {}
        first.admin.delete(&at("widgets")).await.expect(200);
        for made in making {
            made.await.expect("ends");
        }
        gone(&second.admin, "widgets").await;
        gone(&first.admin, "widgets").await;
        let left = store.range(KeyRange::prefix("/registry/example.org/"), None, 0).await.expect("read");
        assert!(left.entries.is_empty(), "round {round}: {} left", left.entries.len());
    }
}

#[tokio::test]
async fn what_was_made_before_anybody_said_that_it_is_served_goes_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    // As a server leaves it that ends between serving a kind and saying so.
    let mut odd = definition("odds", "Odd");
    let names = json!({ "plural": "odds", "singular": "odd", "kind": "Odd", "listKind": "OddList" });
    let meta = json!({ "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:01Z",
        "finalizers": ["customresourcecleanup.apiextensions.k8s.io"], "name": "odds.example.org" });
    (odd["metadata"], odd["spec"]["names"]) = (meta, names.clone());
    odd["status"] = json!({ "acceptedNames": names, "storedVersions": ["v1"], "conditions": [] });
    let object = json!({ "apiVersion": "example.org/v1", "kind": "Odd", "spec": { "size": 1 },
        "metadata": { "name": "a", "namespace": "default", "uid": "2", "creationTimestamp": "2026-01-01T00:00:00Z" } });
    let key = "/registry/example.org/odds/default/a";
    let definitions = "/registry/apiextensions.k8s.io/customresourcedefinitions/odds.example.org";
    let put = |key: &'static str, value: &Value| Op::Put { key: key.into(), value: value.to_string().into(), ttl: None };
    store.commit(Vec::new(), vec![put(definitions, &odd), put(key, &object)]).await.expect("written");
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    gone(&server.admin, "odds").await;
    assert!(store.range(KeyRange::single(key), None, 1).await.expect("read").entries.is_empty());
}
