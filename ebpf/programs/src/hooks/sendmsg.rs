//! `sendmsg(2)` with a destination on an unconnected UDP socket: the datagram goes to a backend.

use crate::{
    family::Family,
    steps::{self, Resolution, socket},
};
use aya_ebpf::programs::SockAddrContext;

/// Sends the datagram to a backend of the Service that it names, the same one for all datagrams of a socket while the
/// Service has it; datagrams to anything else pass untouched.
#[inline(always)]
pub fn sendmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    let front = socket::destination::<F>(ctx);
    match steps::resolve(&front, steps::client_of_datagram(ctx)) {
        Resolution::NotAService => socket::ALLOW,
        Resolution::Backend(backend) => {
            steps::remember_origin(ctx, &front, &backend);
            socket::set_destination::<F>(ctx, &backend.address, backend.port_be);
            socket::ALLOW
        }
        Resolution::Refused(reason) => {
            steps::count_drop(reason, 0);
            socket::refuse(reason)
        }
    }
}
