//! Plans onto maps: runs of equal steps become batches; what fails is reported, and what depends on it is left undone.

use crate::{
    kernel::Plain,
    table::{Table, Tables},
};
use orknet_abi::{Backend, BackendKey, Service, ServiceKey};
use orknet_compiler::{Plan, Step, rows::range_text};
use std::{collections::BTreeSet, fmt, io, net::IpAddr};

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps that are in the kernel now.
    pub done: usize,
    /// Steps that are not, in the plan's order. The next diff against what the kernel holds plans them again.
    pub failures: Vec<Failure>,
}

/// A step that is not in the kernel.
#[derive(Debug)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The map that it meant.
    pub map: &'static str,
    /// Why not.
    pub cause: FailureCause,
}

/// Why a step is not in the kernel.
#[derive(Debug)]
pub enum FailureCause {
    /// The map has no room left; its capacity is named.
    Full(u32),
    /// The kernel said no.
    Kernel(io::Error),
    /// The list of backends is incomplete, so the Service keeps the one it had.
    ListIncomplete,
    /// The Service could not be switched to another list, so its list stays.
    ListInUse,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: ", self.map, Entry(&self.step))?;
        match &self.cause {
            FailureCause::Full(capacity) => write!(formatter, "the map is full ({capacity} entries); raise capacities.{}", self.map),
            FailureCause::Kernel(error) => write!(formatter, "{error}"),
            FailureCause::ListIncomplete => formatter.write_str("not switched: its list of backends is incomplete"),
            FailureCause::ListInUse => formatter.write_str("not removed: a Service still uses the list"),
        }
    }
}

/// The entry that a step means, as a person would name it.
struct Entry<'a>(&'a Step);

impl fmt::Display for Entry<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::PutBackend(key, _) | Step::DeleteBackend(key) => write!(formatter, "list {} slot {}", key.list, key.slot),
            Step::PutPod(key, _) | Step::DeletePod(key) => write!(formatter, "{}", IpAddr::from(key.address)),
            Step::PutRange(key) | Step::DeleteRange(key) => formatter.write_str(&range_text(key)),
            Step::PutService(key, _) | Step::DeleteService(key) => {
                write!(formatter, "{} port {} protocol {}", IpAddr::from(key.address), u16::from_be(key.port_be), key.protocol)
            }
        }
    }
}

/// Applies the steps in their order.
pub(crate) fn apply(tables: &Tables, plan: &Plan) -> Applied {
    let mut run = Run { tables, applied: Applied::default(), incomplete: BTreeSet::new(), in_use: None, unswitched: BTreeSet::new() };
    for steps in plan.steps.chunk_by(|one, next| std::mem::discriminant(one) == std::mem::discriminant(next)) {
        run.apply_equal(steps);
    }
    run.applied
}

/// Lists that Services still use although the plan meant to switch them away: of these nothing may be removed.
fn lists_in_use(services: &[(ServiceKey, Service)], unswitched: &BTreeSet<ServiceKey>) -> BTreeSet<u32> {
    services.iter().filter(|(key, service)| service.count > 0 && unswitched.contains(key)).map(|(_, service)| service.list).collect()
}

struct Run<'a> {
    tables: &'a Tables,
    applied: Applied,
    /// Lists of which a backend is missing.
    incomplete: BTreeSet<u32>,
    /// Services whose new value is not in the map.
    unswitched: BTreeSet<ServiceKey>,
    /// Lists of these; read from the kernel once, when the first backend is to be removed.
    in_use: Option<BTreeSet<u32>>,
}

impl Run<'_> {
    /// Applies steps of one kind.
    fn apply_equal(&mut self, steps: &[Step]) {
        let tables = self.tables;
        match steps.first() {
            None => {}
            Some(Step::PutBackend(..)) => self.put(&tables.backends, steps, |step| match *step {
                Step::PutBackend(key, value) => Some((key, value)),
                _ => None,
            }),
            Some(Step::PutPod(..)) => self.put(&tables.pods, steps, |step| match *step {
                Step::PutPod(key, value) => Some((key, value)),
                _ => None,
            }),
            Some(Step::PutService(..)) => {
                let ready = self.hold_back(steps, |run, step| match step {
                    Step::PutService(_, service) if run.incomplete.contains(&service.list) && service.count > 0 => {
                        Some(FailureCause::ListIncomplete)
                    }
                    _ => None,
                });
                self.put(&tables.services, &ready, |step| match *step {
                    Step::PutService(key, value) => Some((key, value)),
                    _ => None,
                });
                self.in_use = None;
            }
            Some(Step::PutRange(_)) => self.put(&tables.ranges, steps, |step| match *step {
                Step::PutRange(key) => Some((key, 0)),
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
            Some(Step::DeleteBackend(_)) => {
                self.find_lists_in_use();
                let free = self.hold_back(steps, |run, step| match step {
                    Step::DeleteBackend(key) if run.in_use.as_ref().is_none_or(|lists| lists.contains(&key.list)) => {
                        Some(FailureCause::ListInUse)
                    }
                    _ => None,
                });
                self.delete(&tables.backends, &free, |step| match *step {
                    Step::DeleteBackend(key) => Some(key),
                    _ => None,
                });
            }
        }
    }

    /// Which lists must stay. If the kernel can't be asked, all of them: `in_use` stays empty.
    fn find_lists_in_use(&mut self) {
        if self.in_use.is_some() {
            return;
        }
        let mut services = Vec::new();
        let known = self.unswitched.is_empty() || self.tables.services.read_single(|key, service| services.push((key, service))).is_ok();
        self.in_use = known.then(|| lists_in_use(&services, &self.unswitched));
    }

    /// Reports the steps that may not be taken now, and answers the others.
    fn hold_back(&mut self, steps: &[Step], cause: impl Fn(&Self, &Step) -> Option<FailureCause>) -> Vec<Step> {
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            match cause(self, step) {
                Some(cause) => self.fail(*step, cause),
                None => ready.push(*step),
            }
        }
        ready
    }

    fn put<K: Plain, V: Plain>(&mut self, table: &Table<K, V>, steps: &[Step], entry: impl Fn(&Step) -> Option<(K, V)>) {
        let (keys, values): (Vec<K>, Vec<V>) = steps.iter().filter_map(entry).unzip();
        let mut failures = Vec::new();
        table.put(&keys, &values, |index, error| failures.push((index, error)));
        self.settle(
            steps,
            failures,
            |error| if is_full(&error) { FailureCause::Full(table.capacity()) } else { FailureCause::Kernel(error) },
        );
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
            self.fail(steps[index], cause(error));
        }
    }

    fn fail(&mut self, step: Step, cause: FailureCause) {
        let map = match step {
            Step::PutBackend(BackendKey { list, .. }, Backend { .. }) => {
                self.incomplete.insert(list);
                self.tables.backends.name()
            }
            Step::PutService(key, _) | Step::DeleteService(key) => {
                self.unswitched.insert(key);
                self.tables.services.name()
            }
            Step::DeleteBackend(_) => self.tables.backends.name(),
            Step::PutPod(..) | Step::DeletePod(_) => self.tables.pods.name(),
            Step::PutRange(_) | Step::DeleteRange(_) => self.tables.ranges.name(),
        };
        self.applied.failures.push(Failure { step, map, cause });
    }
}

/// `E2BIG` is a hash map's word for "no room".
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_services_that_were_not_switched_stay() {
        let key = |port_be| ServiceKey { port_be, ..ServiceKey::default() };
        let service = |list, count| Service { list, count, ..Service::default() };
        let services = [(key(1), service(10, 2)), (key(2), service(20, 2)), (key(3), service(30, 0))];
        assert_eq!(lists_in_use(&services, &BTreeSet::from([key(2), key(3), key(4)])), BTreeSet::from([20]));
    }

    #[test]
    fn a_failure_names_map_entry_and_cause() {
        let step = Step::PutService(
            ServiceKey { address: IpAddr::from([10, 96, 0, 1]).into(), port_be: 80_u16.to_be(), protocol: 6, reserved: 0 },
            Service::default(),
        );
        let failure = Failure { step, map: "SERVICES", cause: FailureCause::Full(16) };
        assert_eq!(failure.to_string(), "SERVICES 10.96.0.1 port 80 protocol 6: the map is full (16 entries); raise capacities.SERVICES");
    }
}
