//! The fair queues of one priority level. Pure: no clock, no locks; who waits is a number.
//!
//! Start-time fair queuing (Goyal, Vin, Cheng 1996) over seats and seconds: each queue has the virtual time at which its next request starts, which
//! moves by what its requests take; of the queues that have somebody waiting, the one with the earliest start goes next. A queue that was idle
//! begins at the time of whoever was started last, so that nobody saves up. What a request takes is not known before its end: it is guessed at its
//! start and put right at its end. Flows are dealt to queues by shuffle sharding, as in Kubernetes' API Priority and Fairness.

use std::collections::{BTreeMap, VecDeque};

/// Seconds that a request is thought to take until it has ended.
const GUESS: f64 = 0.003;

/// Who waits, or has a place.
pub type Ticket = u64;

/// How requests wait. `queues` 0: they do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub queues: u32,
    /// Among so many queues a flow's requests take the one with the least in it.
    pub hand: u32,
    /// Most requests that wait in one queue.
    pub length: usize,
}

/// What a request occupies; to be given back once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    queue: u32,
    pub seats: u32,
}

/// There is no room to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue has as many as it may.
    QueueFull,
    /// The level has no queues.
    NoSeat,
}

impl Refused {
    /// As Kubernetes' metrics call it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::NoSeat => "concurrency-limit",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queues {
    shape: Shape,
    /// Seats that may be in use at a time.
    limit: u32,
    in_use: u32,
    /// Seats that are waited for.
    wanted: u32,
    /// Those that have somebody waiting or working, or an account that is not level yet.
    queues: BTreeMap<u32, Queue>,
    /// The virtual start of the request that was started last.
    now: f64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Ticket, u32)>,
    /// Seats in use by its requests.
    in_use: u32,
    working: u32,
    /// Virtual start of its next request.
    start: f64,
}

impl Queues {
    pub fn new(shape: Shape, limit: u32) -> Self {
        Self { shape, limit, ..Self::default() }
    }

    /// From now on; who waits in a queue that is no more waits on.
    pub fn set(&mut self, shape: Shape, limit: u32) {
        (self.shape, self.limit) = (shape, limit);
    }

    /// Seats in use, and those that are waited for.
    pub fn demand(&self) -> (u32, u32) {
        (self.in_use, self.wanted)
    }

    /// Whether nobody works and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.in_use == 0 && self.wanted == 0
    }

    /// Lines a request up, of a flow with this hash; [`Queues::next`] says when it starts. Answers with the queue, and how many wait in it.
    pub fn arrive(&mut self, ticket: Ticket, flow: u64, seats: u32) -> Result<(u32, usize), Refused> {
        let index = match self.shape.queues {
            0 if !self.fits(seats) => return Err(Refused::NoSeat),
            0 => 0,
            _ => self.shortest(flow),
        };
        let fits = self.fits(seats);
        let queue = self.queues.entry(index).or_default();
        if self.shape.queues > 0 && queue.waiting.len() >= self.shape.length && !(fits && queue.waiting.is_empty()) {
            return Err(Refused::QueueFull);
        }
        if queue.waiting.is_empty() && queue.working == 0 {
            queue.start = queue.start.max(self.now);
        }
        queue.waiting.push_back((ticket, seats));
        self.wanted += seats;
        Ok((index, queue.waiting.len()))
    }

    /// Who starts now. To be asked until nobody does. A request that is next and does not fit is waited for, so that small ones do not pass it for ever.
    pub fn next(&mut self) -> Option<(Ticket, Place)> {
        let waiting = self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty());
        let (&index, queue) = waiting.min_by(|(_, one), (_, other)| one.start.total_cmp(&other.start))?;
        let &(ticket, seats) = queue.waiting.front()?;
        if !self.fits(seats) {
            return None;
        }
        let queue = self.queues.get_mut(&index)?;
        queue.waiting.pop_front();
        self.now = self.now.max(queue.start);
        queue.start += f64::from(seats) * GUESS;
        queue.in_use += seats;
        queue.working += 1;
        self.wanted -= seats;
        self.in_use += seats;
        Some((ticket, Place { queue: index, seats }))
    }

    /// A request has ended after so many seconds.
    pub fn finish(&mut self, place: Place, seconds: f64) {
        self.in_use = self.in_use.saturating_sub(place.seats);
        let Some(queue) = self.queues.get_mut(&place.queue) else { return };
        queue.in_use = queue.in_use.saturating_sub(place.seats);
        queue.working = queue.working.saturating_sub(1);
        queue.start += f64::from(place.seats) * (seconds - GUESS);
        self.tidy(place.queue);
    }

    /// Somebody waits no longer; false when he does not wait in that queue.
    pub fn leave(&mut self, ticket: Ticket, queue: u32) -> bool {
        let Some(waiting) = self.queues.get_mut(&queue).map(|queue| &mut queue.waiting) else { return false };
        let Some(at) = waiting.iter().position(|(waits, _)| *waits == ticket) else { return false };
        if let Some((_, seats)) = waiting.remove(at) {
            self.wanted -= seats;
        }
        self.tidy(queue);
        true
    }

    /// Forgets a queue that nobody uses and whose account is level; all of them when the level is idle.
    fn tidy(&mut self, index: u32) {
        if self.is_idle() {
            self.queues.clear();
            self.now = 0.0;
        } else if self.queues.get(&index).is_some_and(|queue| queue.waiting.is_empty() && queue.working == 0 && queue.start <= self.now) {
            self.queues.remove(&index);
        }
    }

    /// One that wants more than there is gets in alone, where anybody gets in at all.
    fn fits(&self, seats: u32) -> bool {
        self.limit > 0 && (self.in_use == 0 || self.in_use + seats <= self.limit)
    }

    fn shortest(&self, flow: u64) -> u32 {
        let load = |index: &u32| {
            let queue = self.queues.get(index);
            queue.map_or(0, |queue| queue.in_use + queue.waiting.iter().map(|(_, seats)| seats).sum::<u32>())
        };
        deal(flow, self.shape.queues, self.shape.hand).into_iter().min_by_key(load).unwrap_or_default()
    }
}

/// The hand of `hand` different queues out of `queues` that a flow with this hash is dealt.
fn deal(mut flow: u64, queues: u32, hand: u32) -> Vec<u32> {
    let mut dealt: Vec<u32> = Vec::new();
    for taken in 0..hand.min(queues) {
        let left = u64::from(queues - taken);
        // Below `queues`.
        let mut card = (flow % left) as u32;
        flow /= left;
        // The card's place among those that are not dealt yet.
        for before in &dealt {
            card += u32::from(*before <= card);
        }
        let at = dealt.partition_point(|before| *before < card);
        dealt.insert(at, card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_has_different_queues_and_hashes_have_different_hands() {
        let mut seen = std::collections::BTreeSet::new();
        for flow in 0..2000_u64 {
            let hand = deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 16, 4);
            assert_eq!(hand.len(), 4);
            assert!(hand.windows(2).all(|pair| pair[0] < pair[1]) && hand[3] < 16, "{hand:?}");
            seen.insert(hand);
        }
        // Of the 1820 hands there are.
        assert!(seen.len() > 1000, "{}", seen.len());
        assert_eq!(deal(7, 3, 5), [0, 1, 2]);
    }

    #[test]
    fn without_queues_nobody_waits() {
        let mut level = Queues::new(Shape::default(), 1);
        assert_eq!(level.arrive(1, 0, 1), Ok((0, 1)));
        let (_, place) = level.next().expect("starts");
        assert_eq!(level.arrive(2, 0, 1), Err(Refused::NoSeat));
        level.finish(place, 0.1);
        assert!(level.is_idle() && level.arrive(3, 0, 1).is_ok());
        assert_eq!(Queues::new(Shape::default(), 0).arrive(1, 0, 1), Err(Refused::NoSeat));
    }

    #[test]
    fn a_queue_has_room_for_so_many_and_who_leaves_makes_room() {
        let mut level = Queues::new(Shape { queues: 1, hand: 1, length: 2 }, 1);
        assert_eq!(level.arrive(1, 0, 1), Ok((0, 1)));
        let (first, place) = level.next().expect("starts");
        assert_eq!((first, level.next()), (1, None));
        assert!(level.arrive(2, 0, 1).is_ok() && level.arrive(3, 0, 1).is_ok());
        assert_eq!(level.arrive(4, 0, 1), Err(Refused::QueueFull));
        assert!(level.leave(2, 0) && !level.leave(2, 0));
        assert!(level.arrive(5, 0, 1).is_ok());
        level.finish(place, 0.1);
        assert_eq!(level.next().map(|(ticket, _)| ticket), Some(3));
        assert_eq!(level.demand(), (1, 1));
    }

    #[test]
    fn one_that_wants_more_than_there_is_gets_in_alone_and_is_not_passed() {
        let mut level = Queues::new(Shape { queues: 8, hand: 1, length: 9 }, 4);
        level.arrive(1, 0, 1).expect("room");
        let (_, small) = level.next().expect("starts");
        level.arrive(2, 1, 10).expect("room");
        level.arrive(3, 2, 1).expect("room");
        assert_eq!(level.next(), None);
        level.finish(small, 0.1);
        let (ticket, wide) = level.next().expect("starts");
        assert_eq!((ticket, level.next()), (2, None));
        level.finish(wide, 0.1);
        assert_eq!(level.next().map(|(ticket, _)| ticket), Some(3));
    }
}
