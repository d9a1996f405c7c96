//! Since when a pod has been on a tainted node, where the objects do not tell: `kubectl taint` gives a taint no `timeAdded`. Kept in memory
//! as long as the node has such a taint; after a restart the time begins anew.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::ObjectKey;
use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct FirstSeen {
    /// Uid and time of each pod that waits.
    pods: Mutex<HashMap<ObjectKey, (Option<String>, Timestamp)>>,
}

impl FirstSeen {
    /// When the pod was first asked about.
    pub fn since(&self, key: &ObjectKey, uid: Option<&str>, now: Timestamp) -> Timestamp {
        let mut pods = self.pods.lock();
        let seen = pods.entry(key.clone()).or_insert_with(|| (uid.map(str::to_owned), now));
        if seen.0.as_deref() != uid {
            *seen = (uid.map(str::to_owned), now);
        }
        seen.1
    }

    /// The pod is gone, or its node no longer tainted.
    pub fn forget(&self, key: &ObjectKey) {
        self.pods.lock().remove(key);
    }
}
