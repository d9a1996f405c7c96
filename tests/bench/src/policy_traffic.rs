//! Traffic between two pods beside many policies: clusters of the same make that differ in how many there are.

use crate::arena::{self, Arena, PORTS, from_pod};
use crate::contest::{METHOD, Outcome};
use crate::netperf::{TESTS, show};
use crate::places::Place;
use crate::policies;
use crate::report::Section;
use crate::services;
use anyhow::{Context, Result, ensure};
use orknet_abi::{Address, PodKey};
use orknet_dataplane::Reader;
use orknet_tests::eventually;
use std::net::IpAddr;

/// How many policies each cluster has.
const SIZES: [Kind; 4] = [
    Kind { tag: "pa", size: 0, is_closed: false },
    Kind { tag: "pb", size: 1, is_closed: false },
    Kind { tag: "pc", size: 100, is_closed: false },
    Kind { tag: "pd", size: 10_000, is_closed: false },
];
/// Without any, and with rules for both directions at every pod: then programs have to remember who began each connection.
const BOTH_DIRECTIONS: [Kind; 2] = [Kind { tag: "pa", size: 0, is_closed: false }, Kind { tag: "pe", size: 100, is_closed: true }];
/// What must be left of the figures without policies.
const REQUIRED: f64 = 0.98;

struct Kind {
    tag: &'static str,
    size: u32,
    is_closed: bool,
}

impl Kind {
    fn name(&self) -> String {
        format!("{}{}", self.size, if self.is_closed { " and default deny" } else { "" })
    }
}

/// All pods of the namespace are isolated in both directions, and may reach each other.
const CLOSED: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}
";

/// A cluster with its pods.
struct Side {
    /// The pods' cluster, and what serves in them.
    _arena: Arena,
    near: IpAddr,
    far: IpAddr,
    client: Place,
}

/// Measures by how many policies there are.
pub fn measure() -> Result<Section> {
    let (table, verdict) = compare(&SIZES)?;
    Ok(Section {
        title: "Traffic beside policies",
        command: "cargo xtask bench policy",
        method: format!(
            "{METHOD} From pod to pod, to its own address, in clusters of two nodes that differ in the number of policies: with one, it selects the servers; of a hundred \
             and of ten thousand, ten select the servers and ten the client, and let through what is measured. Ratios to the cluster without policies are to be at least {REQUIRED}. {verdict}"
        ),
        table,
    })
}

/// Measures with rules for both directions.
pub fn measure_both_directions() -> Result<Section> {
    let (table, verdict) = compare(&BOTH_DIRECTIONS)?;
    Ok(Section {
        title: "Traffic between pods with rules for both directions",
        command: "cargo xtask bench policy",
        method: format!(
            "{METHOD} The same as beside policies, but every pod is isolated in both directions, and may reach the others: of each connection programs have to remember who \
             began it. Ratios to the cluster without policies are to be at least {REQUIRED}. {verdict}"
        ),
        table,
    })
}

/// On one node and across nodes: the table, and in words what is below.
fn compare(kinds: &[Kind]) -> Result<(Vec<Vec<String>>, String)> {
    let sides = kinds.iter().map(side).collect::<Result<Vec<Side>>>()?;
    let figures = kinds[1..].iter().map(|kind| format!("{} ÷ 0", kind.name()));
    let sizes = kinds.iter().map(|kind| format!("{} policies", kind.name()));
    let header = ["placement", "test"].map(str::to_owned).into_iter().chain(sizes).chain(figures);
    let mut table = vec![header.collect::<Vec<_>>()];
    let mut misses = Vec::new();
    for (placement, to) in [("same node", (|side| side.near) as fn(&Side) -> IpAddr), ("across nodes", |side| side.far)] {
        for test in TESTS {
            let ways: Vec<_> = sides.iter().map(|side| from_pod(&side.client, to(side))).collect();
            let outcome = arena::contest(test, &ways).with_context(|| placement.to_owned())?;
            misses.extend(missed(placement, test, &outcome, kinds));
            let row = [placement, test].map(str::to_owned).into_iter();
            let row = row.chain((0..kinds.len()).map(|way| show(test, outcome.median(way))));
            let row: Vec<String> = row.chain((1..kinds.len()).map(|way| outcome.ratio(way, 0).to_string())).collect();
            eprintln!("{}", row.join(", "));
            table.push(row);
        }
    }
    Ok((table, if misses.is_empty() { "All ratios are.".to_owned() } else { format!("Below: {}.", misses.join(", ")) }))
}

fn missed(placement: &str, test: &str, outcome: &Outcome, kinds: &[Kind]) -> Vec<String> {
    let ways = (1..kinds.len()).filter(|way| outcome.ratio(*way, 0).median < REQUIRED);
    ways.map(|way| format!("{test} {placement} with {} policies", kinds[way].name())).collect()
}

fn side(&Kind { tag, size, is_closed }: &Kind) -> Result<Side> {
    let mut arena = Arena::new(tag, 2)?;
    let kubectl = arena.kubectl();
    let names = ["near", "far", "client"].map(|name| format!("{tag}-{name}"));
    let near = arena.serve(&names[0], "node1", "")?;
    let far = arena.serve(&names[1], "node2", "")?;
    let client = Place::pod(&kubectl, &names[2], "node1")?;
    for (name, role) in names.iter().zip(["server", "server", "client"]) {
        kubectl.run(&["label", "pod", name, &format!("role={role}")])?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let api = services::client(&arena.cluster).await?;
        policies::make_namespaces(&api, size / policies::OF_NAMESPACE).await?;
        policies::make(&api, size, "default", &[PORTS.control, PORTS.data]).await
    })?;
    if is_closed {
        kubectl.apply(CLOSED)?;
    }
    if size > 0 {
        for (node, address) in [("node1", near), ("node2", far)] {
            let pins = arena.cluster.run_dir().join("bpf").join(node);
            eventually("the server's policies to be in the maps", || {
                let pod = Reader::open(&pins)?.pod(&PodKey { address: Address::from(address) })?;
                ensure!(pod.is_some_and(|pod| pod.ingress != 0 && (pod.egress != 0) == is_closed), "{pod:?}");
                Ok(())
            })?;
        }
    }
    Ok(Side { _arena: arena, near, far, client })
}
