//! A node of another make on a local cluster's bridge, beside the cluster's own: a namespace that forwards with kube-proxy's rules or with
//! none, and pods behind it, each on a veth pair; if need be a second node with one pod more. Clients outside and in its pods reach servers
//! over as many hops as they do in the cluster.

use crate::contest::FRESH;
use crate::places::{Place, Server};
use crate::proxy_rules::{self, Measured};
use crate::roles::{Roles, ip};
use anyhow::Result;
use orknet_tests::{Cluster, Outside};
use std::net::Ipv4Addr;
use std::process::Command;

/// How the node finds a Service's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// It does not: it only forwards to the pod's own address.
    None,
    Nftables,
    Iptables,
}

impl Rules {
    /// Numbers of nodes, from 1.
    fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// Which pod the Service leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// On the node.
    Near,
    /// On the second one.
    Far,
}

/// The Service's own address.
pub const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 200);

/// The namespaces with their servers. Removed when dropped, so that the next one begins without any connection that is remembered.
pub struct Rival {
    rules: Rules,
    bridge: String,
    /// Before the namespaces.
    servers: Vec<Server>,
    roles: Roles,
}

impl Rival {
    /// Attaches its nodes, starts a netserver in either server pod and loads the rules of so many Services, of which the one in the middle
    /// leads to the endpoint. `outside` and the nodes are told the ways to each other.
    pub fn attach(cluster: &Cluster, outside: &Outside, rules: Rules, size: u32, ports: [u16; 2], endpoint: Endpoint) -> Result<Self> {
        let kind = ["p", "n", "i"][usize::from(rules.number()) - 1];
        let roles = Roles::new(kind, ["node", "pod", "client", "second", "far"])?;
        let bridge = format!("orknet-{}-server", cluster.name());
        let mut rival = Self { rules, bridge, servers: Vec::new(), roles };
        let [client, _] = outside.addresses();
        for (node, address) in [("node", rival.node()), ("second", rival.second())] {
            rival.join_bridge(node, address)?;
            rival.roles.run(node, &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
            rival.route(node, FRESH, &client.to_string())?;
        }
        for (pod, node, address) in
            [("pod", "node", rival.pod()), ("client", "node", rival.client_address()), ("far", "second", rival.far_pod())]
        {
            rival.join_pod(pod, node, address)?;
        }
        rival.route("node", &rival.far_pod().to_string(), &rival.second().to_string())?;
        for pod in [rival.pod(), rival.client_address()] {
            rival.route("second", &pod.to_string(), &rival.node().to_string())?;
        }
        for to in [rival.pod(), rival.balanced()] {
            outside.run(&["ip", "route", "replace", &to.to_string(), "via", &rival.node().to_string()])?;
        }
        for pod in ["pod", "far"] {
            rival.servers.push(Place::named(&rival.roles.netns(pod)).serve(ports[0])?);
        }
        rival.load(size, ports, endpoint)?;
        Ok(rival)
    }

    /// Its address on the bridge.
    pub fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 224, 201, self.rules.number())
    }

    /// The load balancer's address that leads to it.
    pub fn balanced(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.rules.number())
    }

    /// Its server pod's address.
    pub fn pod(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 250, self.rules.number(), 2)
    }

    /// The address of the server pod on the second node.
    pub fn far_pod(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 251, self.rules.number(), 2)
    }

    /// A pod on its node from which netperf runs.
    pub fn client(&self) -> Place {
        Place::named(&self.roles.netns("client"))
    }

    fn client_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 250, self.rules.number(), 3)
    }

    fn second(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 224, 202, self.rules.number())
    }

    fn port(&self, node: &str) -> String {
        format!("{node}{}", self.rules.number())
    }

    fn join_bridge(&self, node: &str, address: Ipv4Addr) -> Result<()> {
        let (netns, port) = (self.roles.netns(node), self.port(node));
        // The same at each attachment: neighbours may still know it.
        let [_, _, third, fourth] = address.octets();
        let mac = format!("02:00:00:00:{third:02x}:{fourth:02x}");
        ip(&["-n", &self.bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns", &netns])?;
        ip(&["-n", &self.bridge, "link", "set", &port, "master", "bridge0", "up"])?;
        ip(&["-n", &netns, "address", "add", &format!("{address}/16"), "dev", "eth0"])?;
        ip(&["-n", &netns, "link", "set", "eth0", "up"])
    }

    /// A pod has one address and one way; the node has its gateway's address, and a route to the pod alone.
    fn join_pod(&self, pod: &str, node: &str, address: Ipv4Addr) -> Result<()> {
        let (inside, outside) = (self.roles.netns(pod), self.roles.netns(node));
        let [first, second, third, _] = address.octets();
        let gateway = Ipv4Addr::new(first, second, third, 1).to_string();
        ip(&["-n", &outside, "link", "add", pod, "type", "veth", "peer", "name", "eth0", "netns", &inside])?;
        for (netns, device, own) in [(&outside, pod, gateway.as_str()), (&inside, "eth0", &address.to_string())] {
            ip(&["-n", netns, "address", "add", &format!("{own}/32"), "dev", device])?;
            ip(&["-n", netns, "link", "set", device, "up"])?;
        }
        ip(&["-n", &outside, "route", "add", &address.to_string(), "dev", pod])?;
        ip(&["-n", &inside, "route", "add", &gateway, "dev", "eth0"])?;
        ip(&["-n", &inside, "route", "add", "default", "via", &gateway])
    }

    fn route(&self, role: &str, to: &str, via: &str) -> Result<()> {
        ip(&["-n", &self.roles.netns(role), "route", "add", to, "via", via])
    }

    fn load(&self, size: u32, ports: [u16; 2], endpoint: Endpoint) -> Result<()> {
        let endpoint = if endpoint == Endpoint::Near { self.pod() } else { self.far_pod() };
        let measured = Measured { ports, cluster: CLUSTER_IP, external: self.balanced(), endpoint, node: self.node() };
        match self.rules {
            Rules::None => Ok(()),
            Rules::Nftables => self.roles.feed("node", &["nft", "-f", "-"], &proxy_rules::nftables(size, &measured)?),
            Rules::Iptables => self.roles.feed("node", &["iptables-legacy-restore"], &proxy_rules::iptables(size, &measured)?),
        }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // At once; with its namespace the device would go some time later, when the next one has its name.
        for node in ["node", "second"] {
            let _ = orknet_tests::cluster::run(Command::new("ip").args(["-n", &self.bridge, "link", "delete", &self.port(node)]));
        }
    }
}
