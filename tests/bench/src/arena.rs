//! Where ways of different make meet: a local cluster, a namespace outside of it, rival nodes on the same bridge, and what is told of their
//! contest.

use crate::contest::{self, FRESH, Outcome, Way};
use crate::netperf::{self, Ports, show};
use crate::places::{Place, Server};
use crate::rival::{Endpoint, Rival, Rules};
use anyhow::{Result, ensure};
use orknet_tests::{Cluster, Kubectl, Outside, eventually};
use std::net::IpAddr;

/// netperf's connections: inside the range of node ports, above those of the other Services.
pub const PORTS: Ports = Ports { control: 31_865, data: 31_866 };
/// The ways of a table, in its order, and in that of [`Arena::rivals`].
pub const WAYS: [&str; 4] = ["no rules", "nftables", "iptables", "Orknet"];
const ORKNET: usize = 3;

/// A cluster and a client outside of it.
pub struct Arena {
    /// Before the cluster, in whose pods they run.
    servers: Vec<Server>,
    pub outside: Outside,
    pub cluster: Cluster,
}

impl Arena {
    /// Brings the cluster up; every node knows the way to clients' fresh addresses.
    pub fn new(tag: &str, nodes: u8) -> Result<Self> {
        Self::with(tag, nodes, &[])
    }

    /// The same with more arguments for `orknet up`.
    pub fn with(tag: &str, nodes: u8, more: &[&str]) -> Result<Self> {
        let nodes_text = nodes.to_string();
        let cluster = Cluster::up(tag, &[&["--bare", "--nodes", &nodes_text], more].concat())?;
        let outside = Outside::attach(&cluster, &nettool()?)?;
        outside.run(&["ip", "route", "add", "local", FRESH, "dev", "lo"])?;
        let [client, _] = outside.addresses();
        for node in 1..=nodes {
            cluster.inside(&format!("node{node}"), &["ip", "route", "add", FRESH, "via", &client.to_string()])?;
        }
        Ok(Self { servers: Vec::new(), outside, cluster })
    }

    pub fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// Makes a pod with a netserver, and a Service of its name, whose specification begins with `more`: the pod's address.
    pub fn serve(&mut self, name: &str, node: &str, more: &str) -> Result<IpAddr> {
        let kubectl = self.kubectl();
        self.servers.push(Place::pod(&kubectl, name, node)?.serve(PORTS.control)?);
        let port = |name: &str, number: u16| format!("{{name: {name}, port: {number}{}}}", node_port(more, number));
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{more}selector: {{app: {name}}}, ports: [{}, {}]}}\n",
            port("control", PORTS.control),
            port("data", PORTS.data)
        ))?;
        Ok(kubectl.run(&["get", "pod", name, "-o", "jsonpath={.status.podIP}"])?.parse()?)
    }

    /// One rival of each kind, all with as many Services; new ones, which remember no connection.
    pub fn rivals(&self, size: u32, endpoint: Endpoint) -> Result<[Rival; 3]> {
        let attach = |rules| Rival::attach(&self.cluster, &self.outside, rules, size, [PORTS.control, PORTS.data], endpoint);
        Ok([attach(Rules::None)?, attach(Rules::Nftables)?, attach(Rules::Iptables)?])
    }

    /// A way from outside to an address.
    pub fn outside_to(&self, address: IpAddr) -> Way<'_> {
        Way { address, is_fresh: true, run: Box::new(|command| self.outside.run(command)) }
    }
}

/// Services that have node ports are reached there by the same numbers.
fn node_port(more: &str, number: u16) -> String {
    if more.contains("LoadBalancer") { format!(", nodePort: {number}") } else { String::new() }
}

/// A way from a pod.
pub fn from_pod(client: &Place, address: IpAddr) -> Way<'_> {
    Way { address, is_fresh: false, run: Box::new(|command| client.run(command)) }
}

/// Waits until every way leads to its server, then lets them meet.
pub fn contest(test: &str, ways: &[Way<'_>]) -> Result<Outcome> {
    for way in ways {
        let probe = netperf::probe(PORTS, way.address);
        eventually("every way to answer", || (way.run)(&probe.iter().map(String::as_str).collect::<Vec<_>>()).map(drop))?;
    }
    contest::contest(PORTS, test, ways)
}

/// The first row of a table about all [`WAYS`]: what each row is about, the figures, the ratios.
pub fn header(about: &[&str]) -> Vec<String> {
    let ratios = WAYS[..ORKNET].iter().map(|other| format!("Orknet ÷ {other}"));
    about.iter().chain(&WAYS).map(|cell| (*cell).to_owned()).chain(ratios).collect()
}

/// A row of it, also shown while the others are still being measured.
pub fn row(about: &[&str], test: &str, outcome: &Outcome) -> Vec<String> {
    let figures = (0..WAYS.len()).map(|way| show(test, outcome.median(way)));
    let ratios = (0..ORKNET).map(|other| outcome.ratio(ORKNET, other).to_string());
    let row: Vec<String> = about.iter().map(|cell| (*cell).to_owned()).chain(figures).chain(ratios).collect();
    eprintln!("{}", row.join(", "));
    row
}

/// The tests' own tool, which cargo builds beside this program.
pub fn nettool() -> Result<String> {
    let path = std::env::current_exe()?.with_file_name("nettool");
    ensure!(path.is_file(), "{} is not there; remedy: cargo xtask bench (it builds it)", path.display());
    Ok(path.display().to_string())
}
