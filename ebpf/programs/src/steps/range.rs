//! What is known of ranges of addresses: Services get theirs from some, pods from others.

use super::read;
use crate::maps::{RANGES, SERVICES};
use aya_ebpf::maps::lpm_trie::Key;
use orknet_abi::{Address, Range, ServiceKey, range_kinds, scope};

/// Whether the address is from a range of Services and no Service has it, ours or another proxy's.
#[inline(always)]
pub fn is_unallocated(address: &Address) -> bool {
    is_in_range(address) && SERVICES.get_ptr(whole(address)).is_none()
}

/// Whether the address is from a range of Services.
#[inline(always)]
pub fn is_in_range(address: &Address) -> bool {
    kinds(address) & range_kinds::SERVICES != 0
}

/// What the address is; nothing if it is in no range. See [`range_kinds`].
#[inline(always)]
pub fn kinds(address: &Address) -> u32 {
    range(address).map_or(0, |range| range.kinds)
}

/// The range with the longest prefix that the address is in.
#[inline(always)]
pub fn range(address: &Address) -> Option<Range> {
    read(RANGES.get(Key::new(128, *address)).map(core::ptr::from_ref))
}

/// The key of an address as a whole, which every address of a Service has.
#[inline(always)]
pub fn whole(address: &Address) -> ServiceKey {
    ServiceKey { address: *address, port_be: 0, protocol: 0, scope: scope::INSIDE }
}
