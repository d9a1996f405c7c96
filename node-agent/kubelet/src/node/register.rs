//! Creates the Node, or brings the labels of an existing one up to date. Tries until it succeeds.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::object::{fixed_labels, node};
use crate::config::Config;
use crate::error::Error;

/// Time between tries while the server is away.
const RETRY: Duration = Duration::from_secs(1);

/// Registers the node; returns when it is there.
pub async fn register(client: &Client, config: &Config) {
    loop {
        match attempt(client, config).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "node not registered yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn attempt(client: &Client, config: &Config) -> Result<(), Error> {
    let api: Api<Node> = Api::all(client.clone());
    let name = &config.node_name;
    match api.create(&PostParams::default(), &node(config)).await {
        Ok(_) => {
            tracing::info!(node = name, "node registered");
            return Ok(());
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(Error::api(format!("create node {name}"))(error)),
    }
    // Taints of an existing node are whatever people have made of them.
    let mut labels = config.labels.clone();
    labels.extend(fixed_labels(config));
    let body = json!({"metadata": {"labels": labels}});
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(body)).await;
    patched.map(drop).map_err(Error::api(format!("label node {name}")))
}
