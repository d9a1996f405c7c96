//! Which slot of a Service's list a new client gets.

use super::node;
use crate::maps::TABLES;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use core::{arch::asm, ptr};
use orknet_abi::{Address, FlowKey, Service, ServiceKey, TABLE_CHUNK, TableKey, service_flags};

/// The hash's seed; the same on every node, or nodes would not agree.
const SEED: u32 = 0x6f72_6b6e;

/// Each slot with the same probability, but for less than count in 2^32.
#[inline(always)]
pub fn at_random(service: &Service) -> u32 {
    // SAFETY: the helper takes nothing and touches no memory.
    let random = unsafe { bpf_get_prandom_u32() };
    share(random, service.count)
}

/// The slot that every node gives this flow while the Service has the same backends, and nearly every flow when one backend comes or
/// goes. With session affinity only the client's address counts.
#[inline(always)]
pub fn by_hash(front: &ServiceKey, service: &Service, key: &FlowKey) -> u32 {
    let with_port = service.flags & service_flags::AFFINITY == 0;
    let hash = hash(front, key, with_port);
    if service.table == 0 {
        return share(hash, service.count);
    }
    let Some(node) = node::pointer() else { return share(hash, service.count) };
    let position = share(hash, node.table_size);
    let (chunk, place) = (position / TABLE_CHUNK as u32, opaque(position as usize % TABLE_CHUNK));
    if place >= TABLE_CHUNK {
        return share(hash, service.count);
    }
    let Some(slots) = TABLES.get_ptr(TableKey { table: service.table, chunk }) else { return share(hash, service.count) };
    // SAFETY: the pointer comes from a map look-up that succeeded, and the place is inside of the value.
    u32::from(unsafe { (&raw const (*slots).slots).cast::<u16>().add(place).read() })
}

/// The same number, of which the compiler knows nothing any more: so a check that the verifier needs stays in the program.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: a register is copied to itself.
    unsafe { asm!("{number} = {number}", number = inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// A number below `count` in proportion to where `hash` stands among all of its values.
#[inline(always)]
fn share(hash: u32, count: u32) -> u32 {
    ((u64::from(hash) * u64::from(count)) >> 32) as u32
}

/// Murmur3 (32 bits) over the words of client and front.
#[inline(always)]
fn hash(front: &ServiceKey, key: &FlowKey, with_port: bool) -> u32 {
    let mut hash = SEED;
    let mut length = 0;
    let mut take = |word: u32| {
        let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
        hash = (hash ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        length += 4;
    };
    words(&key.source).into_iter().for_each(&mut take);
    words(&front.address).into_iter().for_each(&mut take);
    take(u32::from(front.port_be) | u32::from(front.protocol) << 16);
    if with_port {
        take(u32::from(key.source_port_be));
    }
    hash ^= length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[inline(always)]
fn words(address: &Address) -> [u32; 4] {
    // SAFETY: both are sixteen plain bytes, and an address is aligned to words.
    unsafe { ptr::from_ref(address).cast::<[u32; 4]>().read() }
}
