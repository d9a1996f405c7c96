//! From the ring to those who hear: takes what programs tell, has it explained, tells it. Programs tell drops always, and flows while somebody
//! wants to hear of them.

use super::explain::Seen;
use super::hub::{Hub, Wanted};
use super::line::{Happened, Line, Loss, Lost, Verdict};
use super::pods;
use crate::dataplane::{Dataplane, EventSource, Failure};
use crate::programmer::Message;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use orknet_abi::{Monitor, monitor_flags};
use orknet_dataplane::{Told, Untold};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Before a ring that cannot be read is tried again; doubled up to a minute.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How often monitors are told what was lost, at least.
const LOSSES: Duration = Duration::from_secs(1);

/// What the feed works with.
pub struct Feed {
    pub dataplane: Arc<dyn Dataplane>,
    /// To the programmer, who knows the names.
    pub messages: mpsc::Sender<Message>,
    pub hub: Hub,
    /// Drops that this node's pods may get Events about.
    pub drops: mpsc::Sender<Happened>,
    pub node: Arc<str>,
    /// Events of each kind that each CPU tells in about a second.
    pub rate: u32,
}

/// Tells what happens, until it is cancelled: then programs tell nothing any more.
pub async fn feed(feed: Feed) {
    let mut wanted = feed.hub.wanted();
    let quiet = Quiet(Arc::clone(&feed.dataplane));
    let mut course = Course::default();
    loop {
        let followed = match feed.dataplane.events() {
            Ok(mut source) => feed.follow(source.as_mut(), &mut wanted, &mut course).await,
            Err(failure) => Err(failure),
        };
        match followed {
            // Nobody is left who knows the names: the agent ends.
            Ok(()) => return drop(quiet),
            Err(failure) => tracing::warn!(%failure, "cannot read what programs tell; trying again"),
        }
        tokio::time::sleep(course.failed()).await;
    }
}

/// What goes on from one reader of the ring to the next.
#[derive(Default)]
struct Course {
    /// Readers that failed since the last one that had something to tell.
    failures: u32,
    /// What programs could not tell, at the last look; `None` before the first.
    untold: Option<Untold>,
}

impl Course {
    /// How long to wait after a failure.
    fn failed(&mut self) -> Duration {
        self.failures += 1;
        FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX)).min(LAST_RETRY)
    }

    /// There was something to tell: reading works.
    fn worked(&mut self) {
        self.failures = 0;
    }

    /// What was lost since the last look, with what a reader has left out that took another's place. Before the first look, nobody's.
    fn lost(&mut self, now: Untold, left_out: u64) -> Vec<Lost> {
        let Some(known) = self.untold.replace(now) else { return Vec::new() };
        let unread = now.full.saturating_sub(known.full).saturating_add(left_out);
        let lost = [(now.rate.saturating_sub(known.rate), Loss::Rate), (unread, Loss::Agent)];
        lost.into_iter().filter(|(events, _)| *events > 0).map(|(events, because)| Lost { events, because }).collect()
    }
}

/// Ends what programs tell when it is dropped: nobody would read it.
struct Quiet(Arc<dyn Dataplane>);

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Err(failure) = self.0.tell_events(Monitor::default()) {
            tracing::debug!(%failure, "programs go on telling events");
        }
    }
}

impl Feed {
    async fn follow(&self, source: &mut dyn EventSource, wanted: &mut watch::Receiver<Wanted>, course: &mut Course) -> Result<(), Failure> {
        let mut now = *wanted.borrow_and_update();
        self.dataplane.tell_events(self.monitor(now))?;
        self.tell_losses(course, source.left_out(), now)?;
        let mut look = tokio::time::interval(LOSSES);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                events = source.take() => {
                    let events = events?;
                    course.worked();
                    if !self.tell(events, now).await {
                        return Ok(());
                    }
                }
                // The hub is ours: somebody always tells.
                _ = wanted.changed() => {
                    // What was lost while nobody listened is nobody's loss.
                    self.tell_losses(course, 0, now)?;
                    now = *wanted.borrow_and_update();
                    self.dataplane.tell_events(self.monitor(now))?;
                }
                _ = look.tick(), if is_heard(now) => self.tell_losses(course, 0, now)?,
            }
        }
    }

    fn monitor(&self, wanted: Wanted) -> Monitor {
        let flows = if wanted.flows > 0 { monitor_flags::FLOWS } else { 0 };
        Monitor { flags: monitor_flags::DROPS | flows, per_tick: self.rate }
    }

    /// Whether there was somebody to ask for names. What nobody wants to hear of is not explained.
    async fn tell(&self, events: Vec<Told>, wanted: Wanted) -> bool {
        let is_for_pods = |told: &Told| told.dropped().is_some_and(|reason| pods::reason_of(reason).is_some());
        let boot = boot_time();
        let seen = |told: Told| Seen { at: boot + SignedDuration::from_nanos(i64::try_from(told.event.time).unwrap_or(i64::MAX)), told };
        let seen: Vec<_> = events.into_iter().filter(|told| is_heard(wanted) || is_for_pods(told)).map(seen).collect();
        if seen.is_empty() {
            return !self.messages.is_closed();
        }
        let (reply, answer) = oneshot::channel();
        if self.messages.send(Message::Explain(seen, Arc::clone(&self.node), reply)).await.is_err() {
            return false;
        }
        let Ok(explained) = answer.await else { return false };
        for happened in explained {
            if happened.verdict == Verdict::Dropped && pods::concerns_pods(&happened) {
                // When more are refused than can be told, those that are told stand for the others.
                let _ = self.drops.try_send(happened.clone());
            }
            if is_heard(wanted) {
                self.hub.tell(Line::Event(Box::new(happened)));
            }
        }
        true
    }

    /// Tells monitors, if there are any, what was lost since the last look.
    fn tell_losses(&self, course: &mut Course, left_out: u64, wanted: Wanted) -> Result<(), Failure> {
        let lost = course.lost(self.dataplane.untold_events()?, left_out);
        lost.into_iter().filter(|_| is_heard(wanted)).for_each(|lost| self.hub.tell(Line::Lost(lost)));
        Ok(())
    }
}

fn is_heard(wanted: Wanted) -> bool {
    wanted.drops + wanted.flows > 0
}

/// When the kernel's monotonic clock began.
fn boot_time() -> Timestamp {
    let now = Timestamp::now();
    let since = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(SignedDuration::ZERO, |time| SignedDuration::new(time.tv_sec(), i32::try_from(time.tv_nsec()).unwrap_or(0)));
    now.checked_sub(since).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_without_telling_anything_is_tried_more_and_more_seldom() {
        let mut course = Course::default();
        let seconds = |course: &mut Course| course.failed().as_secs();
        assert_eq!([0; 8].map(|_| seconds(&mut course)), [1, 2, 4, 8, 16, 32, 60, 60]);
        (0..40).for_each(|_| _ = course.failed());
        assert_eq!(seconds(&mut course), 60);
        course.worked();
        assert_eq!([0; 2].map(|_| seconds(&mut course)), [1, 2]);
    }

    #[test]
    fn what_is_lost_between_two_readers_is_told_and_what_was_before_the_first_is_not() {
        let mut course = Course::default();
        let untold = |rate, full| Untold { rate, full };
        let lost = |events, because| Lost { events, because };
        assert_eq!(course.lost(untold(5, 7), 100), []);
        assert_eq!(course.lost(untold(5, 7), 0), []);
        assert_eq!(course.lost(untold(6, 9), 0), [lost(1, Loss::Rate), lost(2, Loss::Agent)]);
        // A reader in the place of one that failed.
        assert_eq!(course.lost(untold(6, 10), 3), [lost(4, Loss::Agent)]);
    }
}
