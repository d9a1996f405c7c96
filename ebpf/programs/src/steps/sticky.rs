//! Backends that clients keep: `sessionAffinity: ClientIP`, and the datagrams of one unconnected socket.
//!
//! A socket hook sees no client address, so affinity goes by the network namespace, which for a pod is the same thing.

use super::{read, socket};
use crate::maps::{AFFINITY, BACKENDS};
use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::SockAddrContext};
use orknet_abi::{AffinityChoice, AffinityKey, Backend, BackendKey, Service, ServiceKey, client_kind, service_flags};

/// How many places of a changed list are searched for the backend that a client had. In a longer list it may be given another one.
const SEARCHED: u32 = 128;

/// Who asks for a backend.
pub struct Client {
    namespace: u64,
    /// 0 where every call may go elsewhere.
    socket: u64,
}

/// A socket about to connect: it asks once, so only session affinity counts.
#[inline(always)]
pub fn client_of_connection(ctx: &SockAddrContext) -> Client {
    Client { namespace: socket::namespace_cookie(ctx), socket: 0 }
}

/// A socket that sends a datagram: without session affinity it still keeps its backend, as a flow through netfilter does.
#[inline(always)]
pub fn client_of_datagram(ctx: &SockAddrContext) -> Client {
    Client { namespace: socket::namespace_cookie(ctx), socket: socket::cookie(ctx) }
}

/// Under what a kept backend is found; none if the next call may go anywhere.
#[inline(always)]
pub fn key(front: &ServiceKey, service: &Service, client: &Client) -> Option<AffinityKey> {
    let (client, client_kind) = if service.flags & service_flags::AFFINITY != 0 {
        (client.namespace, client_kind::NAMESPACE)
    } else if client.socket != 0 {
        (client.socket, client_kind::SOCKET)
    } else {
        return None;
    };
    Some(AffinityKey { client, address: front.address, port_be: front.port_be, protocol: front.protocol, client_kind, reserved: 0 })
}

/// The backend that the client has, if the Service still has it and the time of affinity has not run out.
#[inline(always)]
pub fn find_kept(key: &AffinityKey, service: &Service, backend: &mut Backend) -> bool {
    let Some(choice) = read(AFFINITY.get_ptr(key)) else { return false };
    let idle = now_seconds().wrapping_sub(choice.used_seconds);
    if key.client_kind == client_kind::NAMESPACE && idle > service.affinity_seconds {
        return false;
    }
    *backend = Backend { address: choice.address, port_be: choice.port_be, reserved: 0 };
    if choice.list == service.list {
        // Affinity ends so long after the last use, not the first. A write per second is enough for that.
        if idle > 0 {
            keep(key, service, choice.slot, backend);
        }
        return true;
    }
    for slot in 0..SEARCHED {
        if slot >= service.count {
            break;
        }
        if read(BACKENDS.get_ptr(BackendKey { list: service.list, slot })) == Some(*backend) {
            keep(key, service, slot, backend);
            return true;
        }
    }
    false
}

/// Remembers the client's backend.
#[inline(always)]
pub fn keep(key: &AffinityKey, service: &Service, slot: u32, backend: &Backend) {
    let choice = AffinityChoice {
        address: backend.address,
        port_be: backend.port_be,
        reserved: 0,
        list: service.list,
        slot,
        used_seconds: now_seconds(),
    };
    let _ = AFFINITY.insert(key, choice, 0);
}

#[inline(always)]
fn now_seconds() -> u32 {
    // SAFETY: the helper takes nothing and touches no memory.
    (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}
