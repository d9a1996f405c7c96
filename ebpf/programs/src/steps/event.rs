//! Events: what programs tell of packets, in a ring that user space reads. Only what was asked for is told, and of each kind no more in a
//! tick than was asked for; what is left out is counted.

use super::{clock::now_ticks, count::add, read, scratch, words};
use crate::{
    frame::Frame as _,
    maps::{EVENTS, LOST, MONITOR, TELLING},
};
use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::{bpf_ktime_get_ns, bpf_skb_load_bytes},
    programs::TcContext,
};
use orknet_abi::{DropReason, EVENT_BYTES, Event, event_kind, lost, monitor_flags};

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
    /// As in [`Event`].
    pub rule: u32,
    pub egress_rule: u32,
    pub set: u32,
    pub peers: u32,
    pub direction: u32,
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
        event_kind::DROP => monitor_flags::DROPS,
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
    let told = if kind == event_kind::DROP { &mut telling.drops } else { &mut telling.flows };
    *told += 1;
    *told <= monitor.per_tick || lose(lost::RATE)
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
    const POLICY: [u32; 2] = [DropReason::PolicyIngress as u32, DropReason::PolicyEgress as u32];
    if !may_tell(kind) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        lose(lost::FULL);
        return;
    };
    let event = entry.as_mut_ptr();
    let bytes = ctx.len();
    let is_judged = kind != event_kind::DROP || POLICY.contains(&reason);
    let judged = scratch::judged().filter(|_| is_judged);
    let none = Judged { rule: 0, egress_rule: 0, set: 0, peers: 0, direction: 0 };
    let judged = judged.map_or(none, |judged| *judged);
    // SAFETY: the ring has lent room for one event; every field is written before it is given back.
    unsafe {
        (&raw mut (*event).time).write(bpf_ktime_get_ns());
        (&raw mut (*event).kind).write(kind);
        (&raw mut (*event).reason).write(reason);
        (&raw mut (*event).rule).write(judged.rule);
        (&raw mut (*event).egress_rule).write(judged.egress_rule);
        (&raw mut (*event).set).write(judged.set);
        (&raw mut (*event).peers).write(judged.peers);
        (&raw mut (*event).direction).write(judged.direction);
        (&raw mut (*event).device).write(ctx.device());
        (&raw mut (*event).bytes).write(bytes);
        let becomes = &mut (*event).becomes;
        match scratch::becomes().filter(|_| is_judged) {
            Some(known) => words::copy(known, becomes),
            None => words::wipe(becomes),
        }
        let head = &mut (*event).head;
        words::wipe(head_words(head));
        let wanted = if bytes < EVENT_BYTES as u32 { bytes } else { EVENT_BYTES as u32 };
        let is_read = wanted > 0 && bpf_skb_load_bytes(ctx.as_ptr(), 0, head.as_mut_ptr().cast(), wanted) == 0;
        (&raw mut (*event).head_bytes).write(if is_read { wanted } else { 0 });
    }
    entry.submit(0);
}

/// The same bytes by words: they lie at whole words.
#[inline(always)]
fn head_words(head: &mut [u8; EVENT_BYTES]) -> &mut [u32; EVENT_BYTES / 4] {
    const { assert!(core::mem::offset_of!(Event, head) % 4 == 0) };
    // SAFETY: as many plain bytes, aligned to words by their place in the event, which lies at eight bytes' alignment.
    unsafe { &mut *core::ptr::from_mut(head).cast() }
}
