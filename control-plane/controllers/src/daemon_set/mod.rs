//! DaemonSet: one pod on every node that it wants and may have. Watches DaemonSets (what is wanted), Nodes (labels and taints decide
//! where), Pods (what is there) and ControllerRevisions (the template's history).

mod backoff;
mod placement;
mod plan;
mod reconcile;
mod rolling;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use orknet_reconciler::{Change, ObjectKey};

use crate::context::Context;
use crate::pod_control::PodControl;
use crate::revision_history::History;
use reconcile::DaemonSetController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let sets = watches.own::<DaemonSet>();
    let control = PodControl::new(context, watches.controlled(&sets), "daemonset-controller", "daemon-set-controller");
    let all = sets.clone();
    let nodes = watches.on_change(move |change, queue| {
        if moves_pods(change) {
            all.all().iter().for_each(|set| queue.add(ObjectKey::of(&set.metadata)));
        }
    });
    let history = History { client: control.client.clone(), revisions: watches.read() };
    let controller = DaemonSetController { sets, nodes, history, control, backoff: backoff::Backoff::default() };
    context.start(watches, controller, 4);
}

/// Whether a node came, went, or changed in what placement looks at. Heartbeats do not count.
fn moves_pods(change: &Change<Node>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let looked_at = |node: &Node| (node.metadata.labels.clone(), node.spec.as_ref().and_then(|spec| spec.taints.clone()));
    looked_at(old) != looked_at(new)
}
