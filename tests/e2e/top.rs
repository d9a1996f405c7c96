//! Does `kubectl top` show what nodes, pods and containers use?

use anyhow::{Context, Result, ensure};
use orknet_tests::columns::Columns;
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};
use serde_json::json;

tests![e2e_top_shows_what_nodes_pods_and_containers_use];

/// The number at the start of a cell.
fn number(cell: &str) -> Result<u64> {
    let digits = cell.find(|c: char| !c.is_ascii_digit()).unwrap_or(cell.len());
    cell[..digits].parse().with_context(|| format!("no number in {cell:?}"))
}

fn e2e_top_shows_what_nodes_pods_and_containers_use(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let container = |name: &str, script: &str| {
        json!({
            "name": name,
            "image": pods::BUSYBOX,
            "command": ["sh", "-c", script],
            "resources": { "limits": { "cpu": "200m", "memory": "64Mi" } },
        })
    };
    let containers = json!([container("busy", "while :; do :; done"), container("idle", "sleep 3600")]);
    pods::start(kubectl, "both", json!({ "containers": containers }))?;
    let shown = eventually("the pod's metrics", || {
        let shown = kubectl.run(&["top", "pods", "--containers"])?;
        ensure!(shown.contains("busy"), "{shown}");
        Ok(shown)
    })?;
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines.first().is_some_and(|line| line[..] == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]), "{shown}");
    let used = |name: &str| -> Result<(u64, &str)> {
        let line = lines.iter().find(|line| line.get(1) == Some(&name)).with_context(|| shown.clone())?;
        Ok((number(line[2])?, line[3]))
    };
    // What it may have, with room for the edges of the window; a busy host gives less.
    let (busy, memory) = used("busy")?;
    ensure!((20..=260).contains(&busy) && memory.ends_with("Mi"), "{shown}");
    ensure!(used("idle")?.0 < busy, "{shown}");

    let all = kubectl.run(&["top", "pods"])?;
    ensure!(number(Columns::parse(&all)?.cell("both", "CPU(cores)")?)? >= 20, "{all}");
    let node = kubectl.run(&["get", "pod", "both", "-o", "jsonpath={.spec.nodeName}"])?;
    // A node has been asked twice before it is told of; a container that was just started, once.
    eventually("the node's metrics", || {
        let nodes = Columns::parse(&kubectl.run(&["top", "nodes"])?)?;
        for column in ["CPU(cores)", "MEMORY(bytes)"] {
            ensure!(number(nodes.cell(&node, column)?)? > 0, "{column}");
        }
        Ok(())
    })?;
    let raw = kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics/resource")])?;
    ensure!(
        raw.contains("container_cpu_usage_seconds_total{container=\"busy\"") && raw.contains("node_memory_working_set_bytes "),
        "{raw}"
    );
    ensure!(raw.contains("resource_scrape_error 0"), "{raw}");

    // Nobody's, told as kubectl tells it.
    let nobody = kubectl.fails(&["top", "pod", "nobody"], None)?;
    ensure!(nobody.contains("pods \"nobody\" not found"), "{nobody}");
    Ok(())
}
