//! Keeps probers running for the containers that run, and no others.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus, Probe};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Context;
use super::declared::{self, Kind};
use super::view::{ContainerView, PodView};
use crate::probes::prober::{self, Subject};
use crate::probes::{Board, Health, ProbeKind};
use crate::status::container::container_id;

/// The probers of one pod.
pub(super) struct Watchers {
    context: Arc<Context>,
    /// What they have found.
    pub board: Board,
    running: HashMap<String, Probers>,
}

/// Dropping the guards stops the probers.
struct Probers {
    /// Those that demand restarts.
    restarting: Option<DropGuard>,
    _readiness: DropGuard,
}

impl Watchers {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, board: Board::default(), running: HashMap::new() }
    }

    /// Starts probers of containers that run now, stops those of containers that do not. While the pod is `stopping` only readiness counts.
    /// `reported` is the last status: what it says about a container that still runs is where its health begins.
    pub(super) fn follow(&mut self, pod: &Arc<Pod>, view: &PodView, reported: Option<&PodStatus>, stopping: bool) {
        let ids: Vec<&str> = view.running().map(|c| c.id.as_str()).collect();
        self.running.retain(|id, _| ids.contains(&id.as_str()));
        self.board.retain(|id| ids.contains(&id));
        if stopping {
            self.running.values_mut().for_each(|p| drop(p.restarting.take()));
        }
        for run in view.running() {
            if !self.running.contains_key(&run.id) {
                self.begin(pod, view, run, reported);
            }
        }
    }

    fn begin(&mut self, pod: &Arc<Pod>, view: &PodView, run: &ContainerView, reported: Option<&PodStatus>) {
        let Some(declared) = declared::find(pod, &run.name) else { return };
        // Plain init containers end by themselves; nobody asks how they are.
        let probed = matches!(declared.kind, Kind::Main | Kind::Sidecar);
        let container = declared.container.into_owned();
        let before = reported.and_then(|status| find(status, run));
        let health = Health {
            started: container.startup_probe.is_none() || before.is_some_and(|b| b.started == Some(true)),
            ready: container.readiness_probe.is_none() || before.is_some_and(|b| b.ready),
            failed: None,
        };
        self.board.add(&run.id, health);
        let (restarting, readiness) = (CancellationToken::new(), CancellationToken::new());
        let address = view.ready_sandbox().and_then(|s| s.ips.first()).or(self.context.config.addresses.first()).copied();
        let container = Arc::new(container);
        let probe = |kind: ProbeKind, probe: &Option<Probe>, stop: &CancellationToken| {
            if let (true, Some(probe)) = (probed, probe) {
                let subject = Subject {
                    kind,
                    probe: probe.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    id: run.id.clone(),
                    address,
                    started_at: run.started_at,
                };
                tokio::spawn(stop.clone().run_until_cancelled_owned(prober::run(self.context.clone(), self.board.clone(), subject)));
            }
        };
        probe(ProbeKind::Startup, &container.startup_probe, &restarting);
        probe(ProbeKind::Liveness, &container.liveness_probe, &restarting);
        probe(ProbeKind::Readiness, &container.readiness_probe, &readiness);
        let probers = Probers { restarting: Some(restarting.drop_guard()), _readiness: readiness.drop_guard() };
        self.running.insert(run.id.clone(), probers);
    }
}

/// What was reported about exactly this run.
fn find<'a>(status: &'a PodStatus, run: &ContainerView) -> Option<&'a ContainerStatus> {
    let id = container_id(run);
    let lists = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    lists.into_iter().find(|s| s.container_id.as_deref() == Some(id.as_str()))
}
