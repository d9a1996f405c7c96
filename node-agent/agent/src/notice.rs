//! What the agent tells the cluster about its node: a condition of the Node for each matter, and events about what is new. What is wrong is
//! others' decision ([`crate::room`], [`crate::degraded`]); this file says it, and says it again if the API server did not take it.

use k8s_openapi::api::core::v1::{Event, Node};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

/// Who tells.
const COMPONENT: &str = "orknet-agent";
/// Before a report that the API server did not take is tried again; doubled up to a minute.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A condition of the Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Something is wrong.
    pub is_true: bool,
    pub reason: &'static str,
    pub message: String,
}

/// An event about something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Of what it is about, and so of the event; that of events about Nodes is `default`.
    pub namespace: String,
    /// Reference to what it is about.
    pub about: Value,
    pub reason: &'static str,
    pub message: String,
}

/// Something about the node that may be wrong.
pub trait Matter: Default + Clone + PartialEq {
    /// What the node says of it.
    fn condition(&self) -> Condition;
    /// Events about what is wrong now and was not when `told` was told.
    fn warnings(&self, node: &str, told: &Self) -> Vec<Warning>;
}

/// An event about the node itself.
pub fn about_node(node: &str, reason: &'static str, message: String) -> Warning {
    // A node's name stands for its uid, as in a kubelet's events: by that, clients find them.
    let about = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": node });
    Warning { namespace: "default".into(), about, reason, message }
}

/// Keeps the node's condition about a matter, and tells of what is new, until nobody knows of it any more. `matter` is what is known; before
/// anything is, nothing is told. What the API server does not take is tried again.
pub async fn report<K, M: Matter>(client: Client, node: String, mut known: watch::Receiver<K>, matter: impl Fn(&K) -> Option<M>) {
    let mut told = M::default();
    let mut retry = FIRST_RETRY;
    loop {
        let current = matter(&known.borrow_and_update());
        let outcome = match &current {
            Some(current) => tell(&client, &node, current, &mut told).await,
            None => Ok(()),
        };
        let changed = match outcome {
            Ok(()) => {
                retry = FIRST_RETRY;
                known.changed().await
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell the API server how the node is; trying again");
                let again = tokio::time::timeout(retry, known.changed()).await;
                retry = (retry * 2).min(LAST_RETRY);
                again.unwrap_or(Ok(()))
            }
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn tell<M: Matter>(client: &Client, node: &str, current: &M, told: &mut M) -> Result<(), kube::Error> {
    keep_condition(client, node, &current.condition()).await?;
    for warning in current.warnings(node, told) {
        let events: Api<Event> = Api::namespaced(client.clone(), &warning.namespace);
        let namespace = warning.namespace.clone();
        let event = serde_json::from_value(event(node, warning)).map_err(kube::Error::SerdeError)?;
        match events.create(&PostParams::default(), &event).await {
            // Its namespace goes, or is full: nobody is helped by the others' being told again.
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
                tracing::info!(namespace, error = %status, "an event was refused");
            }
            created => drop(created?),
        }
    }
    told.clone_from(current);
    Ok(())
}

async fn keep_condition(client: &Client, name: &str, wanted: &Condition) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.get(name).await?;
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == wanted.kind);
    let status = if wanted.is_true { "True" } else { "False" };
    if known.is_some_and(|known| known.status == status && known.message.as_ref() == Some(&wanted.message)) {
        return Ok(());
    }
    let now = now();
    let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    let since = since.map_or_else(|| json!(now), |since| json!(since));
    let condition = json!({
        "type": wanted.kind, "status": status, "reason": wanted.reason, "message": wanted.message,
        "lastHeartbeatTime": now, "lastTransitionTime": since,
    });
    let patch = json!({ "status": { "conditions": [condition] } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

fn event(node: &str, warning: Warning) -> Value {
    let now = now();
    let name = warning.about["name"].as_str().unwrap_or(node);
    json!({
        "metadata": { "generateName": format!("{name}.") }, "involvedObject": warning.about, "type": "Warning", "reason": warning.reason,
        "message": warning.message, "source": { "component": COMPONENT, "host": node }, "reportingComponent": COMPONENT,
        "reportingInstance": node, "count": 1, "firstTimestamp": now, "lastTimestamp": now,
    })
}

/// To the second, as the API has it.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
