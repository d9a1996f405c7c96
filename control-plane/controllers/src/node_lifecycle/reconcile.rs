//! One pass over a node: note signs of life, plan, write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder, pod_state};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::LEASE_NAMESPACE;
use super::plan::{self, Observed};
use super::registry::Registry;
use super::taints::{self, Eviction};
use super::zones::{self, Pace, Turns};
use crate::context::Context;
use crate::pod_conditions;

pub(super) struct NodeLifecycleController {
    client: Client,
    nodes: Arc<Informer<Node>>,
    leases: Arc<Informer<Lease>>,
    pods: Arc<Informer<Pod>>,
    recorder: Recorder,
    grace: Duration,
    registry: Mutex<Registry>,
    signs: Mutex<HashMap<Arc<str>, Sign>>,
    turns: Mutex<Turns>,
}

/// The last sign of life of a kubelet, and when we saw it by our own clock.
struct Sign {
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
    seen: Instant,
}

impl Reconciler for NodeLifecycleController {
    type Key = Arc<str>;
    const NAME: &'static str = "node-lifecycle";

    async fn reconcile(&self, name: &Arc<str>) -> Result<Next, Error> {
        let node = self.nodes.get(&ObjectKey::new("", name));
        self.register(name, node.as_deref());
        let Some(node) = node else {
            self.signs.lock().remove(name);
            return Ok(Next::Change);
        };
        let silent = self.silent(name, &node);
        let (eviction, wait) = self.eviction(name, &node);
        let now = Timestamp::now();
        let plan = plan::plan(&Observed { node: &node, silent, grace: self.grace, eviction, now });
        let api = Api::<Node>::all(self.client.clone());
        let version = &node.metadata.resource_version;
        if let Some(conditions) = &plan.conditions {
            let patch = json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": conditions } });
            let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            self.nodes.record(written.map_err(Error::api(format!("writing the conditions of node {name}")))?);
            tracing::warn!(node = %name, silent_seconds = silent.as_secs(), "the node's kubelet is silent");
            if plan.became_unready {
                let message = format!("Node {name} status is now: NodeNotReady");
                self.recorder.record(&reference(name, &uid(&node)), EventType::Normal, "NodeNotReady", message);
            }
            // The taints come with the next pass, on the new version.
            return Ok(Next::After(Duration::ZERO));
        }
        if let Some(taints) = &plan.taints {
            let taints = Some(taints).filter(|taints| !taints.is_empty());
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
            let written = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            self.nodes.record(written.map_err(Error::api(format!("writing the taints of node {name}")))?);
        }
        if plan.lost {
            self.mark_pods(name, now).await?;
        }
        Ok(plan.recheck.into_iter().chain(wait).min().map_or(Next::Change, Next::After))
    }
}

impl NodeLifecycleController {
    pub fn new(context: &Context, nodes: Arc<Informer<Node>>, leases: Arc<Informer<Lease>>, pods: Arc<Informer<Pod>>) -> Self {
        let client = context.client_of("node-controller");
        Self {
            recorder: context.recorder("node-controller", &client),
            client,
            nodes,
            leases,
            pods,
            grace: Duration::from_secs(context.config.node_monitor_grace_seconds.into()),
            registry: Mutex::default(),
            signs: Mutex::new(HashMap::new()),
            turns: Mutex::default(),
        }
    }

    /// Tells of nodes that came or went.
    fn register(&self, name: &Arc<str>, node: Option<&Node>) {
        let notices = self.registry.lock().note(name, node.map(uid).as_deref());
        for notice in notices {
            self.recorder.record(&reference(name, &notice.uid), EventType::Normal, notice.reason, notice.message);
        }
    }

    /// Whether the node's pods may be driven away, and after which time to ask again.
    fn eviction(&self, name: &Arc<str>, node: &Node) -> (Eviction, Option<Duration>) {
        let (zone, nodes) = (zones::zone_of(node), self.nodes.all());
        match zones::pace(&zone, nodes.iter().map(|node| &**node)) {
            Pace::Revoked => (Eviction::Revoked, None),
            _ if !taints::waits_for_eviction(node) => (Eviction::Held, None),
            Pace::Stopped => {
                tracing::debug!(node = %name, "pods stay on the lost node: most nodes of its zone are lost");
                (Eviction::Held, None)
            }
            Pace::OneEvery(time) => match self.turns.lock().take(zone, name, time, Instant::now()) {
                Ok(()) => (Eviction::Due, None),
                Err(wait) => (Eviction::Held, Some(wait)),
            },
        }
    }

    fn silent(&self, name: &Arc<str>, node: &Node) -> Duration {
        let lease = self.leases.get(&ObjectKey::new(LEASE_NAMESPACE, name));
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let heartbeat = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Ready"))
            .and_then(|ready| ready.last_heartbeat_time.clone());
        let mut signs = self.signs.lock();
        let sign = signs.entry(name.clone()).or_insert_with(|| Sign { renewed: None, heartbeat: None, seen: Instant::now() });
        if sign.renewed != renewed || sign.heartbeat != heartbeat {
            *sign = Sign { renewed, heartbeat, seen: Instant::now() };
        }
        sign.seen.elapsed()
    }

    /// Pods on a lost node are not known to serve: their Ready condition becomes False.
    async fn mark_pods(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        let on_node = |pod: &Arc<Pod>| pod_state::node_of(pod) == Some(node) && pod_state::is_ready(pod);
        for pod in self.pods.all().into_iter().filter(on_node) {
            let not_ready = pod_conditions::condition("Ready", "False", now);
            let Some(written) = pod_conditions::write(&self.client, &pod, not_ready, None).await? else { continue };
            self.pods.record(written);
            self.recorder.record(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready".into());
        }
        Ok(())
    }
}

fn uid(node: &Node) -> String {
    node.metadata.uid.clone().unwrap_or_default()
}

/// What Events about a node are about: the node, in no particular version.
fn reference(name: &str, uid: &str) -> Node {
    let metadata = ObjectMeta { name: Some(name.to_owned()), uid: Some(uid.to_owned()), ..ObjectMeta::default() };
    Node { metadata, ..Node::default() }
}
