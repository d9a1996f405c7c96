//! Flows of addresses that a pod has been given: whatever the last pod with such an address was allowed, or was opened in its name, is
//! forgotten before the new one is answered for. That takes a look at all flows, so it has a thread of its own, which looks once for all who
//! wait by then.

use crate::dataplane::Failure;
use orknet_abi::Address;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Told when it has been done, or why not.
pub type Then = Box<dyn FnOnce(Result<(), Failure>) + Send>;

type Job = (BTreeSet<Address>, Then);

/// Hands addresses to the thread, which ends when this is gone and all is done.
#[derive(Debug)]
pub struct Purger(Sender<Job>);

impl Purger {
    /// Starts the thread. `forget` blocks.
    pub fn start(forget: impl Fn(&BTreeSet<Address>) -> Result<u64, Failure> + Send + 'static) -> Self {
        let (sender, jobs) = channel();
        std::thread::spawn(move || run(&jobs, forget));
        Self(sender)
    }

    /// Never blocks. Of these addresses the map of pods must say by now whose they are: what is opened from now on is the new pod's.
    pub fn purge(&self, addresses: BTreeSet<Address>, then: Then) {
        if let Err(refused) = self.0.send((addresses, then)) {
            (refused.0.1)(Err(Failure("the thread that forgets flows has ended".into())));
        }
    }
}

fn run(jobs: &Receiver<Job>, forget: impl Fn(&BTreeSet<Address>) -> Result<u64, Failure>) {
    while let Ok(first) = jobs.recv() {
        let (addresses, those): (Vec<_>, Vec<Then>) = std::iter::once(first).chain(jobs.try_iter()).unzip();
        let forgotten = forget(&addresses.into_iter().flatten().collect());
        match &forgotten {
            Ok(0) => {}
            Ok(entries) => tracing::debug!(entries, "forgot flows of addresses that are another pod's now"),
            Err(failure) => tracing::warn!(%failure, "cannot forget the flows of an address that is another pod's now"),
        }
        those.into_iter().for_each(|then| then(forgotten.clone().map(drop)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Address {
        Address::from_v4([10, 244, 1, last])
    }

    #[test]
    fn who_waits_while_flows_are_looked_through_waits_for_the_next_look_and_all_together_for_one() {
        let (begun, begin) = channel::<BTreeSet<Address>>();
        let (go_on, goes_on) = channel::<Result<u64, Failure>>();
        let purger = Purger::start(move |addresses| {
            begun.send(addresses.clone()).unwrap();
            goes_on.recv().unwrap()
        });
        let (done, outcomes) = channel();
        let purge = |last: &[u8]| {
            let (done, name) = (done.clone(), last[0]);
            let then = move |outcome: Result<(), Failure>| done.send((name, outcome.is_ok())).unwrap();
            purger.purge(last.iter().copied().map(address).collect(), Box::new(then));
        };
        purge(&[1]);
        assert_eq!(begin.recv().unwrap(), [address(1)].into());
        // Flows of these may have come to be after the look went past them.
        purge(&[2, 3]);
        purge(&[1]);
        go_on.send(Ok(0)).unwrap();
        assert_eq!(outcomes.recv().unwrap(), (1, true));
        assert_eq!(begin.recv().unwrap(), [1, 2, 3].map(address).into());
        assert!(outcomes.try_recv().is_err(), "nobody is answered before it is done");
        go_on.send(Err(Failure("no".into()))).unwrap();
        assert_eq!((outcomes.recv().unwrap(), outcomes.recv().unwrap()), ((2, false), (1, false)));
    }
}
