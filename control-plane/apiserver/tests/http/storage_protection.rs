//! Claims and volumes are held while they are used, and claims grow where their class lets them.

use crate::harness::TestServer;
use serde_json::{Value, json};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const MERGE: &str = "application/merge-patch+json";

fn claim(name: &str, class: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": "1Gi" } } } })
}

#[tokio::test]
async fn what_is_new_is_held_by_a_finalizer_until_that_is_taken_off() {
    let server = TestServer::start().await;
    let volume = json!({ "metadata": { "name": "v" }, "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
        "hostPath": { "path": "/x" } } });
    for (path, object, finalizer) in
        [(CLAIMS, claim("c", Value::Null), "kubernetes.io/pvc-protection"), (VOLUMES, volume, "kubernetes.io/pv-protection")]
    {
        let mut created = server.admin.post(path, object).await.expect(201);
        assert_eq!(created["metadata"]["finalizers"], json!([finalizer]));
        let one = format!("{path}/{}", created["metadata"]["name"].as_str().expect("a name"));
        server.admin.delete(&one).await.expect(200);
        created = server.admin.get(&one).await.expect(200);
        assert!(created["metadata"]["deletionTimestamp"].is_string(), "{created}");
        server.admin.patch(&one, MERGE, json!({ "metadata": { "finalizers": [] } })).await.expect(200);
        assert_eq!(server.admin.get(&one).await.status, 404);
    }
}

#[tokio::test]
async fn a_claim_grows_where_its_class_allows_it() {
    let server = TestServer::start().await;
    for (name, grows) in [("fixed", Value::Null), ("elastic", json!(true))] {
        let class = json!({ "metadata": { "name": name }, "provisioner": "p", "allowVolumeExpansion": grows });
        server.admin.post(CLASSES, class).await.expect(201);
    }
    server.admin.get(CLASSES).await.expect(200);
    let grown = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    for (name, class, code) in [("a", json!("fixed"), 403), ("b", json!(""), 403), ("c", json!("gone"), 403), ("d", json!("elastic"), 200)]
    {
        let mut created = server.admin.post(CLAIMS, claim(name, class)).await.expect(201);
        created["status"] = json!({ "phase": "Bound", "capacity": { "storage": "1Gi" } });
        let path = format!("{CLAIMS}/{name}");
        server.admin.put(&format!("{path}/status"), created).await.expect(200);
        let answer = server.admin.patch(&path, MERGE, grown("2Gi")).await;
        if code == 200 {
            assert_eq!(answer.expect(200)["spec"]["resources"]["requests"]["storage"], "2Gi");
            continue;
        }
        assert_eq!(
            answer.refused(403, "Forbidden"),
            format!(
                "persistentvolumeclaims {name:?} is forbidden: only dynamically provisioned pvc can be resized and the storageclass that \
                 provisions the pvc must support resize"
            )
        );
        // What it does not ask more of is its own.
        server.admin.patch(&path, MERGE, json!({ "metadata": { "labels": { "x": "y" } } })).await.expect(200);
    }
}
