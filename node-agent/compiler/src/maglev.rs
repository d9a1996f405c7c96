//! Look-up tables by which packets find a backend: on every node the same one, with hardly a change when another backend goes.
//!
//! The idea is Maglev's (NSDI 2016): each backend has a permutation of the positions, made of two hashes of its address alone, and
//! takes positions in that order. Maglev lets backends take turns, each going on to its next free position, so that one backend less
//! shifts the turns of all others. Here time is what is fixed: in round `r` every backend looks at the `r`-th position of its
//! permutation, takes it if it is free, and is done when it has its share. So a position goes to the backend that ranks it highest,
//! whoever else there is: with a hundred positions or more for each backend, hardly one in a hundred moves between those that stay.
//!
//! Tables of nodes with different programs meet in one network: the hashes and their seeds are part of the contract between
//! versions, and a test pins what they give.

use orknet_abi::Address;

/// Seeds of the hashes for where a permutation begins, for how far it goes each time, and for who gets a position more than others.
const START: u64 = 0x6f72_6b6e_6574_0001;
const STRIDE: u64 = 0x6f72_6b6e_6574_0002;
const REST: u64 = 0x6f72_6b6e_6574_0003;

/// The most backends of a table: slots are 16 bits wide.
pub const MOST_BACKENDS: usize = 1 << 16;

/// Whether tables can have so many positions: a prime number, so that every stride reaches every position.
pub fn is_table_size(size: u32) -> bool {
    size >= 2 && (2..).take_while(|divisor| divisor * divisor <= u64::from(size)).all(|divisor| !u64::from(size).is_multiple_of(divisor))
}

/// The slot of a backend for each of `size` positions: backend `n` of the list, which must be in an order that all nodes agree on, is
/// slot `n`. Shares are as the weights, exact to one position; backends of weight 0 get none.
///
/// Empty if no backend has weight, if there are more than [`MOST_BACKENDS`] or if [`is_table_size`] says no.
/// Takes about fifteen steps for each position, however many backends there are.
pub fn table(backends: &[(Address, u32)], size: u32) -> Vec<u16> {
    let mut active = walkers(backends, size);
    if active.is_empty() || backends.len() > MOST_BACKENDS || !is_table_size(size) {
        return Vec::new();
    }
    const FREE: u32 = u32::MAX;
    let mut slots = vec![FREE; size as usize];
    while !active.is_empty() {
        active.retain_mut(|walker| {
            for _ in 0..walker.pace {
                if walker.share == 0 {
                    return false;
                }
                let position = &mut slots[walker.next as usize];
                walker.next = (walker.next + walker.stride) % u64::from(size);
                if *position == FREE {
                    *position = walker.slot;
                    walker.share -= 1;
                }
            }
            walker.share > 0
        });
    }
    // The shares add up to the size, and no slot is beyond 16 bits.
    slots.into_iter().map(|slot| slot as u16).collect()
}

/// A backend on its way through the positions.
struct Walker {
    slot: u32,
    next: u64,
    stride: u64,
    /// Positions in a round: heavier backends go faster.
    pace: u32,
    /// Positions that it still has to get.
    share: u64,
}

fn walkers(backends: &[(Address, u32)], size: u32) -> Vec<Walker> {
    let total: u64 = backends.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 || size < 2 {
        return Vec::new();
    }
    let divisor = backends.iter().fold(0, |divisor, (_, weight)| greatest_common_divisor(divisor, *weight));
    let size = u64::from(size);
    let mut walkers = Vec::with_capacity(backends.len());
    let mut rests = Vec::with_capacity(backends.len());
    let mut twins = 0;
    for (slot, (address, weight)) in backends.iter().enumerate() {
        // Two ports of one address are neighbours in a list. They are told apart by their place among each other.
        twins = if slot > 0 && backends[slot - 1].0 == *address { twins + 1 } else { 0 };
        let exact = u128::from(size) * u128::from(*weight);
        rests.push((exact % u128::from(total), hash(address, twins, REST), slot));
        walkers.push(Walker {
            slot: slot as u32,
            next: hash(address, twins, START) % size,
            stride: hash(address, twins, STRIDE) % (size - 1) + 1,
            pace: weight / divisor,
            share: (exact / u128::from(total)) as u64,
        });
    }
    // What the division left over goes to the largest remainders.
    rests.sort_unstable_by(|one, other| other.cmp(one));
    let left = size - walkers.iter().map(|walker| walker.share).sum::<u64>();
    for (_, _, slot) in rests.iter().take(left as usize) {
        walkers[*slot].share += 1;
    }
    walkers.retain(|walker| walker.share > 0);
    walkers
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

fn hash(address: &Address, twins: u64, seed: u64) -> u64 {
    mix_in(seed.wrapping_add(twins), address)
}

/// Steele, Lea and Flood's SplitMix64 over a number and the two halves of an address.
pub(crate) fn mix_in(state: u64, address: &Address) -> u64 {
    let bytes = u128::from_be_bytes(address.0);
    mix(mix(mix(state) ^ (bytes >> 64) as u64) ^ bytes as u64)
}

fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
