//! Pure: which pods a disruption budget would keep (`policy/v1 PodDisruptionBudget`). How many a budget allows is counted by its controller.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use orknet_reconciler::selector;

use crate::pod_info::PodInfo;

/// The budgets of all namespaces at one moment.
#[derive(Default)]
pub(crate) struct Budgets(Vec<Arc<PodDisruptionBudget>>);

/// What the going of a pod would mean to the budgets that select it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Allowed,
    Breaks,
}

impl Budgets {
    pub fn new(budgets: Vec<Arc<PodDisruptionBudget>>) -> Self {
        Self(budgets)
    }

    /// Judges pods that would all go, in this order: each that goes leaves its budgets one less. One that an eviction has been granted for is counted
    /// already.
    pub fn judged(&self, pods: Vec<Arc<PodInfo>>) -> Vec<(Arc<PodInfo>, Disturbance)> {
        let mut allowed: Vec<i32> =
            self.0.iter().map(|budget| budget.status.as_ref().map_or(0, |status| status.disruptions_allowed)).collect();
        let judge = |pod: Arc<PodInfo>| {
            let mut disturbance = Disturbance::Allowed;
            for (_, allowed) in self.0.iter().zip(&mut allowed).filter(|(budget, _)| counts(budget, &pod)) {
                *allowed -= 1;
                if *allowed < 0 {
                    disturbance = Disturbance::Breaks;
                }
            }
            (pod, disturbance)
        };
        pods.into_iter().map(judge).collect()
    }
}

/// A budget without a selector, or with an empty one, keeps nothing here, and a pod without labels is in no budget.
fn counts(budget: &PodDisruptionBudget, info: &PodInfo) -> bool {
    let (meta, name) = (&info.pod.metadata, info.pod.metadata.name.as_deref().unwrap_or_default());
    let selects = |chosen| !selector::is_empty(chosen) && selector::matches(chosen, info.labels());
    let is_granted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref()).is_some_and(|pods| pods.contains_key(name));
    budget.metadata.namespace == meta.namespace
        && info.labels().is_some_and(|labels| !labels.is_empty())
        && budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(selects)
        && !is_granted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::test_objects::pod;

    fn judged(budget: Value) -> Vec<Disturbance> {
        let pods = ["a", "b", "c"].map(|name| Arc::new(PodInfo::new(pod(name, json!({})))));
        let budgets = Budgets::new(vec![Arc::new(serde_json::from_value(budget).unwrap())]);
        budgets.judged(pods.into()).into_iter().map(|(_, disturbance)| disturbance).collect()
    }

    #[test]
    fn a_budget_allows_so_many_of_its_own() {
        use Disturbance::{Allowed, Breaks};
        let budget = |namespace: &str, selector: Value, status: Value| json!({"metadata": {"name": "x", "namespace": namespace}, "spec": {"selector": selector}, "status": status});
        let web = json!({"matchLabels": {"app": "web"}});
        let status = |allowed: i32| json!({"disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3});
        assert_eq!(judged(budget("default", web.clone(), status(1))), [Allowed, Breaks, Breaks]);
        let mut granted = status(1);
        granted["disruptedPods"] = json!({"a": "2026-01-01T00:00:00Z"});
        assert_eq!(judged(budget("default", web.clone(), granted)), [Allowed, Allowed, Breaks]);
        for other in [
            budget("other", web, status(0)),
            budget("default", json!({}), status(0)),
            budget("default", json!({"matchLabels": {"app": "db"}}), status(0)),
        ] {
            assert_eq!(judged(other), [Allowed, Allowed, Allowed]);
        }
    }
}
