//! Ranges of addresses as prefixes of which the longest counts: each carries all that holds in it.

use crate::facts::Block;
use orknet_abi::{Address, Range, RangeKey, range_kinds};
use std::collections::{BTreeMap, BTreeSet};

/// For each prefix the blocks, by number, that an address in it and in no longer one is in; ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    held: BTreeMap<RangeKey, Box<[u32]>>,
    /// Lengths that there are, longest first.
    lengths: Box<[u32]>,
}

/// The ranges in which pods have their addresses.
pub(crate) fn pod_ranges(ranges: &BTreeMap<RangeKey, Range>) -> impl Iterator<Item = Block> {
    let of_pods = ranges.iter().filter(|(_, range)| range.kinds & range_kinds::PODS != 0);
    of_pods.map(|(range, _)| Block { range: *range, except: Box::default() })
}

impl Block {
    /// Whether an entry of a prefix or an address is in it; of one that it excepts a part of, what is left.
    pub(crate) fn holds(&self, range: &RangeKey) -> bool {
        is_in(range, &self.range) && !self.except.iter().any(|except| is_in(range, except))
    }
}

/// Blocks that begin and end at a prefix.
#[derive(Default)]
struct Node {
    begin: Vec<u32>,
    end: Vec<u32>,
}

impl Prefixes {
    /// Of blocks by number.
    pub fn new<'a>(blocks: impl IntoIterator<Item = (u32, &'a Block)>) -> Self {
        // In the order of a walk through the tree: what is outside first.
        let mut nodes: BTreeMap<(Address, u32), Node> = BTreeMap::new();
        let key = |range: &RangeKey| (range.address, range.prefix_bits);
        for (number, block) in blocks {
            if block.except.iter().any(|except| is_in(&block.range, except)) {
                continue;
            }
            nodes.entry(key(&block.range)).or_default().begin.push(number);
            for except in block.except.iter().filter(|except| is_in(except, &block.range)) {
                nodes.entry(key(except)).or_default().end.push(number);
            }
        }
        // An IPv4 address is in IPv6's ranges by its form alone.
        let all_v4 = RangeKey::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        if nodes.keys().any(|(address, bits)| {
            *bits < all_v4.prefix_bits && RangeKey { prefix_bits: *bits, address: *address }.contains(all_v4.address)
        }) {
            nodes.entry(key(&all_v4)).or_default();
        }
        let mut held: BTreeMap<RangeKey, Box<[u32]>> = BTreeMap::new();
        let mut outer: Vec<RangeKey> = Vec::new();
        for ((address, prefix_bits), node) in nodes {
            let range = RangeKey { prefix_bits, address };
            while outer.last().is_some_and(|outer| !holds(outer, &range)) {
                outer.pop();
            }
            let above = outer
                .last()
                .filter(|outer| is_in(&range, outer))
                .and_then(|outer| held.get(outer))
                .map(|above| &**above)
                .unwrap_or_default();
            let mut own: BTreeSet<u32> = above.iter().copied().chain(node.begin).collect();
            node.end.iter().for_each(|ended| _ = own.remove(ended));
            held.insert(range, own.into_iter().collect());
            outer.push(range);
        }
        let lengths: BTreeSet<u32> = held.keys().map(|range| range.prefix_bits).collect();
        Self { held, lengths: lengths.into_iter().rev().collect() }
    }

    /// All prefixes.
    pub fn iter(&self) -> impl Iterator<Item = (&RangeKey, &[u32])> {
        self.held.iter().map(|(range, blocks)| (range, &**blocks))
    }

    /// The blocks that hold at a prefix.
    pub fn get(&self, range: &RangeKey) -> Option<&[u32]> {
        self.held.get(range).map(|blocks| &**blocks)
    }

    /// The blocks that an address is in.
    pub fn at(&self, address: Address) -> &[u32] {
        let bits = u128::from_be_bytes(address.0);
        let with_length = |length: &u32| {
            let kept = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            self.held.get(&RangeKey { prefix_bits: *length, address: Address((bits & kept).to_be_bytes()) })
        };
        self.lengths.iter().find_map(with_length).map(|blocks| &**blocks).unwrap_or_default()
    }
}

fn is_v4(range: &RangeKey) -> bool {
    range.prefix_bits >= 96 && range.address.is_v4()
}

/// Whether the whole of a range is in another of its family.
fn is_in(inner: &RangeKey, outer: &RangeKey) -> bool {
    is_v4(inner) == is_v4(outer) && holds(outer, inner)
}

/// Whether the whole of a range is in another, by the form of their addresses.
fn holds(outer: &RangeKey, inner: &RangeKey) -> bool {
    inner.prefix_bits >= outer.prefix_bits && outer.contains(inner.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> RangeKey {
        let (address, bits) = text.split_once('/').unwrap();
        RangeKey::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    fn block(of: &str, except: &[&str]) -> Block {
        Block { range: range(of), except: except.iter().map(|text| range(text)).collect() }
    }

    #[test]
    fn every_address_is_in_the_blocks_that_say_so() {
        let blocks = [
            block("10.0.0.0/8", &["10.1.0.0/16", "10.2.3.4/32"]),
            block("10.1.0.0/16", &["10.1.2.0/24"]),
            block("0.0.0.0/0", &["10.1.2.128/25"]),
            block("::/0", &["fd00::/8"]),
            block("fd00:1::/32", &[]),
            // Behind the mapped form of IPv4 in the walk.
            block("2000::/8", &[]),
            block("192.0.2.0/24", &["192.0.2.0/24"]),
            block("10.0.0.0/8", &["0.0.0.0/0"]),
        ];
        let prefixes = Prefixes::new((1..).zip(&blocks));
        for address in [
            "10.0.0.1",
            "10.1.0.1",
            "10.1.2.1",
            "10.1.2.129",
            "10.2.3.4",
            "192.0.2.1",
            "fd00::1",
            "fd00:1::1",
            "2001:db8::1",
            "2401::1",
            "::1",
        ] {
            let address = Address::from(address.parse::<std::net::IpAddr>().unwrap());
            let of_family = |range: &RangeKey| is_v4(range) == address.is_v4() && range.contains(address);
            let expected: Vec<u32> = (1..)
                .zip(&blocks)
                .filter(|(_, block)| of_family(&block.range) && !block.except.iter().any(of_family))
                .map(|(number, _)| number)
                .collect();
            assert_eq!(prefixes.at(address), expected, "{address:?}");
        }
    }
}
