//! Frames on the node's devices before the stack sees them: XDP.

use crate::{
    global,
    steps::{packet::parsed, quick, scratch},
};
use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};

/// Sends packets between clients outside and backends on other nodes on their way at once, translated as `from_network` would; leaves
/// everything else to the node.
#[inline(always)]
pub fn from_wire(frame: &XdpContext) -> u32 {
    let quick = global::quick_on_wire(frame.ctx);
    if quick > quick::NO_FLOW {
        return quick as u32;
    }
    let Some(ip) = scratch::ip() else { return XDP_PASS };
    if global::is_for_device(frame.ctx) == 0 || global::parse_on_wire(frame.ctx, ip) != parsed::IP {
        return XDP_PASS;
    }
    global::translate_on_wire(frame.ctx, ip, quick)
}
