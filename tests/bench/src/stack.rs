//! The fast path (redirects into pods and to neighbours) beside the stack's way: the same traffic over nodes that only forward.

use crate::arena::{self, Arena, from_pod};
use crate::contest::METHOD;
use crate::netperf::show;
use crate::places::Place;
use crate::report::Section;
use crate::rival::Endpoint;
use anyhow::{Context, Result};

const TESTS: [&str; 3] = ["TCP_RR", "TCP_CRR", "TCP_STREAM"];

/// Measures pod to pod on one node and across nodes, and from outside to a pod.
pub fn measure() -> Result<Section> {
    Ok(Section {
        title: "The fast path beside the stack's way",
        command: "cargo xtask bench services",
        method: format!(
            "{METHOD} To a pod's own address, no Service involved. The stack's way: nodes on the same bridge with the same devices, which forward by routes and have neither \
             programs nor rules nor connection tracking, and so do less than ours, which check sources, look for Services' answers and count."
        ),
        table: rows()?,
    })
}

fn rows() -> Result<Vec<Vec<String>>> {
    let mut arena = Arena::new("bf", 2)?;
    let kubectl = arena.kubectl();
    let near = arena.serve("near", "node1", "")?;
    let far = arena.serve("far", "node2", "")?;
    let client = Place::pod(&kubectl, "client", "node1")?;
    arena.outside.route(&near.to_string(), "node1")?;
    let [plain, ..] = arena.rivals(1, Endpoint::Near)?;
    let plain_client = plain.client();
    let header = ["from", "to a pod", "test", "the stack", "Orknet", "Orknet ÷ the stack"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (from, to, ways) in [
        ("a pod", "on its node", [from_pod(&plain_client, plain.pod().into()), from_pod(&client, near)]),
        ("a pod", "on another node", [from_pod(&plain_client, plain.far_pod().into()), from_pod(&client, far)]),
        ("outside", "on the node it asks", [arena.outside_to(plain.pod().into()), arena.outside_to(near)]),
    ] {
        for test in TESTS {
            let outcome = arena::contest(test, &ways).with_context(|| format!("from {from}, {to}"))?;
            let figures = [show(test, outcome.median(0)), show(test, outcome.median(1)), outcome.ratio(1, 0).to_string()];
            let row: Vec<String> = [from, to, test].map(str::to_owned).into_iter().chain(figures).collect();
            eprintln!("{}", row.join(", "));
            rows.push(row);
        }
    }
    Ok(rows)
}
