//! The Node authorizer over the pods and volumes in the caches. Its graph is brought up to date before every question, so it is as new as what watches
//! show: whoever has been told of a pod's binding may read what the pod needs.

use crate::cache::{Caches, Change, ChangeKind, Cursor};
use crate::kinds::StoredAs;
use orknet_auth::Identity;
use orknet_auth::authz::Attributes;
use orknet_auth::node::references::{of_pod, of_volume};
use orknet_auth::node::{Graph, NoOpinion, authorize};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const PODS: StoredAs = ("", "pods");
const SOURCES: [(StoredAs, Source); 3] = [
    (PODS, Source::Pods),
    (("", "persistentvolumes"), Source::Volumes),
    // Where the kind is served.
    (("storage.k8s.io", "volumeattachments"), Source::Attachments),
];

/// Where an edge of the graph is from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Pods,
    Volumes,
    Attachments,
}

/// See the module.
pub struct Nodes {
    caches: Arc<Caches>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    graph: Graph,
    /// Where the graph is in each source; empty before it has been built.
    cursors: Vec<(Source, Cursor)>,
}

impl Nodes {
    pub fn new(caches: Arc<Caches>) -> Self {
        Self { caches, state: Mutex::default() }
    }

    /// Whether the kubelet or agent of `node` may, as the caches are now.
    pub fn authorize(
        &self,
        node: &str,
        who: &Identity,
        what: &Attributes<'_>,
        selected: impl Fn(&str) -> Option<String>,
    ) -> Result<(), NoOpinion> {
        let mut state = self.state.lock();
        state.catch_up(&self.caches);
        authorize(node, who, what, selected, &state.graph)
    }

    /// Takes pods' changes up as they come, so that no question finds many, until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let Some(cache) = self.caches.of(PODS) else { return };
        let mut cursor = cache.end();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = cursor.wait() => {}
            }
            self.state.lock().catch_up(&self.caches);
        }
    }
}

impl State {
    fn catch_up(&mut self, caches: &Caches) {
        if self.cursors.is_empty() || !self.replay() {
            self.rebuild(caches);
        }
    }

    /// Applies what has changed; false when a source has forgotten some of it.
    fn replay(&mut self) -> bool {
        for (source, cursor) in &mut self.cursors {
            loop {
                let Ok(changes) = cursor.ready() else { return false };
                if changes.is_empty() {
                    break;
                }
                for Change { kind, object, .. } in changes {
                    let value = || (kind == ChangeKind::Put).then(|| object.value());
                    // Most changes of a pod are of its state before and after it is bound: the field is at hand, the whole pod is not.
                    match source {
                        Source::Pods if object.field("spec.nodeName").is_none_or(str::is_empty) => self.graph.set_pod(&object.tail, None),
                        _ => set(&mut self.graph, *source, &object.tail, value().as_ref()),
                    }
                }
            }
        }
        true
    }

    fn rebuild(&mut self, caches: &Caches) {
        *self = Self::default();
        for (kind, source) in SOURCES {
            let Some(cache) = caches.of(kind) else { continue };
            let snapshot = cache.snapshot("");
            for object in &snapshot.objects {
                set(&mut self.graph, source, &object.tail, Some(&object.value()));
            }
            self.cursors.push((source, snapshot.cursor));
        }
    }
}

/// States what an object is now; `None`: gone.
fn set(graph: &mut Graph, source: Source, tail: &str, value: Option<&Value>) {
    match source {
        Source::Pods => graph.set_pod(tail, value.and_then(of_pod)),
        Source::Volumes => graph.set_volume(tail, value.and_then(of_volume)),
        Source::Attachments => {
            let node = value.and_then(|value| value.pointer("/spec/nodeName")).and_then(Value::as_str);
            graph.set_attachment(tail, node.filter(|node| !node.is_empty()));
        }
    }
}
