//! Choosing a free number from a range: the lower part is left to those who ask for a certain one, and only used when the rest is full. Pure.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Most addresses of a range that are looked at for a free one: of larger ranges, those in their first part are given, and all can be asked for.
const MOST: u128 = 1 << 20;

/// A free address of the range, `None` when there is none. `seed` is where the search begins.
pub fn address(cidr: IpNet, taken: &dyn Fn(IpAddr) -> bool, seed: u64) -> Option<IpAddr> {
    let (first, size) = span(cidr);
    let count = size.min(MOST);
    let reserved = (count / 16).clamp(16, 256).min(count);
    choose(count, reserved, seed, |offset| taken(at(first, offset))).map(|offset| at(first, offset))
}

/// Whether the address is one that the range can give.
pub fn contains(cidr: IpNet, address: IpAddr) -> bool {
    let (first, count) = span(cidr);
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            u128::from(u32::from(address)).checked_sub(u32::from(first).into()).is_some_and(|offset| offset < count)
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => u128::from(address).checked_sub(first.into()).is_some_and(|offset| offset < count),
        _ => false,
    }
}

/// The first address of the range that a Service can have.
pub fn first_address(cidr: IpNet) -> IpAddr {
    span(cidr).0
}

/// A free port of the range.
pub fn port(range: &RangeInclusive<u16>, taken: &dyn Fn(u16) -> bool, seed: u64) -> Option<u16> {
    let count = u128::from(range.end().saturating_sub(*range.start())) + 1;
    let reserved = (count / 32).clamp(16, 128).min(count);
    // Offsets are below the range's length, so the sum fits.
    let nth = |offset: u128| range.start() + u16::try_from(offset).unwrap_or_default();
    choose(count, reserved, seed, |offset| taken(nth(offset))).map(nth)
}

fn choose(count: u128, reserved: u128, seed: u64, taken: impl Fn(u128) -> bool) -> Option<u128> {
    let search =
        |from: u128, length: u128| (0..length).map(|step| from + (u128::from(seed) + step) % length).find(|offset| !taken(*offset));
    search(reserved, count - reserved).or_else(|| search(0, reserved))
}

/// The first usable address and how many there are: neither the network's own nor the last one of an IPv4 range.
fn span(cidr: IpNet) -> (IpAddr, u128) {
    let size = 1u128.checked_shl(u32::from(cidr.max_prefix_len() - cidr.prefix_len())).unwrap_or(u128::MAX);
    let unusable = if matches!(cidr, IpNet::V4(_)) { 2 } else { 1 };
    if size <= unusable {
        return (cidr.network(), size);
    }
    (at(cidr.network(), 1), size - unusable)
}

fn at(first: IpAddr, offset: u128) -> IpAddr {
    match first {
        // Offsets stay inside the range's span.
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).wrapping_add(u32::try_from(offset).unwrap_or_default())).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).wrapping_add(offset)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_address_is_given_once_and_none_that_is_not_usable() {
        let cidr: IpNet = "10.0.0.0/24".parse().expect("range");
        let mut taken = BTreeSet::new();
        for seed in 0..254 {
            let address = address(cidr, &|address| taken.contains(&address), seed * 7919).expect("free");
            assert!(contains(cidr, address) && taken.insert(address));
        }
        assert_eq!(address(cidr, &|address| taken.contains(&address), 1), None);
        assert!(!taken.contains(&"10.0.0.0".parse().expect("address")) && !taken.contains(&"10.0.0.255".parse().expect("address")));
    }

    #[test]
    fn the_lower_part_is_left_until_the_rest_is_full() {
        let cidr: IpNet = "10.96.0.0/16".parse().expect("range");
        for seed in [0, 1, u64::MAX] {
            let IpAddr::V4(found) = address(cidr, &|_| false, seed).expect("free") else { panic!("family") };
            assert!(found > Ipv4Addr::new(10, 96, 1, 0), "{found}");
        }
        assert_eq!(port(&(30000..=30001), &|port| port == 30000, 9), Some(30001));
    }

    #[test]
    fn ipv6_ranges_work_the_same() {
        let cidr: IpNet = "fd00:10:96::/112".parse().expect("range");
        assert_eq!(first_address(cidr), "fd00:10:96::1".parse::<IpAddr>().expect("address"));
        assert!(contains(cidr, address(cidr, &|_| false, 5).expect("free")));
        assert!(!contains(cidr, "fd00:10:97::1".parse().expect("address")));
        let all: IpNet = "fd00::/8".parse().expect("range");
        assert!(contains(all, address(all, &|_| false, 5).expect("free")));
    }

    #[test]
    fn all_of_a_large_range_can_be_asked_for() {
        let has = |cidr: &str, address: &str| contains(cidr.parse().expect("range"), address.parse().expect("address"));
        assert!(has("10.0.0.0/8", "10.200.0.1") && has("fd00:10:96::/64", "fd00:10:96::ffff:0:0:1") && has("::/0", "ffff::1"));
        assert!(!has("10.0.0.0/8", "10.255.255.255") && !has("10.0.0.0/8", "11.0.0.1"));
        let many: IpNet = "10.0.0.0/8".parse().expect("range");
        assert_eq!(address(many, &|_| true, 5), None);
    }
}
