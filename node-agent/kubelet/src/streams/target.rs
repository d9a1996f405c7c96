//! Finds what a stream is about: the running container, or the pod's sandbox.

use axum::http::StatusCode;

use crate::pods::view::PodView;
use crate::pods::{Context, PodKey, observe};

/// A refusal, as HTTP.
pub(super) type Refusal = (StatusCode, String);

/// What runs for a pod of this node.
pub(super) async fn view(context: &Context, namespace: &str, name: &str) -> Result<PodView, Refusal> {
    let named = |key: &PodKey| key.namespace == namespace && key.name == name;
    let uid = context.known.read().values().map(|pod| PodKey::of(pod)).find(named).map(|key| key.uid);
    let Some(uid) = uid else {
        return Err((StatusCode::NOT_FOUND, format!("pod \"{name}\" not found in namespace \"{namespace}\" on this node")));
    };
    observe::observe(context, &uid).await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The id of a running container.
pub(super) async fn container(context: &Context, namespace: &str, pod: &str, container: &str) -> Result<String, Refusal> {
    let view = view(context, namespace, pod).await?;
    let running = view.running().find(|c| c.name == container).map(|c| c.id.clone());
    running.ok_or_else(|| (StatusCode::NOT_FOUND, format!("container \"{container}\" is not running in pod \"{pod}\"")))
}

/// The id of the running sandbox.
pub(super) async fn sandbox(context: &Context, namespace: &str, pod: &str) -> Result<String, Refusal> {
    let view = view(context, namespace, pod).await?;
    let sandbox = view.ready_sandbox().map(|s| s.id.clone());
    sandbox.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" is not running")))
}
