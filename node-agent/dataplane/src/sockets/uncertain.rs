//! Datagrams of a pod that gets its first rules. Until then nobody took note of its flows, so of a datagram between two ports that no entry names,
//! nobody can say whether it asks or answers what was asked a moment before. Of a server's answer the wrong guess would be taken for a flow that the
//! server opens, and what its client says next for the answers to that: past the rules, for as long as it goes on.
//!
//! While the entry of the pod is being switched, no datagram opens a flow that a server at any of its ports may answer with, or that a client at any
//! may have been answered with; after that none of those of its unconnected sockets, for as long as an answer may take.

use super::diag::Found;
use crate::{Error, table::Table};
use orknet_abi::{Address, Uncertain, UncertainKey, uncertain};
use std::{collections::BTreeSet, fs, io, ops::RangeInclusive};

/// Seconds in which a question is answered: what conntrack waits (`nf_conntrack_udp_timeout`).
const ANSWERED: u32 = 30;
/// Seconds in which a plan is written and the sockets of a pod are looked at, or it begins anew. If the agent ends in between, flows are opened after
/// that.
const SWITCHED: u32 = 10;

/// Unconnected sockets that are told apart, for each address: one pod may have as many as it likes, and must not take all room.
pub(super) const PORTS: usize = 256;

/// The ports that the kernel gives to sockets which ask for none, in the calling thread's network namespace.
pub(super) fn ports_of_clients() -> io::Result<RangeInclusive<u16>> {
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = fs::read_to_string(RANGE)?;
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok(first..=last),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{RANGE} says {text:?}"))),
    }
}

/// No datagram of these addresses that may be an answer opens a flow until [`settle`], or for a moment.
pub(super) fn begin(
    table: &Table<UncertainKey, Uncertain>,
    addresses: &BTreeSet<Address>,
    of_clients: &RangeInclusive<u16>,
    now: u32,
) -> Result<(), Error> {
    let all = of_pod(uncertain::SENT | uncertain::HEARD, of_clients, now + SWITCHED);
    addresses.iter().try_for_each(|address| table.put_one(&key(*address, 0), all))
}

fn of_pod(which: u32, of_clients: &RangeInclusive<u16>, until_seconds: u32) -> Uncertain {
    Uncertain { which, until_seconds, first_client: *of_clients.start(), last_client: *of_clients.end() }
}

/// From now on that holds for these unconnected sockets alone: for what is sent from a port of a server's, and heard at one of a client's. For all
/// ports of the pod, if it has more of them than [`PORTS`], or one finds no room, which is the error then, or nobody knows them (`None`).
pub(super) fn settle(
    table: &Table<UncertainKey, Uncertain>,
    addresses: &BTreeSet<Address>,
    sockets: Option<&[Found]>,
    of_clients: &RangeInclusive<u16>,
    now: u32,
) -> Result<(), Error> {
    let until_seconds = now + ANSWERED;
    let none = of_pod(0, of_clients, until_seconds);
    let mut failure = None;
    for address in addresses {
        let own = |socket: &&Found| socket.local == *address || is_any(&socket.local);
        let ports = sockets.map(|sockets| sockets.iter().filter(own).map(|socket| socket.local_port_be).collect::<BTreeSet<u16>>());
        let put = |port_be: &u16| {
            let which = none.may_answer(u16::from_be(*port_be));
            table.put_one(&key(*address, *port_be), Uncertain { which, until_seconds, ..Uncertain::default() })
        };
        let named = ports.filter(|ports| ports.len() <= PORTS).map(|ports| ports.iter().try_for_each(put));
        let which = if matches!(named, Some(Ok(()))) { 0 } else { uncertain::SENT | uncertain::HEARD };
        // It has an entry, so there is room for this one.
        let whole = table.put_one(&key(*address, 0), of_pod(which, of_clients, until_seconds));
        failure = [whole.err(), named.and_then(Result::err)].into_iter().flatten().next().or(failure);
    }
    failure.map_or(Ok(()), Err)
}

/// Removes what is over, or somebody else's now.
pub(crate) fn forget(
    table: &Table<UncertainKey, Uncertain>,
    mut is_over: impl FnMut(&UncertainKey, &Uncertain) -> bool,
) -> Result<(), Error> {
    let (mut over, mut failure) = (Vec::new(), None);
    table.read_single(|key, uncertain| over.extend(is_over(&key, &uncertain).then_some(key)))?;
    table.delete(&over, |_, error| failure = Some(error));
    failure.map_or(Ok(()), |error| Err(Error::map("delete from", table.name())(error)))
}

fn key(address: Address, port_be: u16) -> UncertainKey {
    UncertainKey { address, port_be, reserved: 0 }
}

/// Whether a socket is bound to no address: of IPv6 it may hear IPv4, too.
fn is_any(address: &Address) -> bool {
    address.is_unspecified_v6() || *address == Address::from_v4([0; 4])
}
