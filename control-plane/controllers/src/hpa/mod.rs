//! HorizontalPodAutoscalers: as many pods as their load asks for (`autoscaling/v2`, the algorithm of Kubernetes 1.33). Looks at each every 15 s.
//! Watches the autoscalers alone: scales, pods and metrics are asked for when one is looked at.
//!
//! `metric` and `replicas` say what the measures ask for, `history` what may be done now, `plan` puts both together and tells of it (all pure); `target`
//! reads and writes scales, `source` asks the metrics APIs.

mod history;
mod metric;
mod plan;
mod reconcile;
mod replicas;
mod source;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use reconcile::Autoscaling;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    // What is written to the status alone is its own doing.
    let autoscalers = watches.on_change(|change: &Change<HorizontalPodAutoscaler>, queue| {
        let spec = |version: &Option<std::sync::Arc<HorizontalPodAutoscaler>>| version.as_ref().map(|object| object.spec.clone());
        if spec(&change.old) != spec(&change.new)
            && let Some(object) = change.versions().last()
        {
            queue.add(ObjectKey::of(&object.metadata));
        }
    });
    let period = Duration::from_secs(context.config.autoscaler_sync_seconds.max(1).into());
    let client = context.client_of("horizontal-pod-autoscaler");
    let recorder = context.recorder("horizontal-pod-autoscaler", &client);
    let controller = Autoscaling::new(client, autoscalers, recorder, period);
    context.start(watches, controller, 5);
}
