//! The Service `default/kubernetes`, by which pods reach the API servers, with its Endpoints and EndpointSlice. The servers keep them themselves: no
//! selector could find them.
//!
//! Each server over a store writes a key of its own there, which goes by itself when it is not written any more, and each writes what all of the
//! keys say into the objects, as the `lease` endpoint reconciler of Kubernetes does: so one that dies is taken out by the others.

use super::prepare;
use crate::allocate;
use crate::companions;
use crate::error::ApiError;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::storage::{encode, keys};
use crate::verbs::write::{Update, update};
use futures::StreamExt;
use orknet_store::{Compare, Event, EventKind, KeyRange, Op, Revision, WatchItem};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// How long a server that says nothing any more is taken to live.
const TTL: Duration = Duration::from_secs(15);
/// How often a server says that it lives.
const REFRESH: Duration = Duration::from_secs(10);
/// Between two tries while the store is away.
const RETRY: Duration = Duration::from_secs(2);
/// How long a server that ends tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Says that this server lives, and makes or corrects the three objects.
pub async fn ensure(server: &Server, port: u16) -> Result<(), ApiError> {
    ensure_service(server, port).await?;
    // A store that is full keeps no server from serving what there is; [`keep`] says it as soon as there is room.
    if let Err(error) = publish(server, port).await {
        tracing::warn!(%error, "the other API servers cannot be told of this one");
    }
    write(server).await.map(drop)
}

/// Keeps this server among the addresses, and the addresses those of the servers that live, until shutdown.
pub async fn keep(server: &Server, port: u16) {
    let follow = async {
        loop {
            match follow(server, port).await {
                Ok(()) => tracing::debug!("the store ended the watch of the API servers"),
                Err(error) => tracing::warn!(%error, "the API servers' addresses are not kept"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::select! {
        () = server.shutdown.cancelled() => {}
        () = follow => {}
    }
    let key = keys::server(server.config.advertise_address);
    // The others see it and take the address away. A last one leaves the objects as they are: without any address they are of no use to anybody.
    match tokio::time::timeout(FAREWELL, server.storage.commit(Vec::new(), vec![Op::Delete { key }])).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the other API servers could not be told of the end of this one"),
        Err(_) => tracing::warn!("the other API servers could not be told of the end of this one in time"),
    }
}

/// For as long as the watch lasts.
async fn follow(server: &Server, port: u16) -> Result<(), ApiError> {
    publish(server, port).await?;
    let after = write(server).await?;
    let mut news = server.storage.store.watch(KeyRange::prefix(keys::SERVERS), after).await?;
    let own = keys::server(server.config.advertise_address);
    let mut refresh = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
    loop {
        tokio::select! {
            _ = refresh.tick() => {
                publish(server, port).await?;
                write(server).await?;
            }
            item = news.next() => match item {
                None => return Ok(()),
                Some(item) => {
                    let WatchItem::Events(events) = item? else { continue };
                    // Also by a former server at this address that ended late.
                    if events.iter().any(|event| event.key == own && event.kind == EventKind::Delete) {
                        publish(server, port).await?;
                    }
                    if events.iter().any(comes_or_goes) {
                        write(server).await?;
                    }
                }
            }
        }
    }
}

/// Whether this is more than another sign of life.
fn comes_or_goes(event: &Event) -> bool {
    match event.kind {
        EventKind::Delete => true,
        EventKind::Put { create_revision, .. } => create_revision == event.revision,
    }
}

async fn publish(server: &Server, port: u16) -> Result<(), ApiError> {
    let (key, value) = (keys::server(server.config.advertise_address), json!({ "port": port }).to_string().into());
    server.storage.commit(Vec::new(), vec![Op::Put { key, value, ttl: Some(TTL) }]).await.map(drop)
}

/// Writes who lives, as of the revision that is returned, into Endpoints and EndpointSlice.
async fn write(server: &Server) -> Result<Revision, ApiError> {
    let found = server.storage.range(KeyRange::prefix(keys::SERVERS), None, 0).await?;
    let living = found.entries.iter().filter_map(|entry| {
        let address = std::str::from_utf8(&entry.key).ok()?.strip_prefix(keys::SERVERS)?.parse().ok()?;
        let value: Value = serde_json::from_slice(&entry.value).ok()?;
        Some((address, value["port"].as_u64().and_then(|port| u16::try_from(port).ok())?))
    });
    let Some((port, addresses)) = reachable(living) else { return Ok(found.revision) };
    let ports = json!([{ "name": "https", "port": port, "protocol": "TCP" }]);
    let labels = json!({ "endpointslice.kubernetes.io/skip-mirror": "true" });
    let endpoints = json!({
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels },
        "subsets": [{ "addresses": addresses.iter().map(|address| json!({ "ip": address })).collect::<Vec<_>>(), "ports": ports }],
    });
    set(server, "", "endpoints", endpoints, &["subsets"]).await?;
    let endpoint = |address: &IpAddr| json!({ "addresses": [address], "conditions": { "ready": true } });
    let slice = json!({
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": if addresses.iter().all(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" },
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    });
    set(server, "discovery.k8s.io", "endpointslices", slice, &["endpoints", "ports"]).await?;
    Ok(found.revision)
}

/// The addresses of one family that are reached at one port, in order. An EndpointSlice has one of each: of servers that differ, the most are
/// named (of as many, those of IPv4 and of the lowest port), by every server the same ones.
fn reachable(living: impl Iterator<Item = (IpAddr, u16)>) -> Option<(u16, Vec<IpAddr>)> {
    let mut groups: BTreeMap<(bool, u16), Vec<IpAddr>> = BTreeMap::new();
    living.for_each(|(address, port)| groups.entry((address.is_ipv6(), port)).or_default().push(address));
    // Of equals `max_by_key` takes the last.
    let ((_, port), mut addresses) = groups.into_iter().rev().max_by_key(|(_, addresses)| addresses.len())?;
    addresses.sort_unstable();
    Some((port, addresses))
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
    let allocation = allocate::plan(server, &kind, None, &mut new).await?;
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
    let what = Update::own(&kind, NAMESPACE, NAME);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_servers_that_differ_the_most_are_named_by_everyone() {
        let of = |servers: &[(&str, u16)]| reachable(servers.iter().map(|(address, port)| (address.parse().unwrap(), *port)));
        let named = |port: u16, addresses: &[&str]| Some((port, addresses.iter().map(|address| address.parse().unwrap()).collect()));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("10.0.0.10", 6443), ("10.0.0.9", 6443)]), named(6443, &["10.0.0.9", "10.0.0.10"]));
        assert_eq!(of(&[("10.0.0.1", 7443), ("10.0.0.2", 6443), ("10.0.0.3", 7443)]), named(7443, &["10.0.0.1", "10.0.0.3"]));
        assert_eq!(of(&[("10.0.0.1", 7443), ("fd00::1", 6443), ("10.0.0.2", 6443)]), named(6443, &["10.0.0.2"]));
    }
}
