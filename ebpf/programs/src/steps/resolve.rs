//! From a Service's address to one of its backends.

use super::{
    read,
    sticky::{self, Client},
};
use crate::maps::{BACKENDS, SERVICES};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use orknet_abi::{Backend, BackendKey, DropReason, Service, ServiceKey, service_flags};

/// How often a Service is read before its backend counts as gone. One more read suffices after a list was switched; a
/// Service that changes faster than this is not expected.
const ATTEMPTS: u32 = 3;

/// What became of a destination.
pub enum Resolution {
    /// Not a Service's address: none of our business.
    NotAService,
    /// The backend to use.
    Backend(Backend),
    /// A Service's address that leads nowhere.
    Refused(DropReason),
}

/// Picks a backend of the Service at `front`.
///
/// User space switches a Service to a new list with one write and removes the old list after that. So a backend is sound if
/// the Service still names the same list once the backend has been read; else everything is read again.
#[inline(always)]
pub fn resolve(front: &ServiceKey, client: Client) -> Resolution {
    let Some(mut service) = read(SERVICES.get_ptr(front)) else { return without_port(front) };
    for _ in 0..ATTEMPTS {
        if service.count == 0 {
            return Resolution::Refused(if service.flags & service_flags::LOCAL_ONLY != 0 {
                DropReason::NoLocalEndpoints
            } else {
                DropReason::NoEndpoints
            });
        }
        let backend = pick(front, &service, &client);
        let Some(now) = read(SERVICES.get_ptr(front)) else { return without_port(front) };
        match backend {
            Some(backend) if now == service => return Resolution::Backend(backend),
            _ => service = now,
        }
    }
    Resolution::Refused(DropReason::BackendGone)
}

/// The backend that the client keeps, else one at random.
#[inline(always)]
fn pick(front: &ServiceKey, service: &Service, client: &Client) -> Option<Backend> {
    let Some(key) = sticky::key(front, service, client) else { return at_random(service).map(|(_, backend)| backend) };
    if let Some(kept) = sticky::kept_backend(&key, service) {
        return Some(kept);
    }
    let (slot, backend) = at_random(service)?;
    sticky::keep(&key, service, slot, &backend);
    Some(backend)
}

/// Each backend with the same probability, but for less than count in 2^32.
#[inline(always)]
fn at_random(service: &Service) -> Option<(u32, Backend)> {
    // SAFETY: the helper takes nothing and touches no memory.
    let random = unsafe { bpf_get_prandom_u32() };
    let slot = ((u64::from(random) * u64::from(service.count)) >> 32) as u32;
    let backend = read(BACKENDS.get_ptr(BackendKey { list: service.list, slot }))?;
    Some((slot, backend))
}

/// An undefined port on a live address is refused, as a host without a listener would; any other address is not a Service's.
#[inline(always)]
fn without_port(front: &ServiceKey) -> Resolution {
    use orknet_abi::protocol::{SCTP, TCP, UDP};
    let address = ServiceKey { address: front.address, port_be: 0, protocol: 0, reserved: 0 };
    if matches!(front.protocol, TCP | UDP | SCTP) && SERVICES.get_ptr(address).is_some() {
        Resolution::Refused(DropReason::NoSuchPort)
    } else {
        Resolution::NotAService
    }
}
