//! IPAddresses and ServiceCIDRs: each cluster address has its object in the same transaction, and ranges give addresses while they are ready and stay.

use crate::harness::TestServer;
use bytes::Bytes;
use orknet_store::{Commit, KeyRange, Op};
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const MERGE: &str = "application/merge-patch+json";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({ "metadata": { "name": name }, "spec": spec });
    object["spec"]["ports"] = json!([{ "port": 80 }]);
    object
}

fn range(name: &str, cidrs: &[&str]) -> Value {
    json!({ "metadata": { "name": name, "finalizers": ["networking.k8s.io/service-cidr-finalizer"] }, "spec": { "cidrs": cidrs } })
}

fn ready() -> Value {
    let condition = json!({ "type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    json!({ "status": { "conditions": [condition] } })
}

/// The names of all IPAddresses but that of `default/kubernetes`.
async fn addresses(server: &TestServer) -> Vec<String> {
    let list = server.admin.get(ADDRESSES).await.expect(200);
    let items = list["items"].as_array().expect("a list").iter();
    let names = items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned());
    names.filter(|name| name != "10.96.0.1").collect()
}

#[tokio::test]
async fn an_address_has_its_object_in_the_same_transaction() {
    let server = TestServer::start().await;
    let spec = json!({ "ipFamilyPolicy": "RequireDualStack" });
    let created = server.admin.post(SERVICES, service("web", spec)).await.expect(201);
    for (index, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let address = created["spec"]["clusterIPs"][index].as_str().expect("an address");
        let object = server.admin.get(&format!("{ADDRESSES}/{address}")).await.expect(200);
        assert_eq!(object["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
        assert_eq!(object["spec"]["parentRef"], json!({ "resource": "services", "namespace": "default", "name": "web" }));
        let labels = json!({ "ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io" });
        assert_eq!(object["metadata"]["labels"], labels);
    }
    let second = created["spec"]["clusterIPs"][1].clone();
    let single = json!({ "spec": { "ipFamilyPolicy": "SingleStack" } });
    let changed = server.admin.patch(&format!("{SERVICES}/web"), MERGE, single).await.expect(200);
    assert_eq!(json!(addresses(&server).await), changed["spec"]["clusterIPs"]);
    server.admin.get(&format!("{ADDRESSES}/{}", second.as_str().expect("an address"))).await.refused(404, "NotFound");
    server.admin.delete(&format!("{SERVICES}/web")).await.expect(200);
    assert!(addresses(&server).await.is_empty());
    // Who has no address has no object, and a dry run makes none.
    server.admin.post(SERVICES, service("headless", json!({ "clusterIP": "None" }))).await.expect(201);
    server.admin.post(&format!("{SERVICES}?dryRun=All"), service("dry", json!({}))).await.expect(201);
    assert!(addresses(&server).await.is_empty());
    let own = server.admin.get(&format!("{ADDRESSES}/10.96.0.1")).await.expect(200);
    assert_eq!(own["spec"]["parentRef"]["name"], "kubernetes");
}

#[tokio::test]
async fn an_address_that_somebody_else_uses_is_given_to_no_service() {
    let server = TestServer::start_with(|config| config.service_cidrs = vec!["10.96.0.0/30".parse().expect("range")]).await;
    let object = json!({ "metadata": { "name": "10.96.0.2" }, "spec": { "parentRef": { "group": "example.org", "resource": "gateways", "name": "g" } } });
    server.admin.post(ADDRESSES, object).await.expect(201);
    let message = server.admin.post(SERVICES, service("a", json!({ "clusterIP": "10.96.0.2" }))).await.refused(422, "Invalid");
    assert!(message.contains("provided IP is already allocated"), "{message}");
    let message = server.admin.post(SERVICES, service("a", json!({}))).await.refused(500, "InternalError");
    assert!(message.contains("failed to allocate a serviceIP: range is full"), "{message}");
    server.admin.delete(&format!("{ADDRESSES}/10.96.0.2")).await.expect(200);
    server.admin.get(ADDRESSES).await.expect(200);
    let created = server.admin.post(SERVICES, service("a", json!({}))).await.expect(201);
    assert_eq!(created["spec"]["clusterIP"], "10.96.0.2");
}

#[tokio::test]
async fn further_ranges_give_addresses_while_they_are_ready_and_stay() {
    let server = TestServer::start_with(|config| config.service_cidrs = vec!["10.96.0.0/30".parse().expect("range")]).await;
    let first = server.admin.get(&format!("{RANGES}/kubernetes")).await.expect(200);
    assert_eq!(first["spec"]["cidrs"], json!(["10.96.0.0/30"]));
    assert_eq!((&first["status"]["conditions"][0]["type"], &first["status"]["conditions"][0]["status"]), (&json!("Ready"), &json!("True")));
    server.admin.post(SERVICES, service("a", json!({}))).await.expect(201);
    let refused = async |name: &str| {
        let message = server.admin.post(SERVICES, service(name, json!({}))).await.refused(500, "InternalError");
        assert!(message.contains("range is full"), "{message}");
        let message = server.admin.post(SERVICES, service(name, json!({ "clusterIP": "10.97.0.5" }))).await.refused(422, "Invalid");
        assert!(message.contains("failed to allocate IP 10.97.0.5: the provided network does not match the current range"), "{message}");
    };
    refused("full").await;
    server.admin.post(RANGES, range("more", &["10.97.0.0/28"])).await.expect(201);
    // Nobody has said that it is ready.
    refused("unready").await;
    server.admin.patch(&format!("{RANGES}/more/status"), MERGE, ready()).await.expect(200);
    server.admin.get(RANGES).await.expect(200);
    let second = server.admin.post(SERVICES, service("b", json!({}))).await.expect(201);
    let address = second["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    assert!(address.starts_with("10.97.0."), "{address}");
    let chosen = server.admin.post(SERVICES, service("c", json!({ "clusterIP": "10.97.0.9" }))).await;
    // It may have been the one that was given a moment ago.
    assert!(chosen.status == 201 || address == "10.97.0.9", "{chosen:?}");
    // It is held by its finalizer: what begins now sees that it goes, whatever this server's cache says.
    server.admin.delete(&format!("{RANGES}/more")).await.expect(200);
    refused("late").await;
    // What was given stays, and can be changed.
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let kept = server.admin.patch(&format!("{SERVICES}/b"), MERGE, label).await.expect(200);
    assert_eq!(kept["spec"]["clusterIP"], address);
}

#[tokio::test]
async fn addresses_of_a_store_of_before_get_their_objects_at_the_start() {
    let server = TestServer::start().await;
    let spec = json!({ "ipFamilyPolicy": "RequireDualStack" });
    let created = server.admin.post(SERVICES, service("web", spec)).await.expect(201);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    // As a server left it that knew neither kind.
    for folder in ["ipaddresses", "servicecidrs"] {
        let folder = KeyRange::prefix(format!("/registry/networking.k8s.io/{folder}/"));
        let found = store.range(folder, None, 0).await.expect("reads").entries;
        assert!(!found.is_empty());
        let ops = found.into_iter().map(|entry| Op::Delete { key: Bytes::from(entry.key.to_vec()) }).collect();
        assert!(matches!(store.commit(Vec::new(), ops).await.expect("commits"), Commit::Done(_)));
    }
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let mut wanted: Vec<String> = serde_json::from_value(created["spec"]["clusterIPs"].clone()).expect("addresses");
    wanted.sort_unstable();
    let mut found = addresses(&server).await;
    found.sort_unstable();
    assert_eq!(found, wanted);
    server.admin.get(&format!("{ADDRESSES}/10.96.0.1")).await.expect(200);
    server.admin.get(&format!("{RANGES}/kubernetes")).await.expect(200);
    server.admin.delete(&format!("{SERVICES}/web")).await.expect(200);
    assert!(addresses(&server).await.is_empty());
}

#[tokio::test]
async fn a_second_family_of_the_settings_is_added_to_the_first_range() {
    let server = TestServer::start_with(|config| config.service_cidrs = vec!["10.96.0.0/16".parse().expect("range")]).await;
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let own = server.admin.get(&format!("{RANGES}/kubernetes")).await.expect(200);
    assert_eq!(own["spec"]["cidrs"], json!(["10.96.0.0/16", "fd00:10:96::/112"]));
    let spec = json!({ "ipFamilies": ["IPv6"] });
    server.admin.get(RANGES).await.expect(200);
    let created = server.admin.post(SERVICES, service("six", spec)).await.expect(201);
    assert!(created["spec"]["clusterIP"].as_str().is_some_and(|address| address.starts_with("fd00:10:96::")), "{created}");
}

#[tokio::test]
async fn names_parents_and_ranges_have_rules() {
    let server = TestServer::start().await;
    let parent = json!({ "resource": "services", "namespace": "default", "name": "web" });
    let named = |name: &str| json!({ "metadata": { "name": name }, "spec": { "parentRef": parent } });
    let message = server.admin.post(ADDRESSES, named("2001:db8::0:1")).await.refused(422, "Invalid");
    assert!(message.contains("metadata.name: Invalid value: \"2001:db8::0:1\": must be in canonical form (\"2001:db8::1\")"), "{message}");
    server.admin.post(ADDRESSES, named("2001:db8::1")).await.expect(201);
    let other = json!({ "spec": { "parentRef": { "name": "other" } } });
    let message = server.admin.patch(&format!("{ADDRESSES}/2001:db8::1"), MERGE, other).await.refused(422, "Invalid");
    assert!(message.contains("spec.parentRef: Invalid value") && message.contains("field is immutable"), "{message}");

    let message = server.admin.post(RANGES, range("two", &["10.1.0.0/16", "10.2.0.0/16"])).await.refused(422, "Invalid");
    assert!(message.contains("may specify no more than one IP for each IP family"), "{message}");
    server.admin.post(RANGES, range("one", &["10.1.0.0/16"])).await.expect(201);
    let to = |cidrs: &[&str]| json!({ "spec": { "cidrs": cidrs } });
    let path = format!("{RANGES}/one");
    let message = server.admin.patch(&path, MERGE, to(&["10.2.0.0/16"])).await.refused(422, "Invalid");
    assert!(message.contains("spec.cidrs[0]: Invalid value: \"10.2.0.0/16\": field is immutable"), "{message}");
    let both = server.admin.patch(&path, MERGE, to(&["10.1.0.0/16", "fd01::/112"])).await.expect(200);
    assert_eq!(both["spec"]["cidrs"], json!(["10.1.0.0/16", "fd01::/112"]));
    server.admin.patch(&path, MERGE, to(&["10.1.0.0/16"])).await.refused(422, "Invalid");
}
