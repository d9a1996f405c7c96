//! Open checksums: senders leave the sum over a segment to the device that sends it, and a veth pair passes it on as it is. Until somebody
//! sums it up, the place of the checksum holds what the sender has begun with.
//!
//! The kernel remembers that beside the packet, where only programs behind the stack's entrance see to it. What goes on as a frame would
//! never be summed up.

use super::words::Words;
use crate::frame::{Frame, fold};
use orknet_abi::protocol;

/// Whether the checksum of a whole segment at `offset`, of so many bytes, is open: over TCP and UDP it is the pseudo-header's sum then (RFC
/// 9293 section 3.1, RFC 8200 section 8.1), over SCTP 0, which may also stand for a checksum that nobody wants (RFC 9653). Of complete
/// checksums one in 65,535 looks like that; such a segment only takes the longer way.
#[inline(always)]
pub fn is_open(frame: &impl Frame, key: &Words, offset: u32, length: u32) -> bool {
    let number = key.protocol.to_ne_bytes()[0];
    let at = match number {
        protocol::TCP => 16,
        protocol::UDP => 6,
        protocol::SCTP => return frame.read::<u32>(offset + 8) == Some(0),
        _ => return false,
    };
    let Some(checksum) = frame.read::<u16>(offset + at) else { return false };
    let mut sum = u64::from(length.to_be()) + u64::from(u16::from_ne_bytes([0, number]));
    // The mapped form of IPv4 adds what counts as nothing.
    for word in 0..4 {
        sum += u64::from(key.source[word]) + u64::from(key.destination[word]);
    }
    fold(sum) == checksum
}
