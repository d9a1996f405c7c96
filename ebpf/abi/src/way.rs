//! The way that a flow's packets take: found out by one packet, noted in the flow, taken by those that come after it.

use crate::Address;

/// The mark of packets that programs send on or back: "orkn" as bytes. The node's devices let those that leave pass; answers to the node
/// itself come in with it.
pub const DONE_MARK: u32 = 0x6e6b_726f;

/// The mark of packets that programs have judged for the pod behind a device, by its index, and leave to the node's stack to hand over: nothing
/// is left to do there. Should the stack send them to another pod, they are judged anew.
pub const fn judged_mark(ifindex: u32) -> u32 {
    // Without the two bits that kube-proxy marks packets with.
    0x6a6f_0000 | ifindex & 0x3fff
}

/// Kinds of ways that a flow may know; see [`Way::kind`].
pub mod way_kind {
    /// None is known.
    pub const NONE: u8 = 0;
    /// Into a pod of this node: its device and both MAC addresses count.
    pub const POD: u8 = 1;
    /// To another machine, whose MAC address the kernel knows, by the node's routes.
    pub const NEIGHBOUR: u8 = 2;
    /// To the node itself.
    pub const STACK: u8 = 3;
    /// On with what the node's stack sends: the stack has chosen its way.
    pub const LEAVING: u8 = 4;
    /// To the node itself, by the device where its own packets to Services came out: what answers them goes in there. Known for as long as
    /// the flow is there: only the device and the MAC addresses count.
    pub const HOME: u8 = 5;
    /// To another node's pod, through the overlay to that node's address: its measure is the overlay device's.
    pub const TUNNEL: u8 = 6;
    /// Into a pod of this node by the stack: all that is to be done is done, and the packet's mark says so ([`judged_mark`](crate::judged_mark)).
    pub const PASSED: u8 = 7;
}

/// A way, as long as it is believed. To lose it costs one packet the time to ask again.
///
/// Programs write it in place, while others read it: they take [`Way::WRITING`] for a `stamp` before, and give the new stamp after. So it
/// is worth nothing to user space, which writes none ([`Way::default`]) where it writes a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// When and for what it was asked: see [`Way::stamp`]; [`Way::WRITING`] while it may not be read.
    pub stamp: u64,
    /// Index of the device where packets come in that may take it: what else is asked of a packet was asked of one that came in there.
    pub device: u32,
    /// Index of the pod's device (of the host's side), or of the one that leads to the neighbour.
    pub ifindex: u32,
    /// The next machine, in four words, of which IPv4 uses the first.
    pub address: Address,
    /// MAC addresses of who is next, and of the device that leads to it.
    pub macs: [[u8; 6]; 2],
    /// The most that goes this way in one packet, in bytes from the IP header on; larger ones count as this.
    pub mtu: u16,
    /// See [`way_kind`].
    pub kind: u8,
    /// The next machine's family, as the kernel's routes have it.
    pub family: u8,
}

/// For which packets between its addresses a pair stands; see [`Pair::side`].
pub mod pair_side {
    /// For all, of whatever ports.
    pub const ANY: u8 = 0;
    /// For those of one protocol to one port, as rules allow them: whatever answers them is let through anyway.
    pub const TO_PORT: u8 = 1;
    /// For those of one protocol from one port, which answer such.
    pub const FROM_PORT: u8 = 2;
    /// For those of TCP to one port, as rules allow them, where it must be known who began: the first packet of a connection makes a flow.
    pub const OPENS: u8 = 3;
    /// For those of TCP from one port that answer known flows.
    pub const ANSWERS: u8 = 4;
}

/// The way between two addresses for packets of theirs that nobody translates, of whatever ports, or of those that policy allows: neither is
/// a Service's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Who sends.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// Its stamp is that of a packet with these addresses and, in the place of ports, the device's index.
    pub way: Way,
    /// The rules that let the packets through, of the client and of the server; 0 for none.
    pub rules: [u32; 2],
    /// Network order; 0 with [`pair_side::ANY`].
    pub port_be: u16,
    /// 0 with [`pair_side::ANY`].
    pub protocol: u8,
    /// See [`pair_side`].
    pub side: u8,
    /// 0.
    pub reserved: u32,
}

impl Way {
    /// No stamp, as 0 is none either: somebody writes the way.
    pub const WRITING: u64 = 2;

    /// The stamp of a way that was asked in this generation (see [`GENERATION`](crate::GENERATION)) at this time, for packets that become
    /// what `becomes` tells by its words. Ways of one flow have the same stamp only if generation and time are the same. That it differs
    /// from flow to flow too is for an entry of the map that was used again for another flow while somebody was still writing into it.
    #[inline(always)]
    pub const fn stamp(generation: u32, time: u32, becomes: [u32; 3]) -> u64 {
        let [source, destination, ports] = becomes;
        let flow = source.wrapping_mul(0x9e37_79b1) ^ destination.wrapping_mul(0x85eb_ca77) ^ ports.wrapping_mul(0xc2b2_ae3d);
        // Odd, as no other value is.
        (generation as u64) << 32 | ((time ^ flow) << 1 | 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_times_generations_and_flows_apart() {
        let stamp = |generation, time, port| Way::stamp(generation, time, [0x0100_000a, 0x0200_f40a, port]);
        let all = [stamp(0, 7, 1), stamp(1, 7, 1), stamp(0, 8, 1), stamp(0, 9, 1), stamp(0, 7, 2), stamp(u32::MAX, u32::MAX, u32::MAX)];
        for (at, one) in all.iter().enumerate() {
            assert!(![Way::WRITING, Way::default().stamp].contains(one) && all[at + 1..].iter().all(|other| one != other), "{at}");
        }
    }
}
