//! The scheduler: picks a node for every pod that names this scheduler and has none, and binds it through the Kubernetes API, to which alone it
//! talks. One decision is a pure function of a snapshot and a pod (`decide.rs`): filters say where the pod fits, scores say where it
//! fits best. Placement by controllers (DaemonSets) and eviction are not its affair.

mod bind;
mod budgets;
mod cache;
mod config;
mod decide;
mod driver;
mod filter;
mod fit_error;
mod node_info;
mod pod_info;
mod preemption;
mod queue;
mod requests;
mod score;
mod snapshot;
#[cfg(test)]
mod test_objects;
#[cfg(test)]
mod tests;

use kube::Client;
use orknet_reconciler::leader::Election;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use orknet_reconciler::SharedInformers;

/// Why the scheduler could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error("scheduler: {0}")]
    Config(String),
}

/// Runs the scheduler with watches of its own until `shutdown`.
///
/// # Errors
/// Only a configuration that makes no sense; failures to reach the API are tried again for ever.
pub async fn run(config: Config, client: Client, shutdown: CancellationToken) -> Result<(), Error> {
    run_with(config, SharedInformers::new(client, shutdown.clone()), shutdown).await
}

/// Runs the scheduler whenever this process leads, until `shutdown`. Each term begins with watches and a queue of its own: nothing that was read before
/// another led is believed.
///
/// # Errors
/// Only a configuration that makes no sense.
pub async fn run_elected(config: Config, client: Client, election: Election, shutdown: CancellationToken) -> Result<(), Error> {
    election.lead(&client, shutdown, |informers, term| run_with(config.clone(), informers, term)).await
}

/// Like [`run`], on watches shared with other parts of the process (the controllers).
pub async fn run_with(config: Config, informers: SharedInformers, shutdown: CancellationToken) -> Result<(), Error> {
    if config.scheduler_name.is_empty() {
        return Err(Error::Config("schedulerName is empty".into()));
    }
    driver::run(config, informers, shutdown).await;
    Ok(())
}
