//! Since when what is being written has been true: the annotation from which consumers tell how long a change takes to reach them
//! (SLI "network programming latency"). It is the earliest of the times that changed since the last write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::{ObjectKey, pod_state};
use parking_lot::Mutex;

const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The times that were seen at the last pass over each Service.
#[derive(Default)]
pub(crate) struct TriggerTimes {
    services: Mutex<HashMap<ObjectKey, Seen>>,
}

#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The time of the change that this pass answers; `None` when no time has changed.
    pub fn of(&self, key: &ObjectKey, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let now = Seen {
            service: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            pods: pods.iter().filter_map(|pod| Some((pod.metadata.name.clone()?, changed_at(pod)?))).collect(),
        };
        let mut services = self.services.lock();
        let Some(before) = services.get(key) else {
            let created = now.service;
            services.insert(key.clone(), now);
            return created;
        };
        let pods = now.pods.iter().filter(|(name, time)| before.pods.get(*name).is_none_or(|known| known < time)).map(|(_, time)| *time);
        let first = pods.chain(now.service.filter(|_| now.service > before.service)).min();
        services.insert(key.clone(), now);
        first
    }

    /// The Service is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.services.lock().remove(key);
    }
}

/// Puts the time into an object's annotations, or takes an older one off.
pub(crate) fn annotate(annotations: &mut Option<BTreeMap<String, String>>, time: Option<Timestamp>) {
    let mut all = annotations.take().unwrap_or_default();
    match time {
        Some(time) => drop(all.insert(ANNOTATION.into(), time.to_string())),
        None => drop(all.remove(ANNOTATION)),
    }
    *annotations = Some(all).filter(|all| !all.is_empty());
}

fn changed_at(pod: &Pod) -> Option<Timestamp> {
    pod_state::condition(pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(name: &str, second: i64) -> Arc<Pod> {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": at(second)});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": [ready]}})).unwrap())
    }

    #[test]
    fn the_earliest_time_that_is_new_counts_once() {
        let (times, key) = (TriggerTimes::default(), ObjectKey::new("default", "web"));
        let service: Service = serde_json::from_value(json!({"metadata": {"creationTimestamp": at(5)}})).unwrap();
        assert_eq!(times.of(&key, &service, &[pod("a", 9)]), Some(at(5)));
        assert_eq!(times.of(&key, &service, &[pod("a", 9)]), None);
        assert_eq!(times.of(&key, &service, &[pod("a", 9), pod("b", 30), pod("c", 20)]), Some(at(20)));
        assert_eq!(times.of(&key, &service, &[pod("a", 40), pod("b", 30), pod("c", 20)]), Some(at(40)));
        times.forget(&key);
        assert_eq!(times.of(&key, &service, &[pod("a", 40)]), Some(at(5)));
    }

    #[test]
    fn an_old_time_does_not_stay() {
        let mut annotations = None;
        annotate(&mut annotations, Some(at(5)));
        assert_eq!(annotations.as_ref().unwrap()[ANNOTATION], "1970-01-01T00:00:05Z");
        annotate(&mut annotations, None);
        assert_eq!(annotations, None);
    }
}
