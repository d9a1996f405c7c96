//! Two namespaces with a router between, without any cluster: where rule sets of kube-proxy's shape are measured.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Address of the client.
pub const CLIENT: &str = "10.201.1.2";
/// Address of the server that Services lead to.
pub const SERVER: &str = "10.201.2.2";
/// Address of the same server for who goes there directly: a translated connection from a port whose direct one is still in the
/// connection tracking table would have to be dropped, since its answers could not be told apart.
pub const DIRECT: &str = "10.201.2.3";

/// The three namespaces and the server in one; removed when dropped.
pub struct Topology {
    name: String,
    server: Option<Child>,
}

impl Topology {
    /// Client — router — server, with a netserver.
    pub fn new() -> Result<Self> {
        let mut topology = Self { name: format!("orknet-b{}", std::process::id()), server: None };
        for role in ["c", "r", "s"] {
            ip(&["netns", "add", &topology.netns(role)])?;
        }
        let router = topology.netns("r");
        for (role, network, address) in [("c", "10.201.1", CLIENT), ("s", "10.201.2", SERVER)] {
            let netns = topology.netns(role);
            ip(&["-n", &router, "link", "add", role, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
            ip(&["-n", &router, "address", "add", &format!("{network}.1/24"), "dev", role])?;
            ip(&["-n", &router, "link", "set", role, "up"])?;
            ip(&["-n", &netns, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
            for device in ["lo", "eth0"] {
                ip(&["-n", &netns, "link", "set", device, "up"])?;
            }
            ip(&["-n", &netns, "route", "add", "default", "via", &format!("{network}.1")])?;
        }
        ip(&["-n", &topology.netns("s"), "address", "add", &format!("{DIRECT}/24"), "dev", "eth0"])?;
        topology.run("r", &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        let mut netserver = topology.command("s", &["netserver", "-D", "-4"]);
        topology.server = Some(netserver.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start netserver")?);
        Ok(topology)
    }

    /// Runs a command in a namespace (`c`, `r`, `s`): its standard output.
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
        for role in ["c", "s", "r"] {
            let _ = ip(&["netns", "delete", &self.netns(role)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    orknet_tests::cluster::run(Command::new("ip").args(arguments)).map(|_| ())
}
