//! Which server's store and keys a command is about, and what the store holds of a cluster that a backup is interested in.

use super::server;
use anyhow::{Context, Result, bail};
use orknet_apiserver::SERVERS;
use orknet_store::snapshot::{Begin, Source, Target};
use orknet_store::{KeyRange, StoreConfig, StoreError, embedded, etcd};
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

/// Begins to fill the store, in which there must be nothing. Blocks on a directory.
pub async fn target(config: &StoreConfig, begin: &Begin) -> Result<Box<dyn Target>> {
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
