//! Several servers over one store: the Service `kubernetes` leads to those that live.

use crate::harness::{DEPLOYMENTS, TestServer, deployment, open};
use crate::slow::Slow;
use orknet_apiserver::Config;
use orknet_store::Op;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
const CHANGES: &str = "/api/v1/namespaces/default/endpoints?watch=1&fieldSelector=metadata.name%3Dkubernetes";

fn at(address: &str) -> impl FnOnce(&mut Config) + use<> {
    let address: IpAddr = address.parse().expect("an address");
    move |config| {
        config.advertise_address = address;
        config.advertise_port = Some(6443);
    }
}

fn addresses(endpoints: &Value) -> Vec<&str> {
    let all =
        endpoints["subsets"].as_array().expect("subsets").iter().flat_map(|subset| subset["addresses"].as_array().expect("addresses"));
    all.filter_map(|address| address["ip"].as_str()).collect()
}

/// Waits until the Endpoints name exactly these, and compares the slice.
async fn named(server: &TestServer, wanted: &[&str]) {
    let mut changes = server.admin.watch(CHANGES).await;
    let awaited = async {
        while let Some(event) = changes.next().await {
            if addresses(&event["object"]) == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), awaited).await.unwrap_or_else(|_| panic!("not {wanted:?}"));
    let awaited = async {
        loop {
            let slice = server.admin.get(SLICE).await.expect(200);
            let endpoints: Vec<&str> =
                slice["endpoints"].as_array().expect("endpoints").iter().filter_map(|one| one["addresses"][0].as_str()).collect();
            if endpoints == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // It is written just after the Endpoints.
    tokio::time::timeout(Duration::from_secs(30), awaited).await.unwrap_or_else(|_| panic!("the slice names not {wanted:?}"));
}

#[tokio::test]
async fn all_servers_that_live_are_named_and_no_other() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(directory.path()).await;
    let first = TestServer::start_on(directory, store.clone(), at("192.0.2.2")).await;
    assert_eq!(addresses(&first.admin.get(ENDPOINTS).await.expect(200)), ["192.0.2.2"]);
    let second = TestServer::start_on(other, store.clone(), at("192.0.2.1")).await;
    named(&first, &["192.0.2.1", "192.0.2.2"]).await;
    let both = second.admin.get(ENDPOINTS).await.expect(200);
    assert_eq!(both["subsets"][0]["ports"], json!([{"name": "https", "port": 6443, "protocol": "TCP"}]));

    // One that dies says so no more: its key goes by itself.
    let died =
        Op::Put { key: "/registry/masterleases/192.0.2.3".into(), value: r#"{"port":6443}"#.into(), ttl: Some(Duration::from_millis(500)) };
    store.commit(Vec::new(), vec![died]).await.expect("written");
    named(&second, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]).await;
    named(&second, &["192.0.2.1", "192.0.2.2"]).await;

    // One that ends takes itself out at once.
    let _directory = first.stop().await;
    named(&second, &["192.0.2.1"]).await;
}

#[tokio::test]
async fn a_server_whose_sign_of_life_somebody_removes_gives_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), at("192.0.2.2")).await;
    let other = |ttl| Op::Put { key: "/registry/masterleases/192.0.2.3".into(), value: r#"{"port":6443}"#.into(), ttl };
    store.commit(Vec::new(), vec![other(None), Op::Delete { key: "/registry/masterleases/192.0.2.2".into() }]).await.expect("written");
    named(&server, &["192.0.2.2", "192.0.2.3"]).await;
}

/// As `kubectl rollout status` begins, just after `kubectl scale` by another server: from any version. What it read of before, it would take for done.
#[tokio::test]
async fn whoever_asks_a_server_that_is_behind_for_any_version_is_told_of_what_others_took_before() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let slow = Arc::new(Slow::over(store));
    let behind = TestServer::start_on(other, slow.clone(), |_| {}).await;
    server.admin.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let one = format!("{DEPLOYMENTS}/d");
    let list = format!("{DEPLOYMENTS}?fieldSelector=metadata.name%3Dd&resourceVersion=0");
    let scale = async |replicas: u32| {
        let patch = json!({ "spec": { "replicas": replicas } }).to_string();
        server.admin.send("PATCH", &one, "application/merge-patch+json", patch).await.expect(200);
    };
    slow.is_slow.store(true, Ordering::SeqCst);
    scale(3).await;
    assert_eq!(behind.admin.get(&list).await.expect(200)["items"][0]["spec"]["replicas"], 3);
    scale(4).await;
    assert_eq!(behind.admin.get(&format!("{one}?resourceVersion=0")).await.expect(200)["spec"]["replicas"], 4);
    scale(5).await;
    let event = behind.admin.watch(&format!("{list}&watch=1")).await.next().await.expect("an event");
    assert_eq!(event["object"]["spec"]["replicas"], 5);

    // Nobody can tell it how far it is behind: it answers what it knows, in time.
    slow.is_silent.store(true, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(behind.admin.get(&list).await.expect(200)["items"][0]["spec"]["replicas"], 5);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
