//! Room for what is said of a packet: the chain of functions that works on it has 512 bytes of stack, all together.
//!
//! Each processor has one of each place. Packets are worked on where nothing that works on packets can come in between (bottom halves are
//! off), and no program begins another one, so a place is the packet's own until the program ends. Socket hooks run in processes, where
//! packets do come in between: they have the stack alone.
//!
//! What was there before is still there: who takes a place writes all of it, or clears it.

use super::{answer::Quote, event::Judged, flow::Entry, packet::Ip, quick::Plain, resolve::Room, segment::Segment, words::Words};
use crate::maps::SCRATCH;
use aya_ebpf::bindings::{bpf_fib_lookup, bpf_tunnel_key};
use orknet_abi::{FlowKey, FragmentKey, ServiceKey, Way};

/// All places.
#[repr(C)]
pub struct Scratch {
    question: bpf_fib_lookup,
    entry: Entry,
    tunnel: bpf_tunnel_key,
    way: Way,
    ip: Ip,
    segment: Segment,
    becomes: FlowKey,
    answers: Words,
    other: FlowKey,
    front: ServiceKey,
    room: Room,
    fragment: FragmentKey,
    quote: Quote,
    judged: Judged,
    plain: Plain,
}

/// A place, by whom it is taken. None never happens.
macro_rules! places {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty;)+) => {
        $($(#[doc = $doc])+
        #[inline(always)]
        pub fn $name() -> Option<&'static mut $type> {
            // SAFETY: the pointer comes from a map look-up that succeeded, whose memory stays until the program ends; every bit pattern
            // that was ever written there is a value of the type, and the one function that takes the place is not called while it runs.
            SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *(&raw mut (*scratch).$name) })
        })+
    };
}

places! {
    /// The packet's IP header: the hook's.
    ip: Ip;
    /// What is after it: that of the step which the hook has chosen.
    segment: Segment;
    /// What the packet becomes: the same.
    becomes: FlowKey;
    /// The way that it takes: that of the step which sends it on.
    way: Way;
    /// What is asked of the node's routes: [`find_way`](super::way::find_way)'s.
    question: bpf_fib_lookup;
    /// What a tunnel is told of a packet: [`to_tunnel`](super::way::to_tunnel)'s.
    tunnel: bpf_tunnel_key;
    /// A flow's value: [`insert_pair`](super::flow::insert_pair)'s.
    entry: Entry;
    /// The key of a flow's answers: whose who looks for them or makes them, and calls nothing that does, too, as long as it is needed.
    answers: Words;
    /// What the packet is meanwhile, or is asked for as: the step's that is the last.
    other: FlowKey;
    /// The Service that a flow is opened to: [`open_to_service`](super::flow::open_to_service)'s, and before it
    /// [`opens_nothing`](super::local::opens_nothing)'s.
    front: ServiceKey;
    /// The search for its backend: [`resolve_packet`](super::flow::resolve_packet)'s.
    room: Room;
    /// The key of a fragment's ports under other addresses: [`remember_ports`](super::segment::remember_ports)'s.
    fragment: FragmentKey;
    /// What was judged last: [`judge`](super::event::tell)'s, for events that tell of it.
    judged: Judged;
    /// What the [`quick`](super::quick) way reads of a packet.
    plain: Plain;
    /// What an error quotes: [`quote`](super::answer::quote)'s.
    quote: Quote;
}
