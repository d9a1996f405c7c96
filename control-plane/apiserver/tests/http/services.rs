//! Addresses and node ports: given once, kept, and given back.

use crate::harness::{TestServer, open};
use crate::slow::Slow;
use bytes::Bytes;
use orknet_store::{Commit, KeyRange, Op};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({ "metadata": { "name": name }, "spec": spec });
    object["spec"]["ports"] = json!([{ "port": 80 }]);
    object
}

#[tokio::test]
async fn the_first_address_is_the_servers_own() {
    let server = TestServer::start().await;
    let own = server.admin.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
    let port = server.handle.addresses()[0].port();
    let endpoints = server.admin.get("/api/v1/namespaces/default/endpoints/kubernetes").await.expect(200);
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], port);
    let slice = server.admin.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.expect(200);
    assert_eq!((&slice["endpoints"][0]["addresses"][0], &slice["ports"][0]["port"]), (&json!("127.0.0.1"), &json!(port)));
    let stolen = server.admin.post(SERVICES, service("a", json!({ "clusterIP": "10.96.0.1" }))).await;
    assert!(stolen.refused(422, "Invalid").contains("provided IP is already allocated"));
}

#[tokio::test]
async fn concurrent_services_never_share_an_address_or_port() {
    // A range so small that collisions are certain.
    let server = TestServer::start_with(|config| {
        config.service_cidrs = vec!["10.96.0.0/27".parse().expect("range")];
        config.node_ports = 30000..=30023;
    })
    .await;
    let creations = (0..24).map(|index| {
        let client = server.admin.clone();
        async move { client.post(SERVICES, service(&format!("s{index}"), json!({ "type": "NodePort" }))).await.expect(201) }
    });
    let created = futures::future::join_all(creations).await;
    let distinct =
        |pointer: &str| created.iter().map(|service| service.pointer(pointer).expect("set").to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("/spec/clusterIP"), distinct("/spec/ports/0/nodePort")), (24, 24));
    let full = server.admin.post(SERVICES, service("full", json!({ "type": "NodePort" }))).await;
    assert_eq!(full.refused(500, "InternalError"), "Internal error occurred: failed to allocate a nodePort: range is full");
    let freed = created[7]["spec"]["ports"][0]["nodePort"].clone();
    server.admin.delete(&format!("{SERVICES}/s7")).await.expect(200);
    // The freed port is known once the cache has seen the deletion.
    server.admin.get(SERVICES).await.expect(200);
    let last = server.admin.post(SERVICES, service("last", json!({ "type": "NodePort" }))).await.expect(201);
    assert_eq!(last["spec"]["ports"][0]["nodePort"], freed);
}

#[tokio::test]
async fn what_was_given_is_kept_across_a_restart() {
    let server = TestServer::start().await;
    let created = server.admin.post(SERVICES, service("a", json!({ "type": "NodePort" }))).await.expect(201);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let address = json!({ "clusterIP": created["spec"]["clusterIP"] });
    server.admin.post(SERVICES, service("b", address)).await.refused(422, "Invalid");
    let mut taken = service("c", json!({ "type": "NodePort" }));
    taken["spec"]["ports"][0]["nodePort"] = created["spec"]["ports"][0]["nodePort"].clone();
    let message = server.admin.post(SERVICES, taken).await.refused(422, "Invalid");
    assert!(message.contains("spec.ports[0].nodePort") && message.contains("provided port is already allocated"), "{message}");
}

#[tokio::test]
async fn claims_that_do_not_match_the_services_are_put_right_at_a_start() {
    let server = TestServer::start().await;
    let created = server.admin.post(SERVICES, service("a", json!({ "type": "NodePort" }))).await.expect(201);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let address = created["spec"]["clusterIP"].as_str().expect("an address");
    let claim = |address: &str| Bytes::from(format!("/registry/claims/clusterips/{address}"));
    let stray: Bytes = serde_json::to_vec(&json!({ "namespace": "default", "name": "a" })).expect("JSON").into();
    let ops = vec![Op::Delete { key: claim(address) }, Op::Put { key: claim("10.96.200.200"), value: stray.clone(), ttl: None }];
    assert!(matches!(store.commit(Vec::new(), ops).await.expect("commits"), Commit::Done(_)));
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let value = async |address: &str| {
            let found = store.range(KeyRange::single(claim(address)), None, 1).await.expect("reads");
            found.entries.into_iter().next().map(|entry| entry.value)
        };
        let now = (value(address).await, value("10.96.200.200").await);
        if now == (Some(stray.clone()), None) {
            break;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        tokio::task::yield_now().await;
    }
    server.admin.post(SERVICES, service("b", json!({ "clusterIP": address }))).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_changed_service_keeps_its_address_and_drops_what_it_no_longer_needs() {
    let server = TestServer::start().await;
    let created = server.admin.post(SERVICES, service("a", json!({ "type": "NodePort" }))).await.expect(201);
    let path = format!("{SERVICES}/a");
    let plain = server.admin.put(&path, service("a", json!({ "type": "ClusterIP" }))).await.expect(200);
    assert_eq!(plain["spec"]["clusterIP"], created["spec"]["clusterIP"]);
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    server.admin.get(SERVICES).await.expect(200);
    let mut reused = service("b", json!({ "type": "NodePort" }));
    reused["spec"]["ports"][0]["nodePort"] = created["spec"]["ports"][0]["nodePort"].clone();
    server.admin.post(SERVICES, reused).await.expect(201);
}

#[tokio::test]
async fn dual_stack_services_have_two_addresses() {
    let server = TestServer::start().await;
    let spec = json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"] });
    let created = server.admin.post(SERVICES, service("a", spec)).await.expect(201);
    let addresses: Vec<std::net::IpAddr> = serde_json::from_value(created["spec"]["clusterIPs"].clone()).expect("addresses");
    assert!(addresses[0].is_ipv6() && addresses[1].is_ipv4());
    let headless = server.admin.post(SERVICES, service("h", json!({ "clusterIP": "None" }))).await.expect(201);
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn a_number_is_one_services_whatever_its_protocol() {
    let server = TestServer::start().await;
    let with = |name: &str, protocol: &str, number: u16| {
        let mut object = service(name, json!({ "type": "NodePort" }));
        object["spec"]["ports"] = json!([{ "port": 80, "protocol": protocol, "nodePort": number }]);
        object
    };
    server.admin.post(SERVICES, with("tcp", "TCP", 30_500)).await.expect(201);
    let message = server.admin.post(SERVICES, with("udp", "UDP", 30_500)).await.refused(422, "Invalid");
    let said = |why: &str| format!("Service \"udp\" is invalid: spec.ports[0].nodePort: Invalid value: {why}");
    assert_eq!(message, said("30500: provided port is already allocated"));
    let message = server.admin.post(SERVICES, with("udp", "UDP", 80)).await.refused(422, "Invalid");
    assert_eq!(message, said("80: provided port is not in the valid range. The range of valid ports is 30000-32767"));
    server.admin.delete(&format!("{SERVICES}/tcp")).await.expect(200);
    server.admin.get(SERVICES).await.expect(200);
    server.admin.post(SERVICES, with("udp", "UDP", 30_500)).await.expect(201);
}

#[tokio::test]
async fn types_change_there_and_back_by_patches() {
    let server = TestServer::start().await;
    let path = format!("{SERVICES}/a");
    server.admin.post(SERVICES, service("a", json!({}))).await.expect(201);
    let to = |spec: Value| server.admin.patch(&path, "application/merge-patch+json", json!({ "spec": spec }));
    let balanced = to(json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local" })).await.expect(200);
    let (node_port, health) = (&balanced["spec"]["ports"][0]["nodePort"], &balanced["spec"]["healthCheckNodePort"]);
    assert!(node_port.is_u64() && health.is_u64() && node_port != health, "{}", balanced["spec"]);
    // Only the status subresource writes the balancer's addresses.
    let ingress = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } } });
    let ignored = server.admin.patch(&path, "application/merge-patch+json", ingress.clone()).await.expect(200);
    assert_eq!(ignored["status"]["loadBalancer"], json!({}));
    let status = format!("{path}/status");
    let told = server.admin.patch(&status, "application/merge-patch+json", ingress.clone()).await.expect(200);
    assert_eq!(told["status"]["loadBalancer"]["ingress"], json!([{ "ip": "192.0.2.1", "ipMode": "VIP" }]));
    let plain = to(json!({ "type": "NodePort" })).await.expect(200);
    assert_eq!((&plain["spec"]["ports"][0]["nodePort"], plain["spec"].get("healthCheckNodePort")), (node_port, None));
    assert_eq!(plain["status"]["loadBalancer"], json!({}));
    let message = server.admin.patch(&status, "application/merge-patch+json", ingress).await.refused(422, "Invalid");
    assert!(message.contains("status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"), "{message}");
    let named = to(json!({ "type": "ExternalName", "externalName": "example.com" })).await.expect(200);
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy"] {
        assert_eq!(named["spec"].get(key), None, "{key}");
    }
    assert_eq!(named["spec"]["ports"][0].get("nodePort"), None);
    let back = to(json!({ "type": "ClusterIP", "externalName": null })).await.expect(200);
    assert!(back["spec"]["clusterIP"].is_string() && back["spec"]["internalTrafficPolicy"] == "Cluster", "{}", back["spec"]);
}

#[tokio::test]
async fn what_was_given_back_a_moment_ago_can_be_had_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Slow::over(open(directory.path()).await));
    let server = TestServer::start_on(directory, store.clone(), |config| config.node_ports = 30_077..=30_077).await;
    let mut wanted = service("a", json!({ "type": "NodePort", "clusterIP": "10.96.0.77" }));
    server.admin.post(SERVICES, wanted.clone()).await.expect(201);
    // From here on the server knows of nothing that has happened since.
    server.admin.get(SERVICES).await.expect(200);
    store.is_slow.store(true, Ordering::SeqCst);
    server.admin.delete(&format!("{SERVICES}/a")).await.expect(200);
    // The port is the only one that there is, or it is named.
    server.admin.post(SERVICES, wanted.clone()).await.expect(201);
    server.admin.delete(&format!("{SERVICES}/a")).await.expect(200);
    wanted["spec"]["ports"][0]["nodePort"] = json!(30_077);
    let made = server.admin.post(SERVICES, wanted).await.expect(201);
    assert_eq!((&made["spec"]["clusterIP"], &made["spec"]["ports"][0]["nodePort"]), (&json!("10.96.0.77"), &json!(30_077)));
}
