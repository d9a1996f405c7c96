//! Translation at sockets: the way out, from a Service to its backend, and the way back.

use super::{
    count, judge, node, origin,
    resolve::{Resolution, Room, resolve},
    socket,
    sticky::SocketClient,
};
use crate::{family::Family, global};
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::{debug, trace};
use orknet_abi::{DropReason, ServiceKey};

/// Sends the call to a backend of the Service at `front`, refuses it where there is none, and leaves every other one alone.
#[inline(always)]
pub fn send_to_backend<F: Family>(ctx: &SockAddrContext, front: &ServiceKey, client: SocketClient<'_>) -> i32 {
    // Every pod has loopback addresses of its own. Where node ports answer on them, they do for the node's processes.
    if F::is_loopback(&front.address) && !node::is_own_namespace(socket::namespace_cookie(ctx)) {
        return socket::ALLOW;
    }
    let mut room = Room::default();
    match resolve(front, &client, &mut room) {
        Resolution::NotAService => socket::ALLOW,
        // What it sends after all is refused as a packet.
        Resolution::Refused(DropReason::NoSuchPort) if client.is_silent(front) => socket::ALLOW,
        // What a pod sends itself never leaves it once it is translated. Where rules are about that, packets are translated, and judged.
        Resolution::Backend if judge::has_own_rules(&room.backend.address) && !node::is_own_namespace(socket::namespace_cookie(ctx)) => {
            socket::ALLOW
        }
        Resolution::Backend => {
            let backend = &room.backend;
            origin::remember_origin(ctx, front, backend);
            trace!(
                ctx,
                "{:i} port {} leads to {:i} port {}",
                front.address.0,
                u16::from_be(front.port_be),
                backend.address.0,
                u16::from_be(backend.port_be)
            );
            socket::set_destination::<F>(ctx, &backend.address, backend.port_be);
            socket::ALLOW
        }
        Resolution::Refused(reason) => {
            count::count_drop(reason, 0);
            let _ = global::tell_refused(front, socket::namespace_cookie(ctx), reason as u32);
            debug!(ctx, "{:i} port {} refused: reason {}", front.address.0, u16::from_be(front.port_be), reason as u32);
            socket::refuse(reason)
        }
    }
}

/// Puts the Service in the place of the backend, if this socket spoke to the backend through a Service.
#[inline(always)]
pub fn show_service<F: Family>(ctx: &SockAddrContext) -> i32 {
    if let Some(origin) = origin::recall_origin::<F>(ctx) {
        socket::set_destination::<F>(ctx, &origin.address, origin.port_be);
    }
    socket::ALLOW
}
