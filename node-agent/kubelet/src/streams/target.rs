//! Finds what a stream is about: the running container, or the pod's sandbox.

use std::time::Duration;

use axum::http::StatusCode;
use k8s_openapi::jiff::Timestamp;

use crate::pods::view::{ContainerView, PodView};
use crate::pods::{Context, PodKey, observe};

/// A refusal, as HTTP.
pub(super) type Refusal = (StatusCode, String);

/// A container is young for this long after its start.
const YOUNG: Duration = Duration::from_millis(500);
/// Time between looks at a young one.
const LOOK: Duration = Duration::from_millis(50);

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
    running(context, namespace, pod, container).await.map(|run| run.id)
}

/// The id of a running container that has not begun just now. A process that writes a line and ends would be gone, and the line with it,
/// while the stream is set up; with the refusal `kubectl run -i` turns to the log, where everything is.
pub(super) async fn lasting_container(context: &Context, namespace: &str, pod: &str, container: &str) -> Result<String, Refusal> {
    loop {
        let run = running(context, namespace, pod, container).await?;
        let begun = Timestamp::from_nanosecond(i128::from(run.started_at)).unwrap_or(Timestamp::MIN);
        // A clock that was set back must not hold anybody for long.
        let age = Timestamp::now().duration_since(begun).unsigned_abs();
        if age >= YOUNG {
            return Ok(run.id);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn running(context: &Context, namespace: &str, pod: &str, container: &str) -> Result<ContainerView, Refusal> {
    let view = view(context, namespace, pod).await?;
    let running = view.running().find(|c| c.name == container).cloned();
    running.ok_or_else(|| (StatusCode::NOT_FOUND, format!("container not found (\"{container}\")")))
}

/// The id of the running sandbox.
pub(super) async fn sandbox(context: &Context, namespace: &str, pod: &str) -> Result<String, Refusal> {
    let view = view(context, namespace, pod).await?;
    let sandbox = view.ready_sandbox().map(|s| s.id.clone());
    sandbox.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" is not running")))
}
