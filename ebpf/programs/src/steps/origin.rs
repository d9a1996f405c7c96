//! What a translated socket believes it speaks to: written when an address is translated, read when the kernel names the peer.

use super::{read, socket};
use crate::{family::Family, maps::SOCKETS};
use aya_ebpf::programs::SockAddrContext;
use orknet_abi::{Backend, ServiceKey, SocketKey, SocketOrigin};

/// Remembers that this socket reaches the Service at the backend. The map forgets the entries that were used least lately,
/// so a failure to insert is not possible for want of room.
#[inline(always)]
pub fn remember_origin(ctx: &SockAddrContext, front: &ServiceKey, backend: &Backend) {
    let key = SocketKey { cookie: socket::cookie(ctx), address: backend.address, port_be: backend.port_be, reserved: [0; 3] };
    let origin = SocketOrigin { address: front.address, port_be: front.port_be, reserved: 0 };
    // Datagrams repeat: a write only for what is new spares the map's locks.
    if read(SOCKETS.get_ptr(key)) != Some(origin) {
        let _ = SOCKETS.insert(key, origin, 0);
    }
}

/// The Service behind the peer's address in the context, if this socket reached the peer through one.
#[inline(always)]
pub fn recall_origin<F: Family>(ctx: &SockAddrContext) -> Option<SocketOrigin> {
    let peer = socket::destination::<F>(ctx);
    let key = SocketKey { cookie: socket::cookie(ctx), address: peer.address, port_be: peer.port_be, reserved: [0; 3] };
    read(SOCKETS.get_ptr(key))
}
