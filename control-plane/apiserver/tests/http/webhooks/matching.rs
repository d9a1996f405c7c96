//! Which requests a webhook is asked about: selectors, scope, versions, Services.

use super::hook_server::{HookServer, Reply};
use super::{MUTATING, VALIDATING, configure, hook, patch, rule};
use crate::harness::{CONFIG_MAPS, TestServer, config_map, open};
use orknet_store::Op;
use serde_json::{Value, json};

#[tokio::test]
async fn labels_of_namespaces_and_objects_select() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    let selecting = hook(&asked, "a.example.com", |hook| {
        hook["namespaceSelector"] = json!({ "matchLabels": { "team": "red" } });
        hook["objectSelector"] = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["a", "b"] }] });
    });
    configure(&server, VALIDATING, "a", json!([selecting])).await;
    server.admin.post("/api/v1/namespaces", json!({ "metadata": { "name": "red", "labels": { "team": "red" } } })).await.expect(201);
    let red = "/api/v1/namespaces/red/configmaps";
    let count = async |path: &str, name: &str| {
        server.admin.post(path, config_map(name)).await.expect(201);
        asked.asked().len()
    };
    assert_eq!((count(CONFIG_MAPS, "a").await, count(red, "c").await, count(red, "a").await), (0, 0, 1));
    // The old object counts as well as the new one.
    let unlabelled = json!({ "metadata": { "labels": { "app": null } } });
    server.admin.patch(&format!("{red}/a"), "application/merge-patch+json", unlabelled.clone()).await.expect(200);
    assert_eq!(asked.asked().len(), 1);
    server.admin.delete(&format!("{red}/a")).await.expect(200);
    assert_eq!(asked.asked().len(), 0);
}

#[tokio::test]
async fn a_namespace_is_selected_by_its_own_labels() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    let selecting = hook(&asked, "a.example.com", |hook| {
        hook["namespaceSelector"] = json!({ "matchLabels": { "team": "red" } });
        hook["rules"] = json!([rule(&["*"], "", "v1", &["*"])]);
        hook["rules"][0]["scope"] = json!("Cluster");
    });
    configure(&server, VALIDATING, "a", json!([selecting])).await;
    let namespace = |name: &str, team: &str| json!({ "metadata": { "name": name, "labels": { "team": team } } });
    server.admin.post("/api/v1/namespaces", namespace("blue", "blue")).await.expect(201);
    assert_eq!(asked.asked().len(), 0);
    server.admin.post("/api/v1/namespaces", namespace("red", "red")).await.expect(201);
    let [question] = &asked.asked()[..] else { panic!("one question") };
    assert_eq!((&question["name"], &question["namespace"]), (&json!("red"), &json!("red")));
    // What lives in namespaces is out of this scope, what has no namespace is selected by none.
    server.admin.post("/api/v1/namespaces/red/configmaps", config_map("a")).await.expect(201);
    assert_eq!(asked.asked().len(), 0);
    server.admin.post("/api/v1/nodes", json!({ "metadata": { "name": "n" } })).await.expect(201);
    assert_eq!(asked.asked().len(), 1);
}

#[tokio::test]
async fn the_same_objects_in_another_version_are_told_in_the_webhooks_own() {
    let server = TestServer::start().await;
    let noting = HookServer::start(|_| Reply::Response(patch(json!([{ "op": "add", "path": "/note", "value": "changed" }])))).await;
    let exact = HookServer::allowing().await;
    let events = |hook: &mut Value| hook["rules"] = json!([rule(&["CREATE"], "events.k8s.io", "v1", &["events"])]);
    let exactly = |hook: &mut Value| {
        events(hook);
        hook["matchPolicy"] = json!("Exact");
    };
    configure(&server, MUTATING, "a", json!([hook(&noting, "a.example.com", events), hook(&exact, "b.example.com", exactly)])).await;
    let event = json!({ "metadata": { "name": "e" }, "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" },
        "reason": "R", "message": "as it was", "type": "Normal", "source": { "component": "test" } });
    let made = server.admin.post("/api/v1/namespaces/default/events", event).await.expect(201);
    assert_eq!((&made["message"], &made["apiVersion"]), (&json!("changed"), &json!("v1")));
    let [question] = &noting.asked()[..] else { panic!("one question") };
    assert_eq!(question["kind"], json!({ "group": "events.k8s.io", "version": "v1", "kind": "Event" }));
    assert_eq!(question["resource"]["group"], "events.k8s.io");
    assert_eq!((&question["requestKind"]["group"], &question["requestResource"]["group"]), (&json!(""), &json!("")));
    assert_eq!((&question["object"]["note"], &question["object"]["apiVersion"]), (&json!("as it was"), &json!("events.k8s.io/v1")));
    assert_eq!(exact.asked(), [Value::Null; 0]);
}

#[tokio::test]
async fn match_conditions_keep_requests_from_a_webhook() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    let conditioned = hook(&asked, "a.example.com", |hook| {
        hook["matchConditions"] = json!([
            { "name": "not-mine", "expression": "request.userInfo.username != 'ann'" },
            { "name": "labelled", "expression": "(object == null ? oldObject : object).metadata.labels['app'].startsWith('a')" },
            { "name": "privileged", "expression": "authorizer.requestResource.check('patch').allowed()" },
        ]);
    });
    configure(&server, VALIDATING, "a", json!([conditioned])).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    assert_eq!(asked.asked().iter().map(|question| question["name"].clone()).collect::<Vec<_>>(), ["a"]);
    server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(asked.asked().len(), 1);
    let ann = server.client("ann", Some("system:masters"));
    ann.post(CONFIG_MAPS, config_map("ab")).await.expect(201);
    assert_eq!(asked.asked().len(), 0);
    // Who cannot be decided about is refused, unless the webhook may fail.
    let plain = json!({ "metadata": { "name": "plain" } });
    let message = server.admin.post(CONFIG_MAPS, plain.clone()).await.refused(403, "Forbidden");
    assert!(message.starts_with("configmaps \"plain\" is forbidden: expression '(object == null"), "{message}");
    let patch = json!([{ "op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore" }]);
    let path = format!("{}/{VALIDATING}/a", super::GROUP);
    let changed = server.admin.patch(&path, "application/json-patch+json", patch).await.expect(200);
    super::seen(&server, VALIDATING, changed["metadata"]["resourceVersion"].as_str().expect("a version")).await;
    server.admin.post(CONFIG_MAPS, plain).await.expect(201);
    assert_eq!(asked.asked().len(), 0);
    let metrics = server.admin.get("/metrics").await.text;
    for line in [
        r#"exclusions_total{name="a.example.com",kind="webhook",type="validating",operation="CREATE"} 2"#,
        r#"evaluation_errors_total{name="a.example.com",kind="webhook",type="validating",operation="CREATE"} 2"#,
    ] {
        assert!(metrics.contains(&format!("apiserver_admission_match_condition_{line}")), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_service_leads_to_the_webhook() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let asked = HookServer::named("hook.default.svc", |_| Reply::Response(json!({ "allowed": true }))).await;
    let by_service = hook(&asked, "a.example.com", |hook| {
        let service = json!({ "namespace": "default", "name": "hook", "port": 9443, "path": "/by/service" });
        hook["clientConfig"] = json!({ "caBundle": asked.ca_bundle(), "service": service });
    });
    configure(&server, VALIDATING, "a", json!([by_service])).await;
    let refused = async || server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(500, "InternalError");
    let post = "Post \"https://hook.default.svc:9443/by/service?timeout=10s\"";
    assert!(refused().await.ends_with(&format!("{post}: service \"hook\" not found")));
    let service = json!({ "metadata": { "name": "hook" }, "spec": { "ports": [{ "name": "hook", "port": 9443 }] } });
    server.admin.post("/api/v1/namespaces/default/services", service).await.expect(201);
    assert!(refused().await.ends_with(&format!("{post}: no endpoints available for service \"hook\"")));
    // Clients may not name this address; the store holds what it is told.
    let slice = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
        "metadata": { "name": "hook-1", "namespace": "default", "labels": { "kubernetes.io/service-name": "hook" } },
        "ports": [{ "name": "hook", "port": asked.address.port(), "protocol": "TCP" }],
        "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": { "ready": true } }],
    });
    let key = "/registry/discovery.k8s.io/endpointslices/default/hook-1";
    store.commit(Vec::new(), vec![Op::Put { key: key.into(), value: slice.to_string().into(), ttl: None }]).await.expect("written");
    // A write after it is seen after it.
    server.admin.post("/api/v1/namespaces/default/secrets", json!({ "metadata": { "name": "mark" } })).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(asked.paths(), ["/by/service?timeout=10s"]);
}
