//! What is told of a policy or a Service is told of the object and generation that there are, whoever reads it how: never `Programmed` of another.

use crate::harness::{TestServer, open, version};
use crate::slow::Slow;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p";
const COMPANIONS: &str = "/apis/networking.orknet.io/v1alpha1/namespaces/default/networkpolicystatuses";
const COMPANION: &str = "/apis/networking.orknet.io/v1alpha1/namespaces/default/networkpolicystatuses/p";
const MERGE: &str = "application/merge-patch+json";
const FAST: &str = "fieldSelector=metadata.name%3Dp&resourceVersion=0";

fn policy() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}})
}

/// Another spec, so another generation.
fn change(number: usize) -> String {
    json!({"spec": {"podSelector": {"matchLabels": {"number": number.to_string()}}}}).to_string()
}

/// What the controller writes for a generation: in force on all nodes.
fn programmed(generation: u64) -> String {
    let condition = json!({"type": "Programmed", "status": "True", "reason": "Programmed", "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    json!({"status": {"observedGeneration": generation, "observedResourceVersion": "1", "nodes": "2/2", "conditions": [condition]}})
        .to_string()
}

/// Generation of the companion, its condition's status and reason.
fn says(companion: &Value) -> (u64, &str, &str) {
    let condition = &companion["status"]["conditions"][0];
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    (companion["metadata"]["generation"].as_u64().unwrap_or_default(), text("status"), text("reason"))
}

#[tokio::test]
async fn a_companion_comes_follows_and_goes_with_its_object() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let made = admin.post(POLICIES, policy()).await.expect(201);
    let companion = admin.get(COMPANION).await.expect(200);
    assert_eq!((says(&companion), version(&companion)), ((1, "Unknown", "Pending"), version(&made)), "one transaction");
    assert_eq!(companion["metadata"]["ownerReferences"][0]["uid"], made["metadata"]["uid"]);
    let told = admin.send("PATCH", COMPANION, MERGE, programmed(1)).await.expect(200);
    assert_eq!(says(&told), (1, "True", "Programmed"));
    admin.send("PATCH", POLICY, MERGE, r#"{"metadata":{"labels":{"a":"b"}}}"#).await.expect(200);
    assert_eq!(admin.get(COMPANION).await.expect(200), told, "labels are no other generation");
    admin.send("PATCH", &format!("{POLICY}?dryRun=All"), MERGE, change(0)).await.expect(200);
    assert_eq!(admin.get(COMPANION).await.expect(200), told, "nothing was changed");

    let changed = admin.send("PATCH", POLICY, MERGE, change(1)).await.expect(200);
    let outdated = admin.get(COMPANION).await.expect(200);
    assert_eq!((says(&outdated), version(&outdated)), ((2, "Unknown", "Outdated"), version(&changed)), "one transaction");
    assert_eq!(outdated["status"]["conditions"][0]["message"], "generation 2 is awaited");
    assert_eq!(outdated["metadata"]["uid"], companion["metadata"]["uid"]);
    let table = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    for path in [COMPANION.to_owned(), COMPANIONS.to_owned(), format!("{COMPANIONS}?{FAST}")] {
        let rows = table.get(&path).await.expect(200);
        let cells = rows["rows"][0]["cells"].as_array().expect("cells");
        assert_eq!(cells[..4], [json!("p"), json!("Unknown"), json!(""), json!(1)], "{path}");
    }
    // What was found of the former generation comes too late.
    assert_eq!(says(&admin.send("PATCH", COMPANION, MERGE, programmed(1)).await.expect(200)), (2, "Unknown", "Outdated"));
    assert_eq!(says(&admin.send("PATCH", COMPANION, MERGE, programmed(2)).await.expect(200)), (2, "True", "Programmed"));
    admin.delete(POLICY).await.expect(200);
    admin.get(COMPANION).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_companion_is_of_one_object_and_not_of_the_next_of_its_name() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    admin.post(COMPANIONS, json!({"metadata": {"name": "p"}})).await.refused(404, "NotFound");
    admin.post(POLICIES, policy()).await.expect(201);
    let first = admin.send("PATCH", COMPANION, MERGE, programmed(1)).await.expect(200);
    admin.delete(POLICY).await.expect(200);
    let made = admin.post(POLICIES, policy()).await.expect(201);
    let second = admin.get(COMPANION).await.expect(200);
    assert_eq!(says(&second), (1, "Unknown", "Pending"));
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    // As a controller writes that has not seen the new one.
    let mut late: Value = serde_json::from_str(&programmed(1)).expect("JSON");
    late["metadata"] = json!({"uid": first["metadata"]["uid"]});
    admin.send("PATCH", COMPANION, MERGE, late.to_string()).await.refused(409, "Conflict");
    late["metadata"] = json!({"ownerReferences": first["metadata"]["ownerReferences"]});
    let written = admin.send("PATCH", COMPANION, MERGE, late.to_string()).await.expect(200);
    assert_eq!(
        (says(&written), &written["metadata"]["ownerReferences"]),
        ((1, "Unknown", "Pending"), &second["metadata"]["ownerReferences"])
    );
    assert_eq!(second["metadata"]["ownerReferences"][0]["uid"], made["metadata"]["uid"]);
    // One that somebody removed is made again, of the generation that there is.
    admin.send("PATCH", POLICY, MERGE, change(1)).await.expect(200);
    admin.delete(COMPANION).await.expect(200);
    let mut again: Value = serde_json::from_str(&programmed(1)).expect("JSON");
    again["metadata"] = json!({"name": "p", "ownerReferences": second["metadata"]["ownerReferences"]});
    assert_eq!(says(&admin.post(COMPANIONS, again).await.expect(201)), (2, "Unknown", "Outdated"));
}

#[tokio::test]
async fn where_an_object_stays_for_a_while_its_companion_goes_first() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    for how in ["Foreground", "Orphan"] {
        admin.post(POLICIES, policy()).await.expect(201);
        admin.get(COMPANION).await.expect(200);
        let going = admin.delete(&format!("{POLICY}?propagationPolicy={how}")).await.expect(200);
        assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
        admin.get(COMPANION).await.refused(404, "NotFound");
        admin.post(COMPANIONS, json!({"metadata": {"name": "p"}})).await.refused(404, "NotFound");
        admin.send("PATCH", POLICY, MERGE, change(1)).await.expect(200);
        admin.get(COMPANION).await.refused(404, "NotFound");
        admin.send("PATCH", POLICY, MERGE, r#"{"metadata":{"finalizers":null}}"#).await.expect(200);
        admin.get(POLICY).await.refused(404, "NotFound");
    }
}

#[tokio::test]
async fn services_have_companions_too() {
    let server = TestServer::start().await;
    let of = |name: &str| format!("/apis/networking.orknet.io/v1alpha1/namespaces/default/servicestatuses/{name}");
    assert_eq!(says(&server.admin.get(&of("kubernetes")).await.expect(200)), (1, "Unknown", "Pending"));
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    server.admin.post("/api/v1/namespaces/default/services", service).await.expect(201);
    server.admin.send("PATCH", "/api/v1/namespaces/default/services/s", MERGE, r#"{"spec":{"selector":{"a":"b"}}}"#).await.expect(200);
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}"#;
    server.admin.send("PATCH", "/api/v1/namespaces/default/services/s/status", MERGE, status).await.expect(200);
    assert_eq!(says(&server.admin.get(&of("s")).await.expect(200)), (2, "Unknown", "Pending"));
    server.admin.delete("/api/v1/namespaces/default/services/s").await.expect(200);
    server.admin.get(&of("s")).await.refused(404, "NotFound");
}

/// As `kubectl wait` begins: a list at any version. Through another server over the same store as well.
#[tokio::test]
async fn whoever_reads_after_a_change_sees_nothing_of_before() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = Arc::new(Slow::over(open(directory.path()).await));
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let other = TestServer::start_on(other, store.clone(), |_| {}).await;
    store.is_slow.store(true, Ordering::SeqCst);
    let reads = [format!("{COMPANIONS}?{FAST}"), format!("{COMPANIONS}?watch=1&{FAST}"), format!("{COMPANION}?resourceVersion=0")];
    let readers = [&server.admin, &other.admin];
    for round in 0..6 {
        let generation = match round {
            0 => server.admin.post(POLICIES, policy()).await.expect(201),
            _ => server.admin.send("PATCH", POLICY, MERGE, change(round)).await.expect(200),
        }["metadata"]["generation"]
            .as_u64()
            .expect("a generation");
        let expected = (generation, "Unknown", if round == 0 { "Pending" } else { "Outdated" });
        // The first read of each round is another one, by another reader: what comes after it finds the news.
        let (reader, [list, watch, get]) = (readers[round % 2], &reads);
        match round % 3 {
            0 => assert_eq!(says(&reader.get(list).await.expect(200)["items"][0]), expected),
            1 => assert_eq!(says(&reader.watch(watch).await.next().await.expect("an event")["object"]), expected),
            _ => assert_eq!(says(&reader.get(get).await.expect(200)), expected),
        }
        assert_eq!(says(&other.admin.send("PATCH", COMPANION, MERGE, programmed(generation)).await.expect(200)).1, "True");
    }
}

/// A controller that always lags writes against somebody who always changes.
#[tokio::test]
async fn no_version_says_programmed_of_another_generation() {
    const CHANGES: usize = 60;
    let server = TestServer::start().await;
    server.admin.post(POLICIES, policy()).await.expect(201);
    let mut objects = server.admin.watch(&format!("{POLICIES}?watch=1&resourceVersion=0")).await;
    let mut companions = server.admin.watch(&format!("{COMPANIONS}?watch=1&resourceVersion=0")).await;
    let changer = server.admin.clone();
    let changes = tokio::spawn(async move {
        for number in 0..CHANGES {
            changer.send("PATCH", POLICY, MERGE, change(number)).await.expect(200);
        }
    });
    while !changes.is_finished() {
        let seen = server.admin.get(POLICY).await.expect(200)["metadata"]["generation"].as_u64().expect("a generation");
        server.admin.send("PATCH", COMPANION, MERGE, programmed(seen)).await.expect(200);
    }
    changes.await.expect("all changed");
    let last = 1 + CHANGES as u64;
    server.admin.send("PATCH", COMPANION, MERGE, programmed(last)).await.expect(200);
    let mut at = BTreeMap::new();
    loop {
        let object = &objects.next().await.expect("an event")["object"];
        let generation = object["metadata"]["generation"].as_u64().expect("a generation");
        at.insert(version(object), generation);
        if generation == last {
            break;
        }
    }
    loop {
        let companion = &companions.next().await.expect("an event")["object"];
        let (generation, status, _) = says(companion);
        let (_, present) = at.range(..=version(companion)).next_back().expect("a version of the object");
        assert_eq!(generation, *present, "{companion}");
        assert!(status != "True" || companion["status"]["conditions"][0]["observedGeneration"] == generation, "{companion}");
        if (generation, status) == (last, "True") {
            break;
        }
    }
}
