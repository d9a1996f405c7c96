//! Pure: the numbers of a Deployment's strategy (`spec.strategy`), with the API's defaults and rounding.

use k8s_openapi::api::apps::v1::{DeploymentSpec, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::portion::portion;

/// The strategy in absolute numbers of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub replicas: i32,
    /// Pods allowed above `replicas`.
    pub max_surge: i32,
    /// Pods that may be missing below `replicas`.
    pub max_unavailable: i32,
}

impl Bounds {
    pub fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1).max(0);
        if is_recreate(spec) {
            return Self { replicas, max_surge: 0, max_unavailable: 0 };
        }
        let default = RollingUpdateDeployment::default();
        let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref()).unwrap_or(&default);
        let quarter = IntOrString::String("25%".into());
        let max_surge = portion(rolling.max_surge.as_ref().unwrap_or(&quarter), replicas, true);
        let mut max_unavailable = portion(rolling.max_unavailable.as_ref().unwrap_or(&quarter), replicas, false);
        if max_surge == 0 && max_unavailable == 0 {
            // Percentages that round to nothing must not stop the rollout.
            max_unavailable = 1;
        }
        Self { replicas, max_surge, max_unavailable: max_unavailable.min(replicas) }
    }

    pub fn most(&self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }

    pub fn fewest(&self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

pub(super) fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}
