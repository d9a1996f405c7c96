//! Measures durable writes per second, alone and 64 at a time, in turn on an embedded store and on an etcd, since disks differ from one second to
//! the next; then the memory that 100,000 small objects take in the embedded store.
//!
//! `cargo run --release -p orknet-store --example bench_store -- DIRECTORY [ETCD-URL…]`

use anyhow::Context;
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::etcd::EtcdConfig;
use orknet_store::{Commit, KeyRange, Op, Store, StoreConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

const VALUE: usize = 1000;
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(2);
const READS: u32 = 10_000;
const OBJECTS: usize = 100_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().context("which directory?")?;
    let endpoints: Vec<String> = arguments.collect();
    let embedded = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory))).await?;
    let mut stores = vec![("embedded", embedded.clone())];
    if !endpoints.is_empty() {
        stores.push(("etcd", orknet_store::open(StoreConfig::Etcd(EtcdConfig::new(endpoints))).await?));
    }
    for _ in 0..ROUNDS {
        for (name, store) in &stores {
            let (one, many) = (writes_per_second(store, 1).await?, writes_per_second(store, 64).await?);
            println!("{name:8}  1 writer: {one:6.0}/s  64 writers: {many:6.0}/s");
            store.compact(store.current_revision().await?).await?;
        }
    }
    memory(&embedded).await
}

/// What many small objects cost.
async fn memory(store: &Arc<dyn Store>) -> anyhow::Result<()> {
    let before = resident()?;
    for chunk in 0..OBJECTS / 100 {
        let ops = (0..100).map(|at| put(format!("objects/namespace-{}/object-{:06}", chunk % 10, chunk * 100 + at), 300)).collect();
        store.commit(vec![], ops).await?;
    }
    store.compact(store.current_revision().await?).await?;
    println!("{OBJECTS} objects: {} KiB resident, {} KiB before", resident()?, before);
    let began = Instant::now();
    let found = store.range(KeyRange::prefix("objects/"), None, 0).await?.entries.len();
    println!("reading all {found}: {:?}", began.elapsed());
    let began = Instant::now();
    for at in 0..READS {
        store.range(KeyRange::single(format!("objects/namespace-0/object-{:06}", at % 100)), None, 0).await?;
    }
    println!("reading one: {:?}; the store has {} KiB on disk", began.elapsed() / READS, store.size().await? / 1024);
    Ok(())
}

fn put(key: String, size: usize) -> Op {
    Op::Put { key: key.into(), value: vec![b'v'; size].into(), ttl: None }
}

async fn writes_per_second(store: &Arc<dyn Store>, writers: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut written = 0u64;
                while began.elapsed() < ROUND {
                    let commit = store.commit(vec![], vec![put(format!("bench/{writer}/{}", written % 100), VALUE)]).await?;
                    anyhow::ensure!(matches!(commit, Commit::Done(_)));
                    written += 1;
                }
                Ok(written)
            })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await??;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

/// Resident memory of this process in KiB, from `/proc/self/status`.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
