//! Garbage collection in the kernel, on a thread of its own: flows that are over, flows and sockets whose backend is gone, and what is
//! remembered of clients and sockets that are no more. What is over is the data plane's decision, which backends are gone the programmer's;
//! this file says when, and how fast.

use crate::attachments::namespaces;
use crate::dataplane::{Dataplane, Failure};
use crate::doubts::Doubts;
use crate::metrics::Metrics;
use crate::pressure::{self, News, Pressure};
use crate::programmer::Message;
use crate::room::Room;
use crate::thrift::Thrift;
use orknet_dataplane::{Pace, Swept, Use};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Between two passes at most, so that nothing that was missed stays for long.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two passes at least, while there is room for flows.
const USUAL: Duration = Duration::from_secs(30);
/// Between two passes at least, whatever happens: endpoints that change all the time cost no more.
const SHORTEST: Duration = Duration::from_secs(1);
/// Up to this part of the map's capacity there is room, and from this one on there is hardly any.
const ROOMY: f64 = 0.5;
const CROWDED: f64 = 0.9;
/// From this part on new flows may find none: those of a pass go and come while it lasts.
const FULL: f64 = 0.98;
/// Questions that the programmer is asked at once.
const QUESTIONS: usize = 512;

/// Tells the collector that an endpoint may be gone.
#[derive(Clone, Debug)]
pub struct Alarm(SyncSender<()>);

impl Alarm {
    /// Never blocks. What is told while a pass is running makes another one.
    pub fn ring(&self) {
        match self.0.try_send(()) {
            // One that nobody has heard yet says the same.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// A collector's ear. It ends when every alarm is gone.
#[derive(Debug)]
pub struct Ear {
    receiver: Receiver<()>,
    /// An alarm was heard during a pass: it may be about what the pass has left behind.
    has_heard: Cell<bool>,
}

impl Ear {
    /// Waits for an alarm; whether there was one. `None` when there can be no more.
    fn listen(&self, time: Duration) -> Option<bool> {
        if self.has_heard.take() {
            return Some(true);
        }
        match self.receiver.recv_timeout(time) {
            Ok(()) => Some(true),
            Err(RecvTimeoutError::Timeout) => Some(false),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Whether there can be no more alarms.
    fn is_over(&self) -> bool {
        match self.receiver.try_recv() {
            Ok(()) => self.has_heard.set(true),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return true,
        }
        false
    }
}

/// An alarm and the ear that hears it.
pub fn alarm() -> (Alarm, Ear) {
    let (sender, receiver) = sync_channel(1);
    (Alarm(sender), Ear { receiver, has_heard: Cell::new(false) })
}

/// The thread's work.
pub struct Collector {
    pub dataplane: Arc<dyn Dataplane>,
    pub metrics: Arc<Metrics>,
    /// Where the programmer answers.
    pub messages: mpsc::Sender<Message>,
    /// The CNI plugin's state folder: its records name the pods' namespaces.
    pub state_dir: PathBuf,
    /// Told when there is no room for flows.
    pub room: watch::Sender<Room>,
}

impl Collector {
    /// Collects until every alarm is gone. Blocks; must be called in the node's network namespace.
    pub fn run(&self, ear: &Ear) {
        let (mut pause, mut fill) = (SHORTEST, 0.0);
        let mut begun = Instant::now();
        let (mut doubts, thrift) = (Doubts::default(), Thrift::new(std::thread::sleep));
        let (mut pressure, mut measured, mut says_of_wire) = (Pressure::default(), None::<Instant>, false);
        pressure::watched().for_each(|map| self.metrics.note_pressure(map, false));
        loop {
            let Some(is_alarmed) = ear.listen(pause.saturating_sub(begun.elapsed())) else { return };
            if is_alarmed {
                // An alarm is heard at once, but not before its time.
                std::thread::sleep(SHORTEST.saturating_sub(begun.elapsed()));
            }
            begun = Instant::now();
            // More of a processor when it should hurry because somebody waits for it, or for the next pass.
            let hurried = || share(fill, is_alarmed || ear.has_heard.get());
            let collected = self.collect(&mut doubts, &mut thrift.pace(hurried, || ear.is_over()));
            match collected {
                Ok(swept) => {
                    fill = filled(&swept);
                    pause = if doubts.end_pass() { SHORTEST } else { interval(&swept) };
                }
                Err(failure) => {
                    tracing::warn!(%failure, "cannot collect flows; trying again");
                    pause = USUAL;
                }
            }
            if measured.is_none_or(|then| then.elapsed() >= USUAL) {
                self.forget(&mut thrift.pace(|| share(fill, false), || ear.is_over()));
                let started = Instant::now();
                self.measure(&mut pressure, &mut says_of_wire);
                thrift.spend(started.elapsed(), share(fill, false));
                measured = Some(Instant::now());
            }
        }
    }

    /// One pass at a pace.
    fn collect(&self, doubts: &mut Doubts, pace: &mut Pace<'_>) -> Result<Swept, Failure> {
        let pods = || namespaces(&self.state_dir);
        let ended = self.dataplane.end_lost_sockets(&mut |uses| doubts.believed(self.gone(uses)), &pods, pace)?;
        self.metrics.count_sockets(ended);
        let swept = self.dataplane.sweep_flows(&mut |uses| doubts.believed(self.gone(uses)), pace)?;
        self.metrics.count_flows(&swept);
        self.room.send_if_modified(|room| {
            let flows = full(&swept, room.flows.is_some());
            std::mem::replace(&mut room.flows, flows) != flows
        });
        Ok(swept)
    }

    /// Says once if frames come in that XDP leaves to the stack: somebody hoped for more of it.
    fn look_at_wire(&self, has_said: &mut bool) {
        let Ok(left) = self.dataplane.left() else { return };
        for (reason, count) in left.into_iter().filter(|(_, count)| count.packets > 0) {
            if !std::mem::replace(has_said, true) {
                let (reason, frames) = (reason.name(), count.packets);
                tracing::warn!(
                    reason,
                    frames,
                    "frames come in without checksums, from a veth device's other end; XDP leaves them to the stack, as if it were off \
                     (ethtool -K OTHER_END tx off)"
                );
            }
        }
    }

    /// Removes what is over from the maps that forget when they are full, so that these forget nothing else.
    fn forget(&self, pace: &mut Pace<'_>) {
        let pods = || namespaces(&self.state_dir);
        match self.dataplane.forget_unused(&pods, pace) {
            Ok(0) => {}
            Ok(entries) => tracing::debug!(entries, "forgot clients and sockets that are no more"),
            Err(failure) => tracing::warn!(%failure, "cannot forget clients and sockets that are no more; trying again"),
        }
    }

    /// Looks how full the maps are that programs write.
    fn measure(&self, pressure: &mut Pressure, says_of_wire: &mut bool) {
        // The others take their time to read, and nobody looks at them here.
        let maps = match self.dataplane.maps_named(&pressure::watched().collect::<Vec<_>>()) {
            Ok(maps) => maps,
            Err(failure) => return tracing::warn!(%failure, "cannot read the size of the maps"),
        };
        self.look_at_wire(says_of_wire);
        for news in pressure.follow(&maps) {
            self.metrics.note_pressure(news.map, news.is_pressed);
            let News { map, entries, capacity, is_pressed, consequence } = news;
            if is_pressed {
                tracing::warn!(map, entries, capacity, "a map is nearly full: {consequence}; raise capacities.{map}");
            } else {
                tracing::info!(map, entries, capacity, "a map is no longer nearly full");
            }
        }
    }

    /// Asks the programmer, little by little, so that it is never kept from the maps for long. One that does not answer any more knows of
    /// nothing that is gone.
    fn gone(&self, uses: &BTreeSet<Use>) -> BTreeSet<Use> {
        let uses: Vec<_> = uses.iter().copied().collect();
        let answers = uses.chunks(QUESTIONS).map(|some| {
            let (reply, answer) = oneshot::channel();
            let asked = self.messages.blocking_send(Message::AskGone(some.iter().copied().collect(), reply));
            asked.ok().and_then(|()| answer.blocking_recv().ok()).unwrap_or_default()
        });
        answers.flatten().collect()
    }
}

/// How much of the map is used, from 0 to 1.
fn filled(swept: &Swept) -> f64 {
    f64::from(swept.entries) / f64::from(swept.capacity.max(1))
}

/// The map's capacity if there is hardly room for another flow: nearly none is left, or not much has come free since.
fn full(swept: &Swept, was_full: bool) -> Option<u32> {
    let limit = if was_full { CROWDED } else { FULL };
    (filled(swept) >= limit).then_some(swept.capacity)
}

/// How crowded the map is: 0 while there is room, 1 when there is hardly any.
fn crowding(fill: f64) -> f64 {
    ((fill - ROOMY) / (CROWDED - ROOMY)).clamp(0.0, 1.0)
}

/// Time from the beginning of one pass to that of the next: when the next flow can expire, but soon when the map is crowded.
fn interval(swept: &Swept) -> Duration {
    let least = USUAL.mul_f64(1.0 - crowding(filled(swept))).max(SHORTEST);
    swept.next_expiry.unwrap_or(LONGEST).clamp(least, LONGEST)
}

/// The share of one CPU that a pass may take: little, more when room is needed or somebody waits for it.
fn share(fill: f64, is_alarmed: bool) -> f64 {
    let usual = 0.05 + 0.45 * crowding(fill);
    if is_alarmed { usual.max(0.25) } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(entries: u32, next_expiry: Option<u64>) -> Swept {
        Swept { entries, capacity: 1_000, next_expiry: next_expiry.map(Duration::from_secs), ..Swept::default() }
    }

    #[test]
    fn passes_come_when_something_can_expire_and_oftener_when_room_is_scarce() {
        let seconds = |entries, expiry| interval(&swept(entries, expiry)).as_secs();
        assert_eq!(seconds(0, None), 60);
        assert_eq!(seconds(100, Some(7_000)), 60);
        assert_eq!(seconds(100, Some(40)), 40);
        assert_eq!(seconds(100, Some(1)), 30);
        assert_eq!(seconds(700, Some(1)), 15);
        assert_eq!(seconds(900, Some(1)), 1);
        assert_eq!(seconds(1_000, Some(3)), 3, "sooner than anything expires there is nothing to collect");
        assert_eq!(interval(&Swept::default()), LONGEST, "a map without capacity is no reason to divide by zero");
    }

    #[test]
    fn a_map_is_full_until_there_is_room_worth_the_name() {
        let full = |entries, was_full| full(&swept(entries, None), was_full);
        assert_eq!((full(979, false), full(980, false)), (None, Some(1_000)));
        assert_eq!((full(900, true), full(899, true)), (Some(1_000), None));
    }

    #[test]
    fn the_share_of_a_processor_grows_with_what_waits() {
        for (fill, alarmed, expected) in [(0.0, false, 0.05), (0.0, true, 0.25), (1.0, false, 0.5), (1.0, true, 0.5)] {
            let share = share(fill, alarmed);
            assert!((share - expected).abs() < 1e-9, "{share}");
        }
    }

    #[test]
    fn an_alarm_is_never_waited_for_and_many_are_one() {
        let (alarm, ear) = alarm();
        (0..100).for_each(|_| alarm.ring());
        assert!(!ear.is_over());
        assert_eq!(ear.listen(Duration::ZERO), Some(true), "what was heard meanwhile counts");
        assert_eq!(ear.listen(Duration::ZERO), Some(false));
        let other = alarm.clone();
        drop(alarm);
        assert_eq!(ear.listen(Duration::ZERO), Some(false));
        drop(other);
        assert!(ear.is_over() && ear.listen(Duration::MAX).is_none());
    }
}
