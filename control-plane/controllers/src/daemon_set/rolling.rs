//! Pure: which old pods go in a rolling update, within `maxUnavailable`, or which nodes get a second, new one, within `maxSurge`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orknet_reconciler::pod_state;

use super::placement::Fit;
use super::plan::{Observed, Plan, PodsByNode, is_available, is_current, living};
use crate::portion::portion;

/// Whether an update may run a new pod beside an old one (`maxSurge`).
pub(super) fn allows_surge(observed: &Observed<'_>) -> bool {
    surge(observed, 1) > 0
}

/// `maxSurge` as a number of nodes, of those that want a pod; 0 also when there is no rolling update.
fn surge(observed: &Observed<'_>, wanted: usize) -> usize {
    let strategy = observed.spec.update_strategy.as_ref().filter(|strategy| strategy.type_.as_deref() == Some("RollingUpdate"));
    let surge = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_surge.as_ref());
    surge.map_or(0, |surge| of_nodes(surge, wanted))
}

/// Adds the update's steps to the plan, in which nodes without a pod and pods too many are settled already.
pub(super) fn plan(observed: &Observed<'_>, pods: &PodsByNode<'_>, fits: &BTreeMap<&str, Fit>, plan: &mut Plan) {
    let strategy = observed.spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return;
    }
    let wanted: Vec<&str> = fits.iter().filter(|(_, fit)| **fit == Fit::Wanted).map(|(node, _)| *node).collect();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let (mut spare, mut unavailable) = (Vec::new(), 0);
    let (surge, mut surging) = (surge(observed, wanted.len()), 0);
    for node in wanted.iter().copied() {
        let here = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        let running: Vec<_> = living(here).filter(|pod| pod_state::is_active(pod)).collect();
        let new = running.iter().find(|pod| is_current(observed, pod));
        let old = running.iter().find(|pod| !is_current(observed, pod));
        match (new, old) {
            // Without surge one of the two is too many already, and is being settled.
            (Some(_), Some(_)) if surge == 0 => unavailable += 1,
            (Some(new), Some(old)) if is_available(observed, new) => plan.delete.push((*old).clone()),
            (Some(_), Some(_)) => surging += 1,
            (Some(new), None) => unavailable += usize::from(!is_available(observed, new)),
            // One that serves nobody costs nothing to replace.
            (None, Some(old)) if !is_available(observed, old) => {
                plan.delete.push((*old).clone());
                unavailable += 1;
            }
            (None, Some(old)) => spare.push((node, (*old).clone())),
            (None, None) => unavailable += 1,
        }
    }
    if surge > 0 {
        let room = surge.saturating_sub(surging);
        plan.create.extend(spare.into_iter().take(room).map(|(node, _)| node.to_owned()));
    } else {
        let one = IntOrString::Int(1);
        let limit = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&one);
        let room = of_nodes(limit, wanted.len()).saturating_sub(unavailable);
        plan.delete.extend(spare.into_iter().take(room).map(|(_, pod)| pod));
    }
}

fn of_nodes(value: &IntOrString, nodes: usize) -> usize {
    let count = portion(value, i32::try_from(nodes).unwrap_or(i32::MAX), true);
    usize::try_from(count).unwrap_or(0)
}
