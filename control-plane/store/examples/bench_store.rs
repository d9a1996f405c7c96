//! Measures durable writes per second, alone and 64 at a time, and the memory that 100,000 small objects take.
//!
//! `cargo run --release -p orknet-store --example bench_store -- embedded DIRECTORY`, or `-- etcd URL…`.

use anyhow::{Context, bail};
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::etcd::EtcdConfig;
use orknet_store::{Commit, KeyRange, Op, Store, StoreConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

const VALUE: usize = 1000;
const ROUND: Duration = Duration::from_secs(3);
const OBJECTS: usize = 100_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let config = match arguments.next().as_deref() {
        Some("embedded") => StoreConfig::Embedded(EmbeddedConfig::new(arguments.next().context("which directory?")?)),
        Some("etcd") => StoreConfig::Etcd(EtcdConfig::new(arguments)),
        _ => bail!("embedded DIRECTORY, or etcd URL…"),
    };
    let embedded = matches!(config, StoreConfig::Embedded(_));
    let store = orknet_store::open(config).await?;
    for _ in 0..3 {
        println!("1 writer:   {:8.0} writes/s", writes_per_second(&store, 1).await?);
        println!("64 writers: {:8.0} writes/s", writes_per_second(&store, 64).await?);
    }
    if embedded {
        let before = resident()?;
        for chunk in 0..OBJECTS / 100 {
            let ops = (0..100).map(|at| put(format!("objects/namespace-{}/object-{:06}", chunk % 10, chunk * 100 + at), 300)).collect();
            store.commit(vec![], ops).await?;
        }
        store.compact(store.current_revision().await?).await?;
        println!("{OBJECTS} objects: {} KiB resident, {} KiB more than before", resident()?, resident()?.saturating_sub(before));
        let began = Instant::now();
        let found = store.range(KeyRange::prefix("objects/"), None, 0).await?.entries.len();
        println!("reading all {found}: {:?}", began.elapsed());
        let began = Instant::now();
        for at in 0..10_000 {
            store.range(KeyRange::single(format!("objects/namespace-0/object-{at:06}")), None, 0).await?;
        }
        println!("one read: {:?}", began.elapsed() / 10_000);
    }
    println!("size: {} KiB", store.size().await? / 1024);
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
