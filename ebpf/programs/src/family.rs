//! The seam between IPv4 and IPv6 at sockets: how an address stands in the hook's context. Everything else has one form.

use aya_ebpf::{bindings::bpf_sock_addr, programs::SockAddrContext};
use core::ptr;
use orknet_abi::Address;

/// How one family of socket hooks gives and takes the address that the caller named.
pub trait Family {
    /// The address in the context, in the common form.
    fn address(ctx: &SockAddrContext) -> Address;

    /// Replaces the address in the context.
    fn set_address(ctx: &SockAddrContext, address: &Address);
}

/// Hooks of `AF_INET` calls.
pub struct V4;

/// Hooks of `AF_INET6` calls. An IPv4 destination of such a socket comes in mapped form, which is the common form already.
pub struct V6;

impl Family for V4 {
    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Address {
        // SAFETY: the kernel hands a valid context to the program, and allows reads of this word in IPv4 hooks.
        let word = unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) };
        Address::from_v4(word.to_ne_bytes())
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: &Address) {
        // SAFETY: as above; writes of this word are allowed too.
        unsafe { ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, u32::from_ne_bytes(address.v4_octets())) }
    }
}

impl Family for V6 {
    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Address {
        let mut bytes = [0; 16];
        for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
            // SAFETY: the kernel hands a valid context to the program, and allows reads of these words in IPv6 hooks; the
            // buffer has four of them.
            let word: u32 = unsafe { ptr::read_volatile(v6_word(ctx, index)) };
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Address(bytes)
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: &Address) {
        for (index, chunk) in address.0.as_chunks::<4>().0.iter().enumerate() {
            // SAFETY: as above; writes of these words are allowed too.
            unsafe { ptr::write_volatile(v6_word(ctx, index), u32::from_ne_bytes(*chunk)) }
        }
    }
}

/// One of the four words of the IPv6 address; the caller stays below four.
#[inline(always)]
fn v6_word(ctx: &SockAddrContext, index: usize) -> *mut u32 {
    let first: *mut u32 = ctx.sock_addr.cast::<u8>().wrapping_add(core::mem::offset_of!(bpf_sock_addr, user_ip6)).cast();
    first.wrapping_add(index)
}
