//! netperf from pod to pod: through a ClusterIP against straight to the pod's address, on one node and across nodes, with few Services
//! and with ten thousand.

use crate::netperf::{self, DATA_PORT, PORT, TESTS, interleave, show};
use crate::report::Section;
use crate::services;
use anyhow::{Context, Result};
use orknet_tests::{Cluster, Kubectl};
use std::net::IpAddr;

const ROUNDS: usize = 3;
const MANY: u32 = 10_000;
const IMAGE: &str = "registry.orknet.local/netperf:1";

/// Measures with few Services, then makes many and measures again.
pub fn measure() -> Result<Section> {
    let cluster = Cluster::up("bt", &["--bare"])?;
    let programs = [find("netperf")?, find("netserver")?];
    cluster.orknet(&["add-image", IMAGE, &programs[0], &programs[1]])?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "namespace", services::NAMESPACE])?;
    make_pods(&kubectl)?;
    let direct: IpAddr = kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?.parse()?;
    let service: IpAddr = kubectl.run(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"])?.parse()?;

    let mut table = vec![["Services", "placement", "test", "direct", "ClusterIP", "ratio"].map(str::to_owned).to_vec()];
    table.extend(round(&kubectl, "1", direct, service)?);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async { services::make(&services::client(&cluster).await?, MANY, 10).await })?;
    table.extend(round(&kubectl, "10,000 (10 endpoints each)", direct, service)?);
    Ok(Section {
        title: "ClusterIP against direct",
        command: "cargo xtask bench traffic",
        method: format!("netperf between pods, runs of 1 s, medians of {ROUNDS}, direct and ClusterIP interleaved."),
        table,
    })
}

fn round(kubectl: &Kubectl, count: &str, direct: IpAddr, service: IpAddr) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for (client, placement) in [("same", "same node"), ("across", "across nodes")] {
        for test in TESTS {
            let run = |address: IpAddr| {
                let arguments = netperf::arguments(address, test);
                let command: Vec<&str> = ["exec", client, "--"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
                netperf::parse(&kubectl.run(&command)?)
            };
            let figures = interleave(&[&|| run(direct), &|| run(service)], ROUNDS).with_context(|| format!("{test}, {placement}"))?;
            let ratio = figures[1] / figures[0];
            eprintln!("{count} Services, {placement}, {test}: {ratio:.3} of {}", show(test, figures[0]));
            rows.push(vec![
                count.to_owned(),
                placement.to_owned(),
                test.to_owned(),
                show(test, figures[0]),
                show(test, figures[1]),
                format!("{ratio:.3}"),
            ]);
        }
    }
    Ok(rows)
}

fn make_pods(kubectl: &Kubectl) -> Result<()> {
    let pod = |name: &str, node: &str, command: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  nodeName: {node}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: {IMAGE}\n    command: [{command}]\n---\n"
        )
    };
    let port = |name: &str, port: u16, protocol: &str| format!("{{name: {name}, port: {port}, protocol: {protocol}}}");
    let ports = [port("control", PORT, "TCP"), port("data", DATA_PORT, "TCP"), port("udp", DATA_PORT, "UDP")].join(", ");
    let manifest = pod("server", "node1", "netserver, '-D', '-4'")
        + &pod("same", "node1", "sleep, '86400'")
        + &pod("across", "node2", "sleep, '86400'")
        + &format!("apiVersion: v1\nkind: Service\nmetadata: {{name: server}}\nspec: {{selector: {{app: server}}, ports: [{ports}]}}\n");
    kubectl.apply(&manifest)?;
    kubectl.run(&["wait", "pod/server", "pod/same", "pod/across", "--for=condition=Ready", "--timeout=60s"])?;
    orknet_tests::eventually("the Service's endpoint", 20, || {
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
