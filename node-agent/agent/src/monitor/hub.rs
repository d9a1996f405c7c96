//! Who hears what is told: everybody the same, each at its own pace. What a slow one does not read in time it loses, and is told how much.

use super::line::{Line, Loss, Lost};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Lines that wait for the slowest of those who read; a line takes about a kilobyte.
const WAITING: usize = 2_048;

/// Where lines are told and heard. Clones are the same.
#[derive(Clone, Debug)]
pub struct Hub {
    lines: broadcast::Sender<Arc<Line>>,
    /// How many want to hear of drops, and of flows.
    wanted: watch::Sender<Wanted>,
}

/// How many want to hear of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub drops: usize,
    pub flows: usize,
}

/// One who hears.
#[derive(Debug)]
pub struct Subscription {
    lines: broadcast::Receiver<Arc<Line>>,
    hub: Hub,
    share: Wanted,
}

impl Default for Hub {
    fn default() -> Self {
        Self { lines: broadcast::Sender::new(WAITING), wanted: watch::Sender::default() }
    }
}

impl Hub {
    /// Begins to hear; ends when the subscription is dropped.
    pub fn subscribe(&self, drops: bool, flows: bool) -> Subscription {
        let share = Wanted { drops: drops.into(), flows: flows.into() };
        let lines = self.lines.subscribe();
        self.wanted.send_modify(|wanted| (wanted.drops, wanted.flows) = (wanted.drops + share.drops, wanted.flows + share.flows));
        Subscription { lines, hub: self.clone(), share }
    }

    /// Tells all who hear now. Never waits.
    pub fn tell(&self, line: Line) {
        let _ = self.lines.send(Arc::new(line));
    }

    /// What is wanted, now and as it changes.
    pub fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }
}

impl Subscription {
    /// The next line; a loss takes the place of what was lost. `None` if nobody will tell any more. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Line>> {
        match self.lines.recv().await {
            Ok(line) => Some(line),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(Arc::new(Line::Lost(Lost { events, because: Loss::Monitor }))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let share = self.share;
        self.hub.wanted.send_modify(|wanted| (wanted.drops, wanted.flows) = (wanted.drops - share.drops, wanted.flows - share.flows));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::dropped;
    use super::*;

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_what_is_missing_and_nobody_waits_for_it() {
        let hub = Hub::default();
        let (mut slow, mut quick) = (hub.subscribe(true, false), hub.subscribe(true, false));
        for number in 0..WAITING as u32 + 5 {
            hub.tell(Line::Event(Box::new(super::super::line::Happened { device: number, ..dropped() })));
            assert!(matches!(&*quick.next().await.unwrap(), Line::Event(told) if told.device == number));
        }
        assert_eq!(*slow.next().await.unwrap(), Line::Lost(Lost { events: 5, because: Loss::Monitor }));
        for number in 5..WAITING as u32 + 5 {
            assert!(matches!(&*slow.next().await.unwrap(), Line::Event(told) if told.device == number));
        }
    }

    #[test]
    fn what_is_wanted_follows_who_is_there() {
        let hub = Hub::default();
        let wanted = hub.wanted();
        let drops = hub.subscribe(true, false);
        let both = hub.subscribe(true, true);
        assert_eq!(*wanted.borrow(), Wanted { drops: 2, flows: 1 });
        drop(both);
        assert_eq!(*wanted.borrow(), Wanted { drops: 1, flows: 0 });
        drop(drops);
        assert_eq!(*wanted.borrow(), Wanted::default());
    }
}
