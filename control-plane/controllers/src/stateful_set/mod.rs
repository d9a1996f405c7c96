//! StatefulSet: pods with stable names, made, replaced and removed in the order of their ordinals. Watches StatefulSets (what is wanted),
//! Pods (what is there) and ControllerRevisions (the template's history). Claims made from `volumeClaimTemplates` are not made here.

mod identity;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::StatefulSet;

use crate::context::Context;
use crate::pod_control::PodControl;
use crate::revision_history::History;
use reconcile::StatefulSetController;

/// Starts the controller.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let sets = watches.own::<StatefulSet>();
    let control = PodControl::new(context, watches.controlled(&sets), "statefulset-controller", "statefulset-controller");
    let history = History { client: control.client.clone(), revisions: watches.read() };
    context.start(watches, StatefulSetController { sets, history, control }, 4);
}
