//! What the tests of this folder ask with and what they ask: backends on two of three nodes, clients everywhere, Services.

use crate::expected::{BACKENDS, FAR, NEAR, Return, Who};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, suite};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::OnceLock;

/// The tool of clients that are in no pod.
pub const NETTOOL: &str = env!("CARGO_BIN_EXE_nettool");

/// Both families' positions in all pairs of addresses.
pub const FAMILIES: [usize; 2] = [0, 1];

/// What a cluster of three nodes is like.
pub struct Scene {
    /// Part of its name: at most four letters.
    pub tag: &'static str,
    /// Further options of `orknet up`.
    pub options: &'static [&'static str],
    /// The agents' settings, YAML.
    pub agent: &'static str,
    /// What is done to the cluster before the first test.
    pub prepare: fn(&Cluster) -> Result<()>,
    pub returns: Return,
    /// Whether the hooks of sockets see who asks.
    pub sees_sockets: bool,
}

impl Scene {
    /// One as `orknet up` makes it.
    #[allow(dead_code, reason = "one suite differs from it in everything")]
    pub const PLAIN: Self =
        Self { tag: "b", options: &[], agent: "", prepare: |_| Ok(()), returns: Return::ThroughFront, sees_sockets: true };
}

/// That of this program.
static RETURNS: OnceLock<Return> = OnceLock::new();
static SEES_SOCKETS: OnceLock<bool> = OnceLock::new();

/// Tests on one cluster.
pub fn play(scene: &Scene, groups: &[&[suite::Test]]) -> ExitCode {
    let tools = suite::Image { name: talk::TOOLS, programs: &[NETTOOL] };
    let _ = RETURNS.set(scene.returns);
    let _ = SEES_SOCKETS.set(scene.sees_sockets);
    let settings = match settings(scene.agent) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let path = settings.path().to_string_lossy();
    let options = [&["--bare", "--nodes", "3", "--agent-config", &path], scene.options].concat();
    // They wait for pods most of the time.
    let setting = suite::Setting { tag: scene.tag, options: &options, images: &[tools], prepare: scene.prepare, threads: Some(4) };
    suite::shared(&setting, groups)
}

fn settings(agent: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().context("cannot make a file for the agents' settings")?;
    file.write_all(agent.as_bytes()).context("cannot write the agents' settings")?;
    Ok(file)
}

/// Which way answers go in this cluster.
pub fn returns() -> Return {
    RETURNS.get().copied().unwrap_or(Return::ThroughFront)
}

/// Whether hooks of sockets see who asks in this cluster.
pub fn sees_sockets() -> bool {
    SEES_SOCKETS.get().copied().unwrap_or(true)
}

/// Ready backends `near` and `middle`, both with the label `app: all`.
pub fn backends(kubectl: &Kubectl) -> Result<()> {
    for (name, node) in BACKENDS {
        server(kubectl, name, node)?;
    }
    BACKENDS.iter().try_for_each(|(name, _)| talk::wait_ready(kubectl, name))
}

/// A server on a node, with the label `app: all`; not waited for.
pub fn server(kubectl: &Kubectl, name: &str, node: &str) -> Result<()> {
    talk::pod(kubectl, name, &format!("nodeName: {node}"))?;
    kubectl.run(&["label", "pod", name, "app=all", "--overwrite"]).map(drop)
}

/// Whoever asks in a test.
pub struct Clients<'a> {
    cluster: &'a Cluster,
    kubectl: &'a Kubectl,
    outside: &'a Outside,
}

impl<'a> Clients<'a> {
    /// Makes the pods among them: `beside` and `far`.
    pub fn start(cluster: &'a Cluster, kubectl: &'a Kubectl, outside: &'a Outside) -> Result<Self> {
        Client::on_node(kubectl, "beside", NEAR)?;
        Client::on_node(kubectl, "far", FAR)?;
        Ok(Self { cluster, kubectl, outside })
    }

    pub fn get(&self, who: Who) -> Client<'a> {
        match who {
            Who::Backend => Client::of(self.kubectl, "near"),
            Who::SameNode => Client::of(self.kubectl, "beside"),
            Who::OtherNode => Client::of(self.kubectl, "far"),
            Who::Host => Client::of_node(self.cluster, NEAR, NETTOOL),
            Who::OtherHost => Client::of_node(self.cluster, FAR, NETTOOL),
            Who::Outside => Client::outside(self.outside),
        }
    }

    /// Its addresses, IPv4 and IPv6.
    pub fn addresses(&self, who: Who) -> Result<[IpAddr; 2]> {
        match who {
            Who::Backend => pod_addresses(self.kubectl, "near"),
            Who::SameNode => pod_addresses(self.kubectl, "beside"),
            Who::OtherNode => pod_addresses(self.kubectl, "far"),
            Who::Host => node_addresses(NEAR),
            Who::OtherHost => node_addresses(FAR),
            Who::Outside => Ok(self.outside.addresses()),
        }
    }
}

/// A Service for `app: all` on port 80 of all protocols and both families, with more of its spec in YAML's flow form; as the server
/// stored it.
pub fn service(kubectl: &Kubectl, name: &str, more: &str) -> Result<Value> {
    let more = format!("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], {more}");
    talk::serve_over(kubectl, name, "all", &["TCP", "UDP", "SCTP"], &more)?;
    kubectl.json(&["get", "service", name])
}

/// Writes the addresses into the status, as a load balancer's controller does.
pub fn balance(kubectl: &Kubectl, name: &str, addresses: &[String]) -> Result<()> {
    let ingress: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    kubectl.run(&["patch", "service", name, "--subresource=status", "--type=merge", "-p", &patch]).map(drop)
}

/// An address that is nobody's until a Service has it, by number: IPv4 or IPv6.
pub fn free_address(family: usize, number: u8) -> String {
    if family == 0 { format!("192.0.2.{number}") } else { format!("2001:db8::{number:x}") }
}

/// `spec.clusterIPs`, IPv4 and IPv6.
pub fn cluster_addresses(service: &Value) -> Result<[String; 2]> {
    serde_json::from_value(service["spec"]["clusterIPs"].clone()).context("a Service of both families has two addresses")
}

/// The node port of the first port, which its siblings of the other protocols share.
pub fn node_port(service: &Value) -> Result<u16> {
    let ports: Vec<u64> = service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| port["nodePort"].as_u64()).collect();
    ensure!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0]), "one node port for all protocols: {ports:?}");
    Ok(u16::try_from(ports[0])?)
}

/// `status.podIPs`, IPv4 and IPv6.
pub fn pod_addresses(kubectl: &Kubectl, pod: &str) -> Result<[IpAddr; 2]> {
    let object = kubectl.json(&["get", "pod", pod])?;
    let addresses: Vec<IpAddr> =
        object["status"]["podIPs"].as_array().into_iter().flatten().filter_map(|ip| ip["ip"].as_str()?.parse().ok()).collect();
    let of = |v4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == v4).with_context(|| format!("{pod}: {addresses:?}"));
    Ok([of(true)?, of(false)?])
}

/// Waits until the Service's slices list so many ready endpoints of each family.
pub fn endpoints(kubectl: &Kubectl, service: &str, count: usize) -> Result<()> {
    eventually(&format!("{count} endpoints of {service}"), || {
        let slices = kubectl.json(&["get", "endpointslices", "-l", &format!("kubernetes.io/service-name={service}")])?;
        for family in ["IPv4", "IPv6"] {
            let of_family = slices["items"].as_array().into_iter().flatten().filter(|slice| slice["addressType"] == family);
            let endpoints = of_family.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
            let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count();
            ensure!(ready == count, "{ready} ready {family} endpoints");
        }
        Ok(())
    })
}
