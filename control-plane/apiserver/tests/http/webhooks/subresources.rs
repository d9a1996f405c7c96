//! Webhooks and subresources: each is told as what it is.

use super::hook_server::{HookServer, Reply};
use super::{MUTATING, VALIDATING, configure, hook, patch, rule};
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, PODS, TestServer, config_map, deployment, pod};
use serde_json::{Value, json};

fn about(operations: &'static [&'static str], group: &'static str, resource: &'static str) -> impl FnOnce(&mut Value) {
    move |hook| hook["rules"] = json!([rule(operations, group, "v1", &[resource])])
}

#[tokio::test]
async fn a_scale_is_told_and_changed_as_a_scale() {
    let server = TestServer::start().await;
    let bounding = HookServer::start(|question| {
        assert_eq!(question["kind"], json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" }));
        assert_eq!((&question["resource"]["resource"], &question["subResource"]), (&json!("deployments"), &json!("scale")));
        assert_eq!((&question["object"]["spec"]["replicas"], &question["oldObject"]["spec"]["replicas"]), (&json!(9), &json!(2)));
        Reply::Response(patch(json!([{ "op": "replace", "path": "/spec/replicas", "value": 4 }])))
    })
    .await;
    configure(&server, MUTATING, "a", json!([hook(&bounding, "a.example.com", about(&["UPDATE"], "apps", "deployments/scale"))])).await;
    server.admin.post(DEPLOYMENTS, deployment("a")).await.expect(201);
    let scale = json!({ "spec": { "replicas": 9 } });
    let path = format!("{DEPLOYMENTS}/a/scale");
    let scaled = server.admin.patch(&path, "application/merge-patch+json", scale).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 4);
    let stored = server.admin.get(&format!("{DEPLOYMENTS}/a")).await.expect(200);
    assert_eq!((&stored["spec"]["replicas"], &stored["metadata"]["generation"]), (&json!(4), &json!(2)));
    assert_eq!(bounding.asked().len(), 1);
}

#[tokio::test]
async fn a_status_is_told_as_such() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    configure(&server, VALIDATING, "a", json!([hook(&asked, "a.example.com", about(&["*"], "", "pods/status"))])).await;
    server.admin.post(PODS, pod("a")).await.expect(201);
    assert_eq!(asked.asked().len(), 0);
    let status = json!({ "status": { "phase": "Running" } });
    server.admin.patch(&format!("{PODS}/a/status"), "application/merge-patch+json", status).await.expect(200);
    let [question] = &asked.asked()[..] else { panic!("one question") };
    assert_eq!((&question["subResource"], &question["requestSubResource"]), (&json!("status"), &json!("status")));
    assert_eq!((&question["kind"]["kind"], &question["object"]["status"]["phase"]), (&json!("Pod"), &json!("Running")));
}

#[tokio::test]
async fn bindings_evictions_and_tokens_are_creations() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    let all = |hook: &mut Value| hook["rules"] = json!([rule(&["*"], "", "v1", &["pods", "pods/*", "serviceaccounts/*"])]);
    server.admin.post(PODS, pod("a")).await.expect(201);
    configure(&server, VALIDATING, "a", json!([hook(&asked, "a.example.com", all)])).await;
    let binding = json!({ "target": { "kind": "Node", "name": "n" } });
    server.admin.post(&format!("{PODS}/a/binding"), binding).await.expect(201);
    let eviction = json!({ "metadata": { "name": "a" }, "deleteOptions": { "gracePeriodSeconds": 0 } });
    server.admin.post(&format!("{PODS}/a/eviction"), eviction).await.expect(201);
    server.admin.get(&format!("{PODS}/a")).await.refused(404, "NotFound");
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    server.admin.post(account, json!({ "spec": { "audiences": [] } })).await.expect(201);
    let told: Vec<_> =
        asked.asked().iter().map(|question| ["operation", "subResource", "name"].map(|field| question[field].clone())).collect();
    // As with kube-apiserver, the deletion that follows from an eviction is not asked about.
    assert_eq!(
        told,
        [["CREATE", "binding", "a"], ["CREATE", "eviction", "a"], ["CREATE", "token", "default"]].map(|row| row.map(Value::from))
    );
}

#[tokio::test]
async fn an_eviction_that_is_refused_does_not_happen() {
    let server = TestServer::start().await;
    let denying = HookServer::start(|question| {
        assert_eq!(question["kind"], json!({ "group": "policy", "version": "v1", "kind": "Eviction" }));
        Reply::Response(json!({ "allowed": false }))
    })
    .await;
    configure(&server, VALIDATING, "a", json!([hook(&denying, "a.example.com", about(&["CREATE"], "", "pods/eviction"))])).await;
    server.admin.post(PODS, pod("a")).await.expect(201);
    server.admin.post(&format!("{PODS}/a/eviction"), json!({ "metadata": { "name": "a" } })).await.refused_by_hook();
    server.admin.get(&format!("{PODS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_stream_is_told_as_its_options() {
    let (server, denying) = (TestServer::start().await, HookServer::start(|_| Reply::Response(json!({ "allowed": false }))).await);
    configure(&server, VALIDATING, "a", json!([hook(&denying, "a.example.com", about(&["CONNECT"], "", "pods/exec"))])).await;
    server.admin.post(PODS, pod("a")).await.expect(201);
    server.admin.get(&format!("{PODS}/a/exec?container=c&command=id&stdout=true")).await.refused_by_hook();
    let [question] = &denying.asked()[..] else { panic!("one question") };
    assert_eq!((&question["operation"], &question["kind"]["kind"]), (&json!("CONNECT"), &json!("PodExecOptions")));
    let options = json!({ "kind": "PodExecOptions", "apiVersion": "v1", "container": "c", "command": ["id"], "stdout": true });
    assert_eq!((&question["object"], &question["oldObject"], &question["options"]), (&options, &Value::Null, &Value::Null));
}

#[tokio::test]
async fn deletions_of_many_are_asked_about_one_by_one() {
    let server = TestServer::start().await;
    let keeping =
        HookServer::start(|question| Reply::Response(json!({ "allowed": question["oldObject"]["metadata"]["name"] != "keep" }))).await;
    configure(&server, VALIDATING, "a", json!([hook(&keeping, "a.example.com", about(&["DELETE"], "", "configmaps"))])).await;
    for name in ["a", "b", "keep"] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
    }
    server.admin.delete(&format!("{CONFIG_MAPS}?labelSelector=app+in+(a,b)")).await.expect(200);
    assert_eq!(keeping.asked().len(), 2);
    server.admin.delete(CONFIG_MAPS).await.refused_by_hook();
    server.admin.get(&format!("{CONFIG_MAPS}/keep")).await.expect(200);
    server.admin.delete(&format!("{CONFIG_MAPS}/keep")).await.refused_by_hook();
}

#[tokio::test]
async fn questions_are_asked_about_as_well() {
    let server = TestServer::start().await;
    let denying = HookServer::start(|_| Reply::Response(json!({ "allowed": false }))).await;
    let reviews = about(&["CREATE"], "authorization.k8s.io", "*");
    configure(&server, VALIDATING, "a", json!([hook(&denying, "a.example.com", reviews)])).await;
    let question = json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } } });
    server.admin.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", question).await.refused_by_hook();
    assert_eq!(denying.asked()[0]["kind"]["kind"], "SelfSubjectAccessReview");
}
