//! Which pods the API server wants on this node, as a stream of [`Wanted`].

use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A statement about wanted pods.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These and no others.
    All(Vec<Arc<Pod>>),
    /// This one, as it is now.
    One(Arc<Pod>),
    /// This one is gone from the API.
    Gone(Arc<Pod>),
}

/// Follows the pods of `node` until `shutdown`, or until nobody listens. Interruptions are repaired by a new full statement.
pub async fn follow(client: Client, node: String, wanted: mpsc::Sender<Wanted>, shutdown: CancellationToken) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let stream = watcher(Api::<Pod>::all(client), config).backoff(super::reconnect::Reconnect);
    pin_mut!(stream);
    let mut listed = Vec::new();
    while let Some(Some(event)) = shutdown.run_until_cancelled(stream.next()).await {
        let statement = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(pod)) => {
                listed.push(Arc::new(pod));
                continue;
            }
            Ok(watcher::Event::InitDone) => Wanted::All(std::mem::take(&mut listed)),
            Ok(watcher::Event::Apply(pod)) => Wanted::One(Arc::new(pod)),
            Ok(watcher::Event::Delete(pod)) => Wanted::Gone(Arc::new(pod)),
            Err(error) => {
                tracing::warn!(%error, "watch of pods interrupted");
                continue;
            }
        };
        if wanted.send(statement).await.is_err() {
            return;
        }
    }
}
