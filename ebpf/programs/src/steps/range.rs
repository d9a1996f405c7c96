//! The ranges from which Services get their addresses: what is in one and no Service's leads nowhere.

use crate::maps::{RANGES, SERVICES};
use aya_ebpf::maps::lpm_trie::Key;
use orknet_abi::{Address, ServiceKey};

/// Whether the address is from a range of Services and no Service has it, ours or another proxy's.
#[inline(always)]
pub fn is_unallocated(address: &Address) -> bool {
    is_in_range(address) && SERVICES.get_ptr(whole(address)).is_none()
}

/// Whether the address is from a range of Services.
#[inline(always)]
pub fn is_in_range(address: &Address) -> bool {
    RANGES.get(Key::new(128, *address)).is_some()
}

/// The key of an address as a whole, which every address of a Service has.
#[inline(always)]
pub fn whole(address: &Address) -> ServiceKey {
    ServiceKey { address: *address, port_be: 0, protocol: 0, reserved: 0 }
}
