//! Many NetworkPolicies, made through the API as fast as it takes them.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Policies of one namespace.
pub const OF_NAMESPACE: u32 = 50;
/// Writes in flight.
pub const CONCURRENCY: usize = 32;
/// Of made-up pods: each has one of so many values of the label `app`.
pub const APPS: u32 = 25;

/// A made-up namespace's name.
pub fn namespace(number: u32) -> String {
    format!("made-up-{number:03}")
}

/// Makes the numbered namespaces; a tenth of them is of one team.
pub async fn make_namespaces(client: &kube::Client, count: u32) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    let one = |number: u32| {
        let api = api.clone();
        async move {
            let object = read(json!({"metadata": {"name": namespace(number), "labels": {"team": format!("t{}", number % 10)}}}))?;
            api.create(&PostParams::default(), &object).await.with_context(|| format!("cannot create {}", namespace(number)))?;
            anyhow::Ok(())
        }
    };
    each((0..count).map(one)).await
}

/// Makes `count` policies, fifty to a namespace; the first are those of `measured`, about pods with the labels `app: CLIENT` and `app: SERVER`
/// for some of these: the others are about pods that are not there.
pub async fn make(client: &kube::Client, count: u32, measured: &str, ports: &[u16]) -> Result<()> {
    let one = |number: u32| {
        let place = if number < OF_NAMESPACE { measured.to_owned() } else { namespace(number / OF_NAMESPACE - 1) };
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &place);
        let spec = if number < OF_NAMESPACE { measured_spec(number, ports) } else { spec(number, 0) };
        async move {
            let object = read(json!({"metadata": {"name": name(number)}, "spec": spec}))?;
            api.create(&PostParams::default(), &object).await.with_context(|| format!("cannot create policy {number}"))?;
            anyhow::Ok(())
        }
    };
    each((0..count).map(one)).await
}

/// A policy's name.
pub fn name(number: u32) -> String {
    format!("p{number:05}")
}

/// A policy as people write them: pods of an app take some apps of the namespace, a team's namespaces, and a network without a part of it, at a
/// few ports; and may ask for some. `variant` changes a port.
pub fn spec(number: u32, variant: u32) -> Value {
    let app = |offset: u32| json!({"matchLabels": {"app": format!("a{}", (number + offset) % APPS)}});
    let block =
        json!({"cidr": format!("10.{}.0.0/16", 100 + number % 50), "except": [format!("10.{}.{}.0/24", 100 + number % 50, number % 200)]});
    let ingress = json!([
        {"from": [{"podSelector": app(1)}, {"podSelector": app(2)}], "ports": [{"port": 8080 + variant}, {"port": 9000, "endPort": 9010}]},
        {"from": [{"namespaceSelector": {"matchLabels": {"team": format!("t{}", number % 10)}}, "podSelector": app(3)}, {"ipBlock": block}]},
    ]);
    let egress = json!([{"to": [{"namespaceSelector": {}, "podSelector": app(4)}], "ports": [{"port": 5432}]}, {"ports": [{"port": 53, "protocol": "UDP"}]}]);
    match number % 4 {
        0 => json!({"podSelector": app(0), "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}),
        _ => json!({"podSelector": app(0), "ingress": ingress}),
    }
}

/// Out to everywhere but two networks, of which `variant` changes one; for all pods of the namespace.
pub fn everywhere_spec(variant: u32) -> Value {
    let block = json!({"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32", format!("172.16.{}.0/24", variant % 250)]});
    json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": block}]}]})
}

/// Of the measured namespace: every fifth selects the servers, every fifth the client, and each of those lets through what is measured; the
/// others are about others.
fn measured_spec(number: u32, ports: &[u16]) -> Value {
    let servers = json!({"matchExpressions": [{"key": "role", "operator": "In", "values": ["server"]}]});
    let client = json!({"matchLabels": {"role": "client"}});
    let other = |offset: u32| json!({"matchLabels": {"app": format!("a{}", (number + offset) % APPS)}});
    let ports: Vec<Value> =
        ports.iter().flat_map(|port| ["TCP", "UDP"].map(|protocol| json!({"port": port, "protocol": protocol}))).collect();
    match number % 5 {
        0 => json!({"podSelector": servers, "ingress": [{"from": [{"podSelector": client}, {"podSelector": other(1)}], "ports": ports}]}),
        1 => {
            json!({"podSelector": client, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": servers}, {"podSelector": other(1)}], "ports": ports}]})
        }
        _ => spec(number, 0),
    }
}

/// An object from its JSON.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("this is no such object")
}

/// Does all, some at the same time.
pub async fn each<F: Future<Output = Result<()>>>(work: impl Iterator<Item = F>) -> Result<()> {
    each_of(work, CONCURRENCY).await.map(drop)
}

/// The same, with so many at the same time.
pub async fn each_of<T, F: Future<Output = Result<T>>>(work: impl Iterator<Item = F>, at_once: usize) -> Result<Vec<T>> {
    futures::stream::iter(work).buffer_unordered(at_once).try_collect().await
}
