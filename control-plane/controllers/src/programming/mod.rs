//! Programming: says of every NetworkPolicy, ClusterNetworkPolicy and Service whether it is in force on the nodes. Agents report how far their
//! node's kernel has come with each kind (NodeProgramming); this controller sums up: in a companion of the same name (NetworkPolicyStatus,
//! ServiceStatus), which goes with its object, and in the condition `Programmed` of a ClusterNetworkPolicy's status.
//!
//! Watches the three kinds, Nodes (which of them count), the reports, and the companions (to put back what others change). A report wakes only
//! the objects that it says something new about ([`progress`]); what stays as it was is not written again.

mod companion;
mod condition;
mod conditioned;
mod pace;
mod plan;
mod progress;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use orknet_reconciler::{ObjectKey, Watches};
use orknet_resources::kinds::programming::{NetworkPolicyStatus, NodeProgramming, ServiceStatus};
use parking_lot::Mutex;

use crate::context::Context;
use companion::{Companion, CompanionController};
use condition::ConditionController;
use conditioned::ConditionedPolicy;
use pace::Pace;
use progress::{Progress, Report};

/// The service account of these controllers.
const ACCOUNT: &str = "orknet-programming-controller";
const WORKERS: usize = 4;

/// How long a step that does not complete an object waits for others: nodes report one after the other, and a node that joins reports soon.
const SETTLING: Duration = Duration::from_secs(5);

/// Starts one controller per kind, so that ten thousand Services hold up no policy.
pub(crate) fn start(context: &Context) {
    // Of policies only the metadata is read: one with a spec that this version does not understand is told of like any other.
    start_companions::<PartialObjectMeta<NetworkPolicy>, NetworkPolicyStatus>(context);
    start_companions::<Service, ServiceStatus>(context);
    let mut watches = context.watches();
    let policies = watches.own::<ConditionedPolicy>();
    let progress = follow_reports(&mut watches, "ClusterNetworkPolicy");
    let controller = ConditionController { client: context.client_of(ACCOUNT), policies, progress, pace: Pace::default() };
    context.start(watches, controller, WORKERS);
}

fn start_companions<K, C>(context: &Context)
where
    K: orknet_reconciler::Cached + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    C: Companion,
{
    let mut watches = context.watches();
    let objects = watches.own::<K>();
    let companions = watches.own::<C>();
    let progress = follow_reports(&mut watches, &K::kind(&()));
    let controller = CompanionController { client: context.client_of(ACCOUNT), objects, companions, progress, pace: Pace::default() };
    context.start(watches, controller, WORKERS);
}

/// Keeps the nodes' progress with one kind up to date, and wakes the objects that a change of it is about.
fn follow_reports(watches: &mut Watches<ObjectKey>, kind: &str) -> Arc<Mutex<Progress>> {
    let (nodes, reports) = (watches.read::<Node>(), watches.read::<NodeProgramming>());
    let progress = Arc::new(Mutex::new(Progress::default()));
    let update = {
        let (nodes, reports, progress, queue, kind) = (nodes.clone(), reports.clone(), progress.clone(), watches.queue(), kind.to_owned());
        Arc::new(move |name: &str| {
            let key = ObjectKey::new("", name);
            let wake = {
                let mut progress = progress.lock();
                // Read under the lock: of two changes at once, the later one sees both.
                let report = nodes.get(&key).map(|node| Report::of(&kind, &node, reports.get(&key).as_deref()));
                progress.report(name, report)
            };
            wake.now.into_iter().for_each(|key| queue.add(key));
            wake.later.into_iter().for_each(|key| queue.add_after(key, SETTLING));
        })
    };
    let updated = update.clone();
    nodes.on_change(move |change| {
        if let Some(node) = change.versions().last() {
            updated(node.metadata.name.as_deref().unwrap_or_default());
        }
    });
    reports.on_change(move |change| {
        if let Some(report) = change.versions().last() {
            update(report.metadata.name.as_deref().unwrap_or_default());
        }
    });
    progress
}
