//! The seam between IPv4 and IPv6 at sockets: how an address stands in the hook's context. Everything else has one form.

use aya_ebpf::{bindings::bpf_sock_addr, programs::SockAddrContext};
use core::{mem, ptr};
use orknet_abi::Address;

/// How one family of socket hooks gives and takes the address that the caller named.
pub trait Family {
    /// The address in the context, in the common form.
    fn address(ctx: &SockAddrContext) -> Address;

    /// Replaces the address in the context.
    fn set_address(ctx: &SockAddrContext, address: &Address);

    /// Whether an address of the context is the host's own: `127.0.0.0/8` (RFC 1122 section 3.2.1.3) or `::1` (RFC 4291 section 2.5.3).
    fn is_loopback(address: &Address) -> bool;
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
        from_words([0, 0, u32::from_be(0xffff), word])
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: &Address) {
        let [_, _, _, word] = to_words(address);
        // SAFETY: as above; writes of this word are allowed too.
        unsafe { ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, word) }
    }

    #[inline(always)]
    fn is_loopback(address: &Address) -> bool {
        let [_, _, _, word] = to_words(address);
        u32::from_be(word) >> 24 == 127
    }
}

impl Family for V6 {
    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Address {
        let mut words = [0; 4];
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: the kernel hands a valid context to the program, and allows reads of these four words in IPv6 hooks.
            *word = unsafe { ptr::read_volatile(v6_word(ctx, index)) };
        }
        from_words(words)
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: &Address) {
        for (index, word) in to_words(address).into_iter().enumerate() {
            // SAFETY: as above; writes of these words are allowed too.
            unsafe { ptr::write_volatile(v6_word(ctx, index), word) }
        }
    }

    #[inline(always)]
    fn is_loopback(address: &Address) -> bool {
        let [first, second, third, last] = to_words(address);
        let is_v4 = first | second == 0 && third == u32::from_be(0xffff);
        is_v4 && u32::from_be(last) >> 24 == 127 || first | second | third == 0 && last == u32::from_be(1)
    }
}

/// One of the four words of the IPv6 address; the caller stays below four.
#[inline(always)]
fn v6_word(ctx: &SockAddrContext, index: usize) -> *mut u32 {
    let first: *mut u32 = ctx.sock_addr.cast::<u8>().wrapping_add(mem::offset_of!(bpf_sock_addr, user_ip6)).cast();
    first.wrapping_add(index)
}

/// An address from four words as they lie in memory. By words, because the target moves bytes one by one.
#[inline(always)]
fn from_words(words: [u32; 4]) -> Address {
    // SAFETY: both are sixteen plain bytes.
    Address(unsafe { mem::transmute::<[u32; 4], [u8; 16]>(words) })
}

#[inline(always)]
fn to_words(address: &Address) -> [u32; 4] {
    // SAFETY: both are sixteen plain bytes, and an address is aligned to words.
    unsafe { ptr::from_ref(address).cast::<[u32; 4]>().read() }
}
