//! `recvmsg(2)` on UDP sockets: an answer from a backend seems to come from the Service that was asked.

use crate::{
    family::Family,
    steps::{self, socket},
};
use aya_ebpf::programs::SockAddrContext;

/// Puts the Service's address in the place of the backend's, if this socket spoke to the backend through a Service.
#[inline(always)]
pub fn recvmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    if let Some(origin) = steps::recall_origin::<F>(ctx) {
        socket::set_destination::<F>(ctx, &origin.address, origin.port_be);
    }
    socket::ALLOW
}
