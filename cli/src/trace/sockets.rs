//! What happens at `connect()`, before there is a packet: the hook of sockets can't be run for a trace, so what it would find in the maps is
//! looked up here, by the same rules (`ebpf/programs/src/steps/translate.rs`).

use anyhow::Result;
use orknet_abi::{BackendKey, DropReason, Range, RangeKey, ServiceKey, protocol, range_kinds, scope, service_flags};
use orknet_dataplane::Reader;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connect {
    /// It goes on as it is: no Service's, or one of another proxy.
    AsItIs,
    /// One of these becomes the destination.
    OneOf(Vec<SocketAddr>),
    /// The call fails.
    Refused(DropReason),
    /// Its packets are looked at: a load balancer's address that not everybody may use.
    Packets,
}

/// What the hook would find. Only TCP and UDP have such hooks; whether this node may use an address with source ranges is left open.
pub fn connect(reader: &Reader, to: SocketAddr, number: u8) -> Result<Connect> {
    if !matches!(number, protocol::TCP | protocol::UDP) {
        return Ok(Connect::AsItIs);
    }
    let front = ServiceKey { address: to.ip().into(), port_be: to.port().to_be(), protocol: number, scope: scope::INSIDE };
    let Some(service) = reader.service(&front)? else {
        let whole = reader.service(&ServiceKey { address: to.ip().into(), ..ServiceKey::default() })?;
        return Ok(match whole {
            Some(whole) if whole.flags & (service_flags::FOREIGN | service_flags::EXTERNAL) != 0 => Connect::AsItIs,
            Some(_) => Connect::Refused(DropReason::NoSuchPort),
            None if kinds(&reader.ranges()?, to) & range_kinds::SERVICES != 0 => Connect::Refused(DropReason::NoSuchService),
            None => Connect::AsItIs,
        });
    };
    if service.flags & service_flags::FOREIGN != 0 {
        return Ok(Connect::AsItIs);
    }
    if service.sources != 0 {
        return Ok(Connect::Packets);
    }
    if service.count == 0 {
        let is_local = service.flags & service_flags::LOCAL_ONLY != 0;
        return Ok(Connect::Refused(if is_local { DropReason::NoLocalEndpoints } else { DropReason::NoEndpoints }));
    }
    let backends = reader.backends()?;
    let slots = backends.range(BackendKey { list: service.list, slot: 0 }..BackendKey { list: service.list, slot: service.count });
    Ok(Connect::OneOf(slots.map(|(_, backend)| SocketAddr::new(backend.address.into(), u16::from_be(backend.port_be))).collect()))
}

/// What the longest range that an address is in says of it.
pub fn kinds(ranges: &BTreeMap<RangeKey, Range>, address: SocketAddr) -> u32 {
    range_of(ranges, address).map_or(0, |range| range.kinds)
}

/// That range.
pub fn range_of(ranges: &BTreeMap<RangeKey, Range>, address: SocketAddr) -> Option<Range> {
    let within = ranges.iter().filter(|(key, _)| key.contains(address.ip().into()));
    within.max_by_key(|(key, _)| key.prefix_bits).map(|(_, range)| *range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_range_counts() {
        let range = |kinds| Range { kinds, ..Range::default() };
        let key = |text: &str, bits| RangeKey::new(text.parse().unwrap(), bits);
        let ranges = BTreeMap::from([(key("10.0.0.0", 8), range(1)), (key("10.96.0.0", 16), range(2)), (key("fd00::", 8), range(3))]);
        let kinds = |text: &str| kinds(&ranges, SocketAddr::new(text.parse().unwrap(), 80));
        assert_eq!([kinds("10.96.1.1"), kinds("10.97.1.1"), kinds("11.0.0.1"), kinds("fd00::1"), kinds("fe00::1")], [2, 1, 0, 3, 0]);
    }
}
