//! A client outside of a local cluster: a network namespace of its own on the cluster's bridge, with addresses of both families that are
//! neither pods' nor Services', and routes to load-balancer addresses by way of a node.
//!
//! Nobody pins the namespace: a process inside holds it, and ends when its standard input does. Whatever way the test's process ends,
//! the kernel then takes the namespace with its devices away.

use crate::cluster::{Cluster, run};
use crate::{Lines, eventually};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// Those of this process, which may share a cluster.
static COUNT: AtomicU8 = AtomicU8::new(0);

/// Exists as long as this value.
pub struct Outside {
    holder: Child,
    number: u8,
    nettool: String,
}

/// A node's addresses on the cluster's bridge, IPv4 and IPv6.
pub fn node_addresses(node: &str) -> Result<[IpAddr; 2]> {
    let number: u8 = node.strip_prefix("node").and_then(|number| number.parse().ok()).with_context(|| format!("{node} is no node"))?;
    Ok([Ipv4Addr::new(10, 224, 0, 10 + number).into(), Ipv6Addr::new(0xfd00, 0x10, 0x224, 0, 0, 0, 0, 10 + u16::from(number)).into()])
}

impl Outside {
    /// Attaches one to the cluster's bridge. It answers there, over TCP and UDP, at [`crate::talk::PORT`].
    pub fn attach(cluster: &Cluster, nettool: &str) -> Result<Self> {
        let number = 1 + COUNT.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new("unshare");
        command.args(["--net", "--", nettool, "stay", &format!("[::]:{}", crate::talk::PORT)]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot make a network namespace")?;
        let said = Lines::of(holder.stdout.take().context("there is no output")?);
        let outside = Self { holder, number, nettool: nettool.to_owned() };
        said.next()?.context("the namespace's holder ended")?;
        let (server, port) = (format!("orknet-{}-server", cluster.name()), format!("out{number}"));
        let id = outside.holder.id().to_string();
        run(Command::new("ip").args(["-n", &server, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &id]))?;
        run(Command::new("ip").args(["-n", &server, "link", "set", &port, "master", "bridge0", "up"]))?;
        outside.run(&["ip", "link", "set", "lo", "up"])?;
        outside.run(&["ip", "link", "set", "eth0", "up"])?;
        for (address, prefix) in outside.addresses().iter().zip(["16", "64"]) {
            // At once: nobody else is on this wire.
            let more: &[&str] = if address.is_ipv6() { &["nodad"] } else { &[] };
            outside.run(&[&["ip", "address", "add", &format!("{address}/{prefix}"), "dev", "eth0"], more].concat())?;
        }
        // Linux takes up to a second to tell the bridge that the wire is up, and loses what is sent before.
        for node in node_addresses("node1")? {
            eventually("the wire to carry packets", || outside.run(&["busybox", "ping", "-c", "1", "-W", "1", &node.to_string()]))?;
        }
        Ok(outside)
    }

    /// Its addresses, IPv4 and IPv6.
    pub fn addresses(&self) -> [IpAddr; 2] {
        let number = u16::from(self.number);
        [Ipv4Addr::new(10, 224, 200, self.number).into(), Ipv6Addr::new(0xfd00, 0x10, 0x224, 0, 0, 0, 200, number).into()]
    }

    /// Sends what goes to a range, or an address, by way of a node, from now on.
    pub fn route(&self, to: &str, node: &str) -> Result<()> {
        let [v4, v6] = node_addresses(node)?;
        let via = if to.contains(':') { v6 } else { v4 };
        self.run(&["ip", "route", "replace", to, "via", &via.to_string(), "dev", "eth0"]).map(drop)
    }

    /// Runs a program of this host inside: its standard output.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        run(&mut self.command(command))
    }

    /// A program of this host inside, to be started by the caller; `nettool` is the tests' own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--");
        command.args(arguments.iter().map(|word| if *word == "nettool" { self.nettool.as_str() } else { word }));
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
