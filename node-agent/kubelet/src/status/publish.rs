//! Writes a pod's status to the API in the background: the newest one, until it is stored. The pod's worker never waits for the server,
//! but where a deletion needs it ([`Publisher::flush`]).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{Cluster, Written};
use crate::pods::PodKey;

/// First and longest delay between tries.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(3);

/// Writes one pod's status. Dropping it stops the writing.
pub struct Publisher {
    newest: watch::Sender<Submitted>,
    stored: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
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
            // What the server answered last is newer than what the watch has brought.
            let before = base.as_ref().filter(|b| b.metadata.uid == pod.metadata.uid).unwrap_or(&pod).clone();
            match cluster.write_status(&before, &status).await {
                Ok(Written::Stored(stored)) => base = Some(Arc::new(*stored)),
                Ok(Written::Gone) => base = None,
                Err(error) => {
                    tracing::debug!(pod = %PodKey::of(&pod), %error, "status not written");
                    failed = true;
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
