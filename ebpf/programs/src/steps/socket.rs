//! The context of the socket hooks: what the caller named, and what it gets to see.

use crate::family::Family;
use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval},
    programs::SockAddrContext,
};
use core::ptr;
use orknet_abi::{Address, DropReason, ServiceKey, scope};

/// The call goes on.
pub const ALLOW: i32 = 1;

/// The call fails, with `EPERM` unless [`bpf_set_retval`] said otherwise.
const DENY: i32 = 0;

/// `ECONNREFUSED` of Linux on every architecture that BPF programs run on.
const CONNECTION_REFUSED: i32 = -111;

/// Address, port and protocol that the context holds, as the key of a Service.
#[inline(always)]
pub fn destination<F: Family>(ctx: &SockAddrContext) -> ServiceKey {
    // SAFETY: the kernel hands a valid context to the program; both words may be read in every hook of this type.
    let (port, protocol) =
        unsafe { (ptr::read_volatile(&raw const (*ctx.sock_addr).user_port), ptr::read_volatile(&raw const (*ctx.sock_addr).protocol)) };
    ServiceKey { address: F::address(ctx), port_be: port as u16, protocol: protocol as u8, scope: scope::INSIDE }
}

/// Replaces address and port in the context.
#[inline(always)]
pub fn set_destination<F: Family>(ctx: &SockAddrContext, address: &Address, port_be: u16) {
    F::set_address(ctx, address);
    // SAFETY: as in `destination`; the word may be written too.
    unsafe { ptr::write_volatile(&raw mut (*ctx.sock_addr).user_port, u32::from(port_be)) }
}

/// The number that the kernel gives a socket for its life.
#[inline(always)]
pub fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the context of this program type.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// The number that the kernel gives the socket's network namespace for its life.
#[inline(always)]
pub fn namespace_cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the context of this program type.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// Ends the call: "connection refused" where a host would answer so, "operation not permitted" where Kubernetes asks for a drop (a
/// local policy without an endpoint on this node, an address that no Service has, a source that may not use it). Nothing is sent, and
/// nobody waits in vain.
#[inline(always)]
pub fn refuse(reason: DropReason) -> i32 {
    if !matches!(reason, DropReason::NoLocalEndpoints | DropReason::NoSuchService | DropReason::SourceNotAllowed) {
        // SAFETY: the helper touches nothing but the call's result.
        unsafe { bpf_set_retval(CONNECTION_REFUSED) };
    }
    DENY
}
