//! How fast the API's objects get into the kernel: thousands of Services with ten endpoints each.

use crate::report::Section;
use crate::samples::percentile;
use crate::services::{self, Fronts, apis, name};
use crate::startup::resident_mib;
use anyhow::{Context, Result, bail, ensure};
use kube::api::PostParams;
use orknet_abi::{Address, ServiceKey, protocol, scope};
use orknet_dataplane::Reader;
use orknet_tests::{Cluster, eventually};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const ENDPOINTS: u32 = 10;
const CHANGES: u32 = 500;
/// Between two looks into the map.
const LOOK: Duration = Duration::from_micros(100);

/// Ten thousand Services.
pub fn measure() -> Result<Section> {
    measure_with("Programming", "cargo xtask bench programming", 10_000, "2 s")
}

/// Thirty thousand.
pub fn measure_large() -> Result<Section> {
    measure_with("Programming at scale", "cargo xtask bench services", 30_000, "5 s")
}

/// Fills a cluster, changes endpoints one by one, then lets an agent begin from empty maps.
fn measure_with(title: &'static str, command: &'static str, count: u32, aim: &str) -> Result<Section> {
    let cluster = Cluster::up("bp", &["--bare", "--nodes", "1"])?;
    cluster.kubectl().run(&["create", "namespace", services::NAMESPACE])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let start = Instant::now();
    runtime.block_on(async { services::make(&services::client(&cluster).await?, 0..count, ENDPOINTS, Fronts::Cluster).await })?;
    let created = start.elapsed();
    let pins = cluster.run_dir().join("bpf/node1");
    let full = || {
        let backends = Reader::open(&pins)?.backends()?.len();
        ensure!(backends >= (count * ENDPOINTS) as usize, "{backends} backends");
        Ok(())
    };
    eventually("all backends to be in the maps", full)?;
    let reader = Reader::open(&pins)?;
    let (from_request, from_answer) = runtime.block_on(change(&cluster, &reader, count))?;
    let memory = resident_mib(cluster.process("node1", "agent")?)?;
    drop(reader);

    let id = cluster.process("node1", "agent")?;
    cluster.signal("node1", "agent", nix::sys::signal::Signal::SIGKILL)?;
    eventually("the agent to be gone", || {
        ensure!(!std::path::Path::new(&format!("/proc/{id}/exe")).exists(), "it is still there");
        Ok(())
    })?;
    std::fs::remove_dir_all(&pins).context("cannot remove the pins")?;
    let start = Instant::now();
    cluster.start_up(&["--bare"])?.wait()?;
    let started = eventually("the agent to be started", || cluster.process("node1", "agent"))?;
    wait_full(&pins, count, Duration::from_secs(120))?;
    let programmed = start.elapsed();
    let fresh = resident_mib(started)?;

    let mut table = vec![["what", "measured", "aim"].map(str::to_owned).to_vec()];
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1000.0);
    let mut row = |what: &str, measured: String, aim: &str| table.push(vec![what.to_owned(), measured, aim.to_owned()]);
    row("endpoint change, from the API's answer to the map: p50", ms(percentile(&from_answer, 50.0)), "-");
    row("endpoint change, from the API's answer to the map: p99", ms(percentile(&from_answer, 99.0)), "10 ms");
    row("endpoint change, from the client's request to the map: p50", ms(percentile(&from_request, 50.0)), "-");
    row("endpoint change, from the client's request to the map: p99", ms(percentile(&from_request, 99.0)), "-");
    row("full programming from empty maps, `orknet up` and the agent's start included", format!("{:.2} s", programmed.as_secs_f64()), aim);
    row("resident memory of the agent after the changes", format!("{memory:.1} MiB"), "100 MiB");
    row("resident memory of the agent after full programming", format!("{fresh:.1} MiB"), "100 MiB");
    row(
        &format!("creating the {} objects through the API, 32 requests in flight", 2 * count),
        format!("{:.1} s", created.as_secs_f64()),
        "-",
    );
    row("resident memory of the server then", format!("{:.1} MiB", resident_mib(cluster.process("server", "server")?)?), "-");
    Ok(Section {
        title,
        command,
        method: format!(
            "{count} Services with {ENDPOINTS} endpoints each on one node; {CHANGES} changes of one endpoint, one at a time, each looked for in the pinned map ten thousand times a second."
        ),
        table,
    })
}

/// Seconds until the map showed each change: since the request was sent, and since the API answered (0 when the map was first).
async fn change(cluster: &Cluster, reader: &Reader, count: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let client = services::client(cluster).await?;
    let (services, slices) = apis(&client);
    let (mut from_request, mut from_answer) = (Vec::new(), Vec::new());
    for turn in 0..CHANGES {
        let number = turn * 19 % count;
        let address: IpAddr = services.get(&name(number)).await?.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default().parse()?;
        let key = ServiceKey { address: Address::from(address), port_be: 80_u16.to_be(), protocol: protocol::TCP, scope: scope::INSIDE };
        let before = reader.service(&key)?.with_context(|| format!("Service {number} is not in the map"))?;
        let mut changed = services::slice(number, ENDPOINTS, 1 + turn % 31)?;
        changed.metadata.resource_version = slices.get(&name(number)).await?.metadata.resource_version;
        let start = Instant::now();
        slices.replace(&name(number), &PostParams::default(), &changed).await?;
        let answered = Instant::now();
        while reader.service(&key)? == Some(before) {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("the change of Service {number} did not reach the map");
            }
            // Not a spin: on two cores it would take one of them from what it measures.
            std::thread::sleep(LOOK);
        }
        from_request.push(start.elapsed().as_secs_f64());
        from_answer.push(answered.elapsed().as_secs_f64());
    }
    Ok((from_request, from_answer))
}

fn wait_full(pins: &std::path::Path, count: u32, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    loop {
        let backends = Reader::open(pins).and_then(|reader| reader.backends()).map(|backends| backends.len()).unwrap_or(0);
        if backends >= (count * ENDPOINTS) as usize {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("the maps hold {backends} backends after {deadline:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
