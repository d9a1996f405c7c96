//! What `kubectl get pods` shows: the one word that says how a pod is, and how often its containers were restarted.

use crate::contract::Column;
use crate::table::{self, text, wide};
use crate::typed::or_empty;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

pub const COLUMNS: &[Column] = &[
    table::NAME,
    text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    text("Status", "The aggregate status of the containers in this pod."),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    table::AGE,
    wide("IP", "The address of the pod"),
    wide("Node", "The node that the pod is bound to"),
    wide("Nominated Node", "The node where room is made for the pod"),
    wide("Readiness Gates", "Conditions that the pod's readiness waits for"),
];

/// What the statuses of the containers add up to.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Time>,
}

pub fn cells(pod: &Pod, now: i64) -> Vec<Value> {
    let spec = or_empty(&pod.spec);
    let status = or_empty(&pod.status);
    let summary = summarise(&spec, &status);
    let total = spec.containers.len() + spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).count();
    let phase = status.phase.as_deref().unwrap_or_default();
    let reason = match pod.metadata.deletion_timestamp {
        Some(_) if status.reason.as_deref() == Some("NodeLost") => "Unknown",
        Some(_) if !matches!(phase, "Succeeded" | "Failed") => "Terminating",
        _ => &summary.reason,
    };
    let restarts = match &summary.last_restart {
        Some(time) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, table::since(Some(time), now)),
        _ => summary.restarts.to_string(),
    };
    let ip = status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|ip| ip.ip.as_str()).or(status.pod_ip.as_deref());
    vec![
        table::name(&pod.metadata),
        format!("{}/{total}", summary.ready).into(),
        reason.into(),
        restarts.into(),
        table::age(&pod.metadata, now),
        table::or_none(ip),
        table::or_none(spec.node_name.as_deref()),
        table::or_none(status.nominated_node_name.as_deref()),
        gates(&spec, &status).into(),
    ]
}

fn summarise(spec: &PodSpec, status: &PodStatus) -> Summary {
    let mut reason = status.phase.clone().unwrap_or_default();
    if let Some(text) = status.reason.as_ref().filter(|r| !r.is_empty()) {
        reason.clone_from(text);
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated")) {
        "SchedulingGated".clone_into(&mut reason);
    }
    let holds = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");

    let mut all = Summary { reason, ready: 0, restarts: 0, last_restart: None };
    let mut sidecars = (0, None);
    let mut initializing = false;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (i, container) in status.init_container_statuses.iter().flatten().enumerate() {
        all.count(container);
        let sidecar = init.iter().any(|c| c.name == container.name && is_sidecar(c));
        if sidecar {
            sidecars.0 += i64::from(container.restart_count);
            later(&mut sidecars.1, container);
        }
        if terminated(container).is_some_and(|t| t.exit_code == 0) {
            continue;
        }
        if sidecar && container.started == Some(true) {
            all.ready += usize::from(container.ready);
            continue;
        }
        all.reason = match (terminated(container), waiting(container)) {
            (Some(end), _) => format!("Init:{}", end_reason(end)),
            (None, Some(reason)) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{i}/{}", init.len()),
        };
        initializing = true;
        break;
    }
    if initializing && !holds("Initialized") {
        return all;
    }
    (all.restarts, all.last_restart) = sidecars;
    let mut running = false;
    for container in status.container_statuses.iter().flatten().rev() {
        all.count(container);
        if let Some(reason) = waiting(container) {
            reason.clone_into(&mut all.reason);
        } else if let Some(end) = terminated(container) {
            all.reason = end_reason(end);
        } else if container.ready && container.state.as_ref().is_some_and(|s| s.running.is_some()) {
            running = true;
            all.ready += 1;
        }
    }
    if all.reason == "Completed" && running {
        (if holds("Ready") { "Running" } else { "NotReady" }).clone_into(&mut all.reason);
    }
    all
}

impl Summary {
    fn count(&mut self, container: &ContainerStatus) {
        self.restarts += i64::from(container.restart_count);
        later(&mut self.last_restart, container);
    }
}

fn later(last: &mut Option<Time>, container: &ContainerStatus) {
    let finished = container.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.finished_at.clone());
    if finished > *last {
        *last = finished;
    }
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref().and_then(|s| s.terminated.as_ref())
}

fn waiting(container: &ContainerStatus) -> Option<&str> {
    container.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.as_deref()).filter(|r| !r.is_empty())
}

fn end_reason(end: &ContainerStateTerminated) -> String {
    match (end.reason.as_deref().unwrap_or_default(), end.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", end.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// An init container that keeps running beside the others.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open =
        gates.iter().filter(|g| status.conditions.iter().flatten().any(|c| c.type_ == g.condition_type && c.status == "True")).count();
    format!("{open}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::super::Pod as Kind;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    fn row(pod: Value) -> Vec<Value> {
        Typed::<Kind>::NEW.cells(&pod, 100)
    }

    fn container(state: Value) -> Value {
        json!({"name": "a", "image": "", "imageID": "", "ready": state.get("running").is_some(), "restartCount": 0, "state": state})
    }

    #[test]
    fn the_status_is_the_word_that_says_most() {
        let running = container(json!({"running": {}}));
        let crashed = container(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let completed = container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
        let failed = container(json!({"terminated": {"exitCode": 3}}));
        let killed = container(json!({"terminated": {"exitCode": 137, "signal": 9}}));
        let waiting = container(json!({"waiting": {"reason": "PodInitializing"}}));
        let ready = json!([{"type": "Ready", "status": "True"}]);
        for (status, ready, word) in [
            (json!({"phase": "Pending"}), "0/2", "Pending"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted"),
            (json!({"phase": "Running", "containerStatuses": [running, running]}), "2/2", "Running"),
            (json!({"phase": "Running", "containerStatuses": [crashed, running]}), "1/2", "CrashLoopBackOff"),
            (json!({"phase": "Succeeded", "containerStatuses": [completed, completed]}), "0/2", "Completed"),
            (json!({"phase": "Running", "containerStatuses": [completed, running], "conditions": ready}), "1/2", "Running"),
            (json!({"phase": "Running", "containerStatuses": [completed, running]}), "1/2", "NotReady"),
            (json!({"phase": "Failed", "containerStatuses": [failed]}), "0/2", "ExitCode:3"),
            (json!({"phase": "Failed", "containerStatuses": [killed]}), "0/2", "Signal:9"),
            (json!({"phase": "Pending", "initContainerStatuses": [waiting], "containerStatuses": [waiting]}), "0/2", "Init:0/2"),
            (json!({"phase": "Pending", "initContainerStatuses": [completed, waiting]}), "0/2", "Init:1/2"),
            (json!({"phase": "Pending", "initContainerStatuses": [failed]}), "0/2", "Init:ExitCode:3"),
            (json!({"phase": "Pending", "initContainerStatuses": [crashed]}), "0/2", "Init:CrashLoopBackOff"),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                "0/2",
                "SchedulingGated",
            ),
        ] {
            let pod = json!({"metadata": {"name": "p"}, "status": status, "spec": {
                "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}, {"name": "j"}]}});
            assert_eq!(row(pod)[1..3], [json!(ready), json!(word)], "{status}");
        }
    }

    #[test]
    fn restarts_say_when_the_last_was() {
        let mut status = container(json!({"running": {}}));
        status["restartCount"] = 3.into();
        status["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:01:30Z"}});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}, "status": {"containerStatuses": [status]}});
        assert_eq!(row(pod)[3], "3 (10s ago)");
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_has_ended() {
        let pod = |phase| json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"}, "status": {"phase": phase}});
        assert_eq!((row(pod("Running"))[2].clone(), row(pod("Failed"))[2].clone()), (json!("Terminating"), json!("Failed")));
    }

    #[test]
    fn wide_columns_show_place_and_gates() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [],
            "readinessGates": [{"conditionType": "a/b"}, {"conditionType": "c/d"}]},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "a/b", "status": "True"}]}});
        assert_eq!(row(pod)[5..], ["10.0.0.1", "n", "<none>", "1/2"]);
    }
}
