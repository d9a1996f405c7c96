//! What a translated socket believes it speaks to: written when an address is translated, read when the kernel names the peer.
//!
//! A TCP socket has one peer, and a name for it is a courtesy: one write to an array, where a younger socket may take the place.
//! A UDP socket may have any number of peers and trusts an answer by its sender's name: a map that keeps what is in use.

use super::{read, socket};
use crate::{
    family::Family,
    maps::{CONNECTIONS, SOCKETS},
};
use aya_ebpf::programs::SockAddrContext;
use orknet_abi::{Backend, Connection, ServiceKey, SocketKey, SocketOrigin, connection_slot, protocol};

/// Remembers that this socket reaches the Service at the backend.
#[inline(always)]
pub fn remember_origin(ctx: &SockAddrContext, front: &ServiceKey, backend: &Backend) {
    let cookie = socket::cookie(ctx);
    if front.protocol == protocol::TCP {
        remember_connection(cookie, front, backend);
    } else {
        remember_datagram(cookie, front, backend);
    }
}

/// The Service behind the peer's address in the context, if this socket reached the peer through one.
#[inline(always)]
pub fn recall_origin<F: Family>(ctx: &SockAddrContext) -> Option<SocketOrigin> {
    let peer = socket::destination::<F>(ctx);
    let cookie = socket::cookie(ctx);
    if peer.protocol == protocol::TCP { recall_connection(cookie, &peer) } else { recall_datagram(cookie, &peer) }
}

#[inline(always)]
fn remember_connection(cookie: u64, front: &ServiceKey, backend: &Backend) {
    let Some(slot) = CONNECTIONS.get_ptr_mut(connection_slot(cookie)) else { return };
    let connection = Connection {
        cookie,
        address: front.address,
        backend: backend.address,
        port_be: front.port_be,
        backend_port_be: backend.port_be,
        reserved: 0,
    };
    // SAFETY: the pointer comes from a map look-up that succeeded. A socket is locked while it connects, so only another socket of
    // the same slot could write at the same time; what a mixture would say is believed only if cookie and backend agree.
    unsafe { slot.write(connection) }
}

#[inline(always)]
fn recall_connection(cookie: u64, peer: &ServiceKey) -> Option<SocketOrigin> {
    let kept = read(CONNECTIONS.get_ptr(connection_slot(cookie)))?;
    let is_it = kept.cookie == cookie && kept.backend == peer.address && kept.backend_port_be == peer.port_be;
    is_it.then_some(SocketOrigin { address: kept.address, port_be: kept.port_be, reserved: 0 })
}

/// The map forgets the entries that were used least lately, so a failure to insert is not possible for want of room.
#[inline(always)]
fn remember_datagram(cookie: u64, front: &ServiceKey, backend: &Backend) {
    let key = SocketKey { cookie, address: backend.address, port_be: backend.port_be, reserved: [0; 3] };
    let origin = SocketOrigin { address: front.address, port_be: front.port_be, reserved: 0 };
    // Datagrams repeat: a write only for what is new spares the map's locks.
    if read(SOCKETS.get_ptr(key)) != Some(origin) {
        let _ = SOCKETS.insert(key, origin, 0);
    }
}

#[inline(always)]
fn recall_datagram(cookie: u64, peer: &ServiceKey) -> Option<SocketOrigin> {
    read(SOCKETS.get_ptr(SocketKey { cookie, address: peer.address, port_be: peer.port_be, reserved: [0; 3] }))
}
