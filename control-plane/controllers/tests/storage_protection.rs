//! Claims and volumes over a real server: they stay while they are used, and go when they are not.

mod cluster;

use std::fmt::Debug;
use std::time::Duration;

use cluster::Cluster;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

async fn create<K: Clone + Debug + DeserializeOwned + Serialize>(api: &Api<K>, object: Value) -> K {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn until<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, name: &str, is_so: impl Fn(Option<&K>) -> bool) {
    let reached = async {
        while !is_so(api.get_opt(name).await.unwrap().as_ref()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(LONG, reached).await;
    assert!(reached.is_ok(), "{:?}", api.get_opt(name).await);
}

fn claim(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } })
}

fn pod(name: &str, node: Option<&str>) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }],
        "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "used" } }] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_stays_while_a_pod_on_a_node_uses_it() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(cluster.client.clone());
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    for name in ["used", "unused"] {
        create(&claims, claim(name)).await;
    }
    create(&pods, pod("runs", Some("node"))).await;
    create(&pods, pod("waits", None)).await;
    for name in ["used", "unused"] {
        claims.delete(name, &DeleteParams::default()).await.unwrap();
    }
    until(&claims, "unused", |claim| claim.is_none()).await;
    // What nobody uses goes. The used claim stood in line before it, but each worker may be at its own: after several more in a row that one is done, too,
    // and what was done wrongly has been told.
    for name in ["mark-0", "mark-1", "mark-2", "mark-3"] {
        create(&claims, claim(name)).await;
        claims.delete(name, &DeleteParams::default()).await.unwrap();
        until(&claims, name, |claim| claim.is_none()).await;
    }
    let kept = claims.get("used").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_some() && kept.metadata.finalizers.is_some(), "{kept:?}");
    pods.delete("runs", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&claims, "used", |claim| claim.is_none()).await;
    drop((claims, pods));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_stays_while_it_is_bound_and_what_lost_its_finalizer_gets_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    let spec = json!({ "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/x" } });
    for name in ["bound", "free"] {
        create(&volumes, json!({ "metadata": { "name": name }, "spec": spec })).await;
    }
    let (params, phase) = (PatchParams::default(), |phase: &str| Patch::Merge(json!({ "status": { "phase": phase } })));
    volumes.patch_status("bound", &params, &phase("Bound")).await.unwrap();
    let bare: Patch<Value> = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    volumes.patch("free", &params, &bare).await.unwrap();
    until(&volumes, "free", |volume| volume.is_some_and(|volume| volume.metadata.finalizers.is_some())).await;
    for name in ["bound", "free"] {
        volumes.delete(name, &DeleteParams::default()).await.unwrap();
    }
    until(&volumes, "free", |volume| volume.is_none()).await;
    assert!(volumes.get("bound").await.unwrap().metadata.deletion_timestamp.is_some());
    volumes.patch_status("bound", &params, &phase("Released")).await.unwrap();
    until(&volumes, "bound", |volume| volume.is_none()).await;
    drop(volumes);
    cluster.stop().await;
}
