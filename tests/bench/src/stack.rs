//! The fast path (redirects into pods and to neighbours) beside the stack's way: the same traffic over nodes whose programs leave it to the
//! stack, and over nodes that only forward.

use crate::arena::{self, Arena, from_pod};
use crate::contest::METHOD;
use crate::netperf::show;
use crate::places::Place;
use crate::report::Section;
use crate::rival::Endpoint;
use anyhow::{Context, Result};
use std::fs;

/// The ways of [`rows`], in their order.
const BARE: usize = 0;
const STACK: usize = 1;
const FAST: usize = 2;
const TESTS: [&str; 3] = ["TCP_RR", "TCP_CRR", "TCP_STREAM"];

/// Measures pod to pod on one node and across nodes, and from outside to a pod.
pub fn measure() -> Result<Section> {
    Ok(Section {
        title: "The fast path beside the stack's way",
        command: "cargo xtask bench services",
        method: format!(
            "{METHOD} To a pod's own address, no Service involved. Without redirects: a cluster whose agents are told so (`dataplane.redirect: false`), so that the same programs \
             leave packets to the stack. The bare stack: nodes on the first cluster's bridge with the same devices, which forward by routes and have neither programs nor rules \
             nor connection tracking, and so do less than ours, which check sources, look for Services' answers and count."
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
    let mut slow = without_redirects()?;
    let slow_near = slow.serve("stack-near", "node1", "")?;
    let slow_far = slow.serve("stack-far", "node2", "")?;
    let slow_client = Place::pod(&slow.kubectl(), "stack-client", "node1")?;
    slow.outside.route(&slow_near.to_string(), "node1")?;
    let header = [
        "from",
        "to a pod",
        "test",
        "the bare stack",
        "Orknet without redirects",
        "Orknet",
        "Orknet ÷ without redirects",
        "Orknet ÷ the bare stack",
        "without redirects ÷ the bare stack",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (from, to, ways) in [
        ("a pod", "on its node", [from_pod(&plain_client, plain.pod().into()), from_pod(&slow_client, slow_near), from_pod(&client, near)]),
        (
            "a pod",
            "on another node",
            [from_pod(&plain_client, plain.far_pod().into()), from_pod(&slow_client, slow_far), from_pod(&client, far)],
        ),
        ("outside", "on the node it asks", [arena.outside_to(plain.pod().into()), slow.outside_to(slow_near), arena.outside_to(near)]),
    ] {
        for test in TESTS {
            let outcome = arena::contest(test, &ways).with_context(|| format!("from {from}, {to}"))?;
            let figures = [BARE, STACK, FAST].map(|way| show(test, outcome.median(way)));
            let ratios = [(FAST, STACK), (FAST, BARE), (STACK, BARE)].map(|(one, other)| outcome.ratio(one, other).to_string());
            let row: Vec<String> = [from, to, test].map(str::to_owned).into_iter().chain(figures).chain(ratios).collect();
            eprintln!("{}", row.join(", "));
            rows.push(row);
        }
    }
    Ok(rows)
}

/// A cluster whose agents leave to the stack what it would send the same way.
fn without_redirects() -> Result<Arena> {
    let settings = std::env::temp_dir().join(format!("orknet-bench-{}.json", std::process::id()));
    fs::write(&settings, r#"{"dataplane": {"redirect": false}}"#).context("cannot write a file of settings")?;
    let arena = Arena::with("bs", 2, &["--agent-config", &settings.display().to_string()]);
    let _ = fs::remove_file(&settings);
    arena
}
