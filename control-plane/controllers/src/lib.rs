//! The controllers: each watches some kinds, plans in a pure function and writes through the Kubernetes API, to which alone they talk.
//! One folder per controller, with the same files: `mod.rs` (what it watches and why), `plan.rs` (observed state in, plan out; pure),
//! `reconcile.rs` (read, plan, write), `tests.rs`. Shared watches, queue and event recorder come from orknet-reconciler.

mod bootstrap_tokens;
mod certificates;
mod claims;
mod cluster_objects;
mod cluster_role_aggregation;
mod config;
mod context;
mod cron_job;
mod daemon_set;
mod delete_exact;
mod deployment;
mod disruption;
mod endpoint_mirror;
mod endpoint_slice;
mod endpoints;
mod garbage;
mod hpa;
mod job;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod ownership;
mod pod_conditions;
mod pod_control;
mod pod_events;
mod pod_garbage;
mod pod_template;
mod policy_status;
mod portion;
mod programming;
mod replica_set;
mod resource_quota;
mod revision_history;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_protection;
mod taint_eviction;
mod token_secrets;
mod unused_tokens;
mod write_status;

use kube::Client;
use orknet_reconciler::leader::Election;
use tokio_util::sync::CancellationToken;

pub use certificates::Signing;
pub use config::Config;
use context::Context;
pub use orknet_reconciler::SharedInformers;

/// Why the controllers could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("controllers: {0}")]
    Config(String),
}

/// Runs all controllers with watches of their own until `shutdown`.
///
/// # Errors
/// Only a configuration that makes no sense; failures to reach the API are tried again for ever.
pub async fn run(config: Config, client: Client, shutdown: CancellationToken) -> Result<(), Error> {
    run_with(config, SharedInformers::new(client, shutdown.clone()), shutdown).await
}

/// Runs all controllers whenever this process leads, until `shutdown`.
///
/// # Errors
/// Only a configuration that makes no sense.
pub async fn run_elected(config: Config, client: Client, election: Election, shutdown: CancellationToken) -> Result<(), Error> {
    config.check().map_err(Error::Config)?;
    election.lead(&client, shutdown, |informers, term| run_with(config.clone(), informers, term)).await
}

/// Like [`run`], on watches shared with other parts of the process (the scheduler).
pub async fn run_with(config: Config, informers: SharedInformers, shutdown: CancellationToken) -> Result<(), Error> {
    config.check().map_err(Error::Config)?;
    let context = Context::new(config, informers, shutdown);
    deployment::start(&context);
    replica_set::start(&context);
    daemon_set::start(&context);
    stateful_set::start(&context);
    job::start(&context);
    disruption::start(&context);
    hpa::start(&context);
    cron_job::start(&context);
    endpoint_slice::start(&context);
    endpoints::start(&context);
    endpoint_mirror::start(&context);
    programming::start(&context);
    service_account::start(&context);
    service_cidr::start(&context);
    bootstrap_tokens::start(&context);
    token_secrets::start(&context);
    unused_tokens::start(&context);
    cluster_role_aggregation::start(&context);
    certificates::start(&context);
    node_ipam::start(&context);
    node_lifecycle::start(&context);
    taint_eviction::start(&context);
    pod_garbage::start(&context);
    storage_protection::start(&context);
    policy_status::start(&context);
    let objects = cluster_objects::ClusterObjects::start(&context);
    garbage::start(&context, &objects);
    namespace::start(&context, &objects);
    resource_quota::start(&context, &objects);
    context.stopped().await;
    Ok(())
}
