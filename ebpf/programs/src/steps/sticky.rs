//! Backends that clients keep: `sessionAffinity: ClientIP`, and the datagrams of one unconnected socket.
//!
//! A socket hook sees no client address, so affinity goes by the network namespace, which for a pod is the same thing. Packets go by
//! their source address.

use super::{choose, clock::now_seconds, read, socket};
use crate::{
    global,
    maps::{AFFINITY, BACKENDS, DATAGRAMS},
};
use aya_ebpf::{
    cty::{c_long, c_void},
    helpers::bpf_loop,
    programs::SockAddrContext,
};
use core::mem;
use orknet_abi::{
    Address, AffinityChoice, AffinityKey, Backend, BackendKey, FlowKey, Service, ServiceKey, client_kind, protocol, service_flags,
};

/// Who asks for a backend.
pub trait Client {
    /// Under what the client's backend is kept, into `key`; false if the next call may go anywhere.
    fn keeps(&self, front: &ServiceKey, service: &Service, key: &mut AffinityKey) -> bool;

    /// The slot of the backend for a client that has none yet.
    fn slot(&self, front: &ServiceKey, service: &Service) -> u32;

    /// Whether it is in a set of ranges; see [`usage`](super::resolve::usage).
    fn may_use(&self, front: &ServiceKey, sources: u32) -> u32;
}

/// A call at a socket. Nodes need not agree, so any backend is as good as another.
pub struct SocketClient<'a> {
    ctx: &'a SockAddrContext,
    /// Whether the next call of the same socket must go to the same place.
    asks_again: bool,
}

/// The first packet of a flow. Any node gives it the same backend.
pub struct PacketClient<'a> {
    pub key: &'a FlowKey,
}

/// A socket about to connect: it asks once, so only session affinity counts.
#[inline(always)]
pub fn client_of_connection(ctx: &SockAddrContext) -> SocketClient<'_> {
    SocketClient { ctx, asks_again: false }
}

/// A socket that sends a datagram: without session affinity it still keeps its backend, as a flow through netfilter does.
#[inline(always)]
pub fn client_of_datagram(ctx: &SockAddrContext) -> SocketClient<'_> {
    SocketClient { ctx, asks_again: true }
}

impl SocketClient<'_> {
    /// Whether the call sends nothing to this front: a socket of datagrams may connect only to learn its own address, as `ping` does.
    #[inline(always)]
    pub fn is_silent(&self, front: &ServiceKey) -> bool {
        !self.asks_again && front.protocol == protocol::UDP
    }
}

impl Client for SocketClient<'_> {
    #[inline(always)]
    fn keeps(&self, front: &ServiceKey, service: &Service, key: &mut AffinityKey) -> bool {
        let (cookie, client_kind) = if service.flags & service_flags::AFFINITY != 0 {
            (socket::namespace_cookie(self.ctx), client_kind::NAMESPACE)
        } else if self.asks_again {
            (socket::cookie(self.ctx), client_kind::SOCKET)
        } else {
            return false;
        };
        *key = affinity_key(of_cookie(cookie), client_kind, front);
        true
    }

    #[inline(always)]
    fn slot(&self, _: &ServiceKey, service: &Service) -> u32 {
        choose::at_random(service)
    }

    #[inline(always)]
    fn may_use(&self, front: &ServiceKey, sources: u32) -> u32 {
        global::may_socket_use(front, sources, socket::namespace_cookie(self.ctx))
    }
}

impl Client for PacketClient<'_> {
    #[inline(always)]
    fn keeps(&self, front: &ServiceKey, service: &Service, key: &mut AffinityKey) -> bool {
        let keeps = service.flags & service_flags::AFFINITY != 0;
        if keeps {
            *key = affinity_key(self.key.source, client_kind::ADDRESS, front);
        }
        keeps
    }

    #[inline(always)]
    fn slot(&self, front: &ServiceKey, service: &Service) -> u32 {
        choose::by_hash(front, service, self.key)
    }

    #[inline(always)]
    fn may_use(&self, _: &ServiceKey, sources: u32) -> u32 {
        global::is_allowed(sources, &self.key.source)
    }
}

#[inline(always)]
fn affinity_key(client: Address, client_kind: u8, front: &ServiceKey) -> AffinityKey {
    AffinityKey { client, address: front.address, port_be: front.port_be, protocol: front.protocol, client_kind }
}

/// A cookie where an address would stand.
#[inline(always)]
fn of_cookie(cookie: u64) -> Address {
    // SAFETY: both are sixteen plain bytes.
    Address(unsafe { mem::transmute::<[u64; 2], [u8; 16]>([cookie, 0]) })
}

/// The backend that the client has, if the Service still has it and the time of affinity has not run out.
#[inline(always)]
pub fn find_kept(key: &AffinityKey, service: &Service, backend: &mut Backend) -> bool {
    let is_socket = key.client_kind == client_kind::SOCKET;
    let kept = if is_socket { DATAGRAMS.get_ptr(key) } else { AFFINITY.get_ptr(key) };
    let Some(choice) = read(kept) else { return false };
    let idle = now_seconds().wrapping_sub(choice.used_seconds);
    if !is_socket && idle > service.affinity_seconds {
        return false;
    }
    *backend = Backend { address: choice.address, port_be: choice.port_be, reserved: 0 };
    // Looked at although the list is the same: its number may have been another list's before, whose choices are still kept.
    if choice.list == service.list && is_at(service, choice.slot, backend) {
        // Affinity ends so long after the last use, not the first. A write per second is enough for that.
        if idle > 0 {
            global::keep(key, service, choice.slot, backend);
        }
        return true;
    }
    let slot = global::find_in_list(service, backend);
    let found = slot != NOWHERE;
    if found {
        global::keep(key, service, slot, backend);
    }
    found
}

#[inline(always)]
fn is_at(service: &Service, slot: u32, backend: &Backend) -> bool {
    slot < service.count && read(BACKENDS.get_ptr(BackendKey { list: service.list, slot })) == Some(*backend)
}

/// No slot: lists are shorter than the map of backends.
pub const NOWHERE: u32 = u32::MAX;

/// A search for a backend in a list.
struct Search {
    list: u32,
    slot: u32,
    backend: Backend,
}

/// The slot of a backend in a changed list, or [`NOWHERE`]. The kernel's own loop, because the verifier would follow a loop in
/// the program round by round.
#[inline(always)]
pub fn find_in_list(service: &Service, backend: &Backend) -> u32 {
    let mut search = Search { list: service.list, slot: NOWHERE, backend: *backend };
    // SAFETY: the callback has the helper's form, and the context is what it takes; both live until the helper returns.
    unsafe { bpf_loop(service.count, visit as *mut c_void, (&raw mut search).cast(), 0) };
    // SAFETY: the value is initialised; read as volatile because the compiler does not see the callback's write.
    unsafe { (&raw const search.slot).read_volatile() }
}

/// Looks at one slot; answers 1 to end the search.
extern "C" fn visit(slot: u64, context: *mut c_void) -> c_long {
    // SAFETY: the only caller is the helper in `find_in_list`, which passes on the address of a `Search`.
    let search = unsafe { &mut *context.cast::<Search>() };
    let slot = slot as u32;
    if read(BACKENDS.get_ptr(BackendKey { list: search.list, slot })) != Some(search.backend) {
        return 0;
    }
    search.slot = slot;
    1
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
    let map = if key.client_kind == client_kind::SOCKET { &DATAGRAMS } else { &AFFINITY };
    let _ = map.insert(key, choice, 0);
}
