//! A complete answer as map entries: what holds otherwise, and a table of prefixes of ports for what is different.

use super::flatten::{Flat, PROTOCOLS};
use orknet_abi::{Judgement, PortKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table's entries as if its number were 0, ascending. Never empty.
pub(crate) type Table = Arc<[(PortKey, Judgement)]>;

/// The entries; no table where ports make no difference.
pub(crate) fn table(flat: &Flat) -> (Option<Table>, Judgement) {
    let mut entries = BTreeMap::new();
    for (protocol, ranges) in PROTOCOLS.iter().zip(&flat.ports) {
        let base = base(ranges, flat.other);
        if base != flat.other {
            entries.insert(PortKey::ports(0, *protocol, 0, 0), base);
        }
        for (first, last, judgement) in with_ends(ranges).filter(|(_, _, judgement)| *judgement != base) {
            entries.extend(prefixes(first, last).map(|(port, bits)| (PortKey::ports(0, *protocol, port, bits), judgement)));
        }
    }
    ((!entries.is_empty()).then(|| entries.into_iter().collect()), flat.other)
}

/// The table's entries under its number.
pub(crate) fn numbered(table: &Table, number: u32) -> impl Iterator<Item = (PortKey, Judgement)> {
    table.iter().map(move |(key, judgement)| (PortKey { table: number, ..*key }, *judgement))
}

/// What is said of all ports, so that the fewest entries say the rest.
fn base(ranges: &[(u16, Judgement)], other: Judgement) -> Judgement {
    let mut costs: BTreeMap<Judgement, usize> = BTreeMap::new();
    with_ends(ranges).for_each(|(first, last, judgement)| *costs.entry(judgement).or_default() += prefixes(first, last).count());
    // What the protocol's own entry costs.
    let saved = |judgement: Judgement, cost: usize| (cost + usize::from(judgement == other), std::cmp::Reverse(judgement));
    let others = costs.get(&other).map(|_| ()).is_none().then_some((other, 0));
    let best = costs.into_iter().chain(others).max_by_key(|(judgement, cost)| saved(*judgement, *cost));
    best.map_or(other, |(judgement, _)| judgement)
}

fn with_ends(ranges: &[(u16, Judgement)]) -> impl Iterator<Item = (u16, u16, Judgement)> {
    let lasts = ranges.iter().skip(1).map(|(next, _)| next - 1).chain([u16::MAX]);
    ranges.iter().zip(lasts).map(|((first, judgement), last)| (*first, last, *judgement))
}

/// A range as the fewest prefixes: the first port of each, and how many bits its ports share.
fn prefixes(first: u16, last: u16) -> impl Iterator<Item = (u16, u32)> {
    let (mut next, last) = (u32::from(first), u32::from(last));
    std::iter::from_fn(move || {
        let left = (last + 1).checked_sub(next).filter(|left| *left > 0)?;
        let size_bits = next.trailing_zeros().min(left.ilog2()).min(16);
        let prefix = (next as u16, 16 - size_bits);
        next += 1 << size_bits;
        Some(prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_the_fewest_prefixes() {
        assert_eq!(prefixes(0, u16::MAX).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(prefixes(80, 80).collect::<Vec<_>>(), [(80, 16)]);
        assert_eq!(prefixes(1, 6).collect::<Vec<_>>(), [(1, 16), (2, 15), (4, 15), (6, 16)]);
        assert_eq!(prefixes(0x8000, u16::MAX).collect::<Vec<_>>(), [(0x8000, 1)]);
    }

    #[test]
    fn what_most_ports_get_is_said_once() {
        let judgement = |action| Judgement { action, rule: 7 };
        let (denied, allowed) = (judgement(0), judgement(1));
        let all = |judgement| vec![(0, judgement)];
        let flat = Flat { other: denied, ports: [vec![(0, allowed), (22, denied), (23, allowed)], all(denied), all(allowed)] };
        let (table, otherwise) = table(&flat);
        let expected = [
            (PortKey::ports(0, PROTOCOLS[0], 0, 0), allowed),
            (PortKey::ports(0, PROTOCOLS[2], 0, 0), allowed),
            (PortKey::ports(0, PROTOCOLS[0], 22, 16), denied),
        ];
        assert_eq!((table.as_deref(), otherwise), (Some(expected.as_slice()), denied));
    }
}
