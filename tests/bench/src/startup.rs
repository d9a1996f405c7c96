//! How long `orknet up` takes to Ready nodes, a first pod to Running, and what the idle parts weigh.

use crate::report::Section;
use crate::samples::median;
use anyhow::{Context, Result};
use orknet_tests::Cluster;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
/// A cluster that was left alone for so long is idle.
const SETTLE: Duration = Duration::from_secs(30);
const IMAGE: &str = "registry.orknet.local/busybox:1";

/// Brings clusters up one after the other.
pub fn measure() -> Result<Section> {
    let (mut ready, mut running) = (Vec::new(), Vec::new());
    let mut memory = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let cluster = Cluster::up("bs", &["--bare"])?;
        ready.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let kubectl = cluster.kubectl();
        kubectl.run(&["run", "first", "--image", IMAGE, "--", "sleep", "3600"])?;
        kubectl.run(&["wait", "pod/first", "--for=jsonpath={.status.phase}=Running", "--timeout=60s"])?;
        running.push(start.elapsed().as_secs_f64());
        if round + 1 == ROUNDS {
            std::thread::sleep(SETTLE);
            for (place, daemon) in
                [("server", "server"), ("node1", "kubelet"), ("node1", "agent"), ("node2", "kubelet"), ("node2", "agent")]
            {
                memory.push((format!("{daemon} ({place})"), resident_mib(cluster.process(place, daemon)?)?));
            }
        }
    }
    let mut table = vec![["what", "measured", "aim"].map(str::to_owned).to_vec()];
    let seconds = |samples: &[f64]| format!("{:.2} s", median(samples));
    table.push(vec!["`orknet up --bare`, 2 nodes, to Ready nodes".to_owned(), seconds(&ready), "5 s".to_owned()]);
    table.push(vec![
        "`kubectl run` of the first pod to Running (two kubectl processes included)".to_owned(),
        seconds(&running),
        "2 s".to_owned(),
    ]);
    for (who, mib) in memory {
        let aim = if who.starts_with("server") { "60 MiB" } else { "30 MiB" };
        table.push(vec![format!("resident memory, idle: {who}"), format!("{mib:.1} MiB"), aim.to_owned()]);
    }
    Ok(Section {
        title: "Start and idle memory",
        command: "cargo xtask bench startup",
        method: format!(
            "Medians of {ROUNDS} clusters brought up one after the other; memory (VmRSS) {} s after the last first pod.",
            SETTLE.as_secs()
        ),
        table,
    })
}

/// VmRSS in MiB.
pub fn resident_mib(process: i32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).with_context(|| format!("process {process} is not there"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
