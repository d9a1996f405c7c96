//! The fair queues under load, on a clock of its own: many that ask much do not starve one that asks little.

use super::queues::{Place, Queues, Shape, Ticket};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A client: so many requests open at a time, of so many seats, that take so many milliseconds each, with a pause between two.
struct Client {
    flow: u64,
    open: usize,
    seats: u32,
    takes: u64,
    pause: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks(usize),
    Ends(Ticket),
}

/// What a client saw, in milliseconds of waiting; refusals apart.
#[derive(Default)]
struct Seen {
    waits: Vec<u64>,
    refused: u64,
}

fn simulate(clients: &[Client], mut level: Queues, end: u64, seed: u64) -> Vec<Seen> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = BinaryHeap::new();
    for (index, client) in clients.iter().enumerate() {
        for _ in 0..client.open {
            events.push(Reverse((random.random_range(0..50_u64), Event::Asks(index))));
        }
    }
    let mut seen: Vec<Seen> = clients.iter().map(|_| Seen::default()).collect();
    let mut waits: HashMap<Ticket, (usize, u64)> = HashMap::new();
    let mut works: HashMap<Ticket, (usize, u64, Place)> = HashMap::new();
    let mut tickets = 0;
    while let Some(Reverse((now, event))) = events.pop().filter(|Reverse((now, _))| *now < end) {
        match event {
            Event::Asks(index) => {
                tickets += 1;
                if level.arrive(tickets, clients[index].flow, clients[index].seats).is_ok() {
                    waits.insert(tickets, (index, now));
                } else {
                    seen[index].refused += 1;
                    events.push(Reverse((now + 100, event)));
                }
            }
            Event::Ends(ticket) => {
                let (index, began, place) = works.remove(&ticket).expect("works");
                level.finish(place, (now - began) as f64 / 1000.0);
                events.push(Reverse((now + clients[index].pause, Event::Asks(index))));
            }
        }
        while let Some((ticket, place)) = level.next() {
            let (index, since) = waits.remove(&ticket).expect("waits");
            seen[index].waits.push(now - since);
            works.insert(ticket, (index, now, place));
            let takes = clients[index].takes;
            events.push(Reverse((now + random.random_range(takes / 2..takes * 3 / 2), Event::Ends(ticket))));
        }
    }
    seen
}

fn level(limit: u32) -> Queues {
    Queues::new(Shape { queues: 128, hand: 6, length: 50 }, limit)
}

#[test]
fn an_elephant_does_not_starve_a_mouse() {
    for seed in 0..20 {
        let flow = |client: u64| (seed * 31 + client).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let elephant = Client { flow: flow(1), open: 300, seats: 5, takes: 200, pause: 0 };
        let mouse = Client { flow: flow(2), open: 1, seats: 1, takes: 10, pause: 500 };
        let seen = simulate(&[elephant, mouse], level(20), 60_000, seed);
        // Nearly all the seats are the elephant's: 20 of them at 5 for 0.2 s make 20 a second.
        assert!(seen[0].waits.len() > 1000, "seed {seed}: {}", seen[0].waits.len());
        let mouse = &seen[1];
        assert!(mouse.refused == 0 && mouse.waits.len() > 60, "seed {seed}: {} refused, {} answered", mouse.refused, mouse.waits.len());
        // At worst it waits for one place of the elephant's to become free.
        let worst = mouse.waits.iter().max().expect("some");
        assert!(*worst <= 300, "seed {seed}: {worst} ms");
    }
}

#[test]
fn two_elephants_have_the_same_and_a_wide_one_no_more() {
    for seed in 0..10 {
        let flow = |client: u64| (seed * 17 + client).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let narrow = Client { flow: flow(1), open: 40, seats: 1, takes: 100, pause: 0 };
        let wide = Client { flow: flow(2), open: 40, seats: 4, takes: 100, pause: 0 };
        let queues = Queues::new(Shape { queues: 128, hand: 1, length: 50 }, 16);
        let seen = simulate(&[narrow, wide], queues, 60_000, seed);
        let seats = [seen[0].waits.len() as f64, 4.0 * seen[1].waits.len() as f64];
        let part = seats[0] / (seats[0] + seats[1]);
        assert!((0.4..0.6).contains(&part), "seed {seed}: {part}");
    }
}

#[test]
fn a_shortage_is_shared_and_leaves_no_seat_empty() {
    let clients: Vec<Client> = (0..30_u64)
        .map(|client| Client { flow: client.wrapping_mul(0x9e37_79b9_7f4a_7c15), open: 4, seats: 1, takes: 50, pause: 0 })
        .collect();
    let seen = simulate(&clients, level(10), 60_000, 3);
    let answered: Vec<usize> = seen.iter().map(|seen| seen.waits.len()).collect();
    // 10 seats for 60 s at 50 ms each.
    let all: usize = answered.iter().sum();
    assert!(all > 11_000, "{all}");
    let (least, most) = (answered.iter().min().expect("some"), answered.iter().max().expect("some"));
    // Hands overlap, so shares are not exact.
    assert!(most < &(least * 4), "{answered:?}");
}
