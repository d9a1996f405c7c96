//! Pods: what admission adds, binding, graceful deletion, eviction, tokens.

use crate::harness::{PODS, TestServer, pod};
use serde_json::{Value, json};

async fn bound(server: &TestServer, name: &str) -> Value {
    server.admin.post(PODS, pod(name)).await.expect(201);
    let binding =
        json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name }, "target": { "kind": "Node", "name": "n1" } });
    server.admin.post(&format!("{PODS}/{name}/binding"), binding).await.expect(201);
    server.admin.get(&format!("{PODS}/{name}")).await.expect(200)
}

#[tokio::test]
async fn a_pod_gets_account_token_tolerations_and_priority() {
    let server = TestServer::start().await;
    let created = server.admin.post(PODS, pod("p")).await.expect(201);
    let spec = &created["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["priority"], &spec["preemptionPolicy"]),
        (&json!("default"), &json!(0), &json!("PreemptLowerPriority"))
    );
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    let volume = spec["volumes"][0]["name"].as_str().expect("a volume");
    assert!(volume.starts_with("kube-api-access-") && volume.len() == 21);
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(created["status"]["phase"], "Pending");
}

#[tokio::test]
async fn priorities_come_from_classes_alone() {
    let server = TestServer::start().await;
    let mut critical = pod("p");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(server.admin.post(PODS, critical).await.expect(201)["spec"]["priority"], 2_000_001_000);
    let mut unknown = pod("q");
    unknown["spec"]["priorityClassName"] = json!("nope");
    let message = server.admin.post(PODS, unknown).await.refused(403, "Forbidden");
    assert_eq!(message, r#"pods "q" is forbidden: no PriorityClass with name nope was found"#);
    let mut stolen = pod("r");
    stolen["spec"]["priority"] = json!(7);
    server.admin.post(PODS, stolen).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_pod_of_an_unknown_account_is_forbidden() {
    let server = TestServer::start().await;
    let mut object = pod("p");
    object["spec"]["serviceAccountName"] = json!("nobody");
    let message = server.admin.post(PODS, object).await.refused(403, "Forbidden");
    assert_eq!(message, r#"pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found"#);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = TestServer::start().await;
    let pod = bound(&server, "p").await;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    let condition = &pod["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("PodScheduled"), &json!("True")));
    let binding = json!({ "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n2" } });
    let message = server.admin.post(&format!("{PODS}/p/binding"), binding.clone()).await.refused(409, "Conflict");
    assert!(message.ends_with(r#"pod p is already assigned to node "n1""#), "{message}");
    server.admin.post(PODS, crate::harness::pod("q")).await.expect(201);
    let top = json!({ "metadata": { "name": "q" }, "target": { "name": "n2" } });
    server.admin.post("/api/v1/namespaces/default/bindings", top).await.expect(201);
    let selected = server.admin.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2").await.expect(200);
    assert_eq!(selected["items"][0]["metadata"]["name"], "q");
}

#[tokio::test]
async fn a_running_pod_has_its_period_of_grace() {
    let server = TestServer::start().await;
    bound(&server, "p").await;
    let path = format!("{PODS}/p");
    let marked = server.admin.delete_with(&path, json!({ "gracePeriodSeconds": 20 })).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 20);
    let shortened = server.admin.delete_with(&path, json!({ "gracePeriodSeconds": 5 })).await.expect(200);
    assert_eq!(shortened["metadata"]["deletionGracePeriodSeconds"], 5);
    assert!(server.admin.get(&path).await.expect(200)["metadata"]["deletionTimestamp"].is_string());
    server.admin.delete_with(&path, json!({ "gracePeriodSeconds": 0 })).await.expect(200);
    server.admin.get(&path).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_pod_that_no_node_has_goes_at_once() {
    let server = TestServer::start().await;
    server.admin.post(PODS, pod("p")).await.expect(201);
    server.admin.delete(&format!("{PODS}/p")).await.expect(200);
    server.admin.get(&format!("{PODS}/p")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn an_eviction_asks_the_disruption_budget() {
    let server = TestServer::start().await;
    let mut object = pod("p");
    object["metadata"]["labels"] = json!({ "app": "web" });
    server.admin.post(PODS, object).await.expect(201);
    let running = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    server.admin.patch(&format!("{PODS}/p/status"), "application/merge-patch+json", running).await.expect(200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    server.admin.post(budgets, budget).await.expect(201);
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } });
    let path = format!("{PODS}/p/eviction");
    let answer = server.admin.post(&path, eviction.clone()).await;
    assert_eq!(answer.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    answer.refused(429, "TooManyRequests");
    let status = json!({ "status": { "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2 } });
    server.admin.patch(&format!("{budgets}/b/status"), "application/merge-patch+json", status).await.expect(200);
    // Refused for another reason than the budget, an eviction takes nothing from it.
    let mut other = eviction.clone();
    other["deleteOptions"] = json!({ "preconditions": { "uid": "another" } });
    server.admin.post(&path, other).await.refused(409, "Conflict");
    server.client("system:node:n2", Some("system:nodes")).post(&path, eviction.clone()).await.refused(403, "Forbidden");
    assert_eq!(server.admin.get(&format!("{budgets}/b")).await.expect(200)["status"]["disruptionsAllowed"], 1);
    server.admin.post(&path, eviction).await.expect(201);
    let budget = server.admin.get(&format!("{budgets}/b")).await.expect(200);
    assert_eq!((&budget["status"]["disruptionsAllowed"], budget["status"]["disruptedPods"]["p"].is_string()), (&json!(0), true));
    server.admin.get(&format!("{PODS}/p")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn what_is_not_about_metadata_leaves_it() {
    let server = TestServer::start().await;
    let mut object = pod("p");
    let reference = |name: &str| json!([{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": name }]);
    object["metadata"]["labels"] = json!({ "a": "b" });
    object["metadata"]["ownerReferences"] = reference("a");
    object["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1", "memory": "1Gi" } });
    server.admin.post(PODS, object).await.expect(201);
    let meta = json!({ "labels": { "a": "c" }, "annotations": { "x": "y" }, "ownerReferences": reference("b"), "finalizers": ["a/b"] });
    let resources = json!({ "requests": { "cpu": "2", "memory": "1Gi" } });
    let mut resized = server.admin.get(&format!("{PODS}/p")).await.expect(200)["spec"]["containers"].clone();
    resized[0]["resources"] = resources.clone();
    for (way, spec) in [
        ("ephemeralcontainers", json!({ "ephemeralContainers": [{ "name": "e", "image": "i" }] })),
        ("resize", json!({ "containers": resized })),
    ] {
        let patch = json!({ "metadata": meta, "spec": spec });
        let changed = server.admin.patch(&format!("{PODS}/p/{way}"), "application/merge-patch+json", patch).await.expect(200);
        assert_eq!((&changed["metadata"]["labels"], changed["metadata"].get("annotations")), (&json!({ "a": "b" }), None), "{way}");
        assert_eq!((&changed["metadata"]["ownerReferences"], changed["metadata"].get("finalizers")), (&reference("a"), None), "{way}");
    }
    let patch = json!({ "metadata": meta });
    let changed = server.admin.patch(&format!("{PODS}/p/status"), "application/merge-patch+json", patch).await.expect(200);
    assert_eq!((&changed["metadata"]["labels"], &changed["metadata"]["ownerReferences"]), (&json!({ "a": "c" }), &reference("a")));
    assert_eq!(
        (&changed["spec"]["containers"][0]["resources"], &changed["spec"]["ephemeralContainers"][0]["name"]),
        (&resources, &json!("e"))
    );
    resized[0]["resources"]["requests"]["ephemeral-storage"] = json!("1Gi");
    let patch = json!({ "spec": { "containers": resized } });
    let message = server.admin.patch(&format!("{PODS}/p/resize"), "application/merge-patch+json", patch).await.refused(422, "Invalid");
    assert!(message.ends_with("spec: Forbidden: only cpu and memory resources are mutable"), "{message}");
}

#[tokio::test]
async fn a_token_is_as_good_as_what_it_is_bound_to() {
    let server = TestServer::start().await;
    let created = server.admin.post(PODS, pod("p")).await.expect(201);
    let reference = json!({ "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": created["metadata"]["uid"] });
    let request = json!({ "spec": { "audiences": [], "expirationSeconds": 3600, "boundObjectRef": reference } });
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let issued = server.admin.post(&format!("{accounts}/default/token"), request).await.expect(201);
    let token = issued["status"]["token"].as_str().expect("a token").to_owned();
    let holder = server.stranger().with_header("authorization", &format!("Bearer {token}"));
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = holder.post(reviews, json!({})).await.expect(201);
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:default");
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    let token_review = json!({ "spec": { "token": token } });
    let reviewed = server.admin.post("/apis/authentication.k8s.io/v1/tokenreviews", token_review).await.expect(201);
    assert_eq!(reviewed["status"]["authenticated"], true);
    server.admin.delete(&format!("{PODS}/p")).await.expect(200);
    // The cache that tokens are checked against hears of the deletion by the next consistent list at the latest.
    server.admin.get(PODS).await.expect(200);
    holder.post(reviews, json!({})).await.refused(401, "Unauthorized");
}
