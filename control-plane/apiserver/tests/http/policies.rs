//! Network policies of both kinds, what is told of them, and policies in the store that this version does not understand.

use crate::harness::{TestServer, open};
use bytes::Bytes;
use orknet_store::Op;
use serde_json::{Value, json};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const CLUSTER: &str = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
const OWN: &str = "/apis/networking.orknet.io/v1alpha1";

fn cluster_policy(name: &str, priority: i32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"tier": "Admin", "priority": priority, "subject": {"namespaces": {}}}})
}

#[tokio::test]
async fn the_generation_of_a_policy_moves_with_its_spec_alone() {
    let server = TestServer::start().await;
    let made = server.admin.post(CLUSTER, cluster_policy("a", 1)).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{CLUSTER}/a");
    let merge = "application/merge-patch+json";
    let generation = async |path: &str, patch: Value| {
        let answer = server.admin.send("PATCH", path, merge, patch.to_string()).await.expect(200);
        answer["metadata"]["generation"].clone()
    };
    assert_eq!(generation(&path, json!({"metadata": {"labels": {"a": "b"}}})).await, 1);
    assert_eq!(generation(&path, json!({"spec": {"priority": 2}})).await, 2);
    let condition =
        json!({"type": "Programmed", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let status = json!({"spec": {"priority": 3}, "status": {"conditions": [condition]}});
    assert_eq!(generation(&format!("{path}/status"), status.clone()).await, 2);
    // Neither way reaches the other's part.
    assert_eq!(generation(&path, json!({"status": null})).await, 2);
    let stored = server.admin.get(&path).await.expect(200);
    assert_eq!((&stored["spec"]["priority"], &stored["status"]["conditions"][0]["status"]), (&json!(2), &json!("True")));
    server.admin.send("PATCH", &path, merge, r#"{"spec":{"tier":"Other"}}"#).await.refused(422, "Invalid");
}

#[tokio::test]
async fn lists_of_conditions_are_merged_by_type() {
    let server = TestServer::start().await;
    server.admin.post(CLUSTER, cluster_policy("a", 1)).await.expect(201);
    for (manager, name) in [("one", "Programmed"), ("two", "Audited")] {
        let condition = json!({"type": name, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"});
        let applied = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "a"},
            "status": {"conditions": [condition]}});
        let path = format!("{CLUSTER}/a/status?fieldManager={manager}");
        server.admin.send("PATCH", &path, "application/apply-patch+yaml", applied.to_string()).await.expect(200);
    }
    let stored = server.admin.get(&format!("{CLUSTER}/a")).await.expect(200);
    assert_eq!(stored["status"]["conditions"].as_array().map(Vec::len), Some(2), "{stored}");
}

#[tokio::test]
async fn an_agent_reports_on_its_own_node_alone() {
    let server = TestServer::start().await;
    let agent = server.client("system:node:n1", Some("system:nodes"));
    let apply = async |name: &str, version: &str| {
        let report = json!({"apiVersion": "networking.orknet.io/v1alpha1", "kind": "NodeProgramming", "metadata": {"name": name},
            "status": {"programmed": [{"kind": "NetworkPolicy", "resourceVersion": version}]}});
        let path = format!("{OWN}/nodeprogrammings/{name}?fieldManager=agent&force=true");
        agent.send("PATCH", &path, "application/apply-patch+yaml", report.to_string()).await
    };
    apply("n1", "5").await.expect(201);
    assert_eq!(apply("n1", "6").await.expect(200)["status"]["programmed"], json!([{"kind": "NetworkPolicy", "resourceVersion": "6"}]));
    apply("n1", "x").await.refused(422, "Invalid");
    apply("n2", "5").await.refused(403, "Forbidden");
    agent.get(&format!("{CLUSTER}?watch=0")).await.expect(200);
    agent.get("/apis/networking.k8s.io/v1/networkpolicies").await.expect(200);
    let companion = json!({"metadata": {"name": "p"}, "status": {"nodes": "1/1"}});
    agent.post(&format!("{OWN}/namespaces/default/networkpolicystatuses"), companion).await.refused(403, "Forbidden");
}

/// As a later version may have written them, or nobody.
fn strange() -> Vec<(&'static str, Value)> {
    let policy = |name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": "default", "uid": name, "creationTimestamp": "2026-01-02T03:04:05Z"});
        let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
        ("networking.k8s.io/networkpolicies/default/", object)
    };
    let cluster = |name: &str, spec: Value| {
        let metadata = json!({"name": name, "uid": name, "creationTimestamp": "2026-01-02T03:04:05Z"});
        let object =
            json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": metadata, "spec": spec});
        ("policy.networking.k8s.io/clusternetworkpolicies/", object)
    };
    vec![
        policy("peer", json!({"podSelector": {}, "ingress": [{"from": [{"serviceAccounts": {"names": ["a"]}}]}]})),
        policy(
            "value",
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, "policyTypes": ["Both"]}),
        ),
        policy("form", json!({"podSelector": "all", "ingress": {"from": 1}, "egress": [[]]})),
        policy("nothing", Value::Null),
        cluster(
            "peer",
            json!({"tier": "Admin", "priority": 1, "subject": {"nodes": {}}, "egress": [{"action": "Log", "to": [{"asn": 1}]}]}),
        ),
        cluster("value", json!({"tier": "Middle", "priority": 5000, "subject": {"namespaces": {}}})),
        cluster("form", json!({"tier": 1, "priority": "high", "subject": [], "ingress": "all"})),
        cluster("nothing", Value::Null),
    ]
}

#[tokio::test]
async fn stored_policies_that_are_not_understood_are_served_and_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let write = |(folder, object): (&str, Value)| {
        let key = format!("/registry/{folder}{}", object["metadata"]["name"].as_str().expect("a name"));
        Op::Put { key: Bytes::from(key), value: Bytes::from(object.to_string()), ttl: None }
    };
    store.commit(Vec::new(), strange().into_iter().map(write).collect()).await.expect("written");
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let table = server.admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    for path in [POLICIES, CLUSTER] {
        let listed = server.admin.get(path).await.expect(200);
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(4), "{path}");
        let rows = table.get(path).await.expect(200);
        let names: Vec<&Value> = rows["rows"].as_array().into_iter().flatten().map(|row| &row["cells"][0]).collect();
        assert_eq!(names, ["form", "nothing", "peer", "value"].map(Value::from).iter().collect::<Vec<_>>());
        for (name, object) in strange().iter().map(|(_, object)| (object["metadata"]["name"].as_str().expect("a name"), object)) {
            if (object["kind"] == "NetworkPolicy") != (path == POLICIES) {
                continue;
            }
            let path = format!("{path}/{name}");
            let found = server.admin.get(&path).await.expect(200);
            assert_eq!(found["spec"], object["spec"], "{path}: nothing of it is lost");
            table.get(&path).await.expect(200);
            // A change of it must make it one that is understood.
            let labelled = server.admin.send("PATCH", &path, "application/merge-patch+json", r#"{"metadata":{"labels":{"a":"b"}}}"#).await;
            assert!([200, 400, 422].contains(&labelled.status.as_u16()), "{path}: {}", labelled.text);
            server.admin.delete(&path).await.expect(200);
        }
    }
}
