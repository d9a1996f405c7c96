//! ServiceCIDRs and IPAddresses over a real server: ranges get ready and are held while they are used, and what others did to addresses is put right.

mod cluster;

use std::fmt::Debug;
use std::time::Duration;

use cluster::Cluster;
use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
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

async fn until_event(api: &Api<Event>, reason: &str, message: &str) {
    let reached = async {
        loop {
            let events = api.list(&ListParams::default()).await.unwrap().items;
            let is_it = |event: &Event| event.reason.as_deref() == Some(reason) && event.message.as_deref() == Some(message);
            if events.iter().any(is_it) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, reached).await.is_ok(), "no event {reason}: {message}");
}

fn condition(range: &ServiceCIDR) -> Option<(String, String)> {
    let conditions = range.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.status.clone(), ready.reason.clone()))
}

fn is(range: Option<&ServiceCIDR>, status: &str, reason: &str) -> bool {
    range.and_then(condition) == Some((status.to_owned(), reason.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_held_while_it_is_used_and_no_other_has_its_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let ranges = Api::<ServiceCIDR>::all(cluster.client.clone());
    let services = Api::<Service>::default_namespaced(cluster.client.clone());
    for name in ["used", "unused"] {
        let cidr = if name == "used" { "10.97.0.0/28" } else { "10.98.0.0/28" };
        create(&ranges, json!({ "metadata": { "name": name }, "spec": { "cidrs": [cidr] } })).await;
        until(&ranges, name, |range| is(range, "True", "")).await;
    }
    let made = ranges.get("used").await.unwrap();
    assert_eq!(made.metadata.finalizers, Some(vec!["networking.k8s.io/service-cidr-finalizer".to_owned()]));
    create(&services, json!({ "metadata": { "name": "web" }, "spec": { "clusterIP": "10.97.0.5", "ports": [{ "port": 80 }] } })).await;
    for name in ["used", "unused"] {
        ranges.delete(name, &DeleteParams::default()).await.unwrap();
    }
    until(&ranges, "unused", |range| range.is_none()).await;
    until(&ranges, "used", |range| is(range, "False", "Terminating")).await;
    // One that has all of it lets it go, and does not go itself.
    create(&ranges, json!({ "metadata": { "name": "wide" }, "spec": { "cidrs": ["10.97.0.0/24"] } })).await;
    until(&ranges, "used", |range| range.is_none()).await;
    until(&ranges, "wide", |range| is(range, "True", "")).await;
    ranges.delete("wide", &DeleteParams::default()).await.unwrap();
    until(&ranges, "wide", |range| is(range, "False", "Terminating")).await;
    services.delete("web", &DeleteParams::default()).await.unwrap();
    until(&ranges, "wide", |range| range.is_none()).await;
    drop((ranges, services));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_to_addresses_is_put_right() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let addresses = Api::<IPAddress>::all(cluster.client.clone());
    let services = Api::<Service>::default_namespaced(cluster.client.clone());
    let events = Api::<Event>::default_namespaced(cluster.client.clone());
    let web = create(&services, json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } })).await;
    let ip = web.spec.unwrap().cluster_ip.unwrap();
    let before = addresses.get(&ip).await.unwrap();
    addresses.delete(&ip, &DeleteParams::default()).await.unwrap();
    until(&addresses, &ip, |address| address.is_some_and(|address| address.metadata.uid != before.metadata.uid)).await;
    let after = addresses.get(&ip).await.unwrap();
    assert_eq!((after.spec, after.metadata.labels), (before.spec, before.metadata.labels.clone()));
    until_event(&events, "ClusterIPNotAllocated", &format!("Cluster IP [IPv4]: {ip} is not allocated; repairing")).await;

    // One that names a Service which has it not; and one that is no allocator's.
    let parent = json!({ "resource": "services", "namespace": "default", "name": "web" });
    let foreign = json!({ "metadata": { "name": "10.96.200.9" }, "spec": { "parentRef": parent } });
    create(&addresses, foreign).await;
    let wrong = json!({ "metadata": { "name": "10.96.200.8", "labels": before.metadata.labels }, "spec": { "parentRef": parent } });
    create(&addresses, wrong).await;
    until(&addresses, "10.96.200.8", |address| address.is_none()).await;
    // As upstream: namespace and name.
    let message = "IPAddress: 10.96.200.8 for Service default/web has a wrong reference; cleaning up";
    until_event(&events, "IPAddressWrongReference", message).await;
    assert!(addresses.get_opt("10.96.200.9").await.unwrap().is_some());
    services.delete("web", &DeleteParams::default()).await.unwrap();
    until(&addresses, &ip, |address| address.is_none()).await;
    drop((addresses, services, events));
    cluster.stop().await;
}
