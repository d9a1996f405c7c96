//! `metrics.k8s.io`, built in: what kubelets tell becomes the metrics of nodes and pods. Kubelets are stand-ins behind real TLS.

use crate::harness::{PODS, TestServer, pod};
use orknet_auth::pki::{YEAR, server_tls};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// A kubelet whose node and one pod use half a CPU: counters go by the clock. Gives its port, and counts who asked.
async fn kubelet(server: &TestServer, node: &str, uid: &str) -> (u16, Arc<AtomicU64>) {
    let pki = server.handle.pki();
    let pair = pki.issue_serving("kubelet", &[node.to_owned()], &[], YEAR).expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(server_tls(pki.ca_pem(), &pair).expect("TLS")));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (uid, asked) = (uid.to_owned(), Arc::new(AtomicU64::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap_or_default();
            assert!(head[..read].starts_with(b"GET /stats/summary HTTP/1.1"), "{}", String::from_utf8_lossy(&head[..read]));
            count.fetch_add(1, Ordering::SeqCst);
            let body = summary(&uid).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, asked)
}

fn summary(uid: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let time = format!("{}", jiff::Timestamp::from_nanosecond(now.as_nanos() as i128).expect("a time"));
    let cpu = json!({ "time": time, "usageCoreNanoSeconds": now.as_nanos() as u64 / 2 });
    let memory = json!({ "time": time, "workingSetBytes": 3 << 20 });
    let container = |name: &str| json!({ "name": name, "startTime": "2001-01-01T00:00:00Z", "cpu": cpu, "memory": memory });
    json!({
        "node": { "nodeName": "x", "cpu": cpu, "memory": memory },
        "pods": [{ "podRef": { "name": "busy", "namespace": "default", "uid": uid }, "containers": [container("a"), container("b")] }],
    })
}

async fn node(server: &TestServer, name: &str, port: u16) {
    let node = json!({ "metadata": { "name": name, "labels": { "of": name } }, "status": {
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
    } });
    server.admin.post("/api/v1/nodes", node).await.expect(201);
}

/// CPU in thousandths.
fn milli(usage: &Value) -> f64 {
    let text = usage["cpu"].as_str().expect("an amount");
    let number: f64 = text.trim_end_matches(['n', 'u', 'm']).parse().expect("a number");
    number * [("n", 1e-6), ("u", 1e-3), ("m", 1.0)].iter().find(|(suffix, _)| text.ends_with(suffix)).map_or(1e3, |(_, factor)| *factor)
}

#[tokio::test]
async fn what_kubelets_tell_becomes_metrics() {
    let server = TestServer::start_with(|config| config.metrics_resolution = Some(Duration::from_millis(300))).await;
    let admin = &server.admin;
    admin.get(&format!("{METRICS}/nodes")).await.expect(200);
    let mut busy = pod("busy");
    busy["metadata"]["labels"] = json!({ "app": "busy" });
    busy["spec"]["nodeName"] = json!("node1");
    let made = admin.post(PODS, busy).await.expect(201);
    let uid = made["metadata"]["uid"].as_str().expect("a uid").to_owned();
    admin.post(PODS, pod("idle")).await.expect(201);
    let (port, asked) = kubelet(&server, "node1", &uid).await;
    node(&server, "node1", port).await;
    node(&server, "node2", 1).await;

    let missing = admin.get(&format!("{METRICS}/nodes/node2")).await.refused(404, "NotFound");
    assert_eq!(missing, "nodemetrics.metrics.k8s.io \"node2\" not found");
    let missing = admin.get(&format!("{METRICS}/nodes/gone")).await.refused(404, "NotFound");
    assert_eq!(missing, "nodes \"gone\" not found");
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while admin.get(&format!("{METRICS}/nodes/node1")).await.status != 200 {
        assert!(tokio::time::Instant::now() < limit, "no metrics; asked {} times", asked.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let shown = admin.get(&format!("{METRICS}/nodes")).await.expect(200);
    assert_eq!((&shown["kind"], &shown["metadata"]), (&json!("NodeMetricsList"), &json!({})));
    let [only] = &shown["items"].as_array().expect("items")[..] else { panic!("{shown}") };
    assert_eq!((&only["metadata"]["name"], &only["metadata"]["labels"]), (&json!("node1"), &json!({ "of": "node1" })));
    assert!((495.0..505.0).contains(&milli(&only["usage"])), "{only}");
    assert_eq!(only["usage"]["memory"], "3Mi");

    // A pod that does not run has none, whatever its kubelet tells.
    let missing = admin.get(&format!("{METRICS}/namespaces/default/pods/busy")).await.refused(404, "NotFound");
    assert_eq!(missing, "podmetrics.metrics.k8s.io \"default/busy\" not found");
    admin
        .patch(&format!("{PODS}/busy/status"), "application/merge-patch+json", json!({ "status": { "phase": "Running" } }))
        .await
        .expect(200);
    let shown = admin.get(&format!("{METRICS}/namespaces/default/pods/busy")).await.expect(200);
    assert_eq!((&shown["kind"], &shown["metadata"]["labels"]), (&json!("PodMetrics"), &json!({ "app": "busy" })));
    assert!(shown["timestamp"].is_string() && shown["window"].is_string(), "{shown}");
    let containers = shown["containers"].as_array().expect("containers");
    assert_eq!(containers.iter().map(|container| &container["name"]).collect::<Vec<_>>(), ["a", "b"]);
    assert!((495.0..505.0).contains(&milli(&containers[0]["usage"])), "{shown}");
    for (query, count) in [
        ("", 1),
        ("?labelSelector=app%3Dbusy", 1),
        ("?labelSelector=app%3Didle", 0),
        ("?fieldSelector=metadata.name%3Dbusy", 1),
        ("?fieldSelector=metadata.name!%3Dbusy", 0),
    ] {
        for place in ["/pods", "/namespaces/default/pods"] {
            let shown = admin.get(&format!("{METRICS}{place}{query}")).await.expect(200);
            assert_eq!(shown["items"].as_array().map(Vec::len), Some(count), "{place}{query}");
        }
    }
    let reader = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let shown = reader.get(&format!("{METRICS}/pods")).await.expect(200);
    let names: Vec<_> = shown["columnDefinitions"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "cpu", "memory", "Window"]);
    assert_eq!((&shown["rows"][0]["cells"][0], &shown["rows"][0]["cells"][2]), (&json!("busy"), &json!("6Mi")));
}

#[tokio::test]
async fn metrics_are_read_only_and_for_who_may_view() {
    let server = TestServer::start_with(|config| config.metrics_resolution = None).await;
    let found = server.admin.get(METRICS).await.expect(200);
    let verbs: Vec<_> =
        found["resources"].as_array().expect("resources").iter().map(|one| (&one["name"], &one["kind"], &one["verbs"])).collect();
    let read = json!(["get", "list"]);
    assert_eq!(verbs, [(&json!("nodes"), &json!("NodeMetrics"), &read), (&json!("pods"), &json!("PodMetrics"), &read)]);
    server.admin.post(&format!("{METRICS}/nodes"), json!({ "metadata": { "name": "x" } })).await.refused(405, "MethodNotAllowed");
    server.admin.get(&format!("{METRICS}/nodes?watch=true")).await.refused(405, "MethodNotAllowed");
    let role = server.admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader").await.expect(200);
    assert_eq!(
        role["rules"],
        json!([{ "apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] }])
    );
    for user in ["view", "edit", "admin"] {
        assert_eq!(role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{user}")], "true");
    }
    let stranger = server.client("somebody", None);
    stranger.get(&format!("{METRICS}/nodes")).await.refused(403, "Forbidden");
}
