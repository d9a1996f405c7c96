//! `GET /metrics`: a few numbers in the Prometheus text format.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::cri::proto::ContainerState;
use crate::node::machine::KUBELET_VERSION;
use crate::pods::Context;

/// Answers with the numbers of this moment.
pub(super) async fn metrics(State(context): State<Arc<Context>>) -> Response {
    let pods = context.known.read().len();
    let containers = context.cri.list_containers(Default::default()).await;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut gauge = |name: &str, help: &str, labels: &str, value: usize| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}");
    };
    gauge("kubernetes_build_info", "Version of the kubelet.", &format!("{{git_version=\"{KUBELET_VERSION}\"}}"), 1);
    gauge("kubelet_working_pods", "Pods that this kubelet works on.", "", pods);
    gauge("kubelet_runtime_up", "1 when the container runtime answers.", "", usize::from(containers.is_ok()));
    if let Ok(containers) = containers {
        let running = containers.iter().filter(|c| c.state == ContainerState::ContainerRunning as i32).count();
        gauge("kubelet_running_containers", "Containers that run.", "{container_state=\"running\"}", running);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
