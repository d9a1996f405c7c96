//! Plans onto maps: runs of equal steps become batches; what fails is reported, and what depends on it is left undone.

mod failure;
#[cfg(test)]
mod full_tests;
mod policy;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;

pub use failure::{Failure, FailureCause};

use crate::{
    kernel::Plain,
    table::{Table, Tables},
};
use orknet_abi::{Service, ServiceKey, TableKey};
use orknet_compiler::{Plan, Step};
use policy::Unswitched;
use std::{collections::BTreeSet, io};

/// Chunks of look-up tables that are written at once, a megabyte of them: for the call they lie side by side in memory.
const TABLE_BATCH: usize = 1_024;

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps that are in the kernel now.
    pub done: usize,
    /// Steps that are not, in the plan's order. The next diff against what the kernel holds plans them again.
    pub failures: Vec<Failure>,
}

/// Applies the steps in their order.
#[cfg(test)]
pub(crate) fn apply(tables: &Tables, plan: &Plan) -> Applied {
    apply_around(tables, plan, |_| false, &mut |_| {})
}

/// The same; `around` is called with true before the first step that `is_marked`, and with false after the last one.
pub(crate) fn apply_around(tables: &Tables, plan: &Plan, is_marked: fn(&Step) -> bool, around: &mut dyn FnMut(bool)) -> Applied {
    let mut run = Run {
        tables,
        applied: Applied::default(),
        incomplete: Parts::default(),
        in_use: None,
        unswitched: BTreeSet::new(),
        policy: Unswitched::before(&plan.steps),
    };
    let runs: Vec<&[Step]> = plan.steps.chunk_by(|one, next| std::mem::discriminant(one) == std::mem::discriminant(next)).collect();
    let has_mark = |steps: &&[Step]| steps.iter().any(is_marked);
    let (first, last) = (runs.iter().position(has_mark), runs.iter().rposition(has_mark));
    for (place, steps) in runs.into_iter().enumerate() {
        if first == Some(place) {
            around(true);
        }
        run.apply_equal(steps);
        if last == Some(place) {
            around(false);
        }
    }
    run.applied
}

/// What Services lead to, by number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    lists: BTreeSet<u32>,
    tables: BTreeSet<u32>,
    sources: BTreeSet<u32>,
}

/// What Services still use although the plan meant to switch them away: of this nothing may be removed.
fn parts_in_use(services: &[(ServiceKey, Service)], unswitched: &BTreeSet<ServiceKey>) -> Parts {
    let mut parts = Parts::default();
    for (_, service) in services.iter().filter(|(key, _)| unswitched.contains(key)) {
        parts.lists.extend((service.count > 0).then_some(service.list));
        parts.tables.extend((service.table > 0).then_some(service.table));
        parts.sources.extend((service.sources > 0).then_some(service.sources));
    }
    parts
}

struct Run<'a> {
    tables: &'a Tables,
    applied: Applied,
    /// Those of which something is missing.
    incomplete: Parts,
    /// Services whose new value is not in the map.
    unswitched: BTreeSet<ServiceKey>,
    /// What these use; read from the kernel once, when the first thing is to be removed.
    in_use: Option<Parts>,
    /// Of pods' rules.
    policy: Unswitched,
}

impl Run<'_> {
    /// Applies steps of one kind.
    fn apply_equal(&mut self, steps: &[Step]) {
        let tables = self.tables;
        match steps.first() {
            None => {}
            Some(Step::PutNode(_)) => self.put(&tables.node, steps, |step| match step {
                Step::PutNode(node) => Some((0, *node)),
                _ => None,
            }),
            Some(Step::PutTable(..)) => {
                for part in steps.chunks(TABLE_BATCH) {
                    self.put(&tables.tables, part, |step| match step {
                        Step::PutTable(key, chunk) => Some((*key, **chunk)),
                        _ => None,
                    });
                }
                self.drop_incomplete_tables(steps);
            }
            Some(Step::PutBackend(..)) => self.put(&tables.backends, steps, |step| match *step {
                Step::PutBackend(key, value) => Some((key, value)),
                _ => None,
            }),
            Some(Step::PutSource(_)) => self.put(&tables.sources, steps, |step| match *step {
                Step::PutSource(key) => Some((key, 0)),
                _ => None,
            }),
            Some(Step::PutRule(..)) => self.put_rules(steps),
            Some(Step::PutPort(..)) => self.put_ports(steps),
            Some(Step::PutVerdict(..)) => self.put_verdicts(steps),
            Some(Step::PutPeer(..)) => self.put_peers(steps),
            Some(Step::PutPod(..)) => self.put_pods(steps),
            Some(Step::PutService(..)) => {
                let ready = self.hold_back(steps, |run, step| match step {
                    Step::PutService(_, service) if run.lacks_parts(service) => Some(FailureCause::Incomplete),
                    _ => None,
                });
                let incomplete = std::mem::take(&mut self.incomplete.tables);
                self.put(&tables.services, &ready, |step| match *step {
                    // Without its table a Service spreads its packets less evenly over time, and no worse.
                    Step::PutService(key, value) if incomplete.contains(&value.table) => Some((key, Service { table: 0, ..value })),
                    Step::PutService(key, value) => Some((key, value)),
                    _ => None,
                });
                self.incomplete.tables = incomplete;
                self.in_use = None;
            }
            Some(Step::PutRange(..)) => self.put(&tables.ranges, steps, |step| match *step {
                Step::PutRange(key, value) => Some((key, value)),
                _ => None,
            }),
            Some(Step::DeleteRange(_)) => self.delete(&tables.ranges, steps, |step| match *step {
                Step::DeleteRange(key) => Some(key),
                _ => None,
            }),
            Some(Step::DeleteService(_)) => {
                self.delete(&tables.services, steps, |step| match *step {
                    Step::DeleteService(key) => Some(key),
                    _ => None,
                });
                self.in_use = None;
            }
            Some(Step::DeletePod(_)) => self.delete(&tables.pods, steps, |step| match *step {
                Step::DeletePod(key) => Some(key),
                _ => None,
            }),
            Some(Step::DeletePeer(_)) => self.delete_peers(steps),
            Some(Step::DeleteVerdict(_)) => self.delete_verdicts(steps),
            Some(Step::DeletePort(_)) => self.delete_ports(steps),
            Some(Step::DeleteRule(_)) => self.delete_rules(steps),
            Some(Step::DeleteSource(_)) => {
                let free = self.free_of_use(steps);
                self.delete(&tables.sources, &free, |step| match *step {
                    Step::DeleteSource(key) => Some(key),
                    _ => None,
                });
            }
            Some(Step::DeleteBackend(_)) => {
                let free = self.free_of_use(steps);
                self.delete(&tables.backends, &free, |step| match *step {
                    Step::DeleteBackend(key) => Some(key),
                    _ => None,
                });
            }
            Some(Step::DeleteTable(_)) => {
                let free = self.free_of_use(steps);
                self.delete(&tables.tables, &free, |step| match *step {
                    Step::DeleteTable(key) => Some(key),
                    _ => None,
                });
            }
        }
    }

    /// Tables are not essential: a Service does without one. So what can't be refused is only a list, or a set of sources.
    fn lacks_parts(&self, service: &Service) -> bool {
        (service.count > 0 && self.incomplete.lists.contains(&service.list))
            || (service.sources > 0 && self.incomplete.sources.contains(&service.sources))
    }

    /// Half a table only takes room from others.
    fn drop_incomplete_tables(&self, steps: &[Step]) {
        let keys: Vec<TableKey> = steps
            .iter()
            .filter_map(|step| match step {
                Step::PutTable(key, _) if self.incomplete.tables.contains(&key.table) => Some(*key),
                _ => None,
            })
            .collect();
        // What stays is nobody's, and goes when the maps are next read back.
        self.tables.tables.delete(&keys, |_, _| {});
    }

    /// The steps that take nothing from a Service that could not be switched. If the kernel can't be asked, none.
    fn free_of_use(&mut self, steps: &[Step]) -> Vec<Step> {
        if self.in_use.is_none() {
            let mut services = Vec::new();
            let known =
                self.unswitched.is_empty() || self.tables.services.read_single(|key, service| services.push((key, service))).is_ok();
            self.in_use = known.then(|| parts_in_use(&services, &self.unswitched));
        }
        self.hold_back(steps, |run, step| {
            let is_used = run.in_use.as_ref().is_none_or(|parts| match step {
                Step::DeleteBackend(key) => parts.lists.contains(&key.list),
                Step::DeleteTable(key) => parts.tables.contains(&key.table),
                Step::DeleteSource(key) => parts.sources.contains(&key.set),
                _ => false,
            });
            is_used.then_some(FailureCause::InUse)
        })
    }

    /// Reports the steps that may not be taken now, and answers the others.
    fn hold_back(&mut self, steps: &[Step], cause: impl Fn(&Self, &Step) -> Option<FailureCause>) -> Vec<Step> {
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            match cause(self, step) {
                Some(cause) => self.fail(step.clone(), cause),
                None => ready.push(step.clone()),
            }
        }
        ready
    }

    fn put<K: Plain, V: Plain>(&mut self, table: &Table<K, V>, steps: &[Step], entry: impl Fn(&Step) -> Option<(K, V)>) {
        let (keys, values): (Vec<K>, Vec<V>) = steps.iter().filter_map(entry).unzip();
        let mut failures = Vec::new();
        table.put(&keys, &values, |index, error| failures.push((index, error)));
        self.settle(steps, failures, |error| write_cause(table, error));
    }

    fn delete<K: Plain, V: Plain>(&mut self, table: &Table<K, V>, steps: &[Step], key: impl Fn(&Step) -> Option<K>) {
        let keys: Vec<K> = steps.iter().filter_map(key).collect();
        let mut failures = Vec::new();
        table.delete(&keys, |index, error| failures.push((index, error)));
        self.settle(steps, failures, FailureCause::Kernel);
    }

    fn settle(&mut self, steps: &[Step], failures: Vec<(usize, io::Error)>, cause: impl Fn(io::Error) -> FailureCause) {
        self.applied.done += steps.len() - failures.len();
        for (index, error) in failures {
            self.fail(steps[index].clone(), cause(error));
        }
    }

    fn fail(&mut self, step: Step, cause: FailureCause) {
        self.note_policy(&step);
        let map = match &step {
            Step::PutNode(_) => self.tables.node.name(),
            Step::PutTable(key, _) => {
                self.incomplete.tables.insert(key.table);
                self.tables.tables.name()
            }
            Step::PutBackend(key, _) => {
                self.incomplete.lists.insert(key.list);
                self.tables.backends.name()
            }
            Step::PutSource(key) => {
                self.incomplete.sources.insert(key.set);
                self.tables.sources.name()
            }
            Step::PutService(key, _) | Step::DeleteService(key) => {
                self.unswitched.insert(*key);
                self.tables.services.name()
            }
            Step::DeleteTable(_) => self.tables.tables.name(),
            Step::DeleteBackend(_) => self.tables.backends.name(),
            Step::DeleteSource(_) => self.tables.sources.name(),
            Step::PutPod(..) | Step::DeletePod(_) => self.tables.pods.name(),
            Step::PutRange(..) | Step::DeleteRange(_) => self.tables.ranges.name(),
            Step::PutRule(..) | Step::DeleteRule(_) => self.tables.rules.name(),
            Step::PutPort(..) | Step::DeletePort(_) => self.tables.ports.name(),
            Step::PutVerdict(..) | Step::DeleteVerdict(_) => self.tables.verdicts.name(),
            Step::PutPeer(..) | Step::DeletePeer(_) => self.tables.peers.name(),
        };
        self.fail_in(map, step, cause);
    }

    fn fail_in(&mut self, map: &'static str, step: Step, cause: FailureCause) {
        self.applied.failures.push(Failure { step, map, cause });
    }
}

/// Why a write failed.
fn write_cause<K: Plain, V: Plain>(table: &Table<K, V>, error: io::Error) -> FailureCause {
    if is_full(&error) { FailureCause::Full(table.capacity()) } else { FailureCause::Kernel(error) }
}

/// `E2BIG` is a hash map's word for "no room".
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC))
}
