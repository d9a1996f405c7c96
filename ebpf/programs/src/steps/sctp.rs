//! SCTP's checksum, a CRC32c over the whole packet (RFC 9260 appendix A), under a change of the ports.
//!
//! A CRC is linear: the checksum changes by the CRC of the difference, which is zero but for the ports. So the packet need not be read:
//! the difference of the first word is moved on by as many bytes as follow it, by squaring, in the field of the CRC's polynomial.

use super::{
    packet::{ETHERNET, Ip},
    rewrite::ports,
    segment::Segment,
};
use crate::{frame::Frame, global};
use orknet_abi::FlowKey;

/// x^8, x^16, x^32 … x^(8·2^15) modulo the polynomial, bits reflected as the CRC's register has them.
const POWERS: [u32; 16] = powers();
/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Replaces the ports and mends the checksum. One of 0 is none (RFC 9653), or is left to a device, and stays. False of a first fragment:
/// how many bytes follow in the others is not known yet.
#[inline(always)]
pub fn set_ports(frame: &impl Frame, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> bool {
    let (before, after) = (ports(&segment.key), ports(becomes));
    if before == after {
        return true;
    }
    let Some(checksum) = frame.read::<u32>(segment.offset + 8) else { return false };
    if checksum == 0 {
        return frame.write(segment.offset, &after);
    }
    if segment.is_in_pieces {
        return false;
    }
    let Some(length) = (ip.length + ETHERNET).checked_sub(segment.offset) else { return false };
    // The checksum stands in the packet with its least significant byte first.
    let mended = u32::from_le(checksum) ^ global::advance(before ^ after, length);
    frame.write(segment.offset + 8, &mended.to_le()) && frame.write(segment.offset, &after)
}

/// What a difference in the first four of `length` bytes does to their CRC.
#[inline(always)]
pub fn advance(difference: u32, length: u32) -> u32 {
    // After the word itself, `length` - 4 bytes follow; taking the word in is worth its own four.
    let mut value = difference;
    let mut bit = 0;
    while bit < 16 {
        if length >> bit & 1 != 0 {
            value = global::multiply(value, POWERS[bit as usize & 15]);
        }
        bit += 1;
    }
    value
}

/// The product of two polynomials modulo the CRC's, bits reflected: the highest bit stands for 1.
#[inline(always)]
pub const fn multiply(one: u32, other: u32) -> u32 {
    let (mut product, mut shifted, mut bit) = (0, other, 0);
    while bit < 32 {
        // All ones where the bit is set: without branches the verifier follows one path.
        product ^= shifted & (0_u32.wrapping_sub(one << bit >> 31));
        shifted = (shifted >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(shifted & 1));
        bit += 1;
    }
    product
}

const fn powers() -> [u32; 16] {
    let mut powers = [0; 16];
    // x^8: eight places below the highest bit.
    powers[0] = 1 << 23;
    let mut index = 1;
    while index < 16 {
        powers[index] = multiply(powers[index - 1], powers[index - 1]);
        index += 1;
    }
    powers
}
