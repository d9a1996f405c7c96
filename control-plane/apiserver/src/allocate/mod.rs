//! Cluster addresses and node ports of Services. Each is a key of its own in the store (its claim), written in the same transaction as the Service
//! that holds it and deleted in the same transaction as the Service or its change: none can be given out twice, whoever crashes when.
//!
//! An address has an IPAddress besides, written and removed with its claim. Addresses come from the ranges of ServiceCIDRs ([`ranges`]); the
//! transaction compares with the one that an address is from, so that none is given from one that has begun to go.

mod adopt;
mod claims;
mod plan;
mod pool;
mod ranges;
mod record;
mod repair;
mod service;

pub use adopt::adopt;
pub use claims::Claims;
pub use pool::first_address;
pub use repair::repair;

use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::object;
use crate::server::Server;
use crate::storage::keys;
use ipnet::IpNet;
use orknet_resources::field::{Errors, Path};
use orknet_resources::kinds::ip_address;
use orknet_store::{Compare, MAX_OPS, Op};
use plan::{Delta, Refused};
use rand::Rng;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where Services are stored.
const SERVICES: StoredAs = ("", "services");

/// What a write adds to its transaction: that of a Service for its claims, that of an object with a companion for it.
#[derive(Debug, Default)]
pub struct Allocation {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

impl Allocation {
    /// This and the other.
    pub fn and(mut self, other: Self) -> Self {
        self.compares.extend(other.compares);
        self.ops.extend(other.ops);
        self
    }
}

/// Fills in the addresses and ports of a Service and says what its transaction must claim and release. Other kinds are left alone.
pub async fn plan(server: &Server, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<Allocation, ApiError> {
    if !holds_claims(kind) {
        return Ok(Allocation::default());
    }
    let asked = new.clone();
    if let Ok(allocation) = plan_now(server, kind, old, new) {
        return Ok(allocation);
    }
    // What is known may be behind. Nobody is refused what was given back a moment ago: who replaces a Service (`kubectl replace --force`) wants his address again.
    server.storage.catch_up().await?;
    *new = asked;
    plan_now(server, kind, old, new)
}

/// By what this server knows.
fn plan_now(server: &Server, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<Allocation, ApiError> {
    let usable = ranges::usable(&server.storage.caches, &server.config.service_cidrs);
    let cidrs: Vec<IpNet> = usable.iter().map(|range| range.cidr).collect();
    let ranges = plan::Ranges { configured: &server.config.service_cidrs, cidrs: &cidrs, node_ports: server.config.node_ports.clone() };
    let (claims, caches) = (&server.claims, &server.storage.caches);
    // An IPAddress that somebody else made keeps its address from Services.
    let is_taken =
        |address: IpAddr| claims.has(&keys::cluster_ip(address)) || caches.get(ip_address::PLACE, "", &address.to_string()).is_some();
    let seed = rand::rng().random();
    let delta =
        plan::plan(old, new, &ranges, &is_taken, &|port| claims.has(&keys::node_port(port)), seed).map_err(|refused| match refused {
            Refused::Invalid(errors) => ApiError::invalid(kind.descriptor(), object::name(new), &errors),
            Refused::Internal(why) => ApiError::internal(why),
        })?;
    let addresses = &delta.claimed.addresses;
    let allocation = transaction(&delta, new).and(record::of(&server.kinds(), addresses, new)).and(ranges::must_stay(&usable, addresses));
    // Two operations are the Service's own and that of its companion, and three compares are: these, and that of its namespace.
    let most = MAX_OPS - 3;
    if allocation.ops.len() > most || allocation.compares.len() > most {
        // Of two addresses each is compared with three times; and there is the port for health.
        let mut errors = Errors::default();
        errors.too_many(&Path::Root.field("spec").field("ports"), service::ports(new).count(), most - 7);
        return Err(ApiError::invalid(kind.descriptor(), object::name(new), &errors.into_list()));
    }
    Ok(allocation)
}

/// What the transaction that deletes a Service must release.
pub fn release(kind: &Kind, old: &Value) -> Allocation {
    if !holds_claims(kind) {
        return Allocation::default();
    }
    let delta = Delta { claimed: service::Held::default(), released: service::held(old) };
    transaction(&delta, old)
}

fn holds_claims(kind: &Kind) -> bool {
    kind.descriptor().stored_as == SERVICES
}

fn transaction(delta: &Delta, service: &Value) -> Allocation {
    let mut allocation = Allocation::default();
    // Serialising a value made of JSON cannot fail.
    let value = serde_json::to_vec(&owner(service)).unwrap_or_default();
    for key in delta.claimed.keys() {
        allocation.compares.push(Compare::Absent(key.clone()));
        allocation.ops.push(Op::Put { key, value: value.clone().into(), ttl: None });
    }
    allocation.ops.extend(delta.released.keys().map(|key| Op::Delete { key }));
    allocation.ops.extend(delta.released.addresses.iter().map(|address| Op::Delete { key: record::key(*address) }));
    allocation
}

/// What a claim says: whose it is.
fn owner(service: &Value) -> Value {
    json!({ "namespace": object::namespace(service), "name": object::name(service) })
}
