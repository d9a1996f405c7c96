//! The status of one declared container, from its runs. Pure.

use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::reason::Waiting;
use crate::pods::declared::{Declared, Kind, RestartPolicy};
use crate::pods::view::{ContainerState, ContainerView, PodView};
use crate::probes::Health;

/// What is known about one container.
pub struct Known<'a> {
    /// The declared container.
    pub declared: &'a Declared<'a>,
    /// All runs of the pod.
    pub view: &'a PodView,
    /// Probe results of the newest run.
    pub health: Option<&'a Health>,
    /// Why it does not run, when something failed.
    pub waiting: Option<&'a Waiting>,
    /// The reason shown while nothing failed and nothing runs yet.
    pub default_waiting: &'a str,
    /// What was last reported, for runs that containerd has forgotten.
    pub before: Option<&'a ContainerStatus>,
    /// The pod is over: what does not run never will.
    pub over: bool,
    /// It had its turn: when the pod is over and it is not there, it was lost.
    pub due: bool,
    /// The pod's policy for its main containers.
    pub policy: RestartPolicy,
}

/// Makes the status.
pub fn status(known: &Known<'_>) -> ContainerStatus {
    let container: &Container = &known.declared.container;
    let run = known.view.latest(&container.name);
    let mut made = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart_count: known.before.map_or(0, |b| b.restart_count),
        started: Some(false),
        ..ContainerStatus::default()
    };
    let Some(run) = run else {
        forgotten(known, &mut made);
        return made;
    };
    made.container_id = Some(container_id(run));
    made.restart_count = i32::try_from(run.attempt).unwrap_or(i32::MAX);
    made.image_id = run.image_id.clone();
    if !run.image.is_empty() {
        made.image = run.image.clone();
    }
    let previous = known.view.previous(&container.name).filter(|p| p.state == ContainerState::Exited).map(terminated);
    made.last_state = previous
        .map(|t| ApiState { terminated: Some(t), ..ApiState::default() })
        .or_else(|| known.before.filter(|b| b.restart_count == made.restart_count).and_then(|b| b.last_state.clone()));
    match run.state {
        ContainerState::Running => {
            let fallback = Health { started: true, ready: true, failed: None };
            let health = known.health.unwrap_or(&fallback);
            made.started = Some(health.started);
            made.ready = known.declared.kind != Kind::Init && health.started && health.ready;
            let running = ContainerStateRunning { started_at: time(run.started_at) };
            made.state = Some(ApiState { running: Some(running), ..ApiState::default() });
        }
        ContainerState::Exited => match known.waiting {
            Some(why) if !known.over && runs_again(known, run) => {
                made.last_state = Some(ApiState { terminated: Some(ended(known, run)), ..ApiState::default() });
                made.state = Some(waiting(why));
            }
            _ => {
                made.ready = known.declared.kind == Kind::Init && run.exit_code == 0;
                made.state = Some(ApiState { terminated: Some(ended(known, run)), ..ApiState::default() });
            }
        },
        ContainerState::Created | ContainerState::Unknown if known.over => made.state = Some(lost()),
        ContainerState::Created | ContainerState::Unknown => made.state = Some(waiting_or_default(known)),
    }
    made
}

/// The id in the form of the API, `containerd://…`.
pub fn container_id(run: &ContainerView) -> String {
    format!("containerd://{}", run.id)
}

/// Nanoseconds since the epoch as an API time; none for 0.
pub fn time(nanoseconds: i64) -> Option<Time> {
    if nanoseconds <= 0 {
        return None;
    }
    // The API keeps whole seconds; comparing needs the same on both sides.
    Timestamp::from_second(nanoseconds / 1_000_000_000).ok().map(Time)
}

/// How a run ended. Its message is kept once it was told: the file that it was read from goes before the pod does.
fn ended(known: &Known<'_>, run: &ContainerView) -> ContainerStateTerminated {
    let mut made = terminated(run);
    if made.message.is_none() {
        let told = known.before.and_then(|before| before.state.as_ref()).and_then(|state| state.terminated.as_ref());
        made.message = told.filter(|told| told.container_id == made.container_id).and_then(|told| told.message.clone());
    }
    made
}

/// A container that never runs again has ended; it does not wait.
fn runs_again(known: &Known<'_>, run: &ContainerView) -> bool {
    match known.declared.kind {
        Kind::Main => known.policy.restarts(run.exit_code),
        Kind::Init => known.policy != RestartPolicy::Never && run.exit_code != 0,
        Kind::Sidecar => true,
        Kind::Ephemeral => false,
    }
}

fn forgotten(known: &Known<'_>, made: &mut ContainerStatus) {
    if let Some(before) = known.before {
        made.last_state = before.last_state.clone();
        let ended = before.state.as_ref().and_then(|s| s.terminated.clone());
        if ended.is_some() && (known.over || known.declared.kind == Kind::Init) {
            *made = before.clone();
            return;
        }
        let ran = before.state.as_ref().and_then(|s| s.running.as_ref());
        if ended.is_some() || ran.is_some() {
            let gone = ContainerStateTerminated { started_at: ran.and_then(|r| r.started_at.clone()), ..lost_state("deleted") };
            made.last_state = Some(ApiState { terminated: Some(ended.unwrap_or(gone)), ..ApiState::default() });
        }
    }
    made.state = Some(if known.over && known.due { lost() } else { waiting_or_default(known) });
}

fn waiting_or_default(known: &Known<'_>) -> ApiState {
    match known.waiting {
        Some(why) => waiting(why),
        None => {
            let state = ContainerStateWaiting { reason: Some(known.default_waiting.to_owned()), message: None };
            ApiState { waiting: Some(state), ..ApiState::default() }
        }
    }
}

fn waiting(why: &Waiting) -> ApiState {
    let message = Some(why.message.clone()).filter(|m| !m.is_empty());
    ApiState { waiting: Some(ContainerStateWaiting { reason: Some(why.reason.clone()), message }), ..ApiState::default() }
}

fn lost() -> ApiState {
    ApiState { terminated: Some(lost_state("terminated")), ..ApiState::default() }
}

fn lost_state(what: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some(format!("The container could not be located when the pod was {what}")),
        ..ContainerStateTerminated::default()
    }
}

fn terminated(run: &ContainerView) -> ContainerStateTerminated {
    let reason = match run.reason.as_str() {
        "" if run.exit_code == 0 => "Completed",
        "" => "Error",
        other => other,
    };
    ContainerStateTerminated {
        container_id: Some(container_id(run)),
        exit_code: run.exit_code,
        // A run that failed to start has the epoch: its end is known, so it shows that it never began.
        started_at: time(run.started_at).or(Some(Time(Timestamp::UNIX_EPOCH))),
        finished_at: time(run.finished_at).or(Some(Time(Timestamp::UNIX_EPOCH))),
        reason: Some(reason.to_owned()),
        message: Some(run.message.clone()).filter(|m| !m.is_empty()),
        signal: None,
    }
}
