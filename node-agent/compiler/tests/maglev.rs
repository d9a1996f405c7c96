//! Properties of look-up tables: full, balanced, stable, the same for the same backends wherever they are computed.

use orknet_abi::Address;
use orknet_compiler::maglev::{is_table_size, table};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Backends of one network, as an address range gives them out, ascending as in a list.
fn backends(seed: u32, count: usize) -> Vec<(Address, u32)> {
    let mut addresses = BTreeSet::new();
    let mut state = seed;
    while addresses.len() < count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        addresses.insert(Address::from_v4([10, 244, (state >> 20) as u8, (state >> 12) as u8]));
    }
    addresses.into_iter().map(|address| (address, 1)).collect()
}

fn shares(slots: &[u16], backends: usize) -> Vec<usize> {
    let mut shares = vec![0; backends];
    slots.iter().for_each(|slot| shares[usize::from(*slot)] += 1);
    shares
}

/// Positions that lead to another backend although theirs is still there, after backend `gone` has left.
fn moved(before: &[(Address, u32)], gone: usize, size: u32) -> usize {
    let mut after = before.to_vec();
    after.remove(gone);
    let pairs = table(before, size).into_iter().zip(table(&after, size));
    pairs.filter(|(one, other)| usize::from(*one) != gone && before[usize::from(*one)].0 != after[usize::from(*other)].0).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_position_is_filled_and_shares_are_within_one_percent(seed in any::<u32>(), count in 1..163_usize) {
        let slots = table(&backends(seed, count), 16_381);
        prop_assert_eq!(slots.len(), 16_381);
        let shares = shares(&slots, count);
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        prop_assert!(most - least <= 1 && (most - least) * 100 <= *most, "{least} to {most}");
    }

    #[test]
    fn shares_are_as_the_weights(seed in any::<u32>(), weights in prop::collection::vec(0..50_u32, 1..20)) {
        let weighted: Vec<_> = backends(seed, weights.len()).into_iter().zip(&weights).map(|((address, _), weight)| (address, *weight)).collect();
        let slots = table(&weighted, 4_093);
        let total: u32 = weights.iter().sum();
        prop_assert_eq!(slots.len(), if total == 0 { 0 } else { 4_093 });
        for (share, weight) in shares(&slots, weights.len()).into_iter().zip(weights).filter(|_| total > 0) {
            let exact = 4_093.0 * f64::from(weight) / f64::from(total);
            prop_assert!((share as f64 - exact).abs() < 1.0, "{share} instead of {exact}");
        }
    }

    /// What the table says of a flow depends on the backends alone, not on how many lists and tables were made before.
    #[test]
    fn whoever_computes_it_gets_the_same(seed in any::<u32>(), count in 1..50_usize) {
        prop_assert_eq!(table(&backends(seed, count), 1_021), table(&backends(seed, count), 1_021));
        let weighted: Vec<_> = backends(seed, count).into_iter().map(|(address, _)| (address, 7)).collect();
        prop_assert_eq!(table(&backends(seed, count), 1_021), table(&weighted, 1_021));
    }
}

#[test]
fn one_backend_less_moves_at_most_one_percent_of_the_others() {
    for count in [2, 3, 4, 7, 12, 25, 50, 100, 163] {
        for seed in 0..8 {
            let moved = moved(&backends(seed, count), seed as usize * 31 % count, 16_381);
            assert!(moved * 100 <= 16_381, "{moved} positions moved, {count} backends, seed {seed}");
        }
    }
}

/// Nodes with programs of different versions meet in one network: a change of this is a break.
#[test]
fn the_permutations_are_pinned() {
    let backends: Vec<_> = (1..=3).map(|last| (Address::from_v4([10, 244, 0, last]), 1)).collect();
    assert_eq!(table(&backends, 13), PINNED);
}

const PINNED: [u16; 13] = [1, 2, 1, 2, 0, 1, 0, 2, 0, 1, 0, 1, 2];

#[test]
fn two_ports_of_one_address_share_evenly() {
    let one = Address::from_v4([10, 244, 0, 1]);
    let slots = table(&[(one, 1), (one, 1)], 1_021);
    assert_eq!(shares(&slots, 2).into_iter().max(), Some(511));
}

#[test]
fn what_cannot_be_a_table_is_none() {
    let two = backends(1, 2);
    assert!(table(&[], 13).is_empty() && table(&two, 0).is_empty() && table(&two, 1).is_empty() && table(&two, 15).is_empty());
    assert!([2, 13, 16_381, 65_537].into_iter().all(is_table_size) && ![0, 1, 4, 16_384].into_iter().any(is_table_size));
    // More backends than positions: the first shares go to some of them, and every position is filled.
    assert_eq!(table(&backends(1, 20), 13).len(), 13);
}
