//! Pods for tests: a namespace joined to the node by a veth pair, addressed as the CNI plugin does it.

use super::{Namespace, Node, pod};
use orknet_abi::Pod;
use std::fs;

/// A pod's namespace with its `eth0`, routed over link-local gateways whose MAC address is the host side's.
pub struct TestPod {
    pub namespace: Namespace,
    /// The host's side.
    pub device: String,
    pub ifindex: u32,
    pub v4: String,
    pub v6: String,
    pub value: Pod,
}

const GATEWAY_V4: &str = "169.254.1.1";
const GATEWAY_V6: &str = "fe80::1";

impl TestPod {
    /// The pod 10.244.0.`number`, fd00:10:244::`number`. The node forwards nothing by itself.
    pub fn new(node: &Node, number: u8) -> Self {
        let namespace = Namespace::new(&format!("pod{number}"));
        let (device, peer) = (format!("veth{number}"), format!("peer{number}"));
        let (v4, v6) = (format!("10.244.0.{number}"), format!("fd00:10:244::{number}"));
        let host = &node.namespace;
        host.command("ip", &["link", "add", &device, "type", "veth", "peer", "name", &peer]);
        host.command("ip", &["link", "set", &peer, "netns", &namespace.name, "name", "eth0"]);
        let host_mac = mac_of(host, &device);
        host.command("ip", &["link", "set", &device, "up"]);
        let inside = |arguments: &[&str]| _ = namespace.command("ip", arguments);
        inside(&["link", "set", "lo", "up"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["address", "add", &format!("{v4}/32"), "dev", "eth0"]);
        inside(&["-6", "address", "add", &format!("{v6}/128"), "dev", "eth0", "nodad"]);
        for (family, gateway) in [("-4", GATEWAY_V4), ("-6", GATEWAY_V6)] {
            inside(&[family, "neighbour", "add", gateway, "lladdr", &host_mac, "dev", "eth0", "nud", "permanent"]);
            inside(&[family, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"]);
        }
        host.command("ip", &["route", "add", &format!("{v4}/32"), "dev", &device]);
        host.command("ip", &["-6", "route", "add", &format!("{v6}/128"), "dev", &device]);
        let ifindex = host.run(|| nix::net::if_::if_nametoindex(device.as_str()).unwrap());
        let value = pod(ifindex, parse_mac(&mac_of(&namespace, "eth0")), parse_mac(&host_mac));
        Self { namespace, device, ifindex, v4, v6, value }
    }
}

/// /sys shows the devices of the namespace that it was mounted in, so this asks `ip`.
fn mac_of(namespace: &Namespace, device: &str) -> String {
    let shown = namespace.command("ip", &["-oneline", "link", "show", device]);
    let after = shown.split("link/ether ").nth(1).unwrap();
    after.split(' ').next().unwrap().to_owned()
}

fn parse_mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Sets a kernel parameter of the namespace.
pub fn sysctl(namespace: &Namespace, name: &str, value: &str) {
    namespace.run(|| fs::write(format!("/proc/sys/{name}"), value).unwrap());
}
