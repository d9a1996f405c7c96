//! Counters: drops by reason, frames left to the stack by reason, traffic by pod device.

use super::{event, judge, packet};
use crate::{
    frame::Frame as _,
    global,
    maps::{DROPS, LEFT, TRAFFIC},
};
use aya_ebpf::{
    bindings::xdp_action::XDP_DROP,
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use core::arch::asm;
use orknet_abi::{Count, DropReason, LeftReason, TrafficKey, event_kind};

/// Counts one dropped packet or refused call.
#[inline(always)]
pub fn count_drop(reason: DropReason, bytes: u32) {
    count_number(reason as u32, bytes);
}

/// The same by the reason's number.
#[inline(always)]
pub fn count_number(reason: u32, bytes: u32) {
    if let Some(count) = DROPS.get_ptr_mut(reason) {
        add(count, bytes);
    }
}

/// Counts one frame that is left to the stack although it could go on at once.
#[inline(always)]
pub fn count_left(reason: LeftReason, bytes: u32) {
    if let Some(count) = LEFT.get_ptr_mut(reason as u32) {
        add(count, bytes);
    }
}

/// Counts the packet under its reason and drops it.
#[inline(always)]
pub fn drop_packet(ctx: &TcContext, reason: DropReason) -> i32 {
    global::drop_packet(ctx.skb.skb, reason as u32)
}

/// The same by the reason's number.
#[inline(always)]
pub fn drop_number(ctx: &TcContext, reason: u32) -> i32 {
    count_number(reason, ctx.len());
    judge::count_refused(reason, ctx.len());
    event::tell(ctx, event_kind::DROP, reason);
    debug!(ctx, "packet on device {} dropped: reason {}", ctx.device(), reason);
    packet::DROP
}

/// The same of a frame from the wire.
#[inline(always)]
pub fn drop_frame(frame: &XdpContext, reason: u32) -> u32 {
    count_number(reason, frame.length());
    event::tell_drop_on_wire(frame, reason);
    XDP_DROP
}

/// Counts one packet of a pod device. User space makes the entries when it attaches to the device.
#[inline(always)]
pub fn count_traffic(ifindex: u32, direction: u32, bytes: u32) {
    if let Some(count) = TRAFFIC.get_ptr_mut(TrafficKey { ifindex, direction }) {
        add(count, bytes);
    }
}

/// Atomic although the slot is this CPU's: a packet may interrupt a system call between load and store.
#[inline(always)]
pub fn add(count: *mut Count, bytes: u32) {
    // SAFETY: the pointer comes from a map look-up that succeeded; map values are aligned to eight bytes and live until the
    // program ends. The instruction (atomic add, RFC 9669 section 5.3) reads and writes only the word that it names.
    unsafe {
        asm!("lock *(u64 *)({word} + 0) += {more}", word = in(reg) &raw mut (*count).packets, more = in(reg) 1_u64);
        asm!("lock *(u64 *)({word} + 0) += {more}", word = in(reg) &raw mut (*count).bytes, more = in(reg) u64::from(bytes));
    }
}
