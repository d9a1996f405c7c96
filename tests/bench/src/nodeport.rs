//! netperf from outside of the cluster: through a node port and a load balancer's address, against a node that does the same by
//! kube-proxy's rules, and against one that only forwards; with few Services and with many.

use crate::netperf::{self, Comparison, Ports, compare};
use crate::proxy_rules;
use crate::report::Section;
use crate::rival::{self, Rival, Rules};
use crate::samples::median;
use crate::services::{self, Fronts};
use crate::traffic::{SIZES, eventually_counted, find};
use anyhow::{Context, Result};
use orknet_tests::outside::node_addresses;
use orknet_tests::{Cluster, Kubectl, Outside, eventually};
use std::net::{IpAddr, Ipv4Addr};

/// netperf's connections: inside the range of node ports, above those of the other Services.
const PORTS: Ports = Ports { control: 31_865, data: 31_866 };
/// Pairs of runs.
const ROUNDS: usize = 12;
/// Endpoints of each Service but the measured one.
const ENDPOINTS: u32 = 1;
/// Entries that each of them has at least: its cluster address with and without port, its external address so and from outside.
const FRONTS: u32 = 5;
const TESTS: [&str; 2] = ["TCP_CRR", "TCP_RR"];
const IMAGE: &str = "registry.orknet.local/netperf:1";
/// The load balancer's address that leads to the cluster.
const BALANCED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const NODE: &str = "node1";
const WAYS: [(&str, Rules); 3] = [("no rules", Rules::None), ("nftables", Rules::Nftables), ("iptables", Rules::Iptables)];

/// Measures every size, one after the other; inside a size all ways take turns.
pub fn measure() -> Result<Section> {
    let sizes = match std::env::var("ORKNET_BENCH_SIZES") {
        Ok(text) => {
            text.split(',').map(|size| size.parse().context("ORKNET_BENCH_SIZES is a list of numbers")).collect::<Result<Vec<u32>>>()?
        }
        Err(_) => SIZES.to_vec(),
    };
    Ok(Section {
        title: "Node ports and load-balancer addresses from outside",
        command: "cargo xtask bench services",
        method: format!(
            "{} {ROUNDS} pairs, from a namespace outside of the cluster: through a cluster's node to a pod on it, and through a namespace on the same bridge that finds a \
             pod behind it by rules of kube-proxy's shape, or only forwards to the pod's own address (no rules). Every Service has a cluster address and an external \
             address, up to {} of them have a node port; every Service has one endpoint.",
            netperf::METHOD,
            proxy_rules::MOST_NODE_PORTS
        ),
        table: rows(&sizes)?,
    })
}

fn rows(sizes: &[u32]) -> Result<Vec<Vec<String>>> {
    let cluster = Cluster::up("bn", &["--bare", "--nodes", "1"])?;
    cluster.orknet(&["add-image", IMAGE, &find("netperf")?, &find("netserver")?])?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "namespace", services::NAMESPACE])?;
    let outside = Outside::attach(&cluster, &nettool()?)?;
    outside.route(&BALANCED.to_string(), NODE)?;
    make_service(&kubectl)?;
    let rival = Rival::attach(&cluster, &outside, PORTS.control)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(services::client(&cluster))?;

    let header = ["the other", "Services", "through", "test", "the other", "Orknet", "Orknet ÷ the other"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut flat: Vec<(&str, &str, u32, f64)> = Vec::new();
    let mut others = 0;
    for &size in sizes {
        runtime.block_on(services::make(&client, others..size - 1, ENDPOINTS, Fronts::Outer))?;
        others = size - 1;
        eventually_counted(&cluster, &[NODE], others * FRONTS)?;
        for (name, rules) in WAYS {
            rival.load(rules, size, [PORTS.control, PORTS.data])?;
            for (front, own, other) in fronts(rules)? {
                eventually("both ways to answer", || {
                    [own, other].iter().try_for_each(|address| {
                        outside.run(&netperf::probe(PORTS, *address).iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
                    })
                })?;
                for test in TESTS {
                    let run = |command: &[&str]| outside.run(command);
                    let found =
                        compare(PORTS, ROUNDS, test, other, own, &run).with_context(|| format!("{name}, {size} Services, {front}"))?;
                    rows.push(row(name, size, front, test, &found));
                    if rules == Rules::None {
                        flat.push((front, test, size, found.ratio));
                    }
                }
            }
        }
    }
    rows.extend(flatness(&flat, sizes));
    Ok(rows)
}

/// The fronts that are compared: name, the cluster's address, the other's.
fn fronts(rules: Rules) -> Result<[(&'static str, IpAddr, IpAddr); 2]> {
    let [node, _] = node_addresses(NODE)?;
    Ok(match rules {
        Rules::None => [("node port", node, rival::POD.into()), ("load balancer", BALANCED.into(), rival::POD.into())],
        _ => [("node port", node, rival::NODE.into()), ("load balancer", BALANCED.into(), rival::BALANCED.into())],
    })
}

fn row(name: &str, size: u32, front: &str, test: &str, found: &Comparison) -> Vec<String> {
    let mut row = vec![name.to_owned(), size.to_string(), front.to_owned(), test.to_owned()];
    row.extend(found.cells(test));
    eprintln!("{}", row.join(", "));
    row
}

/// What is left at the largest size of the figure at the smallest: both against the way without rules, measured beside them.
fn flatness(found: &[(&str, &str, u32, f64)], sizes: &[u32]) -> Vec<Vec<String>> {
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { return Vec::new() };
    let at = |front: &str, test: &str, size: u32| {
        let ratios: Vec<f64> = found.iter().filter(|one| (one.0, one.1, one.2) == (front, test, size)).map(|one| one.3).collect();
        median(&ratios)
    };
    let of = |front: &str, test: &str| {
        let ratio = at(front, test, *last) / at(front, test, *first);
        vec![
            format!("Orknet itself, {last} ÷ {first}"),
            String::new(),
            front.to_owned(),
            test.to_owned(),
            String::new(),
            String::new(),
            format!("{ratio:.3}"),
        ]
    };
    ["node port", "load balancer"].into_iter().flat_map(|front| TESTS.map(|test| of(front, test))).collect()
}

/// The measured Service and its pod.
fn make_service(kubectl: &Kubectl) -> Result<()> {
    let Ports { control, data } = PORTS;
    let port = |name: &str, number: u16| format!("{{name: {name}, port: {number}, nodePort: {number}}}");
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: server, labels: {{app: server}}}}\nspec:\n  nodeName: {NODE}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: {IMAGE}\n    command: [netserver, '-D', '-4', '-p', '{control}']\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: server}}\nspec: {{type: LoadBalancer, selector: {{app: server}}, ports: [{}, {}]}}\n",
        port("control", control),
        port("data", data),
    ))?;
    let ingress = serde_json::json!({"status": {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}}).to_string();
    kubectl.run(&["patch", "service", "server", "--subresource=status", "--type=merge", "-p", &ingress])?;
    kubectl.run(&["wait", "pod/server", "--for=condition=Ready", "--timeout=60s"]).map(drop)
}

/// The tests' own tool, which cargo builds beside this program.
pub fn nettool() -> Result<String> {
    let path = std::env::current_exe()?.with_file_name("nettool");
    anyhow::ensure!(path.is_file(), "{} is not there; remedy: cargo xtask bench (it builds it)", path.display());
    Ok(path.display().to_string())
}
