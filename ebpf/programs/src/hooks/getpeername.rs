//! `getpeername(2)`: a connected socket names the Service that it connected to.

use crate::{family::Family, steps};
use aya_ebpf::programs::SockAddrContext;

/// Names the Service as the peer, where the socket connected to a Service.
#[inline(always)]
pub fn getpeername<F: Family>(ctx: &SockAddrContext) -> i32 {
    steps::show_service::<F>(ctx)
}
