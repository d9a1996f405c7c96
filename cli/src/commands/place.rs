//! Which server's store and keys a command is about, and what the store holds of a cluster that a backup is interested in.

use super::server;
use anyhow::{Context, Result, bail};
use orknet_apiserver::SERVERS;
use orknet_store::snapshot::{Begin, Source, Target};
use orknet_store::{KeyRange, MAX_RESTORED, MAX_VALUE, StoreConfig, StoreError, embedded, etcd};
use serde_json::Value;
use std::path::PathBuf;

/// The namespace whose uid tells clusters apart.
const IDENTITY: &str = "/registry/core/namespaces/kube-system";

/// The server, by what `orknet server` is given.
#[derive(clap::Args)]
pub struct Place {
    /// The server's configuration file; the flags below win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Directory of the embedded store (default /var/lib/orknet/server/store).
    #[arg(long, conflicts_with = "etcd")]
    store_dir: Option<PathBuf>,
    /// An etcd endpoint, instead of the embedded store; may be repeated. For TLS see the configuration file's `store`.
    #[arg(long)]
    etcd: Vec<String>,
}

impl Place {
    /// The store, and the directory of keys, which `pki_dir` names if it is given.
    pub fn find(&self, pki_dir: Option<&PathBuf>) -> Result<(StoreConfig, PathBuf)> {
        server::places(self.config.as_deref(), self.store_dir.as_deref(), &self.etcd, pki_dir.map(PathBuf::as_path))
    }
}

/// The store as it is now. A directory is read beside the server that has it open, or (`alone`) only if none has. Blocks on a directory.
pub async fn source(config: &StoreConfig, alone: bool) -> Result<Box<dyn Source>, StoreError> {
    Ok(match config {
        StoreConfig::Embedded(config) => Box::new(embedded::Reader::open(&config.directory, alone)?),
        StoreConfig::Etcd(config) => Box::new(etcd::Snapshot::open(config.clone()).await?),
    })
}

/// Begins to fill the store, in which there must be nothing, with values of which this is the `largest`. Blocks on a directory.
pub async fn target(config: &StoreConfig, begin: &Begin, largest: Option<(String, usize)>) -> Result<Box<dyn Target>> {
    let most = most_bytes(config);
    if let Some((key, size)) = largest.filter(|(_, size)| *size > most) {
        bail!("the value of {key} has {size} bytes, and at most {most} are taken: nothing was written");
    }
    if let StoreConfig::Etcd(_) = config
        && let Ok(there) = source(config, false).await
    {
        refuse_if_served(&*there, &name(config)).await?;
    }
    Ok(match config {
        StoreConfig::Embedded(config) => Box::new(embedded::Restore::begin(config.clone(), begin)?),
        StoreConfig::Etcd(config) => Box::new(etcd::Restore::begin(config.clone(), begin).await?),
    })
}

/// Bytes of the largest value that the store takes when it is filled.
fn most_bytes(config: &StoreConfig) -> usize {
    match config {
        StoreConfig::Embedded(_) => MAX_RESTORED,
        StoreConfig::Etcd(_) => MAX_VALUE,
    }
}

/// The store as people name it.
pub fn name(config: &StoreConfig) -> String {
    match config {
        StoreConfig::Embedded(config) => config.directory.display().to_string(),
        StoreConfig::Etcd(config) => format!("etcd at {} below {}", config.endpoints.join(", "), config.prefix),
    }
}

/// Signs of life of API servers: they are of those that run now, and of no use in another store.
pub fn signs_of_life() -> KeyRange {
    KeyRange::prefix(SERVERS)
}

/// An error that names the API servers which use the store, if any do.
pub async fn refuse_if_served(source: &dyn Source, name: &str) -> Result<()> {
    let found = source.page(SERVERS.into(), 100).await.with_context(|| format!("cannot read {name}"))?;
    let living: Vec<_> =
        found.iter().filter_map(|record| std::str::from_utf8(&record.key).ok()?.strip_prefix(SERVERS).map(str::to_owned)).collect();
    if !living.is_empty() {
        bail!("API servers run on {name}: {}; remedy: stop them (one that was killed counts for 15 s)", living.join(", "));
    }
    Ok(())
}

/// What tells the cluster apart from every other: the uid of its namespace kube-system.
pub async fn cluster(source: &dyn Source) -> Result<String, StoreError> {
    let found = source.page(IDENTITY.into(), 1).await?;
    let namespace = found.first().filter(|record| record.key == IDENTITY);
    let object: Option<Value> = namespace.and_then(|record| serde_json::from_slice(&record.value).ok());
    let uid = object.and_then(|object| object["metadata"]["uid"].as_str().map(str::to_owned));
    Ok(uid.unwrap_or_else(|| "unknown".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_refused_before_anybody_is_asked() {
        let nowhere = StoreConfig::Etcd(etcd::EtcdConfig::new(["http://127.0.0.1:1"]));
        let begin = Begin { above: 1, again: false, from: "a test".into() };
        let refused = target(&nowhere, &begin, Some(("/registry/a".into(), MAX_VALUE + 1))).await.err().expect("it is refused").to_string();
        assert!(refused.contains("the value of /registry/a has 1568769 bytes") && refused.contains("nothing was written"), "{refused}");
    }
}
