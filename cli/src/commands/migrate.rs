//! `orknet migrate`: what one store holds into another that is empty.

use super::place::{self, Place};
use super::server;
use anyhow::{Context, Result};
use orknet_store::StoreConfig;
use orknet_store::snapshot::{self, Begin};
use std::path::PathBuf;

/// Copies what a server's store holds into another store, which is empty: from the embedded store to etcd, and back. No server may run on either.
/// The first one is left as it was. Keys and certificates stay where they are.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("to").required(true)))]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    /// Directory of the embedded store to be made.
    #[arg(long, group = "to")]
    to_store_dir: Option<PathBuf>,
    /// An endpoint of the etcd to be filled; may be repeated.
    #[arg(long, group = "to")]
    to_etcd: Vec<String>,
    /// A server's configuration file, whose `store` is to be filled.
    #[arg(long, group = "to")]
    to_config: Option<PathBuf>,
    /// Removes what a migration that was not done has left, and begins anew.
    #[arg(long)]
    again: bool,
}

/// Copies, and says what is there.
pub async fn run(options: Migrate) -> Result<()> {
    let (from, _) = options.place.find(None)?;
    let (to, _) = server::places(options.to_config.as_deref(), options.to_store_dir.as_deref(), &options.to_etcd, None)?;
    let (from_name, to_name) = (place::name(&from), place::name(&to));
    let source = place::source(&from, true).await.with_context(|| format!("cannot migrate {from_name}: no server may run on it"))?;
    // A directory that is ours alone may have signs of a server that was killed.
    if let StoreConfig::Etcd(_) = from {
        place::refuse_if_served(&*source, &from_name).await?;
    }
    let begin = Begin { above: source.revision(), again: options.again, from: from_name.clone() };
    let target = place::target(&to, &begin).await.with_context(|| format!("cannot migrate to {to_name}"))?;
    let copied = snapshot::migrate(&*source, &[place::signs_of_life()], &*target).await;
    let (keys, revision) = copied.with_context(|| format!("the migration to {to_name} is not done"))?;
    println!("{to_name}: {keys} objects and claims of {from_name}, at revision {revision}");
    println!("Start every server on it from now on; {from_name} is as it was, and out of date as soon as one runs.");
    Ok(())
}
