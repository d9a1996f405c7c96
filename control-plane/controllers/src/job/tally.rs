//! Pure: counting ended pods, each exactly once. A pod that ended is first named in `status.uncountedTerminatedPods`; when that is stored
//! it loses its finalizer; when that is seen, its name gives way to a number. A pass that is cut short anywhere is made up for by the next.
//! In an indexed Job success is a set of indexes, to which adding twice does no harm: it needs no names.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::indexes;
use super::pods::{has_failed, has_succeeded, index_of, is_indexed, is_tracked};
use crate::write_status::count;

/// The counts after this pass.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub succeeded: usize,
    pub failed: usize,
    /// Indexes that are done; empty where the Job has none.
    pub indexes: BTreeSet<usize>,
    uncounted: UncountedTerminatedPods,
    /// The part of the numbers that the status states as such.
    counted: (usize, usize),
    /// Pods that lose their finalizer once the status is stored.
    pub release: Vec<Arc<Pod>>,
}

/// Counts `pods`, the Job's own, on top of what `status` says. Pods that still run count as nothing.
pub(super) fn tally(spec: &JobSpec, status: &JobStatus, pods: &[Arc<Pod>]) -> Tally {
    let number = |count: Option<i32>| usize::try_from(count.unwrap_or(0)).unwrap_or(0);
    let indexed = is_indexed(spec);
    let limit = number(spec.completions);
    let old = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let held: HashMap<&str, &Arc<Pod>> =
        pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod))).collect();
    let split = |uids: Option<Vec<String>>| -> (Vec<String>, Vec<String>) {
        uids.unwrap_or_default().into_iter().partition(|uid| held.contains_key(uid.as_str()))
    };
    let (mut succeeded, done_well) = split(old.succeeded);
    let (mut failed, done_badly) = split(old.failed);
    let mut tally =
        Tally { counted: (number(status.succeeded) + done_well.len(), number(status.failed) + done_badly.len()), ..Tally::default() };
    if indexed {
        tally.indexes = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), limit);
    }
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let named = succeeded.contains(&uid) || failed.contains(&uid);
        if named {
            tally.release.push(pod.clone());
        } else if has_succeeded(pod) {
            match index_of(pod).filter(|_| indexed) {
                Some(index) if index < limit => drop(tally.indexes.insert(index)),
                // An index that is no longer asked for counts as nothing.
                Some(_) => {}
                None => succeeded.push(uid),
            }
            tally.release.push(pod.clone());
        } else if has_failed(spec, pod) {
            failed.push(uid);
            tally.release.push(pod.clone());
        }
    }
    if indexed {
        tally.counted.0 = tally.indexes.len();
    }
    tally.succeeded = tally.counted.0 + succeeded.len();
    tally.failed = tally.counted.1 + failed.len();
    let some = |uids: Vec<String>| Some(uids).filter(|uids| !uids.is_empty());
    tally.uncounted = UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) };
    tally
}

impl Tally {
    /// Whether every pod that ended is in the numbers.
    pub fn is_settled(&self) -> bool {
        self.release.is_empty() && self.uncounted == UncountedTerminatedPods::default()
    }

    /// Writes the counts into a status.
    pub fn put(&self, status: &mut JobStatus, indexed: bool) {
        status.succeeded = count(self.counted.0);
        status.failed = count(self.counted.1);
        status.uncounted_terminated_pods = Some(self.uncounted.clone());
        status.completed_indexes = Some(indexes::format(&self.indexes)).filter(|text| indexed && !text.is_empty());
    }
}
