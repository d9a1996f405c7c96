//! Writes a pod's status to the API in the background: the newest one, until it is stored. What the server has already is not written.
//! The pod's worker never waits for the server, but where a deletion needs it ([`Publisher::flush`]).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, Pod, PodCondition, PodStatus};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{Cluster, Written};
use crate::pods::PodKey;
use crate::status::conditions::is_own;

/// First and longest delay between tries.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(3);

/// Writes one pod's status. Dropping it stops the writing.
pub struct Publisher {
    newest: watch::Sender<Submitted>,
    stored: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

/// What was last submitted, for others than the worker.
#[derive(Clone, Debug)]
pub struct Told(watch::Receiver<Submitted>);

impl Told {
    /// True when the API shows other conditions than were submitted: the news is on its way, or somebody else has written.
    pub fn differs(&self, pod: &Pod) -> bool {
        let shown = pod.status.as_ref().map(own_conditions);
        self.0.borrow().what.as_ref().is_some_and(|(_, status)| shown != Some(own_conditions(status)))
    }
}

/// True when two statuses say the same about all that is the kubelet's to say.
pub fn same(a: &PodStatus, b: &PodStatus) -> bool {
    let rest = |status: &PodStatus| {
        let mut rest = PodStatus { conditions: None, ..status.clone() };
        let lists = [&mut rest.init_container_statuses, &mut rest.container_statuses, &mut rest.ephemeral_container_statuses];
        for container in lists.into_iter().flatten().flatten() {
            // Servers may answer with an empty state for none.
            container.last_state.take_if(|state| *state == ContainerState::default());
        }
        rest
    };
    own_conditions(a) == own_conditions(b) && rest(a) == rest(b)
}

fn own_conditions(status: &PodStatus) -> Vec<&PodCondition> {
    let mut own: Vec<&PodCondition> = status.conditions.iter().flatten().filter(|c| is_own(&c.type_)).collect();
    own.sort_by(|a, b| a.type_.cmp(&b.type_));
    own
}

#[derive(Clone, Debug, Default)]
struct Submitted {
    number: u64,
    what: Option<(Arc<Pod>, PodStatus)>,
}

impl Publisher {
    /// Starts the task.
    pub fn start(cluster: Arc<dyn Cluster>) -> Self {
        let (newest, submitted) = watch::channel(Submitted::default());
        let (done, stored) = watch::channel(0);
        let task = tokio::spawn(write(cluster, submitted, done));
        Self { newest, stored, _task: AbortOnDropHandle::new(task) }
    }

    /// Replaces what is to be written. `pod` is the object as last seen.
    pub fn submit(&self, pod: Arc<Pod>, status: PodStatus) {
        self.newest.send_modify(|s| {
            s.number += 1;
            s.what = Some((pod, status));
        });
    }

    /// What was last submitted, from now on.
    pub fn told(&self) -> Told {
        Told(self.newest.subscribe())
    }

    /// Waits until everything submitted is stored, or the pod is gone.
    pub async fn flush(&self) {
        let number = self.newest.borrow().number;
        let mut stored = self.stored.clone();
        // The task lives as long as `self`.
        let _ = stored.wait_for(|done| *done >= number).await;
    }
}

async fn write(cluster: Arc<dyn Cluster>, mut submitted: watch::Receiver<Submitted>, done: watch::Sender<u64>) {
    let mut delay = FIRST;
    let mut base: Option<Arc<Pod>> = None;
    loop {
        let Submitted { number, what } = submitted.borrow_and_update().clone();
        let mut failed = false;
        if let Some((pod, status)) = what {
            let before = newer(base.as_ref(), &pod).clone();
            if !before.status.as_ref().is_some_and(|known| same(known, &status)) {
                match cluster.write_status(&before, &status).await {
                    Ok(Written::Stored(stored)) => {
                        tracing::debug!(pod = %PodKey::of(&pod), phase = status.phase, "status written");
                        base = Some(Arc::new(*stored));
                    }
                    Ok(Written::Gone) => base = None,
                    Err(error) => {
                        tracing::debug!(pod = %PodKey::of(&pod), %error, "status not written");
                        failed = true;
                    }
                }
            }
        }
        if failed {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST);
            continue;
        }
        delay = FIRST;
        done.send_replace(number);
        if submitted.changed().await.is_err() {
            return;
        }
    }
}

/// What the server answered last, unless the watch has brought something newer.
fn newer<'a>(answered: Option<&'a Arc<Pod>>, seen: &'a Arc<Pod>) -> &'a Arc<Pod> {
    let version = |pod: &Pod| pod.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    answered.filter(|pod| pod.metadata.uid == seen.metadata.uid && version(pod) >= version(seen)).unwrap_or(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(version: &str, ready: &str) -> Arc<Pod> {
        let conditions = json!([{"type": "x/gate", "status": "True"}, {"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": "True"}]);
        let value = json!({"metadata": {"uid": "u", "resourceVersion": version}, "status": {"phase": "Running", "conditions": conditions}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn only_the_kubelets_own_conditions_count_in_any_order() {
        let status = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let shown = pod("1", "True").status.clone().unwrap();
        let made = status(
            json!({"phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "True"}]}),
        );
        assert!(same(&shown, &made));
        assert!(!same(&shown, &PodStatus { phase: Some("Failed".into()), ..made.clone() }));
        assert!(!same(&pod("1", "False").status.clone().unwrap(), &made));
    }

    #[test]
    fn the_newer_object_is_the_base() {
        let (old, new) = (pod("9", "True"), pod("10", "False"));
        assert!(Arc::ptr_eq(newer(Some(&new), &old), &new));
        assert!(Arc::ptr_eq(newer(Some(&old), &new), &new));
        assert!(Arc::ptr_eq(newer(None, &old), &old));
    }

    #[test]
    fn what_somebody_else_wrote_over_is_noticed() {
        let (newest, receiver) = watch::channel(Submitted::default());
        let told = Told(receiver);
        assert!(!told.differs(&pod("1", "False")), "nothing was said yet");
        newest.send_replace(Submitted { number: 1, what: Some((pod("1", "False"), pod("1", "True").status.clone().unwrap())) });
        assert!(told.differs(&pod("2", "False")));
        assert!(!told.differs(&pod("2", "True")));
    }
}
