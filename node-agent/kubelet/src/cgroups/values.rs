//! A pod's cgroup settings: the sum of its containers' requests, and of their limits where every container has one. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::containers::resources::{PERIOD, amount, quota, shares};

/// Settings of a pod's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    /// CPU shares in v1 units.
    pub cpu_shares: i64,
    /// CFS quota in microseconds per period; none is unlimited.
    pub cpu_quota: Option<i64>,
    /// Memory limit in bytes; none is unlimited.
    pub memory_limit: Option<i64>,
    /// Largest number of processes.
    pub pids_limit: Option<i64>,
}

impl PodCgroup {
    /// The settings of a pod.
    pub fn of(pod: &Pod, pids_limit: Option<i64>) -> Self {
        Self {
            cpu_shares: shares(pod_request(pod, "cpu")),
            cpu_quota: pod_limit(pod, "cpu").map(quota).filter(|q| *q > 0),
            memory_limit: pod_limit(pod, "memory").filter(|m| *m > 0),
            pids_limit,
        }
    }

    /// What stands in which file of which v1 controller.
    pub fn files_v1(&self) -> [(&'static str, &'static str, String); 5] {
        let or_unlimited = |limit: Option<i64>| limit.unwrap_or(-1).to_string();
        [
            ("cpu", "cpu.shares", self.cpu_shares.to_string()),
            ("cpu", "cpu.cfs_period_us", PERIOD.to_string()),
            ("cpu", "cpu.cfs_quota_us", or_unlimited(self.cpu_quota)),
            ("memory", "memory.limit_in_bytes", or_unlimited(self.memory_limit)),
            ("pids", "pids.max", or_max(self.pids_limit)),
        ]
    }

    /// What stands in which v2 file.
    pub fn files_v2(&self) -> [(&'static str, String); 4] {
        [
            ("cpu.weight", self.cpu_weight().to_string()),
            ("cpu.max", format!("{} {PERIOD}", or_max(self.cpu_quota))),
            ("memory.max", or_max(self.memory_limit)),
            ("pids.max", or_max(self.pids_limit)),
        ]
    }

    /// The v2 weight (1 to 10000) of the v1 shares, as runc converts them.
    pub fn cpu_weight(&self) -> i64 {
        1 + ((self.cpu_shares - 2) * 9999) / 262_142
    }
}

fn or_max(limit: Option<i64>) -> String {
    limit.map_or("max".to_owned(), |l| l.to_string())
}

/// What the whole pod asks for: sums over main containers and sidecars, or what one init container needs on its own.
pub fn pod_request(pod: &Pod, name: &str) -> i64 {
    total(pod, &|container| Some(amount(container, false, name).unwrap_or(0))).unwrap_or(0)
}

/// The pod's limit, when every container has one.
pub fn pod_limit(pod: &Pod, name: &str) -> Option<i64> {
    total(pod, &|container| amount(container, true, name))
}

fn total(pod: &Pod, of: &dyn Fn(&Container) -> Option<i64>) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let (mut sidecars, mut largest_init) = (0i64, 0i64);
    for container in spec.init_containers.iter().flatten() {
        let own = of(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.saturating_add(own);
            largest_init = largest_init.max(sidecars);
        } else {
            largest_init = largest_init.max(sidecars.saturating_add(own));
        }
    }
    let mut sum = sidecars;
    for container in &spec.containers {
        sum = sum.saturating_add(of(container)?);
    }
    Some(sum.max(largest_init))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: serde_json::Value, init: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": {"containers": containers, "initContainers": init}})).unwrap()
    }

    #[test]
    fn requests_add_up_and_limits_only_when_all_have_one() {
        let with = serde_json::json!({"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}, "requests": {"cpu": "250m"}}});
        let without = serde_json::json!({"name": "b", "resources": {"requests": {"cpu": "1"}}});
        let made = PodCgroup::of(&pod(serde_json::json!([with.clone(), without]), serde_json::json!([])), Some(9));
        assert_eq!(made, PodCgroup { cpu_shares: 1280, cpu_quota: None, memory_limit: None, pids_limit: Some(9) });
        let made = PodCgroup::of(&pod(serde_json::json!([with.clone(), with]), serde_json::json!([])), None);
        assert_eq!(made, PodCgroup { cpu_shares: 512, cpu_quota: Some(100_000), memory_limit: Some(2 << 20), pids_limit: None });
    }

    #[test]
    fn a_large_init_container_counts_on_its_own() {
        let container = |name: &str, cpu: &str| serde_json::json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("s", "1");
        sidecar["restartPolicy"] = "Always".into();
        let pod = pod(serde_json::json!([container("a", "1")]), serde_json::json!([sidecar, container("i", "3")]));
        assert_eq!(pod_request(&pod, "cpu"), 4000);
    }

    #[test]
    fn both_kinds_of_hierarchy_say_the_same_in_their_own_words() {
        let limited = PodCgroup { cpu_shares: 1024, cpu_quota: Some(50_000), memory_limit: Some(64 << 20), pids_limit: Some(100) };
        let free = PodCgroup { cpu_shares: 2, cpu_quota: None, memory_limit: None, pids_limit: None };
        let v1 = |values: &PodCgroup| values.files_v1().map(|(_, file, text)| format!("{file}={text}"));
        let v2 = |values: &PodCgroup| values.files_v2().map(|(file, text)| format!("{file}={text}"));
        let want =
            ["cpu.shares=1024", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000", "memory.limit_in_bytes=67108864", "pids.max=100"];
        assert_eq!(v1(&limited), want);
        let want = ["cpu.shares=2", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=-1", "memory.limit_in_bytes=-1", "pids.max=max"];
        assert_eq!(v1(&free), want);
        assert_eq!(v2(&limited), ["cpu.weight=39", "cpu.max=50000 100000", "memory.max=67108864", "pids.max=100"]);
        assert_eq!(v2(&free), ["cpu.weight=1", "cpu.max=max 100000", "memory.max=max", "pids.max=max"]);
    }

    #[test]
    fn weights_span_the_range_of_shares() {
        let weight = |cpu_shares| PodCgroup { cpu_shares, cpu_quota: None, memory_limit: None, pids_limit: None }.cpu_weight();
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
