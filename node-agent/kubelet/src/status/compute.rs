//! A pod's status from its specification, what containerd runs and what failed. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::conditions::{Basis, conditions};
use super::container::{self, Known};
use super::reason::Waiting;
use crate::pods::declared::{self, Declared, Kind, RestartPolicy};
use crate::pods::qos::Qos;
use crate::pods::view::PodView;
use crate::probes::Health;

/// What a status is made from.
pub struct Inputs<'a> {
    /// The pod as the API has it, with the status that was last written.
    pub pod: &'a Pod,
    /// What containerd runs.
    pub view: &'a PodView,
    /// Probe results by container id.
    pub health: &'a HashMap<String, Health>,
    /// Why containers wait, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// The node's addresses for pods.
    pub host_ips: &'a [IpAddr],
    /// The pod is being stopped or has ended: no container starts any more.
    pub over: bool,
    /// A verdict of the kubelet over the whole pod (reason, message), as in DeadlineExceeded: the phase is Failed once nothing runs.
    pub failed: Option<&'a Waiting>,
    /// When this kubelet first saw the pod.
    pub start_time: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Makes the status.
pub fn status(inputs: &Inputs<'_>) -> PodStatus {
    let spec = inputs.pod.spec.clone().unwrap_or_default();
    let before = inputs.pod.status.clone().unwrap_or_default();
    if let Some(refused) = never_begun(inputs, &before) {
        return refused;
    }
    let init: Vec<Declared<'_>> = declared::init(&spec).collect();
    let main: Vec<Declared<'_>> = declared::main(&spec).collect();
    let ephemeral: Vec<Declared<'_>> = declared::ephemeral(&spec).collect();
    let list = |declared: &[Declared<'_>], old: &Option<Vec<ContainerStatus>>, due: usize| -> Vec<ContainerStatus> {
        declared.iter().enumerate().map(|(index, d)| one(inputs, d, !init.is_empty(), old, index < due)).collect()
    };
    // What had its turn and is not there was lost; what comes after it never ran.
    let init_due = init.iter().rposition(|d| has_begun(inputs, d, &before.init_container_statuses)).unwrap_or(0) + 1;
    let mut init_statuses = list(&init, &before.init_container_statuses, init_due);
    let mains_due = pending_init(&init, &init_statuses).is_empty() || main.iter().any(|d| has_begun(inputs, d, &before.container_statuses));
    let mut main_statuses = list(&main, &before.container_statuses, if mains_due { main.len() } else { 0 });
    let mut ephemeral_statuses = list(&ephemeral, &before.ephemeral_container_statuses, ephemeral.len());
    let containers = init.len() + main.len() + ephemeral.len();
    limit_messages(init_statuses.iter_mut().chain(&mut main_statuses).chain(&mut ephemeral_statuses), containers);
    let init_pending = pending_init(&init, &init_statuses);

    let settled = matches!(before.phase.as_deref(), Some("Succeeded" | "Failed"));
    let phase = match (settled, &before.phase) {
        // A pod that ended stays ended, whatever happens to its remains.
        (true, Some(phase)) => phase.clone(),
        _ => match phase(inputs, &init, &init_statuses, &main_statuses) {
            // Nobody may take a pod for ended while something of it runs, as sidecars do for a moment.
            "Succeeded" | "Failed" if inputs.view.running().next().is_some() => before.phase.clone().unwrap_or("Running".to_owned()),
            phase => phase.to_owned(),
        },
    };
    let host_network = spec.host_network.unwrap_or(false);
    let sandbox = inputs.view.ready_sandbox();
    let sandbox_ready = sandbox.is_some_and(|s| host_network || !s.ips.is_empty());
    let counted: Vec<&ContainerStatus> =
        init.iter().zip(&init_statuses).filter(|(d, _)| d.kind == Kind::Sidecar).map(|(_, s)| s).chain(&main_statuses).collect();
    let basis = Basis { pod: inputs.pod, phase: &phase, containers: counted, init_pending, sandbox_ready };
    let conditions = conditions(&basis, before.conditions.as_deref().unwrap_or_default(), inputs.now);
    let ips: Vec<IpAddr> = match sandbox {
        Some(_) if host_network => inputs.host_ips.to_vec(),
        Some(sandbox) => sandbox.ips.clone(),
        None => Vec::new(),
    };
    // The address of a pod that has ended is still shown: it says where it ran.
    let pod_ips: Vec<PodIP> = if ips.is_empty() && (inputs.over || settled) {
        before.pod_ips.clone().unwrap_or_default()
    } else {
        ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()
    };
    let (reason, message) = match inputs.failed {
        Some(why) if phase == "Failed" => (Some(why.reason.clone()), Some(why.message.clone())),
        _ if settled => (before.reason.clone(), before.message.clone()),
        _ => (None, None),
    };
    PodStatus {
        phase: Some(phase),
        conditions: Some(conditions),
        reason,
        message,
        host_ip: inputs.host_ips.first().map(ToString::to_string),
        host_ips: Some(inputs.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: pod_ips.first().map(|p| p.ip.clone()),
        pod_ips: Some(pod_ips).filter(|p| !p.is_empty()),
        start_time: start_time(inputs, &before),
        init_container_statuses: Some(init_statuses).filter(|s| !s.is_empty()),
        container_statuses: Some(main_statuses),
        ephemeral_container_statuses: Some(ephemeral_statuses).filter(|s| !s.is_empty()),
        qos_class: qos_class(inputs, &before),
        nominated_node_name: before.nominated_node_name,
        resource_claim_statuses: before.resource_claim_statuses,
        resize: before.resize,
        // Kept up to date where somebody has begun it; 1.33 does not begin it by itself (KEP-5067).
        observed_generation: before.observed_generation.and(inputs.pod.metadata.generation),
    }
}

/// The status of a pod that failed before anything of it was begun or told, as one that was refused: the verdict, and nothing of containers.
fn never_begun(inputs: &Inputs<'_>, before: &PodStatus) -> Option<PodStatus> {
    let told = before.container_statuses.is_some() || before.init_container_statuses.is_some();
    if !inputs.over || told || !inputs.view.sandboxes.is_empty() || !inputs.view.containers.is_empty() {
        return None;
    }
    let settled = before.phase.as_deref() == Some("Failed");
    let verdict = match inputs.failed {
        Some(why) if !settled => (Some(why.reason.clone()), Some(why.message.clone())),
        _ if settled => (before.reason.clone(), before.message.clone()),
        _ => return None,
    };
    Some(PodStatus {
        phase: Some("Failed".to_owned()),
        reason: verdict.0,
        message: verdict.1,
        start_time: start_time(inputs, before),
        qos_class: qos_class(inputs, before),
        observed_generation: before.observed_generation.and(inputs.pod.metadata.generation),
        ..before.clone()
    })
}

fn start_time(inputs: &Inputs<'_>, before: &PodStatus) -> Option<Time> {
    before.start_time.clone().or_else(|| Timestamp::from_second(inputs.start_time.as_second()).ok().map(Time))
}

fn qos_class(inputs: &Inputs<'_>, before: &PodStatus) -> Option<String> {
    before.qos_class.clone().or_else(|| Some(Qos::of(inputs.pod).name().to_owned()))
}

/// Termination messages of one pod together, in bytes; each container has an equal part of it.
const MESSAGES_MAX: usize = 12 << 10;

/// Cuts termination messages so that all of a pod's fit into its object.
fn limit_messages<'a>(statuses: impl Iterator<Item = &'a mut ContainerStatus>, containers: usize) {
    let most = MESSAGES_MAX / containers.max(1);
    for state in statuses.flat_map(|s| [&mut s.state, &mut s.last_state]).flatten() {
        if let Some(message) = state.terminated.as_mut().and_then(|t| t.message.as_mut()) {
            message.truncate(message.floor_char_boundary(most));
        }
    }
}

/// True when a container was ever started, as far as anybody knows.
fn has_begun(inputs: &Inputs<'_>, declared: &Declared<'_>, old: &Option<Vec<ContainerStatus>>) -> bool {
    let name = &declared.container.name;
    let told = |status: &ContainerStatus| {
        let ran = status.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some());
        status.name == *name && (ran || status.last_state.as_ref().is_some_and(|s| s.terminated.is_some()))
    };
    inputs.view.latest(name).is_some() || old.iter().flatten().any(told)
}

fn one(inputs: &Inputs<'_>, declared: &Declared<'_>, has_init: bool, old: &Option<Vec<ContainerStatus>>, due: bool) -> ContainerStatus {
    let name = &declared.container.name;
    let run = inputs.view.latest(name);
    container::status(&Known {
        declared,
        view: inputs.view,
        health: run.and_then(|r| inputs.health.get(&r.id)),
        waiting: inputs.waiting.get(name),
        default_waiting: if has_init { "PodInitializing" } else { "ContainerCreating" },
        before: old.iter().flatten().find(|s| s.name == *name),
        over: inputs.over,
        due,
        policy: RestartPolicy::of(inputs.pod),
    })
}

/// Names of init containers that are not done; a sidecar is done once it has started.
fn pending_init<'a>(init: &'a [Declared<'_>], statuses: &[ContainerStatus]) -> Vec<&'a str> {
    let pending = init.iter().zip(statuses).filter(|(declared, status)| match declared.kind {
        Kind::Sidecar => status.started != Some(true),
        _ => ended(status) != Some(0),
    });
    pending.map(|(declared, _)| declared.container.name.as_str()).collect()
}

fn ended(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code)
}

fn phase(inputs: &Inputs<'_>, init: &[Declared<'_>], init_statuses: &[ContainerStatus], mains: &[ContainerStatus]) -> &'static str {
    let policy = RestartPolicy::of(inputs.pod);
    let anything_runs = init_statuses.iter().chain(mains).any(|s| s.state.as_ref().is_some_and(|s| s.running.is_some()));
    if inputs.failed.is_some() && !anything_runs {
        return "Failed";
    }
    let failed_init = init.iter().zip(init_statuses).any(|(d, s)| d.kind == Kind::Init && ended(s).is_some_and(|code| code != 0));
    if failed_init && policy == RestartPolicy::Never {
        return "Failed";
    }
    let begun = mains.iter().any(|s| s.container_id.is_some());
    if !begun && !inputs.over && !pending_init(init, init_statuses).is_empty() {
        return "Pending";
    }
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for status in mains {
        let state = status.state.clone().unwrap_or_default();
        if state.running.is_some() {
            running += 1;
        } else if let Some(end) = state.terminated {
            stopped += 1;
            succeeded += usize::from(end.exit_code == 0);
        } else if status.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) {
            stopped += 1;
        } else {
            waiting += 1;
        }
    }
    if waiting > 0 {
        return if inputs.over { "Failed" } else { "Pending" };
    }
    if running > 0 {
        return "Running";
    }
    match policy {
        _ if stopped == 0 => "Pending",
        _ if inputs.over => {
            if stopped == succeeded && !failed_init {
                "Succeeded"
            } else {
                "Failed"
            }
        }
        RestartPolicy::Always => "Running",
        _ if stopped == succeeded => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

#[cfg(test)]
#[path = "compute_tests.rs"]
mod tests;
