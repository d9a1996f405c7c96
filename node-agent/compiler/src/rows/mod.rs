//! An image for people: rows to print as tables or JSON. [`text`] has the one plain form for dumps and golden files, [`flows`] the
//! rows of what is under way.

mod flows;
mod policy;
mod rule_words;
mod text;

pub use flows::{DirectionRow, FlowRow, flow_rows};
pub use policy::{PeerRow, PodPolicyRow, PortRow, RuleRow, SaidRow, VerdictRow, uid_text};
pub use rule_words::{action_name, rule_path};
pub use text::{range_text, scope_name};

use crate::image::MapImage;
use orknet_abi::{Address, Backend, TABLE_CHUNK, node_flags, protocol, range_kinds, service_flags};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One entry of the Services map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    pub address: IpAddr,
    /// 0 for the entry of the address as a whole.
    pub port: u16,
    /// `TCP`, `UDP`, `SCTP`, a number, or empty for the address as a whole.
    pub protocol: String,
    /// `inside` or `outside`.
    pub scope: &'static str,
    /// `address`, `foreign`, `external`, `local-only`, `affinity`.
    pub flags: Vec<&'static str>,
    /// Seconds.
    pub affinity_seconds: u32,
    pub list: u32,
    /// What the entry counts on; the backends may be fewer if the map is broken.
    pub count: u32,
    pub backends: Vec<SocketAddr>,
    /// 0 without.
    pub table: u32,
    /// The set; 0 for any source.
    pub sources: u32,
}

/// One entry of the backends map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRow {
    pub list: u32,
    pub slot: u32,
    pub backend: SocketAddr,
}

/// One look-up table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableRow {
    pub table: u32,
    /// Positions.
    pub size: u32,
    /// Of all positions: equal on all nodes that know the same backends.
    pub fingerprint: String,
    pub shares: Vec<ShareRow>,
}

/// A backend's part of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareRow {
    pub slot: u16,
    /// `None` if no Service says whose the slot is.
    pub address: Option<IpAddr>,
    pub positions: u32,
}

/// One set of sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcesRow {
    pub set: u32,
    pub ranges: Vec<String>,
}

/// One range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeRow {
    pub range: String,
    /// `services`, `pods`, `direct`.
    pub kinds: Vec<&'static str>,
    /// The other node whose pods have it.
    pub node: Option<IpAddr>,
}

/// What programs know of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    pub v4: Option<IpAddr>,
    pub v6: Option<IpAddr>,
    pub first_port: u16,
    pub last_port: u16,
    /// `masquerade`, `direct-return`.
    pub flags: Vec<&'static str>,
    pub table_size: u32,
    /// Index of the overlay's device; 0 without.
    pub overlay: u32,
    /// The overlay's UDP port; 0 without.
    pub overlay_port: u16,
}

/// One entry of the pods map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRow {
    pub address: IpAddr,
    pub ifindex: u32,
    pub pod_mac: String,
    pub host_mac: String,
    /// Sets of rules: what comes in, what goes out, and the same from and to itself; 0 where everything passes.
    pub sets: [u32; 4],
}

impl MapImage {
    /// Services with their backends, in the order of their keys.
    pub fn service_rows(&self) -> Vec<ServiceRow> {
        let rows = self.services.iter().map(|(key, service)| ServiceRow {
            address: key.address.into(),
            port: u16::from_be(key.port_be),
            protocol: protocol_name(key.protocol),
            scope: scope_name(key.scope),
            flags: names(service.flags, &SERVICE_FLAGS),
            affinity_seconds: service.affinity_seconds,
            list: service.list,
            count: service.count,
            backends: self.list(service.list).take_while(|(key, _)| key.slot < service.count).map(|(_, backend)| socket(backend)).collect(),
            table: service.table,
            sources: service.sources,
        });
        rows.collect()
    }

    /// Backends by list and slot.
    pub fn backend_rows(&self) -> Vec<BackendRow> {
        let rows = self.backends.iter();
        rows.map(|(key, backend)| BackendRow { list: key.list, slot: key.slot, backend: socket(*backend) }).collect()
    }

    /// Look-up tables by number.
    pub fn table_rows(&self) -> Vec<TableRow> {
        let mut lists: BTreeMap<u32, u32> = BTreeMap::new();
        for service in self.services.values().filter(|service| service.table > 0) {
            lists.entry(service.table).or_insert(service.list);
        }
        let mut tables: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        for (key, chunk) in &self.tables {
            let slots = tables.entry(key.table).or_default();
            slots.resize((key.chunk as usize) * TABLE_CHUNK, 0);
            slots.extend(chunk.slots);
        }
        let size = self.node.map_or(usize::MAX, |node| node.table_size as usize);
        let rows = tables.into_iter().map(|(table, mut slots)| {
            slots.truncate(size);
            let mut positions: BTreeMap<u16, u32> = BTreeMap::new();
            slots.iter().for_each(|slot| *positions.entry(*slot).or_default() += 1);
            let addresses: Vec<Address> = lists.get(&table).iter().flat_map(|list| self.list(**list)).map(|(_, to)| to.address).collect();
            let share =
                |(slot, positions)| ShareRow { slot, address: addresses.get(usize::from(slot)).map(|own| (*own).into()), positions };
            TableRow {
                table,
                size: slots.len() as u32,
                fingerprint: fingerprint(&slots),
                shares: positions.into_iter().map(share).collect(),
            }
        });
        rows.collect()
    }

    /// Sets of sources by number.
    pub fn sources_rows(&self) -> Vec<SourcesRow> {
        let mut sets: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        self.sources.iter().for_each(|key| sets.entry(key.set).or_default().push(key.range()));
        let rows = sets.into_iter().map(|(set, ranges)| SourcesRow { set, ranges: ranges.iter().map(range_text).collect() });
        rows.collect()
    }

    /// Ranges by length and address.
    pub fn range_rows(&self) -> Vec<RangeRow> {
        let rows = self.ranges.iter().map(|(key, range)| RangeRow {
            range: range_text(key),
            kinds: names(range.kinds, &RANGE_KINDS),
            node: known(range.node),
        });
        rows.collect()
    }

    /// The node, once it is known.
    pub fn node_row(&self) -> Option<NodeRow> {
        self.node.map(|node| NodeRow {
            v4: known(node.v4),
            v6: known(node.v6),
            first_port: node.first_port,
            last_port: node.last_port,
            flags: names(node.flags, &NODE_FLAGS),
            table_size: node.table_size,
            overlay: node.overlay,
            overlay_port: node.overlay_port,
        })
    }

    /// Pods by address.
    pub fn pod_rows(&self) -> Vec<PodRow> {
        let rows = self.pods.iter().map(|(key, pod)| PodRow {
            address: key.address.into(),
            ifindex: pod.ifindex,
            pod_mac: mac_text(pod.pod_mac),
            host_mac: mac_text(pod.host_mac),
            sets: crate::image::sets_of(pod),
        });
        rows.collect()
    }
}

const SERVICE_FLAGS: [(u32, &str); 5] = [
    (service_flags::ADDRESS, "address"),
    (service_flags::FOREIGN, "foreign"),
    (service_flags::EXTERNAL, "external"),
    (service_flags::LOCAL_ONLY, "local-only"),
    (service_flags::AFFINITY, "affinity"),
];

const RANGE_KINDS: [(u32, &str); 3] = [(range_kinds::SERVICES, "services"), (range_kinds::PODS, "pods"), (range_kinds::DIRECT, "direct")];

const NODE_FLAGS: [(u32, &str); 3] =
    [(node_flags::MASQUERADE, "masquerade"), (node_flags::DIRECT_RETURN, "direct-return"), (node_flags::NO_REDIRECT, "no-redirect")];

fn names(bits: u32, all: &[(u32, &'static str)]) -> Vec<&'static str> {
    all.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// Unspecified stands for none.
fn known(address: Address) -> Option<IpAddr> {
    (!address.is_unspecified_v6()).then(|| address.into())
}

/// Lower-case hexadecimal with colons.
fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn socket(backend: Backend) -> SocketAddr {
    SocketAddr::new(backend.address.into(), u16::from_be(backend.port_be))
}

fn protocol_name(number: u8) -> String {
    match number {
        0 => String::new(),
        protocol::TCP => "TCP".into(),
        protocol::UDP => "UDP".into(),
        protocol::SCTP => "SCTP".into(),
        protocol::ICMP | protocol::ICMP6 => "ICMP".into(),
        other => other.to_string(),
    }
}

/// FNV-1a over the slots.
fn fingerprint(slots: &[u16]) -> String {
    let hash = slots.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, slot| (hash ^ u64::from(*slot)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
