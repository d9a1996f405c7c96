//! The pods that wait for a node: active ones by priority and age, ones in back-off, and ones that fit nowhere until something changes.
//! Pure but for the clock, which callers pass in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::filter::FilterName;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
/// A parked pod is tried again after so long even if no event seems to help: the rules of what helps what are not perfect.
const LONGEST_PARK: Duration = Duration::from_secs(300);

/// Something that may make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterEvent {
    /// A node came or changed in what filters read.
    Node,
    /// A placed pod came or changed its labels.
    PlacedPod,
    /// A placed pod ended or went.
    FreedPod,
}

impl ClusterEvent {
    /// Whether a pod that was refused by this filter could fit now.
    fn may_help(self, refused_by: FilterName) -> bool {
        use FilterName::{InterPodAffinity, NodePorts, NodeResourcesFit, PodTopologySpread};
        match self {
            Self::Node => true,
            Self::PlacedPod => matches!(refused_by, InterPodAffinity | PodTopologySpread),
            Self::FreedPod => matches!(refused_by, InterPodAffinity | NodePorts | NodeResourcesFit | PodTopologySpread),
        }
    }
}

/// A number of events that is never reached: what was decided meanwhile is not trusted.
const MISSED: u64 = u64::MAX;

/// Orders active pods: higher priority first, then longer waiting.
type Rank = (std::cmp::Reverse<i32>, u64);

#[derive(Default)]
pub(crate) struct Queue {
    pods: HashMap<String, Waiting>,
    active: BTreeMap<Rank, String>,
    /// Pods that come back at a time, out of back-off or of parking.
    timed: BTreeSet<(Instant, String)>,
    /// Counts additions; gives the age.
    serial: u64,
    /// Counts cluster events, so that a decision made on an older view is not parked for ever.
    events: u64,
    /// Pods taken by [`Queue::next`] whose outcome is not yet known, with the number of events then.
    in_flight: HashMap<String, u64>,
}

struct Waiting {
    pod: Arc<Pod>,
    rank: Rank,
    attempts: u32,
    place: Place,
}

enum Place {
    Active,
    BackOff(Instant),
    Parked(Parked),
    InFlight,
}

struct Parked {
    refused_by: HashSet<FilterName>,
    /// An event that helps before this time only shortens the wait to it.
    back_off_ends: Instant,
    until: Instant,
}

impl Place {
    /// When the pod comes back by itself.
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Active | Self::InFlight => None,
            Self::BackOff(until) | Self::Parked(Parked { until, .. }) => Some(*until),
        }
    }
}

/// A pod to decide on.
pub(crate) struct Taken {
    pub uid: String,
    pub pod: Arc<Pod>,
}

impl Queue {
    /// A pod without a node came or changed. A change of a waiting pod's spec or labels gives it another try at once.
    pub fn offer(&mut self, pod: Arc<Pod>) {
        let uid = uid(&pod);
        let Some(waiting) = self.pods.get_mut(&uid) else {
            self.serial += 1;
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            let rank = (std::cmp::Reverse(priority), self.serial);
            self.active.insert(rank, uid.clone());
            self.pods.insert(uid, Waiting { pod, rank, attempts: 0, place: Place::Active });
            return;
        };
        let changed = waiting.pod.spec != pod.spec || waiting.pod.metadata.labels != pod.metadata.labels;
        waiting.pod = pod;
        match waiting.place {
            Place::Active => {}
            // The decision that is under way is about the pod as it was: an event that it has missed.
            Place::InFlight if changed => drop(self.in_flight.insert(uid, MISSED)),
            _ if changed => self.put(&uid, Place::Active),
            _ => {}
        }
    }

    /// The pod is gone, ended or placed.
    pub fn remove(&mut self, uid: &str) {
        self.in_flight.remove(uid);
        if let Some(waiting) = self.pods.remove(uid) {
            self.active.remove(&waiting.rank);
            if let Some(until) = waiting.place.until() {
                self.timed.remove(&(until, uid.to_string()));
            }
        }
    }

    /// The most important active pod. It stays known until [`Queue::remove`], [`Queue::park`] or [`Queue::retry`].
    pub fn next(&mut self, now: Instant) -> Option<Taken> {
        self.release(now);
        let (_, uid) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&uid)?;
        waiting.place = Place::InFlight;
        waiting.attempts += 1;
        self.in_flight.insert(uid.clone(), self.events);
        Some(Taken { pod: waiting.pod.clone(), uid })
    }

    /// When the next pod comes back by itself.
    pub fn next_release(&self) -> Option<Instant> {
        self.timed.first().map(|(until, _)| *until)
    }

    /// The pod fits nowhere: it waits for an event that may help. If one came during the decision, it only backs off.
    pub fn park(&mut self, uid: &str, refused_by: HashSet<FilterName>, now: Instant) {
        let missed_events = self.in_flight.remove(uid).is_some_and(|seen| seen != self.events);
        let Some(waiting) = self.pods.get(uid) else { return };
        let back_off_ends = now + back_off(waiting.attempts);
        let place = if missed_events {
            Place::BackOff(back_off_ends)
        } else {
            Place::Parked(Parked { refused_by, back_off_ends, until: now + LONGEST_PARK })
        };
        self.put(uid, place);
    }

    /// The decision could not be carried out: another try after back-off.
    pub fn retry(&mut self, uid: &str, now: Instant) {
        self.in_flight.remove(uid);
        if let Some(waiting) = self.pods.get(uid) {
            let until = now + back_off(waiting.attempts);
            self.put(uid, Place::BackOff(until));
        }
    }

    /// Something changed: parked pods that it may help come back, through what is left of their back-off.
    pub fn notice(&mut self, event: ClusterEvent, now: Instant) {
        self.events += 1;
        let helped = |waiting: &Waiting| match &waiting.place {
            // Parked without reasons: there was no node at all.
            Place::Parked(parked) if parked.refused_by.is_empty() || parked.refused_by.iter().any(|filter| event.may_help(*filter)) => {
                Some(parked.back_off_ends)
            }
            _ => None,
        };
        let moved: Vec<_> = self.pods.iter().filter_map(|(uid, waiting)| Some((uid.clone(), helped(waiting)?))).collect();
        for (uid, until) in moved {
            self.put(&uid, if until <= now { Place::Active } else { Place::BackOff(until) });
        }
    }

    fn release(&mut self, now: Instant) {
        while let Some((until, uid)) = self.timed.first().cloned() {
            if until > now {
                return;
            }
            self.timed.pop_first();
            self.put(&uid, Place::Active);
        }
    }

    /// Moves a known pod to another place.
    fn put(&mut self, uid: &str, place: Place) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        if let Some(until) = waiting.place.until() {
            self.timed.remove(&(until, uid.to_string()));
        }
        if let Some(until) = place.until() {
            self.timed.insert((until, uid.to_string()));
        }
        if matches!(place, Place::Active) {
            self.active.insert(waiting.rank, uid.to_string());
        }
        waiting.place = place;
    }
}

/// The key of a pod in the queue and the cache.
pub(crate) fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

fn back_off(attempts: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_objects::pod;

    fn fit() -> HashSet<FilterName> {
        HashSet::from([FilterName::NodeResourcesFit])
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn higher_priority_goes_first_then_age() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("old", json!({})));
        queue.offer(pod("young", json!({})));
        queue.offer(pod("urgent", json!({"spec": {"priority": 10}})));
        let order: Vec<_> = std::iter::from_fn(|| queue.next(now)).map(|taken| taken.uid).collect();
        assert_eq!(order, ["urgent", "old", "young"]);
    }

    #[test]
    fn a_parked_pod_comes_back_only_for_an_event_that_may_help() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.park("a", fit(), now);
        queue.notice(ClusterEvent::PlacedPod, now + seconds(5));
        assert!(queue.next(now + seconds(5)).is_none());
        queue.notice(ClusterEvent::FreedPod, now + seconds(5));
        assert!(queue.next(now + seconds(5)).is_some());
    }

    #[test]
    fn back_off_holds_a_pod_that_fails_again_and_again() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.park("a", fit(), now);
        queue.notice(ClusterEvent::Node, now);
        assert!(queue.next(now).is_none());
        assert_eq!(queue.next_release(), Some(now + seconds(1)));
        assert!(queue.next(now + seconds(1)).is_some());
        queue.retry("a", now);
        assert_eq!(queue.next_release(), Some(now + seconds(2)));
    }

    #[test]
    fn an_event_during_the_decision_is_not_missed() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.notice(ClusterEvent::Node, now);
        queue.park("a", fit(), now);
        assert!(queue.next(now + seconds(1)).is_some());
    }

    #[test]
    fn a_change_of_the_pod_during_its_own_decision_is_not_missed() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.offer(pod("a", json!({"metadata": {"labels": {"app": "other"}}})));
        queue.park("a", fit(), now);
        assert!(queue.next(now + seconds(1)).is_some());
    }

    #[test]
    fn a_parked_pod_is_tried_again_after_a_while_whatever_happens() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.park("a", fit(), now);
        assert!(queue.next(now + LONGEST_PARK - seconds(1)).is_none());
        assert!(queue.next(now + LONGEST_PARK).is_some());
        queue.park("a", fit(), now);
        queue.remove("a");
        assert_eq!(queue.next_release(), None);
    }

    #[test]
    fn a_removed_pod_is_nowhere() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for place in 0..3 {
            queue.offer(pod("a", json!({})));
            if place > 0 {
                queue.next(now);
            }
            if place > 1 {
                queue.retry("a", now);
            }
            queue.remove("a");
            assert!(queue.next(now + seconds(100)).is_none() && queue.next_release().is_none());
        }
    }

    #[test]
    fn a_changed_spec_is_tried_at_once_and_a_changed_status_is_not() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.offer(pod("a", json!({})));
        queue.next(now);
        queue.park("a", fit(), now);
        queue.offer(pod("a", json!({"status": {"conditions": []}})));
        assert!(queue.next(now).is_none());
        queue.offer(pod("a", json!({"metadata": {"labels": {"app": "other"}}})));
        assert!(queue.next(now).is_some());
    }
}
