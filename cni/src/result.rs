//! What the plugin prints on success (CNI specification, section 5).

use crate::VERSIONS;
use crate::protocol::{Attachment, MacAddress};
use crate::wiring::host_cidr;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The answer to VERSION.
pub fn versions(cni_version: &str) -> String {
    json!({ "cniVersion": cni_version, "supportedVersions": VERSIONS }).to_string()
}

/// The answer to ADD. `mtu` in bytes; 1.0.0 has no field for it.
pub fn added(cni_version: &str, attachment: &Attachment, gateways: &[IpAddr], mtu: u32) -> String {
    let gateway = |v4: bool| gateways.iter().find(|gateway| gateway.is_ipv4() == v4);
    let mut host = json!({ "name": attachment.host_ifname, "mac": mac(attachment.host_mac) });
    let mut pod = json!({ "name": attachment.attachment.ifname, "mac": mac(attachment.pod_mac), "sandbox": attachment.netns });
    if cni_version != "1.0.0" {
        host["mtu"] = mtu.into();
        pod["mtu"] = mtu.into();
    }
    let ips: Vec<Value> = attachment
        .addresses
        .iter()
        .map(|address| {
            let mut ip = json!({ "interface": 1, "address": host_cidr(*address) });
            if let Some(gateway) = gateway(address.is_ipv4()) {
                ip["gateway"] = gateway.to_string().into();
            }
            ip
        })
        .collect();
    let routes: Vec<Value> = attachment
        .addresses
        .iter()
        .filter_map(|address| {
            let destination = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            gateway(address.is_ipv4()).map(|gateway| json!({ "dst": destination, "gw": gateway }))
        })
        .collect();
    json!({ "cniVersion": cni_version, "interfaces": [host, pod], "ips": ips, "routes": routes, "dns": {} }).to_string()
}

/// Addresses (without prefix length) that an earlier ADD returned.
pub fn addresses_of(previous: &Value) -> Vec<IpAddr> {
    let ips = previous["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    ips.iter().filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok()).collect()
}

fn mac(mac: MacAddress) -> String {
    mac.into()
}
