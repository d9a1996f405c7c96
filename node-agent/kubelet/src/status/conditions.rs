//! A pod's conditions. Those of others (readiness gates, DisruptionTarget) stay as they are. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What a condition says, without times.
struct Said {
    kind: &'static str,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// The conditions that the kubelet writes.
const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// True for a condition that the kubelet writes; all others belong to somebody else.
pub fn is_own(kind: &str) -> bool {
    OWN.contains(&kind)
}

/// The parts of a status that conditions follow from.
pub struct Basis<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its phase, as just computed.
    pub phase: &'a str,
    /// Statuses of containers that must be ready: main ones and sidecars.
    pub containers: Vec<&'a ContainerStatus>,
    /// Names of init containers that are not done.
    pub init_pending: Vec<&'a str>,
    /// The sandbox runs and has its network.
    pub sandbox_ready: bool,
}

/// The new list of conditions; the time of a transition changes only with the status.
pub fn conditions(basis: &Basis<'_>, before: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let ready = containers_ready(basis);
    let said = [
        Said { kind: "PodReadyToStartContainers", status: basis.sandbox_ready, reason: None, message: None },
        initialized(basis),
        pod_ready(basis, &ready, before),
        ready,
        Said { kind: "PodScheduled", status: true, reason: None, message: None },
    ];
    let mut made: Vec<PodCondition> = said.into_iter().map(|s| stamp(s, before, now)).collect();
    made.extend(before.iter().filter(|b| !made.iter().any(|m| m.type_ == b.type_)).cloned().collect::<Vec<_>>());
    made
}

fn stamp(said: Said, before: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if said.status { "True" } else { "False" };
    let old = before.iter().find(|b| b.type_ == said.kind);
    let since = old.filter(|o| o.status == status).and_then(|o| o.last_transition_time.clone());
    PodCondition {
        type_: said.kind.to_owned(),
        status: status.to_owned(),
        reason: said.reason.map(str::to_owned),
        message: said.message,
        last_transition_time: since.or_else(|| Timestamp::from_second(now.as_second()).ok().map(Time)),
        last_probe_time: None,
        observed_generation: None,
    }
}

fn initialized(basis: &Basis<'_>) -> Said {
    let done = basis.init_pending.is_empty();
    if basis.phase == "Succeeded" {
        return Said { kind: "Initialized", status: true, reason: Some("PodCompleted"), message: None };
    }
    Said {
        kind: "Initialized",
        status: done,
        reason: (!done).then_some("ContainersNotInitialized"),
        message: (!done).then(|| format!("containers with incomplete status: [{}]", basis.init_pending.join(" "))),
    }
}

fn containers_ready(basis: &Basis<'_>) -> Said {
    let kind = "ContainersReady";
    match basis.phase {
        "Succeeded" => return Said { kind, status: false, reason: Some("PodCompleted"), message: None },
        "Failed" => return Said { kind, status: false, reason: Some("PodFailed"), message: None },
        _ => {}
    }
    let unready: Vec<&str> = basis.containers.iter().filter(|c| !c.ready).map(|c| c.name.as_str()).collect();
    let status = unready.is_empty() && !basis.containers.is_empty() && basis.sandbox_ready;
    Said {
        kind,
        status,
        reason: (!status).then_some("ContainersNotReady"),
        message: (!status).then(|| format!("containers with unready status: [{}]", unready.join(" "))),
    }
}

fn pod_ready(basis: &Basis<'_>, containers: &Said, before: &[PodCondition]) -> Said {
    let kind = "Ready";
    if !containers.status {
        return Said { kind, status: false, reason: containers.reason, message: containers.message.clone() };
    }
    let gates = basis.pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let mut missing = Vec::new();
    for gate in gates {
        match before.iter().find(|b| b.type_ == gate.condition_type) {
            None => missing.push(format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)),
            Some(condition) if condition.status != "True" => {
                missing.push(format!(
                    "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                    gate.condition_type, condition.status
                ));
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Said { kind, status: true, reason: None, message: None };
    }
    Said { kind, status: false, reason: Some("ReadinessGatesNotReady"), message: Some(missing.join(", ")) }
}
