//! A pod's quality-of-service class, from the requests and limits of its containers. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::quantity::nanos;

/// The class as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has equal requests and limits for cpu and memory.
    Guaranteed,
    /// Something between.
    Burstable,
    /// No container asks for anything.
    BestEffort,
}

impl Qos {
    /// The pod's class.
    pub fn of(pod: &Pod) -> Self {
        let containers: Vec<&Container> = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers)).collect();
        let amount = |c: &Container, limits: bool, name: &str| -> Option<i128> {
            let resources = c.resources.as_ref()?;
            let map = if limits { resources.limits.as_ref()? } else { resources.requests.as_ref()? };
            map.get(name).and_then(|q| nanos(&q.0)).filter(|n| *n > 0)
        };
        let any = |c: &&Container| ["cpu", "memory"].iter().any(|r| amount(c, true, r).is_some() || amount(c, false, r).is_some());
        let exact = |c: &&Container| {
            ["cpu", "memory"].iter().all(|r| {
                let limit = amount(c, true, r);
                limit.is_some() && amount(c, false, r).or(limit) == limit
            })
        };
        if !containers.iter().any(any) {
            Self::BestEffort
        } else if containers.iter().all(exact) {
            Self::Guaranteed
        } else {
            Self::Burstable
        }
    }

    /// The name in `status.qosClass`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_requests_and_limits() {
        for (resources, want) in [
            (r#"[{}]"#, "BestEffort"),
            (r#"[{"limits":{"cpu":"1","memory":"1Gi"}}]"#, "Guaranteed"),
            (r#"[{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}}]"#, "Guaranteed"),
            (r#"[{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}]"#, "Burstable"),
            (r#"[{"limits":{"cpu":"1","memory":"1Gi"}},{}]"#, "Burstable"),
            (r#"[{"requests":{"cpu":"1m"}}]"#, "Burstable"),
            (r#"[{"requests":{"cpu":"0"}}]"#, "BestEffort"),
        ] {
            let list: Vec<serde_json::Value> = serde_json::from_str(resources).unwrap();
            let containers: Vec<_> =
                list.iter().enumerate().map(|(i, r)| serde_json::json!({"name": i.to_string(), "resources": r})).collect();
            let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": containers}})).unwrap();
            assert_eq!(Qos::of(&pod).name(), want, "{resources}");
        }
    }
}
