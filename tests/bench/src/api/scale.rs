//! A server with 100,000 objects: how soon it is ready, and what it weighs.

use super::{NAMESPACE, Served, config_map, request};
use crate::policies::each_of;
use crate::report::Section;
use crate::samples::median;
use crate::startup::resident_mib;
use anyhow::{Context, Result, ensure};
use http::Method;
use orknet_store::{Commit, Compare, KeyRange, Op, Store};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Plural of a core kind, and how many objects of it.
type Filling = &'static [(&'static str, usize)];

const FILLINGS: [(&str, Filling); 2] = [
    ("100,000 ConfigMaps", &[("configmaps", 100_000)]),
    (
        "60,000 pods on 500 nodes, 25,000 ConfigMaps, 14,500 Secrets",
        &[("nodes", 500), ("pods", 60_000), ("configmaps", 25_000), ("secrets", 14_500)],
    ),
];
const NODES: usize = 500;
const STARTS: usize = 3;
/// From ready to when memory is looked at: controllers and scheduler have read their lists.
const SETTLE: Duration = Duration::from_secs(20);
/// Commits in flight.
const CONCURRENCY: usize = 512;

/// Measures.
pub fn measure() -> Result<Section> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut table = vec![
        ["objects", "store", "their JSON", "start to ready", "resident", "times the JSON (aim 1.5)", "while starting, at most"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, filling) in FILLINGS {
        for make in [Served::on_embedded, Served::on_etcd] {
            let mut served = make()?;
            let bytes = fill(&runtime, &mut served, filling)?;
            let (mut starts, mut resident, mut peak) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..STARTS {
                served.server.stop()?;
                let began = Instant::now();
                served.server.start_again()?;
                starts.push(began.elapsed().as_secs_f64());
                std::thread::sleep(SETTLE);
                let process = i32::try_from(served.server.process())?;
                resident.push(resident_mib(process)?);
                peak.push(peak_mib(process)?);
            }
            let json = bytes as f64 / f64::from(1 << 20);
            table.push(vec![
                name.to_owned(),
                served.name.to_owned(),
                format!("{json:.0} MiB"),
                format!("{:.1} s", median(&starts)),
                format!("{:.0} MiB", median(&resident)),
                format!("{:.2}", median(&resident) / json),
                format!("{:.0} MiB", median(&peak)),
            ]);
        }
    }
    Ok(Section {
        title: "The API: many objects",
        command: "cargo xtask bench api/scale",
        method: format!(
            "Objects as the server has stored one of each kind, copied into its store while it is not there; medians of {STARTS} starts. Resident is \
             VmRSS of `orknet server` with its controllers and scheduler, {} s after it was ready (on etcd without etcd's own); at most is VmHWM.",
            SETTLE.as_secs()
        ),
        table,
    })
}

/// The most that was resident since the start.
fn peak_mib(process: i32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().next().context("no VmHWM")?.parse::<f64>()? / 1024.0)
}

/// Makes one object of each kind through the API, and so many copies of it in the store; the server runs before and after. How many bytes of JSON
/// there are then of these kinds.
pub fn fill(runtime: &tokio::runtime::Runtime, served: &mut Served, filling: &[(&str, usize)]) -> Result<usize> {
    runtime.block_on(async {
        let client = served.client().await?;
        for (plural, _) in filling {
            let folder = if *plural == "nodes" { "/api/v1/nodes".to_owned() } else { format!("/api/v1/namespaces/{NAMESPACE}/{plural}") };
            client.request_text(request(Method::POST, &folder, "application/json", Some(&sample(plural)))?).await?;
        }
        anyhow::Ok(())
    })?;
    served.server.stop()?;
    let bytes = runtime.block_on(async {
        let store = served.store().await?;
        let mut bytes = 0;
        for (plural, count) in filling {
            bytes += copy(&*store, plural, *count).await?;
        }
        anyhow::Ok(bytes)
    })?;
    served.server.start_again()?;
    Ok(bytes)
}

fn sample(plural: &str) -> Value {
    match plural {
        "configmaps" => config_map("sample", "some text "),
        "secrets" => {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sample"}, "stringData": {"token": "t".repeat(700)}})
        }
        "nodes" => {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "sample", "labels": {"kubernetes.io/hostname": "sample"}}})
        }
        _ => json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "sample", "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"}},
            "spec": {"nodeName": "sample", "containers": [{
                "name": "web", "image": "registry.example.org/shop/web:1.27.3", "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [{"name": "DATABASE", "value": "postgres://db.shop.svc:5432/shop"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}}
            }]}
        }),
    }
}

/// Bytes of all.
async fn copy(store: &dyn Store, plural: &str, count: usize) -> Result<usize> {
    let folder = if plural == "nodes" { format!("/registry/core/{plural}/") } else { format!("/registry/core/{plural}/{NAMESPACE}/") };
    let stored = store.range(KeyRange::prefix(format!("{folder}sample")), None, 1).await?.entries.pop();
    let sample: Value = serde_json::from_slice(&stored.with_context(|| format!("nothing is stored in {folder}"))?.value)?;
    let one = |number: usize| {
        let (folder, mut object) = (folder.clone(), sample.clone());
        async move {
            let name = format!("{}-{number:06}", if plural == "nodes" { "node" } else { "copy" });
            object["metadata"]["name"] = json!(name);
            object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", number * 8 + plural.len()));
            if plural == "pods" {
                object["spec"]["nodeName"] = json!(format!("node-{:06}", number % NODES));
            }
            let key = format!("{folder}{name}");
            let value = serde_json::to_vec(&object)?;
            let length = value.len();
            let put = Op::Put { key: key.clone().into(), value: value.into(), ttl: None };
            let outcome = store.commit(vec![Compare::Absent(key.clone().into())], vec![put]).await?;
            ensure!(matches!(outcome, Commit::Done(_)), "{key} is there already");
            Ok(length)
        }
    };
    let lengths: Vec<usize> = each_of((0..count).map(one), CONCURRENCY).await?;
    Ok(lengths.iter().sum())
}
