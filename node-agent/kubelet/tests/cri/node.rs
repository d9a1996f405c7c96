//! A node for tests: containerd, the pod manager, and the stand-in for the API server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use orknet_kubelet::Config;
use orknet_kubelet::api::source::Wanted;
use orknet_kubelet::pods::{Context, PodKey, manager};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::{Memory, State};
use super::containerd::Containerd;
use super::image::SHELL;

/// No condition of these tests takes longer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// Time between looks at what nothing tells about.
const POLL: Duration = Duration::from_millis(20);

pub struct Node {
    pub state: watch::Sender<State>,
    pub context: Arc<Context>,
    pub wanted: mpsc::Sender<Wanted>,
    stop: CancellationToken,
    manager: Option<JoinHandle<()>>,
    // Last: the manager must not see it go.
    pub containerd: Containerd,
}

impl Node {
    pub async fn start() -> Result<Self> {
        let containerd = tokio::task::spawn_blocking(Containerd::start).await??;
        let state = watch::Sender::new(State::default());
        let (context, wanted, stop, manager) = manager_for(&containerd, &state, |_| {})?;
        Ok(Self { state, context, wanted, stop, manager: Some(manager), containerd })
    }

    /// Ends the kubelet and starts another one, which knows nothing but what containerd and the API tell.
    pub async fn restart_kubelet(&mut self) -> Result<()> {
        self.restart_kubelet_with(|_| {}).await
    }

    /// The same with another configuration.
    pub async fn restart_kubelet_with(&mut self, change: impl FnOnce(&mut Config)) -> Result<()> {
        self.stop_kubelet().await?;
        let (context, wanted, stop, manager) = manager_for(&self.containerd, &self.state, change)?;
        (self.context, self.wanted, self.stop, self.manager) = (context, wanted, stop, Some(manager));
        Ok(())
    }

    pub async fn stop_kubelet(&mut self) -> Result<()> {
        self.stop.cancel();
        if let Some(manager) = self.manager.take() {
            manager.await?;
        }
        Ok(())
    }

    pub async fn want(&self, pod: &Pod) -> Result<()> {
        self.wanted.send(Wanted::One(Arc::new(pod.clone()))).await.context("the manager is gone")
    }

    /// Deletes a pod as the API server does: with a time and a grace period.
    pub async fn delete(&self, pod: &Pod, grace_seconds: i64) -> Result<()> {
        let mut deleted = pod.clone();
        deleted.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::now()));
        deleted.metadata.deletion_grace_period_seconds = Some(grace_seconds);
        deleted.status = self.status(pod);
        self.want(&deleted).await
    }

    pub fn status(&self, pod: &Pod) -> Option<PodStatus> {
        self.state.borrow().statuses.get(&PodKey::of(pod).uid).cloned()
    }

    /// Waits until the pod's status is as wanted, and answers with it.
    pub async fn until(&self, pod: &Pod, holds: impl Fn(&PodStatus) -> bool) -> Result<PodStatus> {
        let uid = PodKey::of(pod).uid;
        self.until_state(|state| state.statuses.get(&uid).is_some_and(&holds)).await?;
        self.status(pod).context("no status")
    }

    /// Waits until what was written is as wanted.
    pub async fn until_state(&self, holds: impl Fn(&State) -> bool) -> Result<()> {
        let mut seen = self.state.subscribe();
        let met = tokio::time::timeout(DEADLINE, seen.wait_for(|state| holds(state))).await.is_ok();
        let last = self.state.borrow();
        anyhow::ensure!(met, "not in time; statuses {:#?}; events {:#?}", last.statuses, last.events);
        Ok(())
    }

    pub async fn until_removed(&self, pod: &Pod) -> Result<()> {
        let uid = PodKey::of(pod).uid;
        self.until_state(|state| state.removed.contains(&uid)).await
    }

    pub fn log(&self, pod: &Pod, container: &str, attempt: u32) -> String {
        let path = self.context.paths.pod_logs(&PodKey::of(pod)).join(format!("{container}/{attempt}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(|line| format!("{line}\n")).collect()
    }

    pub fn events(&self, reason: &str) -> Vec<String> {
        self.state.borrow().events.iter().filter(|(r, _)| r == reason).map(|(_, m)| m.clone()).collect()
    }

    /// Ids of the pod's running containers.
    pub async fn running(&self, pod: &Pod) -> Result<Vec<String>> {
        let listed = self.context.cri.list_containers(orknet_kubelet::cri::labels::by_uid(&PodKey::of(pod).uid)).await?;
        let running = orknet_kubelet::cri::proto::ContainerState::ContainerRunning as i32;
        Ok(listed.into_iter().filter(|c| c.state == running).map(|c| c.id).collect())
    }

    /// Waits for something that nothing tells about.
    pub async fn until_true(&self, holds: impl Fn() -> bool) -> Result<()> {
        let asked = async {
            while !holds() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.context("not in time")
    }

    /// Waits until containerd's CRI part answers: it needs a moment longer than its socket.
    pub async fn until_runtime(&self) -> Result<()> {
        let asked = async {
            while self.context.cri.list_containers(Default::default()).await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.context("containerd does not answer")
    }

    /// Waits until nothing of the pod is left on the node. Nothing tells when, so it asks again and again.
    pub async fn until_clean(&self, pod: &Pod) -> Result<()> {
        let asked = async {
            while !self.is_clean(pod).await? {
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        tokio::time::timeout(DEADLINE, asked).await.context("something is left of the pod")?
    }

    /// True when nothing of the pod is left on the node.
    async fn is_clean(&self, pod: &Pod) -> Result<bool> {
        let key = PodKey::of(pod);
        let labels = orknet_kubelet::cri::labels::by_uid(&key.uid);
        let sandboxes = self.context.cri.list_sandboxes(labels.clone()).await?;
        let containers = self.context.cri.list_containers(labels).await?;
        let paths = [self.context.paths.pod(&key.uid), self.context.paths.pod_logs(&key)];
        Ok(sandboxes.is_empty()
            && containers.is_empty()
            && paths.iter().all(|p| !p.exists())
            && !self.context.cgroups.pods().contains(&key.uid))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Started = (Arc<Context>, mpsc::Sender<Wanted>, CancellationToken, JoinHandle<()>);

fn manager_for(containerd: &Containerd, state: &watch::Sender<State>, change: impl FnOnce(&mut Config)) -> Result<Started> {
    let mut config = Config {
        node_name: "test-node".into(),
        root_dir: containerd.path("kubelet"),
        containerd_socket: containerd.socket(),
        cgroup_parent: containerd.cgroup.clone(),
        addresses: vec!["192.0.2.7".parse()?],
        ..Config::default()
    };
    change(&mut config);
    let context = Arc::new(Context::new(config, Arc::new(Memory(state.clone())))?);
    let (wanted, statements) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let manager = tokio::spawn(manager::run(context.clone(), statements, stop.clone()));
    Ok((context, wanted, stop, manager))
}

/// A pod with one shell container named `main`, and whatever `more` says in its specification.
pub fn shell_pod(name: &str, script: &str, more: Value) -> Pod {
    let mut spec = json!({"terminationGracePeriodSeconds": 2, "containers": [shell("main", script)]});
    merge(&mut spec, more);
    let metadata = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": {"app": name}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a test's own pod")
}

/// A container that runs a script.
pub fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": SHELL, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]})
}

/// Puts `more` over `base`; objects are merged, all else is replaced. In `containers` the first entry is merged.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(more)) if !base.is_empty() => {
            for (index, value) in more.into_iter().enumerate() {
                match base.get_mut(index) {
                    Some(slot) => merge(slot, value),
                    None => base.push(value),
                }
            }
        }
        (base, more) => *base = more,
    }
}

/// Status of one main container.
pub fn container<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    status.container_statuses.iter().flatten().find(|c| c.name == name)
}

/// True when the pod has this condition.
pub fn is_true(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == condition && c.status == "True")
}

/// Why a container waits.
pub fn waiting(status: &PodStatus, name: &str) -> Option<String> {
    container(status, name)?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}
