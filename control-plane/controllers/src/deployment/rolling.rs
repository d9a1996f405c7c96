//! Pure: one step of a rolling update. Grows the current set as far as `maxSurge` allows, or else shrinks the old ones as far as
//! `maxUnavailable` allows; one of the two per pass, so that each step is judged by what the cluster then reports.

use super::set::{Set, total};
use super::strategy::Bounds;

/// Plans one step. Returns whether any size was changed.
pub(super) fn step(current: &mut Set, old: &mut [Set], bounds: Bounds) -> bool {
    let wanted = current_size(current, old, bounds);
    if wanted != current.replicas {
        current.scale(wanted, bounds);
        return true;
    }
    shrink_old(current, old, bounds)
}

/// How large the current set may be now, given the pods of all.
pub(super) fn size_for(own: i32, all: i32, bounds: Bounds) -> i32 {
    if own >= bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.most().saturating_sub(all);
    if room <= 0 { own } else { own + room.min(bounds.replicas - own) }
}

/// Plans zero for every old set. Returns whether any was larger.
pub(super) fn empty(old: &mut [Set], bounds: Bounds) -> bool {
    let mut changed = false;
    for set in old.iter_mut().filter(|set| set.replicas > 0) {
        set.scale(0, bounds);
        changed = true;
    }
    changed
}

fn current_size(current: &Set, old: &[Set], bounds: Bounds) -> i32 {
    let all = total([current].into_iter().chain(old).map(|set| set.replicas));
    size_for(current.replicas, all, bounds)
}

fn shrink_old(current: &Set, old: &mut [Set], bounds: Bounds) -> bool {
    let old_pods = total(old.iter().map(|set| set.replicas));
    if old_pods == 0 {
        return false;
    }
    let unavailable_in_current = current.replicas - current.available();
    let spare = current.replicas.saturating_add(old_pods).saturating_sub(bounds.fewest()).saturating_sub(unavailable_in_current);
    if spare <= 0 {
        return false;
    }
    old.sort_by_key(|set| (set.created(), set.name().to_string()));
    let unhealthy = remove_unhealthy(old, spare, bounds);
    unhealthy | remove_healthy(current, old, bounds)
}

/// Pods that serve nobody go first: they cost no availability.
fn remove_unhealthy(old: &mut [Set], most: i32, bounds: Bounds) -> bool {
    let mut removed = 0;
    for set in old.iter_mut() {
        let unhealthy = set.replicas - set.available();
        let take = unhealthy.min(most - removed);
        if set.replicas > 0 && take > 0 {
            set.scale(set.replicas - take, bounds);
            removed += take;
        }
    }
    removed > 0
}

fn remove_healthy(current: &Set, old: &mut [Set], bounds: Bounds) -> bool {
    let available = current.available().saturating_add(total(old.iter().map(|set| set.available().min(set.replicas))));
    let mut left = available.saturating_sub(bounds.fewest());
    let mut changed = false;
    for set in old.iter_mut() {
        let take = set.replicas.min(left);
        if take > 0 {
            set.scale(set.replicas - take, bounds);
            left -= take;
            changed = true;
        }
    }
    changed
}
