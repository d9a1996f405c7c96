//! Tens of thousands of objects in seconds: copies of what the API server has stored of some, written into its store while it is not there.

use crate::policies;
use anyhow::{Context, Result, ensure};
use orknet_store::embedded::{Embedded, EmbeddedConfig};
use orknet_store::{Commit, Compare, KeyRange, Op, Store};
use orknet_tests::{Cluster, eventually};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where the API server keeps pods and NetworkPolicies (its `storage/keys.rs`): in a folder for each namespace.
const FOLDERS: [&str; 2] = ["/registry/core/pods/", "/registry/networking.k8s.io/networkpolicies/"];

/// Commits in flight: the store writes those that wait as one group.
const CONCURRENCY: usize = 1024;

/// Copies what is in the first namespace: each object as `copies_of` says, which answers none for what is to be left alone. How many.
pub async fn make(cluster: &Cluster, copies_of: fn(&Value) -> Vec<Value>) -> Result<usize> {
    // A process that was killed has it open until the last of its threads has ended.
    let directory = cluster.state_dir().join("server/store");
    let store = eventually("the store to be free", || Ok(Embedded::open(EmbeddedConfig::new(&directory))?))?;
    let mut written = 0;
    for folder in FOLDERS {
        let samples = store.range(KeyRange::prefix(format!("{folder}{}/", policies::namespace(0))), None, 0).await?.entries;
        ensure!(!samples.is_empty(), "nothing is stored in {folder}");
        for sample in samples {
            let sample: Value = serde_json::from_slice(&sample.value).context("a stored object cannot be read")?;
            let copies = copies_of(&sample);
            let from = written;
            written += copies.len();
            let store: &Arc<Embedded> = &store;
            let one = |(number, copy): (usize, Value)| async move { write(&**store, folder, number, copy).await };
            policies::each_of((from..).zip(copies).map(one), CONCURRENCY).await?;
        }
    }
    Ok(written)
}

/// Each at a revision of its own, as if it had been created through the API.
async fn write(store: &dyn Store, folder: &str, number: usize, mut object: Value) -> Result<()> {
    object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{number:012x}"));
    let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let key = format!("{folder}{}/{}", of("namespace"), of("name"));
    let value = serde_json::to_vec(&object)?.into();
    let put = Op::Put { key: key.clone().into(), value, ttl: None };
    let outcome = store.commit(vec![Compare::Absent(key.clone().into())], vec![put]).await?;
    ensure!(matches!(outcome, Commit::Done(_)), "{key} is there already");
    Ok(())
}
