//! Pure: a change of `spec.replicas` while several revisions have pods (mid-rollout or paused): spread over them in proportion to their sizes.

use super::rolling;
use super::set::{DESIRED_REPLICAS, MAX_REPLICAS, Set, total};
use super::strategy::Bounds;

/// Whether the Deployment's size has changed since the sizes of its sets were chosen.
pub(super) fn is_needed(current: Option<&Set>, old: &[Set], bounds: Bounds) -> bool {
    current.into_iter().chain(old).filter(|set| set.replicas > 0).any(|set| {
        let chosen_for = set.annotation(DESIRED_REPLICAS).and_then(|desired| desired.parse::<i32>().ok());
        chosen_for.is_some_and(|chosen_for| chosen_for != bounds.replicas)
    })
}

/// Plans the sizes. `proportional` is false for the Recreate strategy, which has one active set at a time.
pub(super) fn plan(mut current: Option<&mut Set>, old: &mut [Set], bounds: Bounds, deployment_pods: i32, proportional: bool) {
    if let Some(only) = active_or_latest(current.as_deref_mut(), old) {
        only.scale(bounds.replicas, bounds);
        return;
    }
    if current.as_deref().is_some_and(|current| is_saturated(current, bounds)) {
        rolling::empty(old, bounds);
        return;
    }
    if proportional {
        let mut active: Vec<_> = current.into_iter().chain(old).filter(|set| set.replicas > 0).collect();
        spread(&mut active, bounds, deployment_pods);
    }
}

/// The one set with pods; with none, the current set or else the newest old one; `None` when several have pods.
fn active_or_latest<'a>(current: Option<&'a mut Set>, old: &'a mut [Set]) -> Option<&'a mut Set> {
    let active = current.iter().filter(|set| set.replicas > 0).count() + old.iter().filter(|set| set.replicas > 0).count();
    match active {
        0 if current.is_some() => current,
        0 => old.iter_mut().max_by_key(|set| (set.created(), set.name().to_string())),
        1 => current.into_iter().chain(old).find(|set| set.replicas > 0),
        _ => None,
    }
}

fn is_saturated(current: &Set, bounds: Bounds) -> bool {
    let chosen_for = current.annotation(DESIRED_REPLICAS).and_then(|desired| desired.parse::<i32>().ok());
    current.replicas == bounds.replicas && chosen_for == Some(bounds.replicas) && current.available() == bounds.replicas
}

fn spread(active: &mut [&mut Set], bounds: Bounds, deployment_pods: i32) {
    let all = total(active.iter().map(|set| set.replicas));
    let allowed = if bounds.replicas > 0 { bounds.most() } else { 0 };
    let to_add = allowed.saturating_sub(all);
    // The largest sets first; among equals the newer grow first and the older shrink first.
    active.sort_by(|one, other| {
        let by_age = if to_add > 0 { other.created().cmp(&one.created()) } else { one.created().cmp(&other.created()) };
        other.replicas.cmp(&one.replicas).then(by_age).then_with(|| one.name().cmp(other.name()))
    });
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in active.iter() {
        let share = if to_add == 0 { 0 } else { share_of(set, bounds, deployment_pods, to_add, added) };
        sizes.push(set.replicas.saturating_add(share));
        added += share;
    }
    for (index, (set, size)) in active.iter_mut().zip(sizes).enumerate() {
        let leftover = if index == 0 { to_add - added } else { 0 };
        set.scale(size.saturating_add(leftover).max(0), bounds);
    }
}

fn share_of(set: &Set, bounds: Bounds, deployment_pods: i32, to_add: i32, added: i32) -> i32 {
    let allowed = to_add - added;
    if set.replicas == 0 || allowed == 0 {
        return 0;
    }
    let share = if bounds.replicas == 0 {
        -set.replicas
    } else {
        let annotated = set.annotation(MAX_REPLICAS).and_then(|most| most.parse::<i32>().ok()).unwrap_or(deployment_pods).max(1);
        let size = f64::from(set.replicas) * f64::from(bounds.most()) / f64::from(annotated);
        // Rounded half away from zero; the product of two i32 over at least one fits after the clamp of the cast.
        size.round() as i32 - set.replicas
    };
    if to_add > 0 { share.min(allowed) } else { share.max(allowed) }
}
