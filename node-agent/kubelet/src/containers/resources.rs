//! Requests and limits as numbers for the kernel: CPU shares and quota, memory limit, OOM score. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::cri::proto::LinuxContainerResources;
use crate::pods::qos::Qos;
use crate::quantity;

/// CFS period in microseconds.
pub const PERIOD: i64 = 100_000;

/// CPU shares (v1) of a request in thousandths of a CPU: 1024 per CPU, at least 2, at most the kernel's limit.
pub fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// CFS quota in microseconds per [`PERIOD`] of a limit in thousandths of a CPU, at least the kernel's 1 ms; 0 means none.
pub fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { 0 } else { (milli_cpu.saturating_mul(PERIOD) / 1000).max(1000) }
}

/// The amount of a container's limit or request, in thousandths for cpu and in units for all else.
pub fn amount(container: &Container, limit: bool, name: &str) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let limits = resources.limits.as_ref().and_then(|m| m.get(name));
    let chosen = if limit { limits } else { resources.requests.as_ref().and_then(|m| m.get(name)).or(limits) }?;
    let amount = if name == "cpu" { quantity::milli(chosen) } else { quantity::value(chosen) };
    amount.filter(|a| *a > 0)
}

/// A container's settings. `memory_capacity` is the node's memory in bytes, `unified` tells that cgroups are pure v2: there, and only
/// there, the kernel kills all of a container when it is out of memory.
pub fn of_container(pod: &Pod, container: &Container, memory_capacity: i64, unified: bool) -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(amount(container, true, "cpu").unwrap_or(0)),
        cpu_shares: shares(amount(container, false, "cpu").unwrap_or(0)),
        memory_limit_in_bytes: amount(container, true, "memory").unwrap_or(0),
        oom_score_adj: oom_score(Qos::of(pod), amount(container, false, "memory").unwrap_or(0), memory_capacity),
        unified: unified.then(|| ("memory.oom.group".to_owned(), "1".to_owned())).into_iter().collect(),
        ..Default::default()
    }
}

/// The kernel's preference for killing a container: the more of its memory request a pod exceeds, the sooner.
pub fn oom_score(qos: Qos, memory_request: i64, memory_capacity: i64) -> i64 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let share = memory_request.saturating_mul(1000).checked_div(memory_capacity).unwrap_or(0);
            (1000 - share).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_amounts_become_shares_and_quota() {
        for (milli, want_shares, want_quota) in [
            (0, 2, 0),
            (1, 2, 1000),
            (100, 102, 10_000),
            (1000, 1024, 100_000),
            (2500, 2560, 250_000),
            (i64::MAX, 262_144, i64::MAX / 1000),
        ] {
            assert_eq!((shares(milli), quota(milli)), (want_shares, want_quota), "{milli}");
        }
    }

    #[test]
    fn a_limit_stands_in_for_a_missing_request() {
        let container: Container =
            serde_json::from_str(r#"{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}}}"#).unwrap();
        let made = of_container(&Pod::default(), &container, 1 << 30, false);
        assert!(made.unified.is_empty());
        assert_eq!(of_container(&Pod::default(), &container, 1 << 30, true).unified["memory.oom.group"], "1");
        assert_eq!((made.cpu_quota, made.cpu_shares, made.memory_limit_in_bytes), (50_000, 512, 1 << 20));
    }

    #[test]
    fn oom_scores_follow_the_class() {
        assert_eq!(oom_score(Qos::Guaranteed, 0, 1), -997);
        assert_eq!(oom_score(Qos::BestEffort, 0, 1), 1000);
        assert_eq!(oom_score(Qos::Burstable, 1 << 29, 1 << 30), 500);
        assert_eq!(oom_score(Qos::Burstable, 1 << 30, 1 << 30), 3);
        assert_eq!(oom_score(Qos::Burstable, 0, 0), 999);
    }
}
