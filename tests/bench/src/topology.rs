//! Two namespaces with two routers between, without any cluster: where rule sets of kube-proxy's shape are measured. One router holds
//! the rules and has all traffic to Services; the other has none, and traffic to the server's own address.

use crate::roles::{Roles, ip};
use anyhow::Result;

/// Address of the server that Services lead to, behind the router with the rules.
pub const SERVER: &str = "10.201.2.2";
/// Address of the same server behind the router without.
pub const DIRECT: &str = "10.202.2.2";

/// A router and the networks of its two sides.
struct Router {
    role: &'static str,
    client_side: &'static str,
    server_side: &'static str,
}

const ROUTERS: [Router; 2] = [
    Router { role: RULES, client_side: "10.201.1", server_side: "10.201.2" },
    Router { role: "plain", client_side: "10.202.1", server_side: "10.202.2" },
];

/// The router that holds the rules.
pub const RULES: &str = "rules";
/// Where netperf runs.
pub const CLIENT: &str = "client";
/// Where netserver runs.
const SERVER_ROLE: &str = "server";

/// The four namespaces and the server in one; removed when dropped.
pub struct Topology {
    roles: Roles,
}

impl Topology {
    /// Client — routers — server, with a netserver. The client's way to Services is the router with the rules.
    pub fn new() -> Result<Self> {
        let roles = ROUTERS.iter().map(|router| router.role).chain([CLIENT, SERVER_ROLE]);
        let mut topology = Self { roles: Roles::new("b", roles)? };
        for router in &ROUTERS {
            topology.join(router.role, CLIENT, router.client_side)?;
            topology.join(router.role, SERVER_ROLE, router.server_side)?;
            topology.route(CLIENT, router.server_side, router.client_side)?;
            topology.route(SERVER_ROLE, router.client_side, router.server_side)?;
            topology.run(router.role, &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        }
        ip(&["-n", &topology.roles.netns(CLIENT), "route", "add", "default", "via", &format!("{}.1", ROUTERS[0].client_side)])?;
        topology.roles.serve(SERVER_ROLE, &[])?;
        Ok(topology)
    }

    /// A veth pair between a router, which is `.1` of the network, and an end, which is `.2`.
    fn join(&self, router: &str, end: &str, network: &str) -> Result<()> {
        let (inside, outside) = (format!("to-{router}"), format!("to-{end}"));
        ip(&[
            "-n",
            &self.roles.netns(router),
            "link",
            "add",
            &outside,
            "type",
            "veth",
            "peer",
            "name",
            &inside,
            "netns",
            &self.roles.netns(end),
        ])?;
        for (role, device, host) in [(router, &outside, 1), (end, &inside, 2)] {
            ip(&["-n", &self.roles.netns(role), "address", "add", &format!("{network}.{host}/24"), "dev", device])?;
            ip(&["-n", &self.roles.netns(role), "link", "set", device, "up"])?;
        }
        Ok(())
    }

    fn route(&self, role: &str, to: &str, through: &str) -> Result<()> {
        ip(&["-n", &self.roles.netns(role), "route", "add", &format!("{to}.0/24"), "via", &format!("{through}.1")])
    }

    /// Runs a command in the namespace of a role: its standard output.
    pub fn run(&self, role: &str, command: &[&str]) -> Result<String> {
        self.roles.run(role, command)
    }

    /// Runs a command with standard input.
    pub fn feed(&self, role: &str, command: &[&str], input: &str) -> Result<()> {
        self.roles.feed(role, command, input)
    }
}
