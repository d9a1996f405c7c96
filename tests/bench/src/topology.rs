//! Two namespaces with two routers between, without any cluster: where rule sets of kube-proxy's shape are measured. One router holds
//! the rules and has all traffic to Services; the other has none, and traffic to the server's own address.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Child, Command, Stdio};

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
    name: String,
    server: Option<Child>,
}

impl Topology {
    /// Client — routers — server, with a netserver. The client's way to Services is the router with the rules.
    pub fn new() -> Result<Self> {
        let mut topology = Self { name: format!("orknet-b{}", std::process::id()), server: None };
        for role in roles() {
            ip(&["netns", "add", &topology.netns(role)])?;
            ip(&["-n", &topology.netns(role), "link", "set", "lo", "up"])?;
        }
        for router in &ROUTERS {
            topology.join(router.role, CLIENT, router.client_side)?;
            topology.join(router.role, SERVER_ROLE, router.server_side)?;
            topology.route(CLIENT, router.server_side, router.client_side)?;
            topology.route(SERVER_ROLE, router.client_side, router.server_side)?;
            topology.run(router.role, &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        }
        ip(&["-n", &topology.netns(CLIENT), "route", "add", "default", "via", &format!("{}.1", ROUTERS[0].client_side)])?;
        let mut netserver = topology.command(SERVER_ROLE, &["netserver", "-D", "-4"]);
        topology.server = Some(netserver.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start netserver")?);
        Ok(topology)
    }

    /// A veth pair between a router, which is `.1` of the network, and an end, which is `.2`.
    fn join(&self, router: &str, end: &str, network: &str) -> Result<()> {
        let (inside, outside) = (format!("to-{router}"), format!("to-{end}"));
        ip(&["-n", &self.netns(router), "link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &self.netns(end)])?;
        for (role, device, host) in [(router, &outside, 1), (end, &inside, 2)] {
            ip(&["-n", &self.netns(role), "address", "add", &format!("{network}.{host}/24"), "dev", device])?;
            ip(&["-n", &self.netns(role), "link", "set", device, "up"])?;
        }
        Ok(())
    }

    fn route(&self, role: &str, to: &str, through: &str) -> Result<()> {
        ip(&["-n", &self.netns(role), "route", "add", &format!("{to}.0/24"), "via", &format!("{through}.1")])
    }

    /// Runs a command in the namespace of a role: its standard output.
    pub fn run(&self, role: &str, command: &[&str]) -> Result<String> {
        orknet_tests::cluster::run(&mut self.command(role, command))
    }

    /// Runs a command with standard input.
    pub fn feed(&self, role: &str, command: &[&str], input: &str) -> Result<()> {
        let mut child = self.command(role, command).stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{command:?}: {status}");
        }
        Ok(())
    }

    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns(role)]).args(arguments);
        command
    }

    fn netns(&self, role: &str) -> String {
        format!("{}{role}", self.name)
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for role in roles() {
            let _ = ip(&["netns", "delete", &self.netns(role)]);
        }
    }
}

fn roles() -> impl Iterator<Item = &'static str> {
    ROUTERS.iter().map(|router| router.role).chain([CLIENT, SERVER_ROLE])
}

fn ip(arguments: &[&str]) -> Result<()> {
    orknet_tests::cluster::run(Command::new("ip").args(arguments)).map(|_| ())
}
