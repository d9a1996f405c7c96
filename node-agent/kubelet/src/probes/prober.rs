//! Runs one probe of one container again and again, and posts verdicts on the board.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::jiff::Timestamp;

use super::board::{Board, Failure};
use super::tracker::{Outcome, ProbeKind, Settings, Tracker};
use super::{exec, grpc, http, tcp};
use crate::pods::Context;

/// What is probed.
pub struct Subject {
    /// What the verdict is for.
    pub kind: ProbeKind,
    /// The declaration.
    pub probe: Probe,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container's specification.
    pub container: Arc<Container>,
    /// The container's id.
    pub id: String,
    /// The pod's address, or the node's for pods in its network.
    pub address: Option<IpAddr>,
    /// Start of the container, nanoseconds since the epoch.
    pub started_at: i64,
}

/// Probes until the future is dropped, or the verdict is final (a startup probe that succeeded, a container that must restart).
pub async fn run(context: Arc<Context>, board: Board, subject: Subject) {
    let settings = Settings::of(&subject.probe);
    wait_for_start(&board, &subject).await;
    tokio::time::sleep(initial_pause(&subject, &settings)).await;
    let mut ticks = tokio::time::interval(settings.period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tracker = Tracker::default();
    loop {
        ticks.tick().await;
        let outcome = ask(&context, &subject, settings.timeout).await;
        let trouble = match &outcome {
            Outcome::Success => None,
            Outcome::Failure(message) => Some(format!("{} probe failed: {message}", subject.kind.title())),
            Outcome::Unknown(message) => Some(format!("{} probe errored: {message}", subject.kind.title())),
        };
        if let Some(message) = trouble {
            context.note_container(&subject.pod, &subject.container.name, true, "Unhealthy", message);
        }
        if matches!(outcome, Outcome::Unknown(_)) {
            continue;
        }
        let Some(good) = tracker.observe(outcome == Outcome::Success, &settings) else { continue };
        match (subject.kind, good) {
            (ProbeKind::Readiness, good) => board.update(&subject.id, |h| h.ready = good),
            (ProbeKind::Startup, true) => {
                board.update(&subject.id, |h| h.started = true);
                return;
            }
            (ProbeKind::Liveness, true) => {}
            (probe, false) => {
                let grace_seconds = subject.probe.termination_grace_period_seconds;
                board.update(&subject.id, |h| h.failed = Some(Failure { probe, grace_seconds }));
                return;
            }
        }
    }
}

/// Liveness and readiness wait for the startup probe.
async fn wait_for_start(board: &Board, subject: &Subject) {
    let mut changes = board.changes();
    while subject.kind != ProbeKind::Startup && !board.get(&subject.id).is_some_and(|h| h.started) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The rest of the initial delay, which counts from the container's start.
fn initial_pause(subject: &Subject, settings: &Settings) -> Duration {
    let running = Timestamp::now().as_nanosecond() - i128::from(subject.started_at);
    let running = u64::try_from(running).map(Duration::from_nanos).unwrap_or_default();
    settings.initial_delay.saturating_sub(running)
}

async fn ask(context: &Context, subject: &Subject, limit: Duration) -> Outcome {
    let probe = &subject.probe;
    if let Some(action) = &probe.exec {
        exec::ask(&context.cri, &subject.id, action.command.clone().unwrap_or_default(), limit).await
    } else if let Some(action) = &probe.http_get {
        http::ask(action, &subject.container, subject.address, limit).await
    } else if let Some(action) = &probe.tcp_socket {
        tcp::ask(action, &subject.container, subject.address, limit).await
    } else if let Some(action) = &probe.grpc {
        grpc::ask(action, subject.address, limit).await.into()
    } else {
        Outcome::Success
    }
}
