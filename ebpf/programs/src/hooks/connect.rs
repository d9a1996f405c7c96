//! `connect(2)` of TCP and UDP sockets: a Service's address becomes a backend's, once, before the first packet.

use crate::{
    family::Family,
    steps::{self, Resolution, socket},
};
use aya_ebpf::programs::SockAddrContext;

/// Sends the connection to a backend of the Service that it names; connections to anything else pass untouched.
#[inline(always)]
pub fn connect<F: Family>(ctx: &SockAddrContext) -> i32 {
    let front = socket::destination::<F>(ctx);
    match steps::resolve(&front, steps::client_of_connection(ctx)) {
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
