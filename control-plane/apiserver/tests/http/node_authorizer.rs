//! What a node may read: what its own pods refer to, while they are there; and what it is told otherwise.

use crate::client::Client;
use crate::harness::{PODS, TestServer, config_map, pod};
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn node(server: &TestServer, name: &str) -> Client {
    server.client(&format!("system:node:{name}"), Some("system:nodes"))
}

/// A Secret, and a pod that mounts it.
async fn pod_with_secret(server: &TestServer, name: &str, node: Option<&str>) {
    let secret = json!({ "metadata": { "name": name }, "stringData": { "k": name } });
    server.admin.post(SECRETS, secret).await.expect(201);
    let mut user = pod(name);
    user["spec"]["volumes"] = json!([{ "name": "v", "secret": { "secretName": name } }]);
    if let Some(node) = node {
        user["spec"]["nodeName"] = node.into();
    }
    server.admin.post(PODS, user).await.expect(201);
}

async fn bind(server: &TestServer, name: &str, node: &str) {
    let target = json!({ "apiVersion": "v1", "kind": "Node", "name": node });
    server.admin.post(&format!("{PODS}/{name}/binding"), json!({ "metadata": { "name": name }, "target": target })).await.expect(201);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to_while_they_are_there() {
    let server = TestServer::start().await;
    pod_with_secret(&server, "one", Some("n1")).await;
    pod_with_secret(&server, "two", Some("n2")).await;
    let (first, second) = (node(&server, "n1"), node(&server, "n2"));
    assert_eq!(first.get(&format!("{SECRETS}/one")).await.expect(200)["data"]["k"], "b25l");
    second.get(&format!("{SECRETS}/two")).await.expect(200);
    let message = first.get(&format!("{SECRETS}/two")).await.refused(403, "Forbidden");
    assert_eq!(
        message,
        "secrets \"two\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in the namespace \
         \"default\": no relationship found between node 'n1' and this object"
    );
    // As its kubelet asks for it: by name.
    let listed = first.get(&format!("{SECRETS}?fieldSelector=metadata.name%3Done")).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    first.get(&format!("{SECRETS}?fieldSelector=metadata.name%3Dtwo")).await.refused(403, "Forbidden");
    first.get(SECRETS).await.refused(403, "Forbidden");
    first.get("/api/v1/secrets?fieldSelector=metadata.name%3Done").await.refused(403, "Forbidden");
    first.patch(&format!("{SECRETS}/one"), "application/merge-patch+json", json!({ "data": null })).await.refused(403, "Forbidden");
    server.admin.delete(&format!("{PODS}/one?gracePeriodSeconds=0")).await.expect(200);
    // A refusal is given only after everything before it is known; a permission may be as old as the cache, which this waits for.
    server.admin.get(PODS).await.expect(200);
    first.get(&format!("{SECRETS}/one")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_binding_opens_at_once() {
    let server = TestServer::start().await;
    let kubelet = node(&server, "n1");
    for index in 0..20 {
        let name = format!("p{index}");
        pod_with_secret(&server, &name, None).await;
        kubelet.get(&format!("{SECRETS}/{name}")).await.refused(403, "Forbidden");
        bind(&server, &name, "n1").await;
        kubelet.get(&format!("{SECRETS}/{name}")).await.expect(200);
    }
}

#[tokio::test]
async fn tokens_claims_and_volumes_are_those_of_a_nodes_pods() {
    let server = TestServer::start().await;
    for name in ["own", "other"] {
        server.admin.post("/api/v1/namespaces/default/serviceaccounts", json!({ "metadata": { "name": name } })).await.expect(201);
        let claim = json!({ "metadata": { "name": name }, "spec": { "accessModes": ["ReadWriteOnce"], "volumeName": name,
            "storageClassName": "", "resources": { "requests": { "storage": "1Gi" } } } });
        server.admin.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await.expect(201);
        let secret = json!({ "name": format!("{name}-volume"), "namespace": "default" });
        let volume = json!({ "metadata": { "name": name }, "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
            "claimRef": { "namespace": "default", "name": name }, "csi": { "driver": "d", "volumeHandle": name, "nodeStageSecretRef": secret } } });
        server.admin.post("/api/v1/persistentvolumes", volume).await.expect(201);
        server.admin.post(SECRETS, json!({ "metadata": { "name": format!("{name}-volume") } })).await.expect(201);
        server.admin.post("/api/v1/namespaces/default/configmaps", config_map(name)).await.expect(201);
        let mut user = pod(name);
        user["spec"]["serviceAccountName"] = name.into();
        user["spec"]["nodeName"] = if name == "own" { "n1" } else { "n2" }.into();
        user["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": name } }]);
        user["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": name } }]);
        server.admin.post(PODS, user).await.expect(201);
    }
    let kubelet = node(&server, "n1");
    for (name, code) in [("own", 200), ("other", 403)] {
        for path in [
            format!("/api/v1/namespaces/default/persistentvolumeclaims/{name}"),
            format!("/api/v1/persistentvolumes/{name}"),
            format!("{SECRETS}/{name}-volume"),
            format!("/api/v1/namespaces/default/configmaps/{name}"),
        ] {
            kubelet.get(&path).await.expect(code);
        }
        let bound = server.admin.get(&format!("{PODS}/{name}")).await.expect(200);
        let reference = json!({ "kind": "Pod", "apiVersion": "v1", "name": name, "uid": bound["metadata"]["uid"] });
        let token = kubelet
            .post(&format!("/api/v1/namespaces/default/serviceaccounts/{name}/token"), json!({ "spec": { "boundObjectRef": reference } }))
            .await;
        token.expect(if code == 200 { 201 } else { 403 });
    }
    kubelet.get("/api/v1/namespaces/default/serviceaccounts/own").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn reviews_tell_who_allows_what_and_why_not() {
    let server = TestServer::start().await;
    pod_with_secret(&server, "one", Some("n1")).await;
    server.admin.get(PODS).await.expect(200);
    let review = async |attributes: Value| {
        let spec = json!({ "user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": attributes });
        let answer = server.admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json!({ "spec": spec })).await.expect(201);
        answer["status"].clone()
    };
    let secret = |name: &str| json!({ "verb": "get", "resource": "secrets", "namespace": "default", "name": name });
    assert_eq!(review(secret("one")).await, json!({ "allowed": true }));
    let reason = "no relationship found between node 'n1' and this object";
    assert_eq!(review(secret("two")).await, json!({ "allowed": false, "reason": reason }));
    let binding = "RBAC: allowed by ClusterRoleBinding \"orknet:agent\" of ClusterRole \"orknet:agent\" to Group \"system:nodes\"";
    let policies = json!({ "verb": "watch", "group": "networking.k8s.io", "resource": "networkpolicies" });
    assert_eq!(review(policies).await, json!({ "allowed": true, "reason": binding }));
    for selector in [
        json!({ "rawSelector": "spec.nodeName=n1" }),
        json!({ "requirements": [{ "key": "spec.nodeName", "operator": "In", "values": ["n1"] }] }),
    ] {
        // No binding is named: the Node authorizer allows it by the selector.
        let pods = json!({ "verb": "list", "resource": "pods", "fieldSelector": selector });
        assert_eq!(review(pods).await, json!({ "allowed": true }), "{selector}");
    }
    let rules = json!({ "spec": { "namespace": "default" } });
    let rules = node(&server, "n1").post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.expect(201);
    assert_eq!(rules["status"]["incomplete"], true);
}

#[tokio::test]
async fn a_store_of_an_earlier_version_loses_what_nodes_were_given() {
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let server = TestServer::start().await;
    let path = format!("{RBAC}/clusterrolebindings/system:node");
    let binding = server.admin.get(&path).await.expect(200);
    assert!(is_empty(&binding["subjects"]), "{binding}");
    let subject = json!({ "kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io" });
    server.admin.patch(&path, "application/merge-patch+json", json!({ "subjects": [subject] })).await.expect(200);
    let discovery = format!("{RBAC}/clusterroles/system:discovery");
    let before = server.admin.get(&discovery).await.expect(200);
    server.admin.patch(&discovery, "application/merge-patch+json", json!({ "rules": null })).await.expect(200);
    let monitoring = format!("{RBAC}/clusterroles/system:monitoring");
    let own = json!({ "metadata": { "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "false" } }, "rules": null });
    server.admin.patch(&monitoring, "application/merge-patch+json", own).await.expect(200);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let binding = server.admin.get(&path).await.expect(200);
    assert!(is_empty(&binding["subjects"]), "{binding}");
    assert_eq!(server.admin.get(&discovery).await.expect(200)["rules"], before["rules"]);
    assert!(is_empty(&server.admin.get(&monitoring).await.expect(200)["rules"]));
}
