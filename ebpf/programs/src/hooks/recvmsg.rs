//! `recvmsg(2)` on UDP sockets: an answer from a backend seems to come from the Service that was asked.

use crate::{family::Family, steps};
use aya_ebpf::programs::SockAddrContext;

/// Names the Service as the sender, where the socket asked a Service.
#[inline(always)]
pub fn recvmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    steps::show_service::<F>(ctx)
}
