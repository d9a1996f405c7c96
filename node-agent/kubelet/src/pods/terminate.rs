//! Stops containers gracefully: preStop hook, stop signal, kill; main containers first, then sidecars in reverse order.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Context;
use super::declared::{self, Kind};
use super::hooks::{self, Target};
use super::view::{ContainerView, PodView};
use crate::error::Error;

/// The least time between the stop signal and the kill, whatever the grace period: enough for a clean exit.
pub(super) const LEAST: Duration = Duration::from_secs(2);
/// The grace period of a pod that says nothing.
const DEFAULT_SECONDS: i64 = 30;

/// The pod's grace period: that of its deletion, else that of its specification.
pub(super) fn grace(pod: &Pod) -> Duration {
    let declared = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(declared).unwrap_or(DEFAULT_SECONDS);
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// One container to stop.
#[derive(Clone, Debug)]
pub(super) struct StopRequest<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What the event says.
    pub message: String,
    /// The pod's address, for an HTTP hook.
    pub address: Option<IpAddr>,
    /// False when its hook has begun before.
    pub run_hook: bool,
}

/// Stops one container and waits for its end, at most a little longer than `grace`.
pub(super) async fn stop(context: &Context, pod: &Pod, request: &StopRequest<'_>, grace: Duration) -> Result<(), Error> {
    let begun = Instant::now();
    context.note_container(pod, request.name, false, "Killing", request.message.clone());
    let declared = declared::find(pod, request.name);
    let handler = declared.as_ref().and_then(|d| d.container.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    if let (Some(declared), Some(handler), true) = (&declared, handler, request.run_hook && grace > Duration::ZERO) {
        let target = Target { container: &declared.container, id: request.id, address: request.address };
        match tokio::time::timeout(grace, hooks::run(context, handler, target)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => context.note_container(pod, request.name, true, "FailedPreStopHook", format!("PreStopHook failed: {cause}")),
            Err(_) => tracing::debug!(container = request.name, "preStop hook used up the grace period"),
        }
    }
    let left = grace.saturating_sub(begun.elapsed()).max(LEAST);
    context.cri.stop_container(request.id, left).await
}

/// Stops everything that runs in a pod. `hooked` remembers whose hooks have begun, for when this is given up and begun again with less time.
pub(super) async fn stop_all(
    context: &Context,
    pod: &Pod,
    view: &PodView,
    grace: Duration,
    hooked: &Mutex<HashSet<String>>,
) -> Result<(), Error> {
    let begun = Instant::now();
    let sidecars: Vec<String> =
        pod.spec.iter().flat_map(declared::init).filter(|d| d.kind == Kind::Sidecar).map(|d| d.container.name.clone()).collect();
    let address = view.ready_sandbox().and_then(|s| s.ips.first()).or(context.config.addresses.first()).copied();
    let one = |container: &ContainerView| {
        let run_hook = hooked.lock().insert(container.id.clone());
        let (id, name) = (container.id.clone(), container.name.clone());
        let left = grace.saturating_sub(begun.elapsed());
        async move {
            let request = StopRequest { id: &id, name: &name, message: format!("Stopping container {name}"), address, run_hook };
            stop(context, pod, &request, left).await
        }
    };
    let mains = view.running().filter(|c| !sidecars.contains(&c.name)).map(one);
    let mut results = join_all(mains).await;
    for name in sidecars.iter().rev() {
        if let Some(container) = view.running().find(|c| c.name == *name) {
            results.push(one(container).await);
        }
    }
    results.into_iter().collect()
}
