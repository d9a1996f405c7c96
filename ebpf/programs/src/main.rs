//! The BPF programs of a node: this file lists every hook; what each does is read in `hooks/`, with the verbs of `steps/`.
//!
//! Owns the kernel's side of the contract in `orknet-abi`. Decides nothing that user space can decide: it looks up, picks and rewrites.
#![no_std]
#![no_main]
// The target has no atomic types in `core`, but it has the instructions.
#![feature(asm_experimental_arch)]

mod direct;
mod family;
mod frame;
mod global;
mod hooks;
mod maps;
mod steps;

use aya_ebpf::{
    macros::{cgroup_sock_addr, classifier, xdp},
    programs::{SockAddrContext, TcContext, XdpContext},
};
use family::{V4, V6};

#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    hooks::connect::<V4>(&ctx)
}

#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    hooks::connect::<V6>(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    hooks::sendmsg::<V4>(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    hooks::sendmsg::<V6>(&ctx)
}

#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    hooks::recvmsg::<V4>(&ctx)
}

#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    hooks::recvmsg::<V6>(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    hooks::getpeername::<V4>(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    hooks::getpeername::<V6>(&ctx)
}

#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    hooks::from_pod(&ctx)
}

#[classifier]
fn to_pod(ctx: TcContext) -> i32 {
    hooks::to_pod(&ctx)
}

#[classifier]
fn from_network(ctx: TcContext) -> i32 {
    hooks::from_network(&ctx)
}

#[classifier]
fn to_network(ctx: TcContext) -> i32 {
    hooks::to_network(&ctx)
}

#[classifier]
fn from_node(ctx: TcContext) -> i32 {
    hooks::from_node(&ctx)
}

#[xdp(frags)]
fn from_wire(ctx: XdpContext) -> u32 {
    hooks::from_wire(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The kernel lets only programs under a licence that is compatible with the GPL ask for its routes (bpf_fib_lookup), so these
// programs, alone of all crates, are offered under the MIT licence or the GPL, version 2.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
