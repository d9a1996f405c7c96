//! What mutating webhooks change, in which order, and who is asked again.

use super::hook_server::{HookServer, Reply};
use super::{MUTATING, configure, hook, patch, rule, warnings};
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, PODS, TestServer, config_map, deployment, pod};
use serde_json::{Value, json};

/// A webhook that appends its letter to the annotation `letters`, as often as it is asked.
async fn letter(letter: char) -> HookServer {
    HookServer::start(move |question| {
        let letters = question["object"]["metadata"]["annotations"]["letters"].as_str().unwrap_or_default();
        Reply::Response(patch(
            json!([{ "op": "add", "path": "/metadata/annotations", "value": { "letters": format!("{letters}{letter}") } }]),
        ))
    })
    .await
}

#[tokio::test]
async fn webhooks_are_asked_in_order_and_see_what_those_before_did() {
    let server = TestServer::start().await;
    let (a, b, c) = (letter('a').await, letter('b').await, letter('c').await);
    configure(&server, MUTATING, "second", json!([hook(&a, "a.example.com", |_| {})])).await;
    configure(&server, MUTATING, "first", json!([hook(&c, "z.example.com", |_| {}), hook(&b, "b.example.com", |_| {})])).await;
    let made = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(made["metadata"]["annotations"]["letters"], "cba");
    // What webhooks add is nobody's.
    assert!(!made["metadata"]["managedFields"].to_string().contains("letters"), "{made}");
}

#[tokio::test]
async fn those_that_want_to_are_asked_once_more_after_a_change() {
    let server = TestServer::start().await;
    let (eager, content, last) = (letter('e').await, letter('c').await, letter('l').await);
    let again = |hook: &mut Value| hook["reinvocationPolicy"] = json!("IfNeeded");
    let hooks = json!([hook(&eager, "e.example.com", again), hook(&content, "c.example.com", |_| {}), hook(&last, "l.example.com", again)]);
    configure(&server, MUTATING, "a", hooks).await;
    let made = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    // The first one is asked again for what the others did, and the last one for what the first one did then.
    assert_eq!(made["metadata"]["annotations"]["letters"], "eclel");
}

#[tokio::test]
async fn built_in_plugins_finish_what_a_webhook_begins() {
    let server = TestServer::start().await;
    let sidecar = json!([{ "op": "add", "path": "/spec/containers/-", "value": { "name": "sidecar", "image": "i", "unknown": 1 } }]);
    let once = move |question: &Value| match question["object"]["spec"]["containers"].as_array().map(Vec::len) {
        Some(1) => Reply::Response(patch(sidecar.clone())),
        _ => Reply::Response(json!({ "allowed": true })),
    };
    let adding = HookServer::start(once).await;
    let pods = |hook: &mut Value| hook["rules"] = json!([rule(&["CREATE"], "", "v1", &["pods"])]);
    configure(&server, MUTATING, "a", json!([hook(&adding, "a.example.com", pods)])).await;
    let made = server.admin.post(PODS, pod("a")).await.expect(201);
    let added = &made["spec"]["containers"][1];
    // Filled in, what nobody knows left out, and with the token that all containers have.
    assert_eq!((&added["imagePullPolicy"], added.get("unknown")), (&json!("Always"), None));
    assert_eq!(added["volumeMounts"], made["spec"]["containers"][0]["volumeMounts"]);
    assert_eq!(made["spec"]["volumes"].as_array().map(Vec::len), Some(1));
    assert_eq!(made["status"]["phase"], "Pending");
}

#[tokio::test]
async fn the_servers_fields_stay_the_servers() {
    let server = TestServer::start().await;
    let changing = HookServer::start(|question| {
        let mut operations = vec![
            json!({ "op": "add", "path": "/metadata/uid", "value": "mine" }),
            json!({ "op": "add", "path": "/metadata/generation", "value": 70 }),
            json!({ "op": "add", "path": "/metadata/deletionTimestamp", "value": "2026-01-01T00:00:00Z" }),
            json!({ "op": "add", "path": "/status", "value": { "replicas": 9 } }),
        ];
        if question["operation"] == "UPDATE" {
            operations.push(json!({ "op": "replace", "path": "/spec/replicas", "value": 5 }));
        }
        Reply::Response(patch(Value::Array(operations)))
    })
    .await;
    let deployments = |hook: &mut Value| hook["rules"] = json!([rule(&["*"], "apps", "v1", &["deployments"])]);
    configure(&server, MUTATING, "a", json!([hook(&changing, "a.example.com", deployments)])).await;
    let made = server.admin.post(DEPLOYMENTS, deployment("a")).await.expect(201);
    let meta = &made["metadata"];
    assert_eq!((meta["uid"].as_str().map(str::len), &meta["generation"]), (Some(36), &json!(1)));
    assert_eq!((meta.get("deletionTimestamp"), made["status"].get("replicas")), (None, None));
    let labelled = json!({ "metadata": { "labels": { "a": "b" } } });
    let changed = server.admin.patch(&format!("{DEPLOYMENTS}/a"), "application/merge-patch+json", labelled).await.expect(200);
    assert_eq!((&changed["metadata"]["generation"], &changed["spec"]["replicas"]), (&json!(2), &json!(5)));
    assert_eq!((&changed["metadata"]["uid"], changed["status"].get("replicas")), (&meta["uid"], None));
}

#[tokio::test]
async fn what_a_webhook_makes_of_an_object_is_held_to_the_rules() {
    let server = TestServer::start().await;
    let breaking = HookServer::start(|_| Reply::Response(patch(json!([{ "op": "add", "path": "/data", "value": { "a/b": "" } }])))).await;
    configure(&server, MUTATING, "a", json!([hook(&breaking, "a.example.com", |_| {})])).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn ownership_of_fields_outlives_a_webhook_that_breaks_it() {
    let server = TestServer::start().await;
    let operations = json!([
        { "op": "add", "path": "/metadata/managedFields", "value": [{ "manager": "x", "operation": "Nothing" }] },
        { "op": "add", "path": "/data/added", "value": "yes" },
    ]);
    let breaking = HookServer::start(move |_| Reply::Response(patch(operations.clone()))).await;
    configure(&server, MUTATING, "a", json!([hook(&breaking, "a.example.com", |_| {})])).await;
    let answer = server.admin.post(&format!("{CONFIG_MAPS}?fieldManager=me"), config_map("a")).await;
    let told = warnings(&answer);
    assert!(matches!(&told[..], [one] if one.contains(".metadata.managedFields was in an invalid state after admission")), "{told:?}");
    let made = answer.expect(201);
    assert_eq!((&made["metadata"]["managedFields"][0]["manager"], &made["data"]["added"]), (&json!("me"), &json!("yes")));
}

#[tokio::test]
async fn a_webhook_may_name_a_new_object_but_not_move_it() {
    let server = TestServer::start().await;
    let naming = HookServer::start(|question| {
        let (path, value) = match question["name"].as_str() {
            Some("moves") => ("/metadata/namespace", "kube-public"),
            _ => ("/metadata/name", "renamed"),
        };
        Reply::Response(patch(json!([{ "op": "replace", "path": path, "value": value }])))
    })
    .await;
    configure(&server, MUTATING, "a", json!([hook(&naming, "a.example.com", |_| {})])).await;
    assert_eq!(server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201)["metadata"]["name"], "renamed");
    server.admin.get(&format!("{CONFIG_MAPS}/renamed")).await.expect(200);
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
    server.admin.post(CONFIG_MAPS, config_map("moves")).await.refused(400, "BadRequest");
}
