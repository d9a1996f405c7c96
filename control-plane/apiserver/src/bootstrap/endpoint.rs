//! The Service `default/kubernetes`, by which pods reach this server, with its Endpoints and EndpointSlice. The server keeps them itself: no selector
//! could find it.

use super::prepare;
use crate::allocate;
use crate::companions;
use crate::error::ApiError;
use crate::ownership::{SERVER, server_identity};
use crate::server::Server;
use crate::storage::{encode, keys};
use crate::verbs::write::{Update, update};
use orknet_store::{Compare, Op};
use serde_json::{Value, json};
use std::net::IpAddr;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";

/// Makes or corrects the three objects.
pub async fn ensure(server: &Server, port: u16) -> Result<(), ApiError> {
    ensure_service(server, port).await?;
    let address = server.config.advertise_address;
    let ports = json!([{ "name": "https", "port": port, "protocol": "TCP" }]);
    let labels = json!({ "endpointslice.kubernetes.io/skip-mirror": "true" });
    let endpoints = json!({
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels },
        "subsets": [{ "addresses": [{ "ip": address.to_string() }], "ports": ports }],
    });
    set(server, "", "endpoints", endpoints, &["subsets"]).await?;
    let slice = json!({
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": family(address),
        "endpoints": [{ "addresses": [address.to_string()], "conditions": { "ready": true } }],
        "ports": ports,
    });
    set(server, "discovery.k8s.io", "endpointslices", slice, &["endpoints", "ports"]).await
}

/// The first address of the range belongs to this Service alone.
async fn ensure_service(server: &Server, port: u16) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version("", "services") else { return Ok(()) };
    let key = keys::object(("", "services"), NAMESPACE, NAME);
    if server.storage.get(&key).await?.is_some() {
        return Ok(());
    }
    let Some(first) = server.config.service_cidrs.first() else { return Ok(()) };
    let service = json!({
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": allocate::first_address(*first).to_string(),
            "clusterIPs": [allocate::first_address(*first).to_string()],
            "sessionAffinity": "None",
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": port }],
        },
    });
    let mut new = prepare(&kind, service)?;
    let allocation = allocate::plan(server, &kind, None, &mut new)?;
    let allocation = allocation.and(companions::follow(server, &kind, None, &mut new).await?);
    let mut compares = vec![Compare::Absent(key.clone().into())];
    compares.extend(allocation.compares);
    let mut ops = vec![Op::Put { key: key.into(), value: encode(&new), ttl: None }];
    ops.extend(allocation.ops);
    server.storage.commit(compares, ops).await.map(drop)
}

/// Creates the object, or sets the given fields of the one that is there.
async fn set(server: &Server, group: &str, plural: &str, wanted: Value, fields: &[&str]) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version(group, plural) else { return Ok(()) };
    let what =
        Update { kind: &kind, namespace: NAMESPACE, name: NAME, subresource: None, dry_run: false, manager: Some(SERVER), validate: false };
    let wanted = kind.decode(wanted).map_err(ApiError::internal)?.object;
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        for field in fields {
            if wanted.get(field) != old.get(field) {
                new[*field] = wanted[*field].clone();
            }
        }
        Ok(new)
    };
    match update(server, &server_identity(), &what, change).await {
        Err(error) if error.code() == 404 => super::ensure(server, group, plural, wanted.clone()).await,
        done => done.map(drop),
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
