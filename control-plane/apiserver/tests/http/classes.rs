//! What classes bring to the objects that name them, or that name none: storage, Ingress, runtime and priority classes; and the taint of new nodes.

use crate::harness::{PODS, TestServer, pod};
use serde_json::{Value, json};

const STORAGE: &str = "/apis/storage.k8s.io/v1/storageclasses";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const INGRESS_CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const RUNTIME: &str = "/apis/node.k8s.io/v1/runtimeclasses";

/// What is in the list now is in the cache, which consistent lists wait for.
async fn seen(server: &TestServer, path: &str) {
    server.admin.get(path).await.expect(200);
}

#[tokio::test]
async fn a_claim_without_class_gets_the_default_one() {
    let server = TestServer::start().await;
    let claim = |name: &str, class: Value| {
        json!({ "metadata": { "name": name }, "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } } } })
    };
    let created = server.admin.post(CLAIMS, claim("none", Value::Null)).await.expect(201);
    assert_eq!(created["spec"]["storageClassName"], Value::Null);
    let class = |name: &str, default: &str| json!({ "metadata": { "name": name, "annotations": { "storageclass.kubernetes.io/is-default-class": default } }, "provisioner": "p" });
    for class in [class("plain", "false"), class("fast", "true")] {
        server.admin.post(STORAGE, class).await.expect(201);
    }
    seen(&server, STORAGE).await;
    for (name, given, expected) in [("a", Value::Null, "fast"), ("b", json!("plain"), "plain"), ("c", json!(""), "")] {
        let created = server.admin.post(CLAIMS, claim(name, given)).await.expect(201);
        assert_eq!(created["spec"]["storageClassName"], expected, "{name}");
    }
    // Only new ones get it.
    let (path, label) = (format!("{CLAIMS}/none"), json!({ "metadata": { "labels": { "a": "b" } } }));
    let patched = server.admin.patch(&path, "application/merge-patch+json", label).await.expect(200);
    assert_eq!(patched["spec"]["storageClassName"], Value::Null);
}

#[tokio::test]
async fn an_ingress_without_class_gets_the_default_one() {
    let server = TestServer::start().await;
    let class = json!({ "metadata": { "name": "web", "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" } },
        "spec": { "controller": "example.org/web" } });
    server.admin.post(INGRESS_CLASSES, class).await.expect(201);
    seen(&server, INGRESS_CLASSES).await;
    let backend = json!({ "service": { "name": "s", "port": { "number": 80 } } });
    let ingress = |name: &str, annotations: Value| json!({ "metadata": { "name": name, "annotations": annotations }, "spec": { "defaultBackend": backend } });
    let created = server.admin.post(INGRESSES, ingress("a", json!({}))).await.expect(201);
    assert_eq!(created["spec"]["ingressClassName"], "web");
    let created = server.admin.post(INGRESSES, ingress("b", json!({ "kubernetes.io/ingress.class": "old" }))).await.expect(201);
    assert_eq!(created["spec"]["ingressClassName"], Value::Null);
}

#[tokio::test]
async fn a_pod_runs_as_its_runtime_class_says() {
    let server = TestServer::start().await;
    let class = json!({ "metadata": { "name": "sandboxed" }, "handler": "h", "overhead": { "podFixed": { "cpu": "250m" } },
        "scheduling": { "nodeSelector": { "sandbox": "yes" }, "tolerations": [{ "key": "sandbox", "operator": "Exists" }] } });
    server.admin.post(RUNTIME, class).await.expect(201);
    let of = |name: &str, class: Value, more: &[(&str, Value)]| {
        let mut pod = pod(name);
        pod["spec"]["runtimeClassName"] = class;
        for (field, value) in more {
            pod["spec"][*field] = value.clone();
        }
        pod
    };
    // Though no cache may have seen the class yet.
    let created = server.admin.post(PODS, of("a", json!("sandboxed"), &[])).await.expect(201);
    assert_eq!(created["spec"]["overhead"], json!({ "cpu": "250m" }));
    assert_eq!(created["spec"]["nodeSelector"], json!({ "sandbox": "yes" }));
    let keys: Vec<&str> =
        created["spec"]["tolerations"].as_array().expect("a list").iter().filter_map(|toleration| toleration["key"].as_str()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "sandbox"]);
    for (pod, why) in [
        (of("b", json!("nope"), &[]), "pod rejected: RuntimeClass \"nope\" not found"),
        (
            of("b", json!("sandboxed"), &[("overhead", json!({ "cpu": "1" }))]),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            of("b", Value::Null, &[("overhead", json!({ "cpu": "1" }))]),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            of("b", json!("sandboxed"), &[("nodeSelector", json!({ "sandbox": "no" }))]),
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; pod.spec.nodeSelector[sandbox] = no",
        ),
    ] {
        let message = server.admin.post(PODS, pod).await.refused(403, "Forbidden");
        assert_eq!(message, format!("pods \"b\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn a_pod_preempts_as_its_priority_class_says() {
    let server = TestServer::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    server.admin.post(classes, json!({ "metadata": { "name": "patient" }, "value": 5, "preemptionPolicy": "Never" })).await.expect(201);
    seen(&server, classes).await;
    let of = |name: &str, class: &str, policy: Value| {
        let mut pod = pod(name);
        pod["spec"]["priorityClassName"] = json!(class);
        pod["spec"]["preemptionPolicy"] = policy;
        pod
    };
    for (name, policy) in [("a", Value::Null), ("b", json!("Never"))] {
        let created = server.admin.post(PODS, of(name, "patient", policy)).await.expect(201);
        assert_eq!((&created["spec"]["preemptionPolicy"], &created["spec"]["priority"]), (&json!("Never"), &json!(5)));
    }
    for (class, given, computed) in [("patient", "PreemptLowerPriority", "Never"), ("", "Never", "PreemptLowerPriority")] {
        let message = server.admin.post(PODS, of("c", class, json!(given))).await.refused(403, "Forbidden");
        let expected = format!(
            "pods \"c\" is forbidden: the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
        );
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn a_new_node_takes_no_pods_yet() {
    let server = TestServer::start().await;
    let kubelet = server.client("system:node:n1", Some("system:nodes"));
    let own = json!({ "key": "own", "effect": "NoExecute" });
    let created = kubelet.post("/api/v1/nodes", json!({ "metadata": { "name": "n1" }, "spec": { "taints": [own] } })).await.expect(201);
    assert_eq!(created["spec"]["taints"], json!([own, { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }]));
    // Once it is taken away it does not come back with the next write.
    let merge = "application/merge-patch+json";
    let node = "/api/v1/nodes/n1";
    server.admin.patch(node, merge, json!({ "spec": { "taints": null } })).await.expect(200);
    let patched = server.admin.patch(node, merge, json!({ "metadata": { "labels": { "a": "b" } } })).await.expect(200);
    assert_eq!(patched["spec"]["taints"], Value::Null);
}
