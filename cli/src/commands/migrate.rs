//! `orknet migrate`: what one store holds into another that is empty.

use super::place::{self, Place};
use super::server;
use anyhow::{Context, Result};
use orknet_store::snapshot::{self, Begin, Source};
use orknet_store::{Revision, StoreConfig};
use std::path::PathBuf;

/// Copies what a server's store holds into another store, which is empty: from the embedded store to etcd, and back. No server may run on either.
/// The first one keeps what it holds, with a mark that keeps servers from it. Keys and certificates stay where they are.
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
    /// Takes back the mark that a migration left on the store, which servers then open again. Never where one has run on the other store.
    #[arg(long, group = "to")]
    stay: bool,
    /// Removes what a migration that was not done has left, and begins anew.
    #[arg(long, conflicts_with = "stay")]
    again: bool,
}

/// Copies, and says what is there.
pub async fn run(options: Migrate) -> Result<()> {
    let (from, _) = options.place.find(None)?;
    let from_name = place::name(&from);
    let mut source = place::source(&from, true).await.with_context(|| format!("cannot migrate {from_name}: no server may run on it"))?;
    if options.stay {
        source.stay().await.with_context(|| format!("{from_name} cannot be marked as one that servers use"))?;
        println!("{from_name}: servers may use it.");
        return Ok(());
    }
    let (to, _) = server::places(options.to_config.as_deref(), options.to_store_dir.as_deref(), &options.to_etcd, None)?;
    let to_name = place::name(&to);
    // A directory that is ours alone may have signs of a server that was killed.
    if let StoreConfig::Etcd(_) = from {
        place::refuse_if_served(&*source, &from_name).await?;
    }
    // From here on no server writes into it, also one that was stopped or cut off and comes back.
    source.leave(&to_name).await.with_context(|| format!("{from_name} cannot be marked as one that goes"))?;
    match copy(&*source, &from_name, &to, options.again).await {
        Ok((keys, revision)) => {
            println!("{to_name}: {keys} objects and claims of {from_name}, at revision {revision}");
            println!("Start every server on it from now on; {from_name} holds what it held, and no server opens it any more.");
            Ok(())
        }
        Err(error) => {
            let back = source.stay().await;
            back.with_context(|| format!("{from_name} is still marked as one that went, see orknet migrate --stay"))
                .context(error.to_string())?;
            Err(error)
        }
    }
}

async fn copy(source: &dyn Source, from_name: &str, to: &StoreConfig, again: bool) -> Result<(u64, Revision)> {
    let to_name = place::name(to);
    let begin = Begin { above: source.revision(), again, from: from_name.to_owned() };
    let target = place::target(to, &begin, source.largest().await?).await.with_context(|| format!("cannot migrate to {to_name}"))?;
    let copied = snapshot::migrate(source, &[place::signs_of_life()], &*target).await;
    copied.with_context(|| format!("the migration to {to_name} is not done"))
}
