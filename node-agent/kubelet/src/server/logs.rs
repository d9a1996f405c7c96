//! `GET /containerLogs/{namespace}/{pod}/{container}`: a container's log, now or as it grows.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::Instant;

use crate::cri::Cri;
use crate::cri::proto::ContainerState;
use crate::logs::follow::{Source, stream};
use crate::logs::select::Options;
use crate::pods::view::PodView;
use crate::pods::{Context, PodKey, declared, observe};
use crate::status::reason;

/// containerd is asked at most this often whether the container still runs.
const ASK: Duration = Duration::from_millis(500);

/// The query, named as `PodLogOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Asked {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<i64>,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
    limit_bytes: Option<i64>,
}

impl Asked {
    fn options(&self, now: Timestamp) -> Result<Options, &'static str> {
        let natural = |value: Option<i64>, wrong| value.map(u64::try_from).transpose().map_err(|_| wrong);
        let ago = self.since_seconds.map(|s| now.checked_sub(SignedDuration::from_secs(s)).map_err(|_| "sinceSeconds is out of range"));
        Ok(Options {
            follow: self.follow,
            tail_lines: natural(self.tail_lines, "tailLines must not be negative")?,
            since: self.since_time.or(ago.transpose()?),
            timestamps: self.timestamps,
            limit_bytes: natural(self.limit_bytes, "limitBytes must not be negative")?,
        })
    }
}

/// Answers with the log.
pub(super) async fn logs(
    State(context): State<Arc<Context>>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let refuse = |code: StatusCode, message: String| (code, message).into_response();
    let options = match asked.options(Timestamp::now()) {
        Ok(options) => options,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, message.to_owned()),
    };
    let pod = context.known.read().values().find(|p| is_named(&PodKey::of(p), &namespace, &name)).cloned();
    let Some(pod) = pod else {
        return refuse(StatusCode::NOT_FOUND, format!("pod \"{name}\" not found in namespace \"{namespace}\" on this node"));
    };
    if declared::find(&pod, &container).is_none() {
        return refuse(StatusCode::NOT_FOUND, format!("container \"{container}\" not found in pod \"{name}\""));
    }
    let view = match observe::observe(&context, &PodKey::of(&pod).uid).await {
        Ok(view) => view,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let Some((id, path)) = choose(&view, &container, asked.previous) else {
        let message = if asked.previous {
            format!("previous terminated container \"{container}\" in pod \"{name}\" not found")
        } else {
            format!("container \"{container}\" in pod \"{name}\" is waiting to start: {}", why_waiting(&pod, &container))
        };
        return refuse(StatusCode::BAD_REQUEST, message);
    };
    let source = Running { cri: context.cri.clone(), id, asked: None };
    match stream(FilePath::new(&path), &options, source) {
        Ok(stream) => Body::from_stream(stream).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to open log file \"{path}\": {error}")),
    }
}

fn is_named(key: &PodKey, namespace: &str, name: &str) -> bool {
    key.namespace == namespace && key.name == name
}

/// Why a container has no run yet, as last reported.
fn why_waiting(pod: &Pod, container: &str) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let lists = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let status = lists.into_iter().flatten().flatten().find(|s| s.name == container);
    match status.and_then(|s| s.state?.waiting?.reason).as_deref() {
        Some(reason::ERR_IMAGE_PULL) => "image can't be pulled".to_owned(),
        Some(reason::IMAGE_PULL_BACK_OFF) => "trying and failing to pull image".to_owned(),
        other => other.unwrap_or("ContainerCreating").to_owned(),
    }
}

/// Id and log file of the newest run, or of the one before.
fn choose(view: &PodView, container: &str, previous: bool) -> Option<(String, String)> {
    let run = if previous { view.previous(container) } else { view.latest(container) }?;
    Some((run.id.clone(), run.log_path.clone())).filter(|(_, path)| !path.is_empty())
}

struct Running {
    cri: Cri,
    id: String,
    asked: Option<Instant>,
}

impl Source for Running {
    async fn is_running(&mut self) -> bool {
        if self.asked.is_some_and(|at| at.elapsed() < ASK) {
            return true;
        }
        self.asked = Some(Instant::now());
        match self.cri.container_status(&self.id).await {
            Ok(Some(status)) => matches!(status.state(), ContainerState::ContainerRunning | ContainerState::ContainerCreated),
            Ok(None) => false,
            // containerd is away: the container may well go on.
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_a_run_says_why() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"status": {
            "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "CreateContainerConfigError"}}}],
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        }}))
        .unwrap();
        assert_eq!(why_waiting(&pod, "c"), "trying and failing to pull image");
        assert_eq!(why_waiting(&pod, "i"), "CreateContainerConfigError");
        assert_eq!(why_waiting(&Pod::default(), "c"), "ContainerCreating");
    }

    #[test]
    fn a_query_becomes_options() {
        let now = Timestamp::from_second(1000).unwrap();
        let asked = Asked { since_seconds: Some(60), tail_lines: Some(3), ..Asked::default() };
        let made = asked.options(now).unwrap();
        assert_eq!((made.since, made.tail_lines), (Some(Timestamp::from_second(940).unwrap()), Some(3)));
        assert!(Asked { tail_lines: Some(-1), ..Asked::default() }.options(now).is_err());
    }
}
