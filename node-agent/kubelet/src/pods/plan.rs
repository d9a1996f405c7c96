//! Decides a pod's next steps from its specification and what containerd runs. Pure; called again after every step, so a plan only has to
//! be right for the moment.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::backoff::Backoff;
use super::declared::{self, Declared, Kind, RestartPolicy};
use super::plan_retain::retain;
use super::view::{ContainerState, ContainerView, PodView};
use super::{PodKey, view::SandboxView};
use crate::containers::hash::hash;
use crate::probes::Health;
use crate::status::reason::Waiting;

/// What to do about the sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SandboxStep {
    /// The sandbox with this id serves.
    Keep(String),
    /// Stop all that is left of old ones, then make a new one with this attempt number.
    Create(u32),
    /// The pod is over: no sandbox is needed.
    #[default]
    Leave,
}

/// A container to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The declared container.
    pub name: String,
    /// Restart count of the run.
    pub attempt: u32,
    /// When the run before ended, if there was one.
    pub after: Option<Timestamp>,
}

/// A container to stop, and what the event about it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// containerd's id.
    pub id: String,
    /// The declared container.
    pub name: String,
    /// Why, for users.
    pub message: String,
    /// The probe that demands it has a grace period of its own.
    pub grace_seconds: Option<i64>,
}

/// The next steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// About the sandbox.
    pub sandbox: SandboxStep,
    /// Containers to stop, in order.
    pub stop: Vec<Stop>,
    /// Containers to start, in order.
    pub start: Vec<Start>,
    /// Containers that wait, and why.
    pub held: BTreeMap<String, Waiting>,
    /// When to plan again without any other cause.
    pub wake_at: Option<Timestamp>,
    /// Dead containers that nobody needs.
    pub remove_containers: Vec<String>,
    /// Dead sandboxes that nobody needs.
    pub remove_sandboxes: Vec<String>,
    /// True when the pod has ended by itself: nothing runs that should, nothing will be started again.
    pub finished: bool,
}

/// What the plan is made from.
pub struct Inputs<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// What containerd runs.
    pub view: &'a PodView,
    /// Probe results of running containers, by container id.
    pub health: &'a HashMap<String, Health>,
    /// Restart delays, by container name.
    pub backoff: &'a Backoff,
    /// Now.
    pub now: Timestamp,
}

/// Makes the plan.
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut plan = Plan::default();
    let (remove_containers, remove_sandboxes) = retain(inputs.pod, inputs.view);
    (plan.remove_containers, plan.remove_sandboxes) = (remove_containers, remove_sandboxes);
    let Some(spec) = inputs.pod.spec.as_ref() else {
        plan.finished = true;
        return plan;
    };
    let host_network = spec.host_network.unwrap_or(false);
    let usable = inputs.view.ready_sandbox().filter(|s| host_network || !s.ips.is_empty());
    let Some(sandbox) = usable else {
        without_sandbox(inputs, &mut plan);
        return plan;
    };
    plan.sandbox = SandboxStep::Keep(sandbox.id.clone());
    let mains: Vec<Declared<'_>> = declared::main(spec).collect();
    if mains.iter().all(|d| is_over(inputs, d)) {
        plan.finished = true;
        return plan;
    }
    match init_containers(inputs, sandbox, &mains, &mut plan) {
        InitPhase::Waiting => {}
        InitPhase::Failed => plan.finished = true,
        InitPhase::Done => {
            for declared in mains {
                main_container(inputs, sandbox, &declared, &mut plan);
            }
        }
    }
    if !plan.finished {
        for declared in declared::ephemeral(spec) {
            if inputs.view.latest(&declared.container.name).is_none() {
                plan.start.push(Start { name: declared.container.name.clone(), attempt: 0, after: None });
            }
        }
    }
    plan
}

enum InitPhase {
    Waiting,
    Failed,
    Done,
}

/// No usable sandbox: a pod that is over stays over, any other gets a new sandbox.
fn without_sandbox(inputs: &Inputs<'_>, plan: &mut Plan) {
    let (pod, view) = (inputs.pod, inputs.view);
    let policy = RestartPolicy::of(pod);
    let mains_over = pod.spec.iter().flat_map(declared::main).all(|d| is_over(inputs, &d));
    let init_failed = policy == RestartPolicy::Never
        && pod.spec.iter().flat_map(declared::init).any(|d| {
            d.kind == Kind::Init && view.latest(&d.container.name).is_some_and(|c| c.state == ContainerState::Exited && c.exit_code != 0)
        });
    // With Never, a pod whose sandbox died under its containers is not tried again.
    let lost = policy == RestartPolicy::Never && !view.containers.is_empty();
    if mains_over || init_failed || lost {
        plan.finished = true;
        return;
    }
    for container in view.running() {
        plan.stop.push(stop(container, format!("Stopping container {}", container.name)));
    }
    plan.sandbox = SandboxStep::Create(view.sandboxes.first().map_or(0, |s| s.attempt + 1));
}

/// True when a main container has ended and its policy does not start it again.
fn is_over(inputs: &Inputs<'_>, declared: &Declared<'_>) -> bool {
    inputs
        .view
        .latest(&declared.container.name)
        .is_some_and(|c| c.state == ContainerState::Exited && !RestartPolicy::of(inputs.pod).restarts(c.exit_code))
}

fn init_containers(inputs: &Inputs<'_>, sandbox: &SandboxView, mains: &[Declared<'_>], plan: &mut Plan) -> InitPhase {
    let Some(spec) = inputs.pod.spec.as_ref() else { return InitPhase::Done };
    let list: Vec<Declared<'_>> = declared::init(spec).collect();
    let latest = |d: &Declared<'_>| inputs.view.latest_in(&d.container.name, &sandbox.id);
    let mains_begun = mains.iter().any(|d| latest(d).is_some());
    // A container whose successor has been started was done, even when it is no longer there.
    let begun = if mains_begun { list.len() } else { list.iter().rposition(|d| latest(d).is_some()).unwrap_or(0) };
    for (index, declared) in list.iter().enumerate() {
        let passed = index < begun;
        match (declared.kind, latest(declared)) {
            (Kind::Sidecar, Some(run)) if run.state == ContainerState::Running => {
                let health = inputs.health.get(&run.id);
                if let Some(failure) = health.and_then(|h| h.failed.as_ref()) {
                    plan.stop.push(probe_stop(inputs, run, declared.kind, failure));
                }
                if !passed && !health.is_none_or(|h| h.started) {
                    return InitPhase::Waiting;
                }
            }
            (Kind::Sidecar, run) => {
                restart_or_hold(inputs, declared, run, plan);
                if !passed {
                    return InitPhase::Waiting;
                }
            }
            (_, _) if passed => {}
            (_, None) => {
                restart_or_hold(inputs, declared, None, plan);
                return InitPhase::Waiting;
            }
            (_, Some(run)) => match run.state {
                ContainerState::Running => return InitPhase::Waiting,
                ContainerState::Exited if run.exit_code == 0 => {}
                ContainerState::Exited if RestartPolicy::of(inputs.pod) == RestartPolicy::Never => return InitPhase::Failed,
                _ => {
                    restart_or_hold(inputs, declared, Some(run), plan);
                    return InitPhase::Waiting;
                }
            },
        }
    }
    InitPhase::Done
}

fn main_container(inputs: &Inputs<'_>, sandbox: &SandboxView, declared: &Declared<'_>, plan: &mut Plan) {
    let name = &declared.container.name;
    let Some(run) = inputs.view.latest(name) else {
        restart_or_hold(inputs, declared, None, plan);
        return;
    };
    match run.state {
        ContainerState::Running if run.sandbox_id != sandbox.id => {
            plan.stop.push(stop(run, format!("Container {name} belongs to a sandbox that is gone")));
        }
        ContainerState::Running => {
            if run.hash != hash(&declared.container) {
                plan.stop.push(stop(run, format!("Container {name} definition changed, will be restarted")));
            } else if let Some(failure) = inputs.health.get(&run.id).and_then(|h| h.failed.as_ref()) {
                plan.stop.push(probe_stop(inputs, run, declared.kind, failure));
            }
        }
        ContainerState::Exited if !RestartPolicy::of(inputs.pod).restarts(run.exit_code) => {}
        _ => restart_or_hold(inputs, declared, Some(run), plan),
    }
}

/// Starts a container now, or says until when it waits.
fn restart_or_hold(inputs: &Inputs<'_>, declared: &Declared<'_>, run: Option<&ContainerView>, plan: &mut Plan) {
    let name = declared.container.name.clone();
    if let Some(lost) = run.filter(|r| r.state == ContainerState::Unknown) {
        plan.stop.push(stop(lost, "Container is in \"unknown\" state, try killing it before restart".to_owned()));
    }
    // A run that never started has no end; the back-off counts from its creation.
    let after = run.and_then(|r| Timestamp::from_nanosecond(i128::from(r.finished_at.max(r.created_at))).ok());
    if let Some(event) = after
        && let Some((due, delay)) = inputs.backoff.held(&name, event, inputs.now)
    {
        let pod = PodKey::of(inputs.pod);
        let message = format!("back-off {}s restarting failed container={name} pod={pod}", delay.as_secs());
        plan.held.insert(name, Waiting { reason: "CrashLoopBackOff".to_owned(), message });
        plan.wake_at = Some(plan.wake_at.map_or(due, |at| at.min(due)));
        return;
    }
    plan.start.push(Start { attempt: next_attempt(inputs, &name), name, after });
}

/// Counts on from the newest run; when containerd has forgotten it, from what was last reported.
fn next_attempt(inputs: &Inputs<'_>, name: &str) -> u32 {
    if let Some(run) = inputs.view.latest(name) {
        return run.attempt + 1;
    }
    let Some(status) = inputs.pod.status.as_ref() else { return 0 };
    let mut reported = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    match reported.find(|s| s.name == name) {
        Some(s) if s.container_id.as_deref().is_some_and(|id| !id.is_empty()) => u32::try_from(s.restart_count).unwrap_or(0) + 1,
        _ => 0,
    }
}

fn stop(run: &ContainerView, message: String) -> Stop {
    Stop { id: run.id.clone(), name: run.name.clone(), message, grace_seconds: None }
}

fn probe_stop(inputs: &Inputs<'_>, run: &ContainerView, kind: Kind, failure: &crate::probes::Failure) -> Stop {
    let restarts = kind == Kind::Sidecar || RestartPolicy::of(inputs.pod) != RestartPolicy::Never;
    let then = if restarts { ", will be restarted" } else { "" };
    Stop {
        message: format!("Container {} failed {} probe{then}", run.name, failure.probe.name()),
        grace_seconds: failure.grace_seconds,
        ..stop(run, String::new())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
