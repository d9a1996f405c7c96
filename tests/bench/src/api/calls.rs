//! Single-object calls from 64 clients at a time, and lists of 10,000 pods.

use super::{NAMESPACE, Served, config_map, config_map_path, request, scale};
use crate::report::Section;
use crate::samples::{median, percentile};
use anyhow::{Context, Result};
use http::{Method, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const CLIENTS: usize = 64;
/// Objects of a round: each verb is called once for each.
const OBJECTS: usize = 4000;
const ROUNDS: usize = 3;
const PODS: usize = 10_000;
const LISTS: usize = 20;

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Get,
    Update,
    Patch,
    Apply,
    Delete,
}

const VERBS: [(Verb, &str, &str); 6] = [
    (Verb::Create, "create", "3,000/s, p99 50 ms"),
    (Verb::Get, "get", "p99 50 ms"),
    (Verb::Update, "update", "p99 50 ms"),
    (Verb::Patch, "merge patch", "p99 50 ms"),
    (Verb::Apply, "server-side apply of another manager", "p99 50 ms"),
    (Verb::Delete, "delete", "p99 50 ms"),
];

/// Of one verb on one store, over all rounds.
#[derive(Default)]
struct Samples {
    /// Calls a second, of each round.
    rates: Vec<f64>,
    /// Seconds.
    latencies: Vec<f64>,
}

/// Measures.
pub fn measure() -> Result<Section> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut both = Served::both()?;
    let mut samples: Vec<[Samples; 2]> = VERBS.iter().map(|_| Default::default()).collect();
    for round in 0..ROUNDS {
        for (store, served) in both.iter().enumerate() {
            for ((verb, ..), samples) in VERBS.iter().zip(&mut samples) {
                let (rate, latencies) = runtime.block_on(calls(served, *verb, round))?;
                samples[store].rates.push(rate);
                samples[store].latencies.extend(latencies);
            }
        }
    }
    let mut table = vec![["what", "embedded", "etcd", "aim on the embedded store"].map(str::to_owned).to_vec()];
    for ((_, name, aim), samples) in VERBS.iter().zip(&samples) {
        let cell = |samples: &Samples| {
            let of = |percent| percentile(&samples.latencies, percent) * 1000.0;
            format!("{:.0}/s, p50 {:.1} ms, p99 {:.1} ms", median(&samples.rates), of(50.0), of(99.0))
        };
        table.push(vec![(*name).to_owned(), cell(&samples[0]), cell(&samples[1]), (*aim).to_owned()]);
    }
    let mut lists: [Vec<f64>; 2] = Default::default();
    let mut bytes = 0;
    for served in &mut both {
        scale::fill(&runtime, served, &[("pods", PODS)])?;
    }
    for _ in 0..LISTS {
        for (served, lists) in both.iter().zip(&mut lists) {
            let (seconds, length) = runtime.block_on(list(served))?;
            lists.push(seconds);
            bytes = length;
        }
    }
    let cell = |samples: &Vec<f64>| format!("p50 {:.0} ms, p99 {:.0} ms", median(samples) * 1000.0, percentile(samples, 99.0) * 1000.0);
    table.push(vec![
        format!("list of {PODS} pods as JSON ({:.1} MiB)", bytes as f64 / f64::from(1 << 20)),
        cell(&lists[0]),
        cell(&lists[1]),
        "150 ms".to_owned(),
    ]);
    Ok(Section {
        title: "The API: calls",
        command: "cargo xtask bench api/calls",
        method: format!(
            "`orknet server` (controllers and scheduler in it) on the loopback, on its embedded store and on a real etcd of one member, both on the \
             same disk, in turn; {CLIENTS} clients, HTTP/1.1 with TLS, in a process on the same cores. ConfigMaps of a kilobyte, {OBJECTS} a verb and \
             round, {ROUNDS} rounds; every write is on disk when it is answered. Lists: {LISTS} of each store by one client, to the last byte."
        ),
        table,
    })
}

fn call(verb: Verb, name: &str) -> Result<Request<Vec<u8>>> {
    let path = config_map_path(name);
    match verb {
        Verb::Create => {
            let folder = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
            request(Method::POST, &folder, "application/json", Some(&config_map(name, "created ")))
        }
        Verb::Get => request(Method::GET, &path, "application/json", None),
        Verb::Update => request(Method::PUT, &path, "application/json", Some(&config_map(name, "updated "))),
        Verb::Patch => {
            let patch = serde_json::json!({"metadata": {"annotations": {"patched": name}}});
            request(Method::PATCH, &path, "application/merge-patch+json", Some(&patch))
        }
        Verb::Apply => {
            let applied =
                serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"applied": name}});
            request(Method::PATCH, &format!("{path}?fieldManager=bench-applier"), "application/apply-patch+yaml", Some(&applied))
        }
        Verb::Delete => request(Method::DELETE, &path, "application/json", None),
    }
}

/// Calls once for each object of the round, from all clients. Calls a second, and the seconds of each.
async fn calls(served: &Served, verb: Verb, round: usize) -> Result<(f64, Vec<f64>)> {
    let client = served.client().await?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let workers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, next) = (client.clone(), next.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(OBJECTS / CLIENTS * 2);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= OBJECTS {
                        return anyhow::Ok(latencies);
                    }
                    let call = call(verb, &format!("bench-{round}-{number}"))?;
                    let path = call.uri().to_string();
                    let began = Instant::now();
                    client.request_text(call).await.with_context(|| path)?;
                    latencies.push(began.elapsed().as_secs_f64());
                }
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(OBJECTS);
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Ok((OBJECTS as f64 / began.elapsed().as_secs_f64(), latencies))
}

/// Seconds and bytes of one list.
async fn list(served: &Served) -> Result<(f64, usize)> {
    let client = served.client().await?;
    // The connection is there.
    client.request_text(request(Method::GET, "/version", "application/json", None)?).await?;
    let began = Instant::now();
    let text = client.request_text(request(Method::GET, "/api/v1/pods", "application/json", None)?).await?;
    Ok((began.elapsed().as_secs_f64(), text.len()))
}
