//! The looks at what pods have open that get their first rules: by several threads, since each goes through the sockets of the whole host; before the
//! rules are in force for a limited time, and after that behind the programmer's back, so that pods to be attached need not wait for it.

use crate::dataplane::Failure;
use orknet_abi::Address;
use orknet_dataplane::{FirstRules, PodSockets};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long rules wait for looks at what is open. Pods that are left by then are looked at first once they are in force.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How often the datagrams of pods that wait for the look after it are held anew: well within the time for which they are.
pub(super) const HELD_FOR: Duration = Duration::from_secs(3);
/// Most threads that look at once: the node has other things to do.
const MOST_THREADS: usize = 4;

/// Hands pods to the threads, which end when this is gone and all is done.
pub(super) struct OpenFlows {
    shared: Arc<Shared>,
    wake: Sender<()>,
}

/// Takes note of what a pod has open; blocks.
type Look = dyn Fn(&PodSockets, FirstRules) -> Result<u64, Failure> + Send + Sync;
/// Has datagrams of pods open no flow for a while.
type Hold = dyn Fn(&[PodSockets]) -> Result<(), Failure> + Send + Sync;

struct Shared {
    look: Box<Look>,
    hold: Box<Hold>,
    held_for: Duration,
    work: Mutex<Work>,
    /// A look has ended.
    ended: Condvar,
}

struct Work {
    /// Pods whose rules are in force.
    left: VecDeque<PodSockets>,
    /// Those that are being looked at.
    busy: Vec<PodSockets>,
    /// When the datagrams of those left were held.
    held: Instant,
}

/// A pod that is being looked at.
struct Turn<'a>(&'a Shared, PodSockets);

impl OpenFlows {
    /// Starts the thread.
    pub(super) fn start(look: Box<Look>, hold: Box<Hold>, held_for: Duration) -> Self {
        let work = Mutex::new(Work { left: VecDeque::new(), busy: Vec::new(), held: Instant::now() });
        let shared = Arc::new(Shared { look, hold, held_for, work, ended: Condvar::new() });
        let (wake, woken) = channel();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || run(&of_thread, &woken));
        Self { shared, wake }
    }

    /// Takes note of what pods have open that are about to get their first rules. Blocks for about as long as `patience` at most. What is left to
    /// do of these pods from before is left to [`follow`](Self::follow).
    pub(super) fn prepare(&self, pods: &mut [PodSockets], patience: Duration) {
        if pods.is_empty() {
            return;
        }
        for pod in &mut *pods {
            let former = self.withdraw(&pod.addresses).into_iter().filter(|former| former.namespace == pod.namespace).collect::<Vec<_>>();
            for former in former {
                pod.was_open |= former.was_open;
                pod.addresses.extend(former.addresses);
            }
        }
        let (until, next) = (Instant::now() + patience, AtomicUsize::new(0));
        let look = || {
            while Instant::now() < until
                && let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed))
            {
                self.shared.note(pod, FirstRules::Coming);
            }
        };
        side_by_side(pods.len(), look);
        let looked_at = next.into_inner().min(pods.len());
        if looked_at < pods.len() {
            let late = pods.len() - looked_at;
            tracing::warn!(
                late,
                "so much is open in pods that get their first rules that it is not known of all when these come into force"
            );
        }
        pods.rotate_left(looked_at);
        self.shared.hold(pods);
    }

    /// Looks at them once more, since their rules are in force. Never blocks.
    pub(super) fn follow(&self, pods: Vec<PodSockets>) {
        if pods.is_empty() {
            return;
        }
        let mut work = self.shared.work.lock();
        if work.left.is_empty() {
            work.held = Instant::now();
        }
        work.left.extend(pods);
        if self.wake.send(()).is_err() {
            tracing::error!("the thread that looks at what pods have open has ended");
        }
    }

    /// Pods with any of these addresses are no longer looked at, as far as that has not been done: when this returns, nothing is written any more of
    /// what they have open. Blocks while one of them is being looked at.
    pub(super) fn withdraw(&self, addresses: &BTreeSet<Address>) -> Vec<PodSockets> {
        let has_any = |pod: &PodSockets| !pod.addresses.is_disjoint(addresses);
        let mut work = self.shared.work.lock();
        let (gone, left) = std::mem::take(&mut work.left).into_iter().partition::<Vec<_>, _>(has_any);
        work.left = left.into();
        self.shared.ended.wait_while(&mut work, |work| work.busy.iter().any(has_any));
        gone
    }
}

fn run(shared: &Shared, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let left = shared.work.lock().left.len();
        side_by_side(left, || {
            while let Some(turn) = shared.next() {
                shared.note(&turn.1, FirstRules::InForce);
            }
        });
    }
}

/// Does so much of the same by some threads.
fn side_by_side(amount: usize, work: impl Fn() + Sync) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS).min(amount);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&work))));
}

impl Shared {
    /// The next pod's turn.
    fn next(&self) -> Option<Turn<'_>> {
        let mut work = self.work.lock();
        if !work.left.is_empty() && work.held.elapsed() >= self.held_for {
            // None of them is being looked at: what has been found of a pod is not to be overwritten.
            self.hold(work.left.make_contiguous());
            work.held = Instant::now();
        }
        let pod = work.left.pop_front()?;
        work.busy.push(pod.clone());
        Some(Turn(self, pod))
    }

    fn hold(&self, pods: &[PodSockets]) {
        if let Err(failure) = (self.hold)(pods) {
            tracing::warn!(%failure, "answers to what a pod was asked before its first rules may be taken for its own questions");
        }
    }

    fn note(&self, pod: &PodSockets, rules: FirstRules) {
        match (self.look)(pod, rules) {
            Ok(0) => {}
            Ok(flows) => tracing::info!(namespace = %pod.namespace.display(), flows, "a pod with open connections gets its first rules"),
            Err(failure) => tracing::warn!(%failure, "what a pod has open may be cut off by its first rules"),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.work.lock().busy.retain(|pod| *pod != self.1);
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn pod(last: u8) -> PodSockets {
        PodSockets {
            namespace: format!("/run/netns/{last}").into(),
            addresses: [Address::from_v4([10, 244, 1, last])].into(),
            was_open: false,
        }
    }

    /// What was done, in its order: looks by their pods and when, pods whose datagrams were held.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Done {
        Look(PodSockets, FirstRules),
        Hold(Vec<PodSockets>),
    }

    /// Each look tells that it begins, and ends when it may.
    fn watched(held_for: Duration) -> (OpenFlows, Receiver<Done>, Sender<()>) {
        let ((tell, told), (go_on, goes_on)) = (channel(), channel());
        let (held, goes_on) = (tell.clone(), Mutex::new(goes_on));
        let look = move |pod: &PodSockets, rules| {
            tell.send(Done::Look(pod.clone(), rules)).unwrap();
            goes_on.lock().recv().map(|()| 0).map_err(|_| Failure("the test ends".into()))
        };
        let hold = move |pods: &[PodSockets]| held.send(Done::Hold(pods.to_vec())).map_err(|_| Failure("the test ends".into()));
        (OpenFlows::start(Box::new(look), Box::new(hold), held_for), told, go_on)
    }

    #[test]
    fn pods_are_looked_at_before_their_rules_as_far_as_there_is_time_and_all_their_datagrams_are_held_after_that() {
        let (open_flows, told, go_on) = watched(HELD_FOR);
        let mut pods: Vec<_> = (1..=7).map(pod).collect();
        pods.iter().for_each(|_| go_on.send(()).unwrap());
        open_flows.prepare(&mut pods, Duration::from_secs(600));
        let done: Vec<_> = told.try_iter().collect();
        let (held, looks) = done.split_last().unwrap();
        assert_eq!(*held, Done::Hold(pods.clone()), "right before their entries are switched");
        assert_eq!(looks.len(), 7);
        assert!(pods.iter().all(|pod| looks.contains(&Done::Look(pod.clone(), FirstRules::Coming))));
        open_flows.prepare(&mut pods, Duration::ZERO);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Done::Hold(pods)]);
        open_flows.prepare(&mut [], Duration::ZERO);
        assert_eq!(told.try_recv().ok(), None);
    }

    #[test]
    fn nobody_waits_for_the_looks_after_it_but_who_gets_an_address_of_that_pod() {
        let (open_flows, told, go_on) = watched(HELD_FOR);
        let look = |last| Done::Look(pod(last), FirstRules::InForce);
        open_flows.follow(vec![pod(1)]);
        assert_eq!(told.recv().unwrap(), look(1));
        open_flows.follow(vec![pod(2), PodSockets { was_open: true, ..pod(3) }, pod(4)]);
        let addresses = |last| pod(last).addresses;
        assert_eq!(open_flows.withdraw(&addresses(2)), [pod(2)]);
        assert_eq!(open_flows.withdraw(&addresses(9)), []);
        // It gets rules for the other direction before it has been looked at.
        let mut again = [pod(3)];
        open_flows.prepare(&mut again, Duration::ZERO);
        assert!(again[0].was_open);
        assert_eq!(told.recv().unwrap(), Done::Hold(again.to_vec()));
        thread::scope(|scope| {
            let (about, is_about) = sync_channel(0);
            let open_flows = &open_flows;
            let withdrawn = scope.spawn(move || {
                about.send(()).unwrap();
                open_flows.withdraw(&addresses(1))
            });
            is_about.recv().unwrap();
            (0..1_000).for_each(|_| thread::yield_now());
            assert!(!withdrawn.is_finished(), "something may still be written of it");
            go_on.send(()).unwrap();
            assert_eq!(withdrawn.join().unwrap(), []);
        });
        assert_eq!(told.recv().unwrap(), look(4), "and the others are gone from the list");
        go_on.send(()).unwrap();
    }

    #[test]
    fn datagrams_of_pods_that_wait_long_are_held_anew_until_their_turn() {
        let (open_flows, told, go_on) = watched(Duration::ZERO);
        (0..2).for_each(|_| go_on.send(()).unwrap());
        open_flows.follow(vec![pod(1), pod(2)]);
        let done: Vec<_> = told.iter().take(4).collect();
        let holds: Vec<_> = done.iter().filter(|done| matches!(done, Done::Hold(_))).cloned().collect();
        assert_eq!(holds, [Done::Hold(vec![pod(1), pod(2)]), Done::Hold(vec![pod(2)])]);
        let second = |wanted: &Done| done.iter().position(|done| done == wanted).unwrap();
        assert!(second(&holds[1]) < second(&Done::Look(pod(2), FirstRules::InForce)));
    }
}
