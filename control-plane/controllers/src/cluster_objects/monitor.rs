//! One kind's metadata watch, which feeds the graph.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;

use super::{ClusterObjects, Event as Told, Kind, Meta, Node};

/// Follows one kind until `stop`.
pub(super) async fn follow(objects: Arc<ClusterObjects>, kind: Arc<Kind>, stop: CancellationToken) {
    let api = Api::<Meta>::all_with(objects.client.clone(), &kind.resource);
    let mut events = pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = HashSet::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(object))) => {
                if let Some(node) = Node::new(&kind, &object.metadata) {
                    listed.insert(node.uid.clone());
                    objects.upsert(node);
                }
            }
            Some(Ok(Event::InitDone)) => {
                let known = objects.read(|graph| graph.of_kind(&kind.id()));
                known.iter().filter(|uid| !listed.contains(*uid)).for_each(|uid| objects.remove(uid));
                listed = HashSet::new();
                objects.tell(&Told::Listed(kind.clone()));
            }
            Some(Ok(Event::Apply(object))) => {
                if let Some(node) = Node::new(&kind, &object.metadata) {
                    objects.upsert(node);
                }
            }
            Some(Ok(Event::Delete(object))) => {
                if let Some(uid) = &object.metadata.uid {
                    objects.remove(&uid.as_str().into());
                }
            }
            Some(Err(error)) => tracing::debug!(kind = kind.id(), %error, "metadata watch interrupted"),
            None => return,
        }
    }
}
