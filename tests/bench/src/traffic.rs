//! netperf from pod to pod: through a ClusterIP against straight to the pod's address, on one node and across nodes, with few Services
//! and with many.

use crate::netperf::{self, METHOD, PORTS, TESTS, compare};
use crate::report::Section;
use crate::services::{self, Fronts};
use anyhow::{Context, Result};
use orknet_tests::{Cluster, Kubectl};
use std::net::IpAddr;

/// How many Services there are.
pub const SIZES: [u32; 3] = [1, 1_000, 10_000];
/// Pairs of runs.
const ROUNDS: usize = 24;
/// Endpoints of each Service but the measured one.
const ENDPOINTS: u32 = 10;
const IMAGE: &str = "registry.orknet.local/netperf:1";

/// The table's first row.
pub fn header() -> Vec<String> {
    ["way", "Services", "placement", "test", "direct", "through the Service", "ratio"].map(str::to_owned).to_vec()
}

/// Measures with every number of Services.
pub fn measure() -> Result<Section> {
    Ok(Section {
        title: "ClusterIP against direct",
        command: "cargo xtask bench traffic",
        method: format!(
            "{METHOD} {ROUNDS} pairs, between pods of a local cluster; the Services beside the measured one have {ENDPOINTS} endpoints each."
        ),
        table: cluster_ips()?,
    })
}

/// One row, also shown while the others are still being measured.
pub fn row(way: &str, size: u32, placement: &str, test: &str, comparison: &netperf::Comparison) -> Vec<String> {
    let mut row = vec![way.to_owned(), size.to_string(), placement.to_owned(), test.to_owned()];
    row.extend(comparison.cells(test));
    eprintln!("{}", row.join(", "));
    row
}

fn cluster_ips() -> Result<Vec<Vec<String>>> {
    let cluster = Cluster::up("bt", &["--bare"])?;
    let programs = [find("netperf")?, find("netserver")?];
    cluster.orknet(&["add-image", IMAGE, &programs[0], &programs[1]])?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "namespace", services::NAMESPACE])?;
    make_pods(&kubectl)?;
    let direct: IpAddr = kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?.parse()?;
    let service: IpAddr = kubectl.run(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"])?.parse()?;

    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(services::client(&cluster))?;
    let mut rows = vec![header()];
    let mut others = 0;
    for size in SIZES {
        runtime.block_on(services::make(&client, others..size - 1, ENDPOINTS, Fronts::Cluster))?;
        others = size - 1;
        eventually_counted(&cluster, &["node1", "node2"], size)?;
        for (pod, placement) in [("same", "same node"), ("across", "across nodes")] {
            for test in TESTS {
                let run = |command: &[&str]| kubectl.run(&[&["exec", pod, "--"], command].concat());
                let comparison =
                    compare(PORTS, ROUNDS, test, direct, service, &run).with_context(|| format!("{size} Services, {placement}"))?;
                rows.push(row("Orknet", size, placement, test, &comparison));
            }
        }
    }
    Ok(rows)
}

/// Waits until every one of the nodes has so many fronts of Services in its maps.
pub fn eventually_counted(cluster: &Cluster, nodes: &[&str], fronts: u32) -> Result<()> {
    for node in nodes {
        orknet_tests::eventually("all Services to be in the maps", || {
            let reader = orknet_dataplane::Reader::open(&cluster.run_dir().join("bpf").join(node))?;
            let services = reader.services()?.len();
            anyhow::ensure!(services >= fronts as usize, "{services} fronts on {node}");
            Ok(())
        })?;
    }
    Ok(())
}

fn make_pods(kubectl: &Kubectl) -> Result<()> {
    let pod = |name: &str, node: &str, command: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  nodeName: {node}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: {IMAGE}\n    command: [{command}]\n---\n"
        )
    };
    let port = |name: &str, port: u16, protocol: &str| format!("{{name: {name}, port: {port}, protocol: {protocol}}}");
    let ports = [port("control", PORTS.control, "TCP"), port("data", PORTS.data, "TCP"), port("udp", PORTS.data, "UDP")].join(", ");
    let manifest = pod("server", "node1", "netserver, '-D', '-4'")
        + &pod("same", "node1", "sleep, '86400'")
        + &pod("across", "node2", "sleep, '86400'")
        + &format!("apiVersion: v1\nkind: Service\nmetadata: {{name: server}}\nspec: {{selector: {{app: server}}, ports: [{ports}]}}\n");
    kubectl.apply(&manifest)?;
    kubectl.run(&["wait", "pod/server", "pod/same", "pod/across", "--for=condition=Ready", "--timeout=60s"])?;
    orknet_tests::eventually("the Service's endpoint", || {
        let slices = kubectl.run(&[
            "get",
            "endpointslices",
            "-l",
            "kubernetes.io/service-name=server",
            "-o",
            "jsonpath={.items[*].endpoints[*].conditions.ready}",
        ])?;
        anyhow::ensure!(slices.contains("true"), "{slices}");
        Ok(())
    })
}

/// A program on PATH.
pub fn find(name: &str) -> Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    Ok(found.with_context(|| format!("{name} is not installed; remedy: cargo xtask bench (it sets up)"))?.display().to_string())
}
