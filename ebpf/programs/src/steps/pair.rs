//! The ways between pairs of addresses whose packets nobody translates: those of a pod, of which neither end is a Service's. Packets of
//! such a pair that have no flow need nothing but the way, whatever their ports.
//!
//! Beside them, what the node's routes answered for pairs of addresses that packets have become: the first packet of the next flow between
//! the same two need not ask again.
//!
//! A way is believed as that of a flow is (see [`quick`](super::quick)), and as long as no Service gets the address: user space begins a new
//! generation then. Each processor has ways of its own, and no program interrupts another one there, so nothing is written while it is read.

use super::{
    clock::now_ticks,
    judge,
    packet::Ip,
    quick::generation,
    range,
    words::{self, to_words},
};
use crate::maps::{PAIRS, ROUTES, SERVICES};
use orknet_abi::{FlowKey, Pair, Way, pair_slot};

#[inline(always)]
fn stamp(generation: u64, source: &[u32; 4], destination: &[u32; 4], device: u32) -> u64 {
    Way::stamp(generation as u32, now_ticks(), [source[3], destination[3], device])
}

/// Where the pair's way is, if it is believed.
#[inline(always)]
pub fn find_way(source: &[u32; 4], destination: &[u32; 4], device: u32) -> Option<&'static Way> {
    believed(PAIRS.get_ptr(pair_slot(source, destination))?, source, destination, device)
}

/// The same of a route's answer.
#[inline(always)]
pub fn find_route(becomes: &FlowKey, device: u32) -> Option<&'static Way> {
    let (source, destination) = (to_words(&becomes.source), to_words(&becomes.destination));
    believed(ROUTES.get_ptr(pair_slot(source, destination))?, source, destination, device)
}

/// Notes a route's answer, in whosever place: another one's costs a question. `way.stamp` is the generation in which it was asked.
#[inline(always)]
pub fn note_route(becomes: &FlowKey, way: &Way, device: u32) {
    let (source, destination) = (to_words(&becomes.source), to_words(&becomes.destination));
    let Some(pair) = ROUTES.get_ptr_mut(pair_slot(source, destination)) else { return };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map, which nobody reads now.
    let pair = unsafe { &mut *pair };
    words::copy(&becomes.source, &mut pair.source);
    words::copy(&becomes.destination, &mut pair.destination);
    words::copy(way, &mut pair.way);
    pair.way.stamp = stamp(way.stamp, source, destination, device);
    pair.way.device = device;
}

#[inline(always)]
fn believed(pair: *const Pair, source: &[u32; 4], destination: &[u32; 4], device: u32) -> Option<&'static Way> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map, which nobody writes now.
    let pair = unsafe { &*pair };
    let is_it = pair.way.stamp == stamp(generation(), source, destination, device)
        && pair.way.device == device
        && is_same(to_words(&pair.source), source)
        && is_same(to_words(&pair.destination), destination);
    is_it.then_some(&pair.way)
}

#[inline(always)]
fn is_same(one: &[u32; 4], other: &[u32; 4]) -> bool {
    (0..4).all(|word| one[word] == other[word])
}

/// Whether no other pair, whose way is believed, has this one's place.
#[inline(always)]
pub fn has_place(ip: &Ip) -> bool {
    let Some(pair) = PAIRS.get_ptr(pair_slot(to_words(&ip.source), to_words(&ip.destination))) else { return false };
    // SAFETY: as above.
    let pair = unsafe { &*pair };
    pair.way.stamp != stamp(generation(), to_words(&pair.source), to_words(&pair.destination), pair.way.device)
}

/// Notes the way of a packet that neither is a flow's nor may be for a Service of any port. `way.stamp` is the generation in which it was
/// asked. An address that is the node's own must not be noted: node ports are there, of which the address as a whole does not tell.
#[inline(always)]
pub fn note(ip: &Ip, way: &Way, kind: u32, device: u32) {
    // While user space changes what ways depend on, nothing is noted. Nor is what pods with rules send and get: those have flows.
    if way.stamp & 1 != 0 || !has_place(ip) || SERVICES.get_ptr(range::whole(&ip.destination)).is_some() {
        return;
    }
    if judge::has_rules(&ip.source) || judge::has_rules(&ip.destination) {
        return;
    }
    let (source, destination) = (to_words(&ip.source), to_words(&ip.destination));
    let Some(pair) = PAIRS.get_ptr_mut(pair_slot(source, destination)) else { return };
    let stamp = stamp(way.stamp, source, destination, device);
    // SAFETY: as above; nobody reads it now.
    unsafe {
        (&raw mut (*pair).source).write(ip.source);
        (&raw mut (*pair).destination).write(ip.destination);
        (&raw mut (*pair).way).write(Way { stamp, device, kind: kind as u8, ..*way });
    }
}
