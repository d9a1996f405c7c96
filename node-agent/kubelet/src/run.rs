//! Wires the kubelet: context, pod manager, node status, lease, server, log rotation, image garbage. Each is a task; the first that fails ends all.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::client::KubeCluster;
use crate::api::source;
use crate::config::Config;
use crate::credentials::certificate::Names;
use crate::credentials::renew::{self, ServingFile};
use crate::credentials::{Credentials, files};
use crate::error::Error;
use crate::images::garbage;
use crate::logs::rotate;
use crate::node::{events, lease, register, report};
use crate::pods::{Context, manager};
use crate::server;

/// Statements about pods that may wait while the manager is busy.
const QUEUE: usize = 256;

/// Runs the kubelet of one node until `shutdown`. Pods go on running afterwards; the next start takes them over. `client` follows the kubeconfig of
/// `credentials`, whose certificate is renewed there.
///
/// # Errors
/// The configuration is wrong, the root directory cannot be made, or the server cannot start. A server or a runtime that is away is no
/// error: everything is tried again.
pub async fn run(config: Config, client: Client, credentials: Credentials, shutdown: CancellationToken) -> Result<(), Error> {
    // Everything ends together, also when one part fails.
    let shutdown = shutdown.child_token();
    let _end = shutdown.clone().drop_guard();
    // Secrets are in it, and volumes that any user of a pod may write: nobody else of the host may enter.
    std::fs::create_dir_all(&config.root_dir)
        .and_then(|()| std::fs::set_permissions(&config.root_dir, Permissions::from_mode(0o700)))
        .map_err(Error::file("create", &config.root_dir))?;
    let cluster = Arc::new(KubeCluster::start(client.clone(), &config.node_name, &shutdown));
    let context = Arc::new(Context::new(config, cluster)?);
    let listener = server::bind(&context.config).await?;

    let (statements, wanted) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let node_name = context.config.node_name.clone();
    tasks.spawn(ok(source::follow(client.clone(), node_name, statements, shutdown.clone())));
    tasks.spawn(ok(manager::run(context.clone(), wanted, shutdown.clone())));
    tasks.spawn(ok(shutdown.clone().run_until_cancelled_owned(heartbeat(client.clone(), context.clone()))));
    tasks.spawn(ok(shutdown.clone().run_until_cancelled_owned(rotate::run(context.clone()))));
    tasks.spawn(ok(shutdown.clone().run_until_cancelled_owned(garbage::run(context.clone()))));
    if context.config.rotate_certificates {
        let keeping = renew::keep_client(credentials.clone(), client.clone());
        tasks.spawn(ok(shutdown.clone().run_until_cancelled_owned(keeping)));
    }
    if let Some(listener) = listener {
        if let Some(wanted) = serving_file(&context.config, &credentials)? {
            let keeping = renew::keep_serving(wanted, client.clone(), listener.serving());
            tasks.spawn(ok(shutdown.clone().run_until_cancelled_owned(keeping)));
        }
        tasks.spawn(server::serve(listener, context.clone(), shutdown.clone()));
    }
    tracing::info!(node = context.config.node_name, "kubelet runs");
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Error::Invalid(format!("a part of the kubelet ended unexpectedly: {error}")))??;
        if !shutdown.is_cancelled() {
            return Err(Error::Invalid("a part of the kubelet ended early".to_owned()));
        }
    }
    Ok(())
}

/// What certificate the server is to ask for: one for the node's name and addresses. None when it keeps the one that it is given.
fn serving_file(config: &Config, credentials: &Credentials) -> Result<Option<ServingFile>, Error> {
    let Some(tls) = config.tls.as_ref().filter(|_| config.server_tls_bootstrap) else { return Ok(None) };
    let authority_pem = files::read(&tls.client_ca)?.unwrap_or_default();
    Ok(Some(ServingFile {
        node: config.node_name.clone(),
        names: Names { dns: [config.node_name.clone()].into(), ips: config.addresses.iter().copied().collect() },
        file: credentials.pki_dir.join("kubelet-server-current.pem"),
        pending: credentials.pki_dir.join("kubelet-server.key.pending"),
        authority_pem,
    }))
}

/// Registers the node, then keeps its status and its lease. The event of the start comes after the registration: by then somebody is there
/// to take it.
async fn heartbeat(client: Client, context: Arc<Context>) {
    register::register(&client, &context.config).await;
    events::tell(context.cluster.as_ref(), &context.config.node_name, events::started());
    tokio::join!(report::run(client.clone(), context.clone()), lease::run(client, context.config.clone()));
}

async fn ok<T>(part: impl Future<Output = T>) -> Result<(), Error> {
    part.await;
    Ok(())
}
