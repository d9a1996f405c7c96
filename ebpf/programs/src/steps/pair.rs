//! The ways between pairs of addresses whose packets nobody translates: those of a pod, of which neither end is a Service's. Packets of
//! such a pair that have no flow need nothing but the way, whatever their ports.
//!
//! Beside them, what the node's routes answered for pairs of addresses that packets have become: the first packet of the next flow between
//! the same two need not ask again.
//!
//! Pods with rules have pairs too, for one port each: where whatever answers a packet would be let through even if nothing were known of the
//! packet, nothing need be known of its flow. So it is as long as rules are about one direction at both ends. Where something must be known,
//! the pair says that the rules let such packets through and which way they go; FLOWS, whether they are a known connection's.
//!
//! A way is believed as that of a flow is (see [`quick`](super::quick)), and as long as no Service gets the address: user space begins a new
//! generation then. Each processor has ways of its own, and no program interrupts another one there, so nothing is written while it is read.

use super::{
    clock::now_ticks,
    judge,
    packet::Ip,
    quick::generation,
    range, scratch,
    words::{self, Words, to_words},
};
use crate::{
    global,
    maps::{PAIRS, ROUTES, SERVICES},
};
use orknet_abi::{FlowKey, Pair, Way, pair_side, pair_slot, port_pair_slot};

#[inline(always)]
fn stamp(generation: u64, source: &[u32; 4], destination: &[u32; 4], device: u32) -> u64 {
    Way::stamp(generation as u32, now_ticks(), [source[3], destination[3], device])
}

/// For whom a pair is looked for.
pub mod asked {
    /// A packet of which FLOWS knows nothing.
    pub const UNKNOWN: u32 = 0;
    /// A packet of a known flow that translates nothing, in the direction of who opened it.
    pub const FORWARD: u32 = 1;
    /// The same in the answers' direction.
    pub const BACK: u32 = 2;
}

/// In the place of a slot: there is no pair whose way is believed.
pub const NONE: u32 = u32::MAX;

/// The pair that a packet belongs to, if its way is believed: one for all ports, or for that of the one or the other end. `asked` is one of
/// [`asked`].
#[inline(always)]
pub fn find(key: &FlowKey, device: u32, asked: u32) -> Option<&'static Pair> {
    let slot = global::find_pair(key, device, asked);
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map, which nobody writes now.
    PAIRS.get_ptr(slot).map(|pair| unsafe { &*pair })
}

/// Where that pair is, or [`NONE`].
#[inline(always)]
pub fn find_slot(key: &Words, device: u32, asked: u32) -> u32 {
    let (from_port, to_port) = (key.ports as u16, (key.ports >> 16) as u16);
    let stamp = stamp(generation(), &key.source, &key.destination, device);
    if asked == asked::UNKNOWN {
        let slot = pair_slot(&key.source, &key.destination);
        if has(slot, key, device, stamp, [pair_side::ANY; 2], 0, 0) {
            return slot;
        }
    }
    if asked != asked::BACK {
        let slot = port_pair_slot(&key.source, &key.destination, to_port, key.protocol as u8, pair_side::TO_PORT);
        if has(slot, key, device, stamp, [pair_side::TO_PORT, pair_side::OPENS], to_port, key.protocol as u8) {
            return slot;
        }
    }
    if asked != asked::FORWARD {
        let slot = port_pair_slot(&key.source, &key.destination, from_port, key.protocol as u8, pair_side::FROM_PORT);
        let known = if asked == asked::BACK { pair_side::ANSWERS } else { pair_side::FROM_PORT };
        if has(slot, key, device, stamp, [pair_side::FROM_PORT, known], from_port, key.protocol as u8) {
            return slot;
        }
    }
    NONE
}

/// Whether a place has the pair, for one of two sides, and its way is believed.
#[inline(always)]
fn has(slot: u32, key: &Words, device: u32, stamp: u64, sides: [u8; 2], port_be: u16, protocol: u8) -> bool {
    let Some(pair) = PAIRS.get_ptr(slot) else { return false };
    // SAFETY: as above.
    let pair = unsafe { &*pair };
    (pair.port_be, pair.protocol) == (port_be, protocol)
        && (pair.side == sides[0] || pair.side == sides[1])
        && is_pair(pair, &key.source, &key.destination, device, stamp)
}

/// The same of a route's answer.
#[inline(always)]
pub fn find_route(becomes: &FlowKey, device: u32) -> Option<&'static Way> {
    let (source, destination) = (to_words(&becomes.source), to_words(&becomes.destination));
    believed(ROUTES.get_ptr(pair_slot(source, destination))?, source, destination, device).map(|pair| &pair.way)
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
fn believed(pair: *const Pair, source: &[u32; 4], destination: &[u32; 4], device: u32) -> Option<&'static Pair> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map, which nobody writes now.
    let pair = unsafe { &*pair };
    is_pair(pair, source, destination, device, stamp(generation(), source, destination, device)).then_some(pair)
}

#[inline(always)]
fn is_pair(pair: &Pair, source: &[u32; 4], destination: &[u32; 4], device: u32, stamp: u64) -> bool {
    pair.way.stamp == stamp
        && pair.way.device == device
        && is_same(to_words(&pair.source), source)
        && is_same(to_words(&pair.destination), destination)
}

#[inline(always)]
fn is_same(one: &[u32; 4], other: &[u32; 4]) -> bool {
    (0..4).all(|word| one[word] == other[word])
}

/// Whether no other pair, whose way is believed, has the place of this one for all ports.
#[inline(always)]
pub fn has_place(ip: &Ip) -> bool {
    is_free(pair_slot(to_words(&ip.source), to_words(&ip.destination)))
}

#[inline(always)]
fn is_free(slot: u32) -> bool {
    let Some(pair) = PAIRS.get_ptr(slot) else { return false };
    // SAFETY: as above.
    let pair = unsafe { &*pair };
    pair.way.stamp != stamp(generation(), to_words(&pair.source), to_words(&pair.destination), pair.way.device)
}

/// Notes the way of a packet that neither is a flow's nor may be for a Service of any port. `way.stamp` is the generation in which it was
/// asked. An address that is the node's own must not be noted: node ports are there, of which the address as a whole does not tell.
#[inline(always)]
pub fn note(ip: &Ip, way: &Way, kind: u32, device: u32) {
    if SERVICES.get_ptr(range::whole(&ip.destination)).is_some() || judge::has_rules(&ip.source) || judge::has_rules(&ip.destination) {
        return;
    }
    let slot = pair_slot(to_words(&ip.source), to_words(&ip.destination));
    let _ = put(slot, ip, way, kind, device, &Stateless { rules: [0; 2], port_be: 0, protocol: 0, side: pair_side::ANY });
}

/// For which packets rules let a pair's packets through without a flow of their own, and which rules they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stateless {
    pub rules: [u32; 2],
    pub port_be: u16,
    pub protocol: u8,
    /// See [`pair_side`].
    pub side: u8,
}

/// Notes the way of a packet that rules let through, as what was judged last says; false if another pair has its place.
#[inline(always)]
pub fn note_judged(ip: &Ip, way: &Way, kind: u32, device: u32) -> bool {
    let Some(judged) = scratch::judged() else { return false };
    let of = &judged.stateless;
    // Whether flows between the two must be known is the same for all of them.
    let side = match of.side {
        pair_side::OPENS => pair_side::TO_PORT,
        pair_side::ANSWERS => pair_side::FROM_PORT,
        side => side,
    };
    let slot = port_pair_slot(to_words(&ip.source), to_words(&ip.destination), of.port_be, of.protocol, side);
    put(slot, ip, way, kind, device, of)
}

#[inline(always)]
fn put(slot: u32, ip: &Ip, way: &Way, kind: u32, device: u32, of: &Stateless) -> bool {
    // While user space changes what ways depend on, nothing is noted.
    if way.stamp & 1 != 0 || !is_free(slot) {
        return false;
    }
    let (source, destination) = (to_words(&ip.source), to_words(&ip.destination));
    let Some(pair) = PAIRS.get_ptr_mut(slot) else { return false };
    let stamp = stamp(way.stamp, source, destination, device);
    // SAFETY: as above; nobody reads it now.
    let pair = unsafe { &mut *pair };
    words::copy(&ip.source, &mut pair.source);
    words::copy(&ip.destination, &mut pair.destination);
    words::copy(way, &mut pair.way);
    (pair.way.stamp, pair.way.device, pair.way.kind) = (stamp, device, kind as u8);
    (pair.rules, pair.port_be, pair.protocol, pair.side) = (of.rules, of.port_be, of.protocol, of.side);
    true
}
