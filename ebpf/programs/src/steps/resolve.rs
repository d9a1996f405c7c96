//! From a Service's address to one of its backends.

use super::{
    node, range, read,
    sticky::{self, Client},
    words,
};
use crate::{
    global,
    maps::{BACKENDS, SERVICES, SOURCES, SourcePrefix},
};
use aya_ebpf::maps::lpm_trie::Key;
use orknet_abi::{Address, AffinityKey, Backend, BackendKey, DropReason, Service, ServiceKey, scope, service_flags};

/// How often a Service is read before its backend counts as gone. After a list was switched, one more time finds the new one; the others are
/// for who is held up between the reads again and again while endpoints come and go: a process, or a processor that is a virtual one.
const ATTEMPTS: u32 = 6;

/// What became of a destination.
pub enum Resolution {
    /// Not a Service's address: none of our business.
    NotAService,
    /// There is a backend: [`Room::backend`].
    Backend,
    /// A Service's address that leads nowhere.
    Refused(DropReason),
}

/// Where a search keeps what it knows: the caller's, because the stack is small.
#[repr(C)]
#[derive(Default)]
pub struct Room {
    pub service: Service,
    pub backend: Backend,
    pub key: AffinityKey,
}

/// Picks a backend of the Service at `front`, into `room`.
///
/// User space switches a Service to a new list with one write and removes the old list after that. So a backend is sound if
/// the Service still names the same list once the backend has been read; else everything is read again.
#[inline(always)]
pub fn resolve<C: Client>(front: &ServiceKey, client: &C, room: &mut Room) -> Resolution {
    let Some(there) = find(front) else { return without_port(front) };
    words::copy(there, &mut room.service);
    for _ in 0..ATTEMPTS {
        let service = &room.service;
        if service.sources != 0 {
            let usage = client.may_use(front, service.sources);
            if usage == usage::LEFT_TO_PACKETS {
                return Resolution::NotAService;
            }
            if usage != usage::ALLOWED {
                return Resolution::Refused(DropReason::SourceNotAllowed);
            }
        }
        if service.count == 0 {
            return Resolution::Refused(if service.flags & service_flags::LOCAL_ONLY != 0 {
                DropReason::NoLocalEndpoints
            } else {
                DropReason::NoEndpoints
            });
        }
        let found = pick(front, client, room);
        let Some(there) = find(front) else { return without_port(front) };
        if found && *there == room.service {
            return Resolution::Backend;
        }
        words::copy(there, &mut room.service);
    }
    Resolution::Refused(DropReason::BackendGone)
}

/// The Service where it lies; it may be replaced at any time.
#[inline(always)]
fn find(front: &ServiceKey) -> Option<&'static Service> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
    SERVICES.get_ptr(front).map(|there| unsafe { &*there })
}

/// What a set of ranges says of a client.
pub mod usage {
    /// It is in one of them; 0 says that it is in none.
    pub const ALLOWED: u32 = 1;
    /// Only the client's packets will tell, so they are translated, and not the call.
    pub const LEFT_TO_PACKETS: u32 = 2;
}

/// What a set of ranges says of a socket, which has no address yet: one of the node's own counts as the node's address, as its packets
/// would. See [`usage`].
#[inline(always)]
pub fn may_socket_use(front: &ServiceKey, sources: u32, namespace_cookie: u64) -> u32 {
    let Some(node) = node::pointer() else { return usage::LEFT_TO_PACKETS };
    if node.namespace_cookie != namespace_cookie {
        return usage::LEFT_TO_PACKETS;
    }
    u32::from(is_allowed(sources, if front.address.is_v4() { &node.v4 } else { &node.v6 }))
}

/// Whether the address is in one of the ranges of a set. No address is in none.
#[inline(always)]
pub fn is_allowed(set: u32, address: &Address) -> bool {
    !address.is_unspecified_v6() && SOURCES.get(Key::new(32 + 128, SourcePrefix { set, address: *address })).is_some()
}

/// The backend that the client keeps, else the one that it is given; false if the place in the list is empty.
///
/// Fills in a value that is there already instead of answering an `Option`: registers that hold nothing yet would be moved
/// about, and the verifier refuses to read them.
#[inline(always)]
fn pick(front: &ServiceKey, client: &impl Client, room: &mut Room) -> bool {
    let Room { service, backend, key } = room;
    if !client.keeps(front, service, key) {
        return read_backend(service, client.slot(front, service), backend);
    }
    if sticky::find_kept(key, service, backend) {
        return true;
    }
    let slot = client.slot(front, service);
    let found = read_backend(service, slot, backend);
    if found {
        global::keep(key, service, slot, backend);
    }
    found
}

#[inline(always)]
fn read_backend(service: &Service, slot: u32, backend: &mut Backend) -> bool {
    match read(BACKENDS.get_ptr(BackendKey { list: service.list, slot })) {
        Some(found) => {
            *backend = found;
            true
        }
        None => false,
    }
}

/// An undefined port on a live address is refused, as a host without a listener would. An address that no Service has is dropped
/// if it is from a range of Services; any other is none of our business. From the network only fronts that are meant for it count.
#[inline(always)]
fn without_port(front: &ServiceKey) -> Resolution {
    use orknet_abi::protocol::{SCTP, TCP, UDP};
    const NOT_OURS: u32 = service_flags::FOREIGN | service_flags::EXTERNAL;
    if front.scope != scope::INSIDE {
        return Resolution::NotAService;
    }
    match read(SERVICES.get_ptr(range::whole(&front.address))) {
        Some(whole) if whole.flags & NOT_OURS == 0 && matches!(front.protocol, TCP | UDP | SCTP) => {
            Resolution::Refused(DropReason::NoSuchPort)
        }
        None if range::is_in_range(&front.address) => Resolution::Refused(DropReason::NoSuchService),
        _ => Resolution::NotAService,
    }
}
