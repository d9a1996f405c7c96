//! Events: what programs tell of packets, in a ring that user space reads. Only what was asked for is told, and of each kind no more in a
//! tick than was asked for; what is left out is counted.

use super::{clock::now_ticks, count::add, pair::Stateless, read, scratch, words};
use crate::{
    frame::Frame,
    maps::{EVENTS, LOST, MONITOR, TELLING},
};
use aya_ebpf::{
    Global,
    helpers::bpf_ktime_get_ns,
    programs::{TcContext, XdpContext},
};
use orknet_abi::{DropReason, EVENT_BYTES, Event, ServiceKey, direction, event_kind, lost, monitor_flags};

/// Whether programs tell each step (1). The loader says so before the kernel verifies anything; where nobody traces, nothing of it is left
/// in the programs.
#[unsafe(no_mangle)]
static TRACE: Global<u32> = Global::new(0);

/// What a processor has told.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Telling {
    tick: u32,
    drops: u32,
    flows: u32,
}

/// What was judged of a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Judged {
    /// See [`judge::begin`](super::judge::begin).
    pub generation: u64,
    /// What the client's rules say.
    pub egress: Judgements,
    /// What the server's rules say.
    pub ingress: Judgements,
    /// For which packets nothing but that need be known.
    pub stateless: Stateless,
}

/// What the rules of one end say: which set was asked (0 for none) about which peer set, and its answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Judgements {
    pub set: u32,
    pub peers: u32,
    pub rule: u32,
    pub action: u32,
}

/// Whether the steps of packets are told.
#[inline(always)]
pub fn is_traced() -> bool {
    TRACE.load() != 0
}

/// Whether an event of such a kind is to be told now.
#[inline(always)]
fn may_tell(kind: u32) -> bool {
    if is_traced() {
        return true;
    }
    let flag = match kind {
        event_kind::DROP | event_kind::REFUSED => monitor_flags::DROPS,
        event_kind::FLOW => monitor_flags::FLOWS,
        _ => return false,
    };
    let Some(monitor) = read(MONITOR.get_ptr(0)) else { return false };
    if monitor.flags & flag == 0 {
        return false;
    }
    let Some(telling) = TELLING.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer comes from a map look-up that succeeded. A packet may interrupt a system call between load and store: then one
    // event more is told.
    let telling = unsafe { &mut *telling };
    let tick = now_ticks();
    if telling.tick != tick {
        *telling = Telling { tick, drops: 0, flows: 0 };
    }
    let told = if kind == event_kind::FLOW { &mut telling.flows } else { &mut telling.drops };
    *told += 1;
    *told <= monitor.per_tick || lose(lost::RATE)
}

/// Whether somebody wants to hear of flows.
#[inline(always)]
pub fn tells_flows() -> bool {
    read(MONITOR.get_ptr(0)).is_some_and(|monitor| monitor.flags & monitor_flags::FLOWS != 0)
}

/// Counts an event that is not told; false.
#[inline(always)]
fn lose(why: u32) -> bool {
    if let Some(count) = LOST.get_ptr_mut(why) {
        add(count, 0);
    }
    false
}

/// Tells what happened to a packet. What was judged is told with what policy decides; what the packet becomes, with its flow.
#[inline(always)]
pub fn tell(ctx: &TcContext, kind: u32, reason: u32) {
    let direction = match kind {
        event_kind::DROP if reason == DropReason::PolicyEgress as u32 => direction::EGRESS,
        event_kind::DROP if reason == DropReason::PolicyIngress as u32 => direction::INGRESS,
        event_kind::DROP | event_kind::STEP_WAY => UNJUDGED,
        _ => direction::INGRESS,
    };
    if may_tell(kind) {
        put(ctx, kind, reason, direction, 0);
    }
}

/// Tells that a frame from the wire was dropped before any rules were asked.
#[inline(always)]
pub fn tell_drop_on_wire(frame: &XdpContext, reason: u32) {
    if may_tell(event_kind::DROP) {
        put(frame, event_kind::DROP, reason, UNJUDGED, 0);
    }
}

/// Tells that a call to `front` was refused, in a network namespace of this number.
#[inline(always)]
pub fn tell_refused(front: &ServiceKey, namespace_cookie: u64, reason: u32) {
    if !may_tell(event_kind::REFUSED) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        lose(lost::FULL);
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring has lent room for one event; every field is written before it is given back.
    unsafe {
        begin(event, event_kind::REFUSED, reason, namespace_cookie);
        let becomes = &mut (*event).becomes;
        words::wipe(becomes);
        (becomes.destination, becomes.destination_port_be, becomes.protocol) = (front.address, front.port_be, front.protocol);
        words::wipe(head_words(&mut (*event).head));
    }
    entry.submit(0);
}

/// Tells what the rules of both ends said, where they were asked.
#[inline(always)]
pub fn tell_judged(ctx: &TcContext) {
    let Some(judged) = scratch::judged() else { return };
    let (egress, ingress) = (judged.egress, judged.ingress);
    if egress.set != 0 {
        put(ctx, event_kind::STEP_JUDGED, egress.action, direction::EGRESS, 0);
    }
    if ingress.set != 0 {
        put(ctx, event_kind::STEP_JUDGED, ingress.action, direction::INGRESS, 0);
    }
}

/// Tells of a way to a device.
#[inline(always)]
pub fn tell_way(ctx: &TcContext, kind: u32, ifindex: u32) {
    put(ctx, event_kind::STEP_WAY, kind, UNJUDGED, ifindex);
}

/// In the place of a direction: nothing was judged.
const UNJUDGED: u32 = 2;

#[inline(always)]
fn put(frame: &impl Frame, kind: u32, reason: u32, direction: u32, set: u32) {
    let Some(judged) = scratch::judged() else { return };
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        lose(lost::FULL);
        return;
    };
    let event = entry.as_mut_ptr();
    let bytes = frame.length();
    let is_judged = direction != UNJUDGED;
    let told = if direction == direction::EGRESS { &judged.egress } else { &judged.ingress };
    // SAFETY: as in `tell_refused`.
    unsafe {
        begin(event, kind, reason, frame.sender());
        (&raw mut (*event).device).write(frame.device());
        (&raw mut (*event).bytes).write(bytes);
        (&raw mut (*event).rule).write(if is_judged { told.rule } else { 0 });
        (&raw mut (*event).set).write(if is_judged { told.set } else { set });
        (&raw mut (*event).peers).write(if is_judged { told.peers } else { 0 });
        (&raw mut (*event).direction).write(if is_judged { direction } else { 0 });
        (&raw mut (*event).egress_rule).write(if kind == event_kind::FLOW { judged.egress.rule } else { 0 });
        let becomes = &mut (*event).becomes;
        match scratch::becomes().filter(|_| is_judged) {
            Some(known) => words::copy(known, becomes),
            None => words::wipe(becomes),
        }
        let head = &mut (*event).head;
        words::wipe(head_words(head));
        let wanted = if bytes < EVENT_BYTES as u32 { bytes } else { EVENT_BYTES as u32 };
        let is_read = wanted > 0 && frame.copy(head, wanted);
        (&raw mut (*event).head_bytes).write(if is_read { wanted } else { 0 });
    }
    entry.submit(0);
}

/// Writes what every event has; zero for what only packets have, but for what they become and the frame.
///
/// # Safety
/// There is room for an event, which nobody else uses.
#[inline(always)]
unsafe fn begin(event: *mut Event, kind: u32, reason: u32, cookie: u64) {
    // SAFETY: the caller's word. Volatile, or the compiler would call the library, which takes room on the stack.
    unsafe {
        (&raw mut (*event).time).write(bpf_ktime_get_ns());
        (&raw mut (*event).cookie).write(cookie);
        (&raw mut (*event).kind).write(kind);
        (&raw mut (*event).reason).write(reason);
        (&raw mut (*event).device).write_volatile(0);
        (&raw mut (*event).bytes).write_volatile(0);
        (&raw mut (*event).rule).write_volatile(0);
        (&raw mut (*event).egress_rule).write_volatile(0);
        (&raw mut (*event).set).write_volatile(0);
        (&raw mut (*event).peers).write_volatile(0);
        (&raw mut (*event).direction).write_volatile(0);
        (&raw mut (*event).head_bytes).write_volatile(0);
    }
}

/// The same bytes by words: they lie at whole words.
#[inline(always)]
fn head_words(head: &mut [u8; EVENT_BYTES]) -> &mut [u32; EVENT_BYTES / 4] {
    const { assert!(core::mem::offset_of!(Event, head) % 4 == 0) };
    // SAFETY: as many plain bytes, aligned to words by their place in the event, which lies at eight bytes' alignment.
    unsafe { &mut *core::ptr::from_mut(head).cast() }
}
