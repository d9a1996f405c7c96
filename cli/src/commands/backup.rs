//! `orknet backup`: the store at one revision and the cluster's keys, as a file.

use super::kept;
use super::place::{self, Place};
use anyhow::{Context, Result};
use orknet_store::snapshot;
use std::path::PathBuf;

const NO_KEYS: &str = "name the directory of keys (--pki-dir), or leave them out (--without-keys)";

/// Writes what a server's store holds, and the cluster's keys, into a file. The server may run meanwhile. Who has the file has the cluster: it holds
/// every Secret and the authority's key.
#[derive(clap::Args)]
pub struct Backup {
    /// The file, of mode 0600; one that is there is replaced when the new one is complete.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Directory of keys and certificates (default /var/lib/orknet/server/pki).
    #[arg(long)]
    pki_dir: Option<PathBuf>,
    /// Leaves the authority and the service-account key out.
    #[arg(long, conflicts_with = "pki_dir")]
    without_keys: bool,
}

/// Writes the backup and says what is in it.
pub async fn run(options: Backup) -> Result<()> {
    let (store, pki_dir) = options.place.find(options.pki_dir.as_ref())?;
    let files = if options.without_keys { Vec::new() } else { kept::read(&pki_dir, NO_KEYS)? };
    let name = place::name(&store);
    let source = place::source(&store, false).await.with_context(|| format!("cannot read {name}"))?;
    let cluster = place::cluster(&*source).await.with_context(|| format!("cannot read {name}"))?;
    let program = format!("orknet {}", env!("CARGO_PKG_VERSION"));
    let written = snapshot::backup(&*source, &[place::signs_of_life()], &files, &cluster, &program, &options.file)
        .await
        .with_context(|| format!("cannot back up {name}"))?;
    let with = if files.is_empty() { "without the cluster's keys" } else { "with the cluster's keys" };
    println!(
        "{}: {} objects and claims of cluster {cluster} at revision {}, {with}, {} bytes",
        options.file.display(),
        written.header.keys,
        written.header.revision,
        written.bytes
    );
    Ok(())
}
