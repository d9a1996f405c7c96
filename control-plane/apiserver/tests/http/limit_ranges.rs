//! LimitRanges: what pods get from them, and what is refused.

use crate::harness::{PODS, TestServer, pod};
use serde_json::{Value, json};

const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

async fn with(limits: Value) -> TestServer {
    let server = TestServer::start().await;
    let range = json!({ "metadata": { "name": "r" }, "spec": { "limits": limits } });
    server.admin.post(RANGES, range).await.expect(201);
    // A consistent list waits for what admission reads.
    server.admin.get(RANGES).await.expect(200);
    server
}

#[tokio::test]
async fn a_new_pod_gets_what_it_does_not_say() {
    let server = with(json!([{ "type": "Container", "default": { "cpu": "500m" }, "defaultRequest": { "cpu": "100m" } }])).await;
    let created = server.admin.post(PODS, pod("a")).await.expect(201);
    assert_eq!(created["spec"]["containers"][0]["resources"], json!({ "limits": { "cpu": "500m" }, "requests": { "cpu": "100m" } }));
    assert_eq!(
        created["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    assert_eq!(created["status"]["qosClass"], "Burstable");
    // Elsewhere nothing is filled in, and later changes of a pod are no matter of limits.
    server.admin.post("/api/v1/namespaces", json!({ "metadata": { "name": "other" } })).await.expect(201);
    let account = json!({ "metadata": { "name": "default" } });
    server.admin.post("/api/v1/namespaces/other/serviceaccounts", account).await.expect(201);
    let elsewhere = server.admin.post("/api/v1/namespaces/other/pods", pod("a")).await.expect(201);
    assert_eq!(elsewhere["spec"]["containers"][0]["resources"], json!({}));
    let (path, label) = (format!("{PODS}/a"), json!({ "metadata": { "labels": { "x": "y" } } }));
    server.admin.patch(&path, "application/merge-patch+json", label).await.expect(200);
}

#[tokio::test]
async fn all_that_is_out_of_bounds_is_told_in_one_refusal() {
    let server = with(json!([
        { "type": "Container", "min": { "cpu": "100m" }, "max": { "cpu": "1" }, "maxLimitRequestRatio": { "memory": "2" } },
        { "type": "Pod", "max": { "cpu": "1500m" } },
        { "type": "PersistentVolumeClaim", "max": { "storage": "1Gi" } },
    ]))
    .await;
    let with = |cpu: &str| {
        let mut pod = pod("a");
        pod["spec"]["containers"][0]["resources"] =
            json!({ "requests": { "cpu": cpu, "memory": "1Mi" }, "limits": { "cpu": cpu, "memory": "2Mi" } });
        pod
    };
    server.admin.post(PODS, with("1")).await.expect(201);
    let mut two = with("2");
    two["metadata"]["name"] = "b".into();
    two["spec"]["containers"][0]["resources"]["limits"]["memory"] = "3Mi".into();
    let refused = server.admin.post(PODS, two).await.expect(403);
    assert_eq!(
        refused["message"],
        "pods \"b\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, memory max limit to request ratio per Container is 2, \
         but provided ratio is 3.000000, maximum cpu usage per Pod is 1500m, but limit is 2]"
    );
    // Also a resize of what runs, and a claim whenever it is written.
    let resized = json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1200m" }, "limits": { "cpu": "1200m" } } }] } });
    let refused = server.admin.patch(&format!("{PODS}/a/resize"), "application/strategic-merge-patch+json", resized).await.expect(403);
    assert_eq!(refused["message"], "pods \"a\" is forbidden: maximum cpu usage per Container is 1, but limit is 1200m");
    let claim = |storage: &str| json!({ "metadata": { "name": "c" }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": storage } } } });
    let refused = server.admin.post(CLAIMS, claim("2Gi")).await.expect(403);
    assert_eq!(
        refused["message"],
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"
    );
    server.admin.post(CLAIMS, claim("1Gi")).await.expect(201);
    assert_eq!(server.admin.get(&format!("{PODS}/b")).await.status, 404);
}
