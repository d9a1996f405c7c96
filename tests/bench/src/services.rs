//! Many Services with endpoints, made through the API as fast as it takes them.

use crate::proxy_rules;
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, PostParams};
use orknet_tests::Cluster;
use serde_json::json;
use std::net::Ipv4Addr;
use std::ops::Range;

/// The namespace that they live in.
pub const NAMESPACE: &str = "many";
/// Writes in flight.
const CONCURRENCY: usize = 32;

/// A client with the administrator's rights.
pub async fn client(cluster: &Cluster) -> Result<kube::Client> {
    let file = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).context("cannot read the kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// What leads to the Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fronts {
    /// A cluster address.
    Cluster,
    /// An external address too, and a node port as long as there are any.
    Outer,
}

/// Makes the numbered Services, of one port without selector, each with one EndpointSlice of `endpoints` addresses that nobody has.
pub async fn make(client: &kube::Client, numbers: Range<u32>, endpoints: u32, fronts: Fronts) -> Result<()> {
    let (services, slices) = apis(client);
    let one = |number: u32| {
        let (services, slices) = (services.clone(), slices.clone());
        async move {
            services
                .create(&PostParams::default(), &service(number, fronts)?)
                .await
                .with_context(|| format!("cannot create Service {number}"))?;
            let slice = slice(number, endpoints, 0)?;
            slices.create(&PostParams::default(), &slice).await.with_context(|| format!("cannot create EndpointSlice {number}"))?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(numbers.map(one)).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Both kinds in the namespace.
pub fn apis(client: &kube::Client) -> (Api<Service>, Api<EndpointSlice>) {
    (Api::namespaced(client.clone(), NAMESPACE), Api::namespaced(client.clone(), NAMESPACE))
}

/// Name of the Service and of its slice.
pub fn name(number: u32) -> String {
    format!("s{number:05}")
}

fn service(number: u32, fronts: Fronts) -> Result<Service> {
    let mut port = json!({"name": "http", "port": 80, "protocol": "TCP"});
    let mut spec = json!({});
    if fronts == Fronts::Outer {
        spec["externalIPs"] = json!([proxy_rules::external(number)]);
        if let Some(node_port) = proxy_rules::node_port(number) {
            port["nodePort"] = json!(node_port);
            spec["type"] = json!("NodePort");
        }
    }
    spec["ports"] = json!([port]);
    Ok(serde_json::from_value(json!({"metadata": {"name": name(number)}, "spec": spec}))?)
}

/// The slice; `variant` (below 32) changes its last address.
pub fn slice(number: u32, endpoints: u32, variant: u32) -> Result<EndpointSlice> {
    let address = |index: u32| {
        let last = index + 1 == endpoints;
        Ipv4Addr::from(0x0a80_0000 + number * 64 + index + if last { variant } else { 0 })
    };
    let endpoints: Vec<_> = (0..endpoints)
        .map(|index| json!({"addresses": [address(index)], "conditions": {"ready": true}, "nodeName": "elsewhere"}))
        .collect();
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name(number), "labels": {"kubernetes.io/service-name": name(number), "endpointslice.kubernetes.io/managed-by": "bench"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}))?)
}
