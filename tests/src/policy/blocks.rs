//! Addresses in CIDR blocks.

use super::objects::IpBlock;
use std::net::IpAddr;

/// Whether the block has the address: it is of the block's family and shares the block's prefix. What is no block has none.
pub(super) fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => same_prefix(network.to_bits().into(), address.to_bits().into(), 32, bits),
        (IpAddr::V6(network), IpAddr::V6(address)) => same_prefix(network.to_bits(), address.to_bits(), 128, bits),
        _ => false,
    }
}

fn same_prefix(one: u128, other: u128, width: u32, bits: u32) -> bool {
    bits <= width && (0..bits).all(|bit| (one ^ other) & (1 << (width - 1 - bit)) == 0)
}

impl IpBlock {
    pub fn contains(&self, address: IpAddr) -> bool {
        contains(&self.cidr, address) && !self.except.iter().any(|except| contains(except, address))
    }
}
