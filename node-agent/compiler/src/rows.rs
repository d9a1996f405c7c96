//! An image for people: rows to print as tables or JSON, and one plain text form for dumps and golden files.

use crate::image::MapImage;
use orknet_abi::{Backend, RangeKey, protocol, scope, service_flags};
use serde::Serialize;
use std::fmt;
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
    /// `address`, `foreign`, `local-only`, `affinity`.
    pub flags: Vec<&'static str>,
    /// Seconds.
    pub affinity_seconds: u32,
    pub list: u32,
    /// What the entry counts on; the backends may be fewer if the map is broken.
    pub count: u32,
    pub backends: Vec<SocketAddr>,
}

/// One entry of the backends map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRow {
    pub list: u32,
    pub slot: u32,
    pub backend: SocketAddr,
}

/// One entry of the pods map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRow {
    pub address: IpAddr,
    pub ifindex: u32,
    pub pod_mac: String,
    pub host_mac: String,
}

impl MapImage {
    /// Services with their backends, in the order of their keys.
    pub fn service_rows(&self) -> Vec<ServiceRow> {
        let rows = self.services.iter().map(|(key, service)| ServiceRow {
            address: key.address.into(),
            port: u16::from_be(key.port_be),
            protocol: protocol_name(key.protocol),
            flags: flag_names(service.flags),
            affinity_seconds: service.affinity_seconds,
            list: service.list,
            count: service.count,
            backends: self.list(service.list).take_while(|(key, _)| key.slot < service.count).map(|(_, backend)| socket(backend)).collect(),
        });
        rows.collect()
    }

    /// Backends by list and slot.
    pub fn backend_rows(&self) -> Vec<BackendRow> {
        let rows = self.backends.iter();
        rows.map(|(key, backend)| BackendRow { list: key.list, slot: key.slot, backend: socket(*backend) }).collect()
    }

    /// Pods by address.
    pub fn pod_rows(&self) -> Vec<PodRow> {
        let rows = self.pods.iter().map(|(key, pod)| PodRow {
            address: key.address.into(),
            ifindex: pod.ifindex,
            pod_mac: mac_text(pod.pod_mac),
            host_mac: mac_text(pod.host_mac),
        });
        rows.collect()
    }
}

/// A range as people write it: `10.96.0.0/16`.
pub fn range_text(range: &RangeKey) -> String {
    let before = if range.address.is_v4() { 96 } else { 0 };
    format!("{}/{}", IpAddr::from(range.address), range.prefix_bits.saturating_sub(before))
}

/// The name of a Service's scope.
pub fn scope_name(scope: u8) -> &'static str {
    match scope {
        scope::INSIDE => "inside",
        scope::OUTSIDE => "outside",
        _ => "nowhere",
    }
}

/// One line per entry; an empty image says so.
impl fmt::Display for MapImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "maps empty");
        }
        for range in self.ranges.keys() {
            writeln!(f, "range {}", range_text(range))?;
        }
        for row in self.service_rows() {
            writeln!(f, "{row}")?;
        }
        for row in self.backend_rows() {
            writeln!(f, "{row}")?;
        }
        for row in self.pod_rows() {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ServiceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol.is_empty() {
            write!(f, "service {}", self.address)?;
        } else {
            write!(f, "service {}/{}", SocketAddr::new(self.address, self.port), self.protocol)?;
        }
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        if self.affinity_seconds > 0 {
            write!(f, " {}s", self.affinity_seconds)?;
        }
        match self.count {
            0 if self.protocol.is_empty() => Ok(()),
            0 => write!(f, " -> nobody"),
            count => write!(f, " -> list {} of {count}", self.list),
        }
    }
}

impl fmt::Display for BackendRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}/{} {}", self.list, self.slot, self.backend)
    }
}

impl fmt::Display for PodRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {} device {} pod-mac {} host-mac {}", self.address, self.ifindex, self.pod_mac, self.host_mac)
    }
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
        other => other.to_string(),
    }
}

fn flag_names(flags: u32) -> Vec<&'static str> {
    let names = [
        (service_flags::ADDRESS, "address"),
        (service_flags::FOREIGN, "foreign"),
        (service_flags::LOCAL_ONLY, "local-only"),
        (service_flags::AFFINITY, "affinity"),
    ];
    names.into_iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_they_were_written() {
        for (address, bits, text) in [("10.96.0.0", 16, "10.96.0.0/16"), ("fd00:10:96::", 112, "fd00:10:96::/112"), ("::", 0, "::/0")] {
            assert_eq!(range_text(&RangeKey::new(address.parse().unwrap(), bits)), text);
        }
    }
}
