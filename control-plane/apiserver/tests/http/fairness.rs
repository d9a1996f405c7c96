//! Priority and fairness: who floods the server with what is dear keeps nobody else from his answers.

use crate::client::Client;
use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const SCHEMA_UID: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL_UID: &str = "x-kubernetes-pf-prioritylevel-uid";

/// Everybody may read and write config maps.
async fn open(server: &TestServer) {
    let role = json!({ "metadata": { "name": "maps" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] }] });
    server.admin.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await.expect(201);
    let binding = json!({ "metadata": { "name": "maps" }, "subjects": [{ "kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maps" } });
    server.admin.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.expect(201);
}

fn level(name: &str, limited: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "type": "Limited", "limited": limited } })
}

fn schema(name: &str, level: &str, precedence: i32, user: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence,
        "distinguisherMethod": { "type": "ByUser" }, "rules": [{ "subjects": [{ "kind": "User", "user": { "name": user } }],
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true }] }] } })
}

async fn uid(client: &Client, plural: &str, name: &str) -> Value {
    client.get(&format!("{FLOW}/{plural}/{name}")).await.expect(200)["metadata"]["uid"].clone()
}

#[tokio::test]
async fn answers_say_which_schema_and_level_their_request_was_of() {
    let server = TestServer::start().await;
    open(&server).await;
    let jane = server.client("jane", None);
    for (client, path, name) in
        [(&server.admin, CONFIG_MAPS, "exempt"), (&jane, CONFIG_MAPS, "global-default"), (&jane, "/api/v1/secrets", "global-default")]
    {
        let answer = client.get(path).await;
        assert_eq!(answer.headers[SCHEMA_UID].to_str().ok(), uid(&server.admin, "flowschemas", name).await.as_str(), "{name}");
        assert_eq!(
            answer.headers[LEVEL_UID].to_str().ok(),
            uid(&server.admin, "prioritylevelconfigurations", name).await.as_str(),
            "{name}"
        );
    }
    // Probes are answered before anybody is asked who he is.
    assert!(!jane.get("/livez").await.headers.contains_key(SCHEMA_UID));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_lists_keeps_nobody_else_from_answers() {
    let server = TestServer::start_with(|config| (config.max_reads_in_flight, config.max_writes_in_flight) = (8, 4)).await;
    open(&server).await;
    for number in 0..150 {
        let mut map = config_map(&format!("m{number}"));
        map["data"]["k"] = json!("x".repeat(2000));
        server.admin.post(CONFIG_MAPS, map).await.expect(201);
    }
    server.admin.post("/api/v1/nodes", json!({ "metadata": { "name": "a" } })).await.expect(201);
    let lease = json!({ "metadata": { "name": "a" }, "spec": { "holderIdentity": "a" } });
    server.admin.post("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease).await.expect(201);
    let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let elephant = server.client("elephant", None);
    let flood: Vec<_> = (0..40)
        .map(|_| {
            let (client, ends, answered) = (elephant.clone(), ends.clone(), answered.clone());
            tokio::spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    let answer = client.get(CONFIG_MAPS).await;
                    assert!([200, 429].contains(&answer.status.as_u16()), "{}", answer.text);
                    answered.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (node, mouse) = (server.client("system:node:a", Some("system:nodes")), server.client("mouse", None));
    for round in 0..8 {
        let renewed = json!({ "spec": { "leaseDurationSeconds": 40 + round } });
        node.patch("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a", "application/merge-patch+json", renewed)
            .await
            .expect(200);
        let status = json!({ "status": { "capacity": { "pods": (100 + round).to_string() } } });
        node.patch("/api/v1/nodes/a/status", "application/merge-patch+json", status).await.expect(200);
        mouse.get(&format!("{CONFIG_MAPS}/m{round}")).await.expect(200);
        mouse.post(CONFIG_MAPS, config_map(&format!("mouse{round}"))).await.expect(201);
        server.admin.get(&format!("{CONFIG_MAPS}?limit=5")).await.expect(200);
        assert_eq!(server.stranger().get("/livez").await.text, "ok");
    }
    ends.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.expect("every answer was one of the two");
    }
    let metrics = server.admin.get("/metrics").await.text;
    let dispatched = "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"global-default\",priority_level=\"global-default\"}";
    assert!(metrics.contains(dispatched), "{metrics}");
    assert!(
        metrics.contains(
            "apiserver_flowcontrol_current_executing_requests{flow_schema=\"global-default\",priority_level=\"global-default\"} 0"
        )
    );
}

#[tokio::test]
async fn who_has_no_share_is_told_to_come_back_and_a_change_counts_at_once() {
    let server = TestServer::start().await;
    open(&server).await;
    let (barred, jane) = (server.client("barred", None), server.client("jane", None));
    barred.get(CONFIG_MAPS).await.expect(200);
    let closed = level("closed", json!({ "nominalConcurrencyShares": 0, "limitResponse": { "type": "Reject" } }));
    server.admin.post(&format!("{FLOW}/prioritylevelconfigurations"), closed).await.expect(201);
    server.admin.post(&format!("{FLOW}/flowschemas"), schema("closed", "closed", 50, "barred")).await.expect(201);
    let answer = barred.get(CONFIG_MAPS).await;
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.headers[SCHEMA_UID].to_str().ok(), uid(&server.admin, "flowschemas", "closed").await.as_str());
    answer.refused(429, "TooManyRequests");
    jane.get(CONFIG_MAPS).await.expect(200);
    let metrics = server.admin.get("/metrics").await.text;
    let rejected =
        "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"closed\",priority_level=\"closed\",reason=\"concurrency-limit\"} 1";
    assert!(metrics.contains(rejected), "{metrics}");
    server.admin.delete(&format!("{FLOW}/flowschemas/closed")).await.expect(200);
    barred.get(CONFIG_MAPS).await.expect(200);
}

#[tokio::test]
async fn who_waits_longer_than_he_may_is_told_to_come_back() {
    let server = TestServer::start_with(|config| config.request_timeout = Duration::from_secs(2)).await;
    open(&server).await;
    let queue = json!({ "type": "Queue", "queuing": { "queues": 1, "handSize": 1, "queueLengthLimit": 1 } });
    let waits = level("waits", json!({ "nominalConcurrencyShares": 0, "limitResponse": queue }));
    server.admin.post(&format!("{FLOW}/prioritylevelconfigurations"), waits).await.expect(201);
    server.admin.post(&format!("{FLOW}/flowschemas"), schema("waits", "waits", 50, "patient")).await.expect(201);
    let patient = server.client("patient", None);
    let answers = futures::future::join_all((0..3).map(|_| patient.get(CONFIG_MAPS))).await;
    for answer in answers {
        answer.refused(429, "TooManyRequests");
    }
    let metrics = server.admin.get("/metrics").await.text;
    for (reason, count) in [("time-out", 1), ("queue-full", 2)] {
        let rejected = format!("flow_schema=\"waits\",priority_level=\"waits\",reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&rejected), "{rejected}: {metrics}");
    }
    assert!(metrics.contains("apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"waits\",priority_level=\"waits\"} 0"));
}

#[tokio::test]
async fn metrics_tell_what_is_open_and_what_the_process_has() {
    let server = TestServer::start().await;
    let watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    let text = server.admin.get("/metrics").await.text;
    let open = "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"namespace\",component=\"apiserver\"} ";
    assert!(text.contains(&format!("{open}1")), "{text}");
    // The scrape itself.
    assert!(text.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1"), "{text}");
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).expect("a number");
    assert!(number("process_resident_memory_bytes ") > 1e6 && number("process_open_fds ") > 3.0);
    assert!(number("process_start_time_seconds ") > 1.7e9);
    drop(watch);
    let closed = async {
        while !server.admin.get("/metrics").await.text.contains(&format!("{open}0")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("its end is told");
}

#[tokio::test]
async fn schemas_say_whether_their_level_is_there() {
    let server = TestServer::start().await;
    server.admin.post(&format!("{FLOW}/flowschemas"), schema("early", "late", 50, "x")).await.expect(201);
    let dangling = async |wanted: &str| {
        loop {
            let found = server.admin.get(&format!("{FLOW}/flowschemas/early")).await.expect(200);
            if found["status"]["conditions"][0]["status"] == wanted {
                return found["status"]["conditions"][0].clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(10), dangling("True")).await.expect("told");
    assert_eq!((&found["type"], &found["reason"]), (&json!("Dangling"), &json!("NotFound")));
    let late = level("late", json!({ "limitResponse": { "type": "Reject" } }));
    server.admin.post(&format!("{FLOW}/prioritylevelconfigurations"), late).await.expect(201);
    let found = tokio::time::timeout(Duration::from_secs(10), dangling("False")).await.expect("told");
    assert_eq!(found["message"], "This FlowSchema references the PriorityLevelConfiguration object named \"late\" and it exists");
    // Those of the start are there, each with its level, and two cannot be changed.
    let all = server.admin.get(&format!("{FLOW}/flowschemas")).await.expect(200);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(14));
    let change = json!({ "spec": { "matchingPrecedence": 2 } });
    let refused = server.admin.patch(&format!("{FLOW}/flowschemas/catch-all"), "application/merge-patch+json", change).await;
    assert!(refused.refused(422, "Invalid").contains("spec of 'catch-all' must equal the fixed value"));
}
