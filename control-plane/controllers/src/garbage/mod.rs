//! Garbage collection by owner references: deletes objects whose owners are all gone, and carries out foreground and orphaning deletions.
//! Watches the metadata of all kinds (cluster_objects). An owner that is not in the graph is asked for by name before anything is deleted.

mod plan;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use orknet_reconciler::WorkQueue;

use crate::cluster_objects::{ClusterObjects, Event, Graph, Uid};
use crate::context::Context;
use reconcile::GarbageCollector;

/// Starts the collector.
pub(crate) fn start(context: &Context, objects: &Arc<ClusterObjects>) {
    let watches = context.watches();
    let queue = watches.queue();
    objects.on_event(move |graph, event| wake(&queue, graph, event));
    context.start(watches, GarbageCollector { client: context.client_of("generic-garbage-collector"), objects: objects.clone() }, 8);
}

fn wake(queue: &WorkQueue<Uid>, graph: &Graph, event: &Event) {
    match event {
        Event::Changed { uid, .. } => {
            let Some(node) = graph.get(uid) else { return };
            if !node.owners.is_empty() || node.deleting && (node.foreground || node.orphan) {
                queue.add(uid.clone());
            }
            // Dependents of an owner in foreground deletion go now.
            if node.deleting && node.foreground {
                graph.dependents(uid).for_each(|dependent| queue.add(dependent.uid.clone()));
            }
        }
        Event::Removed(node) => graph.dependents(&node.uid).for_each(|dependent| queue.add(dependent.uid.clone())),
        Event::Listed(_) => return,
    }
    // An owner may wait for this dependent: it is gone, or names the owner no more.
    let owners = match event {
        Event::Changed { owners_before, .. } => owners_before,
        Event::Removed(node) => &node.owners,
        Event::Listed(_) => return,
    };
    for owner in owners {
        if graph.get(&owner.uid).is_some_and(|owner| owner.deleting && (owner.foreground || owner.orphan)) {
            queue.add(owner.uid.clone());
        }
    }
}
