//! Whether a pod that was bound to this node may begin on it: somebody may have bound it by hand, or the node has changed since the
//! scheduler looked. Decided once per pod, before anything is made for it; a pod that has begun, under whatever kubelet, is never asked
//! again. What the decision rests on is read anew each time; what it is, is in `fit` and `sysctls`.

mod fit;
mod requests;
mod sysctls;

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Context, PodKey};
use crate::cri::labels;
use crate::error::Error;
use crate::node::object;
use crate::status::reason::Waiting;

/// Pods that may run, by uid.
#[derive(Default)]
pub struct Admission {
    /// Those that this kubelet admitted. Decisions are made one at a time.
    admitted: Mutex<HashSet<String>>,
    /// Those that had a sandbox before the first decision.
    found: OnceCell<HashSet<String>>,
}

impl Admission {
    /// Forgets a pod that is gone.
    pub fn forget(&self, uid: &str) {
        self.admitted.lock().remove(uid);
    }
}

/// Admits the pod, or answers why it is refused. A refusal never rests on an old copy of the Node.
///
/// # Errors
/// containerd or the API server could not be asked; nothing is decided.
pub(super) async fn admit(context: &Context, pod: &Pod) -> Result<Option<Waiting>, Error> {
    let found = context.admission.found.get_or_try_init(|| sandboxes(context)).await?;
    if let Some(node) = context.cluster.node()
        && decide(context, pod, &node, found).is_none()
    {
        return Ok(None);
    }
    // A kubelet that is not registered yet knows what it will register.
    let node = context.cluster.read_node().await?.unwrap_or_else(|| Arc::new(object::node(&context.config)));
    Ok(decide(context, pod, &node, found))
}

/// Decides and remembers. Counts the pods that the API has on this node and that may run.
fn decide(context: &Context, pod: &Pod, node: &Node, found: &HashSet<String>) -> Option<Waiting> {
    let mut admitted = context.admission.admitted.lock();
    let has_begun = |pod: &Pod, uid: &str| {
        // A kubelet tells when it first saw a pod in the same breath as that it runs it, or that it does not.
        let told = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        told || admitted.contains(uid) || found.contains(uid)
    };
    let uid = PodKey::of(pod).uid;
    if !has_begun(pod, &uid) {
        let known = context.known.read();
        let others = known.iter().filter(|(other, pod)| **other != uid && !has_ended(pod) && has_begun(pod, other)).map(|(_, pod)| &**pod);
        let allocatable = requests::allocatable(node, &object::capacity(&context.config, &context.machine));
        let refusal = sysctls::refusal(pod, &context.config.allowed_unsafe_sysctls);
        if let Some(refusal) = refusal.or_else(|| fit::refusal(pod, node, &allocatable, &others.collect::<Vec<_>>())) {
            return Some(refusal);
        }
    }
    admitted.insert(uid);
    None
}

fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Uids of the pods that have a sandbox in any state.
async fn sandboxes(context: &Context) -> Result<HashSet<String>, Error> {
    let listed = context.cri.list_sandboxes(std::collections::HashMap::new()).await?;
    Ok(listed.iter().filter_map(|sandbox| labels::pod_of(&sandbox.labels)).map(|pod| pod.uid).collect())
}
