//! Pure: a quota and what was counted in, its status out.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::Change;
use orknet_resources::counting::{Amounts, Basis, bounded, is_counted, is_over, limits, requests};
use orknet_resources::quantity::Quantity;

/// Everything is counted anew so often, whatever was seen to change.
const RESYNC: Duration = Duration::from_secs(300);
/// How long a server may let pass what it does not know to be bounded: its cache is that far behind at most.
const SETTLING: Duration = Duration::from_secs(2);

/// Whether a name that the quota bounds is one that objects of the kind use something of.
pub(super) fn bounds(quota: &ResourceQuota, group: &str, plural: &str) -> bool {
    is_counted(group, plural) && names(quota).any(|name| bounded(group, plural, name))
}

/// The names that the quota bounds.
pub(super) fn names(quota: &ResourceQuota) -> impl Iterator<Item = &str> {
    quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()).map(|(name, _)| name.as_str())
}

/// Whether a quota is new, bounds something else, or enforces something else than it bounds.
pub(super) fn is_to_be_counted(change: &Change<ResourceQuota>) -> bool {
    let hard = |quota: &ResourceQuota| Amounts::read(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()));
    let Some(new) = &change.new else { return false };
    let enforced = Amounts::read(new.status.as_ref().and_then(|status| status.hard.as_ref()));
    change.old.as_ref().is_none_or(|old| hard(old) != hard(new)) || enforced != hard(new)
}

/// Whether something was charged to a quota, or given back, since it was last seen.
pub(super) fn is_charged(old: Option<&ResourceQuota>, new: &ResourceQuota) -> bool {
    let used = |quota: &ResourceQuota| Amounts::read(quota.status.as_ref().and_then(|status| status.used.as_ref()));
    old.is_none_or(|old| used(old) != used(new))
}

/// Whether a pod that was there ended or went, uses something else than before or counts elsewhere.
pub(super) fn gives_back(change: &Change<Pod>) -> bool {
    let Some(old) = &change.old else { return false };
    let Some(new) = &change.new else { return true };
    // Only whether it has ended: when its grace is over is waited for.
    let ended = |pod: &Pod| is_over(pod, Timestamp::MIN);
    // A deadline that is set later is another scope.
    let deadline = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let uses = |pod: &Pod| (requests(pod, Basis::Charged), limits(pod, Basis::Charged), deadline(pod));
    let is_marked = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    ended(old) != ended(new) || is_marked(old) != is_marked(new) || uses(old) != uses(new)
}

/// The status of a quota. `counted`: how much is used of each name that is bounded and that a kind has.
pub(super) fn status(quota: &ResourceQuota, counted: &Amounts) -> ResourceQuotaStatus {
    let hard = Amounts::read(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()));
    // Of what no kind has now, the last count stays.
    let mut used = Amounts::read(quota.status.as_ref().and_then(|status| status.used.as_ref())).only(|name| hard.get(name).is_some());
    for (name, amount) in counted.iter().filter(|(name, _)| hard.get(name).is_some()) {
        used.set(name, amount);
    }
    ResourceQuotaStatus { hard: Some(hard.to_list()), used: Some(used.to_list()) }
}

/// Whether both say the same amounts.
pub(super) fn is_same(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let amounts = |status: &ResourceQuotaStatus| (Amounts::read(status.hard.as_ref()), Amounts::read(status.used.as_ref()));
    old.is_some_and(|old| old.hard.is_some() && old.used.is_some() && amounts(old) == amounts(new))
}

/// When to count again though nothing is seen to change. `overdue`: when the first of the pods should have been gone a grace period ago.
pub(super) fn again(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus, overdue: Option<Timestamp>, now: Timestamp) -> Duration {
    let hard = |status: &ResourceQuotaStatus| Amounts::read(status.hard.as_ref());
    let is_new = old.is_none_or(|old| hard(old) != hard(new));
    let overdue = overdue.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_secs(1));
    [Some(RESYNC), is_new.then_some(SETTLING), overdue].into_iter().flatten().min().unwrap_or(RESYNC)
}

/// When a pod in deletion counts no more.
pub(super) fn overdue_at(pod: &Pod) -> Option<Timestamp> {
    let (at, grace) = (pod.metadata.deletion_timestamp.as_ref()?, pod.metadata.deletion_grace_period_seconds?);
    Timestamp::from_second(at.0.as_second().saturating_add(grace)).ok()
}

/// Nothing of each of the names.
pub(super) fn nothing<'a>(names: impl Iterator<Item = &'a str>) -> Amounts {
    names.map(|name| (name, Quantity::of_units(0))).collect()
}
