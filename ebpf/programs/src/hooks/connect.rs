//! `connect(2)` of TCP and UDP sockets: a Service's address becomes a backend's, once, before the first packet.

use crate::{family::Family, steps};
use aya_ebpf::programs::SockAddrContext;

/// Sends the connection to a backend of the Service that it names; connections to anything else pass untouched.
#[inline(always)]
pub fn connect<F: Family>(ctx: &SockAddrContext) -> i32 {
    let front = steps::destination::<F>(ctx);
    steps::send_to_backend::<F>(ctx, &front, steps::client_of_connection(ctx))
}
