//! The Service that a packet's socket believes it speaks to: what its own `getpeername` answers. Looked up for what is told, not for packets.

use super::packet::Packet;
use crate::{Error, bpffs::Pins, table::Table};
use orknet_abi::{self as abi, Address, Connection, SocketKey, SocketOrigin, connection_slot, protocol};
use std::net::SocketAddr;

/// The two maps that socket hooks write when they translate an address.
#[derive(Debug)]
pub(super) struct Origins {
    connections: Table<u32, Connection>,
    sockets: Table<SocketKey, SocketOrigin>,
}

impl Origins {
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self { connections: Table::open(pins, &abi::CONNECTIONS, true)?, sockets: Table::open(pins, &abi::SOCKETS, true)? })
    }

    /// The Service's address and port behind the destination of a packet, if the socket of this number reached it through one. `None` also for
    /// who was forgotten, since younger sockets take the places of older ones. A map that cannot be read knows of nobody.
    pub(super) fn front(&self, cookie: u64, packet: &Packet) -> Option<SocketAddr> {
        let (address, (_, port)) = (Address::from(packet.destination), packet.ports()?);
        let (address, port_be) = if packet.protocol == protocol::TCP {
            let slot = connection_slot(cookie);
            let kept = self.connections.get_single(&slot).ok()??;
            let is_it = (kept.cookie, kept.backend, kept.backend_port_be) == (cookie, address, port.to_be());
            is_it.then_some((kept.address, kept.port_be))?
        } else {
            let origin = self.sockets.get_single(&SocketKey { cookie, address, port_be: port.to_be(), reserved: [0; 3] }).ok()??;
            (origin.address, origin.port_be)
        };
        Some(SocketAddr::new(address.into(), u16::from_be(port_be)))
    }
}
