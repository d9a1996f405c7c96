//! `getpeername(2)`: a connected socket names the Service that it connected to.

use crate::{
    family::Family,
    steps::{self, socket},
};
use aya_ebpf::programs::SockAddrContext;

/// Puts the Service's address in the place of the backend's, if this socket connected through a Service.
#[inline(always)]
pub fn getpeername<F: Family>(ctx: &SockAddrContext) -> i32 {
    if let Some(origin) = steps::recall_origin::<F>(ctx) {
        socket::set_destination::<F>(ctx, &origin.address, origin.port_be);
    }
    socket::ALLOW
}
