//! `sendmsg(2)` with a destination on an unconnected UDP socket: the datagram goes to a backend.

use crate::{family::Family, steps};
use aya_ebpf::programs::SockAddrContext;

/// Sends the datagram to a backend of the Service that it names, the same one for all datagrams of a socket while the
/// Service has it; datagrams to anything else pass untouched.
#[inline(always)]
pub fn sendmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    let front = steps::destination::<F>(ctx);
    steps::send_to_backend::<F>(ctx, &front, steps::client_of_datagram(ctx))
}
